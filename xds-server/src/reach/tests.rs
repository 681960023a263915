use std::collections::HashSet;

use proptest::prelude::*;

use super::*;
use crate::xds::{EndpointHealth, EndpointSpec};

/// Adds up what is told.
#[derive(Default)]
struct Listener {
    reach: Reach,
    reached: HashMap<NodeId, HashSet<InstanceName>>,
}

impl Listener {
    fn handle(&mut self, event: &NodeEvent) {
        let Some(change) = self.reach.handle(event) else {
            return;
        };
        assert!(!change.gained.is_empty() || !change.lost.is_empty());
        let reached = self.reached.entry(change.node).or_default();
        for instance in change.lost {
            assert!(reached.remove(&instance), "lost what was not reached");
        }
        for instance in change.gained {
            assert!(reached.insert(instance), "gained what was reached");
        }
    }

    fn reached(&self, node: &str) -> Vec<&str> {
        let reached = self.reached.get(&node.into()).into_iter().flatten();
        let mut names: Vec<_> = reached.map(InstanceName::as_str).collect();
        names.sort_unstable();
        names
    }
}

fn listing(cluster: &str, instances: &[(&str, EndpointHealth)]) -> Arc<Resource> {
    let endpoints = instances
        .iter()
        .map(|(instance, health)| EndpointSpec {
            instance: (*instance).to_owned(),
            address: "192.0.2.1:49100".parse().unwrap(),
            health: *health,
        })
        .collect();
    let body = format!("{cluster} {instances:?}");
    Arc::new(Resource::new(cluster, body).with_endpoints(endpoints))
}

fn acknowledged(stream: u64, cluster: &str, instances: &[(&str, EndpointHealth)]) -> NodeEvent {
    told("edge", stream, vec![listing(cluster, instances)], &[])
}

fn told(node: &str, stream: u64, resources: Vec<Arc<Resource>>, removed: &[&str]) -> NodeEvent {
    NodeEvent::Stream {
        node: node.to_owned(),
        stream: StreamId(stream),
        event: StreamEvent::Acknowledged {
            resource_type: ResourceType::Endpoint,
            resources,
            removed: removed.iter().copied().map(Arc::from).collect(),
        },
    }
}

fn connected(stream: u64) -> NodeEvent {
    connected_to("edge", stream)
}

fn connected_to(node: &str, stream: u64) -> NodeEvent {
    NodeEvent::Connected {
        node: node.to_owned(),
        stream: StreamId(stream),
        zone: None,
    }
}

fn disconnected(stream: u64) -> NodeEvent {
    disconnected_from("edge", stream)
}

fn disconnected_from(node: &str, stream: u64) -> NodeEvent {
    NodeEvent::Disconnected {
        node: node.to_owned(),
        stream: StreamId(stream),
    }
}

#[test]
fn streams_that_said_nothing_are_not_kept() {
    let mut listener = Listener::default();
    listener.handle(&connected(1));
    listener.handle(&acknowledged(
        1,
        "web",
        &[("web-1", EndpointHealth::Healthy)],
    ));
    listener.handle(&disconnected(1));
    for stream in 2..100 {
        listener.handle(&connected(stream));
        listener.handle(&disconnected(stream));
    }
    assert_eq!(listener.reached("edge"), ["web-1"]);
    let nodes = &listener.reach.nodes;
    assert_eq!(nodes.get(&"edge".into()).unwrap().streams.len(), 1);
    for stream in 100..200 {
        let node = format!("scanner-{stream}");
        listener.handle(&connected_to(&node, stream));
        listener.handle(&disconnected_from(&node, stream));
    }
    assert_eq!(listener.reach.nodes.len(), 1);
}

