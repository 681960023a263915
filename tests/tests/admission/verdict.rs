//! What a plain GET of a signaling URL is told: a browser cannot read a refused upgrade.

use berth_tests::{AUDIENCE, ISSUER, World};
use serde_json::{Value, json};

use crate::leave;

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_get_is_told_the_verdict_and_takes_nothing() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    for (pool, tenant) in [("web", Some("acme")), ("native", None)] {
        let mut token = world.token().subject("alice").pools(["web", "native"]);
        if let Some(tenant) = tenant {
            token = token.claim("tenant", tenant);
        }
        let expires = token.claims()["exp"].as_i64().unwrap() + SKEW;
        let client = world.client(pool).unwrap().token(token);
        let answer = client.verdict().await.unwrap();
        let mut expected = json!({
            "verdict": "admitted",
            "family": pool,
            "pool": pool,
            "issuer": ISSUER,
            "subject": "alice",
            "expires_at": expires,
        });
        if let Some(tenant) = tenant {
            expected["tenant"] = tenant.into();
        }
        assert_eq!((answer.status, json_of(&answer)), (200, expected), "{pool}");
        assert_eq!(answer.headers["cache-control"], "no-store");
        assert_eq!(answer.headers.get("x-berth-reason"), None);
    }
    let token = world.token().claim("aud", "somebody-else");
    let client = world.client("web").unwrap().token(token);
    let answer = client.verdict().await.unwrap();
    let said = json_of(&answer);
    assert_eq!(answer.status, 401);
    assert_eq!(answer.headers["content-type"], "application/json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert_eq!(
        (&said["verdict"], &said["reason"], &said["status"]),
        (&json!("refused"), &json!("wrong_audience"), &json!(401))
    );
    // Nor does it say what it would have to be.
    assert!(!said.to_string().contains(&format!("\"{AUDIENCE}\"")));

    // An instance that another has is none for this one, and says so.
    let session = world.client("web").unwrap().connect().await.unwrap();
    let late = world.client("web").unwrap().verdict().await.unwrap();
    assert_eq!(late.reason(), Some("no_instance"));
    let seconds = json_of(&late)["retry_after_seconds"].as_u64();
    assert_eq!(seconds, late.retry_after());
    assert!(seconds.is_some_and(|seconds| seconds >= 1), "{late:?}");
    leave(&world, session, "web-1").await;

    for (instance, requests) in [("web-1", 1), ("native-1", 0)] {
        assert_eq!(world.instance(instance).unwrap().requests(), requests);
    }
    assert_eq!(world.berth().sessions().await.unwrap(), []);
}

fn json_of(response: &berth_client::Response) -> Value {
    serde_json::from_str(&response.body).unwrap()
}

/// An issuer's clock may be so far from ours, in seconds, unless said otherwise.
const SKEW: i64 = 60;
