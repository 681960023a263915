//! One stream, from its first request to its end.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tonic::{Status, Streaming};
use tracing::{debug, info, warn};

use super::super::snapshot::Snapshot;
use super::super::stream::{XdsResponse, XdsStream};
use super::message::{Protocol, Unusable, node_facts};
use super::registry::{Question, Registered, Who};
use super::{NodeEvent, Shared, StreamId};
use crate::peer::Peer;

/// Who is at the other end of a stream, and both directions of it.
pub(super) struct Client<P: Protocol> {
    pub(super) id: StreamId,
    pub(super) peer: Peer,
    pub(super) address: Option<SocketAddr>,
    pub(super) requests: Streaming<P::Request>,
    pub(super) responses: mpsc::Sender<Result<P::Response, Status>>,
}

/// Serves one stream to its end.
pub(super) async fn serve<P: Protocol>(
    mut client: Client<P>,
    shared: Arc<Shared>,
    registered: Registered,
) {
    let responses = client.responses.clone();
    if let Err(status) = introduce(&mut client, &shared, &registered).await {
        // The client may have gone first.
        let _ = responses.send(Err(status)).await;
    }
}

/// The error is for the client.
async fn introduce<P: Protocol>(
    client: &mut Client<P>,
    shared: &Shared,
    registered: &Registered,
) -> Result<(), Status> {
    let first = tokio::time::timeout(INTRODUCTION, client.requests.message()).await;
    let first = first.map_err(|_| Status::deadline_exceeded("no request came"))?;
    let Some(mut first) = first? else {
        return Ok(());
    };
    let (who, zone) = identify(client, shared, &mut first)?;
    let node = who.node.id.clone();
    let Some(snapshots) = shared.view(&who.profile) else {
        return Err(no_profile(&node));
    };
    let questions = registered.is(Arc::new(who));
    let mut connection = Connection::<P> {
        id: client.id,
        node: node.clone(),
        stream: XdsStream::new(P::DIALECT),
        events: shared.events.clone(),
        protocol: std::marker::PhantomData,
    };
    let stream = client.id;
    connection
        .tell(NodeEvent::Connected { node, stream, zone })
        .await;
    info!(node = connection.node, %stream, dialect = ?P::DIALECT, "xDS stream opened");
    let end = connection
        .converse(first, client, snapshots, questions)
        .await;
    info!(node = connection.node, %stream, end = end.as_ref().err().map(Status::message), "xDS stream ended");
    let node = connection.node.clone();
    connection
        .tell(NodeEvent::Disconnected { node, stream })
        .await;
    end
}

/// Who a client is, which has to be in its first request, and its zone.
fn identify<P: Protocol>(
    client: &Client<P>,
    shared: &Shared,
    first: &mut P::Request,
) -> Result<(Who, Option<String>), Status> {
    let Some(node) = P::node(first).filter(|node| !node.id.is_empty()) else {
        return Err(Status::invalid_argument(
            "the first request of a stream needs a node with an id",
        ));
    };
    client.peer.check(&node.id)?;
    let user_agent = node.user_agent_name.clone();
    let facts = node_facts(node);
    let Some(profile) = shared.profiles.choose(&facts).cloned() else {
        warn!(
            node = facts.id,
            cluster = facts.cluster,
            zone = facts.zone,
            "no profile fits this proxy"
        );
        return Err(no_profile(&facts.id));
    };
    let zone = Some(facts.zone.clone()).filter(|zone| !zone.is_empty());
    let who = Who {
        node: facts,
        user_agent,
        address: client.address,
        profile,
        dialect: P::DIALECT,
        opened: tokio::time::Instant::now(),
    };
    Ok((who, zone))
}

fn no_profile(node: &str) -> Status {
    Status::failed_precondition(format!(
        "none of the control plane's `profiles` is for node `{}`: give it one whose `match` it fits, or add one \
         without `match`",
        node.escape_debug()
    ))
}

pub(super) fn stopping() -> Status {
    Status::unavailable("the control plane is stopping")
}

struct Connection<P> {
    id: StreamId,
    node: String,
    stream: XdsStream,
    events: mpsc::Sender<NodeEvent>,
    protocol: std::marker::PhantomData<P>,
}

impl<P: Protocol> Connection<P> {
    async fn converse(
        &mut self,
        first: P::Request,
        client: &mut Client<P>,
        mut snapshots: watch::Receiver<Option<Arc<Snapshot>>>,
        mut questions: mpsc::Receiver<Question>,
    ) -> Result<(), Status> {
        if let Some(snapshot) = snapshots.borrow_and_update().clone() {
            self.stream.handle_snapshot(snapshot);
        }
        self.handle(first)?;
        let mut outgoing = None;
        loop {
            self.tell_events().await;
            if outgoing.is_none() {
                outgoing = self
                    .stream
                    .poll_response()
                    .inspect(|response| self.log(response));
            }
            // A client that does not read is waited for here, and costs one response of each type.
            tokio::select! {
                room = client.responses.reserve(), if outgoing.is_some() => {
                    let Ok(room) = room else { return Ok(()) };
                    if let Some(response) = outgoing.take() {
                        room.send(Ok(P::response(&response)));
                    }
                }
                changed = snapshots.changed() => {
                    changed.map_err(|_| stopping())?;
                    if let Some(snapshot) = snapshots.borrow_and_update().clone() {
                        self.stream.handle_snapshot(snapshot);
                    }
                }
                request = client.requests.message() => match request? {
                    Some(request) => self.handle(request)?,
                    None => return Ok(()),
                },
                Some(question) = questions.recv() => {
                    // Who asked may have lost patience.
                    let _ = question.send(self.stream.status());
                }
                () = client.responses.closed() => return Ok(()),
            }
        }
    }

    fn handle(&mut self, request: P::Request) -> Result<(), Status> {
        let told = P::told(&request);
        debug!(
            node = self.node,
            stream = %self.id,
            type_url = told.type_url,
            nonce = told.nonce,
            refused = told.is_refusal,
            "xDS request",
        );
        match P::handle(&mut self.stream, request) {
            Ok(()) => Ok(()),
            Err(Unusable::Type(unknown)) => {
                warn!(node = self.node, stream = %self.id, type_url = unknown.0, "xDS request for a type that is not served");
                Ok(())
            }
            Err(Unusable::TooMuch(too_much)) => {
                warn!(node = self.node, stream = %self.id, error = %too_much, "xDS stream is ended");
                Err(Status::resource_exhausted(too_much.to_string()))
            }
        }
    }

    async fn tell_events(&mut self) {
        while let Some(event) = self.stream.poll_event() {
            self.tell(NodeEvent::Stream {
                node: self.node.clone(),
                stream: self.id,
                event,
            })
            .await;
        }
    }

    fn log(&self, response: &XdsResponse) {
        debug!(
            node = self.node,
            stream = %self.id,
            resource_type = ?response.resource_type,
            nonce = response.nonce,
            resources = response.resources.len(),
            removed = response.removed.len(),
            "xDS response",
        );
    }

    async fn tell(&self, event: NodeEvent) {
        // Whoever dropped the receiver does not want to know.
        let _ = self.events.send(event).await;
    }
}

/// How long a stream may be open before its client has said who it is.
const INTRODUCTION: std::time::Duration = std::time::Duration::from_secs(10);
