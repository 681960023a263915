//! Client Status Discovery: what each proxy has been sent, and what it made of it, in Envoy's own terms
//! (`envoy.service.status.v3`).

use envoy_types::pb::envoy::admin::v3::{ClientResourceStatus, UpdateFailureState};
use envoy_types::pb::envoy::config::core::v3::{Locality, Node};
use envoy_types::pb::envoy::service::status::v3::client_config::GenericXdsConfig;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_server::{
    ClientStatusDiscoveryService, ClientStatusDiscoveryServiceServer,
};
use envoy_types::pb::envoy::service::status::v3::{
    ClientConfig, ClientStatusRequest, ClientStatusResponse, ConfigStatus,
};
use envoy_types::pb::envoy::r#type::matcher::v3::string_matcher::MatchPattern;
use envoy_types::pb::envoy::r#type::matcher::v3::{NodeMatcher, StringMatcher};
use envoy_types::pb::google::protobuf::Any;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::resource::{Resource, ResourceType};
use super::super::stream::TypeStatus;
use super::registry::{StreamStatus, Streams};
use crate::peer::Peer;

/// `envoy.service.status.v3.ClientStatusDiscoveryService`. A peer with a certificate is shown the nodes that it may be.
#[derive(Clone, Debug)]
pub struct StatusService {
    streams: Streams,
}

impl StatusService {
    /// The service, to be added to a [`tonic::transport::Server`].
    pub fn server(streams: Streams) -> ClientStatusDiscoveryServiceServer<Self> {
        ClientStatusDiscoveryServiceServer::new(Self::of(streams))
    }

    pub(super) const fn of(streams: Streams) -> Self {
        Self { streams }
    }

    async fn status(
        &self,
        peer: &Peer,
        request: &ClientStatusRequest,
    ) -> Result<ClientStatusResponse, Status> {
        let matchers: Vec<_> = request
            .node_matchers
            .iter()
            .map(NodeIds::of)
            .collect::<Result<_, _>>()?;
        let is_asked_for =
            |id: &str| matchers.is_empty() || matchers.iter().any(|matcher| matcher.fits(id));
        let streams = self.streams.status(None).await;
        let config = streams
            .iter()
            .filter(|stream| peer.may_be(&stream.node.id) && is_asked_for(&stream.node.id))
            .map(|stream| client_config(stream, !request.exclude_resource_contents))
            .collect();
        Ok(ClientStatusResponse { config })
    }
}

#[tonic::async_trait]
impl ClientStatusDiscoveryService for StatusService {
    type StreamClientStatusStream = ReceiverStream<Result<ClientStatusResponse, Status>>;

    async fn stream_client_status(
        &self,
        request: Request<Streaming<ClientStatusRequest>>,
    ) -> Result<Response<Self::StreamClientStatusStream>, Status> {
        let peer = Peer::of(request.extensions());
        let mut requests = request.into_inner();
        let (answers, receiver) = mpsc::channel(1);
        let service = self.clone();
        tokio::spawn(async move {
            while let Ok(Some(request)) = requests.message().await {
                if answers
                    .send(service.status(&peer, &request).await)
                    .await
                    .is_err()
                {
                    break;
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_client_status(
        &self,
        request: Request<ClientStatusRequest>,
    ) -> Result<Response<ClientStatusResponse>, Status> {
        let peer = Peer::of(request.extensions());
        Ok(Response::new(self.status(&peer, request.get_ref()).await?))
    }
}

/// Which node ids are asked for.
enum NodeIds<'a> {
    Any,
    Exact(&'a str),
    Prefix(&'a str),
    Suffix(&'a str),
    Contains(&'a str),
}

impl<'a> NodeIds<'a> {
    fn of(matcher: &'a NodeMatcher) -> Result<Self, Status> {
        if !matcher.node_metadatas.is_empty() {
            return Err(Status::invalid_argument(
                "ask by `node_id`: `node_metadatas` is not served",
            ));
        }
        let Some(StringMatcher {
            match_pattern,
            ignore_case: false,
        }) = &matcher.node_id
        else {
            return match &matcher.node_id {
                None => Ok(Self::Any),
                Some(_) => Err(Status::invalid_argument("`ignore_case` is not served")),
            };
        };
        match match_pattern {
            Some(MatchPattern::Exact(id)) => Ok(Self::Exact(id)),
            Some(MatchPattern::Prefix(head)) => Ok(Self::Prefix(head)),
            Some(MatchPattern::Suffix(tail)) => Ok(Self::Suffix(tail)),
            Some(MatchPattern::Contains(part)) => Ok(Self::Contains(part)),
            _ => Err(Status::invalid_argument(
                "ask by `exact`, `prefix`, `suffix` or `contains`",
            )),
        }
    }

    fn fits(&self, id: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(exact) => id == *exact,
            Self::Prefix(head) => id.starts_with(head),
            Self::Suffix(tail) => id.ends_with(tail),
            Self::Contains(part) => id.contains(part),
        }
    }
}

fn client_config(stream: &StreamStatus, with_contents: bool) -> ClientConfig {
    let node = &stream.node;
    let types = stream.types.iter().flatten();
    ClientConfig {
        node: Some(Node {
            id: node.id.clone(),
            cluster: node.cluster.clone(),
            locality: Some(Locality {
                region: node.region.clone(),
                zone: node.zone.clone(),
                sub_zone: node.sub_zone.clone(),
            }),
            user_agent_name: stream.user_agent.clone(),
            ..Node::default()
        }),
        generic_xds_configs: types.flat_map(|of| configs(of, with_contents)).collect(),
        // Tells the streams of one node apart.
        client_scope: stream.id.to_string(),
        ..ClientConfig::default()
    }
}

/// What is acknowledged, then what waits for an answer, then what was refused. A resource that has changed may be among
/// more than one of these.
fn configs(status: &TypeStatus, with_contents: bool) -> Vec<GenericXdsConfig> {
    let config = |resource: &Resource, status_of: ConfigStatus, client: ClientResourceStatus| {
        // A secret's content is a private key.
        let shown = with_contents && status.resource_type != ResourceType::Secret;
        GenericXdsConfig {
            type_url: status.resource_type.type_url().to_owned(),
            name: resource.name().to_string(),
            version_info: resource.version().to_string(),
            xds_config: shown.then(|| any(status.resource_type, resource)),
            config_status: status_of as i32,
            client_status: client as i32,
            ..GenericXdsConfig::default()
        }
    };
    let acknowledged = status.acknowledged.iter();
    let acknowledged = acknowledged
        .map(|resource| config(resource, ConfigStatus::Synced, ClientResourceStatus::Acked));
    let unanswered = status.unanswered.iter();
    let unanswered = unanswered.map(|resource| {
        config(
            resource,
            ConfigStatus::Stale,
            ClientResourceStatus::Requested,
        )
    });
    let refused = status
        .refused
        .iter()
        .map(|(resource, error)| GenericXdsConfig {
            error_state: Some(UpdateFailureState {
                details: error.to_string(),
                version_info: resource.version().to_string(),
                ..UpdateFailureState::default()
            }),
            ..config(resource, ConfigStatus::Error, ClientResourceStatus::Nacked)
        });
    acknowledged.chain(unanswered).chain(refused).collect()
}

fn any(resource_type: ResourceType, resource: &Resource) -> Any {
    Any {
        type_url: resource_type.type_url().to_owned(),
        value: resource.body().to_vec(),
    }
}
