//! An instance that fails its probes is given to nobody until it recovers; a live session on it is left alone.

use std::time::Duration;

use berth_tests::{Family, Seen, World, wait_until};

use crate::crowd::Crowd;
use crate::{SOON, client, echo, lease_is, live, no_instance, visits};

const PROBE: Duration = Duration::from_millis(200);

async fn world(http: bool, instances: u16) -> World {
    World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(instances).probe(PROBE, 2, 2);
            if http { pool.http_probe() } else { pool }
        })
        .start()
        .await
        .unwrap()
}

/// Waits until the control plane thinks so of an instance.
async fn health_is(world: &World, instance: &str, health: &str) {
    wait_until(format!("{instance} to be {health}"), SOON, async || {
        let now = world.berth().instance(instance).await?;
        Ok(Seen::when(now.health == health, format!("{now:?}")))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_fails_its_probes_is_given_to_nobody_and_comes_back() {
    // By the readiness answer, and by a port that nobody listens on.
    for http in [true, false] {
        let world = world(http, 2).await;
        for round in 0..2 {
            eprintln!("http: {http}, round {round}");
            let broken = world.instance("web-1").unwrap();
            if http {
                broken.set_ready(false);
            } else {
                broken.kill().await;
            }
            let before = broken.requests();
            health_is(&world, "web-1", "down").await;
            // One of them gets the other instance, and none gets this one.
            let crowd = Crowd::gather(&world, "web", 3, no_instance);
            crowd.admitted_are(1).await;
            crowd.refused_again(4).await;
            assert_eq!(crowd.admitted(), 1);
            assert_eq!(broken.requests(), before);
            lease_is(&world, "web-1", None).await;

            if http {
                broken.set_ready(true);
            } else {
                world.restart_instance("web-1").await.unwrap();
            }
            crowd.admitted_are(2).await;
            health_is(&world, "web-1", "up").await;
            assert_eq!(world.instance("web-1").unwrap().live(), 1);
            for session in crowd.disperse().await {
                session.close(1000, "").await.unwrap();
            }
            for name in ["web-1", "web-2"] {
                lease_is(&world, name, None).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_is_left_alone() {
    let world = world(true, 1).await;
    let mut alice = live(&world, "web", "alice").await;
    let lease = world.berth().instance("web-1").await.unwrap().lease;
    for _ in 0..3 {
        world.instance("web-1").unwrap().set_ready(false);
        health_is(&world, "web-1", "down").await;
        echo(&mut alice, "while it is down").await;
        world.instance("web-1").unwrap().set_ready(true);
        health_is(&world, "web-1", "up").await;
        echo(&mut alice, "while it is up").await;
    }
    let now = world.berth().instance("web-1").await.unwrap().lease;
    assert_eq!(now, lease);
    assert_eq!(visits(&world, &["web-1"], "alice").len(), 1);

    // What ends while the instance is down does not make it anybody's.
    world.instance("web-1").unwrap().set_ready(false);
    health_is(&world, "web-1", "down").await;
    alice.close(1000, "").await.unwrap();
    lease_is(&world, "web-1", None).await;
    let refusal = client(&world, "web", "bob").refusal().await.unwrap();
    no_instance(&refusal);
    world.instance("web-1").unwrap().set_ready(true);
    let crowd = Crowd::gather(&world, "web", 1, no_instance);
    crowd.admitted_are(1).await;
    drop(crowd.disperse().await);
}
