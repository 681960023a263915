//! A whole world: instances, a control plane, Envoys, an issuer and a CA.

mod builder;
mod peers;
mod template;

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_client::Family;
use berth_runtime_emulator::{Emulator, EmulatorConfig};
use serde_json::Value;

pub use builder::WorldBuilder;
pub use peers::XdsTls;
pub use template::join_template;

use crate::settings::{AUDIENCE, ISSUER};
use crate::{
    Certificates, ClientBuilder, ControlPlane, Envoy, Error, Ports, Scratch, ScriptedInstance,
    Seen, SigningKeys, Token, raw, token, wait_until,
};

/// Everything one test needs, on ports of its own. It ends when dropped.
pub struct World {
    // In the order in which they end: nobody is left asking for what has gone.
    envoys: Vec<Envoy>,
    control_plane: ControlPlane,
    instances: Vec<PlacedEmulator>,
    pools: Vec<(String, Family)>,
    https: SocketAddr,
    native: SocketAddr,
    keys: Arc<SigningKeys>,
    certificates: Certificates,
    xds_tls: Option<XdsTls>,
    clients: AtomicU32,
    ports: Mutex<Ports>,
    scratch: Arc<Scratch>,
}

/// An instance that keeps its addresses when it is started again.
struct PlacedEmulator {
    name: String,
    config: EmulatorConfig,
    signaling: SocketAddr,
    emulator: Mutex<Arc<Emulator>>,
}

impl World {
    /// A world to be filled.
    #[must_use]
    pub fn builder() -> WorldBuilder {
        WorldBuilder::default()
    }

    /// The control plane.
    #[must_use]
    pub fn berth(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The Envoy of this index, from 0.
    ///
    /// # Errors
    /// [`Error::Impossible`] when there are not as many.
    pub fn envoy(&self, index: usize) -> Result<&Envoy, Error> {
        let missing = || Error::Impossible(format!("it has no envoy {index}"));
        self.envoys.get(index).ok_or_else(missing)
    }

    /// An instance by its name, such as `web-1`.
    ///
    /// # Errors
    /// [`Error::Impossible`] when there is none of this name.
    pub fn instance(&self, name: &str) -> Result<Arc<Emulator>, Error> {
        Ok(Arc::clone(&self.placed(name)?.current()))
    }

    /// Every instance.
    #[must_use]
    pub fn instances(&self) -> Vec<Arc<Emulator>> {
        let current = |placed: &PlacedEmulator| Arc::clone(&placed.current());
        self.instances.iter().map(current).collect()
    }

    /// Starts an instance anew on the addresses it had, with a new record; what still ran of it is killed.
    ///
    /// # Errors
    /// [`Error::Impossible`] when there is none of this name, [`Error::Io`].
    pub async fn restart_instance(&self, name: &str) -> Result<Arc<Emulator>, Error> {
        let placed = self.placed(name)?;
        self.instance(name)?.kill().await;
        let emulator = Arc::new(start_emulator(placed.config.clone()).await?);
        *placed.current() = Arc::clone(&emulator);
        Ok(emulator)
    }

    /// Kills an emulated instance and stands another in its place, of which the test writes every byte.
    ///
    /// # Errors
    /// [`Error::Impossible`] when there is none of this name, [`Error::Io`].
    pub async fn script_instance(&self, name: &str) -> Result<ScriptedInstance, Error> {
        let signaling = self.placed(name)?.signaling;
        self.instance(name)?.kill().await;
        ScriptedInstance::on(signaling).await
    }

    /// A client for a pool, by the path of the pool's family: `/rtsp`, or `/<pool>/sign_in`.
    ///
    /// # Errors
    /// [`Error::Impossible`] when there is no such pool.
    pub fn client(&self, pool: &str) -> Result<ClientBuilder, Error> {
        let found = self.pools.iter().find(|(name, _)| name == pool);
        let missing = || Error::Impossible(format!("it has no pool {pool}"));
        let (_, family) = *found.ok_or_else(missing)?;
        let number = self.clients.fetch_add(1, Ordering::Relaxed);
        let token = self.token().subject(&format!("client-{number}"));
        let (proxy, path, token) = match family {
            // A native client names no pool: its token does.
            Family::Native => (self.native, "/rtsp".to_owned(), token.pools([pool])),
            Family::Web => (self.https, format!("/{pool}/sign_in"), token),
        };
        let ca = self.certificates.ca.clone();
        Ok(ClientBuilder::new(proxy, ca, family, path, token))
    }

    /// A valid token of the issuer this world believes, for every pool there is.
    #[must_use]
    pub fn token(&self) -> Token {
        let pools = self.pools.iter().map(|(name, _)| name.as_str());
        token(&self.keys, ISSUER, AUDIENCE).pools(pools)
    }

    /// A TLS connection to the web listener on which anything can be written.
    ///
    /// # Errors
    /// Those of [`raw::Dial::open`].
    pub async fn raw(&self) -> Result<raw::Connection, Error> {
        self.dial().open(PATIENCE).await
    }

    /// The same in the making.
    #[must_use]
    pub fn dial(&self) -> raw::Dial {
        raw::Dial::new(self.https, self.ca_file())
    }

    /// What Envoys with an [access log](WorldBuilder::access_log) have logged of requests, an object each; Envoy's own
    /// `null` for what there was none of. It is written five times a second.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`].
    pub fn access_log(&self) -> Result<Vec<Value>, Error> {
        let mut requests = Vec::new();
        for envoy in &self.envoys {
            let path = template::access_log(envoy.bootstrap());
            let log = fs::read_to_string(&path).map_err(Error::io(path.display()))?;
            for line in log.lines() {
                let request = serde_json::from_str(line);
                requests.push(request.map_err(|error| Error::Unreadable {
                    what: path.display().to_string(),
                    why: error.to_string(),
                })?);
            }
        }
        Ok(requests)
    }

    /// The files of what its Envoys show, and of who signed that.
    #[must_use]
    pub fn certificates(&self) -> &Certificates {
        &self.certificates
    }

    /// The PEM file of the CA that clients trust.
    #[must_use]
    pub fn ca_file(&self) -> &Path {
        &self.certificates.ca
    }

    /// Where the listener for web clients is.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.https
    }

