//! What clients and instances send and get.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use berth_client::{Carrier, Departure, Message};
use berth_runtime_emulator::How;
use berth_tests::World;
use tokio::time::timeout;

use crate::{SOON, VERSIONS, Version, active, echo, lease_is};

const SUBPROTOCOL: &str = "x-nv-sessionid.1";

#[tokio::test(flavor = "multi_thread")]
async fn a_session_from_its_handshake_to_its_close() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    let large = Message::binary(
        (0..1_u32 << 20)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    for pool in ["web", "native"] {
        let name = format!("{pool}-1");
        let instance = world.instance(&name).unwrap();
        for version in VERSIONS {
            eprintln!("{pool}: {version:?}");
            let client = version.client(&world, pool, "alice");
            let verdict = client.verdict().await.unwrap();
            assert_eq!(verdict.status, 200, "{verdict:?}");
            let mut session = client
                .subprotocol(SUBPROTOCOL)
                .header("x-berth-endpoint", "MTI3LjAuMC4xOjE=")
                .connect()
                .await
                .unwrap();
            assert_eq!(session.subprotocol(), Some(SUBPROTOCOL));
            let headers = session.response_headers();
            let accepted = headers.contains_key("sec-websocket-accept");
            assert_eq!(accepted, version == Version::Http1, "{headers:?}");
            let told = headers.keys().any(|name| name.as_str().starts_with("x-"));
            assert!(!told, "{headers:?}");

            for message in [Message::text("grüße"), Message::text(""), large.clone()] {
                echo(&mut session, message).await;
            }
            session
                .send_fragmented(large.clone(), 10_000)
                .await
                .unwrap();
            let whole = timeout(SOON, session.receive_data()).await;
            assert!(whole.unwrap().unwrap() == large);
            assert_eq!(instance.send_all(&large), 1);
            let sent = timeout(SOON, session.receive_data()).await;
            assert!(sent.unwrap().unwrap() == large);

            active(&world, "alice").await;
            let departure = session.close(4000, "done").await.unwrap();
            let answered = Departure::Close {
                code: Some(4000),
                reason: "done".to_owned(),
            };
            assert_eq!(departure, answered);
            lease_is(&world, &name, None).await;

            let record = instance.records().pop().unwrap();
            let asked = |name| record.header(name).unwrap_or_default();
            let key = BASE64_STANDARD.decode(asked("sec-websocket-key")).unwrap();
            assert_eq!(key.len(), 16, "{record:?}");
            assert_eq!(asked("upgrade"), "websocket");
            assert_eq!(asked("sec-websocket-protocol"), SUBPROTOCOL);
            let ours = record.headers.iter();
            let mut ours = ours.filter(|(name, _)| name.starts_with("x-berth") || name == "te");
            assert_eq!(ours.next(), None);
            let closed = How::ClientClose {
                code: Some(4000),
                reason: "done".to_owned(),
            };
            assert_eq!(record.how(), Some(&closed));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_taken_out_wherever_it_was() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let instance = world.instance("web-1").unwrap();
    for version in VERSIONS {
        for carrier in [Carrier::Header, Carrier::Query, Carrier::Subprotocol] {
            let client = version.client(&world, "web", "alice").carrier(carrier);
            let session = client.subprotocol(SUBPROTOCOL).connect().await.unwrap();
            assert_eq!(session.subprotocol(), Some(SUBPROTOCOL), "{carrier:?}");
            let record = instance.records().pop().unwrap();
            assert!(!format!("{record:?}").contains("eyJ"), "{record:?}");
            session.close(1000, "").await.unwrap();
            lease_is(&world, "web-1", None).await;
        }
    }
}
