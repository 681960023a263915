//! What an operator's configuration and the fleet ask of a proxy, in plain values.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use tonic::codegen::Bytes;

use super::snapshot::Inconsistent;

/// Everything one Envoy is to be told.
#[derive(Clone, Debug)]
pub struct Gateway {
    /// Where clients arrive; two ports are two listeners. Empty where the proxy has listeners of its own.
    pub listeners: Vec<ListenerSpec>,
    /// What the listeners and their clients present to each other.
    pub certificates: Certificates,
    /// The admission filter.
    pub filter: FilterSpec,
    /// Bounds the wait for an instance's 101, once admitted. Ends with the 101.
    pub handshake_timeout: Duration,
    /// Where sessions may go.
    pub pools: Vec<PoolSpec>,
}

/// A TLS socket that takes clients.
#[derive(Clone, Debug)]
pub struct ListenerSpec {
    /// Unique among the listeners.
    pub name: String,
    /// The address to bind.
    pub address: IpAddr,
    /// The port to bind.
    pub port: u16,
}

/// What the listeners and their clients present to each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificates {
    /// What a client is shown that asks for no name, or for one that no certificate has.
    pub default: Certificate,
    /// More of them. A client is shown the first that has the name it asks for, the default one before all of these.
    pub by_sni: Vec<SniCertificate>,
    /// Who may have signed the certificates that clients present, PEM. `None`: clients are not asked for one.
    pub client_ca_pem: Option<String>,
}

/// A certificate for clients that ask for one of its names (Server Name Indication, RFC 6066, section 3).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SniCertificate {
    /// Unique among them; proxies know it as `berth/<name>`.
    pub name: String,
    /// The certificate.
    pub certificate: Certificate,
}

/// A certificate with its key, both PEM.
#[derive(Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The leaf first, then what leads to a root.
    pub chain_pem: String,
    /// PKCS #8, SEC 1 or PKCS #1. Never printed.
    pub private_key_pem: String,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("chain_pem", &self.chain_pem)
            .finish_non_exhaustive()
    }
}

/// The proxy-wasm module and what it is told.
#[derive(Clone, Debug)]
pub struct FilterSpec {
    /// The module.
    pub module: Module,
    /// Filters with an equal id, module and capabilities share a VM on each worker.
    pub vm_id: String,
    /// Handed to the module as it is.
    pub configuration_json: String,
}

/// The proxy-wasm module, and how it comes to Envoy.
#[derive(Clone)]
pub enum Module {
    /// It lies there, on Envoy's host.
    File(PathBuf),
    /// It is sent with its configuration.
    Inline(Bytes),
}

/// A module's bytes say nothing to a reader.
impl fmt::Debug for Module {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Inline(module) => write!(f, "Inline({} bytes)", module.len()),
        }
    }
}

/// Instances that are interchangeable for a client.
#[derive(Clone, Debug)]
pub struct PoolSpec {
    /// Unique among the pools, without `/`.
    pub name: String,
    /// Bounds Envoy's TCP connect to an instance.
    pub connect_timeout: Duration,
    /// Who its instances are, and who proxies are to them. `None`: they are reached without TLS.
    pub tls: Option<InstanceTls>,
}

/// TLS from a proxy to a pool's instances.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceTls {
    /// Who signs the instances' certificates, PEM.
    pub ca_pem: String,
    /// What a proxy presents to an instance that asks for it.
    pub certificate: Option<Certificate>,
    /// The DNS name that the certificate of each instance has. `None`: each has its own instance's name.
    pub server_name: Option<String>,
}

/// An instance as a proxy sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EndpointSpec {
    /// The instance's name in the fleet.
    pub instance: String,
    /// Its signaling socket.
    pub address: SocketAddr,
    /// Whether a session may be sent there.
    pub health: EndpointHealth,
}

/// `envoy.config.core.v3.HealthStatus`, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointHealth {
    /// Takes its own sessions back and nobody new; who comes is the leases' matter, so Envoy lets both in.
    Draining,
    /// Takes sessions.
    Healthy,
    /// Envoy answers 503 in its stead. Sessions that live there go on.
    Unhealthy,
}

/// Why a [`Gateway`] cannot be told to a proxy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidGateway {
    /// Names are not unique.
    #[error(transparent)]
    Inconsistent(#[from] Inconsistent),
    /// Envoy is told the path as text.
    #[error("the module's path `{}` is not UTF-8", .0.display())]
    ModulePathNotUtf8(PathBuf),
    /// A pool's clusters are named after it, with a `/` before what tells them apart.
    #[error("the name of the pool `{0}` has a `/`")]
    PoolName(String),
}

/// Why proxies cannot be told of an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidInstance {
    /// A session for one of the two instances could reach the other.
    #[error("the instance `{instance}` is at {address} already")]
    AddressTaken {
        /// The address both give.
        address: SocketAddr,
        /// Who was there first.
        instance: String,
    },
    /// There is no such pool.
    #[error("there is no pool `{0}`")]
    UnknownPool(String),
}

#[cfg(test)]
mod tests;
