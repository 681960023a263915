//! Each fault, each order and each way to end an emulator, as a client meets it.

use std::num::NonZeroU64;
use std::time::Duration;

use crate::common::{PATIENCE, all_ended, emulator, session, target};
use berth_client::{ConnectError, Departure, Message, connect};
use berth_runtime_emulator::{Emulator, EmulatorConfig, Family, Fault, How};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const FAMILIES: [Family; 2] = [Family::Web, Family::Native];

async fn refusal(emulator: &Emulator, family: Family) -> ConnectError {
    connect(&target(emulator, family)).await.unwrap_err()
}

#[tokio::test]
async fn refusals_leave_no_record() {
    for family in FAMILIES {
        let emulator = emulator(|config| config.fault = Fault::RefuseConnection).await;
        let error = refusal(&emulator, family).await;
        assert!(
            matches!(error, ConnectError::Http(_) | ConnectError::Io(_)),
            "{error}"
        );
        assert_eq!(emulator.requests(), 0);

        emulator.set_fault(Fault::RefuseUpgrade);
        let error = refusal(&emulator, family).await;
        assert!(
            matches!(error, ConnectError::Refused { status: 503, .. }),
            "{error}"
        );
        assert_eq!(emulator.requests(), 1);
        assert!(emulator.records().is_empty());

        emulator.set_fault(Fault::None);
        session(&emulator, family).await;
    }
}

#[tokio::test]
async fn a_hanging_upgrade_goes_on_when_the_fault_is_lifted() {
    for fault in [Fault::HangBeforeUpgrade, Fault::GoSilent] {
        let emulator = emulator(|config| config.fault = fault).await;
        let target = target(&emulator, Family::Web);
        let hanging = tokio::spawn(async move { connect(&target).await });
        emulator
            .wait_for(PATIENCE, |ledger| ledger.requests() == 1)
            .await
            .unwrap();
        assert!(emulator.records().is_empty());
        assert!(!hanging.is_finished());
        emulator.set_fault(Fault::None);
        timeout(PATIENCE, hanging).await.unwrap().unwrap().unwrap();
    }
}

#[tokio::test]
async fn a_client_may_give_up_while_its_upgrade_hangs() {
    let emulator = emulator(|config| config.fault = Fault::HangBeforeUpgrade).await;
    let target = target(&emulator, Family::Web).time_limit(Duration::from_millis(50));
    assert!(matches!(
        connect(&target).await,
        Err(ConnectError::Timeout { .. })
    ));

    let mut tcp = TcpStream::connect(emulator.web_address()).await.unwrap();
    tcp.write_all(UPGRADE.as_bytes()).await.unwrap();
    requests_are(&emulator, 2).await;
    tcp.shutdown().await.unwrap();
    // The emulator's side ends too, although the fault is still there.
    let ended = timeout(PATIENCE, tcp.read(&mut [0])).await.unwrap();
    assert!(!ended.is_ok_and(|length| length > 0));
    assert!(emulator.records().is_empty());
}

#[tokio::test]
async fn a_client_that_left_while_it_was_silent_has_no_session_afterwards() {
    let emulator = emulator(|_| {}).await;
    for round in 1..=20 {
        let gone = session(&emulator, Family::Web).await;
        emulator.set_fault(Fault::GoSilent);
        let mut given_up = TcpStream::connect(emulator.web_address()).await.unwrap();
        given_up.write_all(UPGRADE.as_bytes()).await.unwrap();
        requests_are(&emulator, 3 * round - 1).await;
        given_up.shutdown().await.unwrap();
        gone.abort();
        let target = target(&emulator, Family::Web);
        let hanging = tokio::spawn(async move { connect(&target).await });
        requests_are(&emulator, 3 * round).await;
        emulator.set_fault(Fault::None);
        drop(timeout(PATIENCE, hanging).await.unwrap().unwrap().unwrap());
        all_ended(&emulator).await;
        let sessions = emulator.records().len() as u64;
        assert_eq!((sessions, emulator.max_concurrent()), (2 * round, 1));
    }
}

