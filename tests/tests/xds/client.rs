//! A client of either dialect on the stubs that Envoy's own protobufs give. It knows nothing of how the server works.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use berth::xds::{Dialect, ResourceType};
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::google::rpc;
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

use crate::messages;

/// One client, and what it has. It outlives its streams.
pub(crate) struct Client {
    node: String,
    stream: Stream,
    types: BTreeMap<ResourceType, TypeState>,
    introduced: bool,
}

/// What a client has of one type.
#[derive(Default)]
struct TypeState {
    wants: BTreeSet<String>,
    holds: BTreeMap<String, Held>,
    /// Of all of it, which only the state of the world says.
    version: String,
    /// Of the responses of this stream, in order.
    nonces: Vec<String>,
    /// How many of them it has answered.
    answered: usize,
    asked: bool,
    /// It has asked and never named anything.
    by_implication: bool,
}

/// A resource as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Held {
    pub(crate) content: String,
    /// Empty in the state of the world, which has no versions of resources.
    pub(crate) version: String,
}

/// A response of either dialect.
#[derive(Debug)]
pub(crate) struct Heard {
    pub(crate) of: ResourceType,
    pub(crate) nonce: String,
    /// Of all of it, in the state of the world.
    pub(crate) version: String,
    pub(crate) resources: BTreeMap<String, Held>,
    pub(crate) removed: BTreeSet<String>,
}

enum Stream {
    None(Dialect),
    Delta {
        requests: mpsc::Sender<DeltaDiscoveryRequest>,
        responses: Streaming<DeltaDiscoveryResponse>,
    },
    StateOfTheWorld {
        requests: mpsc::Sender<DiscoveryRequest>,
        responses: Streaming<DiscoveryResponse>,
    },
}

/// What a request says besides what the client wants.
#[derive(Clone, Debug)]
enum Says {
    /// What it had said about the last response, once more.
    Nothing,
    /// The latest response is taken, or refused with these words.
    Latest(Option<String>),
    /// An earlier response than the latest is taken.
    Outdated,
}

impl Client {
    pub(crate) fn new(node: &str, dialect: Dialect) -> Self {
        Self {
            node: node.to_owned(),
            stream: Stream::None(dialect),
            types: BTreeMap::new(),
            introduced: false,
        }
    }

    /// Opens a stream, and asks on it for what was asked for on the one before.
    pub(crate) async fn connect(&mut self, address: SocketAddr) -> Result<(), Status> {
        self.leave();
        self.stream = match self.dialect() {
            Dialect::Delta => {
                let (requests, receiver) = mpsc::channel(REQUESTS);
                let mut stub = stub(address).await?;
                let requested = ReceiverStream::new(receiver);
                let responses = stub.delta_aggregated_resources(requested).await?;
                Stream::Delta {
                    requests,
                    responses: responses.into_inner(),
                }
            }
            Dialect::StateOfTheWorld => {
                let (requests, receiver) = mpsc::channel(REQUESTS);
                let mut stub = stub(address).await?;
                let requested = ReceiverStream::new(receiver);
                let responses = stub.stream_aggregated_resources(requested).await?;
                Stream::StateOfTheWorld {
                    requests,
                    responses: responses.into_inner(),
                }
            }
        };
        let wanted: Vec<_> = self
            .types
            .iter()
            .filter(|(_, state)| state.asked && (state.by_implication || !state.wants.is_empty()))
            .map(|(of, state)| (*of, state.wants.clone()))
            .collect();
        for state in self.types.values_mut() {
            state.asked = false;
            state.wants.clear();
        }
        for (of, names) in wanted {
            self.want(of, names).await;
        }
        Ok(())
    }

    /// Ends the stream, and keeps what it has.
    pub(crate) fn leave(&mut self) {
        self.stream = Stream::None(self.dialect());
        self.introduced = false;
        for state in self.types.values_mut() {
            state.nonces.clear();
            state.answered = 0;
        }
    }

    /// Has and wants nothing of a type, as if it had never asked.
    pub(crate) fn forget(&mut self, of: ResourceType) {
        self.types.remove(&of);
    }

    pub(crate) fn dialect(&self) -> Dialect {
        match &self.stream {
            Stream::None(dialect) => *dialect,
            Stream::Delta { .. } => Dialect::Delta,
            Stream::StateOfTheWorld { .. } => Dialect::StateOfTheWorld,
        }
    }

