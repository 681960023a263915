//! gRPC's own xDS client: another implementation of the protocol, which asks for everything by name.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use berth::xds::{NodeEvent, Resource, ResourceType, Snapshot, StreamEvent};
use berth_tests::{Error, Seen, wait_until};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{
    Authorization, AuthorizationServer,
};
use envoy_types::pb::envoy::service::auth::v3::{CheckRequest, CheckResponse};
use envoy_types::pb::google::rpc;
use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpListener;
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::time::timeout;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request, Response, Status};

use crate::config;
use crate::server::TestServer;

#[tokio::test]
async fn grpc_finds_its_servers_and_follows_them() {
    if let Some(why) = unavailable().await {
        eprintln!("skipped: {why}");
        return;
    }
    let mut server = TestServer::start(4).await;
    let (one, two) = (backend("one").await, backend("two").await);
    server.publish(&world(&one.ip().to_string(), one.port()));
    let mut client = GrpcClient::start(server.address);
    assert!(client.call().await.contains("one"));

    server.publish(&world(&two.ip().to_string(), two.port()));
    client.call_until("two").await;

    // It refuses what it cannot use, goes on with what it had, and takes what comes next.
    server.publish(&world("not-an-ip", two.port()));
    until_refused(&mut server).await;
    assert!(client.call().await.contains("two"));
    server.publish(&world(&one.ip().to_string(), one.port()));
    client.call_until("one").await;
    assert_eq!(server.refusals(), [], "refused once");
    assert_eq!(server.xds.streams().count(), 1);
}

fn world(address: &str, port: u16) -> Arc<Snapshot> {
    let resources: [(ResourceType, Resource); 4] = [
        (ResourceType::Listener, config::api_listener(TARGET)),
        (
            ResourceType::Route,
            config::routes(TARGET, "servers", &["all"]),
        ),
        (ResourceType::Cluster, config::cluster("servers", 1, true)),
        (
            ResourceType::Endpoint,
            config::endpoints("servers", address, port, 1),
        ),
    ];
    Arc::new(Snapshot::new(resources).unwrap())
}

async fn until_refused(server: &mut TestServer) {
    loop {
        let event = timeout(SOON, server.events.recv()).await;
        if let NodeEvent::Stream {
            event: StreamEvent::Refused { resource_type, .. },
            ..
        } = event.expect("nothing happened").unwrap()
        {
            assert_eq!(resource_type, ResourceType::Endpoint);
            return;
        }
    }
}

/// A server of a method that any client can call, which says its name.
async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serving = Server::builder()
        .add_service(AuthorizationServer::new(Named(name)))
        .serve_with_incoming(TcpListenerStream::new(listener));
    // Ends with the test's runtime.
    tokio::spawn(serving);
    address
}

struct Named(&'static str);

#[tonic::async_trait]
impl Authorization for Named {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse {
            status: Some(rpc::Status {
                message: self.0.to_owned(),
                ..rpc::Status::default()
            }),
            ..CheckResponse::default()
        }))
    }
}

/// `grpc_client.py`, which ends when it is dropped.
struct GrpcClient {
    _program: Child,
    calls: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl GrpcClient {
    fn start(server: SocketAddr) -> Self {
        let bootstrap = json!({
            "xds_servers": [{
                "server_uri": server.to_string(),
                "channel_creds": [{ "type": "insecure" }],
                "server_features": ["xds_v3"],
            }],
            "node": { "id": "grpc-client" },
        });
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/xds/grpc_client.py");
        let mut program = python()
            .arg(script)
            .arg(format!("xds:///{TARGET}"))
            .env("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let answers = BufReader::new(program.stdout.take().unwrap()).lines();
        Self {
            calls: program.stdin.take().unwrap(),
            answers,
            _program: program,
        }
    }

    async fn call(&mut self) -> String {
        self.calls.write_all(b"\n").await.unwrap();
        let answer = timeout(SOON, self.answers.next_line()).await;
        answer.expect("no answer").unwrap().expect("an answer")
    }

    async fn call_until(&mut self, name: &str) {
        let answered: Result<(), Error> =
            wait_until(format!("an answer of {name}"), SOON, async || {
                let answer = self.call().await;
                Ok(Seen::when(answer.contains(name), answer))
            })
            .await;
        answered.unwrap();
    }
}

/// Why there is no such client; `None` if there is.
async fn unavailable() -> Option<String> {
    let imported = python().args(["-c", "import grpc"]).output().await;
    match imported {
        Ok(output) if output.status.success() => None,
        Ok(_) => Some("this python3 has no grpcio; `./just _grpcio` fetches it".to_owned()),
        Err(error) => Some(format!("python3: {error}")),
    }
}

fn python() -> Command {
    let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut command = Command::new("python3");
    command
        .env("PYTHONPATH", project.join(".tools/grpcio-1.85.1"))
        .env_remove("http_proxy")
        .env_remove("https_proxy");
    command
}

const TARGET: &str = "servers.test";

/// For one step of a client that is slow to start, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(30);
