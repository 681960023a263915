//! The control plane is killed and comes back under live sessions.

use std::time::Duration;

use berth_client::{Response, Session};
use berth_tests::{Attempt, Family, Lease, Pool, WhenAway, World, WorldBuilder};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::{
    SOON, client, deserted, echo, lease_is, live, never_two_at_once, no_instance, visits, waiting,
};

const INSTANCES: [&str; 3] = ["web-1", "web-2", "web-3"];

/// Three instances, two of which `alice` and `bob` have. Without a store, the next process learns that.
async fn two_of_three(world: WorldBuilder) -> (World, [Session; 2]) {
    let world = world.pool("web", Family::Web, |pool| {
        pool.instances(3).hold(Duration::from_secs(12))
    });
    let world = world.start().await.unwrap();
    let sessions = [
        live(&world, "web", "alice").await,
        live(&world, "web", "bob").await,
    ];
    (world, sessions)
}

async fn leases(world: &World) -> Vec<Lease> {
    let instances = world.berth().instances().await.unwrap();
    let mut leases: Vec<_> = instances.into_iter().filter_map(|it| it.lease).collect();
    leases.sort_by(|a, b| a.subject.cmp(&b.subject));
    leases
}

fn away(refusal: &Response) {
    let answer = (refusal.status, refusal.reason());
    assert_eq!(answer, (503, Some("control_plane_away")), "{refusal:?}");
    assert!(refusal.retry_after().is_some(), "{refusal:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_live_on_and_are_learnt_before_anything_is_given_out() {
    let (world, mut sessions) = two_of_three(World::builder().forgetful()).await;
    let before = leases(&world).await;
    world.berth().kill().await.unwrap();
    let mut waiting = JoinSet::new();
    for number in 0..10 {
        let client = client(&world, "web", &format!("other-{number}"));
        waiting.spawn(async move { client.attempt().await.unwrap() });
    }
    for session in &mut sessions {
        echo(session, "while it is away").await;
    }
    assert!(waiting.try_join_next().is_none(), "somebody did not wait");
    world.berth().restart().await.unwrap();
    for session in &mut sessions {
        echo(session, "while it learns").await;
    }

    let mut admitted = Vec::new();
    for attempt in waiting.join_all().await {
        match attempt {
            Attempt::Admitted(session) => admitted.push(session),
            Attempt::Refused(refusal) => no_instance(&refusal),
        }
    }
    assert_eq!(admitted.len(), 1, "one instance was free");
    never_two_at_once(&world);
    for (session, who) in sessions.iter_mut().zip(["alice", "bob"]) {
        echo(session, "afterwards").await;
        assert_eq!(visits(&world, &INSTANCES, who).len(), 1, "{who} was moved");
    }
    let after = leases(&world).await;
    let known = after.iter().filter(|lease| before.contains(lease));
    assert_eq!(known.count(), 2, "before: {before:#?}; after: {after:#?}");
    let metric = async |name| world.berth().metric(name).await.unwrap();
    assert_eq!(metric("berth_leases_adopted_total").await, 2.0);
    assert_eq!(metric("berth_lease_overlaps_total").await, 0.0);

    // What was learnt ends like what was granted.
    for session in sessions {
        session.close(1000, "").await.unwrap();
    }
    drop(admitted);
    for name in INSTANCES {
        lease_is(&world, name, None).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_meanwhile_is_not_learnt() {
    without_alice(World::builder().forgetful()).await;
}

/// Remembered it is, until its proxy says otherwise; who comes meanwhile waits.
#[tokio::test(flavor = "multi_thread")]
async fn a_session_that_ended_meanwhile_is_forgotten() {
    let queue = |pool: Pool| pool.queue(2);
    without_alice(World::builder().pool("web", Family::Web, queue)).await;
}

async fn without_alice(world: WorldBuilder) {
    let (world, [alice, mut bob]) = two_of_three(world).await;
    world.berth().kill().await.unwrap();
    alice.close(1000, "").await.unwrap();
    let (was, _) = visits(&world, &INSTANCES, "alice").pop().unwrap();
    deserted(&world, &was).await;
    world.berth().restart().await.unwrap();
    let others = [
        live(&world, "web", "carol").await,
        live(&world, "web", "dave").await,
    ];
    echo(&mut bob, "still here").await;
    never_two_at_once(&world);
    assert_eq!(leases(&world).await.len(), 3);
    drop(others);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_requests_are_refused_if_the_operator_wants_that() {
    let (world, mut sessions) =
        two_of_three(World::builder().when_control_plane_away(WhenAway::Refuse)).await;
    world.berth().kill().await.unwrap();
    for number in 0..5 {
        let client = client(&world, "web", &format!("other-{number}"));
        away(&client.refusal().await.unwrap());
        away(&client.verdict().await.unwrap());
    }
    for session in &mut sessions {
        echo(session, "while it is away").await;
    }
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    let mut carol = live(&world, "web", "carol").await;
    for session in sessions.iter_mut().chain([&mut carol]) {
        echo(session, "afterwards").await;
    }
    never_two_at_once(&world);
}

/// SIGTERM: what an operator does to install a new version.
#[tokio::test(flavor = "multi_thread")]
async fn it_ends_promptly_when_asked_and_sessions_live_on() {
    let (world, mut sessions) = two_of_three(World::builder().forgetful()).await;
    ends_promptly(&world).await;
    for session in &mut sessions {
        echo(session, "while it is away").await;
    }
    world.berth().restart().await.unwrap();

    // It learns, and so holds what is asked. Whoever is held is held by the next one, too.
    let carol = client(&world, "web", "carol");
    let carol = tokio::spawn(async move { carol.connect().await });
    waiting(&world, |waiting| waiting.subject == "carol").await;
    ends_promptly(&world).await;
    world.berth().restart().await.unwrap();
    let mut carol = carol.await.unwrap().unwrap();
    for session in sessions.iter_mut().chain([&mut carol]) {
        echo(session, "afterwards").await;
    }
    never_two_at_once(&world);
}

/// Asks the control plane to end, which it does in order and without waiting for anybody.
async fn ends_promptly(world: &World) {
    let asked = Instant::now();
    let ended = world.berth().stop().await.unwrap().unwrap();
    assert!(ended.success(), "{ended}");
    assert!(asked.elapsed() < SOON / 4, "{:?}", asked.elapsed());
}
