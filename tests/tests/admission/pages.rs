//! Web pages that ask, and what their browsers are told (Fetch standard, "CORS protocol").

use std::time::Duration;

use berth_client::Family;
use berth_runtime_emulator::Fault;
use berth_tests::raw::{Answer, upgrade_request};
use berth_tests::{World, WorldBuilder};
use serde_json::json;

use crate::{SOON, counter};

const APP: &str = "https://app.example.com";
const LAB: &str = "https://7.lab.example.com:8443";
const ELSE: &str = "https://app.example.com.else.example";

fn world() -> WorldBuilder {
    let origins = json!({ "origins": [APP, "https://*.lab.example.com:8443"] });
    World::builder().web_instances(1).admission(origins)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_may_ask_can_read_the_answer_and_no_other_can() {
    let world = world().start().await.unwrap();
    let token = world.token().sign().unwrap();
    let good = format!("/web/sign_in?token={token}");
    let cases = [
        (good.as_str(), 200, None),
        ("/web/sign_in", 401, Some("no_token")),
        ("/nowhere/sign_in?token=a.b.c", 401, Some("malformed_token")),
    ];
    for (path, status, reason) in cases {
        for origin in [Some(APP), Some(LAB), None] {
            let answer = get(&world, path, origin).await;
            let context = format!("{path} {origin:?} {answer:?}");
            assert_eq!(answer.status, status, "{context}");
            assert_eq!(answer.header("x-berth-reason"), reason, "{context}");
            let allowed = answer.header("access-control-allow-origin");
            assert_eq!(allowed, origin, "{context}");
            assert_eq!(answer.header("vary"), origin.map(|_| "origin"), "{context}");
            let exposed = answer.header("access-control-expose-headers");
            let exposed = exposed.unwrap_or_default();
            for name in ["x-berth-reason", "retry-after", "www-authenticate"] {
                assert_eq!(exposed.contains(name), origin.is_some(), "{context}");
            }
            // Only cookies need that, and none is read.
            let credentials = answer.header("access-control-allow-credentials");
            assert_eq!(credentials, None, "{context}");
        }
        for origin in [ELSE, "null", "http://app.example.com"] {
            let answer = get(&world, path, Some(origin)).await;
            refused(&answer, path);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_may_not_ask_gets_no_session() {
    let world = world().start().await.unwrap();
    let path = format!("/web/sign_in?token={}", world.token().sign().unwrap());
    let refusal = upgrade(&world, &path, ELSE).await;
    refused(&refusal, "an upgrade");
    assert_eq!(world.instance("web-1").unwrap().requests(), 0);
    assert_eq!(upgrade(&world, &path, LAB).await.status, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_that_asks_whether_a_page_may_ask_is_told() {
    let world = world()
        .admission(json!({ "carriers": [
            "authorization", { "query": "token" }, { "header": { "name": "x-key" } }, { "cookie": "session" },
        ] }))
        .start()
        .await
        .unwrap();
    let preflight = async |origin: &str, more: &str| {
        let head = format!(
            "OPTIONS /web/sign_in HTTP/1.1\r\nhost: localhost\r\norigin: {origin}\r\n\
             access-control-request-method: GET\r\naccess-control-request-headers: x-key\r\n{more}\r\n"
        );
        ask(&world, &head).await
    };
    let answer = preflight(APP, "").await;
    let context = format!("{answer:?}");
    assert_eq!(
        (answer.status, answer.body.as_str()),
        (204, ""),
        "{context}"
    );
    let methods = answer.header("access-control-allow-methods");
    assert_eq!(methods, Some("GET"), "{context}");
    let headers = answer.header("access-control-allow-headers").unwrap();
    for name in ["authorization", "x-key", "berth-resume-key", "x-region"] {
        assert!(headers.contains(name), "{name}: {context}");
    }
    assert!(
        answer.header("access-control-max-age").is_some(),
        "{context}"
    );
    let of_the_page = [
        ("access-control-allow-origin", Some(APP)),
        ("access-control-allow-credentials", Some("true")),
        ("access-control-allow-private-network", None),
        ("vary", Some("origin")),
    ];
    for (name, value) in of_the_page {
        assert_eq!(answer.header(name), value, "{name}: {context}");
    }
    let answer = preflight(LAB, "access-control-request-private-network: true\r\n").await;
    let allowed = answer.header("access-control-allow-private-network");
    assert_eq!((answer.status, allowed), (204, Some("true")), "{answer:?}");
    refused(&preflight(ELSE, "").await, "a preflight");

    // Without what makes it a preflight it is a method like another.
    let options = "OPTIONS /web/sign_in HTTP/1.1\r\nhost: localhost\r\n\r\n";
    assert_eq!(ask(&world, options).await.status, 405);
    // Nobody has tried anything.
    assert_eq!(counter(&world, "attempts.limited").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_list_every_page_may_ask() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let answer = get(&world, "/web/sign_in", Some(ELSE)).await;
    let allowed = answer.header("access-control-allow-origin");
    assert_eq!((answer.status, allowed), (401, Some("*")), "{answer:?}");
    let path = format!("/web/sign_in?token={}", world.token().sign().unwrap());
    assert_eq!(upgrade(&world, &path, ELSE).await.status, 101);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_answers_by_itself_can_be_read_too() {
    let world = world()
        // No probe may notice that the instance is gone.
        .pool("web", Family::Web, |pool| pool.probe(SOON, 1, u8::MAX))
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let path = || format!("/web/sign_in?token={}", world.token().sign().unwrap());
    let instance = world.instance("web-1").unwrap();
    instance.set_fault(Fault::HangBeforeUpgrade);
    let late = upgrade(&world, &path(), APP).await;
    world.berth().wait_until_free("web-1", SOON).await.unwrap();
    instance.kill().await;
    let gone = upgrade(&world, &path(), APP).await;
    for (answer, reason) in [(late, "instance_timeout"), (gone, "instance_unreachable")] {
        assert_eq!(answer.header("x-berth-reason"), Some(reason), "{answer:?}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, Some(APP), "{answer:?}");
        let exposed = answer.header("access-control-expose-headers").unwrap();
        assert!(exposed.contains("x-berth-reason"), "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_root_is_a_page_for_people() {
    let world = world().start().await.unwrap();
    for path in ["/", "/?from=here"] {
        let answer = get(&world, path, Some(ELSE)).await;
        let context = format!("{answer:?}");
        assert_eq!(answer.status, 200, "{context}");
        let kind = answer.header("content-type");
        assert_eq!(kind, Some("text/html; charset=utf-8"), "{context}");
        assert!(answer.body.contains("CloudXR gateway"), "{context}");
        // It has no script, and no other page may use it.
        let policy = answer.header("content-security-policy").unwrap();
        assert!(policy.contains("default-src 'none'"), "{context}");
        let allowed = answer.header("access-control-allow-origin");
        assert_eq!(allowed, None, "{context}");
    }
    assert_eq!(get(&world, "/index.html", None).await.status, 404);
}

/// A refusal for the page that asks, which it cannot read.
#[track_caller]
fn refused(answer: &Answer, what: &str) {
    let context = format!("{what}: {answer:?}");
    assert_eq!(answer.status, 403, "{context}");
    let reason = answer.header("x-berth-reason");
    assert_eq!(reason, Some("origin_forbidden"), "{context}");
    assert_eq!(answer.header("vary"), Some("origin"), "{context}");
    let mut names = answer.headers.iter().map(|(name, _)| name);
    let told = names.any(|name| name.starts_with("access-control-"));
    assert!(!told, "{context}");
}

async fn get(world: &World, path: &str, origin: Option<&str>) -> Answer {
    let origin = origin.map(|origin| format!("origin: {origin}\r\n"));
    let origin = origin.unwrap_or_default();
    ask(
        world,
        &format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{origin}\r\n"),
    )
    .await
}

async fn upgrade(world: &World, path: &str, origin: &str) -> Answer {
    let mut connection = world.raw().await.unwrap();
    let request = upgrade_request(path.as_bytes(), &[("origin", origin.as_bytes())]);
    connection.write(&request).await.unwrap();
    connection.answer(SOON).await.unwrap()
}

async fn ask(world: &World, head: &str) -> Answer {
    let mut connection = world.raw().await.unwrap();
    connection.write(head.as_bytes()).await.unwrap();
    connection.answer(SOON).await.unwrap()
}
