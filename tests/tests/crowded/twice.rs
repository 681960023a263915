//! One session id, and two VMs that use it.

use std::time::Duration;

use berth_tests::vm::{Vm, listed};
use berth_tests::{Family, World};

use crate::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_the_vms_that_used_it_first() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.instances(2))
        // These VMs tick when the test says so.
        .tick(Duration::from_secs(3))
        .start()
        .await
        .unwrap();
    let berth = world.berth();
    let series = "berth_messages_ignored_total{kind=\"foreign_session\"}";
    let ignored = async || berth.metric(series).await.unwrap();
    let [own, other] = [
        Vm::new(&world, "own").await.unwrap(),
        Vm::new(&world, "other").await.unwrap(),
    ];
    let grant = own.acquire(1, "one", "alice").await.unwrap().unwrap();
    let live = || vec![listed("one", "alice", Some(&grant))];
    own.full(2, live()).await.unwrap();
    let lease = async || {
        let instance = berth.instance(&grant.instance).await.unwrap();
        instance.lease.unwrap()
    };
    let before = lease().await;
    assert_eq!(
        (before.session.as_str(), before.state.as_str()),
        ("one", "active")
    );

    let mut seen = ignored().await;
    for who in ["alice", "mallory"] {
        let refusal = other.acquire(1, "one", who).await.unwrap().unwrap_err();
        assert_eq!(refusal.reason, "bad_request", "{who}");
        assert_eq!(ignored().await, seen + 1.0, "{who}");
        seen += 1.0;
    }
    // An end that it guessed, one with the right fence, that it lists it as its own, and that it does not.
    other.hint(2, "one").await.unwrap();
    other.end(3, "one", Some(&grant)).await.unwrap();
    other.full(4, live()).await.unwrap();
    assert_eq!(ignored().await, seen + 3.0);
    other.full(5, Vec::new()).await.unwrap();
    assert_eq!(lease().await, before);
    let granted = berth.metric("berth_sessions_granted_total").await;
    assert_eq!(granted.unwrap(), 1.0);

    // Its own VM's word ends it.
    own.full(3, live()).await.unwrap();
    assert_eq!(lease().await, before);
    own.end(4, "one", Some(&grant)).await.unwrap();
    berth.wait_until_free(&grant.instance, SOON).await.unwrap();
}
