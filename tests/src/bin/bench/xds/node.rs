//! What a proxy says on its stream: clusters by wildcard, then the endpoints of each. Pure.

use std::collections::{BTreeMap, BTreeSet};

use berth::xds::ResourceType;
use envoy_types::pb::envoy::config::core::v3::Node as Identity;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use envoy_types::pb::google::rpc::Status;
use prost::Message;
use tonic::codegen::Bytes;

use super::scan::{Protocol, Seen};

/// A proxy and what it has. It keeps that when its stream ends.
#[derive(Debug)]
pub(super) struct Node {
    id: String,
    protocol: Protocol,
    clusters: Held,
    endpoints: Held,
    /// What was asked for on this stream.
    subscribed: BTreeSet<String>,
    /// Of the last response with endpoints on this stream.
    endpoints_nonce: String,
}

#[derive(Debug, Default)]
struct Held {
    /// `version_info`; empty in delta.
    version: String,
    /// Versions by name; these are empty in state of the world.
    resources: BTreeMap<String, String>,
}

/// What a response comes to.
#[derive(Debug, Default)]
pub(super) struct Reaction {
    /// What the node says to it, framed as gRPC does.
    pub(super) requests: Vec<Bytes>,
    /// Whether it carried endpoints.
    pub(super) endpoints: bool,
    /// Whether it carried endpoints in another version than the node had, and the node now has been sent endpoints for
    /// each of its clusters.
    pub(super) news: bool,
}

impl Node {
    pub(super) fn new(id: String, protocol: Protocol) -> Self {
        Self {
            id,
            protocol,
            clusters: Held::default(),
            endpoints: Held::default(),
            subscribed: BTreeSet::new(),
            endpoints_nonce: String::new(),
        }
    }

    pub(super) const fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// What opens a stream. A node that has something says so, and asks for all of it at once, as Envoy does.
    pub(super) fn greeting(&mut self) -> Vec<Bytes> {
        self.endpoints_nonce.clear();
        self.subscribed = self.clusters.resources.keys().cloned().collect();
        let identity = Identity {
            id: self.id.clone(),
            ..Identity::default()
        };
        let mut requests = vec![match self.protocol {
            Protocol::Delta => framed(&DeltaDiscoveryRequest {
                node: Some(identity),
                type_url: CLUSTER.to_owned(),
                initial_resource_versions: self.clusters.versions(),
                ..DeltaDiscoveryRequest::default()
            }),
            Protocol::Sotw => framed(&DiscoveryRequest {
                node: Some(identity),
                type_url: CLUSTER.to_owned(),
                version_info: self.clusters.version.clone(),
                ..DiscoveryRequest::default()
            }),
        }];
        if !self.subscribed.is_empty() {
            let names = self.subscribed.iter().cloned().collect();
            requests.push(self.subscription(names));
        }
        requests
    }

    /// Takes a response; with `refuse` it would not have other endpoints than it has.
    pub(super) fn receive(&mut self, seen: Seen, refuse: bool) -> Reaction {
        match seen.type_url.as_str() {
            CLUSTER => Reaction {
                requests: self.take_clusters(seen),
                ..Reaction::default()
            },
            ENDPOINT => self.receive_endpoints(seen, refuse),
            _ => Reaction::default(),
        }
    }

    fn take_clusters(&mut self, seen: Seen) -> Vec<Bytes> {
        let nonce = seen.nonce.clone();
        if self.protocol == Protocol::Sotw {
            // It lists all there are.
            self.clusters.resources.clear();
        }
        self.clusters.take(seen);
        let mut requests = vec![self.answer(CLUSTER, nonce, false)];
        let names = &self.clusters.resources;
        let new: Vec<String> = names
            .keys()
            .filter(|name| !self.subscribed.contains(*name))
            .cloned()
            .collect();
        if !new.is_empty() {
            self.subscribed = names.keys().cloned().collect();
            requests.push(self.subscription(new));
        }
        requests
    }

