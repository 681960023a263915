//! The operator's configuration: one YAML file, read once, either a valid [`Config`] or every
//! reason why it is none.
//!
//! Two steps. The file's shape is read into plain structures that know no rules; those are then
//! checked against each other into types that can hold nothing invalid. Nobody else sees YAML.

use std::{
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    time::Duration,
};

use berth_admission::{Family, Policy, PolicyConfig, PolicyError};

use crate::{
    certificates::ListenerTls,
    fleet::{Fleet, InstanceSpec, Thresholds},
    keys::KeySource,
    placement::{self, InstanceName, Labels, PoolName, PoolPolicy, Zone},
    static_proxies::NodePattern,
    store::HistoryLimits,
    tls::{InstanceFiles, TlsFiles},
    xds::{self, Profiles},
};

pub use error::{ConfigError, Fault, Problem};
pub use field::{FieldPath, Position};
pub use name::NameError;
pub(crate) use name::zone;

mod check;
mod error;
mod field;
mod name;
mod raw;
#[cfg(test)]
mod tests;
mod yaml;

/// A valid configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where ADS and the session service listen.
    pub xds: SocketAddr,
    /// What both sides show each other there; `None`: nothing, and it is not encrypted.
    pub xds_tls: Option<TlsFiles>,
    /// How many streams of proxies are served at once; more are refused.
    pub max_streams: usize,
    /// Where the admin API and the metrics listen.
    pub admin: SocketAddr,
    /// What Envoy listens on, in the order of the file; at least one.
    pub listeners: Vec<Listener>,
    /// What Envoy shows its clients.
    pub tls: ListenerTls,
    /// The proxy-wasm module.
    pub filter: Filter,
    /// Proxies that have instances by their own configuration. Where two entries fit one, the first counts.
    pub static_proxies: Vec<StaticProxy>,
    admission: PolicyConfig,
    /// Where the keys of admission's issuers come from, in the order of the file.
    pub key_sources: Vec<KeySource>,
    /// In the order of the file; at least one.
    pub pools: Vec<Pool>,
    /// Times that hold for every pool.
    pub timing: Timing,
    /// What outlives the process, and where.
    pub store: Store,
    /// Which part of all this a proxy is told.
    pub profiles: Profiles,
}

/// What outlives the process, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    /// Where it is kept.
    pub place: StorePlace,
    /// How much is remembered of sessions that are over.
    pub history: HistoryLimits,
}

/// Where things are kept that outlive the process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StorePlace {
    /// In this file; absolute.
    File(PathBuf),
    /// Nowhere.
    Memory,
}

impl StorePlace {
    /// The file, if it is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::File(path) => Some(path),
            Self::Memory => None,
        }
    }
}

/// One socket of Envoy's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Unique; the name of the xDS resource.
    pub name: String,
    /// What to bind.
    pub address: IpAddr,
    /// What to bind.
    pub port: NonZeroU16,
}

/// A proxy that asks for sessions and takes nothing over xDS: its own configuration has the instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StaticProxy {
    /// Its node id, or those of several.
    pub nodes: NodePattern,
    /// The pools whose instances it has, each once; at least one.
    pub pools: Vec<PoolName>,
    /// Where it is.
    pub zone: Option<Zone>,
}

/// The proxy-wasm module and its ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Where it is, absolute: on Envoy's host or on this one, as `delivery` says.
    pub module: PathBuf,
    /// How it comes to Envoy.
    pub delivery: Delivery,
    /// What new requests meet while the control plane does not answer.
    pub when_control_plane_away: WhenControlPlaneAway,
}

/// How the module comes to Envoy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// It lies on Envoy's host.
    File,
    /// It is read here, and sent with the filter's configuration.
    Inline,
}

/// What new requests meet while the control plane does not answer. Never a placement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenControlPlaneAway {
    /// They are held for the longest `hold` of all pools.
    Wait,
    /// They are refused at once.
    Refuse,
}

/// Instances that are interchangeable for a client.
#[derive(Debug, Clone)]
pub struct Pool {
    /// Unique.
    pub name: PoolName,
    /// The clients its instances serve.
    pub family: Family,
    /// Static instances; names and addresses are unique across all pools.
    pub instances: Vec<Instance>,
    /// How their health is found out.
    pub probe: Probe,
    /// The rules of its leases.
    pub policy: PoolPolicy,
    /// What proxies and its instances show each other; `None`: nothing, and what they say is not encrypted.
    pub instance_tls: Option<InstanceTls>,
}

