//! A session of each family through a real proxy: admitted, placed, and every byte as it was sent.
#![cfg(test)]

use std::time::Duration;

use berth_client::{Carrier, Departure, Message, Session, signaling_exchange};
use berth_runtime_emulator::{How, Stage};
use berth_tests::{Algorithm, World};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn every_family_algorithm_and_carrier_is_admitted_and_placed() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    let cases = [
        ("web", Algorithm::Rs256, Carrier::Query),
        ("web", Algorithm::Es256, Carrier::Subprotocol),
        ("web", Algorithm::Rs256, Carrier::Header),
        ("native", Algorithm::Rs256, Carrier::Header),
        ("native", Algorithm::Es256, Carrier::Query),
    ];
    for (pool, algorithm, carrier) in cases {
        let case = format!("{pool} {algorithm:?} {carrier:?}");
        let name = format!("{pool}-1");
        let token = world.token().algorithm(algorithm).subject("alice");
        let mut client = world
            .client(pool)
            .unwrap()
            .token(token.clone())
            .carrier(carrier);
        if pool == "web" {
            client = client
                .query("client_type", "6")
                .subprotocol("x-nv-sessionid.1");
        }
        let mut session = client.connect().await.unwrap();
        echoed(&mut session, Message::text("hello"), &case).await;

        let record = world.instance(&name).unwrap().records().pop().unwrap();
        let jwt_head = token.sign().unwrap().split('.').next().unwrap().to_owned();
        let seen = format!("{} {:?}", record.path_and_query, record.headers);
        assert!(
            !seen.contains(&jwt_head),
            "{case}: the instance saw the token: {seen}"
        );
        assert!(
            !seen.to_lowercase().contains("x-berth-"),
            "{case}: the instance saw {seen}"
        );
        match pool {
            "web" => {
                assert_eq!(record.path_and_query, "/sign_in?client_type=6", "{case}");
                assert_eq!(
                    record.header("sec-websocket-protocol"),
                    Some("x-nv-sessionid.1"),
                    "{case}"
                );
                assert_eq!(session.subprotocol(), Some("x-nv-sessionid.1"), "{case}");
            }
            _ => assert_eq!(record.path_and_query, "/rtsp", "{case}"),
        }

        let lease = world.berth().instance(&name).await.unwrap().lease.unwrap();
        assert_eq!(lease.subject, "alice", "{case}");
        let sessions = world.berth().sessions().await.unwrap();
        let [listed] = sessions.as_slice() else {
            panic!("{case}: {sessions:?}");
        };
        assert_eq!(
            (&listed.id, listed.instance.as_deref()),
            (&lease.session, Some(name.as_str())),
            "{case}"
        );

        session.close(1000, "").await.unwrap();
        world.berth().wait_until_free(&name, SOON).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subprotocol_that_carried_the_token_alone_is_answered_with_none_of_it() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    // A client library fails an upgrade in which none of its subprotocols is selected: there has to be another one.
    let client = world
        .client("web")
        .unwrap()
        .carrier(Carrier::Subprotocol)
        .subprotocol("x-nv-sessionid.7");
    let session = client.connect().await.unwrap();
    assert_eq!(session.subprotocol(), Some("x-nv-sessionid.7"));
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_pass_unchanged_in_both_directions() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    for pool in ["web", "native"] {
        let mut session = world.client(pool).unwrap().connect().await.unwrap();
        let messages = [
            Message::text(""),
            Message::text("grüße, 世界 \u{0}"),
            Message::binary(vec![]),
            Message::binary((0..=u8::MAX).collect::<Vec<_>>()),
            Message::text("x".repeat(MEBIBYTE)),
            Message::binary(pseudorandom(MEBIBYTE)),
        ];
        for message in &messages {
            echoed(&mut session, message.clone(), pool).await;
        }
        for (message, length) in [
            (Message::text("in three"), 3),
            (Message::binary(pseudorandom(MEBIBYTE)), 1000),
        ] {
            session
                .send_fragmented(message.clone(), length)
                .await
                .unwrap();
            assert!(
                session.receive_data().await.unwrap() == message,
                "{pool}: in fragments of {length}"
            );
        }

        session
            .send(Message::Ping("are you there".into()))
            .await
            .unwrap();
        assert_eq!(
            session.receive().await.unwrap(),
            Message::Pong("are you there".into()),
            "{pool}"
        );

        let instance = world.instance(&format!("{pool}-1")).unwrap();
        for message in &messages {
            assert_eq!(instance.send_all(message), 1, "{pool}");
            assert!(
                session.receive_data().await.unwrap() == *message,
                "{pool}: from the instance"
            );
        }
        instance.send_all(&Message::Ping("and you".into()));
        assert_eq!(
            session.receive().await.unwrap(),
            Message::Ping("and you".into()),
            "{pool}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn close_codes_and_reasons_arrive_on_the_other_side() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    for pool in ["web", "native"] {
        let name = format!("{pool}-1");
        for (code, reason) in [(1000, ""), (1001, "going away"), (4321, "für immer")] {
            let case = format!("{pool} {code}");
            let instance = world.instance(&name).unwrap();
            let frame = Departure::Close {
                code: Some(code),
                reason: reason.to_owned(),
            };

            let session = world.client(pool).unwrap().connect().await.unwrap();
            assert_eq!(
                session.close(code, reason).await.unwrap(),
                frame,
                "{case}: the client closes"
            );
            let how = How::ClientClose {
                code: Some(code),
                reason: reason.to_owned(),
            };
            instance
                .wait_for(SOON, |ledger| ledger.live() == 0)
                .await
                .unwrap();
            assert_eq!(
                instance.records().last().unwrap().how(),
                Some(&how),
                "{case}"
            );
            world.berth().wait_until_free(&name, SOON).await.unwrap();

            let mut session = world.client(pool).unwrap().connect().await.unwrap();
            assert_eq!(instance.close_all(code, reason), 1, "{case}");
            assert_eq!(
                session.departure().await.unwrap(),
                frame,
                "{case}: the instance closes"
            );
            world.berth().wait_until_free(&name, SOON).await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn signaling_goes_through_to_the_answered_offer() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();

    let mut session = world.client("web").unwrap().connect().await.unwrap();
    let exchange = signaling_exchange(&mut session).await.unwrap();
    assert!(
        exchange.offer.is_some() && !exchange.candidates.is_empty(),
        "{exchange:?}"
    );
    let instance = world.instance("web-1").unwrap();
    let answered = instance.wait_for(SOON, |ledger| {
        ledger
            .records()
            .last()
            .is_some_and(|record| record.stage == Stage::Answered)
    });
    answered.await.unwrap();

    let mut session = world.client("native").unwrap().connect().await.unwrap();
    berth_client::rtsp_exchange(&mut session).await.unwrap();
    let record = world.instance("native-1").unwrap().records().pop().unwrap();
    assert_eq!(record.stage, Stage::Introduced);
}

async fn echoed(session: &mut Session, message: Message, case: &str) {
    session.send(message.clone()).await.unwrap();
    // Not `assert_eq`: a mebibyte is nothing to print.
    let size = message.len();
    assert!(
        session.receive_data().await.unwrap() == message,
        "{case}: {size} bytes"
    );
}

/// Bytes that no compression or alignment makes look right by accident (xorshift32).
fn pseudorandom(length: usize) -> Vec<u8> {
    let mut state: u32 = 0x9e37_79b9;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state.to_le_bytes()[0]
    };
    (0..length).map(|_| next()).collect()
}

const MEBIBYTE: usize = 1 << 20;
