//! The gRPC service: the only part of [`xds`](super) that does I/O.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

use super::delta::StreamEvent;
use super::resource::Snapshot;

/// Tells the streams of one process apart; grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StreamId(pub u64);

/// What happens on the streams of proxies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// A proxy opened a stream.
    Connected {
        /// The proxy's node id.
        node: String,
        /// The stream it opened.
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
    /// A stream ended, whichever side ended it. The proxy keeps what it has.
    Disconnected {
        /// The proxy's node id.
        node: String,
        /// The stream that ended.
        stream: StreamId,
    },
}

/// Serves what is published to every proxy that connects.
#[derive(Clone, Debug)]
pub struct XdsServer {
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    events: mpsc::Sender<NodeEvent>,
}

impl XdsServer {
    /// A server that has nothing to say yet: streams wait for the first [`publish`](Self::publish).
    pub fn new() -> (Self, mpsc::Receiver<NodeEvent>) {
        let (events, receiver) = mpsc::channel(64);
        (
            Self {
                snapshots: watch::Sender::new(None),
                events,
            },
            receiver,
        )
    }

    /// Makes this what every stream converges to.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }
}
