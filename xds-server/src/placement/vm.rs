//! What the machine knows of one filter VM.

use std::collections::BTreeMap;

use foldhash::fast::FixedState;

use super::keys::{Map, SessionKey, Set};
use super::types::{CloseReason, SessionId, Time};

/// One incarnation of one filter VM.
#[derive(Debug)]
pub(super) struct Vm {
    /// When anything was last heard of it.
    pub(super) heard: Time,
    /// Sessions of this VM that wait or hold a lease.
    pub(super) sessions: Set<SessionKey>,
    /// Sessions it has to close, until it no longer lists them.
    pub(super) closing: BTreeMap<SessionId, CloseReason>,
    /// The number of its latest full Sync.
    last_full: u64,
    /// What that Sync listed as pending: an Acquire that it overtook is still wanted if it is here.
    pending: Set<SessionId>,
    /// Ends, with the number of the message that told: an Acquire or a Sync that this message
    /// overtook is void. Dropped with the next full Sync, whose word covers them.
    ended: Map<SessionId, u64>,
    /// A timer that looks after its silence is running.
    pub(super) watched: bool,
}

impl Vm {
    pub(super) fn new(hash_seed: u64) -> Self {
        let hasher = FixedState::with_seed(hash_seed);
        Self {
            heard: Time::default(),
            sessions: Set::with_hasher(hasher.clone()),
            closing: BTreeMap::new(),
            last_full: 0,
            pending: Set::with_hasher(hasher.clone()),
            ended: Map::with_hasher(hasher),
            watched: false,
        }
    }

    /// Whether an Acquire comes too late: its session has ended, as an earlier-arrived message says.
    pub(super) fn is_over(&self, session: &SessionId, sequence: u64) -> bool {
        self.has_ended(session) || (sequence < self.last_full && !self.pending.contains(session))
    }

    /// Whether a message that has not been overtaken by a full Sync told its end.
    pub(super) fn has_ended(&self, session: &SessionId) -> bool {
        self.ended.contains_key(session)
    }

    /// Remembers the end of a session; true if that has been told before.
    pub(super) fn remember_end(&mut self, session: SessionId, sequence: u64) -> bool {
        if sequence < self.last_full || self.ended.len() >= REMEMBERED_ENDS {
            return self.has_ended(&session);
        }
        self.ended.insert(session, sequence).is_some()
    }

    /// Whether a full Sync of this number is later than any before.
    pub(super) fn is_news(&self, sequence: u64) -> bool {
        sequence > self.last_full
    }

    /// Takes a full Sync's number and what it lists as pending.
    pub(super) fn advance<'a>(
        &mut self,
        sequence: u64,
        pending: impl Iterator<Item = &'a SessionId>,
    ) {
        self.last_full = sequence;
        self.pending.clear();
        self.pending.extend(pending.cloned());
        self.ended.retain(|_, told| *told > sequence);
    }
}

/// More than a VM can end between two Syncs; a bound all the same.
const REMEMBERED_ENDS: usize = 100_000;
