//! What a world's control plane is configured to do, and the file that says so.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub use berth_client::Family;
use serde::{Serialize, Serializer};

use crate::Error;

/// A pool and its emulated instances. What is not set is as in a world's defaults (see
/// [`WorldBuilder`](crate::WorldBuilder)).
#[derive(Debug, Clone)]
pub struct Pool {
    pub(crate) name: String,
    pub(crate) family: Family,
    pub(crate) instances: u8,
    pub(crate) http_probe: bool,
    pub(crate) probe: Probe,
    pub(crate) second_device: SecondDevice,
    pub(crate) resume_window: Duration,
    pub(crate) settle: Duration,
    pub(crate) hold: Duration,
    pub(crate) orphan_after: Duration,
}

/// What becomes of a user's second session while the first is live.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SecondDevice {
    /// It is refused.
    Refuse,
    /// The first is closed.
    TakeOver,
    /// Both have an instance.
    Allow,
}

/// What a new request meets while the control plane does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// It is held, for as long as a full pool would hold it.
    Wait,
    /// 503.
    Refuse,
}

impl Pool {
    pub(crate) fn new(name: &str, family: Family) -> Self {
        Self {
            name: name.to_owned(),
            family,
            instances: 1,
            http_probe: false,
            probe: Probe {
                interval: Duration::from_millis(500),
                timeout: Duration::from_millis(500),
                rise: 2,
                fall: 3,
            },
            second_device: SecondDevice::TakeOver,
            resume_window: Duration::ZERO,
            settle: Duration::ZERO,
            hold: Duration::from_secs(1),
            orphan_after: Duration::from_secs(300),
        }
    }

    /// How many instances there are; they are named `<pool>-1` and so on.
    #[must_use]
    pub fn instances(mut self, count: u8) -> Self {
        self.instances = count;
        self
    }

    /// How long an instance waits for its client after that went away.
    #[must_use]
    pub fn resume_window(mut self, window: Duration) -> Self {
        self.resume_window = window;
        self
    }

    /// The pause between a session's end and the next grant of its instance.
    #[must_use]
    pub fn settle(mut self, pause: Duration) -> Self {
        self.settle = pause;
        self
    }

    /// How long a request waits when no instance is free.
    #[must_use]
    pub fn hold(mut self, hold: Duration) -> Self {
        self.hold = hold;
        self
    }

    /// When a lease is given up whose proxy fell silent.
    #[must_use]
    pub fn orphan_after(mut self, silence: Duration) -> Self {
        self.orphan_after = silence;
        self
    }

    /// What becomes of a user's second session while the first is live.
    #[must_use]
    pub fn second_device(mut self, policy: SecondDevice) -> Self {
        self.second_device = policy;
        self
    }

    /// Probes by `GET /v1/streaming/ready` instead of a TCP connection.
    #[must_use]
    pub fn http_probe(mut self) -> Self {
        self.http_probe = true;
        self
    }

    /// How often instances are probed, and how many results in a row bring one up or take one down.
    #[must_use]
    pub fn probe(mut self, interval: Duration, rise: u8, fall: u8) -> Self {
        self.probe = Probe {
            interval,
            timeout: interval,
            rise,
            fall,
        };
        self
    }
}

/// How often instances are probed, and what counts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probe {
    interval: Duration,
    timeout: Duration,
    rise: u8,
    fall: u8,
}

/// Everything the control plane's file says.
pub(crate) struct Settings<'a> {
    pub(crate) xds_port: u16,
    pub(crate) admin_port: u16,
    pub(crate) listen: IpAddr,
    pub(crate) https_port: u16,
    pub(crate) native_port: u16,
    pub(crate) certificate_chain: &'a Path,
    pub(crate) private_key: &'a Path,
    pub(crate) filter_module: &'a Path,
    pub(crate) when_away: WhenAway,
    pub(crate) jwks_file: &'a Path,
    pub(crate) pools: &'a [PlacedPool],
    pub(crate) tick: Duration,
    pub(crate) handshake_timeout: Duration,
}

/// A pool whose instances have addresses.
pub(crate) struct PlacedPool {
    pub(crate) pool: Pool,
    pub(crate) readiness_port: u16,
    pub(crate) instances: Vec<PlacedInstance>,
}

/// An instance and its signaling socket.
pub(crate) struct PlacedInstance {
    pub(crate) name: String,
    pub(crate) signaling: SocketAddr,
}

