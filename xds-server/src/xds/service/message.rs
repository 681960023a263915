//! The messages of both dialects: from protobuf to what a stream takes, and back.

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3 as discovery;
use envoy_types::pb::google::protobuf::{Struct, value};
use envoy_types::pb::google::rpc;
use prost::Message;
use tonic::codegen::Bytes;

use super::super::profile::{Metadata, MetadataValue, NodeFacts};
use super::super::resource::{Resource, ResourceType, UnknownType};
use super::super::stream::{
    Answer, DeltaRequest, Dialect, SotwRequest, TooMuch, XdsResponse, XdsStream,
};

/// One of the two dialects, with its messages.
pub(super) trait Protocol: Send + Sync + 'static {
    type Request: Message + Default + Send + Sync + 'static;
    type Response: Message + Send + Sync + 'static;

    const DIALECT: Dialect;

    /// Who asks, if the request says so.
    fn node(request: &mut Self::Request) -> Option<Node>;

    /// What a request says that concerns the log.
    fn told(request: &Self::Request) -> Told<'_>;

    /// Puts a request to the stream.
    fn handle(stream: &mut XdsStream, request: Self::Request) -> Result<(), Unusable>;

    fn response(response: &XdsResponse) -> Self::Response;
}

/// What a request says, for the log.
pub(super) struct Told<'a> {
    pub(super) type_url: &'a str,
    pub(super) nonce: &'a str,
    pub(super) is_refusal: bool,
}

/// Why a request is of no use.
pub(super) enum Unusable {
    /// The stream can go on: to end it would take the other types away too.
    Type(UnknownType),
    /// It cannot.
    TooMuch(TooMuch),
}

impl From<UnknownType> for Unusable {
    fn from(unknown: UnknownType) -> Self {
        Self::Type(unknown)
    }
}

impl From<TooMuch> for Unusable {
    fn from(too_much: TooMuch) -> Self {
        Self::TooMuch(too_much)
    }
}

/// `DeltaAggregatedResources`.
pub(super) struct Delta;

impl Protocol for Delta {
    type Request = discovery::DeltaDiscoveryRequest;
    type Response = DeltaDiscoveryResponse;

    const DIALECT: Dialect = Dialect::Delta;

    fn node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    fn told(request: &Self::Request) -> Told<'_> {
        Told {
            type_url: &request.type_url,
            nonce: &request.response_nonce,
            is_refusal: request.error_detail.is_some(),
        }
    }

    fn handle(stream: &mut XdsStream, request: Self::Request) -> Result<(), Unusable> {
        let resource_type = ResourceType::from_type_url(&request.type_url)?;
        let error = request
            .error_detail
            .map(|status| words(status, resource_type));
        stream.handle_delta(DeltaRequest {
            resource_type,
            subscribe: request.resource_names_subscribe,
            unsubscribe: request.resource_names_unsubscribe,
            initial_versions: request.initial_resource_versions.into_iter().collect(),
            answer: (!request.response_nonce.is_empty()).then_some(Answer {
                nonce: request.response_nonce,
                error,
            }),
        })?;
        Ok(())
    }

    fn response(response: &XdsResponse) -> Self::Response {
        let type_url = response.resource_type.type_url();
        let resources = response.resources.iter().map(|resource| NamedResource {
            version: resource.version().to_string(),
            resource: Some(any(type_url, resource)),
            name: resource.name().to_string(),
        });
        DeltaDiscoveryResponse {
            resources: resources.collect(),
            type_url: type_url.to_owned(),
            nonce: response.nonce.clone(),
            removed_resources: response.removed.iter().map(ToString::to_string).collect(),
        }
    }
}

/// `StreamAggregatedResources`.
pub(super) struct StateOfTheWorld;

impl Protocol for StateOfTheWorld {
    type Request = discovery::DiscoveryRequest;
    type Response = DiscoveryResponse;

    const DIALECT: Dialect = Dialect::StateOfTheWorld;

    fn node(request: &mut Self::Request) -> Option<Node> {
        request.node.take()
    }

    fn told(request: &Self::Request) -> Told<'_> {
        Told {
            type_url: &request.type_url,
            nonce: &request.response_nonce,
            is_refusal: request.error_detail.is_some(),
        }
    }

    fn handle(stream: &mut XdsStream, request: Self::Request) -> Result<(), Unusable> {
        let resource_type = ResourceType::from_type_url(&request.type_url)?;
        let error = request
            .error_detail
            .map(|status| words(status, resource_type));
        stream.handle_sotw(SotwRequest {
            resource_type,
            names: request.resource_names,
            version: request.version_info,
            nonce: request.response_nonce,
            error,
        })?;
        Ok(())
    }

    fn response(response: &XdsResponse) -> Self::Response {
        let type_url = response.resource_type.type_url();
        let resources = response.resources.iter();
        DiscoveryResponse {
            version_info: response.version.clone(),
            resources: resources.map(|resource| any(type_url, resource)).collect(),
            type_url: type_url.to_owned(),
            nonce: response.nonce.clone(),
        }
    }
}

