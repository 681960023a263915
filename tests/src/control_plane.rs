//! The control plane as a child process, and its admin API.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use crate::http::Admin;
use crate::process::{Memory, Program};
use crate::wait::{Seen, wait_until};
use crate::{Error, IdentityFiles, programs};

/// The control plane. It ends when dropped.
pub struct ControlPlane {
    executable: PathBuf,
    config: PathBuf,
    log_filter: Option<String>,
    xds: SocketAddr,
    program: Program,
    admin: Admin,
}

impl ControlPlane {
    /// Starts `berth serve` on a configuration file and waits until it answers; its log goes to `folder`.
    ///
    /// # Errors
    /// [`Error::Missing`] when it was not built, [`Error::Ended`] when it refuses its configuration.
    pub async fn start(
        config: &Path,
        xds_port: u16,
        admin_port: u16,
        log_filter: Option<&str>,
        folder: &Path,
    ) -> Result<Self, Error> {
        let control_plane = Self {
            log_filter: log_filter.map(str::to_owned),
            executable: programs::berth()?,
            config: config.to_owned(),
            xds: (Ipv4Addr::LOCALHOST, xds_port).into(),
            program: Program::new("berth", folder),
            admin: Admin::new(admin_port)?,
        };
        control_plane.launch().await?;
        Ok(control_plane)
    }

    /// What `berth bootstrap` prints for one Envoy.
    pub(crate) async fn bootstrap(
        &self,
        node: &str,
        admin_port: u16,
        zone: Option<&str>,
        tls: Option<&IdentityFiles>,
    ) -> Result<String, Error> {
        let port = admin_port.to_string();
        let mut command = Command::new(&self.executable);
        command
            .args(["bootstrap", "--node-id", node, "--admin-port", &port])
            .arg("--config")
            .arg(&self.config);
        if let Some(zone) = zone {
            command.args(["--zone", zone]);
        }
        if let Some(files) = tls {
            let secrets = files.ca.with_file_name("secrets");
            command.args(["--server-name", XDS_SERVER_NAME]);
            command.arg("--ca").arg(&files.ca);
            command.arg("--certificate").arg(&files.certificate);
            command.arg("--private-key").arg(&files.private_key);
            command.arg("--secrets-out").arg(&secrets);
        }
        printed(command, format!("berth bootstrap --node-id {node}")).await
    }

    /// What `berth bootstrap --static` prints for one Envoy.
    pub(crate) async fn static_configuration(
        &self,
        node: &str,
        admin_port: u16,
    ) -> Result<String, Error> {
        let port = admin_port.to_string();
        let mut command = Command::new(&self.executable);
        command
            .args(["bootstrap", "--static", "--node-id", node])
            .args(["--admin-port", &port, "--config"])
            .arg(&self.config);
        printed(
            command,
            format!("berth bootstrap --static --node-id {node}"),
        )
        .await
    }

    /// What an operator's command, such as `instances drain web-1`, prints when it is put to this control plane.
    ///
    /// # Errors
    /// [`Error::Failed`] with what it said, [`Error::Io`].
    pub async fn command(&self, arguments: &[&str]) -> Result<String, Error> {
        let mut command = Command::new(&self.executable);
        command.args(arguments).args(["--admin", self.admin.url()]);
        printed(command, format!("berth {}", arguments.join(" "))).await
    }

    /// Where proxies reach it: xDS, and the session service.
    #[must_use]
    pub fn xds(&self) -> SocketAddr {
        self.xds
    }

    /// Where its admin API is, without a slash at the end.
    #[must_use]
    pub fn admin_url(&self) -> &str {
        self.admin.url()
    }

    /// Every instance, as `GET /v1/instances` tells.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Status`], [`Error::Unreadable`].
    pub async fn instances(&self) -> Result<Vec<Instance>, Error> {
        self.read("/v1/instances").await
    }

    /// One instance.
    ///
    /// # Errors
    /// Those of [`instances`](Self::instances), and [`Error::Unreadable`] when there is none of this name.
    pub async fn instance(&self, name: &str) -> Result<Instance, Error> {
        let instances = self.instances().await?;
        let named = instances.into_iter().find(|instance| instance.name == name);
        named.ok_or_else(|| Error::Unreadable {
            what: format!("instance {name}"),
            why: "the control plane lists none of this name".to_owned(),
        })
    }

    /// Every session, as `GET /v1/sessions` tells.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Status`], [`Error::Unreadable`].
    pub async fn sessions(&self) -> Result<Vec<Session>, Error> {
        self.read("/v1/sessions").await
    }

    /// Ends a session by the operator's word.
    ///
    /// # Errors
    /// [`Error::Http`], and [`Error::Status`] when there is no such session.
    pub async fn terminate(&self, session: &str) -> Result<(), Error> {
        self.post(&format!("/v1/sessions/{session}/terminate"))
            .await
    }

    /// Gives an instance to nobody new.
    ///
    /// # Errors
    /// [`Error::Http`], and [`Error::Status`] when there is no such instance.
    pub async fn drain(&self, instance: &str) -> Result<(), Error> {
        self.post(&format!("/v1/instances/{instance}/drain")).await
    }

    /// Takes a [`drain`](Self::drain) back.
    ///
    /// # Errors
    /// [`Error::Http`], and [`Error::Status`] when there is no such instance.
    pub async fn undrain(&self, instance: &str) -> Result<(), Error> {
        self.post(&format!("/v1/instances/{instance}/undrain"))
            .await
    }

