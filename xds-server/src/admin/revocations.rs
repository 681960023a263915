//! `/v1/revocations`.

use std::sync::Arc;

use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{not_found, not_ordered, problem, rfc3339};
use crate::controller::{Controller, Gone, RevocationStatus, RevokeError};
use crate::placement::{
    NoRevocationId, RevocationId, RevocationNote, RevocationSpan, Revoke, Revoked,
};

/// What is to be revoked: one of a subject, a token and a session.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    session: Option<String>,
    subject: Option<String>,
    token_id: Option<String>,
    issuer: Option<String>,
    /// As people write it: `90s`, `24h`, `7days`.
    r#for: Option<String>,
    reason: Option<String>,
}

/// What cannot be revoked as it was asked for.
#[derive(Debug, thiserror::Error)]
enum Unclear {
    #[error(
        "name one of `subject`, `token_id` and `session`: who or what is revoked; for two of them, ask twice"
    )]
    NotOne,
    #[error(
        "`issuer` says whose `subject` or `token_id` is meant; a `session` has an id that no other has: leave it out"
    )]
    IssuerOfSession,
    #[error(
        "`{field}` has {length} bytes; it has to be what a token or a session says, of 1 to {MAX_NAME} bytes"
    )]
    Name { field: &'static str, length: usize },
    #[error("`for` is \"{text}\", which is no time: {error}; write it as 90s, 24h or 7days")]
    NoTime {
        text: String,
        error: humantime::DurationError,
    },
    #[error(
        "`for` is \"{0}\"; a revocation holds for 1s to 30days: revoke again what has to be for longer, or have its \
        issuer give out no more tokens"
    )]
    Time(String),
    #[error("`reason` has {0} bytes; it may have 1 to {max}: leave it out, or shorten it", max = RevocationNote::MAX)]
    Note(usize),
}

pub(super) async fn revoke(
    State(controller): State<Controller>,
    asked: Result<Json<Asked>, JsonRejection>,
) -> Result<Response, Gone> {
    let asked = match asked {
        Ok(Json(asked)) => asked,
        Err(rejection) => return Ok(problem(rejection.status(), &rejection.body_text())),
    };
    let revoke = match compile(asked) {
        Ok(revoke) => revoke,
        Err(unclear) => return Ok(problem(StatusCode::BAD_REQUEST, &unclear.to_string())),
    };
    Ok(match controller.revoke(revoke).await? {
        Ok(done) => {
            let body = json!({
                "id": done.id.to_string(),
                "closing": done.closing,
                "refused": done.refused,
            });
            (StatusCode::CREATED, Json(body)).into_response()
        }
        Err(error @ RevokeError::Full) => problem(StatusCode::CONFLICT, &error.to_string()),
        Err(RevokeError::NotStored(error)) => not_ordered(&error.into()),
    })
}

pub(super) async fn list(State(controller): State<Controller>) -> Result<Json<Value>, Gone> {
    let revocations = controller.revocations().await?;
    Ok(Json(revocations.iter().map(revocation).collect()))
}

pub(super) async fn lift(
    State(controller): State<Controller>,
    Path(id): Path<String>,
) -> Result<Response, Gone> {
    let unknown = || not_found(&format!("there is no revocation `{id}`"));
    let parsed: Result<RevocationId, NoRevocationId> = id.parse();
    let Ok(parsed) = parsed else {
        return Ok(unknown());
    };
    Ok(match controller.lift_revocation(parsed).await? {
        Ok(true) => Json(json!({"id": id, "lifted": true})).into_response(),
        Ok(false) => unknown(),
        Err(error) => not_ordered(&error.into()),
    })
}

fn compile(asked: Asked) -> Result<Revoke, Unclear> {
    let issuer = asked
        .issuer
        .map(|issuer| name("issuer", &issuer))
        .transpose()?;
    let what = match (asked.session, asked.subject, asked.token_id, issuer) {
        (Some(_), None, None, Some(_)) => return Err(Unclear::IssuerOfSession),
        (Some(session), None, None, None) => Revoked::Session((*name("session", &session)?).into()),
        (None, Some(subject), None, issuer) => Revoked::Subject {
            issuer,
            subject: name("subject", &subject)?,
        },
        (None, None, Some(id), issuer) => Revoked::Token {
            issuer,
            id: name("token_id", &id)?,
        },
        _ => return Err(Unclear::NotOne),
    };
    let note = |text: String| RevocationNote::new(&text).ok_or(Unclear::Note(text.len()));
    Ok(Revoke {
        what,
        span: asked.r#for.map(span).transpose()?.unwrap_or_default(),
        note: asked.reason.map(note).transpose()?,
    })
}