#[test]
fn what_a_node_reaches() {
    use EndpointHealth::{Draining, Healthy, Unhealthy};
    let both = [("web-1", Healthy), ("web-2", Healthy)];
    let whole = listing("pool", &both);
    let halves = || [listing("pool/0", &both[..1]), listing("pool/1", &both[1..])];
    let cases: [(&str, Vec<NodeEvent>, &[&str]); 12] = [
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
            "no longer, once it is unhealthy",
            vec![
                connected(1),
                acknowledged(1, "web", &both),
                acknowledged(1, "web", &[("web-1", Unhealthy), ("web-2", Draining)]),
            ],
            &["web-2"],
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
            "and are let go of one by one",
            vec![
                connected(1),
                acknowledged(1, "web", &both[..1]),
                acknowledged(1, "more", &both[1..]),
                told("edge", 1, Vec::new(), &["web"]),
            ],
            &["web-2"],
        ),
        (
            "a cluster is divided: both its halves have come",
            vec![
                connected(1),
                told("edge", 1, vec![whole.clone()], &[]),
                told("edge", 1, halves().into(), &[]),
                told("edge", 1, Vec::new(), &["pool"]),
            ],
            &["web-1", "web-2"],
        ),
        (
            "it has gone before the second came",
            vec![
                connected(1),
                told("edge", 1, vec![whole.clone()], &[]),
                told("edge", 1, halves()[..1].to_vec(), &[]),
                told("edge", 1, Vec::new(), &["pool"]),
            ],
            &["web-1"],
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
        (
            "the younger's, once the older has ended",
            vec![
                connected(1),
                acknowledged(1, "web", &both[..1]),
                connected(2),
                acknowledged(2, "web", &both),
                disconnected(1),
            ],
            &["web-1", "web-2"],
        ),
    ];
    for (what, events, expected) in cases {
        let mut listener = Listener::default();
        for event in &events {
            listener.handle(event);
        }
        assert_eq!(listener.reached("edge"), expected, "{what}");
    }
}

#[test]
fn what_is_acknowledged_again_is_no_news() {
    let both = [
        ("web-1", EndpointHealth::Healthy),
        ("web-2", EndpointHealth::Healthy),
    ];
    let mut reach = Reach::default();
    reach.handle(&connected(1));
    let change = reach.handle(&acknowledged(1, "web", &both)).unwrap();
    assert_eq!(change.gained, ["web-1", "web-2"].map(InstanceName::from));
    for again in [
        acknowledged(1, "web", &both),
        disconnected(1),
        connected(2),
        acknowledged(2, "web", &both),
        disconnected(2),
        disconnected(3),
    ] {
        assert_eq!(reach.handle(&again), None, "{again:?}");
    }
}

#[test]
fn a_thousand_nodes_share_one_listing() {
    let mut reach = Reach::default();
    let listing = listing("web", &[("web-1", EndpointHealth::Healthy)]);
    for stream in 0..1_000 {
        let node = format!("edge-{stream}");
        reach.handle(&connected_to(&node, stream));
        reach.handle(&told(&node, stream, vec![Arc::clone(&listing)], &[]));
    }
    let listings: HashSet<_> = reach
        .nodes
        .values()
        .flat_map(|node| &node.streams)
        .flat_map(|stream| &stream.acknowledged)
        .flat_map(|acknowledged| acknowledged.clusters.values().map(Arc::as_ptr))
        .collect();
    assert_eq!(listings.len(), 1);
}

#[test]
fn what_nobody_has_any_more_is_forgotten() {
    let mut listener = Listener::default();
    listener.handle(&connected(1));
    for round in 0..5_000 {
        let names = [0, 1, 2].map(|number| format!("web-{round}-{number}"));
        let instances = names
            .each_ref()
            .map(|name| (name.as_str(), EndpointHealth::Healthy));
        listener.handle(&acknowledged(1, "web", &instances));
        assert_eq!(listener.reached("edge"), names);
    }
    let known = listener.reach.catalogue.len();
    assert!(known < 2_000, "{known} of 3 instances and 1 listing");
}

/// What a node reaches, counted anew from all that happened.
#[derive(Default)]
struct FromScratch {
    streams: Vec<(u64, bool, Option<Clusters>)>,
}

type Clusters = HashMap<String, HashSet<InstanceName>>;

