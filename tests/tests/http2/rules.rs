//! Requests that keep to the rules and that do not, beside a session on the same connection.

use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderMap, Method, Request};
use berth_tests::{Family, Seen, World, wait_until};
use h2::client::{ResponseFuture, SendRequest};
use h2::ext::Protocol;
use h2::{RecvStream, SendStream};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::SOON;

/// What comes of a request.
#[derive(Debug, PartialEq)]
enum Outcome {
    Session,
    Answer(u16, Option<String>),
    /// Its stream is reset, without a word.
    Reset,
}

/// An HTTP/2 connection on which anything can be asked.
struct Raw(SendRequest<Bytes>);

impl Raw {
    async fn open(world: &World) -> Self {
        let connection = world.dial().protocol("h2").open(SOON).await.unwrap();
        assert_eq!(connection.protocol(), Some("h2"));
        let (requests, connection) = h2::client::handshake(connection.into_stream())
            .await
            .unwrap();
        tokio::spawn(connection);
        Self(requests)
    }

    async fn ask(&self, request: &Asked) -> (ResponseFuture, SendStream<Bytes>) {
        let url = format!("https://localhost{}", request.path);
        let mut head = Request::builder().method(&request.method).uri(url);
        for (name, value) in &request.headers {
            head = head.header(name, value);
        }
        let mut head = head.body(()).unwrap();
        if let Some(protocol) = request.protocol {
            head.extensions_mut()
                .insert(Protocol::from_static(protocol));
        }
        let mut requests = self.0.clone().ready().await.unwrap();
        requests.send_request(head, request.is_whole).unwrap()
    }

    async fn outcome(&self, request: &Asked) -> (Outcome, HeaderMap) {
        let (answer, _sending) = self.ask(request).await;
        let Ok(answer) = timeout(SOON, answer).await.unwrap() else {
            return (Outcome::Reset, HeaderMap::new());
        };
        let (head, body) = answer.into_parts();
        if request.protocol.is_some() && head.status == 200 {
            return (Outcome::Session, head.headers);
        }
        let body = read(body).await;
        let said: Value = serde_json::from_slice(&body).unwrap_or_default();
        let reason = head.headers.get("x-berth-reason");
        let reason = reason.map(|reason| reason.to_str().unwrap().to_owned());
        assert_eq!(said["reason"].as_str(), reason.as_deref(), "{said}");
        let answer = Outcome::Answer(head.status.as_u16(), reason);
        (answer, head.headers)
    }
}

async fn read(mut body: RecvStream) -> Vec<u8> {
    let mut read = Vec::new();
    while let Some(bytes) = timeout(SOON, body.data()).await.unwrap() {
        read.extend_from_slice(&bytes.unwrap());
    }
    read
}

/// A request as it is sent.
struct Asked {
    method: Method,
    protocol: Option<&'static str>,
    path: String,
    headers: Vec<(String, String)>,
    /// Whether it says at once that nothing follows.
    is_whole: bool,
}

impl Asked {
    fn with(method: Method, path: &str) -> Self {
        Self {
            method,
            protocol: None,
            path: path.to_owned(),
            headers: Vec::new(),
            is_whole: true,
        }
    }

    fn websocket(path: &str) -> Self {
        Self {
            protocol: Some("websocket"),
            is_whole: false,
            ..Self::with(Method::CONNECT, path)
        }
        .header("sec-websocket-version", "13")
    }

    fn protocol(self, name: &'static str) -> Self {
        Self {
            protocol: Some(name),
            ..self
        }
    }

    fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    fn whole(self) -> Self {
        Self {
            is_whole: true,
            ..self
        }
    }
}

