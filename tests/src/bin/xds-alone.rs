//! Berth's xDS library as a server with nothing behind it, to be measured: the endpoints of pools, which change on
//! command. `change N` on a line changes the health of an instance and answers `done NANOSECONDS`.

use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use berth::xds::{
    Certificate, EndpointHealth, EndpointSpec, FilterSpec, Gateway, InvalidGateway, PoolSpec,
    Profiles, XdsServer, assign_clusters, generate,
};
use clap::Parser;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::time::Instant;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

#[derive(Parser)]
#[command(about = "Serves the endpoints of pools by xDS, and changes them on command")]
struct Arguments {
    /// Where it listens, on 127.0.0.1.
    #[arg(long)]
    port: u16,
    /// How many pools there are.
    #[arg(long, default_value_t = 1)]
    pools: usize,
    /// How many instances a pool has.
    #[arg(long, default_value_t = 100)]
    instances: usize,
}

/// Why it ended.
#[derive(Debug, thiserror::Error)]
enum AloneError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Gateway(#[from] InvalidGateway),
    #[error("not a command: {0:?}")]
    Command(String),
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Result<(), AloneError> {
    let runtime = Runtime::new()?;
    // Nobody here wants to know who acknowledged what.
    let (server, _) = XdsServer::new(Profiles::default(), MAX_STREAMS);
    let mut fleet = Fleet::new(arguments);
    server.publish_to_all(&Arc::new(generate(&fleet.gateway())?));
    let address = (Ipv4Addr::LOCALHOST, arguments.port);
    let listener = runtime.block_on(TcpListener::bind(address))?;
    // As `berth serve` has it.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let grpc = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .add_service(server.service());
    runtime.spawn(grpc.serve_with_incoming(incoming));
    say("ready")?;
    // Whoever started it is gone when there are no more commands.
    for line in io::stdin().lock().lines() {
        let line = line?;
        let number = line.strip_prefix("change ").and_then(|it| it.parse().ok());
        let begun = runtime.block_on(async { Instant::now() });
        if !number.is_some_and(|number| fleet.change(number)) {
            return Err(AloneError::Command(line));
        }
        server.publish_to_all(&Arc::new(generate(&fleet.gateway())?));
        say(&format!("done {}", begun.elapsed().as_nanos()))?;
    }
    Ok(())
}

fn say(line: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{line}")?;
    output.flush()
}

struct Fleet {
    draining: Vec<bool>,
    each: usize,
}

impl Fleet {
    fn new(arguments: &Arguments) -> Self {
        Self {
            draining: vec![false; arguments.pools * arguments.instances],
            each: arguments.instances.max(1),
        }
    }

    /// Whether there is such an instance.
    fn change(&mut self, instance: usize) -> bool {
        let draining = self.draining.get_mut(instance);
        draining.map(|draining| *draining = !*draining).is_some()
    }

    fn gateway(&self) -> Gateway {
        let pools = self.draining.chunks(self.each).enumerate();
        Gateway {
            listeners: Vec::new(),
            certificate: Certificate {
                chain_pem: String::new(),
                private_key_pem: String::new(),
            },
            client_ca_pem: None,
            filter: FilterSpec {
                module_path: PathBuf::from("berth_filter.wasm"),
                vm_id: "berth".to_owned(),
                configuration_json: "{}".to_owned(),
            },
            handshake_timeout: TIMEOUT,
            pools: pools
                .map(|(pool, draining)| self.pool(pool, draining))
                .collect(),
        }
    }

    fn pool(&self, pool: usize, draining: &[bool]) -> PoolSpec {
        let name = format!("pool-{pool}");
        let numbered = draining.iter().enumerate();
        let endpoints =
            numbered.map(|(number, draining)| endpoint(pool * self.each + number, *draining));
        PoolSpec {
            clusters: assign_clusters(&name, endpoints.collect()),
            name,
            connect_timeout: TIMEOUT,
        }
    }
}

fn endpoint(instance: usize, draining: bool) -> EndpointSpec {
    let [.., high, low] = instance.to_be_bytes();
    EndpointSpec {
        instance: format!("gpu-{instance}"),
        address: SocketAddr::new(IpAddr::from([127, 1, high, low]), PORT),
        health: if draining {
            EndpointHealth::Draining
        } else {
            EndpointHealth::Healthy
        },
    }
}

/// More than anybody measures with.
const MAX_STREAMS: usize = 100_000;
const PORT: u16 = 49_100;
const TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);
