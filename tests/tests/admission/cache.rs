//! What is remembered of tokens whose signature was right.

use std::time::Duration;

use berth_tests::{Seen, World, wait_until};
use serde_json::{Value, json};

use crate::{SOON, counter, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_verified_is_known_the_next_time() {
    let world = world(json!({ "entries": 2, "max_age": "1h" })).await;
    let looked_up = Counted::now(&world).await;
    let clients = ["alice", "bob", "carol"].map(|who| {
        // The same token each time, to the last bit.
        let token = world.token().subject(who).sign().unwrap();
        world.client("web").unwrap().credential(&token)
    });
    let [alice, bob, carol] = &clients;
    let steps = [
        ("alice's is new", alice, false),
        ("and then is not", alice, true),
        ("bob's is new", bob, false),
        ("and alice's still known", alice, true),
        ("carol's takes the place of one", carol, false),
        ("and is known", carol, true),
    ];
    let (mut hits, mut misses) = (0, 0);
    for (step, client, hit) in steps {
        assert_eq!(verdict(client).await, "admitted", "{step}");
        if hit {
            hits += 1
        } else {
            misses += 1
        }
        looked_up.since(&world, hits, misses, step).await;
    }
    // There is room for two.
    for client in &clients {
        assert_eq!(verdict(client).await, "admitted");
    }
    let now = Counted::now(&world).await;
    assert!(now.misses > looked_up.misses + misses, "three were known");

    // What is known is who signed it; that it is good today is asked each time.
    let short = world.token().expires_in(2).sign().unwrap();
    let short = world.client("web").unwrap().credential(&short);
    assert_eq!(verdict(&short).await, "admitted");
    let before = Counted::now(&world).await;
    wait_until("its token to end", SOON, async || {
        let answer = verdict(&short).await;
        Ok(Seen::when(answer == "token_expired", answer))
    })
    .await
    .unwrap();
    let after = Counted::now(&world).await;
    assert!(after.hits > before.hits);
    assert_eq!(after.misses, before.misses, "it was verified again");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_remembered() {
    let world = world(json!({})).await;
    let looked_up = Counted::now(&world).await;
    let altered = world.token().altered().sign().unwrap();
    let altered = world.client("web").unwrap().credential(&altered);
    for misses in 1..=3 {
        assert_eq!(verdict(&altered).await, "bad_signature");
        looked_up.since(&world, 0, misses, "refused").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_remembered_for_as_long_as_the_policy_says() {
    let world = world(json!({ "max_age": "1s" })).await;
    let token = world.token().sign().unwrap();
    let client = world.client("web").unwrap().credential(&token);
    let begun = Counted::now(&world).await;
    // Known for some of the time, and verified again in time.
    wait_until("it to be forgotten", SOON, async || {
        assert_eq!(verdict(&client).await, "admitted");
        let now = Counted::now(&world).await;
        let (hits, misses) = (now.hits - begun.hits, now.misses - begun.misses);
        Ok(Seen::when(
            hits > 0 && misses >= 3,
            format!("{hits} hits, {misses} misses"),
        ))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_remembered_if_the_policy_says_so() {
    let world = world(json!({ "entries": 0 })).await;
    let looked_up = Counted::now(&world).await;
    let token = world.token().sign().unwrap();
    let client = world.client("web").unwrap().credential(&token);
    for misses in 1..=3 {
        assert_eq!(verdict(&client).await, "admitted");
        looked_up.since(&world, 0, misses, "again").await;
    }
}

/// One worker, whose memory all requests come to.
async fn world(token_cache: Value) -> World {
    World::builder()
        .web_instances(1)
        .envoy_workers(1)
        .issuer(json!({ "clock_skew": "0s" }))
        .admission(json!({ "token_cache": token_cache }))
        .start()
        .await
        .unwrap()
}

struct Counted {
    hits: u64,
    misses: u64,
}

impl Counted {
    async fn now(world: &World) -> Self {
        Self {
            hits: counter(world, "token_cache.hit").await,
            misses: counter(world, "token_cache.miss").await,
        }
    }

    /// Waits until it has become so many more.
    async fn since(&self, world: &World, hits: u64, misses: u64, step: &str) {
        wait_until(step, Duration::from_secs(5), async || {
            let now = Self::now(world).await;
            let more = (now.hits - self.hits, now.misses - self.misses);
            Ok(Seen::when(more == (hits, misses), format!("{more:?}")))
        })
        .await
        .unwrap();
    }
}
