//! Sessions that are over, for whoever asks later.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Damage, Stamp, UnixMillis};
use crate::placement::{
    End, Fence, InstanceName, NodeId, Owner, PastSession, Pick, PoolName, SessionId,
};

/// Reads the history. Takes as long as a look at every session kept does: not to be called where a task runs.
pub trait History: Send + Sync + fmt::Debug {
    /// Finds sessions, the one that ended last first.
    ///
    /// # Errors
    /// [`HistoryError`].
    fn query(&self, query: &HistoryQuery) -> Result<Vec<PastRecord>, HistoryError>;
}

/// Why the history cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The store is being opened again after a failure: ask again.
    #[error("the store cannot be read right now")]
    Away,
    /// It has been damaged since this process opened it.
    #[error("the history cannot be read: {0}")]
    Damaged(#[from] Damage),
}

/// How much history is kept. What exceeds either goes, the oldest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryLimits {
    /// How long a session is remembered after its end.
    pub max_age: Duration,
    /// How many are.
    pub max_sessions: u64,
}

impl HistoryLimits {
    /// Thirty days, a hundred thousand sessions.
    pub const DEFAULT: Self = Self {
        max_age: Duration::from_secs(30 * 24 * 60 * 60),
        max_sessions: 100_000,
    };
}

impl Default for HistoryLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// Which sessions are asked for: those that match everything given.
#[derive(Clone, Debug, Default)]
pub struct HistoryQuery {
    /// This one.
    pub session: Option<SessionId>,
    /// Of users with this `sub`, whoever issued it.
    pub subject: Option<Arc<str>>,
    /// Of this tenant.
    pub tenant: Option<Arc<str>>,
    /// Of this pool.
    pub pool: Option<PoolName>,
    /// On this instance.
    pub instance: Option<InstanceName>,
    /// That ended then or later.
    pub since: Option<UnixMillis>,
    /// That ended before then.
    pub until: Option<UnixMillis>,
    /// At most so many.
    pub limit: Limit,
}

impl HistoryQuery {
    pub(super) fn matches(&self, past: &PastRecord) -> bool {
        fn asked<T: PartialEq>(asked: Option<&T>, found: &T) -> bool {
            asked.is_none_or(|asked| asked == found)
        }
        let ended_at = past.ended_at;
        asked(self.session.as_ref(), &past.session)
            && asked(self.subject.as_ref(), &past.owner.user.subject)
            && asked(self.tenant.as_ref(), &past.owner.tenant)
            && asked(self.pool.as_ref(), &past.pool)
            && asked(self.instance.as_ref(), &past.instance)
            && self.since.is_none_or(|since| since <= ended_at)
            && self.until.is_none_or(|until| ended_at < until)
    }
}

/// How many sessions are told at most: 1 to 10,000, and 100 if nothing is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit(usize);

impl Limit {
    /// `None` if it is out of bounds.
    pub fn new(limit: usize) -> Option<Self> {
        (1..=Self::MAX).contains(&limit).then_some(Self(limit))
    }

    /// The number.
    pub fn get(self) -> usize {
        self.0
    }

    /// The greatest.
    pub const MAX: usize = 10_000;
}

impl Default for Limit {
    fn default() -> Self {
        Self(100)
    }
}

/// A session that is over, by the world's clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastRecord {
    /// Its id.
    pub session: SessionId,
    /// Its pool.
    pub pool: PoolName,
    /// Its instance.
    pub instance: InstanceName,
    /// Its lease's.
    pub fence: Fence,
    /// Whose it was.
    pub owner: Owner,
    /// The client's address.
    pub client_address: Arc<str>,
    /// The proxy that carried it.
    pub node: NodeId,
    /// Why this instance.
    pub pick: Pick,
    /// When the instance was leased to it.
    pub granted_at: UnixMillis,
    /// When its 101 was reported; `None` if it never was.
    pub established_at: Option<UnixMillis>,
    /// When its end was known.
    pub ended_at: UnixMillis,
    /// How it ended.
    pub end: End,
    /// The `jti` of its token.
    pub token_id: Option<Arc<str>>,
}

impl PastRecord {
    pub(super) fn new(stamp: Stamp, past: &PastSession) -> Self {
        let acquire = &past.acquire;
        Self {
            session: acquire.session.clone(),
            pool: acquire.pool.clone(),
            instance: past.instance.clone(),
            fence: past.fence,
            owner: acquire.owner.clone(),
            client_address: Arc::clone(&acquire.client_address),
            node: acquire.origin.node.clone(),
            pick: past.pick,
            granted_at: stamp.to_unix(past.granted_at),
            established_at: past.established_at.map(|at| stamp.to_unix(at)),
            ended_at: stamp.to_unix(past.ended_at),
            end: past.end,
            token_id: acquire.token_id.clone(),
        }
    }

    /// Its place in the history: sessions are told in the order in which they ended.
    pub(super) fn key(&self) -> (u64, u64, u64) {
        let Fence { term, sequence } = self.fence;
        (self.ended_at.0, term, sequence)
    }
}
