//! A client that comes back.

use std::time::Duration;

use berth_client::Departure;
use berth_tests::{Attempt, ClientBuilder, Family, SecondDevice, World};
use tokio::time::timeout;

use crate::crowd::Crowd;
use crate::{
    SOON, client, echo, established, lease_is, live, never_two_at_once, no_instance, visits,
};

const BOTH: [&str; 2] = ["web-1", "web-2"];

fn keyed(client: ClientBuilder, key: Option<&str>) -> ClientBuilder {
    match key {
        Some(key) => client.resume_key(key),
        None => client,
    }
}

/// Two instances, of which `bob` has one.
async fn two_instances(window: Duration, policy: SecondDevice) -> (World, berth_client::Session) {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(2).second_device(policy);
            // Long enough for a close to be told at the next tick.
            pool.resume_window(window).hold(Duration::from_secs(10))
        })
        .start()
        .await
        .unwrap();
    let bob = live(&world, "web", "bob").await;
    (world, bob)
}

/// Where `who` has been, oldest first.
fn places(world: &World, who: &str) -> Vec<String> {
    let visits = visits(world, &BOTH, who);
    visits.into_iter().map(|(instance, _)| instance).collect()
}

/// Every visit of `who` ended before the next began, by the instances' clocks, and all were to one instance.
fn one_after_the_other(world: &World, who: &str, count: usize) {
    let visits = visits(world, &BOTH, who);
    assert_eq!(visits.len(), count, "{visits:#?}");
    for pair in visits.windows(2) {
        let [(first, old), (second, new)] = pair else {
            panic!("windows of two");
        };
        assert_eq!(first, second, "{visits:#?}");
        let end = old.end.as_ref().expect("the old one has ended");
        assert!(end.at <= new.from, "{visits:#?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn inside_its_window_a_client_gets_its_own_instance_though_others_keep_asking() {
    let (world, _bob) = two_instances(Duration::from_secs(60), SecondDevice::TakeOver).await;
    let mut session = live(&world, "web", "alice").await;
    let instance = places(&world, "alice").pop().unwrap();
    let crowd = Crowd::gather(&world, "web", 2, no_instance);
    let mallory = client(&world, "web", "mallory").resume_key("k");
    // Without a key, or on either side of a return without one, the user alone counts.
    for (count, key) in (2..).zip([None, Some("k"), Some("k"), None]) {
        echo(&mut session, "before").await;
        session.abort();
        lease_is(&world, &instance, Some("resumable")).await;
        crowd.refused_again(4).await;
        // Another user's equal key is another key.
        no_instance(&mallory.refusal().await.unwrap());

        let again = keyed(client(&world, "web", "alice"), key);
        session = established(&world, &again, "alice").await;
        echo(&mut session, "again").await;
        one_after_the_other(&world, "alice", count);
    }
    assert_eq!(crowd.disperse().await.len(), 0);
    never_two_at_once(&world);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_its_window_a_client_holds_nothing() {
    let window = Duration::from_secs(2);
    let (world, _bob) = two_instances(window, SecondDevice::TakeOver).await;
    let alice = client(&world, "web", "alice").resume_key("k");
    let session = established(&world, &alice, "alice").await;
    let instance = places(&world, "alice").pop().unwrap();
    let crowd = Crowd::gather(&world, "web", 2, no_instance);
    crowd.refused_again(2).await;
    session.abort();

    crowd.admitted_are(1).await;
    no_instance(&alice.refusal().await.unwrap());
    let _others = crowd.disperse().await;
    let records = world.instance(&instance).unwrap().records();
    let [.., old, new] = records.as_slice() else {
        panic!("{records:#?}");
    };
    let kept = new.from.duration_since(old.end.as_ref().unwrap().at);
    // The instance may see the end a moment after the control plane heard of it.
    assert!(kept > window - Duration::from_millis(200), "{kept:?}");
    never_two_at_once(&world);
}

/// What a user's second request comes to while the first session is live.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Second {
    /// The first session's instance, once that session is closed.
    SameInstance,
    /// An instance of its own.
    AnotherInstance,
    /// 409.
    Refused,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_request_while_the_first_session_is_live() {
    use Second::{AnotherInstance, Refused, SameInstance};
    use SecondDevice::{Allow, Refuse, TakeOver};
    let cases: [Case; 10] = [
        // The headset changed networks: its key is its own, whatever the policy for other devices.
        (TakeOver, Some("k"), Some("k"), SameInstance),
        (Refuse, Some("k"), Some("k"), SameInstance),
        (Allow, Some("k"), Some("k"), SameInstance),
        // Another device.
        (TakeOver, None, None, SameInstance),
        (TakeOver, Some("k"), None, SameInstance),
        (TakeOver, Some("k"), Some("l"), SameInstance),
        (Refuse, None, None, Refused),
        (Refuse, Some("k"), Some("l"), Refused),
        (Allow, None, None, AnotherInstance),
        (Allow, Some("k"), Some("l"), AnotherInstance),
    ];
    let of = |policy| cases.iter().filter(move |case| case.0 == policy);
    tokio::join!(
        second_requests(of(TakeOver)),
        second_requests(of(Refuse)),
        second_requests(of(Allow)),
    );
}

type Case = (
    SecondDevice,
    Option<&'static str>,
    Option<&'static str>,
    Second,
);

/// The cases of one policy, which has a world of its own.
async fn second_requests(cases: impl Iterator<Item = &Case>) {
    let mut cases = cases.enumerate().peekable();
    let (_, (policy, ..)) = *cases.peek().expect("each policy has cases");
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(2).second_device(*policy);
            pool.hold(Duration::from_secs(10))
        })
        .start()
        .await
        .unwrap();
    for (number, (_, first, second, expected)) in cases {
        let case = format!("{policy:?}: {first:?}, then {second:?}");
        eprintln!("{case}");
        let who = format!("alice-{number}");
        let old = keyed(client(&world, "web", &who), *first);
        let mut old = established(&world, &old, &who).await;
        let new = keyed(client(&world, "web", &who), *second);
        let mut session = match (new.attempt().await.unwrap(), expected) {
            (Attempt::Admitted(session), Second::SameInstance | Second::AnotherInstance) => {
                *session
            }
            (Attempt::Refused(refusal), Second::Refused) => {
                let answer = (refusal.status, refusal.reason());
                assert_eq!(answer, (409, Some("session_exists")), "{case}");
                echo(&mut old, "still here").await;
                old.close(1000, "").await.unwrap();
                continue;
            }
            other => panic!("{case}: {other:?}"),
        };
        echo(&mut session, "new").await;
        if *expected == Second::SameInstance {
            one_after_the_other(&world, &who, 2);
            let departure = timeout(SOON, old.departure()).await.unwrap().unwrap();
            assert!(
                matches!(departure, Departure::Fin | Departure::Reset),
                "{case}: {departure:?}"
            );
        } else {
            let mut places = places(&world, &who);
            places.sort();
            assert_eq!(places, BOTH, "{case}");
            echo(&mut old, "still here").await;
            old.close(1000, "").await.unwrap();
        }
        session.close(1000, "").await.unwrap();
        for instance in BOTH {
            lease_is(&world, instance, None).await;
        }
    }
    never_two_at_once(&world);
}

/// The old stream is closed at a tick, and nobody else slips in between.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_gets_in_between_an_old_session_and_the_one_that_replaces_it() {
    let (world, _bob) = two_instances(Duration::ZERO, SecondDevice::TakeOver).await;
    let alice = client(&world, "web", "alice").resume_key("k");
    let mut sessions = vec![established(&world, &alice, "alice").await];
    let crowd = Crowd::gather(&world, "web", 2, no_instance);
    for count in 2..5 {
        let mut session = alice.connect().await.unwrap();
        echo(&mut session, "again").await;
        one_after_the_other(&world, "alice", count);
        sessions.push(session);
    }
    crowd.refused_again(2).await;
    assert_eq!(crowd.disperse().await.len(), 0);
    never_two_at_once(&world);
}
