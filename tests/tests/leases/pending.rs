//! A client that leaves while its Acquire is pending is given nothing, whichever message arrives first.

use std::time::Duration;

use berth_proto::session::v1::{Grant, Refusal};
use berth_tests::vm::{Vm, listed};
use berth_tests::{Family, Seen, World, wait_until};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{SOON, client, deserted, echo, lease_is, live, never_two_at_once, waiting};

/// What a VM says around its Acquire, which is its message number 2.
#[derive(Clone, Copy, Debug)]
enum Word {
    /// Number 3: the session has ended.
    Hint,
    /// Number 3: everything there is, and the session is not among it.
    FullWithout,
    /// Number 3: everything there is, and the session is pending.
    FullWith,
    /// Number 1, so before the Acquire was sent: there is nothing.
    EarlierFull,
}

impl Word {
    fn ends_the_session(self) -> bool {
        matches!(self, Self::Hint | Self::FullWithout)
    }

    async fn say(self, vm: &Vm, session: &str, subject: &str) {
        let said = match self {
            Self::Hint => vm.hint(3, session).await,
            Self::FullWithout => vm.full(3, Vec::new()).await,
            Self::FullWith => vm.full(3, vec![listed(session, subject, None)]).await,
            Self::EarlierFull => vm.full(1, Vec::new()).await,
        };
        said.unwrap();
    }
}

/// When the word comes to the control plane.
#[derive(Clone, Copy, Debug)]
enum Arrival {
    BeforeTheAcquire,
    WhileItIsHeld,
    AfterTheGrant,
}

#[tokio::test(flavor = "multi_thread")]
async fn by_the_numbers_of_the_messages_and_not_by_their_arrival() {
    // The VMs of this test do not tick: none of them may be silent for as long as three ticks.
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.hold(Duration::from_secs(8)))
        .tick(Duration::from_secs(4))
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    for arrival in [
        Arrival::BeforeTheAcquire,
        Arrival::WhileItIsHeld,
        Arrival::AfterTheGrant,
    ] {
        for word in [
            Word::Hint,
            Word::FullWithout,
            Word::FullWith,
            Word::EarlierFull,
        ] {
            eprintln!("{word:?} {arrival:?}");
            comes(&world, word, arrival).await;
        }
    }
}

async fn comes(world: &World, word: Word, arrival: Arrival) {
    let (case, subject) = (format!("{word:?}-{arrival:?}"), "alice");
    let session = format!("session-{case}");
    let vm = Vm::new(world, &case).await.unwrap();
    let answer = match arrival {
        Arrival::BeforeTheAcquire => {
            word.say(&vm, &session, subject).await;
            vm.acquire(2, &session, subject).await.unwrap()
        }
        Arrival::WhileItIsHeld => said_while_held(world, word, &vm, &session, subject).await,
        Arrival::AfterTheGrant => {
            let answer = vm.acquire(2, &session, subject).await.unwrap();
            assert!(answer.is_ok(), "{case}: {answer:?}");
            word.say(&vm, &session, subject).await;
            answer
        }
    };
    let lease = world.berth().instance("web-1").await.unwrap().lease;
    if word.ends_the_session() {
        if !matches!(arrival, Arrival::AfterTheGrant) {
            assert_eq!(answer.unwrap_err().reason, "cancelled", "{case}");
        }
        assert!(lease.is_none(), "{case}: {lease:?}");
    } else {
        assert!(answer.is_ok(), "{case}: {answer:?}");
        assert_eq!(lease.unwrap().session, session, "{case}");
        vm.full(4, Vec::new()).await.unwrap();
    }
    lease_is(world, "web-1", None).await;
}

/// Has the Acquire wait for the end of its user's other session, which another VM has.
async fn said_while_held(
    world: &World,
    word: Word,
    vm: &Vm,
    session: &str,
    subject: &str,
) -> Result<Grant, Refusal> {
    let other = Vm::new(world, &format!("other-{session}")).await.unwrap();
    let first = format!("first-{session}");
    let grant = other.acquire(1, &first, subject).await;
    let grant = grant.unwrap().unwrap();
    let live = vec![listed(&first, subject, Some(&grant))];
    other.full(2, live).await.unwrap();

    let (asking, asked, asks) = (vm.clone(), session.to_owned(), subject.to_owned());
    let acquire = tokio::spawn(async move { asking.acquire(2, &asked, &asks).await });
    waiting(world, |waiting| waiting.id == session).await;
    word.say(vm, session, subject).await;
    if word.ends_the_session() {
        // Answered before there is anything to give.
        let answer = acquire.await.unwrap().unwrap();
        other.full(3, Vec::new()).await.unwrap();
        answer
    } else {
        other.full(3, Vec::new()).await.unwrap();
        acquire.await.unwrap().unwrap()
    }
}

