//! Which instances each proxy is known to be able to reach: those of the EDS resources that it has
//! acknowledged. Pure.

use std::collections::{HashMap, HashSet};

use crate::placement::{InstanceName, NodeId};
use crate::xds::{EndpointHealth, EndpointSpec, NodeEvent, ResourceType, StreamEvent, StreamId};

/// What all proxies have acknowledged.
#[derive(Debug, Default)]
pub struct Reach {
    nodes: HashMap<NodeId, Vec<Stream>>,
}

/// One stream of a node. Two at once are two processes with one node id, as in a hot restart.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    connected: bool,
    /// By cluster; `None` until the first acknowledgement.
    clusters: Option<HashMap<String, HashSet<InstanceName>>>,
}

impl Reach {
    /// Takes an event; the node and what it reaches now, if that may have changed.
    pub fn handle(&mut self, event: &NodeEvent) -> Option<(NodeId, HashSet<InstanceName>)> {
        let node = match event {
            NodeEvent::Connected { node, stream, .. } => {
                let streams = self.nodes.entry(node.as_str().into()).or_default();
                streams.push(Stream {
                    id: *stream,
                    connected: true,
                    clusters: None,
                });
                return None;
            }
            NodeEvent::Disconnected { node, stream } => {
                self.disconnected(node, *stream);
                node
            }
            NodeEvent::Stream {
                node,
                stream,
                event:
                    StreamEvent::Acknowledged {
                        resource_type: ResourceType::Endpoint,
                        resources,
                        removed,
                    },
            } => {
                let clusters = self.acknowledging(node, *stream)?;
                for name in removed {
                    clusters.remove(&**name);
                }
                for resource in resources {
                    let reached = resource.endpoints().iter().filter_map(reached).collect();
                    clusters.insert(resource.name().to_string(), reached);
                }
                node
            }
            NodeEvent::Stream { .. } => return None,
        };
        let node = NodeId::from(node.as_str());
        let reached = self.reached(&node);
        Some((node, reached))
    }

    /// Whether anything is known of a node: it has a stream, or has acknowledged something.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// How many nodes have a stream open.
    pub fn connected(&self) -> usize {
        let open = |streams: &&Vec<Stream>| streams.iter().any(|stream| stream.connected);
        self.nodes.values().filter(open).count()
    }

    /// A node whose last stream is gone keeps what it has acknowledged, for its proxy does. A stream
    /// that said nothing leaves nothing: a proxy in trouble opens one after the other.
    fn disconnected(&mut self, node: &str, id: StreamId) {
        let node = NodeId::from(node);
        let Some(streams) = self.nodes.get_mut(&node) else {
            return;
        };
        if streams
            .iter()
            .any(|stream| stream.connected && stream.id != id)
        {
            streams.retain(|stream| stream.id != id);
        }
        for stream in streams.iter_mut().filter(|stream| stream.id == id) {
            stream.connected = false;
        }
        streams.retain(|stream| stream.connected || stream.clusters.is_some());
        if streams.is_empty() {
            self.nodes.remove(&node);
        }
    }

    fn acknowledging(
        &mut self,
        node: &str,
        id: StreamId,
    ) -> Option<&mut HashMap<String, HashSet<InstanceName>>> {
        let streams = self.nodes.get_mut(&NodeId::from(node))?;
        // What an earlier stream said is now said anew.
        streams.retain(|stream| stream.connected || stream.id == id);
        let stream = streams.iter_mut().find(|stream| stream.id == id)?;
        Some(stream.clusters.get_or_insert_default())
    }

    /// What every process of the node has.
    fn reached(&self, node: &NodeId) -> HashSet<InstanceName> {
        let mut streams = self
            .nodes
            .get(node)
            .into_iter()
            .flatten()
            .filter_map(|stream| stream.clusters.as_ref())
            .map(|clusters| clusters.values().flatten().cloned().collect::<HashSet<_>>());
        let first = streams.next().unwrap_or_default();
        streams.fold(first, |all, other| &all & &other)
    }
}

