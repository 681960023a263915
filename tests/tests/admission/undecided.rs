//! Tokens that a proxy cannot check: they are decided by the control plane, with the request for an instance.

use std::net::{IpAddr, Ipv4Addr};

use berth_tests::vm::Vm;
use berth_tests::{Algorithm, Family, SigningKeys, Token, World, WorldBuilder, raw};
use serde_json::{Value, json};

use crate::{Change, SOON, counter, leave, said, verdict};

fn world() -> WorldBuilder {
    let keys = SigningKeys::of_tests().unwrap();
    World::builder().more_keys(Algorithm::UNDECIDED.map(|algorithm| keys.jwk(algorithm)))
}

#[tokio::test(flavor = "multi_thread")]
async fn is_admitted_as_if_the_filter_had_decided() {
    let world = world()
        .pool("web", Family::Web, |pool| {
            pool.instances(2).label(1, "region", "us")
        })
        .pool("lab", Family::Web, |pool| {
            pool.instances(2).label(2, "region", "eu")
        })
        .start()
        .await
        .unwrap();
    let client = |algorithm| {
        let token = world.token().algorithm(algorithm);
        let token = token.subject("alice").claim("tenant", "acme");
        // The path names no pool: the only one that the token permits is meant.
        let client = world.client("lab").unwrap().path("/sign_in");
        client.token(token.pools(["lab"])).query("region", "eu")
    };
    let answer = async |algorithm| {
        let response = client(algorithm).verdict().await.unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        let mut body: Value = serde_json::from_str(&response.body).unwrap();
        // Tokens are made a second apart.
        body["expires_at"] = body["expires_at"].is_u64().into();
        body
    };
    let expected = answer(Algorithm::Rs256).await;
    assert_eq!(
        (&expected["pool"], &expected["tenant"]),
        (&json!("lab"), &json!("acme"))
    );
    for (index, algorithm) in (1..).zip(Algorithm::UNDECIDED) {
        let name = algorithm.name();
        assert_eq!(answer(algorithm).await, expected, "{name}");
        let session = client(algorithm).connect().await.unwrap();
        let listed = world.berth().sessions().await.unwrap().remove(0);
        assert_eq!(
            (
                listed.subject.as_str(),
                listed.pool.as_str(),
                listed.instance.as_deref()
            ),
            ("alice", "lab", Some("lab-2")),
            "{name}"
        );
        let record = world.instance("lab-2").unwrap().records().pop().unwrap();
        assert_eq!(record.path_and_query, "/sign_in?region=eu", "{name}");
        assert_eq!(counter(&world, "admission.undecided").await, 2 * index);
        leave(&world, session, "lab-2").await;
    }
    // The secret is nobody's but the control plane's; the other keys are known to the proxy, which cannot use them.
    let known = world
        .envoy(0)
        .unwrap()
        .config_dump()
        .await
        .unwrap()
        .to_string();
    let secret = SigningKeys::of_tests().unwrap().jwk(Algorithm::Hs256);
    assert!(!known.contains(secret["k"].as_str().unwrap()));
    assert!(known.contains(Algorithm::Rs256.key_id()));
}

#[tokio::test(flavor = "multi_thread")]
async fn is_refused_as_if_the_filter_had_decided() {
    let world = world()
        .web_instances(1)
        // Each of these is a failure of the same address.
        .admission(json!({ "attempts": { "burst": 100, "per_minute": 1 } }))
        .start()
        .await
        .unwrap();
    let cases: [(&str, Change); 7] = [
        ("bad_signature", Token::altered),
        ("token_expired", Token::expired),
        ("wrong_audience", |token| token.claim("aud", "else")),
        ("malformed_token", |token| token.claim("priority", "high")),
        ("pool_forbidden", |token| token.pools(["else"])),
        ("unknown_key", |token| token.header("kid", "another")),
        ("token_not_yet_valid", Token::not_yet_valid),
    ];
    for algorithm in Algorithm::UNDECIDED {
        for (reason, change) in cases {
            let token = change(world.token().algorithm(algorithm));
            let client = world.client("web").unwrap().token(token);
            let name = format!("{reason} by {}", algorithm.name());
            let refusal = client.refusal().await.unwrap();
            assert_eq!(said(&refusal), reason, "{name}");
            let challenged = refusal.headers.contains_key("www-authenticate");
            assert_eq!(challenged, refusal.status == 401, "{name}: {refusal:?}");
            assert_eq!(verdict(&client).await, reason, "{name}");
        }
    }
    assert_eq!(world.instance("web-1").unwrap().requests(), 0);
    assert_eq!(world.berth().sessions().await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_tokens_are_not_good_is_not_asked_about_any_more() {
    let world = limited().await;
    let altered = world.token().algorithm(Algorithm::Ps256).altered();
    let altered = world.client("web").unwrap().token(altered);
    for _ in 0..BURST {
        assert_eq!(verdict(&altered).await, "bad_signature");
    }
    let good = world.token().algorithm(Algorithm::Ps256);
    let good = world.client("web").unwrap().token(good);
    for client in [&altered, &good, &altered] {
        assert_eq!(verdict(client).await, "too_many_attempts");
        let refusal = client.refusal().await.unwrap();
        assert_eq!(
            (refusal.status, said(&refusal).as_str()),
            (429, "too_many_attempts")
        );
    }
    // As many as were answered came to the control plane.
    assert_eq!(
        counter(&world, "admission.undecided").await,
        u64::from(BURST)
    );
    assert_eq!(counter(&world, "attempts.limited").await, 6);

    // Somebody else is asked about, and let in.
    let token = world.token().algorithm(Algorithm::Ps256).sign().unwrap();
    let other = world.dial().from(IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2)));
    let mut other = other.open(SOON).await.unwrap();
    let bearer = format!("Bearer {token}");
    let request = raw::upgrade_request(b"/web/sign_in", &[("authorization", bearer.as_bytes())]);
    other.write(&request).await.unwrap();
    assert_eq!(other.answer(SOON).await.unwrap().status, 101);
}

/// However many proxies a client goes through, and whatever those say.
#[tokio::test(flavor = "multi_thread")]
async fn the_control_plane_counts_failures_too() {
    let world = limited().await;
    let vm = Vm::new(&world, "a-vm-of-its-own").await.unwrap();
    let good = world.token().algorithm(Algorithm::Ps256);
    let altered = good.clone().altered().sign().unwrap();
    let good = good.sign().unwrap();
    let mut sequence = 0;
    let mut ask = async |client: &str, token: &str| {
        sequence += 1;
        let session = format!("session-{sequence}");
        let answer = vm
            .acquire_unverified(sequence, &session, client, token)
            .await;
        match answer.unwrap() {
            Ok(_) => "admitted".to_owned(),
            Err(refusal) => refusal.reason,
        }
    };
    for _ in 0..BURST {
        assert_eq!(ask("192.0.2.1", &altered).await, "bad_signature");
    }
    for token in [&altered, &good] {
        assert_eq!(ask("192.0.2.1", token).await, "too_many_attempts");
    }
    assert_eq!(ask("192.0.2.2", &good).await, "admitted");
}

/// One worker, whose memory all requests come to.
async fn limited() -> World {
    world()
        .web_instances(1)
        .envoy_workers(1)
        .admission(json!({ "attempts": { "burst": BURST, "per_minute": 1 } }))
        .start()
        .await
        .unwrap()
}

const BURST: u32 = 3;