impl FromScratch {
    fn handle(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::Connected { stream, .. } => self.streams.push((stream.0, true, None)),
            NodeEvent::Disconnected { stream, .. } => {
                let another = |(id, connected, _): &(_, bool, _)| *connected && *id != stream.0;
                if self.streams.iter().any(another) {
                    self.streams.retain(|(id, ..)| *id != stream.0);
                }
                for (_, connected, _) in self.streams.iter_mut().filter(|(id, ..)| *id == stream.0)
                {
                    *connected = false;
                }
                self.streams
                    .retain(|(_, connected, clusters)| *connected || clusters.is_some());
            }
            NodeEvent::Stream {
                stream,
                event:
                    StreamEvent::Acknowledged {
                        resources, removed, ..
                    },
                ..
            } => {
                if !self.streams.iter().any(|(id, ..)| *id == stream.0) {
                    return;
                }
                self.streams
                    .retain(|(id, connected, _)| *connected || *id == stream.0);
                let (.., clusters) = self.streams.iter_mut().find(|s| s.0 == stream.0).unwrap();
                let clusters = clusters.get_or_insert_default();
                for cluster in removed {
                    clusters.remove(&**cluster);
                }
                for resource in resources {
                    let reached = resource.endpoints().iter().filter(|endpoint| {
                        matches!(
                            endpoint.health,
                            EndpointHealth::Healthy | EndpointHealth::Draining
                        )
                    });
                    let reached = reached.map(|endpoint| endpoint.instance.as_str().into());
                    clusters.insert(resource.name().to_string(), reached.collect());
                }
            }
            NodeEvent::Stream { .. } => {}
        }
    }

    fn reached(&self) -> Vec<&str> {
        let mut each = self.streams.iter().filter_map(|(.., clusters)| {
            let clusters = clusters.as_ref()?;
            let all = clusters.values().flatten().map(InstanceName::as_str);
            Some(all.collect::<HashSet<_>>())
        });
        let first = each.next().unwrap_or_default();
        let mut reached: Vec<_> = each
            .fold(first, |all, other| &all & &other)
            .into_iter()
            .collect();
        reached.sort_unstable();
        reached
    }
}

fn event() -> impl Strategy<Value = NodeEvent> {
    let node = || prop::sample::select(&["edge", "west"]);
    let stream = || 0..3_u64;
    let cluster = || prop::sample::select(&["pool", "pool/0", "pool/1"]);
    let name = prop::sample::select(&["a", "b", "c", "d"]);
    let health = prop::sample::select(&[
        EndpointHealth::Healthy,
        EndpointHealth::Draining,
        EndpointHealth::Unhealthy,
    ]);
    let instances = prop::collection::btree_map(name, health, 0..4)
        .prop_map(|instances| instances.into_iter().collect::<Vec<_>>());
    let resources = prop::collection::btree_map(cluster(), instances, 0..3);
    let removed = prop::collection::btree_set(cluster(), 0..2);
    prop_oneof![
        2 => (node(), stream()).prop_map(|(node, stream)| connected_to(node, stream)),
        1 => (node(), stream()).prop_map(|(node, stream)| disconnected_from(node, stream)),
        6 => (node(), stream(), resources, removed).prop_map(|(node, stream, resources, removed)| {
            let resources = resources.iter().map(|(cluster, instances)| listing(cluster, instances));
            let removed: Vec<_> = removed.into_iter().collect();
            told(node, stream, resources.collect(), &removed)
        }),
    ]
}

fn node_of(event: &NodeEvent) -> &str {
    match event {
        NodeEvent::Connected { node, .. }
        | NodeEvent::Disconnected { node, .. }
        | NodeEvent::Stream { node, .. } => node,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn differences_add_up(events in prop::collection::vec((event(), any::<bool>()), 0..60)) {
        let mut listener = Listener::default();
        let mut nodes: HashMap<String, FromScratch> = HashMap::new();
        for (event, tidy) in events {
            let node = node_of(&event);
            let scratch = nodes.entry(node.to_owned()).or_default();
            // A stream is opened once.
            if let NodeEvent::Connected { stream, .. } = &event
                && scratch.streams.iter().any(|(id, ..)| *id == stream.0)
            {
                continue;
            }
            if tidy {
                listener.reach.catalogue.crowd();
            }
            listener.handle(&event);
            scratch.handle(&event);
            for (node, scratch) in &nodes {
                prop_assert_eq!(listener.reached(node), scratch.reached());
                prop_assert_eq!(listener.reach.knows(&node.as_str().into()), !scratch.streams.is_empty());
            }
        }
    }
}
