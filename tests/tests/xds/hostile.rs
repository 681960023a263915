//! Clients that mean no good, or have gone wrong, beside one that behaves: it is told of every change in time.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::sync::Arc;
use std::time::Duration;

use berth::xds::{Change, Dialect, Resource, ResourceType, Snapshot};
use berth_tests::{Error, Seen, wait_until};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DiscoveryRequest};
use futures_util::future::join_all;
use h2::SendStream;
use h2::client::ResponseFuture;
use prost::Message;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tonic::Code;
use tonic::codegen::Bytes;
use tonic::codegen::http;

use crate::client::{Client, Held};
use crate::messages;
use crate::server::TestServer;

/// A world with a cluster that changes, whatever else there is.
struct World {
    server: TestServer,
    good: Client,
    snapshot: Arc<Snapshot>,
    changes: usize,
}

impl World {
    async fn start(max_streams: usize) -> Self {
        let mut server = TestServer::start(max_streams).await;
        // Streams wait for whoever reads what happens on them.
        server.events.close();
        let snapshot = messages::snapshot(&Vec::new());
        server.publish(&snapshot);
        let mut good = Client::new("good", Dialect::Delta);
        good.connect(server.address).await.unwrap();
        good.want(ResourceType::Cluster, [WATCHED.to_owned()].into())
            .await;
        let absent = good.hear().await.unwrap();
        good.answer(&absent, None).await;
        Self {
            server,
            good,
            snapshot,
            changes: 0,
        }
    }

    /// Changes the cluster, and sees it come to the one that behaves.
    async fn change(&mut self) {
        self.changes += 1;
        let content = self.changes.to_string();
        let cluster = messages::resource(ResourceType::Cluster, WATCHED, &content);
        self.put(ResourceType::Cluster, [cluster]);
        let heard = self.good.hear().await.unwrap();
        let contents: Vec<_> = heard
            .resources
            .values()
            .map(|held: &Held| &held.content)
            .collect();
        assert_eq!(contents, [&content]);
        self.good.answer(&heard, None).await;
    }

    fn put(&mut self, of: ResourceType, resources: impl IntoIterator<Item = Resource>) {
        let changes = resources.into_iter();
        let changes = changes.map(|resource| Change::Put(of, Arc::new(resource)));
        self.snapshot = self.snapshot.with_changes(changes).unwrap();
        self.server.publish(&self.snapshot);
    }

    /// Waits until only so many streams are left.
    async fn until_streams(&self, count: usize) {
        let left: Result<(), Error> = wait_until(format!("{count} streams"), SOON, async || {
            let open = self.server.xds.streams().count();
            Ok(Seen::when(open == count, open))
        })
        .await;
        left.unwrap();
    }
}

