//! Every refusal by its status, its reason and its headers; and as JSON to a plain GET.
#![cfg(test)]

use std::time::Duration;

use berth_client::{Carrier, Family, Response};
use berth_runtime_emulator::Fault;
use berth_tests::cases::{Credential, REFUSALS, Refusal, Request, Situation};
use berth_tests::{ClientBuilder, Error, SecondDevice, World, raw};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn of_the_request_itself() {
    let world = world().await;
    for case in cases(Situation::Quiet) {
        refused(&world, case).await;
    }
    for instance in world.instances() {
        assert_eq!(
            instance.requests(),
            0,
            "a refused request came to an instance"
        );
    }
    assert_eq!(world.berth().sessions().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_full_pool() {
    let world = world().await;
    let web = world.client("web").unwrap().connect().await.unwrap();
    let native = world.client("native").unwrap().connect().await.unwrap();
    for case in cases(Situation::Full) {
        refused(&world, case).await;
    }
    for instance in world.instances() {
        assert_eq!(instance.requests(), 1);
    }
    drop((web, native));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_second_device() {
    let world = World::builder()
        .native_instances(1)
        .pool("web", Family::Web, |pool| {
            pool.instances(2).second_device(SecondDevice::Refuse)
        })
        .start()
        .await
        .unwrap();
    let first = world
        .client("web")
        .unwrap()
        .subject("alice")
        .connect()
        .await
        .unwrap();
    for case in cases(Situation::SecondDevice) {
        refused(&world, case).await;
    }
    drop(first);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_instances_that_fail() {
    let world = World::builder()
        .native_instances(1)
        // No probe may notice: what is shown here is what a request meets before one does.
        .pool("web", Family::Web, |pool| {
            pool.instances(1).probe(SOON, 1, u8::MAX)
        })
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let instance = world.instance("web-1").unwrap();
    for (situation, fault) in [
        (Situation::InstanceRefusesUpgrade, Fault::RefuseUpgrade),
        (Situation::InstanceHangs, Fault::HangBeforeUpgrade),
    ] {
        instance.set_fault(fault);
        for case in cases(situation) {
            refused(&world, case).await;
            world.berth().wait_until_free("web-1", SOON).await.unwrap();
        }
    }
    instance.set_fault(Fault::None);
    instance.kill().await;
    for case in cases(Situation::InstanceGone) {
        refused(&world, case).await;
        world.berth().wait_until_free("web-1", SOON).await.unwrap();
    }
    world.restart_instance("web-1").await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_control_plane_that_is_away() {
    let world = world().await;
    world.berth().kill().await.unwrap();
    for case in cases(Situation::ControlPlaneAway) {
        refused(&world, case).await;
    }
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_request_that_a_newer_one_of_its_user_displaces() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(1).hold(Duration::from_secs(8));
            pool.settle(Duration::from_secs(4))
        })
        .start()
        .await
        .unwrap();
    let alice = world.client("web").unwrap().subject("alice");
    let _first = alice.connect().await.unwrap();
    // The next device waits for the first to be closed and the instance to settle.
    let (older, newer) = (alice.clone(), alice);
    let older = tokio::spawn(async move { older.refusal().await });
    berth_tests::wait_until("the older request to wait", SOON, async || {
        let sessions = world.berth().sessions().await?;
        Ok(berth_tests::Seen::when(
            sessions.iter().any(|session| session.state == "waiting"),
            format!("{sessions:?}"),
        ))
    })
    .await
    .unwrap();
    let newer = tokio::spawn(async move { newer.connect().await });
    check(
        "superseded",
        409,
        "superseded",
        &older.await.unwrap().unwrap(),
    );
    newer.await.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxys_own() {
    let world = world().await;
    let padding = "x".repeat(70_000);
    let many = "a: b\r\n".repeat(101);
    let get = "GET /web/sign_in HTTP/1.1\r\n";
    let post = "POST /web/sign_in HTTP/1.1\r\nhost: localhost\r\n";
    #[rustfmt::skip] // one case a line
    let cases = [
        ("headers of 70 kB", format!("{get}host: localhost\r\npadding: {padding}\r\n\r\n"), 431, "headers_too_large"),
        ("101 headers", format!("{get}host: localhost\r\n{many}\r\n"), 431, "headers_too_large"),
        ("no host", format!("{get}\r\n"), 400, "bad_request"),
        ("a header without a name", format!("{get}host: localhost\r\n: x\r\n\r\n"), 400, "bad_request"),
        ("an upgrade to something else", format!("{get}host: localhost\r\nconnection: upgrade\r\nupgrade: tls\r\n\r\n"), 400, "bad_request"),
        ("HTTP/1.0", "GET /web/sign_in HTTP/1.0\r\nhost: localhost\r\n\r\n".to_owned(), 400, "bad_request"),
        ("HTTP/2 where HTTP/1.1 was agreed on", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(), 400, "bad_request"),
        ("a tunnel", "CONNECT 127.0.0.10:49100 HTTP/1.1\r\nhost: 127.0.0.10:49100\r\n\r\n".to_owned(), 404, "not_found"),
        ("a body of no length", format!("{post}content-length: -1\r\n\r\n"), 400, "bad_request"),
        ("a body of two lengths", format!("{post}content-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"), 400, "bad_request"),
    ];
    for (name, request, status, reason) in cases {
        let dial = world.dial().protocol("http/1.1");
        let mut connection = dial.open(SOON).await.unwrap();
        // The answer may come, and the connection end, before all of it is written.
        let _unless_cut_off = connection.write(request.as_bytes()).await;
        let answer = connection.answer(SOON).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        check_raw(name, status, reason, &answer);
    }

    let mut connection = world.raw().await.unwrap();
    connection
        .write(b"GET /web/sign_in HTTP/1.1\r\nhost: localhost\r\n")
        .await
        .unwrap();
    let late = connection.answer(Duration::from_secs(20)).await.unwrap();
    check_raw("a request that never ends", 408, "request_timeout", &late);
}

/// One instance in each pool.
async fn world() -> World {
    World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap()
}

fn cases(situation: Situation) -> impl Iterator<Item = &'static Refusal> {
    REFUSALS
        .iter()
        .filter(move |case| case.situation == situation)
}

/// Checks the refusal of an upgrade, and, where the proxy or the control plane would refuse it too, that a plain
/// GET of the same URL says the same.
async fn refused(world: &World, case: &Refusal) {
    if case.request.method != "GET" {
        let answer = by_hand(world, &case.request).await.unwrap();
        return check_raw(case.name, case.status, case.reason, &answer);
    }
    let client = client(world, &case.request);
    let over_http2 = client.clone().http2();
    for (version, client) in [("HTTP/1.1", client), ("HTTP/2", over_http2)] {
        refused_by(version, client, case).await;
        if case.situation != Situation::ControlPlaneAway {
            // The next one is about the same, and not about what this one leaves behind for a moment.
            nobody_asks(world).await;
        }
    }
}

/// Waits until no request is under way: a refused one is, until its proxy has told of its end.
async fn nobody_asks(world: &World) {
    berth_tests::wait_until("nobody to ask", SOON, async || {
        let sessions = world.berth().sessions().await?;
        let over = sessions.iter().all(|session| session.state == "active");
        Ok(berth_tests::Seen::when(over, format!("{sessions:?}")))
    })
    .await
    .unwrap();
}

async fn refused_by(version: &str, client: ClientBuilder, case: &Refusal) {
    let name = format!("{}, over {version}", case.name);
    let refusal = client.refusal().await;
    let refusal = refusal.unwrap_or_else(|error| panic!("{name}: {error}"));
    check(&name, case.status, case.reason, &refusal);
    let of_the_instance = matches!(
        case.situation,
        Situation::InstanceRefusesUpgrade | Situation::InstanceHangs | Situation::InstanceGone
    );
    // A plain GET offers no subprotocols.
    if !of_the_instance && case.request.carrier != Carrier::Subprotocol {
        let verdict = client.verdict().await.unwrap();
        let name = format!("{name}, by GET");
        check(&name, case.status, case.reason, &verdict);
    }
}

/// A client that makes this request.
fn client(world: &World, request: &Request) -> ClientBuilder {
    let mut client = world
        .client(request.family.as_str())
        .unwrap()
        .path(request.path)
        .carrier(request.carrier);
    client = match request.credential {
        Credential::Absent => client.without_token(),
        Credential::Text(text) => client.credential(text),
        Credential::Token(change) => client.token(change(world.token())),
    };
    if let Some((carrier, text)) = request.also {
        client = client.and_credential(carrier, text);
    }
    for (name, value) in request.headers {
        client = client.header(name, value);
    }
    client
}

/// The request as bytes, for methods that no WebSocket client sends.
async fn by_hand(world: &World, request: &Request) -> Result<raw::Answer, Error> {
    let Credential::Token(change) = request.credential else {
        return Err(Error::Impossible(
            "a request by hand without a token".to_owned(),
        ));
    };
    let token = change(world.token()).sign()?;
    let (path, method) = (request.path, request.method);
    let head = match request.carrier {
        Carrier::Query => format!("{method} {path}&token={token} HTTP/1.1\r\n"),
        _ => format!("{method} {path} HTTP/1.1\r\nauthorization: Bearer {token}\r\n"),
    };
    let mut connection = world.raw().await?;
    connection
        .write(format!("{head}host: localhost\r\ncontent-length: 0\r\n\r\n").as_bytes())
        .await?;
    connection.answer(SOON).await
}

fn check(name: &str, status: u16, reason: &str, response: &Response) {
    let headers = response.headers.iter().map(|(name, value)| {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        (name.as_str().to_owned(), value)
    });
    let answer = raw::Answer {
        status: response.status,
        headers: headers.collect(),
        body: response.body.clone(),
    };
    check_raw(name, status, reason, &answer);
}

/// Everything a refusal has to be, whatever it is about.
fn check_raw(name: &str, status: u16, reason: &str, answer: &raw::Answer) {
    let context = format!("{name}: {answer:#?}");
    assert_eq!(answer.status, status, "{context}");
    assert_eq!(answer.header("x-berth-reason"), Some(reason), "{context}");
    assert_eq!(
        answer.header("content-type"),
        Some("application/json"),
        "{context}"
    );

    let challenge = answer.header("www-authenticate");
    assert_eq!(challenge.is_some(), status == 401, "{context}");
    if let Some(challenge) = challenge {
        // RFC 6750 §3.1: a request without a token is told no error.
        assert!(challenge.starts_with("Bearer"), "{context}");
        assert_eq!(
            challenge.contains(r#"error="invalid_token""#),
            reason != "no_token",
            "{context}"
        );
    }
    let retry_after = answer
        .header("retry-after")
        .map(|seconds| seconds.parse::<u32>().unwrap());
    assert_eq!(
        retry_after.is_some(),
        matches!(status, 429 | 503),
        "{context}"
    );
    assert!(retry_after.is_none_or(|seconds| seconds >= 1), "{context}");

    let body: Value =
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {context}"));
    assert_eq!(body.get("verdict"), Some(&"refused".into()), "{context}");
    assert_eq!(body.get("reason"), Some(&reason.into()), "{context}");
    assert_eq!(body.get("status"), Some(&status.into()), "{context}");
    assert!(
        body.get("message")
            .and_then(Value::as_str)
            .is_some_and(|text| !text.is_empty()),
        "{context}"
    );

    // Instances are on 127.0.0.10 and up, and the emulator answers under its own name.
    let said = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    assert!(
        !said.contains("127.0.0.1") && !said.contains("emulator"),
        "{context}"
    );
}
