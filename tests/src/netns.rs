//! Network namespaces: a host of its own for a client, whose cable can be pulled.
//!
//! A client that vanishes without a FIN cannot be had on loopback: the kernel closes what a process leaves open.
//! In a namespace joined to this one by a veth pair, taking the link down stops every packet instead.

use std::net::{IpAddr, Ipv4Addr};
use std::process::Command as Blocking;
use std::time::Duration;

use tokio::process::Command;
use tokio::time::timeout;

use crate::Error;
use crate::claims::Claim;
use crate::ports;

/// A network namespace with one link to this one. Deleted when dropped.
#[derive(Debug)]
pub struct Namespace {
    claim: Claim,
}

/// Why this machine has no namespaces for tests; `None` if it has. Tests say so and pass where it cannot be helped.
#[must_use]
pub fn unavailable() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root makes network namespaces");
    }
    let found = Blocking::new("ip").arg("-V").output();
    let works = found.is_ok_and(|output| output.status.success());
    (!works).then_some("iproute2 is not installed")
}

impl Namespace {
    /// A namespace whose link is up, and from which this namespace is reached at [`host_address`](Self::host_address).
    ///
    /// # Errors
    /// [`Error::Failed`] with what `ip` said, [`Error::Exhausted`], [`Error::Io`].
    pub async fn create() -> Result<Self, Error> {
        let namespace = Self {
            claim: Claim::take(&ports::folder(), "subnets", SUBNETS)?,
        };
        // Whoever had the claim before may have been killed before it could clean up.
        namespace.delete();
        let (name, outer, inner) = (namespace.name(), namespace.outer(), namespace.inner());
        let prefixed = |address: IpAddr| format!("{address}/30");
        ip(&["netns", "add", &name]).await?;
        ip(&[
            "link", "add", &outer, "type", "veth", "peer", "name", &inner, "netns", &name,
        ])
        .await?;
        ip(&[
            "address",
            "add",
            &prefixed(namespace.host_address()),
            "dev",
            &outer,
        ])
        .await?;
        ip(&["link", "set", &outer, "up"]).await?;
        let within = ["-netns", &name];
        ip(&[
            &within[..],
            &[
                "address",
                "add",
                &prefixed(namespace.address()),
                "dev",
                &inner,
            ],
        ]
        .concat())
        .await?;
        ip(&[&within[..], &["link", "set", &inner, "up"]].concat()).await?;
        ip(&[&within[..], &["link", "set", "lo", "up"]].concat()).await?;
        Ok(namespace)
    }

    /// The address of this side of the link: what a client inside connects to.
    #[must_use]
    pub fn host_address(&self) -> IpAddr {
        self.nth_address(1)
    }

    /// The address of the other side.
    #[must_use]
    pub fn address(&self) -> IpAddr {
        self.nth_address(2)
    }

    /// A command that runs `program` inside. The child's pid is the program's own.
    #[must_use]
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command
            .args(["netns", "exec", &self.name()])
            .arg(program)
            .kill_on_drop(true);
        command
    }

    /// Pulls the cable: from now on no packet passes, and neither side is told. It stays pulled, for a namespace
    /// whose link comes back would send what it held back.
    ///
    /// # Errors
    /// [`Error::Failed`] with what `ip` said.
    pub async fn cut(&self) -> Result<(), Error> {
        ip(&["-netns", &self.name(), "link", "set", &self.inner(), "down"]).await
    }

    fn name(&self) -> String {
        format!("berth-test-{}", self.claim.index)
    }

    fn outer(&self) -> String {
        format!("berth{}o", self.claim.index)
    }

    fn inner(&self) -> String {
        format!("berth{}i", self.claim.index)
    }

    fn nth_address(&self, host: u32) -> IpAddr {
        let subnet = u32::from(FIRST_SUBNET) + 4 * u32::from(self.claim.index);
        IpAddr::V4(Ipv4Addr::from(subnet + host))
    }

    /// Deletes both devices, then the namespace: without the first step the kernel deletes them later, and a
    /// namespace of the same name would meet them.
    fn delete(&self) {
        let (outer, name) = (self.outer(), self.name());
        for arguments in [
            ["link", "delete", outer.as_str()],
            ["netns", "delete", name.as_str()],
        ] {
            // Nothing to delete is as good; anything else the next `create` meets and tells.
            let _unless_absent = Blocking::new("ip").args(arguments).output();
        }
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.delete();
    }
}

async fn ip(arguments: &[&str]) -> Result<(), Error> {
    let command = format!("ip {}", arguments.join(" "));
    let ended = Command::new("ip").args(arguments).output();
    let output = timeout(PATIENCE, ended)
        .await
        .map_err(|_| Error::Timeout {
            what: command.clone(),
            within: PATIENCE,
            last: "still running".to_owned(),
        })?
        .map_err(Error::io(&command))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(Error::Failed {
            command,
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }
}

/// RFC 2544's benchmarking network, which no real one has to reach.
const FIRST_SUBNET: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 0);
const SUBNETS: u16 = 256;
const PATIENCE: Duration = Duration::from_secs(10);