    /// Wants these from now on, and no others. Nothing at first is the old way to ask for everything.
    pub(crate) async fn want(&mut self, of: ResourceType, names: BTreeSet<String>) {
        self.ask(of, names, Says::Nothing).await;
    }

    /// Asks for these with an answer to a response that is not the latest. A server hears a difference, and not a state.
    pub(crate) async fn want_outdated(&mut self, of: ResourceType, names: BTreeSet<String>) {
        let before = self.state(of).wants.clone();
        self.ask(of, names, Says::Outdated).await;
        if self.dialect() == Dialect::StateOfTheWorld {
            self.state(of).wants = before;
        }
    }

    /// Names what it wants already, as a client may whose cache has lost it.
    pub(crate) async fn name_again(&mut self, of: ResourceType, names: BTreeSet<String>) {
        match self.dialect() {
            Dialect::Delta => {
                let request = DeltaDiscoveryRequest {
                    type_url: of.type_url().to_owned(),
                    resource_names_subscribe: names.into_iter().collect(),
                    ..DeltaDiscoveryRequest::default()
                };
                self.send_delta(request).await;
            }
            Dialect::StateOfTheWorld => {
                let wants = self.state(of).wants.clone();
                self.want(of, wants.difference(&names).cloned().collect())
                    .await;
                self.want(of, wants).await;
            }
        }
    }

    /// Takes a response, or refuses all of it.
    pub(crate) async fn answer(&mut self, heard: &Heard, error: Option<&str>) {
        if error.is_none() {
            self.take(heard);
        }
        self.answer_latest(heard.of, error).await;
    }

    /// Answers the latest response; what was in it is of no matter.
    pub(crate) async fn answer_latest(&mut self, of: ResourceType, error: Option<&str>) {
        let wants = self.state(of).wants.clone();
        let says = Says::Latest(error.map(str::to_owned));
        self.ask(of, wants, says).await;
    }

    /// The next response.
    pub(crate) async fn hear(&mut self) -> Result<Heard, Status> {
        let heard = timeout(PATIENCE, self.next())
            .await
            .expect("nothing came")?;
        let nonces = &mut self.state(heard.of).nonces;
        assert!(!nonces.contains(&heard.nonce), "a nonce came twice");
        nonces.push(heard.nonce.clone());
        Ok(heard)
    }

    async fn next(&mut self) -> Result<Heard, Status> {
        let ended = || Status::aborted("the server ended the stream");
        match &mut self.stream {
            Stream::None(_) => panic!("there is no stream"),
            Stream::Delta { responses, .. } => {
                let response = responses.message().await?.ok_or_else(ended)?;
                Ok(Heard::delta(response))
            }
            Stream::StateOfTheWorld { responses, .. } => {
                let response = responses.message().await?.ok_or_else(ended)?;
                Ok(Heard::state_of_the_world(response))
            }
        }
    }

    fn take(&mut self, heard: &Heard) {
        let has_all = self.dialect() == Dialect::StateOfTheWorld
            && matches!(heard.of, ResourceType::Cluster | ResourceType::Listener);
        let state = self.state(heard.of);
        if has_all {
            state.holds.clear();
        }
        let new = heard
            .resources
            .iter()
            .map(|(name, held)| (name.clone(), held.clone()));
        state.holds.extend(new);
        state.holds.retain(|name, _| !heard.removed.contains(name));
        state.version.clone_from(&heard.version);
    }

