use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::Locality;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::google::rpc;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Code;
use tonic::transport::{Channel, Endpoint, Server};

use super::super::resource::Resource;
use super::*;

#[tokio::test]
async fn a_proxy_is_given_what_is_published() {
    let mut world = World::start().await;
    let mut proxy = world.connect("edge-1").await;
    world.server.publish(snapshot("1"));
    let first = proxy.hear().await;
    assert_eq!(named(&first), [("a", "1")]);
    assert_eq!(first.type_url, ResourceType::Cluster.type_url());

    proxy.answer(&first, None).await;
    world.server.publish(snapshot("2"));
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
        names: vec!["a".to_owned()],
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
    world.server.publish(snapshot("1"));
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
    world.server.publish(snapshot("1"));
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
    world.server.publish(snapshot("2"));
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
    server.publish(snapshot("1"));
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
    world.server.publish(snapshot("1"));
    let mut proxy = world.connect("edge-1").await;
    assert_eq!(named(&proxy.hear().await), [("a", "1")]);
}

#[tokio::test]
async fn the_other_variant_is_refused_in_words() {
    let world = World::start().await;
    let (_requests, receiver) = mpsc::channel(1);
    let refused = world
        .client()
        .await
        .stream_aggregated_resources(ReceiverStream::new(receiver))
        .await
        .err()
        .unwrap();
    assert_eq!(refused.code(), Code::Unimplemented);
    assert!(refused.message().contains("DELTA_GRPC"));
}

#[test]
fn a_refused_secret_is_not_quoted() {
    let refusal = |resource_type: ResourceType, message: &str| {
        let message = DeltaDiscoveryRequest {
            type_url: resource_type.type_url().to_owned(),
            response_nonce: "1".to_owned(),
            error_detail: Some(rpc::Status {
                message: message.to_owned(),
                ..rpc::Status::default()
            }),
            ..DeltaDiscoveryRequest::default()
        };
        plain_request(message)
            .unwrap()
            .answer
            .unwrap()
            .error
            .unwrap()
    };
    assert!(!refusal(ResourceType::Secret, "KEY").contains("KEY"));
    assert_eq!(refusal(ResourceType::Route, "why"), "why");
    // Cut within a character of two bytes.
    assert_eq!(
        refusal(ResourceType::Route, &format!("x{}", "é".repeat(MAX_ERROR))).len(),
        MAX_ERROR - 1
    );
}

struct World {
    server: XdsServer,
    events: mpsc::Receiver<NodeEvent>,
    address: std::net::SocketAddr,
}

impl World {
    async fn start() -> Self {
        let (server, events) = XdsServer::new();
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
        let (requests, receiver) = mpsc::channel(8);
        requests.send(first_request(node)).await.unwrap();
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
