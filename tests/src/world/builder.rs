//! What a world is made of, and making it.

mod envoys;

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use berth_client::Family;
use berth_runtime_emulator::EmulatorConfig;
use serde_json::{Map, Value, json};

use super::template::{join_template, with_access_log};
use super::{PlacedEmulator, World, XdsTls, start_emulator};
use crate::settings::{MIN_REFETCH, PlacedInstance, PlacedPool, Settings, SniFiles, object};
use crate::{
    Certificates, ControlPlane, Envoy, EnvoySpec, Error, Pool, Ports, Scratch, SigningKeys,
    WhenAway, programs,
};

/// A world in the making.
///
/// Unless told otherwise it has one Envoy with two workers, and its pools have no resume window, no pause between
/// sessions and a short hold of 1 s: most tests are about something else and should not wait for these.
pub struct WorldBuilder {
    pools: Vec<Pool>,
    emulator: Box<dyn Fn(EmulatorConfig) -> EmulatorConfig + Send>,
    envoys: u16,
    joined_envoys: u16,
    static_envoys: u16,
    filter_module: Option<PathBuf>,
    zone: Option<String>,
    bootstrap: Option<String>,
    more_keys: Vec<Value>,
    admission: Map<String, Value>,
    issuer: Map<String, Value>,
    client_ca: Option<PathBuf>,
    by_sni: Vec<SniFiles>,
    xds_tls: bool,
    envoy_workers: u16,
    envoy_log_level: String,
    control_plane_log: Option<String>,
    listen: IpAddr,
    admin_port: Option<u16>,
    when_away: WhenAway,
    tick: Duration,
    handshake_timeout: Duration,
    store: Option<PathBuf>,
    folder: Option<PathBuf>,
}

impl Default for WorldBuilder {
    fn default() -> Self {
        Self {
            pools: Vec::new(),
            emulator: Box::new(std::convert::identity),
            envoys: 1,
            joined_envoys: 0,
            static_envoys: 0,
            filter_module: None,
            zone: None,
            bootstrap: None,
            more_keys: Vec::new(),
            admission: Map::new(),
            issuer: Map::new(),
            client_ca: None,
            by_sni: Vec::new(),
            xds_tls: false,
            envoy_workers: 2,
            envoy_log_level: "warning".to_owned(),
            control_plane_log: None,
            listen: Ipv4Addr::LOCALHOST.into(),
            admin_port: None,
            when_away: WhenAway::Wait,
            tick: Duration::from_secs(1),
            handshake_timeout: Duration::from_secs(5),
            store: None,
            folder: None,
        }
    }
}

impl WorldBuilder {
    /// A pool `web` of so many instances, `web-1` and so on.
    #[must_use]
    pub fn web_instances(self, count: u16) -> Self {
        self.pool("web", Family::Web, |pool| pool.instances(count))
    }

    /// A pool `native` of so many instances, `native-1` and so on.
    #[must_use]
    pub fn native_instances(self, count: u16) -> Self {
        self.pool("native", Family::Native, |pool| pool.instances(count))
    }

    /// A pool, or, when it is there already, what else is to be said of it.
    #[must_use]
    pub fn pool(mut self, name: &str, family: Family, describe: impl FnOnce(Pool) -> Pool) -> Self {
        let known = self.pools.iter().position(|pool| pool.name == name);
        match known.and_then(|at| self.pools.get_mut(at)) {
            Some(pool) => *pool = describe(pool.clone()),
            None => self.pools.push(describe(Pool::new(name, family))),
        }
        self
    }

    /// What every emulated instance is like. Its addresses are the world's to give.
    #[must_use]
    pub fn emulators(
        mut self,
        describe: impl Fn(EmulatorConfig) -> EmulatorConfig + Send + 'static,
    ) -> Self {
        self.emulator = Box::new(describe);
        self
    }

    /// How many Envoys there are. They share their listeners' ports (SO_REUSEPORT), so the kernel chooses which of
    /// them a connection comes to, one that is paused included.
    #[must_use]
    pub fn envoys(mut self, count: u16) -> Self {
        self.envoys = count;
        self
    }

