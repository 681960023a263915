//! Who waits for an instance, and whose turn it is.

use std::time::Duration;

use berth_client::{Response, Session};
use berth_tests::{Attempt, ClientBuilder, Error, Family, Pool, Seen, World, wait_until};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, timeout};

use crate::{
    SOON, WHO, client, deserted, echo, lease_is, live, never_two_at_once, no_instance, visits,
    waiting,
};

/// One instance, and room for four who wait for it long enough for all of them to have their turn.
fn busy(pool: Pool) -> Pool {
    let pool = pool.settle(Duration::from_millis(250));
    pool.queue(4).hold(HOLD)
}

/// `who` of a tenant, as urgent as that.
fn of_tenant(world: &World, who: &str, tenant: &str, priority: u8) -> ClientBuilder {
    let token = world.token().subject(who).claim("tenant", tenant);
    client(world, "web", who).token(token.claim("priority", priority))
}

/// Has `client` ask, and waits until it stands in the queue.
async fn queues(
    world: &World,
    who: &'static str,
    client: ClientBuilder,
) -> JoinHandle<Result<Attempt, Error>> {
    let asks = tokio::spawn(async move { client.attempt().await });
    waiting(world, |session| session.subject == who).await;
    asks
}

async fn admitted(asks: JoinHandle<Result<Attempt, Error>>) -> Session {
    match timeout(SOON, asks).await.unwrap().unwrap().unwrap() {
        Attempt::Admitted(session) => *session,
        Attempt::Refused(refusal) => panic!("{refusal:?}"),
    }
}

/// Waits until only these wait.
async fn in_the_queue(world: &World, expected: &[&str]) {
    wait_until(format!("{expected:?} to wait"), SOON, async || {
        let sessions = world.berth().sessions().await?;
        let waiting = sessions.iter().filter(|session| session.state == "waiting");
        let mut waiting: Vec<_> = waiting.map(|session| session.subject.as_str()).collect();
        waiting.sort_unstable();
        Ok(Seen::when(waiting == expected, format!("{waiting:?}")))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_gets_a_turn() {
    let world = World::builder()
        .pool("web", Family::Web, busy)
        .pool("brief", Family::Web, |pool| pool.queue(1))
        .start()
        .await
        .unwrap();
    in_turn(&world).await;
    who_leaves_is_passed_over(&world).await;
    a_full_queue_refuses(&world).await;
    nobody_waits_for_ever(&world).await;
    never_two_at_once(&world);
}

/// The most urgent first, then one tenant after the other, and in each who came first.
async fn in_turn(world: &World) {
    let alice = live(world, "web", "alice").await;
    let mut visits = JoinSet::new();
    for (who, tenant, priority) in [
        ("a-1", "a", 0),
        ("a-2", "a", 0),
        ("b-1", "b", 0),
        ("a-3", "a", 5),
    ] {
        let client = of_tenant(world, who, tenant, priority);
        visits.spawn(visit(queues(world, who, client).await));
    }
    alice.close(1000, "").await.unwrap();
    visits.join_all().await;
    lease_is(world, "web-1", None).await;
    let records = world.instance("web-1").unwrap().records();
    let order: Vec<_> = records.iter().map(|record| record.header(WHO)).collect();
    let expected = ["alice", "a-3", "a-1", "b-1", "a-2"];
    assert_eq!(order, expected.map(Some));
}

async fn visit(asks: JoinHandle<Result<Attempt, Error>>) {
    let mut session = admitted(asks).await;
    echo(&mut session, "hello").await;
    session.close(1000, "").await.unwrap();
}

async fn who_leaves_is_passed_over(world: &World) {
    let alice = live(world, "web", "alice").await;
    let leaves = queues(world, "leaves", client(world, "web", "leaves")).await;
    let stays = queues(world, "stays", client(world, "web", "stays")).await;
    leaves.abort();
    in_the_queue(world, &["stays"]).await;
    alice.close(1000, "").await.unwrap();
    visit(stays).await;
    lease_is(world, "web-1", None).await;
    assert_eq!(visits(world, &["web-1"], "leaves").len(), 0);
}

async fn a_full_queue_refuses(world: &World) {
    let alice = live(world, "web", "alice").await;
    let mut waiting = Vec::new();
    for who in ["first", "second", "third", "fourth"] {
        waiting.push(queues(world, who, client(world, "web", who)).await);
    }
    let asked_at = Instant::now();
    let refusal = client(world, "web", "fifth").refusal().await.unwrap();
    refused_with(&refusal, "queue_full");
    assert!(asked_at.elapsed() < HOLD / 2, "{:?}", asked_at.elapsed());
    for asks in waiting {
        asks.abort();
    }
    in_the_queue(world, &[]).await;
    alice.close(1000, "").await.unwrap();
    lease_is(world, "web-1", None).await;
    deserted(world, "web-1").await;
}

async fn nobody_waits_for_ever(world: &World) {
    let alice = live(world, "brief", "alice").await;
    let asked_at = Instant::now();
    let refusal = client(world, "brief", "late").refusal().await.unwrap();
    no_instance(&refusal);
    let waited = asked_at.elapsed();
    assert!(waited >= BRIEF_HOLD && waited < HOLD, "{waited:?}");
    alice.close(1000, "").await.unwrap();
}

#[track_caller]
fn refused_with(refusal: &Response, reason: &str) {
    let found = (refusal.status, refusal.reason());
    assert_eq!(found, (503, Some(reason)), "{refusal:?}");
    let retry_after = refusal.retry_after();
    assert!(
        retry_after.is_some_and(|seconds| seconds >= 1),
        "{refusal:?}"
    );
}

const HOLD: Duration = Duration::from_secs(12);
/// A world's default.
const BRIEF_HOLD: Duration = Duration::from_secs(1);
