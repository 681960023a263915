//! A session whose token ends.

use std::time::Duration;

use berth_tests::{Algorithm, Seen, SigningKeys, Token, World, unix_seconds, wait_until};
use serde_json::json;
use tokio::time::timeout;

use crate::{SOON, counter, echo};

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_closes_what_its_token_no_longer_covers_while_the_control_plane_is_stopped() {
    let key = SigningKeys::of_tests().unwrap().jwk(Algorithm::Ps256);
    let world = World::builder()
        .web_instances(3)
        .more_keys([key])
        .issuer(json!({ "close_when_expired": true }))
        .start()
        .await
        .unwrap();
    let ends = unix_seconds() + LASTS;
    let open = async |token: Token| world.client("web").unwrap().token(token).connect().await;
    // Decided by the filter, and by the control plane.
    let here = world.token().subject("here").claim("exp", ends);
    let there = here.clone().subject("there").algorithm(Algorithm::Ps256);
    let mut here = open(here).await.unwrap();
    let mut there = open(there).await.unwrap();
    let mut longer = open(world.token().subject("longer")).await.unwrap();
    world.berth().pause().unwrap();
    for session in [&mut here, &mut there, &mut longer] {
        echo(session).await;
    }
    assert!(unix_seconds() < ends, "it took too long to come here");
    for (session, who) in [(&mut here, "RS256"), (&mut there, "PS256")] {
        timeout(SOON, session.departure()).await.unwrap().unwrap();
        let after = unix_seconds() - ends;
        // In whole seconds, of which the first may have been nearly over.
        assert!((0..=LATE).contains(&after), "{who}: after {after} s");
    }
    for instance in ["web-1", "web-2"] {
        let instance = world.instance(instance).unwrap();
        let left = instance.wait_for(SOON, |ledger| ledger.live() == 0);
        left.await.unwrap();
    }
    echo(&mut longer).await;
    assert_eq!(counter(&world, "session.closed.token_expired").await, 2);

    world.berth().resume().unwrap();
    for instance in ["web-1", "web-2"] {
        world.berth().wait_until_free(instance, SOON).await.unwrap();
    }
    echo(&mut longer).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unless_the_policy_says_so_a_session_outlives_its_token() {
    let world = World::builder()
        .web_instances(1)
        .issuer(json!({ "clock_skew": "0s" }))
        .start()
        .await
        .unwrap();
    let token = world.token().expires_in(2);
    let ends = token.claims()["exp"].as_i64().unwrap();
    let client = world.client("web").unwrap().token(token);
    let mut session = client.connect().await.unwrap();
    wait_until("the token to be long over", SOON, async || {
        let over = unix_seconds() - ends;
        Ok(Seen::when(over > LATE, format!("{over} s")))
    })
    .await
    .unwrap();
    echo(&mut session).await;
    assert_eq!(counter(&world, "session.closed.token_expired").await, 0);
    // It could not come in anew.
    let refusal = client.refusal().await.unwrap();
    assert_eq!(refusal.reason(), Some("token_expired"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_waits_is_refused_when_its_token_ends() {
    let world = World::builder()
        .pool("web", berth_client::Family::Web, |pool| {
            pool.instances(1).queue(8).hold(Duration::from_secs(8))
        })
        .issuer(json!({ "clock_skew": "0s" }))
        .start()
        .await
        .unwrap();
    let _first = world.client("web").unwrap().connect().await.unwrap();
    let token = world.token().expires_in(2);
    let ends = token.claims()["exp"].as_i64().unwrap();
    let refusal = world.client("web").unwrap().token(token).refusal().await;
    assert_eq!(refusal.unwrap().reason(), Some("token_expired"));
    let after = unix_seconds() - ends;
    assert!((0..=LATE).contains(&after), "after {after} s");
}

/// For how long the tokens last, in seconds: for two sessions to be opened meanwhile.
const LASTS: i64 = 5;
/// What is promised of every end that a clock brings, in seconds.
const LATE: i64 = 2;
