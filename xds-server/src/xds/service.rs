//! The gRPC service: the only part of [`xds`](super) that does I/O.

use std::convert::Infallible;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, watch};
use tonic::body::Body;
use tonic::codegen::{BoxFuture, Context, Poll, Service, http};
use tonic::server::NamedService;

use super::profile::{ProfileName, Profiles, Views};
use super::snapshot::Snapshot;
use super::stream::StreamEvent;
use call::{Call, Method};
use registry::Registry;

pub use registry::{StreamStatus, Streams};

mod call;
mod connection;
mod message;
mod registry;
#[cfg(test)]
mod tests;

/// Tells the streams of one process apart; a later stream has a greater one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

impl fmt::Display for StreamId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What happens on the streams of proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A proxy opened a stream. It may have others: while a proxy restarts, its old and its new process do.
    Connected {
        /// The proxy's node id.
        node: String,
        /// The stream it opened.
        stream: StreamId,
        /// Its `locality.zone`, if it has one.
        zone: Option<String>,
    },
    /// A stream ended, whichever side ended it. The proxy keeps what it has.
    Disconnected {
        /// The proxy's node id.
        node: String,
        /// The stream that ended.
        stream: StreamId,
    },
    /// Something became of what was sent.
    Stream {
        /// The proxy's node id.
        node: String,
        /// The stream it happened on.
        stream: StreamId,
        /// What happened.
        event: StreamEvent,
    },
}

/// Serves what is published to every proxy that connects. Dropping it ends their streams.
#[derive(Debug)]
pub struct XdsServer {
    views: Vec<(ProfileName, watch::Sender<Option<Arc<Snapshot>>>)>,
    shared: Arc<Shared>,
}

/// What all streams of a server have in common.
#[derive(Debug)]
struct Shared {
    profiles: Profiles,
    views: Vec<(ProfileName, watch::Receiver<Option<Arc<Snapshot>>>)>,
    events: mpsc::Sender<NodeEvent>,
    last_stream: AtomicU64,
    registry: Arc<Registry>,
}

impl XdsServer {
    /// A server and what happens on its streams, in order for each stream. Streams are told nothing before the
    /// first [`publish`](Self::publish). Of more than `max_streams` at once the last to come are refused.
    ///
    /// The receiver has to be read, or streams stand still; or dropped, and they go on without it.
    pub fn new(profiles: Profiles, max_streams: usize) -> (Self, mpsc::Receiver<NodeEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        let views: Vec<_> = profiles
            .iter()
            .map(|profile| (profile.name.clone(), watch::Sender::new(None)))
            .collect();
        let watched = views
            .iter()
            .map(|(name, view): &(_, watch::Sender<_>)| (name.clone(), view.subscribe()));
        let shared = Shared {
            profiles,
            views: watched.collect(),
            events,
            last_stream: AtomicU64::new(0),
            registry: Arc::new(Registry::new(max_streams)),
        };
        let server = Self {
            views,
            shared: Arc::new(shared),
        };
        (server, receiver)
    }

    /// Makes this what every stream converges to. Streams of a profile whose snapshot is the one it was are left alone;
    /// those of one that is not in it keep what they have.
    pub fn publish(&self, views: &Views) {
        for (name, view) in &self.views {
            if let Some(snapshot) = views.get(name) {
                tell(view, snapshot);
            }
        }
    }

    /// Makes this what every stream converges to, whatever its profile.
    pub fn publish_to_all(&self, snapshot: &Arc<Snapshot>) {
        for (_, view) in &self.views {
            tell(view, snapshot);
        }
    }

    /// The gRPC service, to be added to a [`tonic::transport::Server`].
    pub fn service(&self) -> DiscoveryService {
        DiscoveryService {
            shared: Arc::clone(&self.shared),
        }
    }

    /// What can be asked about the streams that are open.
    pub fn streams(&self) -> Streams {
        Streams::of(&self.shared.registry)
    }
}

fn tell(view: &watch::Sender<Option<Arc<Snapshot>>>, snapshot: &Arc<Snapshot>) {
    view.send_if_modified(|current| {
        let is_new = !current
            .as_ref()
            .is_some_and(|current| Arc::ptr_eq(current, snapshot));
        if is_new {
            *current = Some(Arc::clone(snapshot));
        }
        is_new
    });
}

impl Shared {
    fn next_stream(&self) -> StreamId {
        StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1)
    }

    fn view(&self, profile: &ProfileName) -> Option<watch::Receiver<Option<Arc<Snapshot>>>> {
        let found = self.views.iter().find(|(name, _)| name == profile);
        found.map(|(_, view)| view.clone())
    }

    /// The server has been dropped.
    fn is_stopping(&self) -> bool {
        self.views
            .iter()
            .any(|(_, view)| view.has_changed().is_err())
    }
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`. Written by hand, for the sake of its messages: what the
/// generated service answers with would copy each resource for each stream.
#[derive(Clone, Debug)]
pub struct DiscoveryService {
    shared: Arc<Shared>,
}

impl NamedService for DiscoveryService {
    const NAME: &'static str = "envoy.service.discovery.v3.AggregatedDiscoveryService";
}

impl Service<http::Request<Body>> for DiscoveryService {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = BoxFuture<Self::Response, Infallible>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let shared = Arc::clone(&self.shared);
        Box::pin(async move {
            Ok(match Method::of(request.uri().path()) {
                Some(method) => Call { shared, method }.answer(request).await,
                None => tonic::Status::unimplemented("the service has no such method").into_http(),
            })
        })
    }
}

/// How many events may wait to be read before streams wait too.
const EVENTS: usize = 1_024;
