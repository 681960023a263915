//! A real browser: what its pages can send, and what they get to read.
#![cfg(test)]

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Bytes;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use berth_tests::browser::Browser;
use berth_tests::{Certificates, Family, World};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opens_sessions_and_reads_verdicts_if_it_may() {
    let Some(chromium) = Browser::found() else {
        eprintln!("skipped: there is no chromium; `./just browser` installs it");
        return;
    };
    let listener = TlsListener::bind().await;
    let port = listener.tcp.local_addr().unwrap().port();
    // The same page, by two names: that makes it two pages.
    let origins = ["localhost", "127.0.0.1"].map(|host| format!("https://{host}:{port}"));
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.instances(4))
        .admission(json!({
            "origins": origins[..1],
            "carriers": [
                "authorization",
                { "query": "token" },
                { "cookie": "session" },
                { "subprotocol": "authorization.bearer." },
                { "subprotocol": "authorization." },
                { "subprotocol_base64url": "base64url.bearer.authorization." },
            ],
        }))
        .start()
        .await
        .unwrap();
    let steps = steps(&world);
    let plan = json!({ "origins": origins, "steps": steps.iter().map(|step| &step.plan).collect::<Vec<_>>() });
    let mut results = serve(listener, plan);
    let before = asked(&world).await;
    let browser = Browser::open(&chromium, &origins[0], world.folder()).unwrap();
    for (origin, may_ask) in origins.iter().zip([true, false]) {
        let told = timeout(PATIENCE, results.recv()).await;
        browser.check().unwrap();
        let told = told.unwrap().unwrap();
        assert_eq!(told["origin"], origin.as_str());
        for Step { plan, result } in &steps {
            let name = plan["name"].as_str().unwrap();
            let refused = if plan["socket"].is_string() {
                "closed"
            } else {
                "TypeError"
            };
            let expected = if may_ask {
                result.clone()
            } else {
                refused.into()
            };
            assert_eq!(told["results"][name], expected, "{name}, by {origin}");
        }
    }
    // A browser opens a WebSocket in a connection that it has, if that takes any (RFC 8441 §3); else in one of HTTP/1.1.
    let after = asked(&world).await;
    assert_eq!(after[0], before[0], "by HTTP/1.1");
    // And preflights.
    let by_pages = (steps.len() * origins.len()) as u64;
    assert!(after[1] >= before[1] + by_pages, "{before:?} {after:?}");
    let records = world
        .instances()
        .into_iter()
        .flat_map(|instance| instance.records());
    let records: Vec<_> = records.collect();
    let opened = steps
        .iter()
        .filter(|step| step.result["echoed"].is_string());
    assert_eq!(records.len(), opened.count());
    assert!(!format!("{records:?}").contains("eyJ"), "{records:?}");
}

/// How many requests came by HTTP/1.1, and how many by HTTP/2.
async fn asked(world: &World) -> [u64; 2] {
    let mut asked = [0; 2];
    for (version, asked) in ["http1", "http2"].iter().zip(&mut asked) {
        let name = format!("http.berth.downstream_rq_{version}_total");
        let count = world.envoy(0).unwrap().stat(&name).await.unwrap();
        *asked = count.unwrap();
    }
    asked
}

/// What the page does, and what comes of it if it may ask.
struct Step {
    plan: Value,
    result: Value,
}

fn steps(world: &World) -> Vec<Step> {
    let at = format!("localhost:{}/web/sign_in", world.https().port());
    let (socket, url) = (format!("wss://{at}?client_type=6"), format!("https://{at}"));
    let token = world.token().sign().unwrap();
    let expired = world.token().expired().sign().unwrap();
    let encoded = BASE64_URL_SAFE_NO_PAD.encode(&token);
    let open = |name: &str, protocol: String| Step {
        plan: json!({ "name": name, "socket": socket, "protocols": [protocol, PROTOCOL] }),
        result: json!({ "echoed": "hello", "protocol": PROTOCOL }),
    };
    let by_cookie =
        json!({ "name": "a cookie", "socket": socket, "cookie": format!("session={token}") });
    let by_query = json!({ "name": "the query", "socket": format!("{socket}&token={token}") });
    let expired_socket = json!({
        "name": "an expired token", "socket": socket, "protocols": [format!("authorization.{expired}"), PROTOCOL],
    });
    let bearer = |token: &str| json!({ "authorization": format!("Bearer {token}") });
    let admitted = json!({ "status": 200, "verdict": "admitted", "header": null });
    let refused = |reason: &str| json!({ "status": 401, "verdict": "refused", "reason": reason, "header": reason });
    vec![
        // Whoever asks first has a connection for what follows.
        Step {
            plan: json!({ "name": "first", "fetch": url }),
            result: refused("no_token"),
        },
        open("a subprotocol", format!("authorization.bearer.{token}")),
        open("NVCF's subprotocol", format!("authorization.{token}")),
        open(
            "Kubernetes' subprotocol",
            format!("base64url.bearer.authorization.k8s.io.{encoded}"),
        ),
        Step {
            plan: by_cookie,
            result: json!({ "echoed": "hello", "protocol": "" }),
        },
        Step {
            plan: by_query,
            result: json!({ "echoed": "hello", "protocol": "" }),
        },
        // All that a page learns of a refused upgrade, ...
        Step {
            plan: expired_socket,
            result: "closed".into(),
        },
        // ... which is why it asks by a plain GET.
        Step {
            plan: json!({ "name": "why", "fetch": format!("{url}?token={expired}") }),
            result: refused("token_expired"),
        },
        Step {
            plan: json!({ "name": "nothing", "fetch": url }),
            result: refused("no_token"),
        },
        // A header of this name has the browser ask first whether the page may send it.
        Step {
            plan: json!({ "name": "a header", "fetch": url, "headers": bearer(&token) }),
            result: admitted.clone(),
        },
        Step {
            plan: json!({ "name": "a cookie, by GET", "fetch": url, "cookie": format!("session={token}") }),
            result: admitted,
        },
    ]
}

/// Serves the page, and says what it tells.
fn serve(listener: TlsListener, plan: Value) -> UnboundedReceiver<Value> {
    let (told, results) = unbounded_channel();
    let tell = move |body: Bytes| async move {
        let _ = told.send(serde_json::from_slice(&body).unwrap_or_default());
    };
    let pages = Router::new()
        .route("/", get(|| async { Html(include_str!("page.html")) }))
        .route("/plan", get(move || async { Json(plan) }))
        .route("/results", post(tell));
    tokio::spawn(async { axum::serve(listener, pages).await });
    results
}

/// Cookies go to a gateway only from a page that came by TLS as well.
struct TlsListener {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl TlsListener {
    async fn bind() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let certificates = Certificates::load_or_create(folder.path()).unwrap();
        let chain = CertificateDer::from_pem_file(certificates.chain).unwrap();
        let key = PrivateKeyDer::from_pem_file(certificates.private_key).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![chain], key)
            .unwrap();
        Self {
            tcp: TcpListener::bind("127.0.0.1:0").await.unwrap(),
            tls: Arc::new(config).into(),
        }
    }
}

impl axum::serve::Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, from) = self.tcp.accept().await.unwrap();
            // A browser may connect in advance, and say nothing.
            if let Ok(Ok(stream)) = timeout(HANDSHAKE, self.tls.accept(stream)).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.tcp.local_addr()
    }
}

/// What an application offers besides its credential.
const PROTOCOL: &str = "x-nv-sessionid.1";
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A browser takes seconds to start.
const PATIENCE: Duration = Duration::from_secs(60);
