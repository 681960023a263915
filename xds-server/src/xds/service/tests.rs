use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    self as discovery, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
};
use envoy_types::pb::google::rpc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Streaming};

use super::super::profile::{NodeMatch, Profile, Scope};
use super::super::resource::{Resource, ResourceType};
use super::super::stream::Dialect;
use super::*;

#[tokio::test]
async fn a_proxy_is_given_what_is_published() {
    let mut world = World::start().await;
    let mut proxy = world.connect("edge-1").await;
    world.publish("1");
    let first = proxy.hear().await;
    assert_eq!(named(&first), [("a", "1")]);
    assert_eq!(first.type_url, ResourceType::Cluster.type_url());

    proxy.answer(&first, None).await;
    world.publish("2");
    let second = proxy.hear().await;
    assert_eq!(named(&second), [("a", "2")]);
    assert_ne!(first.nonce, second.nonce);
    proxy.answer(&second, Some("no good")).await;

    let node = || "edge-1".to_owned();
    let stream = StreamId(1);
    let resource_type = ResourceType::Cluster;
    let acknowledged = StreamEvent::Acknowledged {
        resource_type,
        resources: snapshot("1").of(resource_type).values().cloned().collect(),
        removed: Vec::new(),
    };
    let refused = StreamEvent::Refused {
        resource_type,
        names: vec!["a".into()],
        error: "no good".to_owned(),
    };
    assert_eq!(
        world.event().await,
        NodeEvent::Connected {
            node: node(),
            stream,
            zone: None,
        }
    );
    assert_eq!(
        world.event().await,
        NodeEvent::Stream {
            node: node(),
            stream,
            event: acknowledged
        }
    );
    assert_eq!(
        world.event().await,
        NodeEvent::Stream {
            node: node(),
            stream,
            event: refused
        }
    );
    drop(proxy);
    assert_eq!(
        world.event().await,
        NodeEvent::Disconnected {
            node: node(),
            stream
        }
    );
}

#[tokio::test]
async fn streams_are_told_apart_and_told_the_same() {
    let mut world = World::start().await;
    world.publish("1");
    let mut proxies = [world.connect("edge-1").await, world.connect("edge-1").await];
    for proxy in &mut proxies {
        assert_eq!(named(&proxy.hear().await), [("a", "1")]);
    }
    let mut streams = Vec::new();
    for _ in &proxies {
        let NodeEvent::Connected { node, stream, .. } = world.event().await else {
            panic!("not connected")
        };
        assert_eq!(node, "edge-1");
        streams.push(stream);
    }
    streams.sort();
    assert_eq!(streams, [StreamId(1), StreamId(2)]);
}

#[tokio::test]
async fn a_proxy_says_where_it_is() {
    let mut world = World::start().await;
    let place = |zone: &str| {
        Some(Locality {
            region: "eu".to_owned(),
            zone: zone.to_owned(),
            ..Locality::default()
        })
    };
    for (locality, expected) in [
        (None, None),
        (place(""), None),
        (place("eu-1a"), Some("eu-1a".to_owned())),
    ] {
        let (sender, receiver) = mpsc::channel(1);
        let first = DeltaDiscoveryRequest {
            node: Some(Node {
                id: "edge-1".to_owned(),
                locality,
                ..Node::default()
            }),
            ..first_request("")
        };
        sender.send(first).await.unwrap();
        let mut client = world.client().await;
        let requests = ReceiverStream::new(receiver);
        let responses = client.delta_aggregated_resources(requests).await.unwrap();
        let NodeEvent::Connected { zone, .. } = world.event().await else {
            panic!("not connected")
        };
        assert_eq!(zone, expected);
        drop((sender, responses));
        let end = world.event().await;
        assert!(matches!(end, NodeEvent::Disconnected { .. }), "{end:?}");
    }
}

