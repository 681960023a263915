//! What proxies say, and how the task takes it.

use super::*;
use crate::xds::{EndpointHealth, EndpointSpec, Resource, ResourceType, StreamEvent, StreamId};

#[tokio::test]
async fn what_came_together_is_taken_together_and_in_order() {
    use EndpointHealth::{Healthy, Unhealthy};
    let mut events = Vec::new();
    for number in 0..PROXIES {
        let node = format!("edge-of-{number}");
        events.extend(come(&node, &[Healthy]));
    }
    events.extend(come("west", &[Healthy, Unhealthy]));
    events.extend(come("east", &[Unhealthy, Healthy]));
    let scene = scene_after(Disk::Well, 0, events);

    let connected = async {
        loop {
            let metrics = scene.controller.metrics().await.unwrap();
            let line = metrics
                .lines()
                .find_map(|line| line.strip_prefix("berth_xds_nodes "));
            match line.unwrap().parse::<usize>().unwrap() {
                0 => {}
                connected => return connected,
            }
        }
    };
    let connected = tokio::time::timeout(PATIENCE, connected).await.unwrap();
    assert_eq!(connected, PROXIES + 2, "some were left for another turn");
    for (node, placed) in [("nowhere", false), ("west", false), ("east", true)] {
        let mut acquire = acquire(node, 1);
        acquire.origin.node = node.into();
        let answer = scene.controller.acquire(acquire).await.unwrap();
        assert_eq!(answer.is_ok(), placed, "{node}");
    }
}

#[tokio::test]
async fn what_a_static_proxy_acknowledges_takes_nothing_from_it() {
    let scene = scene(Disk::Well);
    let by_it = || {
        let mut acquire = acquire("s-1", 1);
        acquire.origin.node = "static-1".into();
        scene.controller.check(acquire)
    };
    assert_eq!(by_it().await.unwrap(), Ok(()));
    let mut events = come(
        "static-1",
        &[EndpointHealth::Healthy, EndpointHealth::Unhealthy],
    );
    events.push(NodeEvent::Disconnected {
        node: "static-1".to_owned(),
        stream: StreamId(1),
    });
    events.push(NodeEvent::Connected {
        node: "other".to_owned(),
        stream: StreamId(2),
        zone: None,
    });
    for event in events {
        scene._senders.1.send(event).await.unwrap();
    }
    let taken = async {
        let one = "berth_xds_nodes 1";
        while !scene.controller.metrics().await.unwrap().contains(one) {}
    };
    tokio::time::timeout(PATIENCE, taken).await.unwrap();
    assert_eq!(by_it().await.unwrap(), Ok(()));
}

/// A proxy connects, and acknowledges the instance in one state after the other.
fn come(node: &str, healths: &[EndpointHealth]) -> Vec<NodeEvent> {
    let stream = StreamId(1);
    let connected = NodeEvent::Connected {
        node: node.to_owned(),
        stream,
        zone: None,
    };
    let acknowledged = healths.iter().map(|health| {
        let endpoint = EndpointSpec {
            instance: "web-1".to_owned(),
            address: "192.0.2.1:49100".parse().unwrap(),
            health: *health,
        };
        let resource = Resource::new("web", format!("{health:?}"));
        NodeEvent::Stream {
            node: node.to_owned(),
            stream,
            event: StreamEvent::Acknowledged {
                resource_type: ResourceType::Endpoint,
                resources: vec![Arc::new(resource.with_endpoints(vec![endpoint]))],
                removed: Vec::new(),
            },
        }
    });
    std::iter::once(connected).chain(acknowledged).collect()
}

const PROXIES: usize = 400;
