//! What the clients of a burst come to.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use berth_client::{Family, Target};
use berth_runtime_emulator::{Emulator, EmulatorConfig};
use berth_tests::{Certificates, HaProxy, Pool, Ports, World};

use super::crowd::CLIENTS;
use crate::BenchError;

/// One way to the instances.
#[derive(Clone, Copy)]
pub(super) enum Side {
    OneHaProxy,
    OneEnvoy,
    TwoHaProxies,
    TwoEnvoys,
    TwoEnvoysSettling,
}

impl Side {
    /// Those that are compared with each other first.
    pub(super) const ALL: [Self; 5] = [
        Self::OneHaProxy,
        Self::OneEnvoy,
        Self::TwoHaProxies,
        Self::TwoEnvoys,
        Self::TwoEnvoysSettling,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::OneHaProxy => "one HAProxy",
            Self::OneEnvoy => "Berth",
            Self::TwoHaProxies => "two HAProxies",
            Self::TwoEnvoys => "Berth, two Envoys",
            Self::TwoEnvoysSettling => "Berth, two Envoys, 250 ms",
        }
    }

    pub(super) const fn is_berth(self) -> bool {
        match self {
            Self::OneHaProxy | Self::TwoHaProxies => false,
            Self::OneEnvoy | Self::TwoEnvoys | Self::TwoEnvoysSettling => true,
        }
    }
}

/// Everything there is, with instances of its own for every side; those whose turn it is not are idle.
pub(super) struct Sides {
    // In the order in which they end.
    one_haproxy: HaProxies,
    two_haproxies: HaProxies,
    one_envoy: World,
    two_envoys: World,
    _ports: Ports,
}

impl Sides {
    pub(super) async fn start() -> Result<Self, BenchError> {
        let one_envoy = World::builder()
            .pool(POOL, Family::Web, |it| pool(it, Duration::ZERO))
            .envoy_workers(THREADS)
            .start()
            .await?;
        let two_envoys = World::builder()
            .pool(POOL, Family::Web, |it| pool(it, Duration::ZERO))
            .pool(SETTLING_POOL, Family::Web, |it| pool(it, SETTLE))
            .envoys(2)
            .envoy_workers(THREADS)
            .start()
            .await?;
        let mut ports = Ports::new();
        Ok(Self {
            one_haproxy: HaProxies::start("one", 1, &one_envoy, &mut ports).await?,
            two_haproxies: HaProxies::start("two", 2, &one_envoy, &mut ports).await?,
            one_envoy,
            two_envoys,
            _ports: ports,
        })
    }

    /// A target for each client, all of them different users.
    pub(super) fn targets(&self, side: Side) -> Result<Vec<Target>, BenchError> {
        (0..CLIENTS).map(|_| self.target(side)).collect()
    }

    fn target(&self, side: Side) -> Result<Target, BenchError> {
        let (world, pool) = self.pool(side);
        let client = world.client(pool)?;
        let haproxy = |haproxies: &HaProxies| {
            let target = client.clone().path(INSTANCE_PATH).target()?;
            Ok(target.connect_to(haproxies.address))
        };
        match side {
            Side::OneHaProxy => haproxy(&self.one_haproxy),
            Side::TwoHaProxies => haproxy(&self.two_haproxies),
            Side::OneEnvoy | Side::TwoEnvoys | Side::TwoEnvoysSettling => Ok(client.target()?),
        }
    }

    /// The instances whose records tell of this side.
    pub(super) fn instances(&self, side: Side) -> Result<Vec<Arc<Emulator>>, BenchError> {
        match side {
            Side::OneHaProxy => Ok(self.one_haproxy.instances.clone()),
            Side::TwoHaProxies => Ok(self.two_haproxies.instances.clone()),
            Side::OneEnvoy | Side::TwoEnvoys | Side::TwoEnvoysSettling => {
                let (world, pool) = self.pool(side);
                let instance = |number| Ok(world.instance(&format!("{pool}-{number}"))?);
                (1..=INSTANCES).map(instance).collect()
            }
        }
    }

