//! Very many who ask for an instance at once, by few connections.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use berth_proto::session::v1::acquire_response::Outcome;
use berth_proto::session::v1::{AcquireRequest, AcquireResponse, Owner, Vm};
use berth_tests::World;
use h2::Reason;
use h2::client::{self, ResponseFuture, SendRequest};
use prost::Message;
use tokio::net::TcpStream;
use tokio::runtime::{self, Runtime};
use tokio::task::JoinSet;
use tonic::codegen::Bytes;
use tonic::codegen::http::Request;

pub(crate) struct Crowd {
    answers: Arc<Answers>,
    asking: JoinSet<()>,
    connections: JoinSet<()>,
    /// Their own, so that what is waited for beside them shows how busy the control plane is, and not how busy they are.
    runtime: Option<Runtime>,
}

/// What they were answered.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    queue_full: AtomicUsize,
    /// Who was let wait, and waited in vain.
    no_instance: AtomicUsize,
}

impl Answers {
    pub(crate) fn queue_full(&self) -> usize {
        self.queue_full.load(Ordering::Relaxed)
    }

    pub(crate) fn no_instance(&self) -> usize {
        self.no_instance.load(Ordering::Relaxed)
    }

    fn add(&self, outcome: Option<Outcome>) {
        let Some(Outcome::Refusal(refusal)) = outcome else {
            panic!("{outcome:?}");
        };
        assert!(
            (1..=60).contains(&refusal.retry_after_seconds),
            "{refusal:?}"
        );
        let count = match refusal.reason.as_str() {
            "queue_full" => &self.queue_full,
            "no_instance" => &self.no_instance,
            other => panic!("{other}"),
        };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

impl Crowd {
    /// So many users with a request each, divided among the connections of so many VMs.
    pub(crate) async fn gather(world: &World, name: &str, vms: usize, users: usize) -> Self {
        let answers = Arc::<Answers>::default();
        let runtime = runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let handle = runtime.handle();
        let (mut asking, mut connections) = (JoinSet::new(), JoinSet::new());
        for vm in 0..vms {
            let connected = handle.spawn(connect(world.berth().xds())).await;
            let (calls, connection) = connected.unwrap();
            // Its end is no fault: the crowd hangs up.
            connections.spawn_on(async move { drop(connection.await) }, handle);
            let vm = format!("{name}-{vm}");
            let asked = ask(calls, vm, users / vms, Arc::clone(&answers));
            asking.spawn_on(asked, handle);
        }
        Self {
            answers,
            asking,
            connections,
            runtime: Some(runtime),
        }
    }

    pub(crate) fn answers(&self) -> &Answers {
        &self.answers
    }

    /// They hang up.
    pub(crate) async fn leave(mut self) {
        self.asking.shutdown().await;
        self.connections.shutdown().await;
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn connect(
    address: SocketAddr,
) -> (SendRequest<Bytes>, client::Connection<TcpStream, Bytes>) {
    let socket = TcpStream::connect(address).await.unwrap();
    socket.set_nodelay(true).unwrap();
    let mut builder = client::Builder::new();
    builder.initial_connection_window_size(1 << 24);
    builder.handshake(socket).await.unwrap()
}

/// Sends requests as fast as the other side lets it, and waits for every answer.
async fn ask(mut calls: SendRequest<Bytes>, vm: String, users: usize, answers: Arc<Answers>) {
    let mut asked = JoinSet::new();
    for number in 0..users {
        let (following, answer) = send(calls, acquire(&vm, number)).await;
        calls = following;
        let (answers, again) = (Arc::clone(&answers), calls.clone());
        let message = acquire(&vm, number);
        asked.spawn(async move {
            let outcome = match outcome(answer).await {
                Ok(outcome) => outcome,
                // Nobody has looked at it (RFC 9113 §8.7): at the limit the two sides may count differently for a moment.
                Err(error) if error.reason() == Some(Reason::REFUSED_STREAM) => {
                    let (_, answer) = send(again, message).await;
                    outcome(answer).await.unwrap()
                }
                Err(error) => panic!("{error}"),
            };
            answers.add(outcome);
        });
    }
    while let Some(answered) = asked.join_next().await {
        answered.unwrap();
    }
}

async fn send(calls: SendRequest<Bytes>, message: Bytes) -> (SendRequest<Bytes>, ResponseFuture) {
    let mut calls = calls.ready().await.unwrap();
    let request = Request::post("http://berth/berth.session.v1.Sessions/Acquire")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .unwrap();
    let (answer, mut body) = calls.send_request(request, false).unwrap();
    body.send_data(message, true).unwrap();
    (calls, answer)
}

async fn outcome(answer: ResponseFuture) -> Result<Option<Outcome>, h2::Error> {
    let mut body = answer.await?.into_body();
    let mut message = Vec::new();
    while let Some(data) = body.data().await {
        let data = data?;
        body.flow_control().release_capacity(data.len()).unwrap();
        message.extend_from_slice(&data);
    }
    // A flag that says that it is not compressed, and the message's length.
    let (_, message) = message.split_at_checked(FRAME).unwrap();
    Ok(AcquireResponse::decode(message).unwrap().outcome)
}

/// As gRPC frames it.
fn acquire(vm: &str, number: usize) -> Bytes {
    let session = format!("{vm}-{number}");
    let request = AcquireRequest {
        vm: Some(Vm {
            node: "envoy-0".to_owned(),
            id: vm.to_owned(),
            sequence: u64::try_from(number).unwrap() + 1,
        }),
        pool: "web".to_owned(),
        owner: Some(Owner {
            issuer: "https://login.example".to_owned(),
            subject: session.clone(),
            ..Owner::default()
        }),
        session,
        client_address: "192.0.2.1".to_owned(),
        ..AcquireRequest::default()
    };
    let length = u32::try_from(request.encoded_len()).unwrap();
    let mut framed = vec![0];
    framed.extend_from_slice(&length.to_be_bytes());
    request.encode(&mut framed).unwrap();
    framed.into()
}

/// In bytes (gRPC over HTTP/2, Length-Prefixed-Message).
const FRAME: usize = 5;
