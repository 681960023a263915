mod nodes;

use std::sync::{Condvar, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::watch;

use super::*;
use crate::clock::Clock;
use crate::fleet::{Fleet, InstanceSpec, Thresholds};
use crate::placement::{
    self, CloseReason, Labels, LeaseRecord, Origin, Owner, Placement, PoolPolicy, Priority,
    RecordedState, RevocationSpan, Revoked, Timing, User,
};
use crate::static_proxies::{NodePattern, StaticProxies, StaticReach};
use crate::store::writer::{Health as StoreHealth, Progress, Ticket, Writer};
use crate::store::{
    Batch, CommitError, History, HistoryLimits, LoadError, Loaded, MemoryStore, Stamp, Store,
    StoreFailure, UnixMillis,
};
use crate::tls::Denials;
use crate::xds::{
    Certificate, Certificates, FilterSpec, Gateway, Generator, Module, NodeEvent, PoolSpec,
    Profiles, XdsServer,
};

/// How a store does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disk {
    Full,
    Stuck,
    Well,
}

#[derive(Debug)]
struct Kept {
    disk: Disk,
    /// How many commits have been begun.
    begun: u64,
    batch: Batch,
}

/// A store that does as it is told, and shows what it has got.
#[derive(Clone, Debug)]
struct Told(Arc<(Mutex<Kept>, Condvar)>);

impl Told {
    fn new(disk: Disk) -> Self {
        let kept = Kept {
            disk,
            begun: 0,
            batch: Batch::default(),
        };
        Self(Arc::new((Mutex::new(kept), Condvar::new())))
    }

    fn set(&self, disk: Disk) {
        self.0.0.lock().unwrap().disk = disk;
        self.0.1.notify_all();
    }

    /// Waits until a commit has been begun.
    fn wait_for_commit(&self) {
        let kept = self.0.0.lock().unwrap();
        let waited = self
            .0
            .1
            .wait_timeout_while(kept, PATIENCE, |kept| kept.begun == 0);
        assert!(!waited.unwrap().1.timed_out());
    }

    fn lease(&self, instance: &str) -> Option<LeaseRecord> {
        self.0.0.lock().unwrap().batch.lease_of(&instance.into())
    }
}

impl Store for Told {
    fn load(&mut self, _: Stamp) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch, _: u64) -> Result<(), CommitError> {
        let mut kept = self.0.0.lock().unwrap();
        kept.begun += 1;
        self.0.1.notify_all();
        let mut kept = self
            .0
            .1
            .wait_while(kept, |kept| kept.disk == Disk::Stuck)
            .unwrap();
        if kept.disk == Disk::Full {
            let error = std::io::Error::from(std::io::ErrorKind::StorageFull);
            return Err(StoreFailure::from(redb::Error::Io(error)).into());
        }
        kept.batch.merge(batch.clone(), usize::MAX);
        Ok(())
    }

    fn tend(&mut self, _: UnixMillis) -> Result<(), CommitError> {
        Ok(())
    }

    fn history(&self) -> Arc<dyn History> {
        MemoryStore::new(HistoryLimits::DEFAULT).history()
    }
}

struct Scene {
    controller: Controller,
    store: Told,
    progress: watch::Receiver<Progress>,
    /// The task ends with them.
    _senders: (
        mpsc::Sender<crate::probes::ProbeResult>,
        mpsc::Sender<NodeEvent>,
        Writer,
    ),
}

fn scene(disk: Disk) -> Scene {
    scene_with_queue(disk, 0)
}

fn scene_with_queue(disk: Disk, queue: usize) -> Scene {
    scene_after(disk, queue, Vec::new())
}