#[tokio::test]
async fn a_stream_without_a_node_is_refused() {
    let world = World::start().await;
    for node in [None, Some(Node::default())] {
        let (requests, receiver) = mpsc::channel(1);
        requests
            .send(DeltaDiscoveryRequest {
                node,
                ..first_request("")
            })
            .await
            .unwrap();
        let mut client = world.client().await;
        let mut responses = client
            .delta_aggregated_resources(ReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        assert_eq!(
            responses.message().await.unwrap_err().code(),
            Code::InvalidArgument
        );
    }
}

#[tokio::test]
async fn a_type_that_is_not_served_does_not_disturb_the_others() {
    let world = World::start().await;
    world.publish("1");
    let mut proxy = world.connect("edge-1").await;
    let runtime = "type.googleapis.com/envoy.service.runtime.v3.Runtime".to_owned();
    proxy
        .send(DeltaDiscoveryRequest {
            type_url: runtime,
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    let first = proxy.hear().await;
    proxy.answer(&first, None).await;
    world.publish("2");
    assert_eq!(named(&proxy.hear().await), [("a", "2")]);
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let World {
        server,
        address,
        events: _events,
        ..
    } = World::start().await;
    let mut proxy = Proxy::connect(address, "edge-1").await;
    server.publish_to_all(&Arc::new(snapshot("1")));
    proxy.hear().await;
    drop(server);
    assert_eq!(
        proxy.responses.message().await.unwrap_err().code(),
        Code::Unavailable
    );
    let (_requests, receiver) = mpsc::channel(1);
    let refused = client(address)
        .await
        .delta_aggregated_resources(ReceiverStream::new(receiver))
        .await;
    assert_eq!(refused.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn events_that_nobody_reads_hold_nobody_up() {
    let mut world = World::start().await;
    world.events.close();
    world.publish("1");
    let mut proxy = world.connect("edge-1").await;
    assert_eq!(named(&proxy.hear().await), [("a", "1")]);
}

#[tokio::test]
async fn the_state_of_the_world_is_served_too() {
    let mut world = World::start().await;
    world.publish("1");
    let (requests, receiver) = mpsc::channel(8);
    let first = DiscoveryRequest {
        node: first_request("edge-1").node,
        type_url: ResourceType::Cluster.type_url().to_owned(),
        ..DiscoveryRequest::default()
    };
    requests.send(first.clone()).await.unwrap();
    let mut client = world.client().await;
    let responses = client.stream_aggregated_resources(ReceiverStream::new(receiver));
    let mut responses = responses.await.unwrap().into_inner();
    let told = responses.message().await.unwrap().unwrap();
    let bodies: Vec<_> = told
        .resources
        .iter()
        .map(|any| any.value.as_slice())
        .collect();
    assert_eq!(bodies, [b"1"]);
    assert!(!told.version_info.is_empty());
    let answer = DiscoveryRequest {
        node: None,
        version_info: told.version_info,
        response_nonce: told.nonce,
        ..first
    };
    requests.send(answer).await.unwrap();
    assert!(matches!(world.event().await, NodeEvent::Connected { .. }));
    let event = world.event().await;
    let acknowledged = |event: &NodeEvent| {
        let NodeEvent::Stream { event, .. } = event else {
            return false;
        };
        matches!(event, StreamEvent::Acknowledged { resources, .. } if resources.len() == 1)
    };
    assert!(acknowledged(&event), "{event:?}");
}

#[tokio::test]
async fn each_profile_is_told_its_own() {
    let of = |name: &str, cluster: Option<&str>| Profile {
        name: name.into(),
        fits: NodeMatch {
            cluster: cluster.map(str::to_owned),
            ..NodeMatch::default()
        },
        listeners: Scope::All,
        pools: Scope::All,
    };
    let profiles = vec![of("blue", Some("b")), of("green", Some("g"))];
    let world = World::of(Profiles::new(profiles).unwrap(), 8).await;
    let views = ["1", "2"].map(|content| Arc::new(snapshot(content)));
    let [one, two] = &views;
    let views = [
        ("blue".into(), Arc::clone(one)),
        ("green".into(), Arc::clone(two)),
    ];
    world.server.publish(&views.into());
    let from = |cluster: &str| {
        let mut first = first_request("edge-1");
        first.node.as_mut().unwrap().cluster = cluster.to_owned();
        first
    };
    for (cluster, expected) in [("b", "1"), ("g", "2")] {
        let mut proxy = Proxy::open(world.address, from(cluster)).await;
        assert_eq!(named(&proxy.hear().await), [("a", expected)]);
    }
    let mut nobody = Proxy::open(world.address, from("else")).await;
    let refused = nobody.responses.message().await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);
    assert!(refused.message().contains("edge-1"), "{refused}");
}

#[tokio::test]
async fn streams_tell_how_they_stand() {
    let mut world = World::start().await;
    world.publish("1");
    let streams = world.server.streams();
    let mut proxy = world.connect("edge-1").await;
    let _other = world.connect("edge-2").await;
    let told = proxy.hear().await;
    let status = || async {
        let status = streams.status(Some("edge-1")).await.pop().unwrap();
        let types = status.types.clone().unwrap().pop().unwrap();
        (status, types)
    };
    let names = |resources: &[Arc<Resource>]| {
        let names = resources.iter().map(|resource| resource.name().to_string());
        names.collect::<Vec<_>>()
    };
    let (sent, types) = status().await;
    assert_eq!(
        (sent.node.id.as_str(), sent.dialect),
        ("edge-1", Dialect::Delta)
    );
    assert_eq!(sent.profile.as_str(), "default");
    assert!(sent.address.unwrap().ip().is_loopback());
    assert!(types.everything && types.names.is_empty());
    assert_eq!(
        (names(&types.unanswered), names(&types.acknowledged)),
        (vec!["a".to_owned()], vec![])
    );

    proxy.answer(&told, None).await;
    world.until_acknowledged().await;
    let (_, types) = status().await;
    assert_eq!(
        (names(&types.unanswered), names(&types.acknowledged)),
        (vec![], vec!["a".to_owned()])
    );

    world.publish("2");
    let told = proxy.hear().await;
    proxy.answer(&told, Some("no good")).await;
    while !matches!(
        world.event().await,
        NodeEvent::Stream {
            event: StreamEvent::Refused { .. },
            ..
        }
    ) {}
    let (_, types) = status().await;
    let refused: Vec<_> = types
        .refused
        .iter()
        .map(|(what, why)| (&**what.name(), &**why))
        .collect();
    assert_eq!(refused, [("a", "no good")]);
    assert_eq!(streams.status(None).await.len(), 2);
    assert_eq!(streams.count(), 2);
}

#[tokio::test]
async fn no_more_streams_than_may_be() {
    let mut world = World::of(Profiles::default(), 1).await;
    world.publish("1");
    let mut first = world.connect("edge-1").await;
    first.hear().await;
    let (_requests, receiver) = mpsc::channel(1);
    let mut client = world.client().await;
    let refused = client
        .delta_aggregated_resources(ReceiverStream::new(receiver))
        .await;
    let refused = refused.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert!(refused.message().contains("xds.max_streams"), "{refused}");
    drop(first);
    while !matches!(world.event().await, NodeEvent::Disconnected { .. }) {}
    let mut next = world.connect_when_there_is_room("edge-1").await;
    next.hear().await;
}

struct World {
    server: XdsServer,
    events: mpsc::Receiver<NodeEvent>,
    address: std::net::SocketAddr,
}

impl World {
    async fn start() -> Self {
        Self::of(Profiles::default(), 8).await
    }

    async fn of(profiles: Profiles, max_streams: usize) -> Self {
        let (server, events) = XdsServer::new(profiles, max_streams);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let service = server.service();
        // Ends with the test's runtime.
        tokio::spawn(
            Server::builder()
                .add_service(service)
                .serve_with_incoming(TcpListenerStream::new(listener)),
        );
        Self {
            server,
            events,
            address,
        }
    }

    async fn client(&self) -> AggregatedDiscoveryServiceClient<Channel> {
        client(self.address).await
    }

    async fn connect(&self, node: &str) -> Proxy {
        Proxy::connect(self.address, node).await
    }

    fn publish(&self, content: &str) {
        self.server.publish_to_all(&Arc::new(snapshot(content)));
    }

    /// An end is told before its place is free.
    async fn connect_when_there_is_room(&self, node: &str) -> Proxy {
        loop {
            let (requests, receiver) = mpsc::channel(8);
            requests.send(first_request(node)).await.unwrap();
            let mut client = self.client().await;
            let opened = client.delta_aggregated_resources(ReceiverStream::new(receiver));
            if let Ok(responses) = opened.await {
                let responses = responses.into_inner();
                return Proxy {
                    requests,
                    responses,
                };
            }
        }
    }

    async fn until_acknowledged(&mut self) {
        let acknowledged = |event: &NodeEvent| {
            let NodeEvent::Stream { event, .. } = event else {
                return false;
            };
            matches!(event, StreamEvent::Acknowledged { .. })
        };
        while !acknowledged(&self.event().await) {}
    }

    async fn event(&mut self) -> NodeEvent {
        tokio::time::timeout(PATIENCE, self.events.recv())
            .await
            .expect("nothing happened")
            .unwrap()
    }
}

async fn client(address: std::net::SocketAddr) -> AggregatedDiscoveryServiceClient<Channel> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    AggregatedDiscoveryServiceClient::new(endpoint.connect().await.unwrap())
}

/// A client that wants all clusters.
struct Proxy {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    responses: Streaming<DeltaDiscoveryResponse>,
}

impl Proxy {
    async fn connect(address: std::net::SocketAddr, node: &str) -> Self {
        Self::open(address, first_request(node)).await
    }

    async fn open(address: std::net::SocketAddr, first: DeltaDiscoveryRequest) -> Self {
        let (requests, receiver) = mpsc::channel(8);
        requests.send(first).await.unwrap();
        let responses = client(address)
            .await
            .delta_aggregated_resources(ReceiverStream::new(receiver))
            .await
            .unwrap()
            .into_inner();
        Self {
            requests,
            responses,
        }
    }

    async fn send(&self, request: DeltaDiscoveryRequest) {
        self.requests.send(request).await.unwrap();
    }

    async fn hear(&mut self) -> DeltaDiscoveryResponse {
        tokio::time::timeout(PATIENCE, self.responses.message())
            .await
            .expect("nothing came")
            .unwrap()
            .unwrap()
    }

    async fn answer(&self, response: &DeltaDiscoveryResponse, error: Option<&str>) {
        self.send(DeltaDiscoveryRequest {
            type_url: response.type_url.clone(),
            response_nonce: response.nonce.clone(),
            error_detail: error.map(|message| rpc::Status {
                message: message.to_owned(),
                ..rpc::Status::default()
            }),
            ..DeltaDiscoveryRequest::default()
        })
        .await;
    }
}

fn first_request(node: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node {
            id: node.to_owned(),
            ..Node::default()
        }),
        type_url: ResourceType::Cluster.type_url().to_owned(),
        ..DeltaDiscoveryRequest::default()
    }
}

fn snapshot(content: &str) -> Snapshot {
    Snapshot::new([(
        ResourceType::Cluster,
        Resource::new("a", content.to_owned().into_bytes()),
    )])
    .unwrap()
}

fn named(response: &DeltaDiscoveryResponse) -> Vec<(&str, &str)> {
    let content =
        |resource: &discovery::Resource| resource.resource.as_ref().unwrap().value.clone();
    response
        .resources
        .iter()
        .map(|resource| {
            (
                resource.name.as_str(),
                if content(resource) == b"1" { "1" } else { "2" },
            )
        })
        .collect()
}

const PATIENCE: Duration = Duration::from_secs(20);
