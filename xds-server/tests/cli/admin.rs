//! The commands that ask a running control plane.

use std::{
    path::Path,
    sync::{Arc, Mutex},
};

use axum::{
    Json, Router,
    extract::{Request, State},
    http::{Method, StatusCode},
    response::{IntoResponse, Response},
};
use serde_json::Value;
use tokio::net::TcpListener;

use super::{Run, berth, command};

/// An admin API that answers one thing to everything, and what it was asked.
struct AdminApi {
    url: String,
    asked: Arc<Mutex<Vec<String>>>,
}

impl AdminApi {
    async fn start(status: StatusCode, answer: &str) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let state = (asked.clone(), status, answer.to_owned());
        let router = Router::new().fallback(respond).with_state(state);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async { axum::serve(listener, router).await });
        Self { url, asked }
    }

    /// Runs `berth` against it.
    async fn berth(&self, arguments: &[&str]) -> Run {
        let mut command = command(Path::new("/"), arguments);
        command.env("BERTH_ADMIN", &self.url);
        let output = tokio::process::Command::from(command).output().await;
        output.unwrap().into()
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

type Answer = (Arc<Mutex<Vec<String>>>, StatusCode, String);

async fn respond(State((asked, status, answer)): State<Answer>, request: Request) -> Response {
    let mut line = format!("{} {}", request.method(), request.uri());
    assert!(matches!(
        *request.method(),
        Method::DELETE | Method::GET | Method::POST
    ));
    let body = axum::body::to_bytes(request.into_body(), 4096).await;
    let body = body.unwrap();
    if !body.is_empty() {
        line = format!("{line} {}", str::from_utf8(&body).unwrap());
    }
    asked.lock().unwrap().push(line);
    match serde_json::from_str::<Value>(&answer) {
        Ok(answer) => (status, Json(answer)).into_response(),
        Err(_) => (status, answer).into_response(),
    }
}

#[tokio::test]
async fn instances_and_sessions_are_listed() {
    for (what, answer, table) in [
        ("instances", INSTANCES, INSTANCES_TABLE),
        ("sessions", SESSIONS, SESSIONS_TABLE),
        ("revocations", REVOCATIONS, REVOCATIONS_TABLE),
        ("instances", "[]", INSTANCES_HEADER),
    ] {
        let api = AdminApi::start(StatusCode::OK, answer).await;
        for arguments in [&[what][..], &[what, "list"]] {
            let run = api.berth(arguments).await;
            assert_eq!(run.code, Some(0), "{run:?}");
            assert_eq!(run.stdout, table, "berth {arguments:?}");
        }
        for arguments in [&[what, "--json"][..], &[what, "list", "--json"]] {
            let run = api.berth(arguments).await;
            let (found, sent): (Value, Value) = (
                serde_json::from_str(&run.stdout).unwrap(),
                serde_json::from_str(answer).unwrap(),
            );
            assert_eq!(found, sent, "berth {arguments:?}");
        }
        assert_eq!(api.asked(), vec![format!("GET /v1/{what}"); 4]);
    }
}

#[tokio::test]
async fn keys_are_listed_by_issuer() {
    let api = AdminApi::start(StatusCode::OK, KEYS).await;
    let run = api.berth(&["keys"]).await;
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), KEYS_TABLE));
    assert_eq!(api.asked(), ["GET /v1/keys"]);
}

