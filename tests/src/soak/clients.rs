//! Users that come and go.

use std::future::pending;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_client::{ConnectError, Session, Target};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::evidence::{Clock, Leave, Moment, Outcome, Parting, Upgrade};
use super::{ENVOYS, NATIVE, Settings, WEB, random};
use crate::{Error, World};

/// Everybody, each device a task.
pub(super) struct Clients {
    log: Arc<Log>,
    over: watch::Sender<bool>,
    devices: JoinSet<Result<(), Error>>,
}

/// What they record.
#[derive(Default)]
struct Log {
    begun: AtomicU64,
    admitted: AtomicUsize,
    upgrades: Mutex<Vec<Upgrade>>,
}

impl Clients {
    /// Half of the users are native clients, who cannot have two devices. Of the web clients, one in four has; the
    /// second gives no resume key. Of those with one device, every other gives one.
    pub(super) fn start(world: &Arc<World>, clock: Clock, settings: &Settings) -> Self {
        let log = Arc::new(Log::default());
        let over = watch::Sender::new(false);
        let mut devices = JoinSet::new();
        for user in 0..settings.users {
            let pool = if user % 2 == 0 { WEB } else { NATIVE };
            let count = if user % 8 == 0 { 2 } else { 1 };
            for number in 0..count {
                let stream = u64::from(user) * 2 + number + 1;
                let device = Device {
                    world: Arc::clone(world),
                    clock,
                    log: Arc::clone(&log),
                    over: over.subscribe(),
                    user,
                    pool,
                    resume_key: (number == 0 && user % 4 < 2).then(|| format!("key-{user}")),
                    random: random(settings.seed, stream),
                    targets: None,
                };
                devices.spawn(device.come_and_go());
            }
        }
        Self { log, over, devices }
    }

    /// Upgrades that are over.
    pub(super) fn tried(&self) -> usize {
        self.log.upgrades().len()
    }

    /// Upgrades that became sessions.
    pub(super) fn admitted(&self) -> usize {
        self.log.admitted.load(Ordering::Relaxed)
    }

    /// Has everybody leave, and answers with their records.
    pub(super) async fn leave(mut self) -> Result<Vec<Upgrade>, Error> {
        self.over.send_replace(true);
        while let Some(left) = self.devices.join_next().await {
            left.map_err(|error| Error::task("a client", &error))??;
        }
        let upgrades = std::mem::take(&mut *self.log.upgrades());
        Ok(upgrades)
    }
}

impl Log {
    fn upgrades(&self) -> std::sync::MutexGuard<'_, Vec<Upgrade>> {
        self.upgrades.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One device of a user. It has one session at a time.
struct Device {
    world: Arc<World>,
    clock: Clock,
    log: Arc<Log>,
    over: watch::Receiver<bool>,
    user: u32,
    pool: &'static str,
    resume_key: Option<String>,
    random: fastrand::Rng,
    targets: Option<Targets>,
}

/// What to ask each Envoy, with a token that is good for a while.
struct Targets {
    made: Moment,
    by_envoy: Vec<Target>,
}

/// What a device means to do with one request.
struct Intent {
    /// Goes away after this time if there is no answer yet.
    patience: Option<Duration>,
    stay: Duration,
    leave: Leave,
}

impl Device {
    async fn come_and_go(mut self) -> Result<(), Error> {
        while !*self.over.borrow() {
            let upgrade = self.upgrade().await?;
            let pause = self.pause_after(&upgrade.outcome);
            self.log.upgrades().push(upgrade);
            // Whether it was the pause that ended or all of it, the loop sees.
            let _ = timeout(pause, is_over(self.over.clone())).await;
        }
        Ok(())
    }

    async fn upgrade(&mut self) -> Result<Upgrade, Error> {
        let envoy = self.random.usize(..usize::from(ENVOYS));
        let number = self.log.begun.fetch_add(1, Ordering::Relaxed);
        let target = self.target(envoy)?.header(UPGRADE, number.to_string())?;
        let intent = self.intent();
        let began = self.clock.now();
        let answer = tokio::select! {
            answer = berth_client::connect(&target) => Some(answer),
            () = loses_patience(intent.patience) => None,
            () = is_over(self.over.clone()) => None,
        };
        let at = self.clock.now();
        let outcome = match answer {
            None => Outcome::Abandoned { at },
            Some(Ok(session)) => {
                self.log.admitted.fetch_add(1, Ordering::Relaxed);
                self.stay(session, &intent, at).await
            }
            Some(Err(ConnectError::Refused { status, reason, .. })) => Outcome::Refused {
                at,
                reason: format!(
                    "{status} {}",
                    reason.as_deref().unwrap_or("without a reason")
                ),
            },
            Some(Err(error)) => Outcome::Unanswered {
                at,
                how: error.to_string(),
            },
        };
        Ok(Upgrade {
            number,
            user: self.user,
            may_be_taken_over: self.pool == WEB,
            envoy,
            began,
            outcome,
        })
    }