fn reached(endpoint: &EndpointSpec) -> Option<InstanceName> {
    match endpoint.health {
        EndpointHealth::Healthy | EndpointHealth::Draining => {
            Some(endpoint.instance.as_str().into())
        }
        EndpointHealth::Unhealthy => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::xds::Resource;

    fn acknowledged(stream: u64, cluster: &str, instances: &[(&str, EndpointHealth)]) -> NodeEvent {
        let endpoints = instances
            .iter()
            .map(|(instance, health)| EndpointSpec {
                instance: (*instance).to_owned(),
                address: "192.0.2.1:49100".parse().unwrap(),
                health: *health,
            })
            .collect();
        let resource = Resource::new(cluster, Vec::new());
        NodeEvent::Stream {
            node: "edge".to_owned(),
            stream: StreamId(stream),
            event: StreamEvent::Acknowledged {
                resource_type: ResourceType::Endpoint,
                resources: vec![Arc::new(resource.with_endpoints(endpoints))],
                removed: Vec::new(),
            },
        }
    }

    fn connected(stream: u64) -> NodeEvent {
        NodeEvent::Connected {
            node: "edge".to_owned(),
            stream: StreamId(stream),
            zone: None,
        }
    }

    fn disconnected(stream: u64) -> NodeEvent {
        NodeEvent::Disconnected {
            node: "edge".to_owned(),
            stream: StreamId(stream),
        }
    }

    fn reached(reach: &Reach) -> Vec<String> {
        let reached = reach.reached(&"edge".into());
        let mut names: Vec<_> = reached.iter().map(ToString::to_string).collect();
        names.sort();
        names
    }

    #[test]
    fn streams_that_said_nothing_are_not_kept() {
        let mut reach = Reach::default();
        reach.handle(&connected(1));
        reach.handle(&acknowledged(
            1,
            "web",
            &[("web-1", EndpointHealth::Healthy)],
        ));
        reach.handle(&disconnected(1));
        for stream in 2..100 {
            reach.handle(&connected(stream));
            reach.handle(&disconnected(stream));
        }
        assert_eq!(reached(&reach), ["web-1"]);
        assert_eq!(reach.nodes.get(&"edge".into()).map(Vec::len), Some(1));
        for stream in 100..200 {
            let node = format!("scanner-{stream}");
            let stream = StreamId(stream);
            reach.handle(&NodeEvent::Connected {
                node: node.clone(),
                stream,
                zone: None,
            });
            reach.handle(&NodeEvent::Disconnected { node, stream });
        }
        assert_eq!(reach.nodes.len(), 1);
    }

    #[test]
    fn what_a_node_reaches() {
        use EndpointHealth::{Draining, Healthy, Unhealthy};
        let both = [("web-1", Healthy), ("web-2", Healthy)];
        let cases: [(&str, Vec<NodeEvent>, &[&str]); 7] = [
            ("nothing said", vec![connected(1)], &[]),
            (
                "acknowledged, but for the unhealthy",
                vec![
                    connected(1),
                    acknowledged(1, "web", &[("web-1", Draining), ("web-2", Unhealthy)]),
                ],
                &["web-1"],
            ),
            (
                "clusters add up",
                vec![
                    connected(1),
                    acknowledged(1, "web", &both[..1]),
                    acknowledged(1, "more", &both[1..]),
                ],
                &["web-1", "web-2"],
            ),
            (
                "a proxy keeps what it has without us",
                vec![connected(1), acknowledged(1, "web", &both), disconnected(1)],
                &["web-1", "web-2"],
            ),
            (
                "a new stream counts when it has spoken",
                vec![
                    connected(1),
                    acknowledged(1, "web", &both),
                    disconnected(1),
                    connected(2),
                ],
                &["web-1", "web-2"],
            ),
            (
                "and then alone",
                vec![
                    connected(1),
                    acknowledged(1, "web", &both),
                    disconnected(1),
                    connected(2),
                    acknowledged(2, "web", &both[..1]),
                ],
                &["web-1"],
            ),
            (
                "two processes of one node: what both have",
                vec![
                    connected(1),
                    acknowledged(1, "web", &both),
                    connected(2),
                    acknowledged(2, "web", &both[1..]),
                ],
                &["web-2"],
            ),
        ];
        for (what, events, expected) in cases {
            let mut reach = Reach::default();
            for event in &events {
                reach.handle(event);
            }
            assert_eq!(reached(&reach), expected, "{what}");
        }
    }
}
