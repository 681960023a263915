//! What the machine knows of one filter VM.

use std::collections::{HashMap, HashSet};

use super::types::{CloseReason, SessionId, Time};

/// One incarnation of one filter VM.
#[derive(Debug)]
pub(super) struct Vm {
    /// When anything was last heard of it.
    pub(super) heard: Time,
    /// Sessions of this VM that wait or hold a lease.
    pub(super) sessions: HashSet<SessionId>,
    /// Sessions it has to close, until it no longer lists them.
    pub(super) closing: HashMap<SessionId, CloseReason>,
    /// The number of its latest full Sync.
    last_full: u64,
    /// What that Sync listed as pending: an Acquire that it overtook is still wanted if it is here.
    pending: HashSet<SessionId>,
    /// Ends, with the number of the message that told: an Acquire or a Sync that this message
    /// overtook is void. Dropped with the next full Sync, whose word covers them.
    ended: HashMap<SessionId, u64>,
    /// A timer that looks after its silence is running.
    pub(super) watched: bool,
}

impl Vm {
    pub(super) fn new(now: Time) -> Self {
        Self {
            heard: now,
            sessions: HashSet::new(),
            closing: HashMap::new(),
            last_full: 0,
            pending: HashSet::new(),
            ended: HashMap::new(),
            watched: false,
        }
    }

    /// Whether an Acquire comes too late: its session has ended, as an earlier-arrived message says.
    pub(super) fn is_over(&self, session: &SessionId, sequence: u64) -> bool {
        self.has_ended(session) || (sequence < self.last_full && !self.pending.contains(session))
    }

    /// Whether a Sync that lists the session was overtaken by the word of its end.
    pub(super) fn has_ended(&self, session: &SessionId) -> bool {
        self.ended.contains_key(session)
    }

    /// Remembers the end of a session.
    pub(super) fn remember_end(&mut self, session: SessionId, sequence: u64) {
        if sequence >= self.last_full && self.ended.len() < REMEMBERED_ENDS {
            self.ended.insert(session, sequence);
        }
    }

    /// Takes a full Sync's number and pending sessions; false if a later one has been seen.
    pub(super) fn advance(&mut self, sequence: u64, pending: HashSet<SessionId>) -> bool {
        if sequence <= self.last_full {
            return false;
        }
        self.last_full = sequence;
        self.pending = pending;
        self.ended.retain(|_, told| *told > sequence);
        true
    }
}

/// More than a VM can end between two Syncs; a bound all the same.
const REMEMBERED_ENDS: usize = 100_000;
