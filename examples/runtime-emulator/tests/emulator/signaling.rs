//! The start of both families' signaling, between client and emulator.

use std::time::Duration;

use crate::common::{PATIENCE, emulator, session, target};
use berth_client::signaling::Signal;
use berth_client::{Departure, Message, rtsp_exchange, signaling_exchange};
use berth_runtime_emulator::{Family, How, Stage, Subprotocol};
use tokio::time::timeout;

#[tokio::test]
async fn web_peers_exchange_descriptions_and_candidates() {
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Web).await;
    assert_eq!(emulator.records()[0].stage, Stage::Silent);

    let exchange = signaling_exchange(&mut session).await.unwrap();
    assert_eq!(exchange.peer.unwrap().id, berth_client::signaling::SERVER);
    assert!(exchange.offer.unwrap().starts_with("v=0\r\n"));
    assert_eq!(exchange.candidates.len(), 1);
    assert_eq!(exchange.acks, 2);
    assert_eq!(emulator.records()[0].stage, Stage::Answered);

    // What is no signaling is still echoed.
    session.send(Message::text("hello")).await.unwrap();
    assert_eq!(
        session.receive_data().await.unwrap(),
        Message::text("hello")
    );
}

#[tokio::test]
async fn native_peers_exchange_options() {
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Native).await;
    let reply = rtsp_exchange(&mut session).await.unwrap();
    assert_eq!(
        (reply.status, reply.header("public")),
        (200, Some("OPTIONS, DESCRIBE"))
    );
    assert_eq!(emulator.records()[0].stage, Stage::Introduced);
}

#[tokio::test]
async fn heartbeats_begin_with_the_introduction() {
    let emulator = emulator(|config| config.heartbeat = Duration::from_millis(20)).await;
    let mut quiet = session(&emulator, Family::Web).await;
    let mut session = session(&emulator, Family::Web).await;
    signaling_exchange(&mut session).await.unwrap();
    for _ in 0..3 {
        let message = timeout(PATIENCE, session.receive_data())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(
            Signal::parse(message.to_text().unwrap()),
            Some(Signal::Heartbeat { hb: 1 })
        );
    }
    // Three periods later the client that said nothing has been sent nothing but its echo.
    quiet.send(Message::text("echo")).await.unwrap();
    assert_eq!(quiet.receive().await.unwrap(), Message::text("echo"));
}

#[tokio::test]
async fn a_web_client_that_does_not_introduce_itself_is_removed() {
    let emulator =
        emulator(|config| config.introduction_limit = Some(Duration::from_millis(200))).await;
    let mut introduced = session(&emulator, Family::Web).await;
    signaling_exchange(&mut introduced).await.unwrap();
    let mut native = session(&emulator, Family::Native).await;
    let mut passive = session(&emulator, Family::Web).await;

    let message = timeout(PATIENCE, passive.receive_data())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(message, Message::text(r#"{"error":"peerRemoved"}"#));
    let departure = timeout(PATIENCE, passive.departure())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        departure,
        Departure::Close {
            code: Some(1000),
            reason: String::new()
        }
    );
    assert_eq!(emulator.records()[2].how(), Some(&How::PeerRemoved));

    for session in [&mut introduced, &mut native] {
        session.send(Message::text("still here")).await.unwrap();
        assert_eq!(
            session.receive_data().await.unwrap(),
            Message::text("still here")
        );
    }
}

#[tokio::test]
async fn a_subprotocol_is_selected_as_configured() {
    let cases = [
        (Subprotocol::FirstOffered, vec![], Some(None)),
        (
            Subprotocol::FirstOffered,
            vec!["x-nv-sessionid.1", "b"],
            Some(Some("x-nv-sessionid.1")),
        ),
        (Subprotocol::None, vec![], Some(None)),
        // A browser, and so this client, fails the upgrade.
        (Subprotocol::None, vec!["x-nv-sessionid.1"], None),
    ];
    for (subprotocol, offered, expected) in cases {
        let emulator = emulator(|config| config.subprotocol = subprotocol).await;
        let mut target = target(&emulator, Family::Web);
        for name in &offered {
            target = target.subprotocol(name).unwrap();
        }
        let session = berth_client::connect(&target).await;
        let selected = session
            .as_ref()
            .map(berth_client::Session::subprotocol)
            .ok();
        assert_eq!(selected, expected, "{subprotocol:?} {offered:?}");
    }
}