/// A client's words about what it refused, as much of them as is kept.
fn words(status: rpc::Status, resource_type: ResourceType) -> String {
    // Envoy may quote what it refuses.
    if resource_type == ResourceType::Secret {
        return "withheld, for it may quote the key".to_owned();
    }
    let mut text = status.message;
    text.truncate(text.floor_char_boundary(MAX_ERROR));
    text
}

/// What a node says of itself, as far as anybody here asks.
pub(super) fn node_facts(node: Node) -> NodeFacts {
    let locality = node.locality.unwrap_or_default();
    NodeFacts {
        id: node.id,
        cluster: node.cluster,
        region: locality.region,
        zone: locality.zone,
        sub_zone: locality.sub_zone,
        metadata: node.metadata.map(metadata).unwrap_or_default(),
    }
}

fn metadata(fields: Struct) -> Metadata {
    let known = fields.fields.into_iter().filter_map(|(key, value)| {
        let value = match value.kind? {
            value::Kind::StringValue(text) => MetadataValue::Text(text),
            value::Kind::StructValue(inner) => MetadataValue::Struct(metadata(inner)),
            _ => return None,
        };
        Some((key, value))
    });
    known.collect()
}

fn any(type_url: &str, resource: &Resource) -> Any {
    Any {
        type_url: type_url.to_owned(),
        value: resource.body().clone(),
    }
}

/// `envoy.service.discovery.v3.DeltaDiscoveryResponse`, whose resources are shared with every other stream's.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DeltaDiscoveryResponse {
    #[prost(message, repeated, tag = "2")]
    resources: Vec<NamedResource>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
    #[prost(string, repeated, tag = "6")]
    removed_resources: Vec<String>,
}

/// `envoy.service.discovery.v3.Resource`.
#[derive(Clone, PartialEq, Message)]
struct NamedResource {
    #[prost(string, tag = "1")]
    version: String,
    #[prost(message, optional, tag = "2")]
    resource: Option<Any>,
    #[prost(string, tag = "3")]
    name: String,
}

/// `envoy.service.discovery.v3.DiscoveryResponse`, likewise.
#[derive(Clone, PartialEq, Message)]
pub(super) struct DiscoveryResponse {
    #[prost(string, tag = "1")]
    version_info: String,
    #[prost(message, repeated, tag = "2")]
    resources: Vec<Any>,
    #[prost(string, tag = "4")]
    type_url: String,
    #[prost(string, tag = "5")]
    nonce: String,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
struct Any {
    #[prost(string, tag = "1")]
    type_url: String,
    #[prost(bytes = "bytes", tag = "2")]
    value: Bytes,
}

/// How much of a client's words is kept, in bytes: some quote what they refuse at length.
const MAX_ERROR: usize = 4_096;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn response() -> XdsResponse {
        let named = |name: &str| Arc::new(Resource::new(name, name.as_bytes().to_vec()));
        XdsResponse {
            resource_type: ResourceType::Endpoint,
            nonce: "7".to_owned(),
            version: "v".to_owned(),
            resources: vec![named("a"), named("b")],
            removed: vec!["c".into()],
        }
    }

    #[test]
    fn what_is_written_is_read_by_envoys_messages() {
        let response = response();
        let type_url = ResourceType::Endpoint.type_url();

        let delta = Delta::response(&response).encode_to_vec();
        let delta = discovery::DeltaDiscoveryResponse::decode(delta.as_slice()).unwrap();
        assert_eq!(
            (delta.type_url.as_str(), delta.nonce.as_str()),
            (type_url, "7")
        );
        assert_eq!(delta.removed_resources, ["c"]);
        for (resource, sent) in delta.resources.iter().zip(&response.resources) {
            assert_eq!(resource.name, **sent.name());
            assert_eq!(resource.version, sent.version().to_string());
            let any = resource.resource.as_ref().unwrap();
            assert_eq!(
                (any.type_url.as_str(), &any.value),
                (type_url, &sent.body().to_vec())
            );
        }
        assert_eq!(delta.resources.len(), 2);

        let sotw = StateOfTheWorld::response(&response).encode_to_vec();
        let sotw = discovery::DiscoveryResponse::decode(sotw.as_slice()).unwrap();
        assert_eq!(
            (sotw.type_url.as_str(), sotw.nonce.as_str()),
            (type_url, "7")
        );
        assert_eq!(sotw.version_info, "v");
        let bodies: Vec<_> = sotw
            .resources
            .iter()
            .map(|any| any.value.as_slice())
            .collect();
        assert_eq!(bodies, [b"a", b"b"]);
        assert!(sotw.resources.iter().all(|any| any.type_url == type_url));
    }

    #[test]
    fn a_refused_secret_is_not_quoted() {
        let words = |resource_type, message: &str| {
            let status = rpc::Status {
                message: message.to_owned(),
                ..rpc::Status::default()
            };
            words(status, resource_type)
        };
        assert!(!words(ResourceType::Secret, "KEY").contains("KEY"));
        assert_eq!(words(ResourceType::Route, "why"), "why");
        // Cut within a character of two bytes.
        let long = words(ResourceType::Route, &format!("x{}", "é".repeat(MAX_ERROR)));
        assert_eq!(long.len(), MAX_ERROR - 1);
    }
}