/// Waits until the control plane has nothing of anybody.
async fn quiet(world: &World) {
    wait_until("all sessions to be over", SOON, async || {
        let sessions = world.berth().sessions().await?;
        Ok(Seen::when(sessions.is_empty(), format!("{sessions:?}")))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_control_plane_is_learning() {
    // It learns for four ticks.
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.hold(Duration::from_secs(12))
        })
        .tick(Duration::from_secs(2))
        .forgetful()
        .start()
        .await
        .unwrap();
    world.berth().kill().await.unwrap();
    world.berth().restart().await.unwrap();
    let alice = client(&world, "web", "alice");
    let alice = tokio::spawn(async move { alice.connect().await });
    waiting(&world, |waiting| waiting.subject == "alice").await;
    alice.abort();
    quiet(&world).await;
    let learning = world.berth().metric("berth_learning").await.unwrap();
    assert_eq!(learning, 1.0, "the client did not leave in time");

    // Whoever comes meanwhile and stays is given what the other was not.
    let mut bob = live(&world, "web", "bob").await;
    echo(&mut bob, "hello").await;
    assert_eq!(world.instance("web-1").unwrap().requests(), 1);
    let granted = world.berth().metric("berth_sessions_granted_total").await;
    assert_eq!(granted.unwrap(), 1.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_it_waits_for_the_end_of_its_users_other_session() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.hold(Duration::from_secs(10))
        })
        .tick(Duration::from_secs(4))
        .start()
        .await
        .unwrap();
    let mut first = live(&world, "web", "alice").await;
    let second = client(&world, "web", "alice");
    let second = tokio::spawn(async move { second.connect().await });
    waiting(&world, |waiting| waiting.subject == "alice").await;
    second.abort();
    // The first one is closed all the same, and what it leaves is nobody's.
    timeout(SOON, first.departure()).await.unwrap().unwrap();
    quiet(&world).await;
    lease_is(&world, "web-1", None).await;
    let granted = world.berth().metric("berth_sessions_granted_total").await;
    assert_eq!(granted.unwrap(), 1.0);
    assert_eq!(world.instance("web-1").unwrap().requests(), 1);
}

/// What the clients and their departures have caused lies in the control plane's sockets, to be read in any order.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_control_plane_is_stopped() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(3).hold(Duration::from_secs(10))
        })
        .start()
        .await
        .unwrap();
    for _ in 0..3 {
        world.berth().pause().unwrap();
        let mut clients = JoinSet::new();
        for number in 0..6 {
            let client = client(&world, "web", &format!("client-{number}"));
            clients.spawn(async move { client.connect().await });
        }
        requests_are(&world, 6).await;
        clients.shutdown().await;
        requests_are(&world, 0).await;
        world.berth().resume().unwrap();
        quiet(&world).await;
        for name in ["web-1", "web-2", "web-3"] {
            lease_is(&world, name, None).await;
            assert_eq!(world.instance(name).unwrap().requests(), 0);
        }
    }
    echo(&mut live(&world, "web", "alice").await, "hello").await;
}

/// Waits until Envoy has so many requests that it has not answered.
async fn requests_are(world: &World, count: u64) {
    wait_until(format!("{count} requests in Envoy"), SOON, async || {
        let envoy = world.envoy(0)?;
        let active = envoy.stat("http.berth.downstream_rq_active").await?;
        Ok(Seen::when(active == Some(count), format!("{active:?}")))
    })
    .await
    .unwrap();
}

/// Clients that hang up at every moment from the first byte to the 101.
#[tokio::test(flavor = "multi_thread")]
async fn at_any_moment_of_its_upgrade() {
    // An instance sees the end of an upgrade that was under way a moment after the proxy.
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(2).settle(Duration::from_millis(250))
        })
        .start()
        .await
        .unwrap();
    let mut clients = JoinSet::new();
    for number in 0..80 {
        let client = client(&world, "web", &format!("client-{number}"));
        let patience = Duration::from_millis(number);
        clients.spawn(async move { timeout(patience, client.attempt()).await.is_err() });
    }
    let left = clients.join_all().await.into_iter().filter(|left| *left);
    assert!(left.count() > 10, "too few left early: this shows little");
    quiet(&world).await;
    for name in ["web-1", "web-2"] {
        lease_is(&world, name, None).await;
        deserted(&world, name).await;
    }
    never_two_at_once(&world);
    let mut both = [
        live(&world, "web", "alice").await,
        live(&world, "web", "bob").await,
    ];
    for session in &mut both {
        echo(session, "hello").await;
    }
}