fn name(field: &'static str, text: &str) -> Result<Arc<str>, Unclear> {
    let length = text.len();
    if (1..=MAX_NAME).contains(&length) {
        Ok(text.into())
    } else {
        Err(Unclear::Name { field, length })
    }
}

fn span(text: String) -> Result<RevocationSpan, Unclear> {
    match humantime::parse_duration(&text) {
        Ok(span) => RevocationSpan::new(span).ok_or(Unclear::Time(text)),
        Err(error) => Err(Unclear::NoTime { text, error }),
    }
}

fn revocation(status: &RevocationStatus) -> Value {
    let revocation = &status.revocation;
    let (name, issuer) = match &revocation.what {
        Revoked::Session(session) => (session.as_str(), None),
        Revoked::Subject { issuer, subject } => (&**subject, issuer.as_deref()),
        Revoked::Token { issuer, id } => (&**id, issuer.as_deref()),
    };
    let mut value = json!({
        "id": revocation.id.to_string(),
        "issuer": issuer,
        "since": rfc3339(status.since),
        "until": rfc3339(status.until),
        "reason": revocation.note.as_ref().map(RevocationNote::as_str),
    });
    if let Some(fields) = value.as_object_mut() {
        fields.insert(revocation.what.label().to_owned(), name.into());
    }
    value
}

/// As long as what a filter may say of a session; nothing longer is ever met.
const MAX_NAME: usize = 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn asked(body: Value) -> Result<Revoke, Unclear> {
        compile(serde_json::from_value(body).unwrap())
    }

    #[test]
    fn what_is_asked_for_is_what_is_revoked() {
        let subject = |issuer: Option<&str>| Revoked::Subject {
            issuer: issuer.map(Into::into),
            subject: "alice".into(),
        };
        let day = 24 * 60 * 60;
        for (body, what, seconds, note) in [
            (json!({"subject": "alice"}), subject(None), day, None),
            (
                json!({"subject": "alice", "issuer": "i", "for": "1h 30s", "reason": "lost laptop"}),
                subject(Some("i")),
                3630,
                Some("lost laptop"),
            ),
            (
                json!({"token_id": "j", "for": "30days"}),
                Revoked::Token {
                    issuer: None,
                    id: "j".into(),
                },
                30 * day,
                None,
            ),
            (
                json!({"session": "s", "for": "1s"}),
                Revoked::Session("s".into()),
                1,
                None,
            ),
        ] {
            let revoke = asked(body.clone()).unwrap();
            assert_eq!(revoke.what, what, "{body}");
            assert_eq!(revoke.span.get(), Duration::from_secs(seconds), "{body}");
            let found = revoke.note.as_ref().map(RevocationNote::as_str);
            assert_eq!(found, note, "{body}");
        }
    }

    #[test]
    fn what_is_unclear_is_explained() {
        for (body, explained) in [
            (json!({}), "`subject`, `token_id` and `session`"),
            (
                json!({"issuer": "i"}),
                "`subject`, `token_id` and `session`",
            ),
            (json!({"subject": "a", "session": "s"}), "ask twice"),
            (json!({"session": "s", "issuer": "i"}), "leave it out"),
            (json!({"subject": ""}), "`subject` has 0 bytes"),
            (
                json!({"token_id": "j".repeat(1025)}),
                "`token_id` has 1025 bytes",
            ),
            (json!({"subject": "a", "for": "soon"}), "7days"),
            (json!({"subject": "a", "for": "0s"}), "1s to 30days"),
            (
                json!({"subject": "a", "for": "31days"}),
                "`for` is \"31days\"",
            ),
            (
                json!({"subject": "a", "reason": "x".repeat(201)}),
                "201 bytes",
            ),
        ] {
            let said = asked(body.clone()).unwrap_err().to_string();
            assert!(said.contains(explained), "{body}: {said}");
        }
    }
}