/// What proxies and a pool's instances show each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceTls {
    /// Where it is.
    pub files: InstanceFiles,
    /// What is in there.
    pub tls: xds::InstanceTls,
}

/// One CloudXR server instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// Unique across all pools.
    pub name: InstanceName,
    /// Its signaling socket; unique across all pools.
    pub address: SocketAddr,
    /// Where it is.
    pub zone: Option<Zone>,
    /// What it has that a client can ask for.
    pub labels: Labels,
}

/// How an instance is probed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What is asked.
    pub kind: ProbeKind,
    /// From the start of one probe to the start of the next.
    pub interval: Duration,
    /// When a probe without an answer has failed; at most `interval`.
    pub timeout: Duration,
    /// How many results in a row count.
    pub thresholds: Thresholds,
}

/// What a probe asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeKind {
    /// Does the signaling socket take a connection?
    Tcp,
    /// Does a GET of this path on this port of the instance's address answer 2xx?
    Http {
        /// The port, on the instance's address.
        port: NonZeroU16,
        /// Begins with `/`.
        path: String,
    },
}

/// Times that hold for every pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// How often each filter VM says what is live in it.
    pub tick: Duration,
    /// How long an instance may take from the request to its 101.
    pub handshake_timeout: Duration,
}

impl Config {
    /// Reads the configuration, and the files it names: certificate, key, key sets.
    ///
    /// # Errors
    /// [`ConfigError`]; every broken rule at once, but of a file that is no YAML or has not the
    /// right fields only the first place.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let unreadable = |error| ConfigError::Unreadable {
            path: path.to_owned(),
            error,
        };
        let absolute = std::path::absolute(path).map_err(unreadable)?;
        let text = std::fs::read_to_string(path).map_err(unreadable)?;
        let folder = absolute.parent().unwrap_or(&absolute);
        let read = |path: &Path| std::fs::read(path);
        yaml::parse(&text, folder, &read).map_err(|problems| ConfigError::Invalid {
            path: path.to_owned(),
            problems,
        })
    }

    /// The keys in the issuers' sets that admission cannot use and therefore ignores (RFC 7517,
    /// section 5): worth a warning.
    pub fn ignored_keys(&self) -> Vec<PolicyError> {
        Policy::compile(self.admission_policy())
            .map(|policy| policy.ignored_keys().to_vec())
            .unwrap_or_default()
    }

    /// Whether client certificates stand for users, and only an Envoy with listeners of its own could ask for them: worth
    /// a warning.
    pub fn asks_for_no_certificate(&self) -> bool {
        !self.admission.client_certificates.is_empty() && self.tls.client_ca.is_none()
    }

    /// What admission decides by; known to compile. Issuers whose keys have to be fetched have none.
    pub fn admission_policy(&self) -> PolicyConfig {
        self.admission.clone()
    }

    /// The instances that a proxy has by its own configuration, in the order of the file.
    pub fn instances_of(&self, proxy: &StaticProxy) -> Vec<InstanceName> {
        let pools = self.pools.iter();
        pools
            .filter(|pool| proxy.pools.contains(&pool.name))
            .flat_map(|pool| pool.instances.iter().map(|instance| instance.name.clone()))
            .collect()
    }

    /// The fleet before anything is known of it.
    pub fn fleet(&self) -> Fleet {
        Fleet::new(self.pools.iter().flat_map(|pool| {
            pool.instances.iter().map(|instance| InstanceSpec {
                name: instance.name.clone(),
                pool: pool.name.clone(),
                address: instance.address,
                thresholds: pool.probe.thresholds,
            })
        }))
    }
}

impl Instance {
    /// What placement is told of it, as one of `pool`. Instances of one address share a host.
    pub fn placed(&self, pool: &PoolName) -> placement::InstanceSpec {
        placement::InstanceSpec {
            name: self.name.clone(),
            pool: pool.clone(),
            host: self.address.ip().to_string().into(),
            zone: self.zone.clone(),
            labels: self.labels.clone(),
            agent: false,
        }
    }
}