    /// `/metrics`, in Prometheus' text format.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Status`].
    pub async fn metrics(&self) -> Result<String, Error> {
        self.admin.get("/metrics").await
    }

    /// The value of one series, written as `/metrics` writes it, labels included; 0 while there is none.
    ///
    /// # Errors
    /// [`Error::Http`], [`Error::Status`].
    pub async fn metric(&self, series: &str) -> Result<f64, Error> {
        Ok(value_of(&self.metrics().await?, series).unwrap_or(0.0))
    }

    /// Waits until an instance has no lease.
    ///
    /// # Errors
    /// [`Error::Timeout`] with the instance's last state.
    pub async fn wait_until_free(&self, name: &str, within: Duration) -> Result<(), Error> {
        wait_until(format!("instance {name} to be free"), within, async || {
            let instance = self.instance(name).await?;
            Ok(Seen::when(
                instance.lease.is_none(),
                format!("{instance:?}"),
            ))
        })
        .await
    }

    /// Asks it to end (SIGTERM), as an operator does, and kills it if it takes more than a few seconds. Answers how it
    /// ended; `None` if it was not running.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn stop(&self) -> Result<Option<ExitStatus>, Error> {
        self.program.stop(STOP).await
    }

    /// Stops it where it is (SIGSTOP): what comes to it waits in its sockets.
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

    /// Ends it at once (SIGKILL).
    ///
    /// # Errors
    /// [`Error::Io`].
    pub async fn kill(&self) -> Result<(), Error> {
        self.program.kill().await
    }

    /// Starts it again, on the same ports and configuration, and waits until it answers; ends it first if it runs.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Ended`].
    pub async fn restart(&self) -> Result<(), Error> {
        self.stop().await?;
        self.launch().await
    }

    /// `Ok` while it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ended by itself.
    pub fn check(&self) -> Result<(), Error> {
        self.program.check()
    }

    /// How much memory it has, and how much it had at most since it was started.
    ///
    /// # Errors
    /// [`Error::Impossible`] when it is not running, [`Error::Io`], [`Error::Unreadable`].
    pub fn memory(&self) -> Result<Memory, Error> {
        self.program.memory()
    }

    /// Its process id while it runs.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.program.id()
    }

    /// Everything it has logged.
    #[must_use]
    pub fn log(&self) -> String {
        self.program.log()
    }

    async fn launch(&self) -> Result<(), Error> {
        let mut command = Command::new(&self.executable);
        command.arg("serve").arg("--config").arg(&self.config);
        if let Some(filter) = &self.log_filter {
            command.args(["--log-filter", filter]);
        }
        self.program.start(&mut command)?;
        wait_until("the control plane to answer", START, async || {
            self.program.check()?;
            Ok(match self.admin.get("/healthz").await {
                Ok(_) => Seen::Yes(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await
    }

    async fn read<T: DeserializeOwned>(&self, path: &str) -> Result<T, Error> {
        serde_json::from_value(self.admin.json(path).await?).map_err(|error| Error::Unreadable {
            what: path.to_owned(),
            why: error.to_string(),
        })
    }

    async fn post(&self, path: &str) -> Result<(), Error> {
        self.admin.post(path).await.map(drop)
    }
}

/// An instance, as the admin API tells.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Instance {
    /// Its name.
    pub name: String,
    /// The pool it is in.
    pub pool: String,
    /// `ip:port` of its signaling socket.
    pub address: String,
    /// `up`, `down` or `unknown`.
    pub health: String,
    /// Whether it is given to nobody new.
    pub draining: bool,
    /// Whether it is given to nobody at all.
    pub quarantined: bool,
    /// Who has it.
    pub lease: Option<Lease>,
}

/// The lease of an instance, as the admin API tells.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Lease {
    /// Such as `active` or `resumable`.
    pub state: String,
    /// Its session.
    pub session: String,
    /// `term.sequence`.
    pub fence: String,
    /// Whose it is.
    pub subject: String,
}

/// A session, as the admin API tells.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Session {
    /// Its id, minted by the filter.
    pub id: String,
    /// The pool it asked for.
    pub pool: String,
    /// The instance it has, once it has one.
    pub instance: Option<String>,
    /// Whose it is.
    pub subject: String,
    /// The client's address as the proxy trusts it.
    pub client_address: String,
    /// Such as `active`.
    pub state: String,
    /// The proxy it came by.
    pub node: String,
}

/// Runs a command to its end.
async fn printed(mut command: Command, shown: String) -> Result<String, Error> {
    let output = command.output().await.map_err(Error::io(&shown))?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(Error::Failed {
            command: shown,
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// Prometheus' text format: a series, a space, its value.
fn value_of(metrics: &str, series: &str) -> Option<f64> {
    metrics
        .lines()
        .find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
}

/// The name that the control plane shows Envoys.
pub(crate) const XDS_SERVER_NAME: &str = "berth.example";

const START: Duration = Duration::from_secs(20);
const STOP: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_found_by_its_whole_name() {
        let metrics =
            "# TYPE grants counter\ngrants_total 1\ngrants_total{pool=\"web\"} 2\ngrants 3\n";
        let cases = [
            ("grants", Some(3.0)),
            ("grants_total", Some(1.0)),
            ("grants_total{pool=\"web\"}", Some(2.0)),
            ("grant", None),
        ];
        for (series, value) in cases {
            assert_eq!(value_of(metrics, series), value, "{series}");
        }
    }
}
