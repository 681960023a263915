//! What the control plane tells proxies, and how it hears what they took: xDS over one aggregated stream.
//!
//! Three layers, each of which knows only the one before it. [`generate`] turns a [`Gateway`] into a
//! [`Snapshot`]: encoded once, consistent, equal bytes for equal input. A [`DeltaStream`] is one client's side
//! of the incremental protocol and decides what that client is sent next. Both are pure. [`XdsServer`] carries
//! their answers over gRPC, and is the only place that touches a socket.
//!
//! [`bootstrap_yaml`] writes the few lines a proxy needs to find all that; [`static_yaml`] the whole configuration of one that is told nothing.

mod bootstrap;
mod delta;
mod gateway;
mod generate;
mod resource;
mod service;
mod static_config;
mod subscription;

pub use bootstrap::{BootstrapSpec, bootstrap_yaml};
pub use delta::{Answer, DeltaRequest, DeltaResponse, DeltaStream, StreamEvent};
pub use gateway::{
    Certificate, ClusterSpec, EndpointHealth, EndpointSpec, FilterSpec, Gateway, InvalidGateway,
    ListenerSpec, Module, PoolSpec, assign_clusters,
};
pub use generate::generate;
pub use resource::{
    ByType, Inconsistent, NotAVersion, Resource, ResourceType, Snapshot, UnknownType, Version,
};
pub use service::{DiscoveryService, NodeEvent, StreamId, XdsServer};
pub use static_config::{StaticSpec, Unspeakable, static_yaml};
