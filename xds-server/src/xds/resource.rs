//! Encoded resources.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use sha2::{Digest, Sha256};
use tonic::codegen::Bytes;

use super::gateway::EndpointSpec;

/// The resource types Berth serves, in the order in which a change is made before anything is broken: what is
/// referred to comes before what refers to it, as far as Envoy waits for neither.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ResourceType {
    /// CDS.
    Cluster,
    /// EDS.
    Endpoint,
    /// LDS.
    Listener,
    /// RDS.
    Route,
    /// SDS.
    Secret,
    /// ECDS.
    Extension,
}

impl ResourceType {
    /// All of them, in order.
    pub const ALL: [Self; 6] = [
        Self::Cluster,
        Self::Endpoint,
        Self::Listener,
        Self::Route,
        Self::Secret,
        Self::Extension,
    ];

    /// The type URL of the protobuf message.
    pub const fn type_url(self) -> &'static str {
        match self {
            Self::Cluster => "type.googleapis.com/envoy.config.cluster.v3.Cluster",
            Self::Endpoint => "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
            Self::Listener => "type.googleapis.com/envoy.config.listener.v3.Listener",
            Self::Route => "type.googleapis.com/envoy.config.route.v3.RouteConfiguration",
            Self::Secret => "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret",
            Self::Extension => "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        }
    }

    /// The type a URL names.
    ///
    /// # Errors
    /// [`UnknownType`] for any other than the six.
    pub fn from_type_url(url: &str) -> Result<Self, UnknownType> {
        Self::ALL
            .into_iter()
            .find(|resource_type| resource_type.type_url() == url)
            .ok_or_else(|| UnknownType(url.to_owned()))
    }
}

/// A type URL that Berth does not serve.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no resources of type `{0}` are served here")]
pub struct UnknownType(pub String);

/// One value for each [`ResourceType`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByType<T> {
    cluster: T,
    endpoint: T,
    listener: T,
    route: T,
    secret: T,
    extension: T,
}

impl<T> ByType<T> {
    /// Makes the value of each type.
    pub fn from_fn(mut make: impl FnMut(ResourceType) -> T) -> Self {
        Self {
            cluster: make(ResourceType::Cluster),
            endpoint: make(ResourceType::Endpoint),
            listener: make(ResourceType::Listener),
            route: make(ResourceType::Route),
            secret: make(ResourceType::Secret),
            extension: make(ResourceType::Extension),
        }
    }

    /// The value of a type.
    pub const fn of(&self, resource_type: ResourceType) -> &T {
        match resource_type {
            ResourceType::Cluster => &self.cluster,
            ResourceType::Endpoint => &self.endpoint,
            ResourceType::Listener => &self.listener,
            ResourceType::Route => &self.route,
            ResourceType::Secret => &self.secret,
            ResourceType::Extension => &self.extension,
        }
    }

    /// The value of a type, to change.
    pub const fn of_mut(&mut self, resource_type: ResourceType) -> &mut T {
        match resource_type {
            ResourceType::Cluster => &mut self.cluster,
            ResourceType::Endpoint => &mut self.endpoint,
            ResourceType::Listener => &mut self.listener,
            ResourceType::Route => &mut self.route,
            ResourceType::Secret => &mut self.secret,
            ResourceType::Extension => &mut self.extension,
        }
    }
}

/// Says which content a resource has: the head of a SHA-256 over its bytes, so that equal content has an equal
/// version after a restart and in every replica. Written as 16 hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version(u64);

impl Version {
    fn of(body: &[u8]) -> Self {
        let digest = Sha256::digest(body);
        Self(
            digest
                .iter()
                .take(8)
                .fold(0, |head, byte| head << 8 | u64::from(*byte)),
        )
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The text is not a version, or not one of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a version: 16 lower-case hexadecimal digits")]
pub struct NotAVersion;

impl FromStr for Version {
    type Err = NotAVersion;

    fn from_str(text: &str) -> Result<Self, NotAVersion> {
        let version = u64::from_str_radix(text, 16)
            .map(Self)
            .map_err(|_| NotAVersion)?;
        if version.to_string() == text {
            Ok(version)
        } else {
            Err(NotAVersion)
        }
    }
}

/// A resource, encoded once for all streams.
#[derive(Clone, PartialEq, Eq)]
pub struct Resource {
    name: Arc<str>,
    version: Version,
    body: Bytes,
    references: Vec<(ResourceType, Arc<str>)>,
    endpoints: Vec<EndpointSpec>,
}

impl Resource {
    /// A resource of encoded `body`.
    pub fn new(name: impl Into<Arc<str>>, body: impl Into<Bytes>) -> Self {
        let body = body.into();
        Self {
            name: name.into(),
            version: Version::of(&body),
            body,
            references: Vec::new(),
            endpoints: Vec::new(),
        }
    }

    /// Says that a proxy cannot use this resource without another.
    #[must_use]
    pub fn refers_to(mut self, resource_type: ResourceType, name: impl Into<Arc<str>>) -> Self {
        self.references.push((resource_type, name.into()));
        self
    }

    /// Says which instances an EDS resource carries.
    #[must_use]
    pub fn with_endpoints(mut self, endpoints: Vec<EndpointSpec>) -> Self {
        self.endpoints = endpoints;
        self
    }

    /// Unique among the resources of its type.
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Differs when the content does.
    pub const fn version(&self) -> Version {
        self.version
    }

    /// The encoded message, without the `Any` around it.
    pub const fn body(&self) -> &Bytes {
        &self.body
    }

    /// What a proxy cannot use this resource without.
    pub fn references(&self) -> &[(ResourceType, Arc<str>)] {
        &self.references
    }

    /// The instances in it; none unless it is of [`ResourceType::Endpoint`].
    pub fn endpoints(&self) -> &[EndpointSpec] {
        &self.endpoints
    }
}

/// Leaves the body out: a secret's is one.
impl fmt::Debug for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Resource")
            .field("name", &self.name)
            .field("version", &format_args!("{}", self.version))
            .field("bytes", &self.body.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
