//! The servers that are measured: programs that are told which instance changes.

use std::collections::HashSet;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use berth_tests::{
    Certificates, ControlPlane, Memory, Ports, Scratch, Seen, SigningKeys, filter_module,
    go_control_plane, processor_time, wait_until, xds_alone,
};
use clap::ValueEnum;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::BenchError;

/// What is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Side {
    /// Berth's xDS library and nothing behind it.
    #[value(name = "xds-alone")]
    Alone,
    /// `berth serve`: probes, placement, the journal, and what each node is known to reach.
    #[value(name = "berth-serve")]
    Whole,
    /// The server of `go-control-plane/`.
    GoControlPlane,
}

impl Side {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Alone => "xDS alone",
            Self::Whole => "berth serve",
            Self::GoControlPlane => "go-control-plane",
        }
    }

    /// Whether there is one here.
    pub(super) fn is_at_hand(self) -> Result<bool, BenchError> {
        Ok(match self {
            Self::Alone | Self::Whole => true,
            Self::GoControlPlane => go_control_plane()?.is_some(),
        })
    }
}

/// A server of one pool. It ends when dropped.
pub(super) struct Server {
    program: Program,
    pub(super) address: SocketAddr,
    process: u32,
    instances: usize,
    changes: usize,
}

enum Program {
    Told(Box<Told>),
    Operated(Box<Operated>),
}

impl Server {
    /// Starts one whose pool has so many instances, and waits until all of them are healthy.
    pub(super) async fn start(
        side: Side,
        instances: usize,
        ports: &mut Ports,
    ) -> Result<Self, BenchError> {
        let port = ports.take()?;
        let program = match side {
            Side::Alone => Told::start(&xds_alone()?, port, instances).await?.into(),
            Side::GoControlPlane => {
                let program = go_control_plane()?.ok_or(GONE)?;
                Told::start(&program, port, instances).await?.into()
            }
            Side::Whole => {
                let operated = Operated::start(port, instances, ports).await?;
                Program::Operated(Box::new(operated))
            }
        };
        let process = match &program {
            Program::Told(told) => told.child.id(),
            Program::Operated(operated) => operated.control_plane.process(),
        };
        Ok(Self {
            program,
            address: (Ipv4Addr::LOCALHOST, port).into(),
            process: process.ok_or(GONE)?,
            instances,
            changes: 0,
        })
    }

    /// Changes the health of an instance, each time another one's; back once it was every one's turn.
    pub(super) async fn change(&mut self) -> Result<(), BenchError> {
        let instance = self.changes % self.instances;
        self.changes += 1;
        match &mut self.program {
            Program::Told(told) => told.change(instance).await,
            Program::Operated(operated) => operated.change(instance).await,
        }
    }

    /// The processor time it has used so far, once it is done with what it was asked.
    pub(super) async fn settled(&self) -> Result<Duration, BenchError> {
        let begun = Instant::now();
        let mut before = processor_time(self.process)?;
        loop {
            sleep(LOOK).await;
            let now = processor_time(self.process)?;
            if now.saturating_sub(before) < IDLE {
                return Ok(now);
            }
            if begun.elapsed() > PATIENCE {
                return Err(BenchError::Side(
                    "a server that is done with what it was asked",
                ));
            }
            before = now;
        }
    }

    /// The processor time it has used so far.
    pub(super) fn processor_time(&self) -> Result<Duration, BenchError> {
        Ok(processor_time(self.process)?)
    }

    /// How much memory it has had at most, in bytes.
    pub(super) fn peak(&self) -> Result<u64, BenchError> {
        Ok(Memory::of(self.process)?.peak)
    }
}

impl From<Told> for Program {
    fn from(told: Told) -> Self {
        Self::Told(Box::new(told))
    }
}

