//! A real Envoy, and what its admin interface tells.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::Value;
use tokio::process::Command;

use crate::http::Admin;
use crate::process::{Memory, Program};
use crate::wait::{Seen, wait_until};
use crate::{Error, programs};

/// How an Envoy is run.
#[derive(Debug, Clone)]
pub struct EnvoySpec {
    /// Its name in this world, of its log, and its node id.
    pub name: String,
    /// Its bootstrap.
    pub bootstrap: PathBuf,
    /// Worker threads.
    pub workers: u16,
    /// Such as `info`, or `debug`.
    pub log_level: String,
    /// The port of its admin interface on 127.0.0.1, as the bootstrap says.
    pub admin_port: u16,
    /// Where web clients connect.
    pub https: SocketAddr,
    /// Where native clients connect; may be the same.
    pub native: SocketAddr,
}

/// One Envoy. It ends when dropped.
pub struct Envoy {
    spec: EnvoySpec,
    executable: PathBuf,
    program: Program,
    admin: Admin,
}

impl Envoy {
    /// Starts it; its log goes to `folder`. It is not ready yet.
    ///
    /// # Errors
    /// [`Error::Missing`] when Envoy was not fetched, and [`Error::Io`].
    pub fn start(spec: EnvoySpec, folder: &Path) -> Result<Self, Error> {
        let envoy = Self {
            executable: programs::envoy()?,
            program: Program::new(&spec.name, folder),
            admin: Admin::new(spec.admin_port)?,
            spec,
        };
        envoy.launch()?;
        Ok(envoy)
    }

    /// Waits until it is live and listens on every port it should.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ended instead, [`Error::Timeout`] when it took longer than half a minute.
    pub async fn ready(&self) -> Result<(), Error> {
        let what = format!("{} to be ready", self.spec.name);
        wait_until(what, START, async || {
            self.program.check()?;
            Ok(match self.unready().await {
                None => Seen::Yes(()),
                Some(state) => Seen::NotYet(state),
            })
        })
        .await
    }

    /// What it still lacks, if anything.
    async fn unready(&self) -> Option<String> {
        if let Err(error) = self.admin.get("/ready").await {
            return Some(error.to_string());
        }
        let listening = match self.listening_ports().await {
            Ok(listening) => listening,
            Err(error) => return Some(error.to_string()),
        };
        let wanted = [self.spec.https.port(), self.spec.native.port()];
        let all = wanted.iter().all(|port| listening.contains(port));
        (!all).then(|| format!("listening on {listening:?} of {wanted:?}"))
    }

    /// Where web clients connect.
    #[must_use]
    pub fn https(&self) -> SocketAddr {
        self.spec.https
    }

    /// Where native clients connect.
    #[must_use]
    pub fn native(&self) -> SocketAddr {
        self.spec.native
    }

    /// The file it was started from.
    pub(crate) fn bootstrap(&self) -> &Path {
        &self.spec.bootstrap
    }

    /// Its node id, which the control plane knows it by.
    #[must_use]
    pub fn node(&self) -> &str {
        &self.spec.name
    }

    /// Where its admin interface is, without a slash at the end.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.admin.url()
    }

    /// The ports of its active listeners.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub async fn listening_ports(&self) -> Result<Vec<u16>, Error> {
        let listeners = self.admin.json("/listeners?format=json").await?;
        let ports = members(&listeners, "listener_statuses").filter_map(|listener| {
            let port = listener.pointer("/local_address/socket_address/port_value")?;
            u16::try_from(port.as_u64()?).ok()
        });
        Ok(ports.collect())
    }

    /// The `ip:port` of every endpoint it knows, of every cluster.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub async fn endpoints(&self) -> Result<Vec<String>, Error> {
        let clusters = self.admin.json("/clusters?format=json").await?;
        let endpoints = members(&clusters, "cluster_statuses")
            .flat_map(|cluster| members(cluster, "host_statuses"))
            .filter_map(|host| {
                let socket = host.pointer("/address/socket_address")?;
                let address = socket.get("address")?.as_str()?;
                Some(format!("{address}:{}", socket.get("port_value")?))
            });
        Ok(endpoints.collect())
    }

    /// A counter or gauge; `None` while Envoy has none of this name, which it makes at their first use.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub async fn stat(&self, name: &str) -> Result<Option<u64>, Error> {
        let stats = self.admin.json("/stats?format=json").await?;
        let stat = members(&stats, "stats")
            .find(|stat| stat.get("name").and_then(Value::as_str) == Some(name));
        Ok(stat.and_then(|stat| stat.get("value")?.as_u64()))
    }

    /// What it runs on, everything included.
    ///
    /// # Errors
    /// [`Error::Http`] when it does not answer.
    pub async fn config_dump(&self) -> Result<Value, Error> {
        self.admin.json("/config_dump?include_eds").await
    }

    /// Sets how much one of its components, such as `wasm`, logs from now on; `level` stands for all of them.
    ///
    /// # Errors
    /// [`Error::Http`], and [`Error::Status`] when it has no such component or level.
    pub async fn set_log_level(&self, component: &str, level: &str) -> Result<(), Error> {
        let path = format!("/logging?{component}={level}");
        self.admin.post(&path).await.map(drop)
    }

    /// Stops its threads where they are (SIGSTOP): its sockets stay open and nobody answers.
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is not running.
    pub fn pause(&self) -> Result<(), Error> {
        self.program.signal(Signal::SIGSTOP)
    }

    /// Lets a paused one go on (SIGCONT).
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is not running.
    pub fn resume(&self) -> Result<(), Error> {
        self.program.signal(Signal::SIGCONT)
    }

    /// Ends it at once (SIGKILL); the kernel closes its connections.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn kill(&self) -> Result<(), Error> {
        self.program.kill().await
    }

    /// Asks it to end (SIGTERM), and kills it if it takes more than a few seconds.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn stop(&self) -> Result<(), Error> {
        self.program.stop(STOP).await.map(drop)
    }

    /// Kills it if it still runs, starts it again on the same ports and waits until it is ready.
    ///
    /// # Errors
    /// Those of [`Envoy::start`] and [`Envoy::ready`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.kill().await?;
        self.launch()?;
        self.ready().await
    }

    /// `Ok` while it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ended by itself.
    pub fn check(&self) -> Result<(), Error> {
        self.program.check()
    }

    /// How much of it is in memory.
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is not running, [`Error::Io`], [`Error::Unreadable`].
    pub fn memory(&self) -> Result<Memory, Error> {
        self.program.memory()
    }

    /// The processor time that its worker threads have had, all of them together.
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is not running, [`Error::Io`], [`Error::Unreadable`].
    pub fn worker_time(&self) -> Result<Duration, Error> {
        self.program.time_of_threads("wrk:worker_")
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    fn launch(&self) -> Result<(), Error> {
        let mut command = Command::new(&self.executable);
        command
            .arg("--config-path")
            .arg(&self.spec.bootstrap)
            .args(["--concurrency", &self.spec.workers.to_string()])
            .args(["--log-level", &self.spec.log_level])
            // What the filter says is about the test, Envoy's list of its extensions is not.
            .args(["--component-log-level", "wasm:info"])
            // Ten seconds unless said, for access logs.
            .args(["--file-flush-interval-msec", "200"])
            // Without it, Envoys of one machine meet in the shared memory of their base id.
            .arg("--disable-hot-restart");
        self.program.start(&mut command)
    }
}

/// The elements of an object's array; none where there is no such array.
fn members<'a>(value: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    value
        .get(name)
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

const START: Duration = Duration::from_secs(30);
const STOP: Duration = Duration::from_secs(5);
