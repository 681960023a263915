//! `GET /v1/history`.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{pick, problem, rfc3339};
use crate::clock;
use crate::store::{History, HistoryError, HistoryQuery, Limit, PastRecord, UnixMillis};

/// What can be asked for; of several all have to match.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    session: Option<String>,
    subject: Option<String>,
    tenant: Option<String>,
    pool: Option<String>,
    instance: Option<String>,
    /// Ended so long ago at most.
    since_seconds: Option<u64>,
    limit: Option<usize>,
}

pub(super) async fn query(
    State(history): State<Arc<dyn History>>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Response {
    let query = match asked {
        Ok(Query(asked)) => compile(asked),
        Err(rejection) => return problem(StatusCode::BAD_REQUEST, &rejection.body_text()),
    };
    let Some(query) = query else {
        let error = format!("`limit` is not from 1 to {}", Limit::MAX);
        return problem(StatusCode::BAD_REQUEST, &error);
    };
    // It may have to read a file.
    let found = tokio::task::spawn_blocking(move || history.query(&query)).await;
    match found {
        Ok(Ok(found)) => Json(found.iter().map(past).collect::<Value>()).into_response(),
        Ok(Err(error @ HistoryError::Away)) => {
            problem(StatusCode::SERVICE_UNAVAILABLE, &error.to_string())
        }
        Ok(Err(error @ HistoryError::Damaged(_))) => {
            problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string())
        }
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// `None` if the limit is out of bounds.
fn compile(asked: Asked) -> Option<HistoryQuery> {
    let now = UnixMillis(clock::unix_seconds().saturating_mul(1000));
    let default = || Some(Limit::default());
    let limit = asked.limit.map_or_else(default, Limit::new)?;
    Some(HistoryQuery {
        session: asked.session.map(Into::into),
        subject: asked.subject.map(Into::into),
        tenant: asked.tenant.map(Into::into),
        pool: asked.pool.map(Into::into),
        instance: asked.instance.map(Into::into),
        since: asked
            .since_seconds
            .map(|since| now.before(Duration::from_secs(since))),
        until: None,
        limit,
    })
}

fn past(past: &PastRecord) -> Value {
    // From the grant: of a session that outlived a restart, the time of its 101 is that of the first Sync after it.
    let established = past.established_at.is_some();
    let lasted = established.then(|| past.ended_at.since(past.granted_at));
    json!({
        "session": past.session.as_str(),
        "pool": past.pool.as_str(),
        "instance": past.instance.as_str(),
        "fence": past.fence.to_string(),
        "issuer": &*past.owner.user.issuer,
        "subject": &*past.owner.user.subject,
        "tenant": &*past.owner.tenant,
        "token_id": past.token_id.as_deref(),
        "client_address": &*past.client_address,
        "node": past.node.as_str(),
        "pick": pick(&past.pick),
        "granted_at": rfc3339(past.granted_at),
        "established_at": past.established_at.and_then(rfc3339),
        "ended_at": rfc3339(past.ended_at),
        "lasted_seconds": lasted.map(|lasted| lasted.as_secs()),
        "end": past.end.label(),
    })
}
