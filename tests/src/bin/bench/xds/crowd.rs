//! Many nodes, each on a connection of its own.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use h2::{RecvStream, SendStream, client};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tonic::codegen::Bytes;
use tonic::codegen::http::{self, HeaderMap, Request, Response};

use super::node::Node;
use super::scan::{Malformed, Protocol, Scan};
use crate::BenchError;

/// Why a node has no stream any more.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StreamError {
    #[error("{0}")]
    Socket(#[from] std::io::Error),
    #[error("{0}")]
    Http2(#[from] h2::Error),
    #[error("{0}")]
    Request(#[from] http::Error),
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("the server ended it: {0}")]
    Ended(String),
}

/// Nodes that are connected.
pub(super) struct Crowd {
    common: Arc<Common>,
    nodes: JoinSet<Result<Node, StreamError>>,
    leave: watch::Sender<bool>,
}

/// What all nodes of a crowd tell.
#[derive(Debug)]
struct Common {
    size: usize,
    /// Which news is awaited; each node tells of it once.
    round: AtomicU64,
    arrived: AtomicUsize,
    last: Mutex<Option<Instant>>,
    all_arrived: Notify,
    refuse: AtomicBool,
    bytes: AtomicU64,
    endpoint_responses: AtomicU64,
}

/// What a crowd was sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received {
    /// In HTTP/2's DATA frames: messages, and gRPC's five bytes before each.
    pub(super) bytes: u64,
    /// Responses with endpoints.
    pub(super) endpoint_responses: u64,
}

impl Crowd {
    /// Has these nodes connect, all at once. What they have not got yet is the first news.
    pub(super) fn connect(nodes: Vec<Node>, address: SocketAddr) -> Self {
        let common = Arc::new(Common {
            size: nodes.len(),
            round: AtomicU64::new(1),
            arrived: AtomicUsize::new(0),
            last: Mutex::new(None),
            all_arrived: Notify::new(),
            refuse: AtomicBool::new(false),
            bytes: AtomicU64::new(0),
            endpoint_responses: AtomicU64::new(0),
        });
        let (leave, leaving) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for mut node in nodes {
            let (common, leaving) = (Arc::clone(&common), leaving.clone());
            tasks.spawn(async move {
                converse(&mut node, address, &common, leaving).await?;
                Ok(node)
            });
        }
        Self {
            common,
            nodes: tasks,
            leave,
        }
    }

    /// From now on other news is awaited, which nodes take or refuse.
    pub(super) fn expect_news(&self, refuse: bool) {
        self.common.refuse.store(refuse, Ordering::SeqCst);
        self.common.arrived.store(0, Ordering::SeqCst);
        *self
            .common
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = None;
        self.common.round.fetch_add(1, Ordering::SeqCst);
    }

    /// Waits until the news is with every node; when it came to the last.
    pub(super) async fn news_is_everywhere(
        &mut self,
        within: Duration,
    ) -> Result<Instant, BenchError> {
        let common = Arc::clone(&self.common);
        let everywhere = async {
            loop {
                let told = common.all_arrived.notified();
                let last = *common.last.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(last) = last {
                    return last;
                }
                told.await;
            }
        };
        tokio::select! {
            last = timeout(within, everywhere) => last.map_err(|_| BenchError::Nodes {
                arrived: self.common.arrived.load(Ordering::SeqCst),
                of: self.common.size,
                within,
            }),
            Some(ended) = self.nodes.join_next() => match ended.map_err(BenchError::Client)? {
                Ok(_) => Err(BenchError::Side("a node that stays")),
                Err(error) => Err(BenchError::Stream(error)),
            },
        }
    }

    /// How many nodes it has.
    pub(super) fn size(&self) -> usize {
        self.common.size
    }

    pub(super) fn received(&self) -> Received {
        Received {
            bytes: self.common.bytes.load(Ordering::SeqCst),
            endpoint_responses: self.common.endpoint_responses.load(Ordering::SeqCst),
        }
    }

    /// All hang up; what they have they keep.
    pub(super) async fn hang_up(mut self) -> Result<Vec<Node>, BenchError> {
        self.leave.send_replace(true);
        let mut nodes = Vec::with_capacity(self.common.size);
        while let Some(node) = self.nodes.join_next().await {
            nodes.push(node.map_err(BenchError::Client)??);
        }
        Ok(nodes)
    }
}

