//! After the 101, bytes pass as they are, whatever they are.
#![cfg(test)]

use std::time::Duration;

use berth_tests::World;
use berth_tests::raw::upgrade_request;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_byte_passes_in_both_directions() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    let token = format!("Bearer {}", world.token().sign().unwrap());
    for (pool, path) in [("web", "/web/sign_in"), ("native", "/rtsp")] {
        let instance = world.script_instance(&format!("{pool}-1")).await.unwrap();
        let mut client = world.raw().await.unwrap();
        let request = upgrade_request(path.as_bytes(), &[("authorization", token.as_bytes())]);
        client.write(&request).await.unwrap();
        let mut stream = instance.answer(SWITCHING_PROTOCOLS, SOON).await.unwrap();
        assert_eq!(client.answer(SOON).await.unwrap().status, 101, "{pool}");

        for (name, bytes) in streams() {
            let case = format!("{pool}: {name}");
            let sent = async {
                stream.write_all(&bytes).await.unwrap();
                stream.flush().await.unwrap();
            };
            let ((), received) = tokio::join!(sent, client.bytes(bytes.len(), SOON));
            assert!(received.unwrap() == bytes, "{case}, to the client");

            let mut received = vec![0; bytes.len()];
            let read = timeout(SOON, stream.read_exact(&mut received));
            let (sent, read) = tokio::join!(client.write(&bytes), read);
            sent.unwrap();
            read.unwrap().unwrap();
            assert!(received == bytes, "{case}, to the instance");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_client_sends_too_early_comes_after_the_101_or_not_at_all() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let instance = world.script_instance("web-1").await.unwrap();
    let token = format!("Bearer {}", world.token().sign().unwrap());
    let good = ("authorization", token.as_bytes());
    let hidden = upgrade_request(b"/hidden", &[]);

    // Admitted: it is the session's first bytes, and no request of its own.
    let mut client = world.raw().await.unwrap();
    let request = upgrade_request(b"/web/sign_in", &[good]);
    client
        .write(&[request, hidden.clone()].concat())
        .await
        .unwrap();
    let (mut stream, head) = instance.request(SOON).await.unwrap();
    assert!(!head.contains("hidden"), "before the 101: {head}");
    stream.write_all(SWITCHING_PROTOCOLS).await.unwrap();
    assert_eq!(client.answer(SOON).await.unwrap().status, 101);
    let mut received = vec![0; hidden.len()];
    let read = timeout(SOON, stream.read_exact(&mut received)).await;
    read.unwrap().unwrap();
    assert!(received == hidden);
    drop((client, stream));
    world.berth().wait_until_free("web-1", SOON).await.unwrap();

    // Not admitted by the instance: nobody reads it, least of all as a request.
    let mut client = world.raw().await.unwrap();
    let request = upgrade_request(b"/web/sign_in", &[good]);
    client.write(&[request, hidden].concat()).await.unwrap();
    let refusal = b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n";
    let mut stream = instance.answer(refusal, SOON).await.unwrap();
    assert_eq!(client.answer(SOON).await.unwrap().status, 503);
    let mut rest = Vec::new();
    // A reset is as good an end as any.
    let _end = timeout(SOON, stream.read_to_end(&mut rest)).await.unwrap();
    assert_eq!(rest, b"");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_asked_for_a_verdict_can_become_a_session() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let token = world.token().sign().unwrap();
    let mut client = world.raw().await.unwrap();
    let verdict = format!("GET /web/sign_in?token={token} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let unknown = "GET /web/sign_in HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let session = upgrade_request(format!("/web/sign_in?token={token}").as_bytes(), &[]);
    // Each waits for the answer before: an upgrade that is sent ahead of it is not what a client does.
    for (request, status) in [(unknown, 401), (&verdict, 200), (unknown, 401)] {
        client.write(request.as_bytes()).await.unwrap();
        assert_eq!(client.answer(SOON).await.unwrap().status, status);
    }
    assert_eq!(world.instance("web-1").unwrap().requests(), 0);
    client.write(&session).await.unwrap();
    assert_eq!(client.answer(SOON).await.unwrap().status, 101);
    assert_eq!(world.instance("web-1").unwrap().live(), 1);
}

/// Frames as RFC 6455 §5.2 has them, unmasked so that both directions can be sent the same, and what is no frame.
fn streams() -> Vec<(&'static str, Vec<u8>)> {
    let frame = |first: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        [&[first, length], payload].concat()
    };
    vec![
        ("a text", frame(0x81, "grüße".as_bytes())),
        ("a binary message", frame(0x82, &[0, 255, 13, 10])),
        ("a ping without a payload", frame(0x89, b"")),
        ("a ping", frame(0x89, &[b'p'; 125])),
        ("a pong that nobody asked for", frame(0x8a, b"unasked")),
        (
            "a message in three, with a ping and a pong between",
            [
                frame(0x01, b"one "),
                frame(0x89, b"are you there"),
                frame(0x00, b"two "),
                frame(0x8a, b"I am"),
                frame(0x80, b"three"),
            ]
            .concat(),
        ),
        (
            "fragments without a byte",
            [frame(0x02, b""), frame(0x80, b"")].concat(),
        ),
        (
            "reserved bits and opcodes",
            [frame(0xf3, b"?"), frame(0xff, b"??")].concat(),
        ),
        (
            "bytes that could be HTTP",
            b"\r\n0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
        ),
        ("a close", frame(0x88, b"\x10\xe1f\xc3\xbcr immer")),
        ("4 MiB of anything", pseudorandom(4 << 20)),
        ("more after a close", frame(0x81, b"still")),
    ]
}

/// Bytes that nothing makes look right by accident (xorshift32).
fn pseudorandom(length: usize) -> Vec<u8> {
    let mut state: u32 = 0x2545_f491;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

const SWITCHING_PROTOCOLS: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
