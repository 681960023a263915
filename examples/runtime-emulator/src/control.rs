//! The readiness port: what a prober asks, and what lets a person at a terminal make an emulator
//! misbehave and see whom it served.

use std::convert::Infallible;
use std::num::ParseIntError;
use std::str::{FromStr, ParseBoolError};
use std::sync::Arc;

use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::config::{Fault, ParseFaultError};
use crate::ledger::{How, Ledger, SessionRecord, Stage};
use crate::session::Order;
use crate::shared::Shared;
use crate::socket::{Socket, stopping};

/// One connection to the readiness port, from its acceptance to its end.
pub(crate) async fn serve_control(tcp: TcpStream, shared: Arc<Shared>) {
    let mut phase = shared.phase();
    let socket = TokioIo::new(Socket::new(tcp, shared.phase()));
    let service = service_fn(|request| {
        let shared = shared.clone();
        async move { Result::<_, Infallible>::Ok(answer(request, &shared).await) }
    });
    tokio::select! {
        // A client that breaks off, or HTTP, is not missed.
        _ = http1::Builder::new().serve_connection(socket, service) => {}
        () = stopping(&mut phase) => {}
    }
}

async fn answer(request: Request<Incoming>, shared: &Shared) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    match (&head.method, head.uri.path()) {
        (&Method::GET, "/v1/streaming/ready") if shared.is_ready() => text(StatusCode::OK, "ready"),
        (&Method::GET, "/v1/streaming/ready") => {
            text(StatusCode::INTERNAL_SERVER_ERROR, "not ready")
        }
        (&Method::GET, "/records") => records(shared),
        (&Method::POST, path @ ("/fault" | "/ready" | "/end")) => {
            let Ok(body) = Limited::new(body, BODY_LIMIT).collect().await else {
                return text(StatusCode::BAD_REQUEST, "the body cannot be read");
            };
            let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
            match Command::parse(path, body.trim()) {
                Ok(command) => text(StatusCode::OK, command.obey(shared)),
                Err(error) => text(StatusCode::BAD_REQUEST, error.to_string()),
            }
        }
        (_, "/v1/streaming/ready" | "/records" | "/fault" | "/ready" | "/end") => {
            text(StatusCode::METHOD_NOT_ALLOWED, "not by this method")
        }
        _ => text(StatusCode::NOT_FOUND, "no such path"),
    }
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    respond(status, "text/plain", body.into())
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What a POST asks for.
#[derive(Debug, PartialEq, Eq)]
enum Command {
    Fault(Fault),
    Ready(bool),
    End(Ending),
}

/// How the live sessions are to end.
#[derive(Debug, PartialEq, Eq)]
enum Ending {
    Close { code: u16, reason: String },
    Fin,
    Reset,
}

/// What a POST got wrong.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum ParseCommandError {
    #[error(transparent)]
    Fault(#[from] ParseFaultError),
    #[error("ready is true or false")]
    Ready(#[from] ParseBoolError),
    #[error("sessions end by close=CODE, close=CODE,REASON, fin or reset")]
    End,
    #[error("not a close code: {0}")]
    Code(#[from] ParseIntError),
}

impl Command {
    fn parse(path: &str, body: &str) -> Result<Self, ParseCommandError> {
        match path {
            "/fault" => Ok(Self::Fault(body.parse()?)),
            "/ready" => Ok(Self::Ready(body.parse()?)),
            _ => Ok(Self::End(body.parse()?)),
        }
    }

    /// Does it, and says what was done.
    fn obey(self, shared: &Shared) -> String {
        match self {
            Self::Fault(fault) => {
                shared.set_fault(fault);
                format!("fault is {fault}")
            }
            Self::Ready(ready) => {
                shared.set_ready(ready);
                format!("ready is {ready}")
            }
            Self::End(ending) => {
                let sessions = shared.order(|| match &ending {
                    Ending::Close { code, reason } => Order::Close {
                        code: *code,
                        reason: reason.clone(),
                    },
                    Ending::Fin => Order::Fin,
                    Ending::Reset => Order::Reset,
                });
                format!("sessions told to end: {sessions}")
            }
        }
    }
}

impl FromStr for Ending {
    type Err = ParseCommandError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "fin" => Ok(Self::Fin),
            "reset" => Ok(Self::Reset),
            _ => {
                let close = text.strip_prefix("close=").ok_or(ParseCommandError::End)?;
                let (code, reason) = close.split_once(',').unwrap_or((close, ""));
                Ok(Self::Close {
                    code: code.parse()?,
                    reason: reason.to_owned(),
                })
            }
        }
    }
}

fn records(shared: &Shared) -> Response<Full<Bytes>> {
    let json = serde_json::to_vec(&LedgerView::new(
        &shared.ledger().borrow(),
        shared.started(),
    ));
    match json {
        Ok(json) => respond(StatusCode::OK, "application/json", json.into()),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
    }
}

/// A [`Ledger`] as JSON, its times in milliseconds since the emulator started.
#[derive(Serialize)]
struct LedgerView<'a> {
    requests: u64,
    live: usize,
    max_concurrent: usize,
    records: Vec<RecordView<'a>>,
}

#[derive(Serialize)]
struct RecordView<'a> {
    number: usize,
    family: &'static str,
    path_and_query: &'a str,
    headers: &'a [(String, String)],
    stage: Stage,
    from_ms: u128,
    to_ms: Option<u128>,
    end: Option<&'a How>,
}

impl<'a> LedgerView<'a> {
    fn new(ledger: &'a Ledger, started: Instant) -> Self {
        let since =
            |at: std::time::Instant| at.saturating_duration_since(started.into_std()).as_millis();
        let view = |record: &'a SessionRecord| RecordView {
            number: record.number,
            family: record.family.as_str(),
            path_and_query: &record.path_and_query,
            headers: &record.headers,
            stage: record.stage,
            from_ms: since(record.from),
            to_ms: record.end.as_ref().map(|end| since(end.at)),
            end: record.how(),
        };
        Self {
            requests: ledger.requests(),
            live: ledger.live(),
            max_concurrent: ledger.max_concurrent(),
            records: ledger.records().iter().map(view).collect(),
        }
    }
}

/// Commands are a few words.
const BODY_LIMIT: usize = 4 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read() {
        let close = |code, reason: &str| {
            Ok(Command::End(Ending::Close {
                code,
                reason: reason.to_owned(),
            }))
        };
        let cases = [
            ("/fault", "none", Ok(Command::Fault(Fault::None))),
            (
                "/fault",
                "fail-first-connects=2",
                Ok(Command::Fault(Fault::FailFirstConnects(2))),
            ),
            (
                "/fault",
                "nonsense",
                Err(ParseCommandError::Fault(ParseFaultError::Unknown)),
            ),
            ("/ready", "false", Ok(Command::Ready(false))),
            ("/end", "fin", Ok(Command::End(Ending::Fin))),
            ("/end", "reset", Ok(Command::End(Ending::Reset))),
            ("/end", "close=1001", close(1001, "")),
            ("/end", "close=4000,bye, now", close(4000, "bye, now")),
            ("/end", "close", Err(ParseCommandError::End)),
        ];
        for (path, body, expected) in cases {
            assert_eq!(Command::parse(path, body), expected, "{path} {body}");
        }
        for (path, body) in [
            ("/ready", "yes"),
            ("/end", "close=99999"),
            ("/fault", "die-after=0"),
        ] {
            assert!(Command::parse(path, body).is_err(), "{path} {body}");
        }
    }
}
