use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use super::KeysView;
use crate::keys::{IssuerKeys, Place};
use crate::placement::Time;

/// `GET /v1/keys`: where each issuer's keys come from, and which there are. Names only.
pub(super) async fn list(State(keys): State<KeysView>) -> Json<Value> {
    let now = keys.clock.now();
    let issuers = keys.issuers.borrow();
    Json(issuers.iter().map(|keys| issuer(now, keys)).collect())
}

fn issuer(now: Time, keys: &IssuerKeys) -> Value {
    let held = keys.held.as_ref();
    let names = held.into_iter().flat_map(|held| held.set.names());
    let names = names.map(|name| json!({"id": name.id, "kind": name.kind}));
    let ignored = keys.ignored.iter().map(ToString::to_string);
    let kind = match &keys.place {
        Place::File(_) => "file",
        Place::Web(place) if place.discovery => "discovery",
        Place::Web(_) => "url",
    };
    json!({
        "issuer": keys.issuer,
        "kind": kind,
        "place": keys.place.to_string(),
        "keys": names.collect::<Vec<_>>(),
        "ignored": ignored.collect::<Vec<_>>(),
        "age_seconds": held.map(|held| now.since(held.fetched_at).as_secs()),
        "next_in_seconds": keys.next.map(|next| next.since(now).as_secs()),
        "error": keys.error.as_ref().map(ToString::to_string),
    })
}
