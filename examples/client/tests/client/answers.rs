//! What a client makes of an answer, whoever gives it.

use berth_client::{ConnectError, HandshakeFault, Session, Target, connect, get};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Answers one request with these bytes, in which `{accept}` becomes what RFC 6455 wants, and closes.
/// Answers the request as it came.
async fn answered(answer: &str, ask: impl AsyncFnOnce(Target)) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = Target::new(&format!("ws://{}/sign_in", listener.local_addr().unwrap())).unwrap();
    let serve = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
        }
        let request = String::from_utf8(request).unwrap();
        let key = request
            .lines()
            .find_map(|line| line.strip_prefix("sec-websocket-key: "))
            .unwrap_or("");
        let answer = answer.replace("{accept}", &derive_accept_key(key.as_bytes()));
        stream.write_all(answer.as_bytes()).await.unwrap();
        request
    };
    let ((), request) = tokio::join!(ask(target), serve);
    request
}

async fn upgrade(answer: &str, offered: &[&str]) -> Result<Session, ConnectError> {
    let mut outcome = None;
    answered(answer, async |mut target| {
        for name in offered {
            target = target.subprotocol(name).unwrap();
        }
        outcome = Some(connect(&target).await);
    })
    .await;
    outcome.unwrap()
}

#[tokio::test]
async fn refusals_are_told_in_full() {
    let json = r#"{"verdict":"refused"}"#;
    let cases = [
        (
            format!(
                "HTTP/1.1 503 Service Unavailable\r\nx-berth-reason: no_instance\r\nretry-after: 3\r\n\
                 content-length: {}\r\n\r\n{json}",
                json.len()
            ),
            (503, Some("no_instance"), Some(3), json),
        ),
        (
            format!(
                "HTTP/1.1 401 Unauthorized\r\nx-berth-reason: no_token\r\ntransfer-encoding: chunked\r\n\r\n\
                 {:x}\r\n{json}\r\n0\r\n\r\n",
                json.len()
            ),
            (401, Some("no_token"), None, json),
        ),
        (
            "HTTP/1.1 404 Not Found\r\nretry-after: Thu, 01 Jan 1970 00:00:00 GMT\r\nconnection: close\r\n\r\nno"
                .to_owned(),
            (404, None, None, "no"),
        ),
        ("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n".to_owned(), (200, None, None, "")),
    ];
    for (answer, expected) in cases {
        match upgrade(&answer, &[]).await {
            Err(ConnectError::Refused {
                status,
                reason,
                retry_after,
                headers,
                body,
            }) => {
                assert_eq!(
                    (status, reason.as_deref(), retry_after, body.as_str()),
                    expected
                );
                assert!(!headers.is_empty());
            }
            other => panic!("{answer}: {other:?}"),
        }
    }
}

#[tokio::test]
async fn an_upgrade_has_to_be_valid() {
    let upgraded =
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
    let cases = [
        ("Sec-WebSocket-Accept: {accept}\r\n", &[][..], Ok(None)),
        (
            "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: b\r\n",
            &["a", "b"],
            Ok(Some("b")),
        ),
        ("", &[], Err(HandshakeFault::Accept)),
        (
            "Sec-WebSocket-Accept: x{accept}\r\n",
            &[],
            Err(HandshakeFault::Accept),
        ),
        (
            "Sec-WebSocket-Accept: {accept}\r\n",
            &["a"],
            Err(HandshakeFault::NoSubprotocol),
        ),
        (
            "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: b\r\n",
            &["a"],
            Err(HandshakeFault::UnofferedSubprotocol),
        ),
        (
            "Sec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Protocol: b\r\n",
            &[],
            Err(HandshakeFault::UnofferedSubprotocol),
        ),
    ];
    for (headers, offered, expected) in cases {
        let outcome = match upgrade(&format!("{upgraded}{headers}\r\n"), offered).await {
            Ok(session) => Ok(session.subprotocol().map(str::to_owned)),
            Err(ConnectError::Handshake(fault)) => Err(fault),
            Err(other) => panic!("{headers}: {other:?}"),
        };
        assert_eq!(
            outcome,
            expected.map(|name| name.map(str::to_owned)),
            "{headers} {offered:?}"
        );
    }
}

#[tokio::test]
async fn what_is_no_answer_is_no_refusal() {
    let oversized = format!(
        "HTTP/1.1 503 No\r\nconnection: close\r\n\r\n{}",
        "x".repeat(70_000)
    );
    for answer in [
        "",
        "RTSP/1.0 200 OK\r\n\r\n",
        "HTTP/1.1 503 No\r\ncontent-length: 9\r\n\r\nhalf",
        &oversized,
    ] {
        let error = upgrade(answer, &[]).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Http(_) | ConnectError::Io(_)),
            "{answer:.40}: {error:?}"
        );
    }
}

#[tokio::test]
async fn a_verdict_is_asked_for_without_an_upgrade() {
    let answer =
        "HTTP/1.1 403 Forbidden\r\nx-berth-reason: pool_forbidden\r\ncontent-length: 2\r\n\r\n{}";
    let request = answered(answer, async |target| {
        let target = target
            .query("token", "t")
            .unwrap()
            .header("x-a", "b")
            .unwrap();
        let response = get(&target).await.unwrap();
        assert_eq!(
            (response.status, response.reason(), response.body.as_str()),
            (403, Some("pool_forbidden"), "{}")
        );
    })
    .await;
    assert!(
        request.starts_with("GET /sign_in?token=t HTTP/1.1\r\n"),
        "{request}"
    );
    assert!(request.contains("x-a: b\r\n"), "{request}");
    assert!(!request.to_lowercase().contains("upgrade"), "{request}");
}
