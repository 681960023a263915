//! Who somebody is without a token: API keys and client certificates.

use berth_tests::{Algorithm, ClientAuthority, Error, Identity, World, raw};
use serde_json::{Value, json};

use crate::{SOON, leave, said};

#[tokio::test(flavor = "multi_thread")]
async fn an_api_key_stands_for_its_user() {
    let admission = json!({
        "carriers": [{ "query": "token" }, { "header": { "name": "x-api-key" } }, "authorization"],
        "api_keys": [
            { "subject": "robot", "sha256": ROBOT_SHA256, "tenant": "acme", "pools": ["web"] },
            { "subject": "kiosk", "sha256": KIOSK_SHA256.to_uppercase() },
        ],
    });
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .admission(admission)
        .start()
        .await
        .unwrap();
    let key = |pool, key: &str| {
        let client = world.client(pool).unwrap().without_token();
        client.header("x-api-key", key)
    };
    for (pool, path, instance) in [
        ("web", "/sign_in", "web-1"),
        ("native", "/rtsp", "native-1"),
    ] {
        let session = key(pool, KIOSK).connect().await.unwrap();
        let lease = world.berth().instance(instance).await.unwrap().lease;
        assert_eq!(lease.unwrap().subject, "kiosk");
        let record = world.instance(instance).unwrap().records().pop().unwrap();
        assert_eq!(record.path_and_query, path);
        assert_eq!(record.header("x-api-key"), None);
        assert!(!format!("{record:?}").contains(KIOSK));
        leave(&world, session, instance).await;
    }
    let answer = key("web", ROBOT).verdict().await.unwrap();
    let answer: Value = serde_json::from_str(&answer.body).unwrap();
    let expected = json!({
        "verdict": "admitted", "family": "web", "pool": "web", "issuer": "api_key", "subject": "robot",
        "tenant": "acme",
    });
    assert_eq!(answer, expected);
    let token = world.token().sign().unwrap();
    let cases = [
        (
            "a pool it is not for",
            key("native", ROBOT),
            "pool_forbidden",
        ),
        (
            "one of nobody's",
            key("web", "berth-test-key-of-nobody"),
            "unknown_api_key",
        ),
        ("its hash", key("web", ROBOT_SHA256), "unknown_api_key"),
        (
            "a part of it",
            key("web", &ROBOT[..ROBOT.len() - 1]),
            "unknown_api_key",
        ),
        (
            "two that are good",
            key("web", ROBOT).header("authorization", format!("Bearer {KIOSK}")),
            "malformed_token",
        ),
        (
            "it and a token",
            key("web", ROBOT).header("authorization", format!("Bearer {token}")),
            "malformed_token",
        ),
    ];
    for (name, client, reason) in cases {
        let refusal = client.refusal().await.unwrap();
        assert_eq!(said(&refusal), reason, "{name}");
    }
    // Nobody needs to know more of a key than its hash.
    for log in [world.berth().log(), world.envoy(0).unwrap().log()] {
        assert!(!log.contains(ROBOT) && !log.contains(KIOSK), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_certificate_stands_for_its_user_unless_there_is_a_token() {
    let (ours, foreign) = (ClientAuthority::new(), ClientAuthority::new());
    let (ours, foreign) = (ours.unwrap(), foreign.unwrap());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    std::fs::write(&ca, ours.pem()).unwrap();
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .client_ca(&ca)
        .admission(json!({
            "client_certificates": [
                { "name": "uri_san", "matches": { "prefix": "spiffe://lab.example/" }, "tenant": "lab" },
                { "name": "dns_san", "matches": { "suffix": ".kiosks.example" }, "pools": ["native"] },
                { "name": "subject", "matches": { "exact": "CN=operator" } },
            ],
            "origins": ["https://app.example.com"],
        }))
        .start()
        .await
        .unwrap();
    let identity = |name, uri, dns| Some(ours.identity(name, uri, dns).unwrap());
    let headset = identity(
        "headset-7",
        "spiffe://lab.example/headset-7",
        "headset-7.example",
    );
    let kiosk = identity(
        "kiosk",
        "spiffe://else.example/kiosk",
        "seven.kiosks.example",
    );
    let operator = identity("operator", "spiffe://else.example/o", "o.example");
    let nobody = identity("operators", "spiffe://lab.example.else/x", "kiosks.example");
    let alice = world.token().subject("alice");
    let (expired, alice) = (
        alice.clone().expired(),
        alice.clone().algorithm(Algorithm::Es256),
    );
    let cases = [
        ("a URI", &headset, None, "spiffe://lab.example/headset-7"),
        ("a subject", &operator, None, "CN=operator"),
        (
            "a name that is not for this pool",
            &kiosk,
            None,
            "pool_forbidden",
        ),
        ("names that are nobody's", &nobody, None, "no_token"),
        ("no certificate", &None, None, "no_token"),
        ("a token besides", &headset, Some(&alice), "alice"),
        (
            "a token that is not good besides",
            &headset,
            Some(&expired),
            "token_expired",
        ),
        ("a token alone", &None, Some(&alice), "alice"),
    ];
    for (name, identity, token, expected) in cases {
        let token = token.map(|token| token.sign().unwrap());
        let answer = ask(&world, identity.as_ref(), token.as_deref())
            .await
            .unwrap();
        let body: Value = serde_json::from_str(&answer.body).unwrap();
        let found = match answer.status {
            200 => &body["subject"],
            _ => &body["reason"],
        };
        assert_eq!(found, expected, "{name}: {body}");
        let tenant = (expected.starts_with("spiffe:")).then_some("lab");
        assert_eq!(body["tenant"].as_str(), tenant, "{name}");
    }

    // A session by certificate alone, at last.
    let dial = world.dial().identity(headset.as_ref().unwrap());
    let mut connection = dial.open(SOON).await.unwrap();
    let request = raw::upgrade_request(b"/web/sign_in", &[]);
    connection.write(&request).await.unwrap();
    assert_eq!(connection.answer(SOON).await.unwrap().status, 101);
    let lease = world.berth().instance("web-1").await.unwrap().lease;
    assert_eq!(lease.unwrap().subject, "spiffe://lab.example/headset-7");
    let record = world.instance("web-1").unwrap().records().pop().unwrap();
    assert_eq!(record.header("x-forwarded-client-cert"), None);

    // The same name by a CA of the same name.
    let impostor = foreign.identity("headset-7", "spiffe://lab.example/headset-7", "a.example");
    let answer = ask(&world, Some(&impostor.unwrap()), None).await;
    assert!(matches!(answer, Err(Error::Io { .. })), "{answer:?}");
}

/// What a plain GET is answered.
async fn ask(
    world: &World,
    identity: Option<&Identity>,
    token: Option<&str>,
) -> Result<raw::Answer, Error> {
    let dial = identity.map_or_else(|| world.dial(), |identity| world.dial().identity(identity));
    let mut connection = dial.open(SOON).await?;
    let query = token.map(|token| format!("?token={token}"));
    let query = query.unwrap_or_default();
    let request = format!("GET /web/sign_in{query} HTTP/1.1\r\nhost: localhost\r\n\r\n");
    connection.write(request.as_bytes()).await?;
    connection.answer(SOON).await
}

const ROBOT: &str = "berth-test-key-of-a-robot-5f1c9a2e7d";
const ROBOT_SHA256: &str = "0e0caa2b1fc7b127580a1aa09a85ccc0e4a698d73ca31c68d09cf9d17e8da60b";
const KIOSK: &str = "berth-test-key-of-a-kiosk-83be04c6f1";
const KIOSK_SHA256: &str = "1630f568ac90861db4b071920be15322bad5f3b10b066e215199ab4e3d3f8d9f";
