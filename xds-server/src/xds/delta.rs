//! One client's incremental stream: what it is sent, and in which order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use exchange::{Exchange, Message};

use super::resource::{ByType, Resource, ResourceType, Snapshot};

mod exchange;
#[cfg(test)]
mod tests;

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

/// The server's side of one client's incremental stream, without the stream.
///
/// Feed it with the `handle_` methods; after each, send what [`poll_response`](Self::poll_response) gives until it
/// gives nothing, and note what [`poll_event`](Self::poll_event) tells.
///
/// - Of each type, one response at most is unanswered. What changes meanwhile is told in the next.
/// - What is new is told in the order of [`ResourceType::ALL`], and what is gone in the reverse order once the
///   client has answered for all that is new: make before break.
/// - After a cluster its endpoints are told, even if they are the same: Envoy replaces a changed cluster by one
///   that waits for endpoints, and does not ask for them again.
/// - A version that the client refused is not told again on this stream. What was refused along with it is.
#[derive(Debug)]
pub struct DeltaStream {
    snapshot: Option<Arc<Snapshot>>,
    exchanges: ByType<Exchange>,
    last_nonce: u64,
    events: VecDeque<StreamEvent>,
}

impl Default for DeltaStream {
    fn default() -> Self {
        Self {
            snapshot: None,
            exchanges: ByType::from_fn(Exchange::new),
            last_nonce: 0,
            events: VecDeque::new(),
        }
    }
}

impl DeltaStream {
    /// Takes what the client said.
    pub fn handle_request(&mut self, request: DeltaRequest) {
        self.exchanges.of_mut(request.resource_type).handle(
            request,
            self.snapshot.as_deref(),
            &mut self.events,
        );
    }

    /// Takes a newer state of the world. The client is told nothing before the first.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        for resource_type in ResourceType::ALL {
            self.exchanges
                .of_mut(resource_type)
                .confirm_claims(&snapshot, &mut self.events);
        }
        self.snapshot = Some(snapshot);
    }

    /// What to send next. Ask until `None` after each `handle_*`.
    pub fn poll_response(&mut self) -> Option<DeltaResponse> {
        let snapshot = self.snapshot.clone()?;
        let update = ResourceType::ALL.into_iter().find_map(|resource_type| {
            Some((
                resource_type,
                self.exchanges
                    .of_mut(resource_type)
                    .next_update(&snapshot)?,
            ))
        });
        let (resource_type, message) = update.or_else(|| self.next_removal(&snapshot))?;
        if resource_type == ResourceType::Cluster {
            self.repeat_endpoints(&message);
        }
        self.last_nonce += 1;
        let nonce = self.last_nonce.to_string();
        self.exchanges
            .of_mut(resource_type)
            .sent(nonce.clone(), message.clone());
        let Message { resources, removed } = message;
        Some(DeltaResponse {
            resource_type,
            nonce,
            resources,
            removed,
        })
    }

    /// What happened. Ask until `None` after each `handle_*`.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    fn next_removal(&self, snapshot: &Snapshot) -> Option<(ResourceType, Message)> {
        let exchanges = || {
            ResourceType::ALL
                .into_iter()
                .map(|resource_type| (resource_type, self.exchanges.of(resource_type)))
        };
        if !exchanges().all(|(_, exchange)| exchange.is_up_to_date(snapshot)) {
            return None;
        }
        exchanges().rev().find_map(|(resource_type, exchange)| {
            Some((resource_type, exchange.next_removal(snapshot)?))
        })
    }

    fn repeat_endpoints(&mut self, clusters: &Message) {
        let endpoints = clusters
            .resources
            .iter()
            .flat_map(|cluster| cluster.references())
            .filter(|(resource_type, _)| *resource_type == ResourceType::Endpoint);
        for (resource_type, name) in endpoints {
            self.exchanges.of_mut(*resource_type).repeat(name);
        }
    }
}