    /// How many Envoys there are besides that have listeners and routes of their own and take only what they need
    /// (`envoy/listeners/envoy.yaml`). Their indices follow the others'; a client is told which one it comes
    /// [by](crate::ClientBuilder::by).
    #[must_use]
    pub fn joined_envoys(mut self, count: u16) -> Self {
        self.joined_envoys = count;
        self
    }

    /// How many Envoys there are besides that take nothing over xDS (`berth bootstrap --static`). Their indices come last,
    /// and they listen on the same ports as those of [`envoys`](Self::envoys).
    #[must_use]
    pub fn static_envoys(mut self, count: u16) -> Self {
        self.static_envoys = count;
        self
    }

    /// The control plane sends this module to Envoys, rather than have them read the usual one on their own host.
    #[must_use]
    pub fn module_sent(mut self, path: &Path) -> Self {
        self.filter_module = Some(path.to_owned());
        self
    }

    /// Where the Envoys are that start from the control plane's bootstrap.
    #[must_use]
    pub fn zone(mut self, zone: &str) -> Self {
        self.zone = Some(zone.to_owned());
        self
    }

    /// How many worker threads each Envoy has; each is a filter VM of its own.
    #[must_use]
    pub fn envoy_workers(mut self, count: u16) -> Self {
        self.envoy_workers = count;
        self
    }

    /// Envoy's log level, such as `debug`.
    #[must_use]
    pub fn envoy_log_level(mut self, level: &str) -> Self {
        level.clone_into(&mut self.envoy_log_level);
        self
    }

    /// The address that Envoys listen on, for clients that are in a namespace.
    #[must_use]
    pub fn listen(mut self, address: IpAddr) -> Self {
        self.listen = address;
        self
    }

    /// Where the control plane's admin API is, instead of on a port that nobody else has.
    #[must_use]
    pub fn admin_port(mut self, port: u16) -> Self {
        self.admin_port = Some(port);
        self
    }

    /// What a new request meets while the control plane does not answer.
    #[must_use]
    pub fn when_control_plane_away(mut self, policy: WhenAway) -> Self {
        self.when_away = policy;
        self
    }

    /// How often each filter VM says what is live in it. A VM that is silent for three of these is believed gone.
    #[must_use]
    pub fn tick(mut self, tick: Duration) -> Self {
        self.tick = tick;
        self
    }

    /// How long an instance may take to answer an upgrade.
    #[must_use]
    pub fn handshake_timeout(mut self, limit: Duration) -> Self {
        self.handshake_timeout = limit;
        self
    }

    /// Gives the control plane no store: one that is started again has to learn what is live.
    #[must_use]
    pub fn forgetful(self) -> Self {
        self.store(Path::new(":memory:"))
    }

    /// Where the control plane keeps what outlives it, instead of in the world's folder.
    #[must_use]
    pub fn store(mut self, path: &Path) -> Self {
        self.store = Some(path.to_owned());
        self
    }

    /// Has Envoys start from this bootstrap instead of the control plane's. They have one listener, which both families
    /// come to; the blanks are those of `envoy/listeners/envoy.yaml`.
    #[must_use]
    pub fn bootstrap(mut self, template: &str) -> Self {
        self.bootstrap = Some(template.to_owned());
        self
    }

    /// Has Envoys start from `envoy/listeners/envoy.yaml`, with an access log besides that has these members, each with its
    /// command operator: see [`World::access_log`].
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn access_log(self, members: &[(&str, &str)]) -> Result<Self, Error> {
        let template = with_access_log(&join_template()?, members);
        Ok(self.bootstrap(&template))
    }

    /// Has the issuer these keys (JWK) as well as the usual ones.
    #[must_use]
    pub fn more_keys(mut self, keys: impl IntoIterator<Item = Value>) -> Self {
        self.more_keys.extend(keys);
        self
    }

    /// The issuer's keys are at this URL rather than in a file. Unknown keys have them fetched
    /// [`MIN_REFETCH`](crate::MIN_REFETCH) apart.
    #[must_use]
    pub fn jwks_url(self, url: &str) -> Self {
        let min_refetch = format!("{}ms", MIN_REFETCH.as_millis());
        self.issuer(json!({"jwks_file": null, "jwks_url": url, "min_refetch": min_refetch}))
    }

    /// Sets members of the file's `admission`, written as there; one that is null is taken away.
    #[must_use]
    pub fn admission(mut self, members: Value) -> Self {
        self.admission.extend(object(members));
        self
    }

