//! Who was connected from when to when, and what a second client meets.

use crate::common::{PATIENCE, all_ended, emulator, session, target};
use berth_client::{ConnectError, Departure, Message, connect};
use berth_runtime_emulator::{Family, How, SecondClient};
use tokio::time::timeout;

#[tokio::test]
async fn a_record_holds_what_was_asked_and_when() {
    let emulator = emulator(|_| {}).await;
    let target = target(&emulator, Family::Web)
        .header("x-test", b"caf\xe9")
        .unwrap()
        .query("berth_resume_key", "a b")
        .unwrap();
    let session = connect(&target).await.unwrap();
    assert_eq!(emulator.live(), 1);
    session.close(1000, "").await.unwrap();

    let records = emulator.records();
    let record = &records[0];
    assert_eq!((record.number, record.family), (0, Family::Web));
    assert_eq!(
        record.path_and_query,
        "/sign_in?peer_id=peer-1&version=2&berth_resume_key=a%20b"
    );
    assert_eq!(record.header("X-Test"), Some("caf\u{fffd}"));
    assert_eq!(
        record.header("host"),
        Some(emulator.web_address().to_string().as_str())
    );
    assert!(record.end.as_ref().unwrap().at > record.from);
    assert_eq!((emulator.live(), emulator.max_concurrent()), (0, 1));
}

#[tokio::test]
async fn sessions_at_once_are_counted_over_both_families() {
    let emulator = emulator(|_| {}).await;
    for _ in 0..3 {
        session(&emulator, Family::Web)
            .await
            .close(1000, "")
            .await
            .unwrap();
    }
    assert_eq!(emulator.max_concurrent(), 1);
    let _web = session(&emulator, Family::Web).await;
    let _native = session(&emulator, Family::Native).await;
    assert_eq!((emulator.live(), emulator.max_concurrent()), (2, 2));
}

/// A newcomer that knows its predecessor to be gone is alone, whichever task runs first.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_session_that_has_ended_is_not_concurrent_with_the_next() {
    let emulator = emulator(|_| {}).await;
    for round in 0..200 {
        let session = session(&emulator, Family::Web).await;
        match round % 2 {
            0 => session.abort(),
            _ => drop(session),
        }
    }
    assert_eq!(emulator.records().len(), 200);
    assert_eq!(emulator.max_concurrent(), 1);
}

#[tokio::test]
async fn a_second_client_is_accepted_and_recorded() {
    let emulator = emulator(|_| {}).await;
    let mut first = session(&emulator, Family::Web).await;
    let mut second = session(&emulator, Family::Web).await;
    for session in [&mut first, &mut second] {
        session.send(Message::text("here")).await.unwrap();
        assert_eq!(session.receive().await.unwrap(), Message::text("here"));
    }
    assert_eq!(emulator.max_concurrent(), 2);
}

#[tokio::test]
async fn a_second_client_is_rejected() {
    let emulator = emulator(|config| config.second_client = SecondClient::Reject).await;
    let first = session(&emulator, Family::Web).await;
    for family in [Family::Web, Family::Native] {
        let error = connect(&target(&emulator, family)).await.unwrap_err();
        assert!(
            matches!(error, ConnectError::Refused { status: 503, .. }),
            "{error}"
        );
    }
    first.close(1000, "").await.unwrap();
    session(&emulator, Family::Native).await;
    assert_eq!(
        (emulator.records().len(), emulator.max_concurrent()),
        (2, 1)
    );
}

#[tokio::test]
async fn a_second_client_evicts_the_first() {
    let emulator = emulator(|config| config.second_client = SecondClient::Evict).await;
    let mut first = session(&emulator, Family::Web).await;
    let _second = session(&emulator, Family::Native).await;
    assert_eq!(
        first.receive_data().await.unwrap(),
        Message::text(r#"{"error":"peerRemoved"}"#)
    );
    let departure = timeout(PATIENCE, first.departure()).await.unwrap().unwrap();
    assert_eq!(
        departure,
        Departure::Close {
            code: Some(1000),
            reason: String::new()
        }
    );
    assert_eq!(emulator.records()[0].how(), Some(&How::Evicted));
    assert_eq!((emulator.live(), emulator.max_concurrent()), (1, 1));
}

#[tokio::test]
async fn what_does_not_come_about_is_reported_with_the_ledger() {
    let emulator = emulator(|_| {}).await;
    let session = session(&emulator, Family::Web).await;
    let limit = std::time::Duration::from_millis(10);
    let error = emulator
        .wait_for(limit, |ledger| ledger.live() == 0)
        .await
        .unwrap_err();
    assert_eq!(error.ledger.live(), 1);
    assert!(error.to_string().contains("#0 web Silent live"), "{error}");
    session.abort();
    all_ended(&emulator).await;
}