/// A program that takes `change N` on a line and answers `done NANOSECONDS`.
struct Told {
    child: Child,
    commands: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Told {
    async fn start(executable: &Path, port: u16, instances: usize) -> Result<Self, BenchError> {
        let mut child = Command::new(executable)
            .args([format!("--port={port}"), format!("--instances={instances}")])
            .arg("--pools=1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (commands, answers) = child.stdin.take().zip(child.stdout.take()).ok_or(GONE)?;
        let mut told = Self {
            child,
            commands,
            answers: BufReader::new(answers).lines(),
        };
        told.answer("ready").await?;
        Ok(told)
    }

    async fn change(&mut self, instance: usize) -> Result<(), BenchError> {
        let command = format!("change {instance}\n");
        self.commands.write_all(command.as_bytes()).await?;
        self.answer("done ").await
    }

    async fn answer(&mut self, expected: &str) -> Result<(), BenchError> {
        let line = timeout(PATIENCE, self.answers.next_line()).await;
        match line.map_err(|_| GONE)?? {
            Some(line) if line.starts_with(expected) => Ok(()),
            _ => Err(GONE),
        }
    }
}

/// The control plane as an operator has it, whose change is an instance that is drained, or no more.
struct Operated {
    control_plane: ControlPlane,
    drained: HashSet<usize>,
    _instances: JoinSet<()>,
    _scratch: Scratch,
}

impl Operated {
    async fn start(port: u16, instances: usize, ports: &mut Ports) -> Result<Self, BenchError> {
        let scratch = Scratch::temporary()?;
        let (admin_port, instance_port) = (ports.take()?, ports.take()?);
        // Every address of 127.0.0.0/8 is this machine's.
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, instance_port)).await?;
        let mut accepting = JoinSet::new();
        accepting.spawn(async move {
            // What is taken is let go of: a probe wants no more.
            while listener.accept().await.is_ok() {}
        });
        let config = configuration(&scratch, (port, admin_port), instance_port, instances)?;
        let path = scratch.path().join("berth.yaml");
        fs::write(&path, config.to_string())?;
        let control_plane =
            ControlPlane::start(&path, port, admin_port, Some("warn"), scratch.path()).await?;
        wait_until("every instance to be up", PATIENCE, async || {
            let known = control_plane.instances().await?;
            let up = known.iter().filter(|it| it.health == "up").count();
            Ok(Seen::when(
                up == instances,
                format!("{up} of {instances} are"),
            ))
        })
        .await?;
        Ok(Self {
            control_plane,
            drained: HashSet::new(),
            _instances: accepting,
            _scratch: scratch,
        })
    }

    async fn change(&mut self, instance: usize) -> Result<(), BenchError> {
        let name = format!("gpu-{instance}");
        if self.drained.insert(instance) {
            self.control_plane.drain(&name).await?;
        } else {
            self.drained.remove(&instance);
            self.control_plane.undrain(&name).await?;
        }
        Ok(())
    }
}

/// JSON is YAML too.
fn configuration(
    scratch: &Scratch,
    (xds, admin): (u16, u16),
    instance_port: u16,
    instances: usize,
) -> Result<Value, BenchError> {
    let certificates = Certificates::load_or_create(&scratch.path().join("tls"))?;
    let jwks = scratch.path().join("jwks.json");
    fs::write(&jwks, SigningKeys::of_tests()?.jwks().to_string())?;
    let instance = |number: usize| {
        let [.., high, low] = number.to_be_bytes();
        json!({
            "name": format!("gpu-{number}"),
            "address": format!("127.1.{high}.{low}:{instance_port}"),
        })
    };
    Ok(json!({
        "xds": { "listen": format!("127.0.0.1:{xds}") },
        "admin": { "listen": format!("127.0.0.1:{admin}") },
        "listeners": [{ "name": "https", "address": "127.0.0.1", "port": 443 }],
        "tls": {
            "certificate_chain": certificates.chain,
            "private_key": certificates.private_key,
        },
        "filter": { "module": filter_module()? },
        "admission": { "issuers": [{
            "issuer": berth_tests::ISSUER,
            "audiences": [berth_tests::AUDIENCE],
            "jwks_file": jwks,
        }] },
        "pools": [{
            "name": "pool-0",
            "family": "web",
            "instances": (0..instances).map(instance).collect::<Vec<_>>(),
            // Once: that they are up is all that is wanted of them.
            "probe": { "tcp": {}, "interval": "1h", "timeout": "1m" },
        }],
    }))
}

const GONE: BenchError = BenchError::Side("a server that does as it is told");
const PATIENCE: Duration = Duration::from_secs(120);
const LOOK: Duration = Duration::from_millis(50);
/// A server that used less of a [`LOOK`] is done: keep-alives and timers take less, the least answer takes more in all.
const IDLE: Duration = Duration::from_micros(500);
