//! What a client sends comes back as it was sent.

use crate::common::{PATIENCE, all_ended, emulator, session};
use berth_client::{Departure, Message, Session};
use berth_runtime_emulator::{Family, How};
use tokio::time::timeout;

const FAMILIES: [Family; 2] = [Family::Web, Family::Native];

/// Bytes of every value, so that nothing is lost unseen.
fn bytes(length: usize) -> Vec<u8> {
    (0..length)
        .map(|index| u8::try_from(index * 31 % 256).unwrap())
        .collect()
}

fn letters(length: usize) -> String {
    "aé漢😀".chars().cycle().take(length).collect()
}

async fn received(session: &mut Session) -> Message {
    timeout(PATIENCE, session.receive()).await.unwrap().unwrap()
}

#[tokio::test]
async fn messages_come_back_as_they_were_sent() {
    let messages = [
        Message::text(""),
        Message::text("hello"),
        Message::text(letters(70_000)),
        Message::text(r#"{"neither":"signaling","nor":["RTSP"]}"#),
        Message::binary(Vec::new()),
        Message::binary(br#"{"hb":1}"#.to_vec()),
        Message::binary(bytes(125)),
        Message::binary(bytes(126)),
        Message::binary(bytes(65_536)),
        Message::binary(bytes(1 << 20)),
        Message::text("x".repeat(1 << 20)),
    ];
    for family in FAMILIES {
        let emulator = emulator(|_| {}).await;
        let mut session = session(&emulator, family).await;
        for message in &messages {
            session.send(message.clone()).await.unwrap();
            assert!(
                received(&mut session).await == *message,
                "{family}: {} bytes",
                message.len()
            );
        }
        for message in &messages {
            for length in [1 << 16, 1 << 10] {
                session
                    .send_fragmented(message.clone(), length)
                    .await
                    .unwrap();
                let back = received(&mut session).await;
                assert!(
                    back == *message,
                    "{family}: {} bytes by {length}",
                    message.len()
                );
            }
        }
    }
}

#[tokio::test]
async fn the_largest_messages_come_back() {
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Web).await;
    let message = Message::binary(bytes(16 << 20));
    // The second is sent while nobody reads the echo of the first.
    for _ in 0..2 {
        timeout(PATIENCE, session.send(message.clone()))
            .await
            .unwrap()
            .unwrap();
    }
    for _ in 0..2 {
        assert!(received(&mut session).await == message);
    }
}

#[tokio::test]
async fn pings_are_answered_between_fragments_too() {
    use berth_client::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let fragment =
        |data, opcode, last| Message::Frame(Frame::message(data, OpCode::Data(opcode), last));
    for family in FAMILIES {
        let emulator = emulator(|_| {}).await;
        let mut session = session(&emulator, family).await;
        for message in [
            fragment("one ", Data::Text, false),
            Message::Ping(vec![1, 2, 3].into()),
            fragment("two", Data::Continue, true),
            Message::Ping(Vec::new().into()),
        ] {
            session.send(message).await.unwrap();
        }
        assert_eq!(
            received(&mut session).await,
            Message::Pong(vec![1, 2, 3].into()),
            "{family}"
        );
        assert_eq!(
            received(&mut session).await,
            Message::text("one two"),
            "{family}"
        );
        assert_eq!(
            received(&mut session).await,
            Message::Pong(Vec::new().into()),
            "{family}"
        );
    }
}

#[tokio::test]
async fn close_codes_and_reasons_come_back() {
    let emulator = emulator(|_| {}).await;
    let cases = [
        (1000, ""),
        (1000, "done"),
        (1001, "headset off"),
        (1011, "é"),
        (3000, "x"),
        (4999, "own"),
    ];
    for (number, (code, reason)) in cases.into_iter().enumerate() {
        let session = session(&emulator, Family::Web).await;
        let expected = Departure::Close {
            code: Some(code),
            reason: reason.to_owned(),
        };
        assert_eq!(session.close(code, reason).await.unwrap(), expected);
        let how = How::ClientClose {
            code: Some(code),
            reason: reason.to_owned(),
        };
        assert_eq!(emulator.records()[number].how(), Some(&how));
    }
}

#[tokio::test]
async fn an_end_without_a_close_frame_is_seen_as_what_it_is() {
    let emulator = emulator(|_| {}).await;
    session(&emulator, Family::Web).await.abort();
    all_ended(&emulator).await;
    assert_eq!(emulator.records()[0].how(), Some(&How::ClientReset));

    assert_eq!(
        session(&emulator, Family::Native)
            .await
            .finish()
            .await
            .unwrap(),
        Departure::Fin
    );
    assert_eq!(emulator.records()[1].how(), Some(&How::ClientFin));

    drop(session(&emulator, Family::Web).await);
    all_ended(&emulator).await;
    assert_eq!(emulator.records()[2].how(), Some(&How::ClientFin));
}

#[tokio::test]
async fn a_broken_protocol_ends_the_session() {
    use berth_client::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Web).await;
    // A continuation of nothing.
    let frame = Frame::message("x", OpCode::Data(Data::Continue), true);
    session.send(Message::Frame(frame)).await.unwrap();
    let departure = timeout(PATIENCE, session.departure())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        departure,
        Departure::Close {
            code: Some(1002),
            reason: String::new()
        }
    );
    assert_eq!(emulator.records()[0].how(), Some(&How::ProtocolError));
}

#[tokio::test]
async fn nothing_unread_is_cut_off_by_a_close() {
    let emulator = emulator(|_| {}).await;
    // More than the operating system takes at once, and less.
    let cases = [4 << 20, 1 << 20]
        .into_iter()
        .flat_map(|length| [(length, false), (length, true)]);
    for (length, finish) in cases {
        let mut session = session(&emulator, Family::Web).await;
        let message = Message::binary(bytes(length));
        emulator.send_all(&message);
        let told = if finish {
            emulator.finish_tcp_all()
        } else {
            emulator.close_all(1001, "bye")
        };
        assert_eq!(told, 1);
        // By now the record says that it has ended, and the client has read nothing. What the client
        // still sends is not wanted, but must not have the connection reset either.
        all_ended(&emulator).await;
        session.send(Message::binary(bytes(1 << 16))).await.unwrap();
        assert!(received(&mut session).await == message, "{length} {finish}");
        let departure = timeout(PATIENCE, session.departure())
            .await
            .unwrap()
            .unwrap();
        let close = Departure::Close {
            code: Some(1001),
            reason: "bye".to_owned(),
        };
        assert_eq!(departure, if finish { Departure::Fin } else { close });
    }
}
