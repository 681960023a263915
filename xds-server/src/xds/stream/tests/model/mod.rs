//! Clients that behave as Envoy does, and check all that they are told. Fuzzed too, by `fuzz/drive.rs`.

use super::*;

pub(crate) mod delta;
pub(crate) mod sotw;

/// What may happen next.
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    /// Another world.
    World(Vec<(ResourceType, &'static str, &'static str)>),
    Subscribe(ResourceType, &'static str),
    Unsubscribe(ResourceType, &'static str),
    /// Answers the outstanding response of a type.
    Answer(ResourceType),
    /// Answers some other response.
    AnswerOutdated(ResourceType, u8),
    /// The stream breaks, and another is opened.
    Reconnect,
}

/// A world in which each cluster refers to the endpoints of its name, and each listener to every route.
pub(crate) fn world(all: &[(ResourceType, &str, &str)]) -> Snapshot {
    let refers = |from: (ResourceType, &str), to: (ResourceType, &str)| match (from.0, to.0) {
        (ResourceType::Cluster, ResourceType::Endpoint) => from.1 == to.1,
        (ResourceType::Listener, ResourceType::Route) => true,
        _ => false,
    };
    let resources = all.iter().map(|&(resource_type, name, content)| {
        let resource = all
            .iter()
            .filter(|other| refers((resource_type, name), (other.0, other.1)))
            .fold(resource(name, content), |resource, other| {
                resource.refers_to(other.0, other.1)
            });
        (resource_type, resource)
    });
    Snapshot::new(resources).unwrap()
}

pub(crate) fn resource(name: &str, content: &str) -> Resource {
    Resource::new(name, content.to_owned().into_bytes())
}
