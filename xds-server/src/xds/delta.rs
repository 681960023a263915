//! One client's incremental stream.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::resource::{Resource, ResourceType, Snapshot};

/// `DeltaDiscoveryRequest`, as far as the state needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaRequest {
    /// What it is about.
    pub resource_type: ResourceType,
    /// Names the client now wants; `*` is all.
    pub subscribe: Vec<String>,
    /// Names the client no longer wants.
    pub unsubscribe: Vec<String>,
    /// What the client says it has, by name: heeded in the first request of a type on a stream.
    pub initial_versions: BTreeMap<String, String>,
    /// What came of an earlier response.
    pub answer: Option<Answer>,
}

/// An ACK or a NACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the response it answers.
    pub nonce: String,
    /// Why the client refused it; `None` accepts.
    pub error: Option<String>,
}

/// `DeltaDiscoveryResponse`, not yet encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeltaResponse {
    /// The type of all resources in it.
    pub resource_type: ResourceType,
    /// Unique on the stream.
    pub nonce: String,
    /// New or changed.
    pub resources: Vec<Arc<Resource>>,
    /// Gone, or asked for and not there.
    pub removed: Vec<String>,
}

/// What became of what was sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamEvent {
    /// The client has these, and no longer has those.
    Acknowledged {
        /// Their type.
        resource_type: ResourceType,
        /// What it has taken, or has kept from an earlier stream.
        resources: Vec<Arc<Resource>>,
        /// What it has let go of.
        removed: Vec<String>,
    },
    /// The client keeps what it had of these.
    Refused {
        /// Their type.
        resource_type: ResourceType,
        /// Those found to be at fault.
        names: Vec<String>,
        /// The client's words.
        error: String,
    },
}

/// The server's side of one client's incremental stream.
#[derive(Debug, Default)]
pub struct DeltaStream {
    snapshot: Option<Arc<Snapshot>>,
    events: VecDeque<StreamEvent>,
}

impl DeltaStream {
    /// Takes what the client said.
    pub fn handle_request(&mut self, _request: DeltaRequest) {}

    /// Takes a newer state of the world.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        self.snapshot = Some(snapshot);
    }

    /// What to send next. Ask until `None` after each `handle_*`.
    pub fn poll_response(&mut self) -> Option<DeltaResponse> {
        None
    }

    /// What happened. Ask until `None` after each `handle_*`.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }
}
