//! Berth's xDS library as a server with nothing behind it, to be measured: the endpoints of pools, which change on
//! command. `change N` on a line changes the health of an instance and answers `done NANOSECONDS`.

use std::io::{self, BufRead as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use berth::xds::{
    Certificate, Certificates, EndpointHealth, EndpointSpec, FilterSpec, Gateway, Generator,
    Inconsistent, InvalidGateway, InvalidInstance, Module, PoolSpec, Profiles, XdsServer,
};
use clap::Parser;
use tokio::net::TcpSocket;
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
    #[error(transparent)]
    Instance(#[from] InvalidInstance),
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
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
    let mut fleet = Fleet::new(arguments)?;
    server.publish(&fleet.generator.publish()?.views);
    let address = (Ipv4Addr::LOCALHOST, arguments.port);
    let listener = runtime.block_on(async {
        let socket = TcpSocket::new_v4()?;
        socket.set_reuseaddr(true)?;
        socket.bind(address.into())?;
        socket.listen(BACKLOG)
    })?;
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
        if !number.map_or(Ok(false), |number| fleet.change(number))? {
            return Err(AloneError::Command(line));
        }
        server.publish(&fleet.generator.publish()?.views);
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
    generator: Generator,
    draining: Vec<bool>,
    each: usize,
}

impl Fleet {
    fn new(arguments: &Arguments) -> Result<Self, AloneError> {
        let mut fleet = Self {
            generator: Generator::new(gateway(arguments.pools), &Profiles::default())?,
            draining: vec![false; arguments.pools * arguments.instances],
            each: arguments.instances.max(1),
        };
        for instance in 0..fleet.draining.len() {
            fleet.set(instance, false)?;
        }
        Ok(fleet)
    }

    /// Whether there is such an instance.
    fn change(&mut self, instance: usize) -> Result<bool, InvalidInstance> {
        let Some(draining) = self.draining.get_mut(instance) else {
            return Ok(false);
        };
        *draining = !*draining;
        let draining = *draining;
        self.set(instance, draining)?;
        Ok(true)
    }

    fn set(&mut self, instance: usize, draining: bool) -> Result<(), InvalidInstance> {
        let pool = pool_name(instance / self.each);
        self.generator
            .set_instance(&pool, endpoint(instance, draining))
    }
}

fn gateway(pools: usize) -> Gateway {
    let pool = |number| PoolSpec {
        name: pool_name(number),
        connect_timeout: TIMEOUT,
        tls: None,
    };
    Gateway {
        listeners: Vec::new(),
        certificates: Certificates {
            default: Certificate {
                chain_pem: String::new(),
                private_key_pem: String::new(),
            },
            by_sni: Vec::new(),
            client_ca_pem: None,
        },
        filter: FilterSpec {
            module: Module::File(PathBuf::from("berth_filter.wasm")),
            vm_id: "berth".to_owned(),
            configuration_json: "{}".to_owned(),
        },
        handshake_timeout: TIMEOUT,
        pools: (0..pools).map(pool).collect(),
    }
}

fn pool_name(number: usize) -> String {
    format!("pool-{number}")
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
/// How many connections may wait to be taken: every node comes at once.
const BACKLOG: u32 = 4096;
const PORT: u16 = 49_100;
const TIMEOUT: Duration = Duration::from_secs(5);
const KEEPALIVE: Duration = Duration::from_secs(30);
