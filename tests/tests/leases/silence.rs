//! A proxy that falls silent: its leases are orphans until it is back, or until `orphan_after`.

use std::time::Duration;

use berth_tests::vm::Vm;
use berth_tests::{Family, World};

use crate::crowd::Crowd;
use crate::{client, deserted, echo, lease_is, live, never_two_at_once, no_instance, visits};

async fn metric(world: &World, name: &str) -> f64 {
    world.berth().metric(name).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_envoys_leases_are_orphans_until_it_goes_on() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let mut alice = live(&world, "web", "alice").await;
    let lease = world.berth().instance("web-1").await.unwrap().lease;
    for round in 1..3 {
        world.envoy(0).unwrap().pause().unwrap();
        let orphan = lease_is(&world, "web-1", Some("orphaned")).await.lease;
        assert_eq!(orphan.unwrap().subject, "alice");
        // Her instance is nobody's, not even her own by another way in.
        for who in ["bob", "alice"] {
            let other = Vm::new(&world, &format!("{who}-{round}")).await.unwrap();
            let refused = other
                .acquire(1, &format!("{who}-{round}"), who)
                .await
                .unwrap();
            assert_eq!(refused.unwrap_err().reason, "no_instance", "{who}");
        }

        world.envoy(0).unwrap().resume().unwrap();
        let back = lease_is(&world, "web-1", Some("active")).await.lease;
        assert_eq!(back, lease);
        echo(&mut alice, "back").await;
        let round = f64::from(round);
        assert_eq!(metric(&world, "berth_leases_orphaned_total").await, round);
        assert_eq!(metric(&world, "berth_leases_reclaimed_total").await, round);
    }
    assert_eq!(metric(&world, "berth_orphans_released_total").await, 0.0);
    assert_eq!(world.instance("web-1").unwrap().requests(), 1);
    alice.close(1000, "").await.unwrap();
    lease_is(&world, "web-1", None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_envoys_leases_are_given_up_after_a_while_and_counted() {
    let orphan_after = Duration::from_secs(7);
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.orphan_after(orphan_after))
        .envoys(2)
        .start()
        .await
        .unwrap();
    let _alice = live(&world, "web", "alice").await;
    let sessions = world.berth().sessions().await.unwrap();
    let [session] = sessions.as_slice() else {
        panic!("{sessions:?}");
    };
    let index = if session.node == "envoy-0" { 0 } else { 1 };
    let crowd = Crowd::gather(&world, "web", 2, no_instance);
    crowd.refused_again(2).await;
    world.envoy(index).unwrap().kill().await.unwrap();
    deserted(&world, "web-1").await;
    lease_is(&world, "web-1", Some("orphaned")).await;
    // By the Envoy that is left, she waits like anyone.
    let again = client(&world, "web", "alice").refusal().await.unwrap();
    no_instance(&again);
    crowd.refused_again(4).await;
    assert_eq!(crowd.admitted(), 0);

    crowd.admitted_are(1).await;
    let (_, alices) = visits(&world, &["web-1"], "alice").pop().unwrap();
    let records = world.instance("web-1").unwrap().records();
    let [_, new] = records.as_slice() else {
        panic!("{records:#?}");
    };
    let kept = new.from.duration_since(alices.end.unwrap().at);
    // It counts from the last Sync, which may be a tick older than the Envoy's end.
    let least = orphan_after - Duration::from_millis(1500);
    assert!(kept > least, "given away after {kept:?}");
    assert_eq!(metric(&world, "berth_orphans_released_total").await, 1.0);
    assert_eq!(metric(&world, "berth_lease_overlaps_total").await, 0.0);
    never_two_at_once(&world);
    drop(crowd.disperse().await);
}

/// A new process is a new VM: what the old one had is no business of its.
#[tokio::test(flavor = "multi_thread")]
async fn a_restarted_envoy_does_not_speak_for_the_sessions_of_the_old_one() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(2).orphan_after(Duration::from_secs(7))
        })
        .start()
        .await
        .unwrap();
    let _alice = live(&world, "web", "alice").await;
    let (hers, _) = visits(&world, &["web-1", "web-2"], "alice").pop().unwrap();
    world.envoy(0).unwrap().restart().await.unwrap();
    let mut bob = live(&world, "web", "bob").await;
    lease_is(&world, &hers, Some("orphaned")).await;
    no_instance(&client(&world, "web", "carol").refusal().await.unwrap());
    lease_is(&world, &hers, None).await;
    echo(&mut bob, "hello").await;
    let mut carol = live(&world, "web", "carol").await;
    echo(&mut carol, "hello").await;
    never_two_at_once(&world);
}

/// Stopped for longer than it waits for a silent proxy: it is the one that did not listen.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_control_plane_takes_its_own_deafness_for_nobodys_silence() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.orphan_after(Duration::from_secs(4))
                .hold(Duration::from_secs(6))
        })
        .start()
        .await
        .unwrap();
    let mut alice = live(&world, "web", "alice").await;
    let lease = world.berth().instance("web-1").await.unwrap().lease;
    world.berth().pause().unwrap();
    // A request is held in vain for longer than an orphan is kept.
    let refusal = client(&world, "web", "bob").refusal().await.unwrap();
    assert_eq!(refusal.reason(), Some("control_plane_away"), "{refusal:?}");
    let crowd = Crowd::gather(&world, "web", 2, no_instance);
    echo(&mut alice, "while it is stopped").await;
    world.berth().resume().unwrap();

    crowd.refused_again(6).await;
    assert_eq!(crowd.disperse().await.len(), 0);
    assert_eq!(lease_is(&world, "web-1", Some("active")).await.lease, lease);
    echo(&mut alice, "afterwards").await;
    assert_eq!(metric(&world, "berth_orphans_released_total").await, 0.0);
    never_two_at_once(&world);
}