async fn world(instances: u16) -> World {
    World::builder()
        .pool("web", Family::Web, |pool| pool.instances(instances))
        .admission(json!({
            "origins": [APP],
            "carriers": ["authorization", { "query": "token" }, { "cookie": "session" }],
        }))
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_is_asked_beside_a_session_ends_it() {
    use Outcome::{Answer, Reset, Session};
    let world = world(2).await;
    let token = world.token().sign().unwrap();
    let good = format!("/web/sign_in?token={token}");
    let get = || Asked::with(Method::GET, &good);
    let websocket = || Asked::websocket(&good);
    let bare = Asked::with(Method::GET, "/web/sign_in");
    let many = (0..101).fold(get(), |asked, n| asked.header(&format!("a{n}"), "b"));
    let large = (0..5).fold(get(), |asked, n| {
        asked.header(&format!("a{n}"), &"x".repeat(15_000))
    });
    let preflight = Asked::with(Method::OPTIONS, "/web/sign_in")
        .header("origin", APP)
        .header("access-control-request-method", "GET");
    // RFC 9113 §8.2.3: a cookie a header.
    let cookies = Asked::with(Method::GET, "/web/sign_in")
        .header("cookie", "a=b")
        .header("cookie", &format!("session={token}"))
        .header("cookie", "c=d");
    let refused = |status, reason: &str| Answer(status, Some(reason.to_owned()));
    #[rustfmt::skip] // one case a line
    let cases = [
        ("a verdict", get(), Answer(200, None)),
        ("a verdict, by one of several cookies", cookies, Answer(200, None)),
        ("no token", bare, refused(401, "no_token")),
        ("a preflight", preflight, Answer(204, None)),
        ("a POST", Asked::with(Method::POST, &good), refused(405, "method_not_allowed")),
        ("another path", Asked::with(Method::GET, "/nowhere"), refused(404, "not_found")),
        ("the landing page", Asked::with(Method::GET, "/"), Answer(200, None)),
        ("a session", websocket(), Session),
        ("a session, spelt otherwise", websocket().protocol("WebSocket"), Session),
        ("a session from a page", websocket().header("origin", APP), Session),
        ("a session from another page", websocket().header("origin", ELSE), refused(403, "origin_forbidden")),
        ("a session without a token", Asked::websocket("/web/sign_in"), refused(401, "no_token")),
        ("a session that is over before it begins", websocket().whole(), refused(503, "cancelled")),
        ("a tunnel", Asked { is_whole: false, ..Asked::with(Method::CONNECT, &good) }, refused(404, "not_found")),
        ("a tunnel of datagrams", websocket().protocol("connect-udp"), refused(404, "not_found")),
        ("101 headers", many, Reset),
        ("headers of 75 kB", large, Reset),
        // Envoy takes no more requests on this connection then.
        ("an upgrade to something else", websocket().protocol("tls"), refused(400, "bad_request")),
    ];
    let raw = Raw::open(&world).await;
    let bob = world.token().subject("bob").sign().unwrap();
    let bobs = Asked::websocket(&format!("/web/sign_in?token={bob}"));
    let (answer, mut sending) = raw.ask(&bobs).await;
    let answer = timeout(SOON, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    let mut receiving = answer.into_body();
    for (name, request, expected) in cases {
        let (outcome, headers) = raw.outcome(&request).await;
        assert_eq!(outcome, expected, "{name}: {headers:?}");
        let origin = request.headers.iter().find(|(name, _)| name == "origin");
        let may_read = origin.is_some_and(|(_, origin)| origin == APP);
        let allowed = headers.get("access-control-allow-origin").is_some();
        assert_eq!(
            allowed,
            may_read && outcome != Session,
            "{name}: {headers:?}"
        );

        sending.send_data(Bytes::from_static(HI), false).unwrap();
        let echoed = timeout(SOON, receiving.data()).await.unwrap();
        assert_eq!(&*echoed.unwrap().unwrap(), b"\x81\x02hi", "{name}");
        if outcome == Session {
            // It was dropped.
            let left = async || {
                let sessions = world.berth().sessions().await?;
                let only_bobs = sessions.iter().all(|session| session.subject == "bob");
                Ok(Seen::when(only_bobs, format!("{sessions:?}")))
            };
            wait_until("the other session to end", SOON, left)
                .await
                .unwrap();
        }
    }
}

/// As with a FIN on a connection; but Envoy does not say so while the request is held.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_ends_while_it_waits_keeps_no_instance() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(1).queue(1).hold(Duration::from_secs(15))
        })
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let bob = world.client("web").unwrap().subject("bob");
    let bob = bob.connect().await.unwrap();
    let path = format!("/web/sign_in?token={}", world.token().sign().unwrap());
    let raw = Raw::open(&world).await;
    let (answer, mut sending) = raw.ask(&Asked::websocket(&path)).await;
    let waits = async || {
        let sessions = world.berth().sessions().await?;
        let waits = sessions.iter().any(|session| session.state == "waiting");
        Ok(Seen::when(waits, format!("{sessions:?}")))
    };
    wait_until("a request to wait", SOON, waits).await.unwrap();
    sending.send_data(Bytes::new(), true).unwrap();
    bob.close(1000, "").await.unwrap();
    let answer = timeout(SOON, answer).await.unwrap().unwrap();
    assert_eq!(answer.status(), 200);
    // Both halves of its stream are still here, and so is its connection.
    world.berth().wait_until_free("web-1", SOON).await.unwrap();
    drop((answer, sending, raw));
}

const APP: &str = "https://app.example.com";
const ELSE: &str = "https://else.example";

/// A text frame (RFC 6455 §5.2) whose mask changes nothing.
const HI: &[u8] = b"\x81\x82\0\0\0\0hi";