    fn receive_endpoints(&mut self, seen: Seen, refuse: bool) -> Reaction {
        self.endpoints_nonce.clone_from(&seen.nonce);
        let nonce = seen.nonce.clone();
        let other = self.endpoints.differs(&seen);
        let refused = refuse && other;
        if !refused {
            self.endpoints.take(seen);
        }
        Reaction {
            requests: vec![self.answer(ENDPOINT, nonce, refused)],
            endpoints: true,
            news: other && self.is_complete(),
        }
    }

    fn is_complete(&self) -> bool {
        let mut clusters = self.clusters.resources.keys();
        clusters.all(|name| self.endpoints.resources.contains_key(name))
    }

    /// Asks for endpoints of these clusters; in state of the world, of all.
    fn subscription(&self, new: Vec<String>) -> Bytes {
        match self.protocol {
            Protocol::Delta => framed(&DeltaDiscoveryRequest {
                type_url: ENDPOINT.to_owned(),
                resource_names_subscribe: new,
                initial_resource_versions: if self.endpoints_nonce.is_empty() {
                    self.endpoints.versions()
                } else {
                    Default::default()
                },
                ..DeltaDiscoveryRequest::default()
            }),
            Protocol::Sotw => framed(&self.endpoints_wanted()),
        }
    }

    fn endpoints_wanted(&self) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: ENDPOINT.to_owned(),
            version_info: self.endpoints.version.clone(),
            response_nonce: self.endpoints_nonce.clone(),
            resource_names: self.subscribed.iter().cloned().collect(),
            ..DiscoveryRequest::default()
        }
    }

    fn answer(&self, type_url: &str, nonce: String, refused: bool) -> Bytes {
        let error_detail = refused.then(|| Status {
            code: INVALID_ARGUMENT,
            message: "refused for the bench".to_owned(),
            details: Vec::new(),
        });
        match (self.protocol, type_url) {
            (Protocol::Delta, _) => framed(&DeltaDiscoveryRequest {
                type_url: type_url.to_owned(),
                response_nonce: nonce,
                error_detail,
                ..DeltaDiscoveryRequest::default()
            }),
            (Protocol::Sotw, ENDPOINT) => framed(&DiscoveryRequest {
                error_detail,
                ..self.endpoints_wanted()
            }),
            (Protocol::Sotw, _) => framed(&DiscoveryRequest {
                type_url: type_url.to_owned(),
                version_info: self.clusters.version.clone(),
                response_nonce: nonce,
                ..DiscoveryRequest::default()
            }),
        }
    }
}

impl Held {
    /// Whether anything in the response has another version than what is held. Never of an empty one in delta.
    fn differs(&self, seen: &Seen) -> bool {
        let of_resource = seen
            .resources
            .iter()
            .any(|it| self.resources.get(&it.name) != Some(&it.version));
        seen.version != self.version || of_resource
    }

    fn take(&mut self, seen: Seen) {
        self.version = seen.version;
        let versions = seen.resources.into_iter();
        self.resources
            .extend(versions.map(|resource| (resource.name, resource.version)));
        for name in &seen.removed {
            self.resources.remove(name);
        }
    }

    fn versions(&self) -> std::collections::HashMap<String, String> {
        let versions = self.resources.iter();
        versions
            .map(|(name, version)| (name.clone(), version.clone()))
            .collect()
    }
}

/// As gRPC frames it: not compressed, so long, the message.
fn framed(message: &impl Message) -> Bytes {
    let body = message.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    framed.extend_from_slice(&body);
    framed.into()
}

const CLUSTER: &str = ResourceType::Cluster.type_url();
const ENDPOINT: &str = ResourceType::Endpoint.type_url();
/// `google.rpc.Code`, which Envoy refuses with.
const INVALID_ARGUMENT: i32 = 3;

#[cfg(test)]
mod tests;