impl Settings<'_> {
    /// The file's text.
    pub(crate) fn to_yaml(&self) -> Result<String, Error> {
        serde_saphyr::to_string(&self.file()).map_err(|error| Error::Unreadable {
            what: "the control plane's configuration".to_owned(),
            why: error.to_string(),
        })
    }

    fn file(&self) -> File<'_> {
        let listener = |name, port| Listener {
            name,
            address: self.listen,
            port,
        };
        File {
            xds: Endpoint::on_loopback(self.xds_port),
            admin: Endpoint::on_loopback(self.admin_port),
            listeners: vec![
                listener("https", self.https_port),
                listener("native", self.native_port),
            ],
            tls: Tls {
                certificate_chain: self.certificate_chain,
                private_key: self.private_key,
            },
            filter: Filter {
                module: self.filter_module,
                when_control_plane_away: self.when_away,
            },
            admission: self.admission(),
            pools: self.pools.iter().map(PoolEntry::new).collect(),
            timing: Timing {
                tick: self.tick,
                handshake_timeout: self.handshake_timeout,
            },
        }
    }

    fn admission(&self) -> Admission<'_> {
        let first_of = |family| {
            let mut pools = self.pools.iter().map(|placed| &placed.pool);
            let pool = pools.find(|pool| pool.family == family)?;
            Some(pool.name.as_str())
        };
        Admission {
            issuers: vec![Issuer {
                issuer: ISSUER,
                audiences: [AUDIENCE],
                jwks_file: self.jwks_file,
            }],
            pools_claim: "pools",
            tenant_claim: "tenant",
            default_pools: DefaultPools {
                native: first_of(Family::Native),
                web: first_of(Family::Web),
            },
        }
    }
}

#[derive(Serialize)]
struct File<'a> {
    xds: Endpoint,
    admin: Endpoint,
    listeners: Vec<Listener>,
    tls: Tls<'a>,
    filter: Filter<'a>,
    admission: Admission<'a>,
    pools: Vec<PoolEntry<'a>>,
    timing: Timing,
}

#[derive(Serialize)]
struct Endpoint {
    listen: String,
}

impl Endpoint {
    fn on_loopback(port: u16) -> Self {
        Self {
            listen: format!("127.0.0.1:{port}"),
        }
    }
}

#[derive(Serialize)]
struct Listener {
    name: &'static str,
    address: IpAddr,
    port: u16,
}

#[derive(Serialize)]
struct Tls<'a> {
    certificate_chain: &'a Path,
    private_key: &'a Path,
}

#[derive(Serialize)]
struct Filter<'a> {
    module: &'a Path,
    when_control_plane_away: WhenAway,
}

#[derive(Serialize)]
struct Admission<'a> {
    issuers: Vec<Issuer<'a>>,
    pools_claim: &'static str,
    tenant_claim: &'static str,
    default_pools: DefaultPools<'a>,
}

#[derive(Serialize)]
struct Issuer<'a> {
    issuer: &'static str,
    audiences: [&'static str; 1],
    jwks_file: &'a Path,
}

#[derive(Serialize)]
struct DefaultPools<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    native: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<&'a str>,
}

#[derive(Serialize)]
struct PoolEntry<'a> {
    name: &'a str,
    family: &'static str,
    instances: Vec<InstanceEntry<'a>>,
    probe: ProbeEntry,
    second_device: SecondDevice,
    #[serde(serialize_with = "milliseconds")]
    resume_window: Duration,
    #[serde(serialize_with = "milliseconds")]
    settle: Duration,
    #[serde(serialize_with = "milliseconds")]
    hold: Duration,
    #[serde(serialize_with = "milliseconds")]
    orphan_after: Duration,
}

impl<'a> PoolEntry<'a> {
    fn new(placed: &'a PlacedPool) -> Self {
        let pool = &placed.pool;
        let http = pool.http_probe.then_some(HttpProbe {
            port: placed.readiness_port,
            path: "/v1/streaming/ready",
        });
        Self {
            name: &pool.name,
            family: pool.family.as_str(),
            instances: placed.instances.iter().map(InstanceEntry::new).collect(),
            probe: ProbeEntry {
                tcp: http.is_none().then_some(TcpProbe {}),
                http,
                interval: pool.probe.interval,
                timeout: pool.probe.timeout,
                rise: pool.probe.rise,
                fall: pool.probe.fall,
            },
            second_device: pool.second_device,
            resume_window: pool.resume_window,
            settle: pool.settle,
            hold: pool.hold,
            orphan_after: pool.orphan_after,
        }
    }
}

#[derive(Serialize)]
struct InstanceEntry<'a> {
    name: &'a str,
    address: SocketAddr,
}

impl<'a> InstanceEntry<'a> {
    fn new(instance: &'a PlacedInstance) -> Self {
        Self {
            name: &instance.name,
            address: instance.signaling,
        }
    }
}

#[derive(Serialize)]
struct ProbeEntry {
    #[serde(skip_serializing_if = "Option::is_none")]
    tcp: Option<TcpProbe>,
    #[serde(skip_serializing_if = "Option::is_none")]
    http: Option<HttpProbe>,
    #[serde(serialize_with = "milliseconds")]
    interval: Duration,
    #[serde(serialize_with = "milliseconds")]
    timeout: Duration,
    rise: u8,
    fall: u8,
}

#[derive(Serialize)]
struct TcpProbe {}

#[derive(Serialize)]
struct HttpProbe {
    port: u16,
    path: &'static str,
}

#[derive(Serialize)]
struct Timing {
    #[serde(serialize_with = "milliseconds")]
    tick: Duration,
    #[serde(serialize_with = "milliseconds")]
    handshake_timeout: Duration,
}

/// As the file writes durations.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}ms", duration.as_millis()))
}

/// Whose tokens a world accepts.
pub const ISSUER: &str = "https://login.berth.example";
/// For whom they have to be.
pub const AUDIENCE: &str = "berth";