/// These have come from proxies before the task listens.
fn scene_after(disk: Disk, queue: usize, events: Vec<NodeEvent>) -> Scene {
    let store = Told::new(disk);
    let clock = Clock::start();
    let (writer, journal, progress) = Writer::start(Box::new(store.clone()), 7, clock).unwrap();
    let timing = Timing {
        agent_within: Duration::from_secs(10),
        learn_for: Duration::ZERO,
        reserve_for: Duration::from_secs(60),
        silent_after: Duration::from_secs(60),
    };
    let now = clock.now();
    let mut placement = Placement::new(timing, 7, 1, now);
    placement.set_pool(
        now,
        "web".into(),
        PoolPolicy {
            settle: Duration::ZERO,
            resume_window: Duration::ZERO,
            // Nobody leaves by it in a test's time.
            hold: PATIENCE * 2,
            queue,
            ..PoolPolicy::default()
        },
    );
    placement.add_instance(
        now,
        placement::InstanceSpec {
            name: "web-1".into(),
            pool: "web".into(),
            host: "192.0.2.1".into(),
            zone: None,
            labels: Labels::default(),
            agent: false,
        },
    );
    placement.set_up(now, &"web-1".into(), true);
    placement.change_reach(now, &"edge-1".into(), &["web-1".into()], &[]);
    placement.advance(now);
    let fleet = Fleet::new([InstanceSpec {
        name: "web-1".into(),
        pool: "web".into(),
        address: "192.0.2.1:49100".parse().unwrap(),
        thresholds: Thresholds {
            rise: 1.try_into().unwrap(),
            fall: 1.try_into().unwrap(),
        },
    }]);
    let (told, nodes) = mpsc::channel(events.len().max(1));
    for event in events {
        told.try_send(event).unwrap();
    }
    let (xds, _) = XdsServer::new(Profiles::default(), 8);
    let (probes, results) = mpsc::channel(1);
    let generator = Generator::new(
        Gateway {
            listeners: Vec::new(),
            certificates: Certificates {
                default: Certificate {
                    chain_pem: String::new(),
                    private_key_pem: String::new(),
                },
                by_sni: Vec::new(),
                client_ca_pem: None,
            },
            filter: FilterSpec {
                module: Module::File("/berth_filter.wasm".into()),
                vm_id: "berth".to_owned(),
                configuration_json: "{}".to_owned(),
            },
            handshake_timeout: Duration::from_secs(5),
            pools: vec![PoolSpec {
                name: "web".to_owned(),
                connect_timeout: Duration::from_secs(5),
                tls: None,
            }],
        },
        &Profiles::default(),
    )
    .unwrap();
    let (controller, task) = run(Parts {
        certificates: watch::channel(Arc::default()).1,
        clock,
        denials: Denials::new(clock),
        durability: Durability {
            journal,
            progress: progress.clone(),
            complete: false,
        },
        fleet,
        families: [("web".into(), Family::Web)].into(),
        generator,
        keys: watch::channel(Arc::default()).1,
        nodes,
        placement,
        probes: results,
        static_proxies: StaticProxies::new(vec![StaticReach {
            nodes: NodePattern::parse("static-*").unwrap(),
            zone: None,
            instances: vec!["web-1".into()],
        }]),
        xds,
    })
    .unwrap();
    tokio::spawn(task);
    Scene {
        controller,
        store,
        progress,
        _senders: (probes, told, writer),
    }
}

fn origin(sequence: u64) -> Origin {
    Origin {
        node: "edge-1".into(),
        vm: "v-1".into(),
        sequence,
    }
}

fn acquire(session: &str, sequence: u64) -> Acquire {
    Acquire {
        origin: origin(sequence),
        session: session.into(),
        pool: "web".into(),
        owner: Owner {
            user: User {
                issuer: "i".into(),
                subject: format!("of-{session}").into(),
            },
            tenant: "".into(),
            resume_key: None,
        },
        client_address: "203.0.113.9".into(),
        priority: Priority::default(),
        labels: Labels::default(),
        token_id: None,
    }
}

fn empty_sync(sequence: u64) -> Sync {
    Sync {
        origin: origin(sequence),
        sessions: Some(Vec::new()),
        ended: Vec::new(),
    }
}

