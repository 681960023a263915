//! The filter as the proxy meets it: through its callbacks.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_proto::session::v1 as proto;
use prost::Message;
use proto::acquire_response::Outcome;
use proxy_wasm::traits::{Context, HttpContext, RootContext};
use proxy_wasm::types::{Action, LogLevel};
use serde_json::{Value, json};

use crate::fake::{Fake, FakeStream, HeaderList, Reply, SentCall};
use crate::host::Unavailable;
use crate::http::Http;
use crate::root::Root;
use crate::session::{ContextId, Token};
use crate::worker::Worker;

mod algorithms;
mod configuration;
mod http2;
mod requests;
mod sessions;
mod statistics;
mod unverified;

const ROOT: ContextId = ContextId(1);
const STREAM: ContextId = ContextId(2);
const UNAVAILABLE: u32 = 14;

fn configuration() -> Value {
    let modulus = URL_SAFE_NO_PAD.encode([0xc3; 256]);
    // The curve's generator (SEC 2 §2.4.2) is as good a public key as any.
    let point = [
        "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY",
        "T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU",
    ];
    let keys = json!([
        {"kty": "RSA", "kid": "k", "alg": "RS256", "n": modulus, "e": "AQAB"},
        {"kty": "EC", "kid": "p", "alg": "ES256", "crv": "P-256", "x": point[0], "y": point[1]},
    ]);
    json!({
        "admission": {
            "issuers": [{"issuer": "https://idp.example", "jwks": {"keys": keys}}],
            "pools": [{"name": "web", "family": "web"}, {"name": "native", "family": "native"}],
        },
        "control_plane": {
            "cluster": "berth", "when_away": "wait", "hold_ms": 8000, "tick_ms": 1000,
        },
    })
}

fn token() -> String {
    signed("RS256", "k", &[7; 256])
}

fn signed(algorithm: &str, key: &str, signature: &[u8]) -> String {
    let part = |value: Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let header = part(json!({"alg": algorithm, "kid": key}));
    let claims = part(json!({
        "iss": "https://idp.example", "sub": "alice", "exp": 1_800_000_000, "priority": 7,
    }));
    format!("{header}.{claims}.{}", URL_SAFE_NO_PAD.encode(signature))
}

fn list(headers: &[(&str, &str)]) -> HeaderList {
    headers
        .iter()
        .map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec()))
        .collect()
}

/// An upgrade of `path`, with more headers.
fn upgrade(path: &str, more: &[(&str, &str)]) -> HeaderList {
    let common = [
        (":method", "GET"),
        (":path", path),
        ("upgrade", "websocket"),
    ];
    list(&[&common, more].concat())
}

fn authorized(path: &str) -> HeaderList {
    let bearer = format!("Bearer {}", token());
    upgrade(path, &[("authorization", bearer.as_str())])
}

fn grant(sequence: u64) -> Outcome {
    Outcome::Grant(proto::Grant {
        fence: Some(proto::Fence { term: 4, sequence }),
        instance: "i1".to_owned(),
        cluster: "web-0".to_owned(),
        endpoint: "10.0.0.5:49100".to_owned(),
        ..proto::Grant::default()
    })
}

/// A proxy with one VM, whose SDK brings an answer to the context that was in a callback when the call was sent.
struct Proxy {
    worker: Rc<Worker<Fake>>,
    root: Root<Fake>,
    contexts: BTreeMap<ContextId, Http<Fake>>,
    callers: BTreeMap<Token, ContextId>,
}

impl Proxy {
    fn new(configuration: &Value) -> Self {
        let worker = Rc::new(Worker::new(Fake::new(&configuration.to_string())));
        worker.host.with(|state| state.roots.push(ROOT));
        let mut root = Root::new(Rc::clone(&worker), ROOT);
        assert!(
            root.on_configure(0),
            "{:?}",
            worker.host.with(|s| s.log.clone())
        );
        Self {
            worker,
            root,
            contexts: BTreeMap::new(),
            callers: BTreeMap::new(),
        }
    }

    fn start() -> Self {
        Self::new(&configuration())
    }

    /// Runs a callback of `context`, and notes who made the calls that were sent in it.
    fn callback<R>(&mut self, context: ContextId, f: impl FnOnce(&mut Self) -> R) -> R {
        self.worker.host.with(|state| state.entered = context);
        let before = self.calls().len();
        let result = f(self);
        for call in self.calls().into_iter().skip(before) {
            self.callers.insert(call.token, context);
        }
        result
    }

    fn on_stream<R>(&mut self, context: ContextId, f: impl FnOnce(&mut Http<Fake>) -> R) -> R {
        self.callback(context, |proxy| {
            f(proxy.contexts.get_mut(&context).unwrap())
        })
    }

    fn request(&mut self, context: ContextId, route: &str, headers: HeaderList) -> Action {
        self.request_over("HTTP/1.1", false, context, route, headers)
    }

