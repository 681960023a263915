//! What a world's control plane is configured to do, and the file that says so.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use berth_client::Family;
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

mod pool;

pub use pool::{Choice, Pool, SecondDevice};

use crate::{Error, IdentityFiles};
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
    pub(crate) xds_tls: Option<&'a IdentityFiles>,
    pub(crate) admin_port: u16,
    pub(crate) listen: IpAddr,
    pub(crate) https_port: u16,
    pub(crate) native_port: u16,
    pub(crate) certificate_chain: &'a Path,
    pub(crate) private_key: &'a Path,
    pub(crate) by_sni: &'a [SniFiles],
    pub(crate) filter_module: &'a Path,
    /// How the module comes to Envoys, instead of the default.
    pub(crate) filter_delivery: Option<&'a str>,
    /// The nodes that have every pool by their own configuration.
    pub(crate) static_nodes: &'a [String],
    pub(crate) when_away: WhenAway,
    pub(crate) client_ca: Option<&'a Path>,
    pub(crate) jwks_file: &'a Path,
    /// Members of `admission`, in place of the usual ones.
    pub(crate) admission: &'a Map<String, Value>,
    /// Members of the one issuer, in place of the usual ones.
    pub(crate) issuer: &'a Map<String, Value>,
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
            xds: Xds {
                endpoint: Endpoint::on_loopback(self.xds_port),
                tls: self.xds_tls.map(|files| Tls {
                    certificate_chain: &files.certificate,
                    private_key: &files.private_key,
                    by_sni: &[],
                    client_ca: Some(&files.ca),
                }),
            },
            admin: Endpoint::on_loopback(self.admin_port),
            listeners: vec![
                listener("https", self.https_port),
                listener("native", self.native_port),
            ],
            tls: Tls {
                certificate_chain: self.certificate_chain,
                private_key: self.private_key,
                by_sni: self.by_sni,
                client_ca: self.client_ca,
            },
            filter: Filter {
                module: self.filter_module,
                delivery: self.filter_delivery,
                when_control_plane_away: self.when_away,
            },
            static_proxies: self
                .static_nodes
                .iter()
                .map(|node| StaticProxy { node })
                .collect(),
            admission: self.admission(),
            pools: self.pools.iter().map(PoolEntry::new).collect(),
            timing: Timing {
                tick: self.tick,
                handshake_timeout: self.handshake_timeout,
            },
            store: self.store.map(|path| Store { path }),
        }
    }

    fn admission(&self) -> Map<String, Value> {
        let issuer = object(json!({
            "issuer": ISSUER,
            "audiences": [AUDIENCE],
            "jwks_file": self.jwks_file,
        }));
        let mut default_pools = Map::new();
        for PlacedPool { pool, .. } in self.pools {
            let family = default_pools.entry(pool.family.as_str());
            family.or_insert_with(|| pool.name.clone().into());
        }
        let usual = object(json!({
            "issuers": [with(issuer, self.issuer)],
            "pools_claim": "pools",
            "tenant_claim": "tenant",
            "priority_claim": "priority",
            "labels": [{ "label": "region", "query_parameter": "region", "header": "x-region" }],
            // Tests fail on purpose, all from one address.
            "attempts": { "burst": 0, "per_minute": 0 },
            "default_pools": default_pools,
            // Every client of a test has the same address, and many are wrong on purpose.
            "attempts": { "burst": 0, "per_minute": 1 },
        }));
        with(usual, self.admission)
    }
}

/// The members of a value that is an object.
pub(crate) fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// Sets members, or takes those away that are null.
fn with(mut usual: Map<String, Value>, changes: &Map<String, Value>) -> Map<String, Value> {
    for (name, value) in changes {
        match value {
            Value::Null => usual.remove(name),
            value => usual.insert(name.clone(), value.clone()),
        };
    }
    usual
}

#[derive(Serialize)]
struct File<'a> {
    xds: Xds<'a>,
    admin: Endpoint,
    listeners: Vec<Listener>,
    tls: Tls<'a>,
    filter: Filter<'a>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    static_proxies: Vec<StaticProxy<'a>>,
    admission: Map<String, Value>,
    pools: Vec<PoolEntry<'a>>,
    timing: Timing,
    #[serde(skip_serializing_if = "Option::is_none")]
    store: Option<Store<'a>>,
}

#[derive(Serialize)]
struct Xds<'a> {
    #[serde(flatten)]
    endpoint: Endpoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    tls: Option<Tls<'a>>,
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
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    by_sni: &'a [SniFiles],
    #[serde(skip_serializing_if = "Option::is_none")]
    client_ca: Option<&'a Path>,
}

/// A certificate beside the default one.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SniFiles {
    pub(crate) name: String,
    pub(crate) certificate_chain: PathBuf,
    pub(crate) private_key: PathBuf,
}

#[derive(Serialize)]
struct StaticProxy<'a> {
    node: &'a str,
}

#[derive(Serialize)]
struct Filter<'a> {
    module: &'a Path,
    #[serde(skip_serializing_if = "Option::is_none")]
    delivery: Option<&'a str>,
    when_control_plane_away: WhenAway,
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
