//! The operator's words, said by the command line.

use std::time::Duration;

use berth_client::Departure;
use berth_tests::{Error, Family, World};
use tokio::time::timeout;

use crate::crowd::Crowd;
use crate::{PROMPTLY, client, deserted, echo, lease_is, live, no_instance, visits};

/// One instance, kept for its client for a minute.
async fn one_instance() -> World {
    World::builder()
        .pool("web", Family::Web, |pool| {
            pool.resume_window(Duration::from_secs(60))
        })
        .start()
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_instance_keeps_its_client_and_takes_no_other() {
    let world = one_instance().await;
    let mut alice = live(&world, "web", "alice").await;
    let told = world
        .berth()
        .command(&["instances", "drain", "web-1"])
        .await;
    assert!(told.unwrap().contains("web-1"));
    assert!(world.berth().instance("web-1").await.unwrap().draining);
    echo(&mut alice, "still here").await;

    // She may come back to it, as long as her window is open.
    alice.abort();
    lease_is(&world, "web-1", Some("resumable")).await;
    let mut alice = live(&world, "web", "alice").await;
    echo(&mut alice, "back").await;
    assert_eq!(visits(&world, &["web-1"], "alice").len(), 2);

    alice.close(1000, "").await.unwrap();
    lease_is(&world, "web-1", None).await;
    for who in ["alice", "bob"] {
        no_instance(&client(&world, "web", who).refusal().await.unwrap());
    }
    let crowd = Crowd::gather(&world, "web", 1, no_instance);
    crowd.refused_again(2).await;
    let told = world
        .berth()
        .command(&["instances", "undrain", "web-1"])
        .await;
    assert!(told.unwrap().contains("web-1"));
    crowd.admitted_are(1).await;
    drop(crowd.disperse().await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_terminated_session_is_closed_and_its_instance_anybodys() {
    let world = one_instance().await;
    let mut alice = live(&world, "web", "alice").await;
    let lease = world
        .berth()
        .instance("web-1")
        .await
        .unwrap()
        .lease
        .unwrap();
    let crowd = Crowd::gather(&world, "web", 1, no_instance);
    crowd.refused_again(2).await;
    let id = lease.session.as_str();
    let told = world.berth().command(&["sessions", "terminate", id]).await;
    assert!(told.unwrap().contains(id));

    let departure = timeout(PROMPTLY, alice.departure()).await.unwrap();
    let departure = departure.unwrap();
    assert!(
        matches!(departure, Departure::Fin | Departure::Reset),
        "{departure:?}"
    );
    // There is nothing to come back to: the crowd has it.
    crowd.admitted_are(1).await;
    no_instance(&client(&world, "web", "alice").refusal().await.unwrap());
    for session in crowd.disperse().await {
        session.close(1000, "").await.unwrap();
    }
    deserted(&world, "web-1").await;
    assert_eq!(world.instance("web-1").unwrap().max_concurrent(), 1);

    let unknown = world.berth().command(&["sessions", "terminate", id]).await;
    assert!(matches!(unknown, Err(Error::Failed { .. })), "{unknown:?}");
}
