//! An address that presents credentials which are not accepted.

use std::net::{IpAddr, Ipv4Addr};

use berth_tests::{Seen, World, raw, wait_until};
use serde_json::json;

use crate::{SOON, counter, said, verdict};

#[tokio::test(flavor = "multi_thread")]
async fn after_so_many_failures_nothing_is_verified() {
    let world = world(1).await;
    let known = world.token().sign().unwrap();
    let known = world.client("web").unwrap().credential(&known);
    assert_eq!(verdict(&known).await, "admitted");
    // What is accepted does not count, however much of it there is.
    for number in 0..2 * BURST {
        let user = world.client("web").unwrap();
        let user = user.subject(&format!("user-{number}"));
        assert_eq!(verdict(&user).await, "admitted");
    }
    let altered = world.token().altered();
    let altered = world.client("web").unwrap().token(altered);
    for _ in 0..BURST {
        assert_eq!(verdict(&altered).await, "bad_signature");
    }
    let before = verified(&world, 3 * u64::from(BURST) + 1).await;
    let stranger = world.client("web").unwrap().subject("stranger");
    let no_key = world.client("web").unwrap().credential("no-token-at-all");
    for client in [&altered, &stranger, &no_key] {
        assert_eq!(verdict(client).await, "too_many_attempts");
        let refusal = client.refusal().await.unwrap();
        assert_eq!(
            (refusal.status, said(&refusal).as_str()),
            (429, "too_many_attempts")
        );
        // At one attempt a minute.
        assert_eq!(refusal.retry_after(), Some(60));
    }
    assert_eq!(counter(&world, "attempts.limited").await, 6);
    assert_eq!(
        counter(&world, "admission.refused.too_many_attempts").await,
        6
    );
    // Who was known is known, and who brings nothing is told so.
    assert_eq!(verdict(&known).await, "admitted");
    let nothing = world.client("web").unwrap().without_token();
    assert_eq!(verdict(&nothing).await, "no_token");

    // Another address is none the worse for it, and what it brings is the only thing that was verified since.
    assert_eq!(from_elsewhere(&world).await, 101);
    verified(&world, before + 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_while_one_more_may_be_tried() {
    // One in three seconds.
    let world = world(20).await;
    let altered = world.token().altered();
    let altered = world.client("web").unwrap().token(altered);
    for _ in 0..BURST {
        assert_eq!(verdict(&altered).await, "bad_signature");
    }
    let good = world.client("web").unwrap();
    let mut refused = 0;
    wait_until("to be let try again", SOON, async || {
        let answer = verdict(&good).await;
        refused += usize::from(answer == "too_many_attempts");
        Ok(Seen::when(answer == "admitted", answer))
    })
    .await
    .unwrap();
    assert!(refused > 0);
}

/// One worker, whose memory all requests come to.
async fn world(per_minute: u32) -> World {
    World::builder()
        .web_instances(1)
        .envoy_workers(1)
        .admission(json!({ "attempts": { "burst": BURST, "per_minute": per_minute } }))
        .start()
        .await
        .unwrap()
}

/// What a client of another address is answered.
async fn from_elsewhere(world: &World) -> u16 {
    let elsewhere = IpAddr::V4(Ipv4Addr::new(127, 0, 0, 2));
    let mut connection = world.dial().from(elsewhere).open(SOON).await.unwrap();
    let bearer = format!("Bearer {}", world.token().sign().unwrap());
    let headers = [("authorization", bearer.as_bytes())];
    let request = raw::upgrade_request(b"/web/sign_in", &headers);
    connection.write(&request).await.unwrap();
    connection.answer(SOON).await.unwrap().status
}

/// Waits until at least so many signatures were computed, and says how many. Envoy adds them up every five seconds.
async fn verified(world: &World, least: u64) -> u64 {
    let series = r#"berth_admission_verify_us_count{}"#;
    let url = format!("{}/stats/prometheus", world.envoy(0).unwrap().admin_url());
    wait_until(format!("{least} verifications"), SOON, async || {
        let stats = reqwest::get(&url).await.unwrap().text().await.unwrap();
        let line = stats.lines().find_map(|line| line.strip_prefix(series));
        let count: Option<u64> = line.and_then(|count| count.trim().parse().ok());
        Ok(match count {
            Some(count) if count >= least => Seen::Yes(count),
            count => Seen::NotYet(format!("{count:?}")),
        })
    })
    .await
    .unwrap()
}

const BURST: u32 = 3;