    async fn ask(&mut self, of: ResourceType, names: BTreeSet<String>, says: Says) {
        let dialect = self.dialect();
        let state = self.state(of);
        let is_first = !std::mem::replace(&mut state.asked, true);
        let before = state.want(&names, is_first);
        let (nonce, error) = match says {
            Says::Nothing if dialect == Dialect::Delta => (None, None),
            Says::Nothing => (state.answered.checked_sub(1), None),
            Says::Outdated => (state.nonces.len().checked_sub(2), None),
            Says::Latest(error) => {
                state.answered = state.nonces.len();
                (state.answered.checked_sub(1), error)
            }
        };
        let nonce = nonce.and_then(|at| state.nonces.get(at).cloned());
        let nonce = nonce.unwrap_or_default();
        let error_detail = error.map(|message| rpc::Status {
            code: INTERNAL,
            message,
            ..rpc::Status::default()
        });
        match dialect {
            Dialect::Delta => {
                let held = state.holds.iter().filter(|_| is_first);
                let request = DeltaDiscoveryRequest {
                    type_url: of.type_url().to_owned(),
                    resource_names_subscribe: names.difference(&before).cloned().collect(),
                    resource_names_unsubscribe: before.difference(&names).cloned().collect(),
                    initial_resource_versions: held
                        .map(|(name, held)| (name.clone(), held.version.clone()))
                        .collect(),
                    response_nonce: nonce,
                    error_detail,
                    ..DeltaDiscoveryRequest::default()
                };
                self.send_delta(request).await;
            }
            Dialect::StateOfTheWorld => {
                let request = DiscoveryRequest {
                    type_url: of.type_url().to_owned(),
                    version_info: state.version.clone(),
                    resource_names: names.into_iter().collect(),
                    response_nonce: nonce,
                    error_detail,
                    ..DiscoveryRequest::default()
                };
                self.send_sotw(request).await;
            }
        }
    }

    /// Sends a request as it is; the first of a stream says who asks.
    pub(crate) async fn send_delta(&mut self, mut request: DeltaDiscoveryRequest) {
        request.node = self.introduce();
        let Stream::Delta { requests, .. } = &self.stream else {
            panic!("not a stream of differences")
        };
        requests.send(request).await.expect("the stream is open");
    }

    /// Sends a request as it is; the first of a stream says who asks.
    pub(crate) async fn send_sotw(&mut self, mut request: DiscoveryRequest) {
        request.node = self.introduce();
        let Stream::StateOfTheWorld { requests, .. } = &self.stream else {
            panic!("not a stream of states")
        };
        requests.send(request).await.expect("the stream is open");
    }

    fn introduce(&mut self) -> Option<Node> {
        let is_first = !std::mem::replace(&mut self.introduced, true);
        is_first.then(|| Node {
            id: self.node.clone(),
            ..Node::default()
        })
    }

    fn state(&mut self, of: ResourceType) -> &mut TypeState {
        self.types.entry(of).or_default()
    }
}

impl TypeState {
    /// Wants these from now on, and lets go of what it has under other names. What it wanted before.
    fn want(&mut self, names: &BTreeSet<String>, is_first: bool) -> BTreeSet<String> {
        self.by_implication = names.is_empty() && (is_first || self.by_implication);
        if !self.by_implication && !names.contains("*") {
            self.holds.retain(|name, _| names.contains(name));
        }
        std::mem::replace(&mut self.wants, names.clone())
    }
}

impl Heard {
    fn delta(response: DeltaDiscoveryResponse) -> Self {
        let of = ResourceType::from_type_url(&response.type_url).unwrap();
        let resources = response.resources.into_iter().map(|resource| {
            let any = resource.resource.unwrap();
            assert_eq!(any.type_url, of.type_url());
            let (name, content) = messages::read(of, &any.value);
            assert_eq!(resource.name, name);
            let version = resource.version;
            (name, Held { content, version })
        });
        Self {
            of,
            nonce: response.nonce,
            version: String::new(),
            resources: resources.collect(),
            removed: response.removed_resources.into_iter().collect(),
        }
    }

    fn state_of_the_world(response: DiscoveryResponse) -> Self {
        let of = ResourceType::from_type_url(&response.type_url).unwrap();
        let resources = response.resources.into_iter().map(|any| {
            assert_eq!(any.type_url, of.type_url());
            let (name, content) = messages::read(of, &any.value);
            let version = String::new();
            (name, Held { content, version })
        });
        Self {
            of,
            nonce: response.nonce,
            version: response.version_info,
            resources: resources.collect(),
            removed: BTreeSet::new(),
        }
    }
}

pub(crate) async fn stub(
    address: SocketAddr,
) -> Result<AggregatedDiscoveryServiceClient<Channel>, Status> {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let channel = endpoint.connect().await;
    let channel = channel.map_err(|error| Status::unavailable(error.to_string()))?;
    Ok(AggregatedDiscoveryServiceClient::new(channel))
}

/// What Envoy gives as the code of whatever it refuses: `INTERNAL`.
const INTERNAL: i32 = 13;

/// How many requests may wait to be sent.
const REQUESTS: usize = 64;

/// For one response, on a machine that has other things to do.
const PATIENCE: Duration = Duration::from_secs(30);
