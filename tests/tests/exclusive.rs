//! An instance never has two sessions, by the emulators' own records.
#![cfg(test)]

use std::sync::Arc;
use std::time::Duration;

use berth_client::{Message, Session};
use berth_tests::{Attempt, Family, Pool, World};
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(20);
const ROUNDS: u64 = 4;

#[tokio::test(flavor = "multi_thread")]
async fn forty_clients_at_once_share_two_instances_between_two_of_them() {
    // Workers are VMs that know nothing of each other; so are processes.
    for (envoys, workers) in [(1, 4), (2, 2)] {
        let world = World::builder()
            .pool("web", Family::Web, two_that_settle)
            .envoys(envoys)
            .envoy_workers(workers)
            .start()
            .await
            .unwrap();
        for round in 1..=ROUNDS {
            let case = format!("{envoys} Envoys with {workers} workers, round {round}");
            let sessions = two_of_forty(&world, &case).await;
            for instance in world.instances() {
                assert_eq!(
                    (instance.live(), instance.max_concurrent()),
                    (1, 1),
                    "{case}"
                );
                assert_eq!(
                    instance.requests(),
                    round,
                    "{case}: a refused client came to an instance"
                );
            }
            // Each way of leaving, and both at once: the next forty come as soon as it is known.
            let mut leaving = JoinSet::new();
            for (number, session) in (round..).zip(sessions) {
                leaving.spawn(leave(session, number));
            }
            leaving.join_all().await;
            everything_is_free(&world).await;
        }
    }
}

/// Has forty clients ask at once, of whom two get a session.
async fn two_of_forty(world: &World, case: &str) -> Vec<Session> {
    let mut attempts = JoinSet::new();
    for _ in 0..40 {
        let client = world.client("web").unwrap();
        attempts.spawn(async move { client.attempt().await.unwrap() });
    }
    let (mut sessions, mut refusals) = (Vec::new(), Vec::new());
    for attempt in attempts.join_all().await {
        match attempt {
            // Kept until everyone has an answer: nobody may get in after another.
            Attempt::Admitted(session) => sessions.push(*session),
            Attempt::Refused(refusal) => refusals.push(refusal),
        }
    }
    assert_eq!((sessions.len(), refusals.len()), (2, 38), "{case}");
    for refusal in &refusals {
        assert_eq!(
            (refusal.status, refusal.reason()),
            (503, Some("no_instance")),
            "{case}"
        );
        assert!(
            refusal.retry_after().is_some_and(|seconds| seconds >= 1),
            "{case}: {refusal:?}"
        );
    }
    sessions
}

/// Leaves in one of three ways.
async fn leave(session: Session, way: u64) {
    match way % 3 {
        0 => drop(session.close(1000, "").await.unwrap()),
        1 => drop(session.finish().await.unwrap()),
        _ => session.abort(),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sessions_follow_each_other_without_overlapping() {
    let world = Arc::new(
        World::builder()
            .pool("web", Family::Web, two_that_settle)
            .envoys(2)
            .envoy_workers(4)
            .start()
            .await
            .unwrap(),
    );
    let mut clients = JoinSet::new();
    for number in 0..12 {
        let world = Arc::clone(&world);
        clients.spawn(async move { come_and_go(&world, number).await });
    }
    let served: usize = clients.join_all().await.into_iter().sum();

    everything_is_free(&world).await;
    let mut recorded = 0;
    for instance in world.instances() {
        assert_eq!(instance.max_concurrent(), 1);
        recorded += instance.records().len();
    }
    assert_eq!(recorded, served, "a session that no client had");
}

/// Asks until it has been admitted a few times, leaves in a different way each time, and says how often that was.
async fn come_and_go(world: &World, number: u64) -> usize {
    let mut admitted = 0;
    while admitted < 2 {
        let Attempt::Admitted(mut session) = world.client("web").unwrap().attempt().await.unwrap()
        else {
            continue;
        };
        session.send(Message::text("mine")).await.unwrap();
        assert_eq!(session.receive_data().await.unwrap(), Message::text("mine"));
        leave(*session, number + admitted).await;
        admitted += 1;
    }
    admitted as usize
}

/// Instances that are given a moment after each session, as by default: they see its end a moment after their proxy.
fn two_that_settle(pool: Pool) -> Pool {
    pool.instances(2).settle(Duration::from_millis(250))
}

async fn everything_is_free(world: &World) {
    for name in ["web-1", "web-2"] {
        world.berth().wait_until_free(name, SOON).await.unwrap();
        let instance = world.instance(name).unwrap();
        instance
            .wait_for(SOON, |ledger| ledger.live() == 0)
            .await
            .unwrap();
    }
}
