//! The gRPC service: the only part of [`xds`](super) that does I/O.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_server::{
    AggregatedDiscoveryService, AggregatedDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    self as discovery, DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest,
    DiscoveryResponse,
};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};
use tracing::{debug, info, warn};

use super::delta::{Answer, DeltaRequest, DeltaResponse, DeltaStream, StreamEvent};
use super::resource::{ResourceType, Snapshot, UnknownType};

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
    snapshots: watch::Sender<Option<Arc<Snapshot>>>,
    events: mpsc::Sender<NodeEvent>,
    last_stream: Arc<AtomicU64>,
}

impl XdsServer {
    /// A server and what happens on its streams, in order for each stream. Streams are told nothing before the
    /// first [`publish`](Self::publish).
    ///
    /// The receiver has to be read, or streams stand still; or dropped, and they go on without it.
    pub fn new() -> (Self, mpsc::Receiver<NodeEvent>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (
            Self {
                snapshots: watch::Sender::new(None),
                events,
                last_stream: Arc::default(),
            },
            receiver,
        )
    }

    /// Makes this what every stream converges to.
    pub fn publish(&self, snapshot: Snapshot) {
        self.snapshots.send_replace(Some(Arc::new(snapshot)));
    }

    /// The gRPC service, to be added to a [`tonic::transport::Server`].
    pub fn service(&self) -> AggregatedDiscoveryServiceServer<DiscoveryService> {
        AggregatedDiscoveryServiceServer::new(DiscoveryService {
            snapshots: self.snapshots.subscribe(),
            events: self.events.clone(),
            last_stream: Arc::clone(&self.last_stream),
        })
    }
}

/// `envoy.service.discovery.v3.AggregatedDiscoveryService`, its incremental half.
#[derive(Debug)]
pub struct DiscoveryService {
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    events: mpsc::Sender<NodeEvent>,
    last_stream: Arc<AtomicU64>,
}