async fn requests_are(emulator: &Emulator, count: u64) {
    let come = emulator.wait_for(PATIENCE, |ledger| ledger.requests() == count);
    come.await.unwrap();
}

#[tokio::test]
async fn the_first_connects_fail() {
    let emulator = emulator(|config| config.fault = Fault::FailFirstConnects(2)).await;
    for left in [1, 0] {
        let error = refusal(&emulator, Family::Web).await;
        assert!(
            matches!(error, ConnectError::Http(_) | ConnectError::Io(_)),
            "{error}"
        );
        assert_eq!(emulator.fault(), Fault::FailFirstConnects(left));
    }
    session(&emulator, Family::Web).await;
    assert_eq!((emulator.requests(), emulator.records().len()), (3, 1));
}

#[tokio::test]
async fn a_session_dies_after_so_many_messages() {
    for family in FAMILIES {
        let emulator = emulator(|_| {}).await;
        let mut session = session(&emulator, family).await;
        emulator.set_fault(Fault::DieAfter(NonZeroU64::new(3).unwrap()));
        for _ in 0..2 {
            session.send(Message::text("x")).await.unwrap();
            assert_eq!(session.receive().await.unwrap(), Message::text("x"));
        }
        session.send(Message::text("x")).await.unwrap();
        let departure = timeout(PATIENCE, session.departure())
            .await
            .unwrap()
            .unwrap();
        assert_eq!(departure, Departure::Reset, "{family}");
        assert_eq!(emulator.records()[0].how(), Some(&How::Reset));
    }
}

