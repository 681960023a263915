//! What a world's control plane is configured to do, and the file that says so.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

pub use berth_client::Family;
use serde::{Serialize, Serializer};

mod pool;

pub use pool::{Choice, Pool, SecondDevice};

use crate::Error;
use pool::PoolEntry;

/// What a new request meets while the control plane does not answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum WhenAway {
    /// It is held, for as long as a full pool would hold it.
    Wait,
    /// 503.
    Refuse,
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
    /// Where the issuer's keys are instead.
    pub(crate) jwks_url: Option<&'a str>,
    pub(crate) pools: &'a [PlacedPool],
    pub(crate) tick: Duration,
    pub(crate) handshake_timeout: Duration,
    /// What outlives the process, instead of the default.
    pub(crate) store: Option<&'a Path>,
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
            store: self.store.map(|path| Store { path }),
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
                jwks_file: self.jwks_url.is_none().then_some(self.jwks_file),
                jwks_url: self.jwks_url,
                min_refetch: self.jwks_url.is_some().then_some(MIN_REFETCH),
            }],
            pools_claim: "pools",
            tenant_claim: "tenant",
            priority_claim: "priority",
            labels: [Label {
                label: "region",
                query_parameter: "region",
                header: "x-region",
            }],
            // Tests fail on purpose, all from one address.
            attempts: Attempts {
                burst: 0,
                per_minute: 0,
            },
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
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Store<'a>>,
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
    priority_claim: &'static str,
    labels: [Label; 1],
    attempts: Attempts,
    default_pools: DefaultPools<'a>,
}

#[derive(Serialize)]
struct Attempts {
    burst: u32,
    per_minute: u32,
}

#[derive(Serialize)]
struct Label {
    label: &'static str,
    query_parameter: &'static str,
    header: &'static str,
}

#[derive(Serialize)]
struct Issuer<'a> {
    issuer: &'static str,
    audiences: [&'static str; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_file: Option<&'a Path>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwks_url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[serde(serialize_with = "some_milliseconds")]
    min_refetch: Option<Duration>,
}

#[derive(Serialize)]
struct DefaultPools<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    native: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    web: Option<&'a str>,
}

#[derive(Serialize)]
struct Timing {
    #[serde(serialize_with = "milliseconds")]
    tick: Duration,
    #[serde(serialize_with = "milliseconds")]
    handshake_timeout: Duration,
}

#[derive(Serialize)]
struct Store<'a> {
    path: &'a Path,
}

/// Where there is one.
fn some_milliseconds<S: Serializer>(
    duration: &Option<Duration>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    milliseconds(&duration.unwrap_or_default(), serializer)
}

/// As the file writes durations.
fn milliseconds<S: Serializer>(duration: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&format!("{}ms", duration.as_millis()))
}

/// Whose tokens a world accepts.
pub const ISSUER: &str = "https://login.berth.example";
/// For whom they have to be.
pub const AUDIENCE: &str = "berth";
/// Long enough to see that there is no second fetch, and short enough to wait for it.
pub const MIN_REFETCH: Duration = Duration::from_secs(2);
