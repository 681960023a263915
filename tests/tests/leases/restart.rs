//! What a control plane knows after it was killed, by what it has written down.

use std::time::Duration;

use berth_client::Departure;
use berth_tests::{Family, World};
use tokio::time::timeout;

use crate::{SOON, client, echo, established, lease_is, live, never_two_at_once, visits};

const ALL: [&str; 4] = ["web-1", "web-2", "web-3", "web-4"];

/// Where `who` was last.
fn place(world: &World, who: &str) -> String {
    visits(world, &ALL, who).pop().unwrap().0
}

async fn told(world: &World, arguments: &[&str]) -> String {
    world.berth().command(arguments).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_answered_outlives_the_process() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(4).hold(Duration::from_secs(10));
            pool.resume_window(Duration::from_secs(120)).queue(1)
        })
        .start()
        .await
        .unwrap();
    let alice = live(&world, "web", "alice").await;
    let mut bob = live(&world, "web", "bob").await;
    let mut carol = live(&world, "web", "carol").await;
    let [hers, his, carols] = ["alice", "bob", "carol"].map(|who| place(&world, who));
    let taken = [hers.as_str(), his.as_str(), carols.as_str()];
    let spare = ALL.into_iter().find(|name| !taken.contains(name)).unwrap();

    // A window, a drain, a quarantine and a termination, each of which was answered.
    alice.abort();
    lease_is(&world, &hers, Some("resumable")).await;
    told(&world, &["instances", "drain", &his]).await;
    told(&world, &["instances", "quarantine", spare]).await;
    let lease = world.berth().instance(&carols).await.unwrap().lease;
    told(&world, &["sessions", "terminate", &lease.unwrap().session]).await;
    world.berth().kill().await.unwrap();
    world.berth().restart().await.unwrap();

    let departure = timeout(SOON, carol.departure()).await.unwrap().unwrap();
    assert!(
        matches!(departure, Departure::Fin | Departure::Reset),
        "{departure:?}"
    );
    assert!(world.berth().instance(&his).await.unwrap().draining);
    assert!(world.berth().instance(spare).await.unwrap().quarantined);
    echo(&mut bob, "still here").await;
    // Somebody new gets what was Carol's, for the rest is closed to them; Alice gets what was hers.
    let dave = client(&world, "web", "dave");
    let mut dave = established(&world, &dave, "dave").await;
    assert_eq!(place(&world, "dave"), carols);
    let mut alice = live(&world, "web", "alice").await;
    assert_eq!(place(&world, "alice"), hers);
    assert_eq!(visits(&world, &ALL, "alice").len(), 2);
    for session in [&mut alice, &mut dave] {
        echo(session, "hello").await;
    }

    // What was over before is told as well as what was over after.
    for (who, end) in [("alice", "client"), ("carol", "terminated")] {
        let history = told(&world, &["history", "--subject", who, "--since", "1h"]).await;
        let lines: Vec<_> = history.lines().skip(1).collect();
        let [line] = lines.as_slice() else {
            panic!("{history}");
        };
        assert!(line.contains(&format!("  {end}  ")), "{history}");
        assert!(line.contains("  least_recently_used, one of "), "{history}");
    }
    never_two_at_once(&world);
}
