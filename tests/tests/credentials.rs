//! A credential is read by the filter, and comes nowhere else.
#![cfg(test)]

use std::time::Duration;

use berth_client::{Carrier, Message};
use berth_tests::{Algorithm, Token, World};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn tokens_and_resume_keys_are_in_no_log_no_metric_and_no_record() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .control_plane_log("trace")
        .start()
        .await
        .unwrap();
    let envoy = world.envoy(0).unwrap();
    // `http` alone writes down what a client sent, before any filter sees it; `debug` there is for a closed room.
    envoy.set_log_level("level", "trace").await.unwrap();
    envoy.set_log_level("http", "info").await.unwrap();
    let mut secrets = Vec::new();
    let mut secret = |token: Token| {
        let text = token.sign().unwrap();
        // A claim set or a signature alone is as much of a secret as the whole.
        secrets.extend(text.split('.').skip(1).map(str::to_owned));
        text
    };
    let carriers = [Carrier::Header, Carrier::Query, Carrier::Subprotocol];
    let changes: [fn(Token) -> Token; 5] = [
        |token| token,
        |token| token.algorithm(Algorithm::Es256),
        Token::expired,
        Token::altered,
        |token| token.claim("iss", "https://login.else.example"),
    ];
    for pool in ["web", "native"] {
        for carrier in carriers {
            for change in changes {
                let text = secret(change(world.token().subject("alice")));
                let client = world
                    .client(pool)
                    .unwrap()
                    .carrier(carrier)
                    .credential(&text)
                    .resume_key(RESUME_KEY)
                    .subprotocol("x-nv-sessionid.1");
                client.verdict().await.unwrap();
                if let berth_tests::Attempt::Admitted(mut session) = client.attempt().await.unwrap()
                {
                    session.send(Message::text("hello")).await.unwrap();
                    session.receive_data().await.unwrap();
                    let told = format!(
                        "{:?} {:?}",
                        world.berth().sessions().await.unwrap(),
                        world.berth().instances().await.unwrap()
                    );
                    assert!(told.contains("alice"), "{told}");
                    assert!(!told.contains(RESUME_KEY), "{told}");
                    session.close(1000, "").await.unwrap();
                    world
                        .berth()
                        .wait_until_free(&format!("{pool}-1"), SOON)
                        .await
                        .unwrap();
                }
            }
        }
    }
    // Something that looks like a token and is none, or is one of another kind.
    for text in ["s3cret-and-no-token", "czNjcmV0LQ.czNjcmV0LQ.czNjcmV0LQ"] {
        secrets.push(text.to_owned());
        world
            .client("web")
            .unwrap()
            .credential(text)
            .refusal()
            .await
            .unwrap();
    }
    secrets.push(RESUME_KEY.to_owned());

    let records: Vec<_> = world
        .instances()
        .iter()
        .flat_map(|instance| instance.records())
        .collect();
    assert_eq!(records.len(), 12, "what was admitted");
    let stats = envoy.config_dump().await.unwrap().to_string();
    let places = [
        ("an instance's records", format!("{records:?}")),
        ("Envoy's log", envoy.log()),
        ("Envoy's configuration", stats),
        ("the control plane's log", world.berth().log()),
        (
            "the control plane's metrics",
            world.berth().metrics().await.unwrap(),
        ),
    ];
    for (place, text) in &places {
        for secret in &secrets {
            assert!(!text.contains(secret.as_str()), "{place} has {secret}");
        }
        // And no part of one: the beginning of a claim set says whose it is.
        assert!(!text.contains("eyJ"), "{place} has a part of a token");
    }
    // The logs are those of these sessions.
    let sessions = |text: &str| text.matches("instance leased").count();
    assert_eq!(sessions(&world.berth().log()), records.len());
    let log = envoy.log();
    for said in [
        "proxy_on_request_headers",
        "[debug][router]",
        "[trace][http2]",
    ] {
        assert!(log.contains(said), "Envoy's log lacks {said}");
    }
}

const RESUME_KEY: &str = "resume-key-of-this-test";
