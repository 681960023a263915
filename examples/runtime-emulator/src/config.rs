use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::num::{NonZeroU64, ParseIntError};
use std::str::FromStr;
use std::time::Duration;

use berth_client::signaling::HEARTBEAT;

/// How an emulator starts and what it is like. [`Default`] is a healthy web and native runtime on
/// ports of its own on 127.0.0.1.
#[derive(Clone, Debug)]
pub struct EmulatorConfig {
    /// The address all three ports are on.
    pub address: IpAddr,
    /// The web family's signaling; 49100 on a real runtime, 0 for any free port.
    pub web_port: u16,
    /// The native family's signaling; 48010 on a real runtime, 0 for any free port.
    pub native_port: u16,
    /// Readiness and control; 0 for any free port.
    pub readiness_port: u16,
    /// What a client meets that comes while another's session is live.
    pub second_client: SecondClient,
    /// The fault it starts with.
    pub fault: Fault,
    /// How often it sends `{"hb":1}` to a web client that has introduced itself.
    pub heartbeat: Duration,
    /// Which offered subprotocol it selects.
    pub subprotocol: Subprotocol,
    /// After how long a web client that has not introduced itself is told `peerRemoved` and closed.
    /// `None`, the default, never: clients of echo tests do not introduce themselves.
    pub introduction_limit: Option<Duration>,
    /// Whether `GET /v1/streaming/ready` answers 200 from the start.
    pub ready: bool,
    /// Whether it goes on answering 200 while a session is live.
    pub ready_while_live: bool,
    /// What both signaling ports show; `None`, the default: they are reached without TLS.
    pub tls: Option<EmulatorTls>,
}

/// What signaling over TLS takes.
#[derive(Clone)]
pub struct EmulatorTls {
    /// The certificate chain, PEM, leaf first.
    pub certificate_chain: String,
    /// The leaf's key, PEM. Not in `Debug`.
    pub private_key: String,
    /// Who signs the certificates that clients have to show, PEM; `None`: they are not asked for one.
    pub client_ca: Option<String>,
}

impl fmt::Debug for EmulatorTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmulatorTls")
            .field("certificate_chain", &self.certificate_chain)
            .field("client_ca", &self.client_ca)
            .finish_non_exhaustive()
    }
}

impl Default for EmulatorConfig {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::LOCALHOST.into(),
            web_port: 0,
            native_port: 0,
            readiness_port: 0,
            second_client: SecondClient::AcceptAndRecord,
            fault: Fault::None,
            heartbeat: HEARTBEAT,
            subprotocol: Subprotocol::FirstOffered,
            introduction_limit: None,
            ready: true,
            ready_while_live: true,
            tls: None,
        }
    }
}

/// What a client meets that comes while another's session is live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecondClient {
    /// A session of its own. What tests of exclusivity need: the other two hide a double placement.
    AcceptAndRecord,
    /// 503 before the upgrade.
    Reject,
    /// A session of its own, once the live one has been told `peerRemoved` and closed.
    Evict,
}

/// Which offered subprotocol is selected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subprotocol {
    /// The first, as `x-nv-sessionid.<id>` is echoed by a runtime.
    FirstOffered,
    /// None, whatever is offered.
    None,
}

/// How an emulator misbehaves. Set at the start, or at any time while it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    None,
    /// Resets every new TCP connection as soon as it is accepted.
    RefuseConnection,
    /// Answers every upgrade with 503.
    RefuseUpgrade,
    /// Takes every upgrade request and answers nothing until the fault is lifted.
    HangBeforeUpgrade,
    /// Resets a session's connection, without a Close frame, when its nth text or binary message since
    /// its start arrives, or the first after that.
    DieAfter(NonZeroU64),
    /// Neither reads nor writes, heartbeats included, and keeps every socket open until the fault is
    /// lifted. New upgrade requests hang.
    GoSilent,
    /// Resets the connection of each of the next n upgrade requests, then works.
    FailFirstConnects(u64),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::RefuseConnection => f.write_str("refuse-connection"),
            Self::RefuseUpgrade => f.write_str("refuse-upgrade"),
            Self::HangBeforeUpgrade => f.write_str("hang-before-upgrade"),
            Self::DieAfter(messages) => write!(f, "die-after={messages}"),
            Self::GoSilent => f.write_str("go-silent"),
            Self::FailFirstConnects(connects) => write!(f, "fail-first-connects={connects}"),
        }
    }
}

impl FromStr for Fault {
    type Err = ParseFaultError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('=') {
            None => match text {
                "none" => Ok(Self::None),
                "refuse-connection" => Ok(Self::RefuseConnection),
                "refuse-upgrade" => Ok(Self::RefuseUpgrade),
                "hang-before-upgrade" => Ok(Self::HangBeforeUpgrade),
                "go-silent" => Ok(Self::GoSilent),
                _ => Err(ParseFaultError::Unknown),
            },
            Some(("die-after", messages)) => Ok(Self::DieAfter(messages.parse()?)),
            Some(("fail-first-connects", connects)) => {
                Ok(Self::FailFirstConnects(connects.parse()?))
            }
            Some(_) => Err(ParseFaultError::Unknown),
        }
    }
}

/// The text names no fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseFaultError {
    /// Not the name of one.
    #[error(
        "a fault is none, refuse-connection, refuse-upgrade, hang-before-upgrade, die-after=N, go-silent \
         or fail-first-connects=N"
    )]
    Unknown,
    /// A name with a number that is none.
    #[error("not a number of times: {0}")]
    Number(#[from] ParseIntError),
}