    /// Stays as long as it means to, unless the session is ended under it, and leaves.
    async fn stay(&self, mut session: Session, intent: &Intent, at: Moment) -> Outcome {
        let cut = tokio::select! {
            cut = session.departure() => Some(cut),
            () = sleep(intent.stay) => None,
            () = is_over(self.over.clone()) => None,
        };
        let over = self.clock.now();
        let by = match cut {
            Some(Ok(departure)) => Parting::Cut(departure.to_string()),
            Some(Err(error)) => Parting::Cut(error.to_string()),
            None => Parting::Left(leave(session, intent.leave).await),
        };
        Outcome::Admitted { at, over, by }
    }

    fn intent(&mut self) -> Intent {
        let random = &mut self.random;
        let stay = match random.u32(..100) {
            0..70 => 20..250,
            70..93 => 250..1200,
            // Long enough for a few troubles.
            _ => 1200..8000,
        };
        let leave = match random.u32(..100) {
            0..65 => Leave::Close,
            65..80 => Leave::Finish,
            80..90 => Leave::Abort,
            _ => Leave::Drop,
        };
        let impatient = random.u32(..100) < 8;
        Intent {
            patience: impatient.then(|| Duration::from_millis(random.u64(..100))),
            stay: Duration::from_millis(random.u64(stay)),
            leave,
        }
    }

    /// Who was refused asks again sooner than a user would, so that there is always somebody who wants in.
    fn pause_after(&mut self, outcome: &Outcome) -> Duration {
        let milliseconds = match outcome {
            Outcome::Admitted { .. } => 0..200,
            Outcome::Abandoned { .. } => 0..50,
            Outcome::Refused { .. } | Outcome::Unanswered { .. } => 100..400,
        };
        Duration::from_millis(self.random.u64(milliseconds))
    }

    fn target(&mut self, envoy: usize) -> Result<Target, Error> {
        let now = self.clock.now();
        let fresh = self
            .targets
            .take()
            .filter(|targets| now.saturating_sub(targets.made) < TOKEN_USE);
        let targets = match fresh {
            Some(targets) => targets,
            None => self.make_targets(now)?,
        };
        let target = targets.by_envoy.get(envoy).cloned();
        self.targets = Some(targets);
        target.ok_or_else(|| Error::Impossible(format!("it has no envoy {envoy}")))
    }

    fn make_targets(&self, now: Moment) -> Result<Targets, Error> {
        let client = self.world.client(self.pool)?;
        let mut client = client
            .subject(&format!("user-{}", self.user))
            .time_limit(TIME_LIMIT);
        if let Some(key) = &self.resume_key {
            client = client.resume_key(key);
        }
        let by_envoy = (0..usize::from(ENVOYS))
            .map(|index| client.clone().by(self.world.envoy(index)?).target());
        Ok(Targets {
            made: now,
            by_envoy: by_envoy.collect::<Result<_, Error>>()?,
        })
    }
}

/// Leaves, and answers how. A server that takes too long over its part is no concern of a client that is gone.
async fn leave(session: Session, how: Leave) -> Leave {
    match how {
        Leave::Close => drop(session.close(1000, "").await),
        Leave::Finish => drop(session.finish().await),
        Leave::Abort => session.abort(),
        Leave::Drop => drop(session),
    }
    how
}

async fn loses_patience(after: Option<Duration>) {
    match after {
        Some(after) => sleep(after).await,
        None => pending().await,
    }
}

async fn is_over(mut over: watch::Receiver<bool>) {
    // Whoever would say so lives as long as its clients: that it is gone says it, too.
    let _ = over.wait_for(|over| *over).await;
}

/// The header by which an instance's record names a client's.
pub(super) const UPGRADE: &str = "x-soak-upgrade";
/// Half of what a token is good for.
const TOKEN_USE: Duration = Duration::from_secs(300);
/// Above hold and handshake timeout, and the longest that anything stands still besides.
const TIME_LIMIT: Duration = Duration::from_secs(25);