#[tokio::test]
async fn orders_reach_the_admin_api() {
    for (arguments, asked, stdout) in [
        (
            &["instances", "drain", "gpu-1"][..],
            "POST /v1/instances/gpu-1/drain",
            "gpu-1 is draining: it is given to nobody new\n",
        ),
        (
            &["instances", "undrain", "gpu-1"],
            "POST /v1/instances/gpu-1/undrain",
            "gpu-1 is not draining\n",
        ),
        (
            &["instances", "quarantine", "gpu-1"],
            "POST /v1/instances/gpu-1/quarantine",
            "gpu-1 is quarantined: it is given to nobody\n",
        ),
        (
            &["instances", "unquarantine", "gpu-1"],
            "POST /v1/instances/gpu-1/unquarantine",
            "gpu-1 is not quarantined\n",
        ),
        (
            &["instances", "drain", "%2e%2e"],
            "POST /v1/instances/%252e%252e/drain",
            "%2e%2e is draining: it is given to nobody new\n",
        ),
        (
            &["sessions", "terminate", "0b5c/e?1"],
            "POST /v1/sessions/0b5c%2Fe%3F1/terminate",
            "0b5c/e?1 is being closed\n",
        ),
        (
            &["revocations", "lift", "7.12"],
            "DELETE /v1/revocations/7.12",
            "7.12 is lifted\n",
        ),
        (
            &["instances", "drain", "gpu-1", "--json"],
            "POST /v1/instances/gpu-1/drain",
            "{\n  \"done\": true\n}\n",
        ),
    ] {
        let api = AdminApi::start(StatusCode::ACCEPTED, r#"{"done": true}"#).await;
        let run = api.berth(arguments).await;
        assert_eq!(
            (run.code, run.stdout.as_str()),
            (Some(0), stdout),
            "{run:?}"
        );
        assert_eq!(api.asked(), [asked]);
    }
}

#[tokio::test]
async fn what_the_admin_api_does_not_do_is_said_with_a_remedy() {
    for (arguments, status, answer, expected) in [
        (
            &["instances", "drain", "gpu-9"][..],
            StatusCode::NOT_FOUND,
            r#"{"error": "there is no instance `gpu-9`"}"#,
            "there is no instance `gpu-9`; `berth instances` lists those there are\n",
        ),
        (
            &["sessions", "terminate", "x"],
            StatusCode::NOT_FOUND,
            r#"{"error": "there is no session `x`"}"#,
            "there is no session `x`; `berth sessions` lists those there are\n",
        ),
        (
            &["revocations", "lift", "x"],
            StatusCode::NOT_FOUND,
            r#"{"error": "there is no revocation `x`"}"#,
            "there is no revocation `x`; `berth revocations` lists those there are\n",
        ),
        (
            &["revoke", "--subject", "alice", "--for", "soon"],
            StatusCode::BAD_REQUEST,
            r#"{"error": "write it as 24h"}"#,
            "/v1/revocations answered 400 Bad Request: write it as 24h\n",
        ),
        (
            &["sessions"],
            StatusCode::SERVICE_UNAVAILABLE,
            r#"{"error": "stopping"}"#,
            "/v1/sessions answered 503 Service Unavailable: stopping\n",
        ),
        (
            &["sessions"],
            StatusCode::OK,
            r#"[{"id": "x"}]"#,
            "does --admin name `admin.listen` of a `berth serve` of this version?\n",
        ),
        (
            &["instances"],
            StatusCode::NOT_FOUND,
            "404 page not found",
            "does --admin name `admin.listen` of a `berth serve` of this version?\n",
        ),
    ] {
        let api = AdminApi::start(status, answer).await;
        let run = api.berth(arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.ends_with(expected), "{run:?}");
    }
}

#[tokio::test]
async fn what_can_be_no_name_is_not_asked_for() {
    for (arguments, expected) in [
        (
            &["instances", "drain", ".."][..],
            "nothing is called `..`; `berth instances` lists those there are\n",
        ),
        (
            &["instances", "quarantine", "."],
            "nothing is called `.`; `berth instances` lists those there are\n",
        ),
        (
            &["sessions", "terminate", ""],
            "nothing is called ``; `berth sessions` lists those there are\n",
        ),
        (
            &["sessions", "show", ".."],
            "nothing is called `..`; `berth sessions` lists those there are\n",
        ),
    ] {
        let api = AdminApi::start(StatusCode::OK, "{}").await;
        let run = api.berth(arguments).await;
        assert_eq!((run.code, run.stderr.as_str()), (Some(1), expected));
        assert_eq!(api.asked(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn a_session_is_shown_with_the_reason_for_its_instance() {
    for (pick, expected) in [
        (
            r#"{"why": "spread", "free": 3, "same_zone": true, "waited_ms": 1500}"#,
            "spread, one of 3 free, in its zone, after 1s 500ms",
        ),
        (
            r#"{"why": "resumed", "free": 1, "same_zone": false, "waited_ms": 0}"#,
            "resumed",
        ),
        ("null", "-"),
    ] {
        let session = ONE_SESSION.replace("PICK", pick);
        let api = AdminApi::start(StatusCode::OK, &session).await;
        let run = api.berth(&["sessions", "show", "s-1"]).await;
        let expected = SESSION_SHOWN.replace("PICK", expected);
        assert_eq!((run.code, run.stdout), (Some(0), expected));
        assert_eq!(api.asked(), ["GET /v1/sessions/s-1"]);
    }
}

#[tokio::test]
async fn the_history_is_asked_for_what_was_said() {
    for (arguments, query) in [
        (&["history"][..], "limit=100"),
        (
            &[
                "history",
                "--subject",
                "a&b",
                "--tenant",
                "acme",
                "--pool",
                "web",
                "--instance",
                "gpu-1",
                "--session",
                "s-1",
                "--since",
                "1h 30m",
                "--limit",
                "10000",
            ],
            "session=s-1&subject=a%26b&tenant=acme&pool=web&instance=gpu-1&since_seconds=5400&limit=10000",
        ),
    ] {
        let api = AdminApi::start(StatusCode::OK, HISTORY).await;
        let run = api.berth(arguments).await;
        assert_eq!((run.code, run.stdout.as_str()), (Some(0), HISTORY_TABLE));
        assert_eq!(api.asked(), [format!("GET /v1/history?{query}")]);
    }
}

#[tokio::test]
async fn what_is_to_be_revoked_is_what_was_said() {
    let done = r#"{"id": "7.12", "closing": 2, "refused": 1}"#;
    for (arguments, body) in [
        (
            &["--subject", "alice"][..],
            r#"{"subject":"alice","for":"24h"}"#,
        ),
        (
            &[
                "--subject",
                "alice",
                "--issuer",
                "i",
                "--for",
                "7days",
                "--reason",
                "a \"b\"",
            ],
            r#"{"subject":"alice","issuer":"i","for":"7days","reason":"a \"b\""}"#,
        ),
        (
            &["--token-id", "7f3a", "--for", "1h"],
            r#"{"token_id":"7f3a","for":"1h"}"#,
        ),
        (&["--session", "s-1"], r#"{"session":"s-1","for":"24h"}"#),
    ] {
        let api = AdminApi::start(StatusCode::CREATED, done).await;
        let run = api.berth(&[&["revoke"], arguments].concat()).await;
        assert_eq!(run.code, Some(0), "{run:?}");
        assert_eq!(
            run.stdout,
            "revoked as 7.12; live sessions that are being closed: 2, waiting requests refused: 1\n"
        );
        assert_eq!(api.asked(), [format!("POST /v1/revocations {body}")]);
    }
    for arguments in [
        &[][..],
        &["--issuer", "i"],
        &["--subject", "alice", "--session", "s-1"],
        &["--session", "s-1", "--issuer", "i"],
    ] {
        let api = AdminApi::start(StatusCode::CREATED, done).await;
        let run = api.berth(&[&["revoke"], arguments].concat()).await;
        assert_eq!(run.code, Some(64), "{run:?}");
        assert_eq!(api.asked(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn nobody_there_is_said_with_a_remedy() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let run = berth(Path::new("/"), &["instances", "--admin", &url]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    let start = format!("cannot reach the admin API at {url}");
    assert!(run.stderr.starts_with(&start), "{run:?}");
    assert!(run.stderr.contains("Connection refused"), "{run:?}");
    assert!(run.stderr.contains("is `berth serve` running?"), "{run:?}");
}

const INSTANCES: &str = r#"[
    {"name": "gpu-2", "pool": "web", "family": "web", "address": "10.0.0.2:49100",
     "health": "down", "warm": false, "draining": true, "quarantined": true, "lease": null},
    {"name": "gpu-3", "pool": "web", "family": "web", "address": "10.0.0.3:49100",
     "health": "up", "warm": false, "draining": false, "quarantined": false, "lease": null},
    {"name": "gpu-1", "pool": "web", "family": "web", "address": "10.0.0.1:49100",
     "health": "up", "warm": true, "draining": false, "quarantined": false, "later": 1,
     "lease": {"state": "active", "session": "s-1", "fence": "7.12", "subject": "alice", "since_seconds": 3723}}
]"#;
const INSTANCES_HEADER: &str =
    "POOL  INSTANCE  FAMILY  ADDRESS  HEALTH  CLOSED  LEASE  FOR  SUBJECT  SESSION  FENCE\n";
const INSTANCES_TABLE: &str = "\
POOL  INSTANCE  FAMILY  ADDRESS         HEALTH  CLOSED                 LEASE   FOR       SUBJECT  SESSION  FENCE
web   gpu-1     web     10.0.0.1:49100  up      -                      active  1h 2m 3s  alice    s-1      7.12
web   gpu-2     web     10.0.0.2:49100  down    quarantined, draining  -       -         -        -        -
web   gpu-3     web     10.0.0.3:49100  up      warming up             -       -         -        -        -
";

const SESSIONS: &str = r#"[
    {"id": "s-2", "pool": "web", "instance": null, "issuer": "i", "subject": "bob", "tenant": "",
     "client_address": "203.0.113.9", "state": "waiting", "age_seconds": 0, "node": "edge-1",
     "vm": "v-1"},
    {"id": "s-1", "pool": "native", "instance": "gpu-3", "issuer": "i", "subject": "alice", "tenant": "acme",
     "client_address": "2001:db8::1", "state": "active", "age_seconds": 60, "node": "edge-1",
     "vm": "v-2"}
]"#;
const SESSIONS_TABLE: &str = "\
SESSION  POOL    INSTANCE  STATE    FOR  SUBJECT  TENANT  CLIENT       NODE    VM
s-1      native  gpu-3     active   1m   alice    acme    2001:db8::1  edge-1  v-2
s-2      web     -         waiting  0s   bob      -       203.0.113.9  edge-1  v-1
";

const KEYS: &str = r#"[
    {"issuer": "https://a.example", "kind": "discovery", "place": "https://a.example/.well-known/openid-configuration",
     "keys": [{"id": "k-1", "kind": "RS256"}, {"id": null, "kind": "P-256"}], "ignored": ["`keys[2]`: …"],
     "age_seconds": 90, "next_in_seconds": 510, "error": null},
    {"issuer": "robots", "kind": "url", "place": "https://b.example/keys", "keys": [], "ignored": [],
     "age_seconds": null, "next_in_seconds": null, "error": "GET https://b.example/keys was answered 500"}
]"#;
const KEYS_TABLE: &str = "\
ISSUER             PLACE                                               KEYS                  UNUSED  AGE     NEXT IN  PROBLEM
https://a.example  https://a.example/.well-known/openid-configuration  k-1 (RS256), (P-256)  1       1m 30s  8m 30s   -
robots             https://b.example/keys                              -                     0       -       now      GET https://b.example/keys was answered 500
";

const REVOCATIONS: &str = r#"[
    {"id": "7.12", "subject": "alice", "issuer": "https://id.example", "since": "2026-11-22T10:00:00.000Z",
     "until": "2026-11-23T10:00:00.000Z", "reason": "lost laptop"},
    {"id": "7.13", "token_id": "7f3a", "issuer": null, "since": "2026-11-22T10:00:05.000Z",
     "until": "2026-11-23T10:00:05.000Z", "reason": null},
    {"id": "7.14", "session": "s-1", "issuer": null, "since": "2026-11-22T10:00:06.000Z",
     "until": "2026-11-22T11:00:06.000Z", "reason": null}
]"#;
const REVOCATIONS_TABLE: &str = "\
ID    SUBJECT  TOKEN  SESSION  ISSUER              SINCE                     UNTIL                     REASON
7.12  alice    -      -        https://id.example  2026-11-22T10:00:00.000Z  2026-11-23T10:00:00.000Z  lost laptop
7.13  -        7f3a   -        -                   2026-11-22T10:00:05.000Z  2026-11-23T10:00:05.000Z  -
7.14  -        -      s-1      -                   2026-11-22T10:00:06.000Z  2026-11-22T11:00:06.000Z  -
";

const ONE_SESSION: &str = r#"{"id": "s-1", "pool": "web", "instance": "gpu-1", "issuer": "i", "subject": "alice",
    "tenant": "acme", "token_id": "7f3a", "client_address": "203.0.113.9", "state": "active", "age_seconds": 60,
    "node": "edge-1", "vm": "v-1", "pick": PICK}"#;
const SESSION_SHOWN: &str = "\
SESSION   s-1
POOL      web
INSTANCE  gpu-1
WHY       PICK
STATE     active
FOR       1m
ISSUER    i
SUBJECT   alice
TENANT    acme
TOKEN     7f3a
CLIENT    203.0.113.9
NODE      edge-1
VM        v-1
";

const HISTORY: &str = r#"[
    {"session": "s-2", "pool": "web", "instance": "gpu-1", "fence": "7.3", "issuer": "i",
     "subject": "bob", "tenant": "", "client_address": "203.0.113.9", "node": "edge-1",
     "pick": {"why": "took_over", "free": 0, "same_zone": false, "waited_ms": 0},
     "granted_at": "2026-11-22T10:00:00.000Z", "established_at": null,
     "ended_at": "2026-11-22T10:00:05.000Z", "lasted_seconds": null, "end": "not_established"},
    {"session": "s-1", "pool": "web", "instance": "gpu-1", "fence": "7.2", "issuer": "i",
     "subject": "alice", "tenant": "acme", "client_address": "203.0.113.8", "node": "edge-1",
     "pick": {"why": "packed", "free": 2, "same_zone": true, "waited_ms": 20},
     "granted_at": "2026-11-22T09:00:00.000Z", "established_at": "2026-11-22T09:00:00.100Z",
     "ended_at": "2026-11-22T09:30:00.200Z", "lasted_seconds": 1800, "end": "expired"}
]"#;
const HISTORY_TABLE: &str = "\
ENDED                     LASTED  END              SESSION  POOL  INSTANCE  WHY                                             SUBJECT  TENANT  CLIENT       NODE
2026-11-22T10:00:05.000Z  -       not_established  s-2      web   gpu-1     took_over                                       bob      -       203.0.113.9  edge-1
2026-11-22T09:30:00.200Z  30m     expired          s-1      web   gpu-1     packed, one of 2 free, in its zone, after 20ms  alice    acme    203.0.113.8  edge-1
";
