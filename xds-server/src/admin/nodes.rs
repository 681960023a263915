use axum::Json;
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use super::not_found;
use crate::xds::{Dialect, Resource, StreamStatus, Streams, TypeStatus};

/// `GET /v1/nodes`: every stream of every proxy, with what it subscribed to, was sent, acknowledged and refused.
pub(super) async fn list(State(streams): State<Streams>) -> Json<Value> {
    let streams = streams.status(None).await;
    Json(streams.iter().map(stream).collect())
}

/// `GET /v1/nodes/{id}`: the streams of one.
pub(super) async fn one(State(streams): State<Streams>, Path(id): Path<String>) -> Response {
    let streams = streams.status(Some(&id)).await;
    if streams.is_empty() {
        return not_found(&format!(
            "no proxy with the node id `{id}` has a stream open"
        ));
    }
    Json(streams.iter().map(stream).collect::<Value>()).into_response()
}

fn stream(stream: &StreamStatus) -> Value {
    let types = stream.types.as_ref();
    let types = types.map(|types| types.iter().map(one_type).collect::<Vec<_>>());
    json!({
        "node": stream.node.id,
        "cluster": stream.node.cluster,
        "region": stream.node.region,
        "zone": stream.node.zone,
        "sub_zone": stream.node.sub_zone,
        "user_agent": stream.user_agent,
        "address": stream.address,
        "profile": stream.profile.as_str(),
        "stream": stream.id.0,
        "dialect": match stream.dialect {
            Dialect::Delta => "delta",
            Dialect::StateOfTheWorld => "sotw",
        },
        "age_seconds": stream.age.as_secs(),
        "types": types,
    })
}

fn one_type(status: &TypeStatus) -> Value {
    let versions = |resources: &[std::sync::Arc<Resource>]| {
        let versions = resources.iter().map(|resource| version(resource));
        versions.collect::<Vec<_>>()
    };
    let refused = status.refused.iter().map(|(resource, error)| {
        json!({
            "name": **resource.name(),
            "version": resource.version().to_string(),
            "error": **error,
        })
    });
    let names = status.names.iter().map(|name| &**name);
    json!({
        "type": status.resource_type.label(),
        "everything": status.everything,
        "names": names.collect::<Vec<_>>(),
        "acknowledged": versions(&status.acknowledged),
        "unanswered": versions(&status.unanswered),
        "refused": refused.collect::<Vec<_>>(),
    })
}

fn version(resource: &Resource) -> Value {
    json!({"name": **resource.name(), "version": resource.version().to_string()})
}
