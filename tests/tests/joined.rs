//! An Envoy that has listeners and routes of its own lets sessions in beside them.
#![cfg(test)]

use std::time::Duration;

use berth_client::{Family, Message};
use berth_tests::raw::Answer;
use berth_tests::{World, WorldBuilder, raw};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn its_own_routes_answer_as_before() {
    let world = joined().start().await.unwrap();
    let long = "x".repeat(55 * 1024);
    let cases: &[Request<'_>] = &[
        ("GET", "/", &[]),
        ("GET", "/web/sign_out", &[]),
        ("GET", "/a/b/sign_in", &[]),
        ("GET", "/rtsp/more", &[]),
        ("POST", "/upload?token=theirs", &[("content-length", "0")]),
        ("DELETE", "/%ff", &[]),
        (
            "OPTIONS",
            "/",
            &[
                ("origin", "https://app.example.com"),
                ("access-control-request-method", "GET"),
            ],
        ),
        ("GET", "/", &[("authorization", "Bearer theirs")]),
        ("GET", "/", &[("authorization", "Basic YTpi")]),
        (
            "GET",
            "/",
            &[("sec-websocket-protocol", "authorization.bearer.theirs")],
        ),
        ("GET", "/", &[("berth-resume-key", "a b")]),
        (
            "GET",
            "/",
            &[
                ("x-berth-cluster", "web"),
                ("x-berth-endpoint", "MTI3LjAuMC4xMDox"),
            ],
        ),
        ("GET", "/", &[("x-berth-endpoint", "no base64!")]),
        ("GET", "/", &[("x-berth-reason", "internal")]),
        ("GET", "/", &[("padding", &long)]),
        (
            "GET",
            "/chat",
            &[("connection", "Upgrade"), ("upgrade", "websocket")],
        ),
    ];
    for (method, path, headers) in cases {
        let answer = ask(&world, method, path, headers).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "not CloudXR\n"),
            "{method} {path} {answer:?}"
        );
        assert_eq!(answer.header("x-berth-reason"), None, "{method} {path}");
    }

    // And go on so with the control plane away, and in an Envoy that starts then.
    world.berth().kill().await.unwrap();
    assert_eq!(ask(&world, "GET", "/", &[]).await.status, 200);
    world.envoy(0).unwrap().restart().await.unwrap();
    assert_eq!(ask(&world, "GET", "/", &[]).await.status, 200);
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_the_filter_is_not_disabled_for_are_left_alone_too() {
    let template = template();
    let (before, rest) = template.split_once(DISABLED_FROM).unwrap();
    let (_, after) = rest.split_once(DISABLED_TO).unwrap();
    let enabled = format!("{}\n{after}", before.trim_end());
    let world = joined().bootstrap(&enabled).start().await.unwrap();
    let forged = [
        ("x-berth-cluster", "web"),
        ("x-berth-endpoint", "no base64!"),
    ];
    for headers in [&forged[..0], &forged] {
        let answer = ask(&world, "GET", "/", headers).await;
        assert_eq!(
            (answer.status, answer.body.as_str()),
            (200, "not CloudXR\n")
        );
    }
    for instance in world.instances() {
        assert_eq!(instance.requests(), 0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_both_families_are_admitted_placed_and_refused() {
    let world = joined().start().await.unwrap();
    for pool in ["web", "native"] {
        let client = world
            .client(pool)
            .unwrap()
            .header("x-berth-cluster", "else");
        let mut session = client.connect().await.unwrap();
        session.send(Message::text("hello")).await.unwrap();
        assert_eq!(
            session.receive_data().await.unwrap(),
            Message::text("hello"),
            "{pool}"
        );
        let headers = format!("{:?}", session.response_headers());
        assert!(
            !headers.contains("127.0.0.") && !headers.contains("x-berth"),
            "{headers}"
        );
        let record = world
            .instance(&format!("{pool}-1"))
            .unwrap()
            .records()
            .pop()
            .unwrap();
        let seen = format!("{} {:?}", record.path_and_query, record.headers);
        assert!(
            !seen.contains("token") && !seen.contains("x-berth"),
            "{pool}: {seen}"
        );

        let refusal = world.client(pool).unwrap().refusal().await.unwrap();
        assert_eq!(
            (refusal.status, refusal.reason()),
            (503, Some("no_instance")),
            "{pool}"
        );
        let refusal = client.without_token().refusal().await.unwrap();
        assert_eq!(
            (refusal.status, refusal.reason()),
            (401, Some("no_token")),
            "{pool}"
        );

        session.close(1000, "").await.unwrap();
        let name = format!("{pool}-1");
        world.berth().wait_until_free(&name, SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_shares_its_instances_with_envoys_that_did_not_join() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .joined_envoys(1)
        .start()
        .await
        .unwrap();
    let joined = world.envoy(1).unwrap();
    for pool in ["web", "native"] {
        let by_joined = || world.client(pool).unwrap().by(joined);
        let by_other = || world.client(pool).unwrap();
        for (first, second) in [(by_joined(), by_other()), (by_other(), by_joined())] {
            let session = first.connect().await.unwrap();
            let late = second.refusal().await.unwrap();
            assert_eq!(
                (late.status, late.reason()),
                (503, Some("no_instance")),
                "{pool}"
            );
            session.close(1000, "").await.unwrap();
            let name = format!("{pool}-1");
            world.berth().wait_until_free(&name, SOON).await.unwrap();
        }
    }
}

/// Method, path and headers.
type Request<'a> = (&'a str, &'a str, &'a [(&'a str, &'a str)]);

fn joined() -> WorldBuilder {
    World::builder()
        .pool("web", Family::Web, |pool| pool)
        .pool("native", Family::Native, |pool| pool)
        .bootstrap(&template())
}

fn template() -> String {
    berth_tests::join_template().unwrap()
}

async fn ask(world: &World, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str("\r\n");
    let mut connection: raw::Connection = world.raw().await.unwrap();
    connection.write(request.as_bytes()).await.unwrap();
    connection.answer(SOON).await.unwrap()
}

/// What disables the filter on a route of the template begins so, ...
const DISABLED_FROM: &str = "typed_per_filter_config:";
/// ... and ends so.
const DISABLED_TO: &str = "disabled: true\n";