    /// Where the listener for native clients is.
    #[must_use]
    pub fn native(&self) -> SocketAddr {
        self.native
    }

    /// The folder of its files and logs.
    #[must_use]
    pub fn folder(&self) -> &Path {
        self.scratch.path()
    }

    /// Keeps its folder and shows its logs when it ends, as after a panic.
    pub fn keep(&self) {
        self.scratch.keep();
    }

    /// Waits until every instance is up, every Envoy knows it, and a client of every pool would be admitted.
    ///
    /// # Errors
    /// [`Error::Timeout`] with what is still missing, [`Error::Ended`].
    pub async fn settled(&self) -> Result<(), Error> {
        wait_until("every instance to be up", PATIENCE, async || {
            self.control_plane.check()?;
            let instances = self.control_plane.instances().await?;
            let up = instances.iter().all(|instance| instance.health == "up");
            Ok(Seen::when(up, format!("{instances:?}")))
        })
        .await?;
        for envoy in &self.envoys {
            self.known_to(envoy).await?;
        }
        for (pool, _) in &self.pools {
            for envoy in &self.envoys {
                self.open(pool, envoy).await?;
            }
        }
        Ok(())
    }

    async fn known_to(&self, envoy: &Envoy) -> Result<(), Error> {
        wait_until("every endpoint to be known", PATIENCE, async || {
            envoy.check()?;
            let known = envoy.endpoints().await?;
            let all = self
                .instances
                .iter()
                .all(|instance| known.contains(&instance.signaling.to_string()));
            Ok(Seen::when(all, format!("{known:?}")))
        })
        .await
    }

    async fn open(&self, pool: &str, envoy: &Envoy) -> Result<(), Error> {
        let client = self.client(pool)?.by(envoy);
        let what = format!("pool {pool} to be open at {}", envoy.node());
        wait_until(what, PATIENCE, async || {
            Ok(match client.verdict().await {
                Ok(verdict) if verdict.status == 200 => Seen::Yes(()),
                Ok(verdict) => Seen::NotYet(format!("{} {}", verdict.status, verdict.body)),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await
    }

    fn placed(&self, name: &str) -> Result<&PlacedEmulator, Error> {
        let mut instances = self.instances.iter();
        let missing = || Error::Impossible(format!("it has no instance {name}"));
        let found = instances.find(|placed| placed.name == name);
        found.ok_or_else(missing)
    }
}

impl PlacedEmulator {
    fn current(&self) -> MutexGuard<'_, Arc<Emulator>> {
        self.emulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn start_emulator(config: EmulatorConfig) -> Result<Emulator, Error> {
    let what = format!("an emulated instance on {}", config.address);
    Emulator::start(config).await.map_err(Error::io(what))
}

/// For what a healthy world does in a second or two, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(30);