#[tokio::test]
async fn a_silent_emulator_neither_answers_nor_notices() {
    let emulator = emulator(|config| config.heartbeat = Duration::from_millis(10)).await;
    let mut session = session(&emulator, Family::Web).await;
    berth_client::signaling_exchange(&mut session)
        .await
        .unwrap();
    emulator.set_fault(Fault::GoSilent);
    session.send(Message::text("anyone?")).await.unwrap();
    let silence = async {
        loop {
            // Heartbeats sent before it fell silent may still be on their way.
            let message = session.receive().await.unwrap();
            assert_eq!(message, Message::text(r#"{"hb":1}"#));
        }
    };
    assert!(timeout(Duration::from_millis(300), silence).await.is_err());
    emulator.set_fault(Fault::None);
    let answered = async { while session.receive().await.unwrap() != Message::text("anyone?") {} };
    timeout(PATIENCE, answered).await.unwrap();

    emulator.set_fault(Fault::GoSilent);
    session.abort();
    assert_eq!(emulator.live(), 1);
    emulator.set_fault(Fault::None);
    all_ended(&emulator).await;
    assert_eq!(emulator.records()[0].how(), Some(&How::ClientReset));
}

#[tokio::test]
async fn orders_are_obeyed_by_silent_sessions_too() {
    type Order = fn(&Emulator) -> usize;
    let closed = |code, reason: &str| Departure::Close {
        code: Some(code),
        reason: reason.to_owned(),
    };
    let close = |code, reason: &str| How::Close {
        code,
        reason: reason.to_owned(),
    };
    let cases: [(Order, Departure, How); 4] = [
        (
            |emulator| emulator.close_all(1011, "worn out"),
            closed(1011, "worn out"),
            close(1011, "worn out"),
        ),
        (
            |emulator| emulator.close_all(4000, ""),
            closed(4000, ""),
            close(4000, ""),
        ),
        (Emulator::finish_tcp_all, Departure::Fin, How::Fin),
        (Emulator::reset_all, Departure::Reset, How::Reset),
    ];
    for fault in [Fault::None, Fault::GoSilent] {
        for (order, departure, how) in &cases {
            let emulator = emulator(|_| {}).await;
            let mut sessions = [
                session(&emulator, Family::Web).await,
                session(&emulator, Family::Native).await,
            ];
            emulator.set_fault(fault);
            assert_eq!(order(&emulator), 2);
            for session in &mut sessions {
                let seen = timeout(PATIENCE, session.departure())
                    .await
                    .unwrap()
                    .unwrap();
                assert_eq!(seen, *departure, "{fault}");
            }
            assert!(
                emulator
                    .records()
                    .iter()
                    .all(|record| record.how() == Some(how))
            );
            assert_eq!(order(&emulator), 0);
        }
    }
}

#[tokio::test]
async fn messages_are_sent_to_all() {
    use berth_client::Frame;
    use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
    let emulator = emulator(|_| {}).await;
    let mut sessions = [
        session(&emulator, Family::Web).await,
        session(&emulator, Family::Native).await,
    ];
    let fragment =
        |data, opcode, last| Message::Frame(Frame::message(data, OpCode::Data(opcode), last));
    assert_eq!(emulator.send_all(&Message::binary(vec![7])), 2);
    emulator.send_all(&fragment("in ", Data::Text, false));
    emulator.send_all(&fragment("parts", Data::Continue, true));
    for session in &mut sessions {
        assert_eq!(session.receive().await.unwrap(), Message::binary(vec![7]));
        assert_eq!(session.receive().await.unwrap(), Message::text("in parts"));
    }
}

#[tokio::test]
async fn a_stopped_emulator_closes_its_sessions_and_ports() {
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Web).await;
    let leaving = async {
        timeout(PATIENCE, session.departure())
            .await
            .unwrap()
            .unwrap()
    };
    let ((), departure) = tokio::join!(emulator.stop(), leaving);
    assert!(
        matches!(
            departure,
            Departure::Close {
                code: Some(1001),
                ..
            }
        ),
        "{departure}"
    );
    assert_eq!(emulator.records()[0].how(), Some(&How::Stopped));
    assert!(matches!(
        refusal(&emulator, Family::Web).await,
        ConnectError::Io(_)
    ));
}

#[tokio::test]
async fn a_killed_emulator_resets_everything_and_can_be_replaced() {
    let killed = emulator(|_| {}).await;
    let mut live = session(&killed, Family::Native).await;
    killed.kill().await;
    assert_eq!(killed.records()[0].how(), Some(&How::Stopped));
    let departure = timeout(PATIENCE, live.departure()).await.unwrap().unwrap();
    assert_eq!(departure, Departure::Reset);
    for address in [
        killed.web_address(),
        killed.native_address(),
        killed.readiness_address(),
    ] {
        assert!(TcpStream::connect(address).await.is_err(), "{address}");
    }
    let config = EmulatorConfig {
        native_port: killed.native_address().port(),
        ..EmulatorConfig::default()
    };
    let replaced = Emulator::start(config).await.unwrap();
    session(&replaced, Family::Native).await;
}

#[tokio::test]
async fn a_dropped_emulator_ends_its_sessions() {
    let emulator = emulator(|_| {}).await;
    let mut session = session(&emulator, Family::Web).await;
    drop(emulator);
    let departure = timeout(PATIENCE, session.departure())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(departure, Departure::Fin);
}

#[tokio::test]
async fn only_the_family_s_path_is_upgraded() {
    let emulator = emulator(|_| {}).await;
    let (web, native) = (emulator.web_address(), emulator.native_address());
    let cases = [
        (format!("ws://{web}/"), 404),
        (format!("ws://{web}/rtsp"), 404),
        (format!("ws://{web}/10.0.0.1/sign_in"), 404),
        (format!("ws://{native}/sign_in"), 404),
    ];
    for (url, expected) in cases {
        let error = connect(&berth_client::Target::new(&url).unwrap())
            .await
            .unwrap_err();
        assert!(
            matches!(error, ConnectError::Refused { status, .. } if status == expected),
            "{url}: {error}"
        );
    }
    for (family, expected) in [(Family::Web, 426), (Family::Native, 501)] {
        let response = berth_client::get(&target(&emulator, family)).await.unwrap();
        assert_eq!(response.status, expected, "{family}");
    }
    assert_eq!(emulator.requests(), 0);
}

const UPGRADE: &str = "GET /sign_in HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