    /// Sets members of the file's one issuer, written as there; one that is null is taken away.
    #[must_use]
    pub fn issuer(mut self, members: Value) -> Self {
        self.issuer.extend(object(members));
        self
    }

    /// Has Envoys ask clients for certificates that the CA in this PEM file has signed.
    #[must_use]
    pub fn client_ca(mut self, path: &Path) -> Self {
        self.client_ca = Some(path.to_owned());
        self
    }

    /// Has Envoys show what is in these PEM files to clients that ask for one of its names.
    #[must_use]
    pub fn by_sni(mut self, name: &str, certificate_chain: &Path, private_key: &Path) -> Self {
        self.by_sni.push(SniFiles {
            name: name.to_owned(),
            certificate_chain: certificate_chain.to_owned(),
            private_key: private_key.to_owned(),
        });
        self
    }

    /// Has the control plane and Envoys that start from its bootstrap show each other certificates: see
    /// [`World::xds_tls`].
    #[must_use]
    pub fn xds_tls(mut self) -> Self {
        self.xds_tls = true;
        self
    }

    /// What the control plane logs, such as `debug`, instead of its default.
    #[must_use]
    pub fn control_plane_log(mut self, filter: &str) -> Self {
        self.control_plane_log = Some(filter.to_owned());
        self
    }

    /// Keeps everything in this folder, keys and certificates for the next world in it included.
    #[must_use]
    pub fn folder(mut self, path: &Path) -> Self {
        self.folder = Some(path.to_owned());
        self
    }

    /// Starts everything and waits until a client of every pool would be admitted.
    ///
    /// # Errors
    /// [`Error::Missing`] when something was not built; [`Error::Ended`] and [`Error::Timeout`] when something does
    /// not come up.
    pub async fn start(self) -> Result<World, Error> {
        let (scratch, keys) = match &self.folder {
            Some(folder) => {
                let keys = SigningKeys::load_or_create(&folder.join("keys"))?;
                (Scratch::lasting(folder)?, keys)
            }
            None => (Scratch::temporary()?, SigningKeys::of_tests()?),
        };
        let scratch = Arc::new(scratch);
        let world = self.start_in(Arc::clone(&scratch), keys).await;
        if world.is_err() {
            scratch.keep();
        }
        world
    }

    async fn start_in(self, scratch: Arc<Scratch>, keys: SigningKeys) -> Result<World, Error> {
        let certificates = Certificates::load_or_create(&scratch.path().join("tls"))?;
        let mut ports = Ports::new();
        let (pools, instances) = self.start_instances(&mut ports).await?;
        let mut sockets = self.sockets(&mut ports)?;
        let folder = scratch.path();
        let xds_tls = self.xds_tls.then(|| XdsTls::create(folder)).transpose()?;
        let control_plane = self
            .start_control_plane(
                &sockets,
                &pools,
                &keys,
                &certificates,
                xds_tls.as_ref(),
                folder,
            )
            .await?;
        if self.bootstrap.is_some() {
            sockets.native = sockets.https;
        }
        let specs = self
            .write_bootstraps(
                &control_plane,
                &sockets,
                (&certificates, xds_tls.as_ref()),
                &mut ports,
                folder,
            )
            .await?;
        let world = World {
            https: sockets.https,
            native: sockets.native,
            pools: names(&self.pools),
            envoys: start_envoys(specs, folder).await?,
            control_plane,
            instances,
            keys: Arc::new(keys),
            certificates,
            xds_tls,
            clients: AtomicU32::new(0),
            ports: Mutex::new(ports),
            scratch,
        };
        world.settled().await?;
        Ok(world)
    }

    fn sockets(&self, ports: &mut Ports) -> Result<Sockets, Error> {
        let admin_port = self.admin_port.map_or_else(|| ports.take(), Ok);
        Ok(Sockets {
            xds_port: ports.take()?,
            admin_port: admin_port?,
            https: (self.listen, ports.take()?).into(),
            native: (self.listen, ports.take()?).into(),
        })
    }

