//! What can be asked of the machine.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::lease::LeaseState;
use super::types::{
    EndCause, Fence, InstanceName, NodeId, Owner, Pick, PoolName, SessionId, Time, VmId,
};
use super::{Placement, SessionState};

/// What has happened since the start.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Leases learnt from a Sync.
    pub adopted: u64,
    /// Sessions ended, by cause.
    pub ended: BTreeMap<EndCause, u64>,
    /// Acquires granted.
    pub granted: u64,
    /// Words that changed nothing, by kind.
    pub ignored: BTreeMap<Ignored, u64>,
    /// Leases whose VM fell silent.
    pub orphaned: u64,
    /// Orphans given up without a word from their VM.
    pub orphans_released: u64,
    /// Sessions reported live on an instance that was another's by then.
    pub overlaps: u64,
    /// Orphans whose VM came back.
    pub reclaimed: u64,
    /// Acquires refused.
    pub refused: u64,
}

/// Why a word changed nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Ignored {
    /// It carries another fence than the lease.
    ForeignFence,
    /// The session is another VM's.
    ForeignSession,
    /// An Acquire that the word of its session's end overtook.
    LateAcquire,
    /// The end of a session that nobody knows.
    LateEnd,
    /// An agent's report that a later one overtook.
    LateReport,
    /// A live session that the word of its end overtook.
    LateSession,
    /// A full Sync that a later one overtook.
    LateSync,
}

impl Ignored {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::ForeignFence,
        Self::ForeignSession,
        Self::LateAcquire,
        Self::LateEnd,
        Self::LateReport,
        Self::LateSession,
        Self::LateSync,
    ];

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::ForeignFence => "foreign_fence",
            Self::ForeignSession => "foreign_session",
            Self::LateAcquire => "late_acquire",
            Self::LateEnd => "late_end",
            Self::LateReport => "late_report",
            Self::LateSession => "late_session",
            Self::LateSync => "late_sync",
        }
    }
}

/// One instance, as placement sees it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Its name.
    pub name: InstanceName,
    /// Its pool.
    pub pool: PoolName,
    /// Its probes pass.
    pub up: bool,
    /// It has been up for as long as its pool wants.
    pub warm: bool,
    /// It is given to nobody new.
    pub draining: bool,
    /// It is given to nobody at all.
    pub quarantined: bool,
    /// Its lease.
    pub lease: Option<LeaseView>,
}

/// One lease.
#[derive(Clone, Debug)]
pub struct LeaseView {
    /// Its fence.
    pub fence: Fence,
    /// Its state.
    pub state: LeaseState,
    /// The session it was granted to.
    pub session: SessionId,
    /// Whose it is.
    pub owner: Owner,
    /// How long it has been in this state.
    pub age: Duration,
}

/// One session that waits or holds an instance.
#[derive(Clone, Debug)]
pub struct SessionView {
    /// Its id.
    pub session: SessionId,
    /// Its pool.
    pub pool: PoolName,
    /// Its instance; `None` while it waits.
    pub instance: Option<InstanceName>,
    /// The lease's state as a label, or `waiting`.
    pub state: &'static str,
    /// Why it has that instance.
    pub pick: Option<Pick>,
    /// Whose it is.
    pub owner: Owner,
    /// The client's address.
    pub client_address: Arc<str>,
    /// The `jti` of its token.
    pub token_id: Option<Arc<str>>,
    /// The proxy that carries it.
    pub node: NodeId,
    /// The proxy's VM.
    pub vm: VmId,
    /// How long it has been in this state.
    pub age: Duration,
}

impl Placement {
    /// What has happened since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The machine does not grant yet.
    pub fn is_learning(&self) -> bool {
        self.learning
    }

    /// Whether a session waits or holds an instance.
    pub fn knows(&self, session: &SessionId) -> bool {
        self.sessions.find(session).is_some()
    }

    /// How many sessions wait for an instance.
    pub fn waiting(&self) -> usize {
        let waits = |state: SessionState| matches!(state, SessionState::Waits(_));
        let sessions = self.sessions.iter();
        sessions
            .filter(|(_, _, session)| waits(session.state))
            .count()
    }

    /// Whether there is no session, no lease, nobody's word to be carried out and nothing kept for
    /// anybody; only VMs that were heard lately may still be known.
    pub fn is_idle(&self) -> bool {
        let slots = self
            .slots
            .iter()
            .all(|(_, _, slot)| slot.lease.is_none() && slot.due.is_none());
        let pools = self.pools.iter().all(|(_, _, pool)| pool.is_idle());
        slots
            && pools
            && self.sessions.len() == 0
            && self.users.len() == 0
            && self.vms.iter().all(|(_, _, vm)| vm.sessions.is_empty())
    }

    /// How many VMs are known.
    pub fn known_vms(&self) -> usize {
        self.vms.len()
    }

    /// All instances, in no order.
    pub fn instances(&self, now: Time) -> impl Iterator<Item = InstanceView> + '_ {
        self.slots.iter().map(move |(_, name, slot)| InstanceView {
            name: name.clone(),
            pool: slot.spec.pool.clone(),
            up: slot.up,
            warm: slot.warm,
            draining: slot.draining,
            quarantined: slot.quarantined,
            lease: slot.lease.as_ref().map(|lease| LeaseView {
                fence: lease.fence,
                state: lease.state,
                session: lease.acquire.session.clone(),
                owner: lease.acquire.owner.clone(),
                age: now.since(lease.since),
            }),
        })
    }

    /// All sessions that wait or hold an instance, in no order.
    pub fn sessions(&self, now: Time) -> impl Iterator<Item = SessionView> + '_ {
        self.sessions.iter().map(move |(_, id, known)| {
            let slot = match known.state {
                SessionState::Holds(slot) => Some(slot),
                SessionState::Waits(_) => None,
            };
            let lease = slot.and_then(|slot| self.lease(slot));
            SessionView {
                session: id.clone(),
                pool: known.acquire.pool.clone(),
                instance: slot.and_then(|slot| self.slots.name(slot).cloned()),
                state: lease.map_or("waiting", |lease| lease.state.label()),
                pick: lease.map(|lease| lease.pick),
                age: now.since(lease.map_or(known.asked_at, |lease| lease.since)),
                owner: known.acquire.owner.clone(),
                client_address: Arc::clone(&known.acquire.client_address),
                token_id: known.acquire.token_id.clone(),
                node: known.acquire.origin.node.clone(),
                vm: known.acquire.origin.vm.clone(),
            }
        })
    }
}
