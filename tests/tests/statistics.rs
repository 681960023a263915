//! What a real Envoy counts of the filter.
#![cfg(test)]

use std::time::Duration;

use berth_admission::Reason;
use berth_tests::{Seen, World, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn envoy_counts_what_the_filter_does_in_all_its_workers() {
    let world = World::builder()
        .web_instances(2)
        .envoy_workers(3)
        .start()
        .await
        .unwrap();
    let stats = get(&world, "/stats").await;
    for reason in Reason::ALL {
        let name = format!("wasmcustom.berth.admission.refused.{reason}");
        assert!(value(&stats, &name).is_some(), "{name} is not there");
    }
    // A world is ready when a client would be let in: it was looked whether one is.
    let allowed = value(&stats, "wasmcustom.berth.admission.allowed").unwrap();

    let client = world.client("web").unwrap();
    let _sessions = [
        client.connect().await.unwrap(),
        world.client("web").unwrap().connect().await.unwrap(),
    ];
    for _ in 0..WITHOUT_TOKEN {
        client.clone().without_token().refusal().await.unwrap();
    }
    let third = world.client("web").unwrap().refusal().await.unwrap();
    assert_eq!(third.reason(), Some("no_instance"));
    let session = world.berth().sessions().await.unwrap().remove(0);
    world.berth().terminate(&session.id).await.unwrap();

    let expected = [
        ("admission.allowed", allowed + 3),
        ("admission.refused.no_token", WITHOUT_TOKEN),
        ("admission.refused.no_instance", 1),
        ("session.closed.berth", 1),
        ("session.closed.max_age", 0),
    ];
    counts(&world, &expected).await;
    // A bucket that everything is in tells how many there are; Envoy adds up what its workers recorded every 5 s.
    let prometheus = get(&world, "/stats/prometheus").await;
    let verified = |le| format!(r#"berth_admission_verify_us_bucket{{le="{le}"}}"#);
    let found = prometheus.contains(&verified("+Inf")) && prometheus.contains(&verified("50"));
    assert!(found, "{prometheus}");
    let found = prometheus.contains("berth_admission_refused_no_token{} 5");
    assert!(found, "{prometheus}");
}

/// Waits until these are the counts, and the times of as many decisions have been recorded as there were requests.
async fn counts(world: &World, expected: &[(&str, u64)]) {
    wait_until("what was done to be counted", SOON, async || {
        let stats = get(world, "/stats").await;
        let found = expected.iter().map(|(name, _)| {
            let full = format!("wasmcustom.berth.{name}");
            (*name, value(&stats, &full).unwrap_or(u64::MAX))
        });
        let found: Vec<_> = found.collect();
        let recorded = ["verify_us", "decide_us"].iter().all(|name| {
            let begin = format!("wasmcustom.berth.admission.{name}: P0(");
            stats.lines().any(|line| line.starts_with(&begin))
        });
        Ok(Seen::when(
            recorded && found == expected,
            format!("{found:?}, {recorded}"),
        ))
    })
    .await
    .unwrap();
}

/// A line has a statistic's name, a colon and its value.
fn value(stats: &str, name: &str) -> Option<u64> {
    let mut lines = stats.lines();
    lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")?.parse().ok())
}

async fn get(world: &World, path: &str) -> String {
    let url = format!("{}{path}", world.envoy(0).unwrap().admin_url());
    let response = reqwest::get(url).await.unwrap();
    response.text().await.unwrap()
}

const WITHOUT_TOKEN: u64 = 5;
const SOON: Duration = Duration::from_secs(20);
