//! Envoy's own messages, reduced to a name and something that can differ.

use std::sync::Arc;

use berth::xds::{Change, Resource, ResourceType, Snapshot};
use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::Policy;
use envoy_types::pb::envoy::config::endpoint::v3::cluster_load_assignment::policy::DropOverload;
use envoy_types::pb::envoy::config::listener::v3::Listener;
use envoy_types::pb::envoy::config::route::v3::{RouteConfiguration, VirtualHost};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{GenericSecret, Secret};
use envoy_types::pb::google::protobuf::Any;
use prost::Message;

/// The resources of one moment: type, name, content.
pub(crate) type World = Vec<(ResourceType, String, String)>;

/// Each cluster refers to the endpoints of its name, each listener to every route. What is left over is referred to by a
/// cluster or a listener that no scenario speaks of.
pub(crate) fn resources(world: &World) -> Vec<(ResourceType, Resource)> {
    let of = |wanted: ResourceType| {
        let of = world.iter().filter(move |(of, _, _)| *of == wanted);
        of.map(|(_, name, _)| name.as_str())
    };
    let unreferred = |name: &&str| !of(ResourceType::Cluster).any(|cluster| cluster == *name);
    let lone_endpoints: Vec<&str> = of(ResourceType::Endpoint).filter(unreferred).collect();
    let has_listener = of(ResourceType::Listener).next().is_some();
    let lone_routes = of(ResourceType::Route).filter(|_| !has_listener);

    let mut all: Vec<_> = world
        .iter()
        .map(|(of_type, name, content)| {
            let made = resource(*of_type, name, content);
            let made = match of_type {
                ResourceType::Cluster => of(ResourceType::Endpoint)
                    .filter(|endpoints| endpoints == name)
                    .fold(made, |made, name| {
                        made.refers_to(ResourceType::Endpoint, name)
                    }),
                ResourceType::Listener => of(ResourceType::Route)
                    .fold(made, |made, name| made.refers_to(ResourceType::Route, name)),
                _ => made,
            };
            (*of_type, made)
        })
        .collect();
    for (holder, held, names) in [
        (
            ResourceType::Cluster,
            ResourceType::Endpoint,
            lone_endpoints,
        ),
        (
            ResourceType::Listener,
            ResourceType::Route,
            lone_routes.collect(),
        ),
    ] {
        if !names.is_empty() {
            let made = names
                .into_iter()
                .fold(resource(holder, "holder", ""), |made, name| {
                    made.refers_to(held, name)
                });
            all.push((holder, made));
        }
    }
    all
}

/// The world as a snapshot of its own.
pub(crate) fn snapshot(world: &World) -> Arc<Snapshot> {
    Arc::new(Snapshot::new(resources(world)).unwrap())
}

/// The world as what has changed since `before`.
pub(crate) fn changed(before: &Arc<Snapshot>, world: &World) -> Arc<Snapshot> {
    let now = resources(world);
    let mut changes = Vec::new();
    for of in ResourceType::ALL {
        let is_there = |name: &Arc<str>| {
            now.iter()
                .any(|(is, made)| *is == of && made.name() == name)
        };
        let gone = before.of(of).keys().filter(|name| !is_there(name));
        changes.extend(gone.map(|name| Change::Remove(of, Arc::clone(name))));
    }
    changes.extend(
        now.iter()
            .map(|(of, made)| Change::Put(*of, Arc::new(made.clone()))),
    );
    before.with_changes(changes).unwrap()
}

/// A message of that type, name and content.
pub(crate) fn resource(of: ResourceType, name: &str, content: &str) -> Resource {
    let (name, content) = (name.to_owned(), content.to_owned());
    let label = name.clone();
    let body = match of {
        ResourceType::Cluster => Cluster {
            name,
            alt_stat_name: content,
            ..Cluster::default()
        }
        .encode_to_vec(),
        ResourceType::Endpoint => ClusterLoadAssignment {
            cluster_name: name,
            policy: Some(Policy {
                drop_overloads: vec![DropOverload {
                    category: content,
                    ..DropOverload::default()
                }],
                ..Policy::default()
            }),
            ..ClusterLoadAssignment::default()
        }
        .encode_to_vec(),
        ResourceType::Listener => Listener {
            name,
            stat_prefix: content,
            ..Listener::default()
        }
        .encode_to_vec(),
        ResourceType::Route => RouteConfiguration {
            name,
            virtual_hosts: vec![VirtualHost {
                name: content,
                ..VirtualHost::default()
            }],
            ..RouteConfiguration::default()
        }
        .encode_to_vec(),
        ResourceType::Secret => Secret {
            name,
            r#type: Some(Type::GenericSecret(GenericSecret {
                secret: Some(DataSource {
                    specifier: Some(Specifier::InlineString(content)),
                    ..DataSource::default()
                }),
                ..GenericSecret::default()
            })),
        }
        .encode_to_vec(),
        ResourceType::Extension => TypedExtensionConfig {
            name,
            typed_config: Some(Any {
                type_url: "type.googleapis.com/test".to_owned(),
                value: content.into_bytes(),
            }),
        }
        .encode_to_vec(),
    };
    Resource::new(label, body)
}

/// Name and content of a message.
pub(crate) fn read(of: ResourceType, body: &[u8]) -> (String, String) {
    match of {
        ResourceType::Cluster => {
            let message = Cluster::decode(body).unwrap();
            (message.name, message.alt_stat_name)
        }
        ResourceType::Endpoint => {
            let message = ClusterLoadAssignment::decode(body).unwrap();
            let mut drops = message.policy.unwrap().drop_overloads;
            (message.cluster_name, drops.remove(0).category)
        }
        ResourceType::Listener => {
            let message = Listener::decode(body).unwrap();
            (message.name, message.stat_prefix)
        }
        ResourceType::Route => {
            let mut message = RouteConfiguration::decode(body).unwrap();
            (message.name, message.virtual_hosts.remove(0).name)
        }
        ResourceType::Secret => {
            let message = Secret::decode(body).unwrap();
            let Some(Type::GenericSecret(GenericSecret {
                secret:
                    Some(DataSource {
                        specifier: Some(Specifier::InlineString(content)),
                        ..
                    }),
                ..
            })) = message.r#type
            else {
                panic!("another kind of secret")
            };
            (message.name, content)
        }
        ResourceType::Extension => {
            let message = TypedExtensionConfig::decode(body).unwrap();
            let content = message.typed_config.unwrap().value;
            (message.name, String::from_utf8(content).unwrap())
        }
    }
}
