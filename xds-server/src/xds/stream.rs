//! One client's stream: what it is sent, and in which order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use exchange::{Exchange, Message};

use super::resource::{ByType, Resource, ResourceType};
use super::snapshot::Snapshot;

pub use exchange::{TooMuch, TypeStatus};

mod blame;
mod delta;
mod exchange;
mod sotw;
#[cfg(test)]
mod tests;

/// In which of xDS' two forms a client asks and is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `DeltaAggregatedResources`: requests and responses say what is different.
    Delta,
    /// `StreamAggregatedResources`: a request names all that is wanted; a response has all clusters or listeners there
    /// are, or those of the other resources that are new.
    StateOfTheWorld,
}

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

/// `DiscoveryRequest`, as far as the state needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SotwRequest {
    /// What it is about.
    pub resource_type: ResourceType,
    /// All that the client wants; `*` is everything, and so is nothing if it never named anything.
    pub names: Vec<String>,
    /// The version of what the client has: heeded in the first request of a type on a stream.
    pub version: String,
    /// Of the last response of the type that it knows of; empty before the first.
    pub nonce: String,
    /// Why it refused that response.
    pub error: Option<String>,
}

/// An ACK or a NACK.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the response it answers.
    pub nonce: String,
    /// Why the client refused it; `None` accepts.
    pub error: Option<String>,
}

/// `DeltaDiscoveryResponse` or `DiscoveryResponse`, not yet encoded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct XdsResponse {
    /// The type of all resources in it.
    pub resource_type: ResourceType,
    /// Unique on the stream.
    pub nonce: String,
    /// Of all that the client has of this type once it has taken the response: `version_info` of the state of the world.
    pub version: String,
    /// New or changed; in the state of the world, of clusters and listeners, all.
    pub resources: Vec<Arc<Resource>>,
    /// Gone, or asked for and not there. Never in the state of the world, whose responses leave them out.
    pub removed: Vec<Arc<str>>,
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
        removed: Vec<Arc<str>>,
    },
    /// The client keeps what it had of these.
    Refused {
        /// Their type.
        resource_type: ResourceType,
        /// Those found to be at fault.
        names: Vec<Arc<str>>,
        /// The client's words.
        error: String,
    },
}

/// The server's side of one client's stream, without the stream.
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
pub struct XdsStream {
    snapshot: Option<Arc<Snapshot>>,
    exchanges: ByType<Exchange>,
    last_nonce: u64,
    events: VecDeque<StreamEvent>,
}

impl XdsStream {
    /// A stream on which nothing has been said.
    pub fn new(dialect: Dialect) -> Self {
        Self {
            snapshot: None,
            exchanges: ByType::from_fn(|resource_type| Exchange::new(resource_type, dialect)),
            last_nonce: 0,
            events: VecDeque::new(),
        }
    }

    /// Takes what a client said that speaks [`Dialect::Delta`].
    ///
    /// # Errors
    /// The client wants more than is kept for one; its stream is of no more use.
    pub fn handle_delta(&mut self, request: DeltaRequest) -> Result<(), TooMuch> {
        let exchange = self.exchanges.of_mut(request.resource_type);
        exchange.handle_delta(request, self.snapshot.as_deref(), &mut self.events)
    }

    /// Takes what a client said that speaks [`Dialect::StateOfTheWorld`].
    ///
    /// # Errors
    /// The client wants more than is kept for one; its stream is of no more use.
    pub fn handle_sotw(&mut self, request: SotwRequest) -> Result<(), TooMuch> {
        let exchange = self.exchanges.of_mut(request.resource_type);
        exchange.handle_sotw(request, self.snapshot.as_deref(), &mut self.events)
    }

    /// Takes a newer state of the world. The client is told nothing before the first.
    pub fn handle_snapshot(&mut self, snapshot: Arc<Snapshot>) {
        for resource_type in ResourceType::ALL {
            let changed = snapshot.changed_since(self.snapshot.as_ref(), resource_type);
            let exchange = self.exchanges.of_mut(resource_type);
            exchange.handle_change(&snapshot, &changed, &mut self.events);
        }
        self.snapshot = Some(snapshot);
    }

    /// What to send next. Ask until `None` after each `handle_*`.
    pub fn poll_response(&mut self) -> Option<XdsResponse> {
        let snapshot = self.snapshot.clone()?;
        let update = ResourceType::ALL.into_iter().find_map(|resource_type| {
            let exchange = self.exchanges.of_mut(resource_type);
            Some((resource_type, exchange.next_update(&snapshot)?))
        });
        let (resource_type, message) = update.or_else(|| self.next_removal(&snapshot))?;
        if resource_type == ResourceType::Cluster {
            self.repeat_endpoints(&message);
        }
        self.last_nonce += 1;
        let nonce = self.last_nonce.to_string();
        let exchange = self.exchanges.of_mut(resource_type);
        Some(exchange.send(nonce, message))
    }

    /// What happened. Ask until `None` after each `handle_*`.
    pub fn poll_event(&mut self) -> Option<StreamEvent> {
        self.events.pop_front()
    }

    /// How it stands with each type that the client has spoken of.
    pub fn status(&self) -> Vec<TypeStatus> {
        let snapshot = self.snapshot.as_deref();
        let exchanges = ResourceType::ALL.into_iter();
        exchanges
            .filter_map(|resource_type| self.exchanges.of(resource_type).status(snapshot))
            .collect()
    }

    fn next_removal(&mut self, snapshot: &Snapshot) -> Option<(ResourceType, Message)> {
        let mut types = ResourceType::ALL.into_iter();
        if !types.all(|of| self.exchanges.of_mut(of).is_up_to_date(snapshot)) {
            return None;
        }
        ResourceType::ALL
            .into_iter()
            .rev()
            .find_map(|of| Some((of, self.exchanges.of(of).next_removal(snapshot)?)))
    }

    fn repeat_endpoints(&mut self, clusters: &Message) {
        let references = clusters
            .news
            .iter()
            .flat_map(|cluster| cluster.references());
        for (resource_type, name) in references {
            if *resource_type == ResourceType::Endpoint {
                self.exchanges.of_mut(*resource_type).repeat(name);
            }
        }
    }
}
