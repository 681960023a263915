//! A hundred thousand requests at once.

use std::time::Duration;

use berth_proto::session::v1::{Grant, Session};
use berth_tests::vm::{Vm, listed};
use berth_tests::{Error, Family, Seen, World, wait_until};
use tokio::time::Instant;

use crate::SOON;
use crate::crowd::Crowd;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_an_end_and_so_has_memory() {
    let mut crowded = Crowded::start().await;
    let before = crowded.world.berth().memory().unwrap();

    let crowd = crowded.gather("many", 100_000, QUEUE).await;
    crowd.leave().await;
    crowded.waiting_are(0).await;
    let once = crowded.world.berth().memory().unwrap();
    assert!(
        once.peak < before.resident + MEMORY,
        "{before:?}, then {once:?}"
    );

    // Who came first goes first, however many come after.
    let first = Vm::new(&crowded.world, "first").await.unwrap();
    let asking = first.clone();
    let asked = tokio::spawn(async move { asking.acquire(1, "first", "first").await });
    crowded.waiting_are(1).await;
    let crowd = crowded.gather("more", 10_000, QUEUE - 1).await;
    crowded.leave().await;
    let granted = asked.await.unwrap().unwrap().unwrap();
    assert_eq!(granted.instance, "web-1");
    crowd.leave().await;
    crowded.waiting_are(0).await;
    let twice = crowded.world.berth().memory().unwrap();
    assert!(
        twice.peak < once.peak + MEMORY / 10,
        "{once:?}, then {twice:?}"
    );
    first.end(2, "first", Some(&granted)).await.unwrap();
    let free = crowded.world.berth().wait_until_free("web-1", SOON).await;
    free.unwrap();
    let orphaned = crowded.world.berth();
    let orphaned = orphaned.metric("berth_leases_orphaned_total").await;
    assert_eq!(orphaned.unwrap(), 0.0);
    assert!(crowded.slowest < PROMPT, "{:?}", crowded.slowest);
}

/// The control plane of a pool with one instance, which a VM of the test's has, and keeps as long as it is asked to.
struct Crowded {
    world: World,
    holder: Vm,
    sequence: u64,
    grant: Grant,
    live: Vec<Session>,
    /// What the latest answer to a Sync took while others asked.
    slowest: Duration,
}

impl Crowded {
    async fn start() -> Self {
        let world = World::builder()
            .pool("web", Family::Web, |pool| {
                pool.queue(1000).hold(Duration::from_secs(15))
            })
            // The VMs of a crowd do not tick: none of them may be silent for as long as three ticks.
            .tick(Duration::from_secs(3))
            .handshake_timeout(Duration::from_secs(1))
            .control_plane_log("warn")
            .start()
            .await
            .unwrap();
        let holder = Vm::new(&world, "holder").await.unwrap();
        let grant = holder.acquire(1, "held", "holder").await.unwrap().unwrap();
        let live = vec![listed("held", "holder", Some(&grant))];
        holder.full(2, live.clone()).await.unwrap();
        Self {
            world,
            holder,
            sequence: 2,
            grant,
            live,
            slowest: Duration::ZERO,
        }
    }

    /// So many ask, and have been answered but for those who wait.
    async fn gather(&mut self, name: &str, users: usize, waiting: usize) -> Crowd {
        let crowd = Crowd::gather(&self.world, name, 4, users).await;
        wait_until("everybody to be refused or waiting", LONG, async || {
            self.tick().await?;
            let waits = self.waiting().await?;
            assert!(waits <= QUEUE, "{waits} wait");
            let answers = crowd.answers();
            let answered = answers.queue_full() + answers.no_instance();
            let all = answered >= users - waiting;
            Ok(Seen::when(all, format!("{answers:?}, {waits} wait")))
        })
        .await
        .unwrap();
        // Those who waited for as long as they may made room for others.
        let answers = crowd.answers();
        assert!(answers.queue_full() > 8 * users / 10, "{answers:?}");
        crowd
    }

    /// The holder says that its session is live, as a VM does every tick.
    async fn tick(&mut self) -> Result<(), Error> {
        let asked = Instant::now();
        self.sequence += 1;
        self.holder.full(self.sequence, self.live.clone()).await?;
        self.slowest = self.slowest.max(asked.elapsed());
        Ok(())
    }

    /// The holder's session ends.
    async fn leave(&mut self) {
        self.sequence += 1;
        let (sequence, grant) = (self.sequence, Some(&self.grant));
        self.holder.end(sequence, "held", grant).await.unwrap();
    }

    async fn waiting_are(&self, count: usize) {
        wait_until(format!("{count} to wait"), SOON, async || {
            let waiting = self.waiting().await?;
            Ok(Seen::when(waiting == count, waiting))
        })
        .await
        .unwrap();
    }

    async fn waiting(&self) -> Result<usize, Error> {
        let series = "berth_sessions_waiting{pool=\"web\"}";
        let waiting = self.world.berth().metric(series).await?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a count"
        )]
        Ok(waiting as usize)
    }
}

/// As long as the queue's default.
const QUEUE: usize = 1000;

/// Each request costs a debug build of the control plane a tenth of a millisecond.
const LONG: Duration = Duration::from_secs(120);

/// A second or so is seen, on two cores that are busy with other tests. A VM that hears nothing for three of the default's
/// ticks thinks that the control plane is away.
const PROMPT: Duration = Duration::from_secs(3);

/// In bytes. It is some 50 MB.
const MEMORY: u64 = 200 << 20;
