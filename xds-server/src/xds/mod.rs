//! What the control plane tells proxies, and how it hears what they took: xDS over one aggregated stream.
//!
//! Three layers, each of which knows only the one before it. [`generate`] turns a [`Gateway`] into a
//! [`Snapshot`]: encoded once, consistent, equal bytes for equal input. An [`XdsStream`] is one client's side
//! of the protocol, in either of its two dialects, and decides what that client is sent next. Both are pure. [`XdsServer`] carries
//! their answers over gRPC, and is the only place that touches a socket.
//!
//! [`bootstrap_yaml`] writes the few lines a proxy needs to find all that; [`static_yaml`] the whole configuration of one that is told nothing.

mod bootstrap;
mod gateway;
mod generate;
mod profile;
mod resource;
mod service;
mod snapshot;
mod static_config;
mod stream;
mod subscription;

pub use bootstrap::{BootstrapSpec, BootstrapTls, bootstrap_yaml};
pub use gateway::{
    Certificate, Certificates, EndpointHealth, EndpointSpec, FilterSpec, Gateway, InstanceTls,
    InvalidGateway, InvalidInstance, ListenerSpec, Module, PoolSpec, SniCertificate,
};
pub use generate::{
    CLIENT_CA_SECRET, ClusterSpec, DEFAULT_SECRET, Generator, Published, divide, sni_secret,
};
pub use profile::{
    InvalidProfiles, Metadata, MetadataValue, NodeFacts, NodeMatch, Profile, ProfileName, Profiles,
    Scope, Views,
};
pub use resource::{ByType, NotAVersion, Resource, ResourceType, UnknownType, Version};
pub use service::{
    DiscoveryService, NodeEvent, StatusService, StreamId, StreamStatus, Streams, XdsServer,
};
pub use snapshot::{Change, Inconsistent, Resources, Snapshot};
pub use static_config::{StaticSpec, Unspeakable, static_yaml};
pub use stream::{
    Answer, DeltaRequest, Dialect, SotwRequest, StreamEvent, TooMuch, TypeStatus, XdsResponse,
    XdsStream,
};