/// One HTTP/2 stream with whatever is put on it. Its client reads what it is made to read, and nothing else.
async fn raw_stream(
    world: &World,
    method: &str,
    body: &[u8],
    ends: bool,
) -> (ResponseFuture, SendStream<Bytes>) {
    let socket = TcpStream::connect(world.server.address).await.unwrap();
    let (mut sender, connection) = h2::client::handshake(socket).await.unwrap();
    // Ends when its stream does, or the server closes.
    tokio::spawn(connection);
    let service = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    let request = http::Request::post(format!("http://xds.test/{service}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (response, mut sending) = sender.send_request(request, false).unwrap();
    let body = Bytes::copy_from_slice(body);
    sending.send_data(body, ends).unwrap();
    (response, sending)
}

/// The status of gRPC with which such a stream ends.
async fn raw_call(world: &World, body: &[u8]) -> String {
    let (response, _sending) = raw_stream(world, "DeltaAggregatedResources", body, true).await;
    let (head, mut body) = response.await.unwrap().into_parts();
    while let Some(data) = body.data().await {
        data.unwrap();
    }
    let trailers = body.trailers().await.unwrap().unwrap_or(head.headers);
    trailers["grpc-status"].to_str().unwrap().to_owned()
}

/// A gRPC message of so many bytes, as its head says.
fn framed(length: u32, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0];
    frame.extend(length.to_be_bytes());
    frame.extend(body);
    frame
}

#[tokio::test]
async fn what_is_no_request_ends_its_own_stream() {
    let mut world = World::start(8).await;
    let [internal, too_large] =
        [Code::Internal, Code::OutOfRange].map(|code| (code as i32).to_string());
    let garbage = [0xff; 64];
    let cases: &[(&str, Vec<u8>, &str)] = &[
        ("no protobuf", framed(64, &garbage), &internal),
        ("no gRPC", garbage.to_vec(), &internal),
        ("too large", framed(3 << 20, &garbage), &too_large),
        ("cut off", framed(64, &garbage[..9]), &internal),
        ("nothing", Vec::new(), "0"),
    ];
    for (title, body, expected) in cases {
        let ended = raw_call(&world, body).await;
        assert_eq!(ended, *expected, "{title}");
        world.change().await;
    }
    // No HTTP/2 at all, and half a preface.
    for bytes in [
        &b"GET / HTTP/1.1\r\nhost: xds.test\r\n\r\n"[..],
        b"PRI * HT",
    ] {
        let mut socket = TcpStream::connect(world.server.address).await.unwrap();
        socket.write_all(bytes).await.unwrap();
        world.change().await;
    }
    world.until_streams(1).await;
}

/// It asks for everything, and reads nothing. What is kept for it does not grow with what changes.
#[tokio::test]
async fn who_never_reads_costs_no_more_than_one_response_of_each_type() {
    let mut world = World::start(64).await;
    let large = |round: usize| {
        let body = "x".repeat(8 << 10);
        (0..SECRETS).map(move |at| {
            let content = format!("{round}-{body}");
            messages::resource(ResourceType::Secret, &format!("s{at}"), &content)
        })
    };
    world.put(ResourceType::Secret, large(0));
    let mut idle = Vec::new();
    for dialect in [Dialect::Delta, Dialect::StateOfTheWorld].repeat(15) {
        let mut client = Client::new("idle", dialect);
        client.connect(world.server.address).await.unwrap();
        client
            .want(ResourceType::Secret, ["*".to_owned()].into())
            .await;
        idle.push(client);
    }
    // Their HTTP/2 reads for them, as much as it has room for. These do not even do that.
    let mut deaf = Vec::new();
    for (method, request) in deaf_requests() {
        for _ in 0..15 {
            deaf.push(raw_stream(&world, method, &request, false).await);
        }
    }
    world.until_streams(61).await;
    world.change().await;
    let before = resident();
    let mut published = Vec::new();
    for round in 1..=ROUNDS {
        world.put(ResourceType::Secret, large(round));
        let secrets = world.snapshot.of(ResourceType::Secret).values();
        published.extend(secrets.map(Arc::downgrade));
        world.change().await;
    }
    // What there is, and of what was on its way when a client stopped reading, one response.
    let kept = published.iter().filter(|secret| secret.strong_count() > 0);
    let kept = kept.count();
    assert!(
        kept <= 2 * SECRETS,
        "{kept} of {} are kept",
        published.len()
    );
    let grown = resident().saturating_sub(before);
    assert!(grown < BOUND, "{grown} bytes more");

    drop(deaf);
    // What the others then hear is what there is.
    for mut client in idle {
        let mut held = BTreeMap::new();
        while held.len() < SECRETS || held.values().any(|round: &usize| *round < ROUNDS) {
            let heard = client.hear().await.unwrap();
            client.answer(&heard, None).await;
            for (name, new) in &heard.resources {
                let (round, _) = new.content.split_once('-').unwrap();
                held.insert(name.clone(), round.parse().unwrap());
            }
        }
    }
    world.change().await;
}

/// For all secrets, in both dialects.
fn deaf_requests() -> [(&'static str, Vec<u8>); 2] {
    let node = Some(Node {
        id: "deaf".to_owned(),
        ..Node::default()
    });
    let type_url = ResourceType::Secret.type_url().to_owned();
    let delta = DeltaDiscoveryRequest {
        node: node.clone(),
        type_url: type_url.clone(),
        ..DeltaDiscoveryRequest::default()
    };
    let state = DiscoveryRequest {
        node,
        type_url,
        ..DiscoveryRequest::default()
    };
    let framed = |message: Vec<u8>| framed(message.len().try_into().unwrap(), &message);
    [
        ("DeltaAggregatedResources", framed(delta.encode_to_vec())),
        ("StreamAggregatedResources", framed(state.encode_to_vec())),
    ]
}

#[tokio::test]
async fn who_asks_for_too_much_is_sent_away() {
    let mut world = World::start(8).await;
    for dialect in [Dialect::Delta, Dialect::StateOfTheWorld] {
        for names in [
            (0..100_000)
                .map(|at| at.to_string())
                .collect::<BTreeSet<_>>(),
            ["x".repeat(100_000)].into(),
        ] {
            let mut client = Client::new("greedy", dialect);
            client.connect(world.server.address).await.unwrap();
            client.want(ResourceType::Endpoint, names).await;
            let refused = client.hear().await.err().map(|status| status.code());
            assert_eq!(refused, Some(Code::ResourceExhausted));
            world.change().await;
        }
    }
    // In many requests, none of which is too large.
    let mut client = Client::new("patient", Dialect::Delta);
    client.connect(world.server.address).await.unwrap();
    let mut refused = None;
    for request in 0..30 {
        let names = (0..500).map(|at| format!("{request}-{at}"));
        client
            .send_delta(DeltaDiscoveryRequest {
                type_url: ResourceType::Endpoint.type_url().to_owned(),
                resource_names_subscribe: names.collect(),
                ..DeltaDiscoveryRequest::default()
            })
            .await;
        match client.hear().await {
            Ok(heard) => client.answer(&heard, None).await,
            Err(status) => {
                refused = Some(status.code());
                break;
            }
        }
    }
    assert_eq!(refused, Some(Code::ResourceExhausted));
    world.until_streams(1).await;
}

/// Requests that say nothing, as fast as they can be sent.
#[tokio::test]
async fn who_floods_holds_nobody_up() {
    let mut world = World::start(8).await;
    let mut flooding = Client::new("flood", Dialect::Delta);
    flooding.connect(world.server.address).await.unwrap();
    for of in [ResourceType::Cluster, ResourceType::Secret] {
        for round in 0..20_000_u32 {
            flooding
                .send_delta(DeltaDiscoveryRequest {
                    type_url: of.type_url().to_owned(),
                    response_nonce: "none".to_owned(),
                    ..DeltaDiscoveryRequest::default()
                })
                .await;
            if round % 4_000 == 0 {
                world.change().await;
            }
        }
    }
    flooding.leave();
    world.until_streams(1).await;
}

#[tokio::test]
async fn a_storm_of_clients_that_come_back_passes() {
    let mut world = World::start(4 * STORM).await;
    let clients = (0..STORM).map(|at| {
        let dialect = [Dialect::Delta, Dialect::StateOfTheWorld][at % 2];
        Client::new(&format!("storm-{at}"), dialect)
    });
    let mut clients: Vec<_> = clients.collect();
    for client in &mut clients {
        client.connect(world.server.address).await.unwrap();
        client
            .want(ResourceType::Cluster, [WATCHED.to_owned()].into())
            .await;
    }
    for _ in 0..10 {
        world.change().await;
        let address = world.server.address;
        let storm = clients.into_iter().map(async |mut client| {
            client.connect(address).await.unwrap();
            client
        });
        clients = join_all(storm).await;
        world.change().await;
    }
    world.until_streams(STORM + 1).await;
    let last = world.changes.to_string();
    for client in &mut clients {
        loop {
            let heard = client.hear().await.unwrap();
            client.answer(&heard, None).await;
            if heard.resources.values().any(|held| held.content == last) {
                break;
            }
        }
    }
    drop(clients);
    world.until_streams(1).await;
    world.good.leave();
    world.until_streams(0).await;
}

#[tokio::test]
async fn more_streams_than_may_be_are_refused_and_the_others_stay() {
    let mut world = World::start(4).await;
    let mut others = Vec::new();
    for _ in 0..3 {
        let mut other = Client::new("other", Dialect::Delta);
        other.connect(world.server.address).await.unwrap();
        others.push(other);
    }
    for _ in 0..20 {
        let mut late = Client::new("late", Dialect::StateOfTheWorld);
        let refused = late.connect(world.server.address).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
        world.change().await;
    }
    drop(others);
    world.until_streams(1).await;
}

/// What this process has in memory, in bytes (`/proc/self/statm`).
fn resident() -> usize {
    let statm = fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

const WATCHED: &str = "watched";
const SECRETS: usize = 40;
const STORM: usize = 200;

const ROUNDS: usize = 30;

/// Sixty streams that kept all would have 576 MB of changes. Other tests may run in the same process.
const BOUND: usize = 48 << 20;

/// On a machine that has other things to do.
const SOON: Duration = Duration::from_secs(30);