    /// Waits until no session and no lease is left.
    pub(super) async fn quiet(&self) -> Result<(), BenchError> {
        for side in Side::ALL {
            for instance in self.instances(side)? {
                instance.wait_for(SOON, |ledger| ledger.live() == 0).await?;
            }
        }
        for world in [&self.one_envoy, &self.two_envoys] {
            for instance in world.berth().instances().await? {
                world.berth().wait_until_free(&instance.name, SOON).await?;
            }
        }
        Ok(())
    }

    /// Where a side's tokens are from, and its pool if it has one.
    const fn pool(&self, side: Side) -> (&World, &'static str) {
        match side {
            Side::OneHaProxy | Side::TwoHaProxies | Side::OneEnvoy => (&self.one_envoy, POOL),
            Side::TwoEnvoys => (&self.two_envoys, POOL),
            Side::TwoEnvoysSettling => (&self.two_envoys, SETTLING_POOL),
        }
    }
}

fn pool(pool: Pool, settle: Duration) -> Pool {
    pool.instances(INSTANCES)
        .settle(settle)
        .resume_window(Duration::ZERO)
        .hold(HOLD)
        .queue(100)
        // Rare: they are not what is measured.
        .probe(Duration::from_secs(30), 1, 3)
}

/// HAProxies that share a port and know nothing of each other, and their instances.
struct HaProxies {
    address: SocketAddr,
    instances: Vec<Arc<Emulator>>,
    _running: Vec<HaProxy>,
}

impl HaProxies {
    async fn start(
        name: &str,
        count: usize,
        world: &World,
        ports: &mut Ports,
    ) -> Result<Self, BenchError> {
        let mut instances = Vec::new();
        for _ in 0..INSTANCES {
            instances.push(Arc::new(Emulator::start(EmulatorConfig::default()).await?));
        }
        let address = (Ipv4Addr::LOCALHOST, ports.take()?).into();
        let configuration = configuration(address, &pem(world)?, &instances);
        let mut running = Vec::new();
        for number in 1..=count {
            let name = format!("haproxy-{name}-{number}");
            running.push(HaProxy::start(&name, &configuration, address, world.folder()).await?);
        }
        Ok(Self {
            address,
            instances,
            _running: running,
        })
    }
}

/// The file in which HAProxy has a certificate and its key: those of the world's Envoys.
fn pem(world: &World) -> Result<String, BenchError> {
    let certificates = Certificates::load_or_create(&world.folder().join("tls"))?;
    let path = world.folder().join("haproxy.pem");
    let key = fs::read_to_string(&certificates.private_key)?;
    fs::write(&path, fs::read_to_string(&certificates.chain)? + &key)?;
    Ok(path.display().to_string())
}

/// One session a server, the others wait in the backend's queue. `http-reuse never`: a connection of one session is
/// no other's.
fn configuration(address: SocketAddr, pem: &str, instances: &[Arc<Emulator>]) -> String {
    let servers: String = instances
        .iter()
        .map(|instance| instance.web_address())
        .map(|at| format!("    server {at} {at} maxconn 1\n"))
        .collect();
    format!(
        "global\n    nbthread {THREADS}\n\
         defaults\n    mode http\n    timeout connect 5s\n    timeout client 1m\n    timeout server 1m\n\
         \x20   timeout http-request 1m\n    timeout queue {hold}ms\n    timeout tunnel 1h\n\
         frontend clients\n    bind {address} ssl crt {pem} alpn http/1.1\n    default_backend instances\n\
         backend instances\n    balance roundrobin\n    http-reuse never\n{servers}",
        hold = HOLD.as_millis()
    )
}

pub(super) const INSTANCES: u16 = 2;
/// Of every proxy.
pub(super) const THREADS: u16 = 2;
/// Berth's default.
pub(super) const SETTLE: Duration = Duration::from_millis(250);
/// Longer than any burst: nobody is to be sent away.
const HOLD: Duration = Duration::from_secs(13);
const SOON: Duration = Duration::from_secs(20);
const POOL: &str = "web";
const SETTLING_POOL: &str = "settling";
/// What a web client asks an instance for.
const INSTANCE_PATH: &str = "/sign_in";