    fn request_over(
        &mut self,
        protocol: &str,
        is_over: bool,
        context: ContextId,
        route: &str,
        headers: HeaderList,
    ) -> Action {
        let properties = [
            ("request.protocol", protocol),
            ("xds.route_name", route),
            ("source.address", "192.0.2.7:5123"),
        ];
        let stream = FakeStream {
            request: headers,
            properties: properties
                .map(|(name, value)| (name.to_owned(), value.as_bytes().to_vec()))
                .into(),
            ..FakeStream::default()
        };
        self.worker
            .host
            .with(|state| state.streams.insert(context, stream));
        let http = self.root.stream(context);
        self.contexts.insert(context, http);
        self.on_stream(context, |http| http.on_http_request_headers(0, is_over))
    }

    fn answer(&mut self, token: Token, status: u32, answer: Vec<u8>) {
        let Some(caller) = self.callers.remove(&token) else {
            return;
        };
        let size = answer.len();
        self.worker.host.with(|state| state.call_answer = answer);
        self.callback(caller, |proxy| {
            if caller == ROOT {
                proxy.root.on_grpc_call_response(token.0, status, size);
            } else if let Some(http) = proxy.contexts.get_mut(&caller) {
                http.on_grpc_call_response(token.0, status, size);
            }
        });
    }

    fn answer_acquire(&mut self, outcome: Outcome) {
        let token = self.last_call("Acquire").token;
        let response = proto::AcquireResponse {
            outcome: Some(outcome),
            ..proto::AcquireResponse::default()
        };
        self.answer(token, 0, response.encode_to_vec());
    }

    fn answer_sync(&mut self, closes: &[(&str, &str)]) {
        let token = self.last_call("Sync").token;
        let close = closes.iter().map(|(session, reason)| proto::Close {
            session: (*session).to_owned(),
            reason: (*reason).to_owned(),
        });
        let response = proto::SyncResponse {
            close: close.collect(),
            ..proto::SyncResponse::default()
        };
        self.answer(token, 0, response.encode_to_vec());
    }

    fn response(&mut self, context: ContextId, details: &str, headers: &[(&str, &str)]) -> Action {
        self.worker.host.with(|state| {
            let stream = state.streams.get_mut(&context).unwrap();
            stream.response = list(headers);
            let details = details.as_bytes().to_vec();
            stream
                .properties
                .insert("response.code_details".to_owned(), details);
        });
        self.on_stream(context, |http| http.on_http_response_headers(0, false))
    }

    fn end(&mut self, context: ContextId, flags: u64) {
        self.worker.host.with(|state| {
            let stream = state.streams.get_mut(&context).unwrap();
            let flags = flags.to_le_bytes().to_vec();
            stream.properties.insert("response.flags".to_owned(), flags);
        });
        self.on_stream(context, |http| http.on_log());
        self.on_stream(context, |http| assert!(http.on_done()));
        self.worker
            .host
            .with(|state| state.streams.remove(&context));
        self.contexts.remove(&context);
    }

    fn tick(&mut self) {
        self.worker
            .host
            .with(|state| state.now += Duration::from_secs(1));
        self.callback(ROOT, |proxy| proxy.root.on_tick());
    }

    /// A session on its way to the instance.
    fn placed(&mut self, context: ContextId) -> String {
        let action = self.request(context, "berth/web", authorized("/sign_in"));
        assert_eq!(action, Action::Pause);
        let session = self.last_call("Acquire").read::<proto::AcquireRequest>();
        self.answer_acquire(grant(context.0.into()));
        assert!(self.stream(context).resumed);
        session.session
    }

    fn live(&mut self, context: ContextId) -> String {
        let session = self.placed(context);
        let action = self.response(context, "via_upstream", &[(":status", "101")]);
        assert_eq!(action, Action::Continue);
        session
    }

    fn stream(&self, context: ContextId) -> FakeStream {
        self.worker
            .host
            .with(|state| state.streams.get(&context).unwrap().clone())
    }

    fn reply(&self, context: ContextId) -> Reply {
        self.stream(context).reply.unwrap()
    }

    fn calls(&self) -> Vec<SentCall> {
        self.worker.host.with(|state| state.calls.clone())
    }

    fn last_call(&self, method: &str) -> SentCall {
        let calls = self.calls();
        let last = calls.iter().rfind(|call| call.method == method);
        last.unwrap().clone()
    }

    fn last_sync(&self) -> proto::SyncRequest {
        self.last_call("Sync").read()
    }
}

/// The status, reason and `Retry-After` of a refusal, whose header and body must say the same.
fn refusal(reply: &Reply) -> (u16, &str, Option<&str>) {
    let header = |name: &str| reply.headers.get(name).map(String::as_str);
    let reason = header("x-berth-reason").unwrap();
    let retry_after = header("retry-after");
    assert_eq!(header("content-type"), Some("application/json"));
    assert_eq!(header("cache-control"), Some("no-store"));
    assert_eq!(reply.body["reason"], json!(reason));
    assert_eq!(reply.body["status"], json!(reply.status));
    let seconds = reply.body["retry_after_seconds"].as_u64();
    assert_eq!(seconds.map(|s| s.to_string()).as_deref(), retry_after);
    (reply.status, reason, retry_after)
}
