//! The thread that writes: what is submitted while a commit is under way goes with the next one, so that one fsync
//! serves all who wait.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::{Batch, CommitError, Store};
use crate::clock::{self, Clock};
use crate::placement::Time;

/// Names a submitted batch. Batches become durable in the order of their tickets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

/// How far the writer has come.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Everything up to here is durable.
    pub durable: Ticket,
    /// Whether more will be.
    pub health: Health,
    /// Transactions that have been committed.
    pub commits: u64,
    /// Sessions that are missing from the history, because too many waited to be written.
    pub past_dropped: u64,
}

/// Whether the store takes what is written.
#[derive(Clone, Debug, Default)]
pub enum Health {
    /// It does.
    #[default]
    Well,
    /// It does not, and is tried again; nothing submitted is lost meanwhile.
    Failing(Failing),
    /// Another process has taken over. Nothing is written any more.
    Deposed,
}

/// What is wrong with a store.
#[derive(Clone, Debug)]
pub struct Failing {
    /// Since when nothing has become durable.
    pub since: Time,
    /// What was said the last time.
    pub error: Arc<CommitError>,
}

/// Submits batches. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Journal {
    shared: Arc<Shared>,
}

impl Journal {
    /// Hands in a batch and waits for nothing. The ticket of an empty batch is that of the last one: it is durable
    /// when all before it is.
    pub fn submit(&self, batch: Batch) -> Ticket {
        let mut pending = self.shared.lock();
        if batch.is_empty() {
            return pending.last;
        }
        pending.last.0 += 1;
        pending.past_dropped += pending.batch.merge(batch, MAX_PAST);
        self.shared.wake.notify_one();
        pending.last
    }
}

/// Owns the thread.
#[derive(Debug)]
pub struct Writer {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), CommitError>>,
}

/// The writer has ended without having made everything durable.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The store did not take the last of it.
    #[error("the store has not got everything: {0}")]
    Unwritten(#[from] CommitError),
    /// The thread broke.
    #[error("the store's writer broke")]
    Broken,
}

impl Writer {
    /// Starts the thread, which writes in this term until it is stopped. The receiver tells how far it is; its sender
    /// is gone when the thread has ended.
    ///
    /// # Errors
    /// The system has no thread left.
    pub fn start(
        store: Box<dyn Store>,
        term: u64,
        clock: Clock,
    ) -> io::Result<(Self, Journal, watch::Receiver<Progress>)> {
        let (progress, receiver) = watch::channel(Progress::default());
        let shared = Arc::new(Shared::default());
        let thread = Thread {
            store,
            term,
            clock,
            shared: Arc::clone(&shared),
            progress,
            tended: true,
        };
        let thread = thread::Builder::new()
            .name("store".to_owned())
            .spawn(|| thread.run())?;
        let journal = Journal {
            shared: Arc::clone(&shared),
        };
        Ok((Self { shared, thread }, journal, receiver))
    }

    /// Makes durable what has been submitted, and ends. Blocks for as long as that takes; a store that fails is tried
    /// once more.
    ///
    /// # Errors
    /// [`StopError`].
    pub fn stop(self) -> Result<(), StopError> {
        self.shared.lock().stopping = true;
        self.shared.wake.notify_one();
        let ended = self.thread.join().map_err(|_| StopError::Broken)?;
        Ok(ended?)
    }
}

#[derive(Debug, Default)]
struct Shared {
    pending: Mutex<Pending>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct Pending {
    batch: Batch,
    last: Ticket,
    past_dropped: u64,
    stopping: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Pending> {
        // Whoever panicked with it held it to add to it: what is there is to be written all the same.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `enough`, or for so long.
    fn wait(
        &self,
        timeout: Duration,
        enough: impl Fn(&Pending) -> bool,
    ) -> MutexGuard<'_, Pending> {
        let pending = self.lock();
        let waited = self
            .wake
            .wait_timeout_while(pending, timeout, |pending| !enough(pending));
        waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

struct Thread {
    store: Box<dyn Store>,
    term: u64,
    clock: Clock,
    shared: Arc<Shared>,
    progress: watch::Sender<Progress>,
    /// Nothing has been committed since the store was tended.
    tended: bool,
}

/// What there is to do.
struct Work {
    ticket: Ticket,
    past_dropped: u64,
    stopping: bool,
}

impl Thread {
    fn run(mut self) -> Result<(), CommitError> {
        let mut unwritten = Batch::default();
        let mut failed = false;
        loop {
            let work = self.wait_for_work(&mut unwritten, failed);
            match self.write(&unwritten) {
                Ok(()) => {
                    self.tell_durable(&work, !unwritten.is_empty());
                    unwritten = Batch::default();
                    failed = false;
                    if work.stopping {
                        return Ok(());
                    }
                }
                Err(error @ CommitError::Deposed { .. }) => {
                    error!(%error, "another process has taken over the store");
                    self.progress
                        .send_modify(|progress| progress.health = Health::Deposed);
                    return Err(error);
                }
                Err(error) if work.stopping => return Err(error),
                Err(error) => {
                    self.tell_failing(&work, error);
                    failed = true;
                }
            }
        }
    }

    /// Takes what has been submitted. What could not be written is tried again after a while, whatever comes.
    fn wait_for_work(&self, unwritten: &mut Batch, failed: bool) -> Work {
        let timeout = match (failed, self.tended) {
            (true, _) => RETRY,
            (false, true) => IDLE,
            (false, false) => QUIET,
        };
        let mut pending = self.shared.wait(timeout, |pending| {
            pending.stopping || !(failed || pending.batch.is_empty())
        });
        let more = std::mem::take(&mut pending.batch);
        pending.past_dropped += unwritten.merge(more, MAX_PAST);
        Work {
            ticket: pending.last,
            past_dropped: pending.past_dropped,
            stopping: pending.stopping,
        }
    }

    fn write(&mut self, batch: &Batch) -> Result<(), CommitError> {
        self.tended = batch.is_empty();
        if self.tended {
            self.store.tend(clock::unix_millis())
        } else {
            self.store.commit(batch, self.term)
        }
    }

    fn tell_durable(&self, work: &Work, committed: bool) {
        self.progress.send_modify(|progress| {
            if let Health::Failing(failing) = &progress.health {
                let lasted = self.clock.now().since(failing.since);
                info!(
                    ?lasted,
                    "the store can be written to again; nothing submitted is missing"
                );
            }
            progress.durable = work.ticket;
            progress.health = Health::Well;
            progress.commits += u64::from(committed);
            progress.past_dropped = work.past_dropped;
        });
    }

    fn tell_failing(&self, work: &Work, error: CommitError) {
        self.progress.send_modify(|progress| {
            let since = match &progress.health {
                Health::Failing(failing) => failing.since,
                Health::Well | Health::Deposed => {
                    error!(%error, "the store cannot be written to; it is tried again and again");
                    self.clock.now()
                }
            };
            if progress.past_dropped == 0 && work.past_dropped > 0 {
                warn!("the history is losing sessions: too many wait to be written");
            }
            let error = Arc::new(error);
            progress.health = Health::Failing(Failing { since, error });
            progress.past_dropped = work.past_dropped;
        });
    }
}

/// So many sessions that are over wait to be written, at most.
const MAX_PAST: usize = 10_000;

/// When nothing has come for this long, the store is tended: what comes meanwhile waits for two fsyncs.
const QUIET: Duration = Duration::from_millis(50);

/// A store to which nothing happens is tended this often: the history grows old by itself.
const IDLE: Duration = Duration::from_secs(60);

/// Between two attempts on a store that fails.
const RETRY: Duration = Duration::from_millis(250);