async fn health(scene: &mut Scene, wanted: fn(&StoreHealth) -> bool) {
    let waiting = scene.progress.wait_for(|progress| wanted(&progress.health));
    tokio::time::timeout(PATIENCE, waiting)
        .await
        .unwrap()
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_answered_before_it_is_durable() {
    let scene = scene(Disk::Stuck);
    let controller = scene.controller.clone();
    let mut granted = Box::pin(controller.acquire(acquire("s-1", 1)));
    assert!(granted.as_mut().now_or_never().is_none());
    scene.store.wait_for_commit();
    // It is another session's by now, and its VM's word comes after it.
    let mut refused = Box::pin(controller.acquire(acquire("s-2", 2)));
    let mut synced = Box::pin(controller.sync(empty_sync(1)));
    let mut drained = Box::pin(controller.drain("web-1".into(), true));
    assert!(refused.as_mut().now_or_never().is_none());
    assert!(synced.as_mut().now_or_never().is_none());
    assert!(drained.as_mut().now_or_never().is_none());
    let instances = controller.instances().await.unwrap();
    assert!(instances[0].view.lease.is_some() && instances[0].view.draining);
    for waiting in [
        granted.as_mut().now_or_never().is_none(),
        refused.as_mut().now_or_never().is_none(),
        synced.as_mut().now_or_never().is_none(),
        drained.as_mut().now_or_never().is_none(),
    ] {
        assert!(waiting);
    }

    scene.store.set(Disk::Well);
    let placed = granted.await.unwrap().unwrap();
    assert_eq!(placed.grant.instance, "web-1".into());
    let refused = refused.await.unwrap().unwrap_err();
    assert!(matches!(
        refused,
        NotPlaced::Refused(Refusal::NoInstance { .. })
    ));
    synced.await.unwrap();
    drained.await.unwrap().unwrap();
    let lease = scene.store.lease("web-1").unwrap();
    assert_eq!(lease.fence, placed.grant.fence);
    let kept = scene.store.0.0.lock().unwrap();
    assert!(kept.batch.is_complete() && kept.batch.drains(&"web-1".into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_who_is_new_and_forgets_nothing() {
    let mut scene = scene(Disk::Well);
    let controller = scene.controller.clone();
    controller
        .acquire(acquire("s-1", 1))
        .await
        .unwrap()
        .unwrap();

    scene.store.set(Disk::Full);
    // Ends and Syncs go on.
    controller.sync(empty_sync(2)).await.unwrap();
    health(&mut scene, |health| {
        matches!(health, StoreHealth::Failing(_))
    })
    .await;
    let instances = controller.instances().await.unwrap();
    assert!(instances[0].view.lease.is_none());
    assert!(scene.store.lease("web-1").is_some());
    let refused = controller.acquire(acquire("s-2", 3)).await.unwrap();
    assert_eq!(refused.unwrap_err(), NotPlaced::NotStored);
    let refused = controller.check(acquire("s-2", 3)).await.unwrap();
    assert_eq!(refused.unwrap_err(), NotPlaced::NotStored);
    let drained = controller.drain("web-1".into(), true).await.unwrap();
    assert_eq!(drained, Err(OrderError::NotStored(NotStored)));
    let unknown = controller.drain("web-9".into(), true).await.unwrap();
    assert!(matches!(unknown, Err(OrderError::Unknown(_))));
    let metrics = controller.metrics().await.unwrap();
    assert!(metrics.contains("berth_store_failing 1"), "{metrics}");

    scene.store.set(Disk::Well);
    health(&mut scene, |health| matches!(health, StoreHealth::Well)).await;
    assert_eq!(scene.store.lease("web-1"), None);
    assert!(
        scene
            .store
            .0
            .0
            .lock()
            .unwrap()
            .batch
            .drains(&"web-1".into())
    );
    controller
        .drain("web-1".into(), false)
        .await
        .unwrap()
        .unwrap();
    controller
        .acquire(acquire("s-3", 4))
        .await
        .unwrap()
        .unwrap();
    assert!(scene.store.lease("web-1").is_some());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_grant_that_found_no_room_is_given_back() {
    let mut scene = scene(Disk::Full);
    let controller = scene.controller.clone();
    let refused = controller.acquire(acquire("s-1", 1)).await.unwrap();
    assert_eq!(refused.unwrap_err(), NotPlaced::NotStored);
    let instances = controller.instances().await.unwrap();
    assert!(instances[0].view.lease.is_none());
    assert!(controller.sessions().await.unwrap().is_empty());
    scene.store.set(Disk::Well);
    health(&mut scene, |health| matches!(health, StoreHealth::Well)).await;
    assert_eq!(scene.store.lease("web-1"), None);
    let placed = controller.acquire(acquire("s-2", 2)).await.unwrap();
    assert!(placed.is_ok());
}

fn revoke(subject: &str) -> Revoke {
    Revoke {
        what: Revoked::Subject {
            issuer: None,
            subject: subject.into(),
        },
        span: RevocationSpan::default(),
        note: None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revocation_holds_at_once_and_is_told_when_it_is_durable() {
    let scene = scene(Disk::Well);
    let controller = scene.controller.clone();
    let placed = controller.acquire(acquire("s-1", 1)).await.unwrap();
    assert!(placed.is_ok());
    let before = controller.revocations_seen();
    scene.store.set(Disk::Stuck);
    let mut revoked = Box::pin(controller.revoke(revoke("of-s-1")));
    assert!(revoked.as_mut().now_or_never().is_none());
    let listed = controller.revocations().await.unwrap();
    assert_eq!(listed.len(), 1);
    assert_ne!(controller.revocations_seen(), before);
    assert!(revoked.as_mut().now_or_never().is_none());
    scene.store.set(Disk::Well);
    let done = revoked.await.unwrap().unwrap();
    assert_eq!((done.closing, done.refused), (1, 0));
    let kept = || {
        let kept = scene.store.0.0.lock().unwrap();
        kept.batch.revocation_of(done.id)
    };
    assert_eq!(kept().as_ref(), Some(&listed[0].revocation));
    let closing = scene.store.lease("web-1").unwrap().state;
    let closing = matches!(
        closing,
        RecordedState::Held {
            closing: Some(CloseReason::Revoked)
        }
    );
    assert!(closing, "it goes with the same commit");
    let refused = controller.check(acquire("s-1", 2)).await.unwrap();
    assert_eq!(refused, Err(Refusal::Revoked.into()));

    assert_eq!(controller.lift_revocation(done.id).await, Ok(Ok(true)));
    assert_eq!(kept(), None);
    assert_eq!(controller.lift_revocation(done.id).await, Ok(Ok(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_full_disk_does_not_take_of_revocations_is_said() {
    let mut scene = scene(Disk::Well);
    let controller = scene.controller.clone();
    let done = controller.revoke(revoke("alice")).await.unwrap().unwrap();
    scene.store.set(Disk::Full);
    let revoked = controller.revoke(revoke("bob")).await.unwrap();
    assert_eq!(revoked, Err(NotStored.into()));
    let lifted = controller.lift_revocation(done.id).await.unwrap();
    assert_eq!(lifted, Err(NotStored));
    // Both hold until the next start, and longer once there is room.
    let holding = controller.revocations().await.unwrap();
    let [bobs] = holding.as_slice() else {
        panic!("{holding:?}");
    };
    scene.store.set(Disk::Well);
    health(&mut scene, |health| matches!(health, StoreHealth::Well)).await;
    let kept = scene.store.0.0.lock().unwrap();
    assert!(kept.batch.revocation_of(bobs.revocation.id).is_some());
    assert!(kept.batch.revocation_of(done.id).is_none());
}

/// Its filter has not heard that it was granted, and forgets whom it is told to refuse.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_again_while_nothing_can_be_stored_is_left_with_nothing() {
    let mut scene = scene(Disk::Well);
    let controller = scene.controller.clone();
    let placed = controller.acquire(acquire("s-1", 1)).await.unwrap();
    assert!(placed.is_ok());
    scene.store.set(Disk::Full);
    let drained = controller.drain("web-1".into(), true).await.unwrap();
    assert_eq!(drained, Err(OrderError::NotStored(NotStored)));
    health(&mut scene, |health| {
        matches!(health, StoreHealth::Failing(_))
    })
    .await;
    let refused = controller.acquire(acquire("s-1", 2)).await.unwrap();
    assert_eq!(refused.unwrap_err(), NotPlaced::NotStored);
    assert!(controller.sessions().await.unwrap().is_empty());
}

/// Nothing says that it fails: it does not answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_disk_that_hangs_is_not_waited_for() {
    let scene = scene(Disk::Stuck);
    let controller = scene.controller.clone();
    let waiting = controller.acquire(acquire("s-1", 1));
    let refused = tokio::time::timeout(PATIENCE, waiting).await.unwrap();
    assert_eq!(refused.unwrap().unwrap_err(), NotPlaced::NotStored);
    controller.sync(empty_sync(2)).await.unwrap();
    let refused = controller.acquire(acquire("s-2", 3)).await.unwrap();
    assert_eq!(refused.unwrap_err(), NotPlaced::NotStored);
    scene.store.set(Disk::Well);
    let mut progress = scene.progress.clone();
    let written = progress.wait_for(|progress| progress.durable >= Ticket(2));
    tokio::time::timeout(PATIENCE, written)
        .await
        .unwrap()
        .unwrap();
    let placed = controller.acquire(acquire("s-3", 4)).await.unwrap();
    assert!(placed.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_that_stops_waiting_leaves_the_queue() {
    let scene = scene_with_queue(Disk::Well, 1);
    let controller = &scene.controller;
    controller
        .acquire(acquire("s-1", 1))
        .await
        .unwrap()
        .unwrap();
    let mut waiting = Box::pin(controller.acquire(acquire("s-2", 2)));
    assert!(waiting.as_mut().now_or_never().is_none());
    let full = controller.acquire(acquire("s-3", 3)).await.unwrap();
    let full = full.map(|placed| placed.grant).unwrap_err();
    assert!(
        matches!(full, NotPlaced::Refused(Refusal::QueueFull { .. })),
        "{full:?}"
    );
    assert_eq!(controller.sessions().await.unwrap().len(), 2);

    drop(waiting);
    let left = async { while controller.sessions().await.unwrap().len() == 2 {} };
    tokio::time::timeout(PATIENCE, left).await.unwrap();
    // There is room for another.
    let mut waiting = Box::pin(controller.acquire(acquire("s-4", 4)));
    assert!(waiting.as_mut().now_or_never().is_none());
    let entered = async { while controller.sessions().await.unwrap().len() != 2 {} };
    tokio::time::timeout(PATIENCE, entered).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_stops_waiting_says_so_and_one_that_was_answered_does_not() {
    let (controller, mut events) = Controller::channel();
    let mut waiting = Box::pin(controller.acquire(acquire("s-1", 1)));
    assert!(waiting.as_mut().now_or_never().is_none());
    let Some(Event::Acquire(asked, _, reply)) = events.asks.recv().await else {
        panic!("no Acquire");
    };
    assert!(events.cancels.try_recv().is_err());
    drop(waiting);
    let Cancel { request, session } = events.cancels.try_recv().unwrap();
    assert_eq!((request, session), (asked, "s-1".into()));
    assert!(reply.is_closed());

    let mut waiting = Box::pin(controller.acquire(acquire("s-1", 1)));
    assert!(waiting.as_mut().now_or_never().is_none());
    let Some(Event::Acquire(second, _, reply)) = events.asks.recv().await else {
        panic!("no Acquire");
    };
    assert_ne!(second, asked);
    reply.send(Err(Refusal::Superseded.into())).unwrap();
    let answer = waiting.await.unwrap().map(|placed| placed.grant);
    assert_eq!(answer, Err(NotPlaced::Refused(Refusal::Superseded)));
    assert!(events.cancels.try_recv().is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn proxies_are_told_of_many_changes_together() {
    let scene = scene(Disk::Well);
    let clock = Clock::start();
    let start = clock.now();
    for draining in [true, false].repeat(200) {
        let drained = scene.controller.drain("web-1".into(), draining);
        drained.await.unwrap().unwrap();
    }
    let metrics = scene.controller.metrics().await.unwrap();
    let windows = clock.now().since(start).as_millis() / 50;
    let publishes = metrics
        .lines()
        .find_map(|line| line.strip_prefix("berth_xds_publishes_total "));
    let publishes: u128 = publishes.unwrap().parse().unwrap();
    // The start, the first change, and the end of each window.
    assert!(
        (2..=windows + 2).contains(&publishes),
        "{publishes} in {windows} windows"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_takes_nothing_over_xds_is_given_what_the_operator_says_that_it_has() {
    let scene = scene(Disk::Well);
    let by = |node: &str, sequence| Acquire {
        origin: Origin {
            node: node.into(),
            ..origin(sequence)
        },
        ..acquire("s-1", sequence)
    };
    let stranger = scene.controller.check(by("stranger", 1)).await.unwrap();
    let unknown = matches!(
        stranger,
        Err(NotPlaced::Refused(Refusal::NoInstance { .. }))
    );
    assert!(unknown, "{stranger:?}");
    let known = scene.controller.check(by("static-1", 1)).await.unwrap();
    assert_eq!(known, Ok(()));
    let placed = scene.controller.acquire(by("static-2", 1)).await.unwrap();
    assert!(placed.is_ok(), "{placed:?}");
}

#[test]
fn however_many_ask_a_vm_is_heard() {
    let (controller, mut events) = Controller::channel();
    let asking = (0..3_000).map(|number| {
        let session = format!("s-{number}");
        let mut waiting = Box::pin(controller.acquire(acquire(&session, number)));
        assert!(waiting.as_mut().now_or_never().is_none());
        waiting
    });
    let _asking: Vec<_> = asking.collect();
    let mut sync = Box::pin(controller.sync(empty_sync(1)));
    assert!(sync.as_mut().now_or_never().is_none());
    let heard = events.events.try_recv();
    assert!(matches!(heard, Ok(Event::Sync(..))), "{heard:?}");
}

const PATIENCE: Duration = Duration::from_secs(30);
