//! The soak: sessions come and go by the thousand while everything under them is killed, stopped and restarted.
//!
//! Two Envoys, one that the control plane configures whole and one that [joined](crate::join_template), share one
//! control plane and a pool of each family. [`run`] lets users come and go and, by a plan that a seed decides, brings
//! about trouble; the [`ledger`] then judges what clients and instances recorded. What is held against Berth: two
//! sessions at once on one instance, a session cut for no reason, a request that nobody answered, an instance that is
//! not free in the end.
//!
//! The plan repeats with its seed, what exactly it meets does not: processes are real.

mod clients;
mod evidence;
pub mod ledger;
mod plan;
mod report;
mod trouble;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use clients::Clients;
use evidence::Clock;
pub use evidence::{Evidence, Happening, Leave, Moment, Outcome, Parting, Upgrade, Visit};
pub use plan::{Part, Planned, Trouble, Way, plan};
pub use report::{Milliseconds, Report, Violation};
use trouble::Troubles;

use crate::{Error, Family, SecondDevice, Seen, World, wait_until};

/// How hard, and for how long.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Decides the plan of troubles and what each client means to do.
    pub seed: u64,
    /// For how long there is trouble. Less than half a minute is needed besides, to start and to become free.
    pub lasts: Duration,
    /// Users, half of them in each pool; of every four in the web pool one has two devices.
    pub users: u32,
    /// Instances of each of the two pools.
    pub instances: u16,
    /// Where files and logs are kept; a temporary folder otherwise, which only stays when something was wrong.
    pub folder: Option<PathBuf>,
}

impl Settings {
    /// Three users to an instance: somebody always wants what another has just left.
    #[must_use]
    pub fn new(seed: u64, lasts: Duration) -> Self {
        Self {
            seed,
            lasts,
            users: 60,
            instances: 10,
            folder: None,
        }
    }

    async fn world(&self) -> Result<World, Error> {
        let rules = |pool: crate::Pool| {
            pool.instances(self.instances)
                .settle(SETTLE)
                .resume_window(RESUME_WINDOW)
                .hold(HOLD)
                .queue(QUEUE)
                .orphan_after(ORPHAN_AFTER)
        };
        let world = World::builder()
            .pool(WEB, Family::Web, |pool| {
                rules(pool).second_device(SecondDevice::TakeOver)
            })
            .pool(NATIVE, Family::Native, |pool| {
                rules(pool).second_device(SecondDevice::Refuse)
            })
            .envoys(1)
            .joined_envoys(1)
            .envoy_workers(WORKERS)
            .tick(TICK);
        match &self.folder {
            Some(folder) => world.folder(folder).start().await,
            None => world.start().await,
        }
    }

    /// Every instance's name.
    fn instance_names(&self) -> Vec<String> {
        let named =
            |pool: &'static str| (1..=self.instances).map(move |number| format!("{pool}-{number}"));
        named(WEB).chain(named(NATIVE)).collect()
    }
}

/// How a soak is going.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Since its start.
    pub elapsed: Duration,
    /// Upgrades that are over, however they ended.
    pub tried: usize,
    /// Of these, those that became sessions.
    pub admitted: usize,
    /// Troubles that are over.
    pub troubles: usize,
}

/// Soaks a world of its own, telling `progress` now and then, and judges what came of it.
///
/// # Errors
/// What keeps it from being carried out: a part that does not come up, or ended by itself. What Berth did wrong is in
/// the report.
pub async fn run(settings: &Settings, progress: impl Fn(Progress)) -> Result<Report, Error> {
    let world = Arc::new(settings.world().await?);
    let clock = Clock::start();
    let clients = Clients::start(&world, clock, settings);
    let troubles = Troubles::new(&world, clock);
    let planned = plan(
        settings.seed,
        settings.lasts,
        usize::from(ENVOYS),
        &settings.instance_names(),
    );
    let mut told = interval_at(Instant::now() + BETWEEN_WORDS, BETWEEN_WORDS);
    told.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut trouble = Box::pin(troubles.carry_out(planned));
    loop {
        tokio::select! {
            over = &mut trouble => break over?,
            _ = told.tick() => progress(Progress {
                elapsed: clock.now(),
                tried: clients.tried(),
                admitted: clients.admitted(),
                troubles: troubles.happened(),
            }),
        }
    }
    drop(trouble);

    let upgrades = clients.leave().await?;
    world.berth().check()?;
    for index in 0..usize::from(ENVOYS) {
        world.envoy(index)?.check()?;
    }
    let calm = Instant::now();
    let left = left_over(&world, settings).await?;
    let until_free = calm.elapsed();
    let (happenings, visits) = troubles.records(&settings.instance_names())?;
    let evidence = Evidence {
        upgrades,
        visits,
        happenings,
        left,
        until_free,
    };
    let report = Report::new(settings, &evidence, ledger::judge(&evidence, ORPHAN_AFTER));
    if !report.violations.is_empty() {
        world.keep();
    }
    Ok(report)
}

/// Waits until every instance is free and deserted; answers with what still is not when it should be.
async fn left_over(world: &World, settings: &Settings) -> Result<Vec<String>, Error> {
    let within = ORPHAN_AFTER + RESUME_WINDOW + SETTLE + 3 * TICK + BUSY_MACHINE;
    let mut last = Vec::new();
    let waited = wait_until("every instance to be free", within, async || {
        last = held(world, settings).await?;
        Ok(Seen::when(last.is_empty(), last.join("; ")))
    })
    .await;
    match waited {
        Ok(()) => Ok(Vec::new()),
        Err(Error::Timeout { .. }) => Ok(last),
        Err(error) => Err(error),
    }
}

/// Everything that is not free, or has somebody connected.
async fn held(world: &World, settings: &Settings) -> Result<Vec<String>, Error> {
    let mut held = Vec::new();
    for instance in world.berth().instances().await? {
        if let Some(lease) = &instance.lease {
            held.push(format!("{} is leased: {lease:?}", instance.name));
        }
    }
    for name in settings.instance_names() {
        let live = world.instance(&name)?.live();
        if live > 0 {
            held.push(format!("{name} has {live} sessions"));
        }
    }
    Ok(held)
}

/// Whatever a seed decides: the plan, or what one client means to do.
fn random(seed: u64, stream: u64) -> fastrand::Rng {
    fastrand::Rng::with_seed(seed.rotate_left(32) ^ stream)
}

const WEB: &str = "web";
const NATIVE: &str = "native";
/// One that the control plane configures whole, one that joined.
const ENVOYS: u16 = 2;
const WORKERS: u16 = 4;
const TICK: Duration = Duration::from_millis(500);
const SETTLE: Duration = Duration::from_millis(250);
const RESUME_WINDOW: Duration = Duration::from_secs(1);
const HOLD: Duration = Duration::from_secs(2);
/// Fewer than want an instance: some are refused at once.
const QUEUE: u16 = 20;
/// Longer than any stop of an Envoy, on a busy machine, too.
const ORPHAN_AFTER: Duration = Duration::from_secs(10);
/// By how much later than the rules say an instance may be free.
const BUSY_MACHINE: Duration = Duration::from_secs(5);
const BETWEEN_WORDS: Duration = Duration::from_secs(10);