type ResponseStream<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl AggregatedDiscoveryService for DiscoveryService {
    type StreamAggregatedResourcesStream = ResponseStream<DiscoveryResponse>;

    async fn stream_aggregated_resources(
        &self,
        _request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamAggregatedResourcesStream>, Status> {
        Err(Status::unimplemented(
            "state-of-the-world xDS is not served here: set api_type to DELTA_GRPC",
        ))
    }

    type DeltaAggregatedResourcesStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;

    async fn delta_aggregated_resources(
        &self,
        request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaAggregatedResourcesStream>, Status> {
        if self.snapshots.has_changed().is_err() {
            return Err(stopping());
        }
        let id = StreamId(self.last_stream.fetch_add(1, Ordering::Relaxed) + 1);
        // Of each type there is one unanswered response at most, so that all of them have room.
        let (responses, receiver) = mpsc::channel(ResourceType::ALL.len());
        let snapshots = self.snapshots.clone();
        let events = self.events.clone();
        let mut requests = request.into_inner();
        tokio::spawn(async move {
            if let Err(status) = serve(id, &mut requests, &responses, snapshots, events).await {
                // The client may have gone first.
                let _ = responses.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }
}

/// Serves one stream to its end. The error is for the client.
async fn serve(
    id: StreamId,
    requests: &mut Streaming<DeltaDiscoveryRequest>,
    responses: &mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    events: mpsc::Sender<NodeEvent>,
) -> Result<(), Status> {
    let Some(first) = requests.message().await? else {
        return Ok(());
    };
    let (node, zone) = match &first.node {
        Some(Node { id, locality, .. }) if !id.is_empty() => {
            let zone = locality.as_ref().map(|locality| locality.zone.clone());
            (id.clone(), zone.filter(|zone| !zone.is_empty()))
        }
        _ => {
            return Err(Status::invalid_argument(
                "the first request of a stream needs a node with an id",
            ));
        }
    };
    let mut connection = Connection {
        id,
        node,
        stream: DeltaStream::default(),
        responses,
        events,
    };
    connection
        .tell(NodeEvent::Connected {
            node: connection.node.clone(),
            stream: id,
            zone,
        })
        .await;
    info!(node = connection.node, stream = %id, "xDS stream opened");
    let end = connection.converse(first, requests, snapshots).await;
    info!(node = connection.node, stream = %id, end = end.as_ref().err().map(Status::message), "xDS stream ended");
    connection
        .tell(NodeEvent::Disconnected {
            node: connection.node.clone(),
            stream: id,
        })
        .await;
    end
}

struct Connection<'a> {
    id: StreamId,
    node: String,
    stream: DeltaStream,
    responses: &'a mpsc::Sender<Result<DeltaDiscoveryResponse, Status>>,
    events: mpsc::Sender<NodeEvent>,
}

impl Connection<'_> {
    async fn converse(
        &mut self,
        first: DeltaDiscoveryRequest,
        requests: &mut Streaming<DeltaDiscoveryRequest>,
        mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
    ) -> Result<(), Status> {
        if let Some(snapshot) = snapshots.borrow_and_update().clone() {
            self.stream.handle_snapshot(snapshot);
        }
        self.handle(first);
        loop {
            self.say_what_is_due().await;
            tokio::select! {
                changed = snapshots.changed() => {
                    changed.map_err(|_| stopping())?;
                    if let Some(snapshot) = snapshots.borrow_and_update().clone() {
                        self.stream.handle_snapshot(snapshot);
                    }
                }
                request = requests.message() => match request? {
                    Some(request) => self.handle(request),
                    None => return Ok(()),
                },
                () = self.responses.closed() => return Ok(()),
            }
        }
    }

    fn handle(&mut self, message: DeltaDiscoveryRequest) {
        let nonce = message.response_nonce.clone();
        match plain_request(message) {
            Ok(request) => {
                let resource_type = request.resource_type;
                match &request.answer {
                    Some(Answer {
                        error: Some(error), ..
                    }) => {
                        warn!(node = self.node, stream = %self.id, ?resource_type, nonce, error, "xDS response refused");
                    }
                    Some(Answer { error: None, .. }) => {
                        debug!(node = self.node, stream = %self.id, ?resource_type, nonce, "xDS response acknowledged");
                    }
                    None => {
                        debug!(node = self.node, stream = %self.id, ?resource_type, "xDS request");
                    }
                }
                self.stream.handle_request(request);
            }
            // To end the stream would take the other types away too.
            Err(UnknownType(type_url)) => {
                warn!(node = self.node, stream = %self.id, type_url, "xDS request for a type that is not served");
            }
        }
    }

    async fn say_what_is_due(&mut self) {
        while let Some(event) = self.stream.poll_event() {
            self.tell(NodeEvent::Stream {
                node: self.node.clone(),
                stream: self.id,
                event,
            })
            .await;
        }
        while let Some(response) = self.stream.poll_response() {
            debug!(
                node = self.node,
                stream = %self.id,
                resource_type = ?response.resource_type,
                nonce = response.nonce,
                resources = response.resources.len(),
                removed = response.removed.len(),
                "xDS response",
            );
            // A client that is gone is noticed where the next request is awaited.
            let _ = self.responses.send(Ok(wire_response(response))).await;
        }
    }

    async fn tell(&self, event: NodeEvent) {
        // Whoever dropped the receiver does not want to know.
        let _ = self.events.send(event).await;
    }
}

fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}

fn plain_request(message: DeltaDiscoveryRequest) -> Result<DeltaRequest, UnknownType> {
    let resource_type = ResourceType::from_type_url(&message.type_url)?;
    let error = message.error_detail.map(|status| match resource_type {
        // Envoy may quote what it refuses.
        ResourceType::Secret => "withheld, for it may quote the key".to_owned(),
        _ => {
            let mut text = status.message;
            text.truncate(text.floor_char_boundary(MAX_ERROR));
            text
        }
    });
    Ok(DeltaRequest {
        resource_type,
        subscribe: message.resource_names_subscribe,
        unsubscribe: message.resource_names_unsubscribe,
        initial_versions: message.initial_resource_versions.into_iter().collect(),
        answer: (!message.response_nonce.is_empty()).then_some(Answer {
            nonce: message.response_nonce,
            error,
        }),
    })
}

fn wire_response(response: DeltaResponse) -> DeltaDiscoveryResponse {
    let type_url = response.resource_type.type_url();
    let resources = response
        .resources
        .iter()
        .map(|resource| discovery::Resource {
            name: resource.name().to_owned(),
            version: resource.version().to_string(),
            resource: Some(Any {
                type_url: type_url.to_owned(),
                value: resource.body().to_vec(),
            }),
            ..discovery::Resource::default()
        })
        .collect();
    DeltaDiscoveryResponse {
        resources,
        type_url: type_url.to_owned(),
        removed_resources: response.removed,
        nonce: response.nonce,
        ..DeltaDiscoveryResponse::default()
    }
}

/// How many events may wait to be read before streams wait too.
const EVENTS: usize = 256;

/// How much of a client's words is kept, in bytes: some quote what they refuse at length.
const MAX_ERROR: usize = 4_096;