impl Common {
    fn arrive(&self) {
        if self.arrived.fetch_add(1, Ordering::SeqCst) + 1 == self.size {
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            *last = Some(Instant::now());
            self.all_arrived.notify_waiters();
        }
    }
}

/// One node's stream, until it is to leave.
async fn converse(
    node: &mut Node,
    address: SocketAddr,
    common: &Common,
    mut leaving: watch::Receiver<bool>,
) -> Result<(), StreamError> {
    let conversation = async {
        // Dropped with the stream, the connection is cut: an Envoy that dies says nothing either.
        let mut connection = JoinSet::new();
        let (mut requests, responses) = loop {
            match greet(node, address, &mut connection).await {
                // Its listener has no room for so many at once. Envoy too tries again.
                Err(StreamError::Http2(error)) if error.is_io() => sleep(AGAIN).await,
                Err(StreamError::Socket(_)) => sleep(AGAIN).await,
                greeted => break greeted?,
            }
        };
        if let Some(ended) = ended(responses.headers()) {
            return Err(ended);
        }
        let mut responses = responses.into_body();
        listen(node, common, &mut requests, &mut responses).await
    };
    tokio::select! {
        ended = conversation => ended,
        _ = leaving.wait_for(|leave| *leave) => Ok(()),
    }
}

/// Opens a stream and waits for its first bytes.
async fn greet(
    node: &mut Node,
    address: SocketAddr,
    connection: &mut JoinSet<()>,
) -> Result<(SendStream<Bytes>, Response<RecvStream>), StreamError> {
    let (requests, responses) = open(node, address, connection).await?;
    Ok((requests, responses.await?))
}

async fn open(
    node: &mut Node,
    address: SocketAddr,
    connection: &mut JoinSet<()>,
) -> Result<(SendStream<Bytes>, client::ResponseFuture), StreamError> {
    let socket = TcpStream::connect(address).await?;
    socket.set_nodelay(true)?;
    let mut builder = client::Builder::new();
    builder
        .initial_window_size(WINDOW)
        .initial_connection_window_size(WINDOW);
    let (mut calls, carrier) = builder.handshake(socket).await?;
    // How it ends is told by the stream.
    connection.spawn(async move { drop(carrier.await) });
    let method = match node.protocol() {
        Protocol::Delta => "DeltaAggregatedResources",
        Protocol::Sotw => "StreamAggregatedResources",
    };
    let request = Request::post(format!("http://{address}/{SERVICE}/{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())?;
    let (responses, mut requests) = calls.send_request(request, false)?;
    for request in node.greeting() {
        requests.send_data(request, false)?;
    }
    Ok((requests, responses))
}

/// Answers what comes until there is no more.
async fn listen(
    node: &mut Node,
    common: &Common,
    requests: &mut SendStream<Bytes>,
    responses: &mut RecvStream,
) -> Result<(), StreamError> {
    let mut scan = Scan::new(node.protocol());
    let mut told = 0;
    while let Some(data) = responses.data().await {
        let data = data?;
        responses.flow_control().release_capacity(data.len())?;
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        common.bytes.fetch_add(length, Ordering::SeqCst);
        for seen in scan.feed(&data)? {
            let reaction = node.receive(seen, common.refuse.load(Ordering::SeqCst));
            if reaction.endpoints {
                common.endpoint_responses.fetch_add(1, Ordering::SeqCst);
            }
            let round = common.round.load(Ordering::SeqCst);
            if reaction.news && told != round {
                told = round;
                common.arrive();
            }
            for request in reaction.requests {
                requests.send_data(request, false)?;
            }
        }
    }
    let trailers = responses.trailers().await?.unwrap_or_default();
    let without_status = || StreamError::Ended("without a status".to_owned());
    Err(ended(&trailers).unwrap_or_else(without_status))
}

/// What a call ended with, if these headers say that it did.
fn ended(headers: &HeaderMap) -> Option<StreamError> {
    let text = |name| headers.get(name).and_then(|it| it.to_str().ok());
    let message = text("grpc-message").unwrap_or_default();
    let status = text("grpc-status")?;
    Some(StreamError::Ended(format!("status {status} {message}")))
}

const SERVICE: &str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
/// The pause before a connection is tried again.
const AGAIN: Duration = Duration::from_millis(100);
/// How much a server may send ahead, in bytes: more than any response, as Envoy lets it.
const WINDOW: u32 = 16 << 20;

#[cfg(test)]
mod tests;