    async fn start_control_plane(
        &self,
        sockets: &Sockets,
        pools: &[PlacedPool],
        keys: &SigningKeys,
        certificates: &Certificates,
        xds_tls: Option<&XdsTls>,
        folder: &Path,
    ) -> Result<ControlPlane, Error> {
        let jwks_file = folder.join("jwks.json");
        let mut jwks = keys.jwks();
        if let Some(keys) = jwks.get_mut("keys").and_then(Value::as_array_mut) {
            keys.extend_from_slice(&self.more_keys);
        }
        write(&jwks_file, &jwks.to_string())?;
        let usual_module = programs::filter_module()?;
        let settings = Settings {
            xds_port: sockets.xds_port,
            xds_tls: xds_tls.map(|tls| &tls.berth),
            admin_port: sockets.admin_port,
            listen: self.listen,
            https_port: sockets.https.port(),
            native_port: sockets.native.port(),
            certificate_chain: &certificates.chain,
            private_key: &certificates.private_key,
            filter_module: self.filter_module.as_deref().unwrap_or(&usual_module),
            filter_delivery: self.filter_module.is_some().then_some("inline"),
            static_nodes: &self.static_nodes(),
            when_away: self.when_away,
            by_sni: &self.by_sni,
            client_ca: self.client_ca.as_deref(),
            jwks_file: &jwks_file,
            admission: &self.admission,
            issuer: &self.issuer,
            pools,
            tick: self.tick,
            handshake_timeout: self.handshake_timeout,
            store: self.store.as_deref(),
        };
        let config = folder.join("berth.yaml");
        write(&config, &settings.to_yaml()?)?;
        let log_filter = self.control_plane_log.as_deref();
        ControlPlane::start(
            &config,
            sockets.xds_port,
            sockets.admin_port,
            log_filter,
            folder,
        )
        .await
    }

    async fn start_instances(
        &self,
        ports: &mut Ports,
    ) -> Result<(Vec<PlacedPool>, Vec<PlacedEmulator>), Error> {
        let (mut pools, mut instances) = (Vec::new(), Vec::new());
        // Instances have addresses of their own, as hosts do: nothing may tell a client one of these.
        let mut addresses =
            (FIRST_INSTANCE..LAST_INSTANCE).map(|number| Ipv4Addr::from_bits(LOOPBACK + number));
        for pool in &self.pools {
            let readiness_port = ports.take()?;
            let mut placed = Vec::new();
            let mut shown = pool.shown.iter();
            for number in 1..=pool.instances {
                let too_many = || Error::Impossible("too many instances".to_owned());
                let config = (self.emulator)(EmulatorConfig {
                    address: addresses.next().ok_or_else(too_many)?.into(),
                    web_port: ports.take()?,
                    native_port: ports.take()?,
                    readiness_port,
                    tls: shown.next().cloned(),
                    ..EmulatorConfig::default()
                });
                let name = format!("{}-{number}", pool.name);
                let emulator = start_emulator(config.clone()).await?;
                let signaling = emulator.address(pool.family);
                placed.push(PlacedInstance {
                    name: name.clone(),
                    signaling,
                });
                instances.push(PlacedEmulator {
                    name,
                    config,
                    signaling,
                    emulator: Mutex::new(Arc::new(emulator)),
                });
            }
            pools.push(PlacedPool {
                pool: pool.clone(),
                readiness_port,
                instances: placed,
            });
        }
        Ok((pools, instances))
    }
}

/// Where a world is asked.
struct Sockets {
    xds_port: u16,
    admin_port: u16,
    https: SocketAddr,
    native: SocketAddr,
}

async fn start_envoys(specs: Vec<EnvoySpec>, folder: &Path) -> Result<Vec<Envoy>, Error> {
    let envoys = specs.into_iter().map(|spec| Envoy::start(spec, folder));
    let envoys: Vec<Envoy> = envoys.collect::<Result<_, _>>()?;
    for envoy in &envoys {
        envoy.ready().await?;
    }
    Ok(envoys)
}

fn names(pools: &[Pool]) -> Vec<(String, Family)> {
    let name = |pool: &Pool| (pool.name.clone(), pool.family);
    pools.iter().map(name).collect()
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    fs::write(path, text).map_err(Error::io(path.display()))
}

const LOOPBACK: u32 = 0x7f00_0000;
const FIRST_INSTANCE: u32 = 10;
const LAST_INSTANCE: u32 = 1 << 10;
