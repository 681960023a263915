//! A real browser: what its pages can send, and what they get to read.
#![cfg(test)]

use std::time::Duration;

use axum::body::Bytes;
use axum::response::Html;
use axum::routing::{get, post};
use axum::{Json, Router};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use berth_tests::browser::Browser;
use berth_tests::{Family, World};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::time::timeout;

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opens_sessions_and_reads_verdicts_if_it_may() {
    let Some(chromium) = Browser::found() else {
        eprintln!("skipped: there is no chromium; `./just browser` installs it");
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    // The same page, by two names: that makes it two pages.
    let origins = ["localhost", "127.0.0.1"].map(|host| format!("http://{host}:{port}"));
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
fn serve(listener: TcpListener, plan: Value) -> UnboundedReceiver<Value> {
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

/// What an application offers besides its credential.
const PROTOCOL: &str = "x-nv-sessionid.1";
/// A browser takes seconds to start.
const PATIENCE: Duration = Duration::from_secs(60);
