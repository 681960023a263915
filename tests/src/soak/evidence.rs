//! What clients, instances and the bringer of trouble record, for the ledger to judge.

use std::time::{Duration, Instant};

use super::plan::Trouble;

/// A time since the start of the soak.
pub type Moment = Duration;

/// What all records are dated by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock(Instant);

impl Clock {
    pub(super) fn start() -> Self {
        Self(tokio::time::Instant::now().into_std())
    }

    pub(super) fn now(self) -> Moment {
        self.of(tokio::time::Instant::now().into_std())
    }

    pub(super) fn of(self, instant: Instant) -> Moment {
        instant.saturating_duration_since(self.0)
    }
}

/// Everything that is known of a soak when it is over.
#[derive(Debug, Default)]
pub struct Evidence {
    /// By the clients.
    pub upgrades: Vec<Upgrade>,
    /// By the instances.
    pub visits: Vec<Visit>,
    /// By the bringer of trouble.
    pub happenings: Vec<Happening>,
    /// What was not free in the end, one sentence each.
    pub left: Vec<String>,
    /// How long it took for everything to be free once the last client had gone.
    pub until_free: Duration,
}

/// One request for a session, by the client's record.
#[derive(Debug, Clone)]
pub struct Upgrade {
    /// Unique; the client sends it along, and the instance records it.
    pub number: u64,
    /// Whose it is. All of a user's devices are in one pool.
    pub user: u32,
    /// Whether the user's next request may end this session: the pool's policy for second devices.
    pub may_be_taken_over: bool,
    /// By which Envoy.
    pub envoy: usize,
    /// Before the connection was opened.
    pub began: Moment,
    /// What came of it.
    pub outcome: Outcome,
}

/// What came of a request.
#[derive(Debug, Clone)]
pub enum Outcome {
    /// A session.
    Admitted {
        /// When the 101 had been read.
        at: Moment,
        /// When it was over: before the client did anything about it.
        over: Moment,
        /// Who ended it.
        by: Parting,
    },
    /// An HTTP answer that is no 101.
    Refused {
        /// When it had been read.
        at: Moment,
        /// Its status and, from `x-berth-reason`, its reason.
        reason: String,
    },
    /// No answer at all.
    Unanswered {
        /// When that was clear.
        at: Moment,
        /// How it showed.
        how: String,
    },
    /// The client went away before there was an answer.
    Abandoned {
        /// When it did.
        at: Moment,
    },
}

/// Who ended a session, by the client's record.
#[derive(Debug, Clone)]
pub enum Parting {
    /// The client.
    Left(Leave),
    /// Somebody else, which showed like this.
    Cut(String),
}

/// How a client leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Leave {
    /// With a Close frame.
    Close,
    /// With a FIN, waiting for the server's.
    Finish,
    /// With a reset.
    Abort,
    /// With a FIN, without waiting.
    Drop,
}

/// One session, by the instance's record.
#[derive(Debug, Clone)]
pub struct Visit {
    /// Where.
    pub instance: String,
    /// What the client called it.
    pub upgrade: Option<u64>,
    /// Before the 101 was sent.
    pub from: Moment,
    /// `None` while it is live.
    pub until: Option<Moment>,
    /// Whether it was the instance that ended it.
    pub ended_by_instance: bool,
}

/// Trouble that was brought about.
#[derive(Debug, Clone)]
pub struct Happening {
    /// What.
    pub trouble: Trouble,
    /// Just before.
    pub from: Moment,
    /// When the part had ended, or stood still: asked to end, it takes its time.
    pub gone: Moment,
    /// When everything was as before.
    pub until: Moment,
}

impl Outcome {
    /// When it was known.
    #[must_use]
    pub const fn at(&self) -> Moment {
        match self {
            Self::Admitted { at, .. }
            | Self::Refused { at, .. }
            | Self::Unanswered { at, .. }
            | Self::Abandoned { at } => *at,
        }
    }
}
