//! What can be asked of the machine.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::lease::LeaseState;
use super::types::{EndCause, Fence, InstanceName, NodeId, Owner, PoolName, SessionId, Time, VmId};
use super::{Placement, SessionState};

/// What has happened since the start.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    /// Leases learnt from a Sync.
    pub adopted: u64,
    /// Sessions ended, by cause.
    pub ended: HashMap<EndCause, u64>,
    /// Messages of another VM or with another fence; they changed nothing.
    pub foreign: u64,
    /// Acquires granted.
    pub granted: u64,
    /// Messages that came after one that made them void; they changed nothing.
    pub late: u64,
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

/// One instance, as placement sees it.
#[derive(Clone, Debug)]
pub struct InstanceView {
    /// Its name.
    pub name: InstanceName,
    /// Its pool.
    pub pool: PoolName,
    /// Its probes pass.
    pub up: bool,
    /// It is given to nobody new.
    pub draining: bool,
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
    /// Whose it is.
    pub owner: Owner,
    /// The client's address.
    pub client_address: Arc<str>,
    /// The proxy that carries it.
    pub node: NodeId,
    /// The proxy's VM.
    pub vm: VmId,
    /// How long it has been in this state; zero while it waits.
    pub age: Duration,
}

impl Placement {
    /// What has happened since the start.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The machine does not grant yet.
    pub fn is_learning(&self) -> bool {
        self.learning.is_some()
    }

    /// All instances, in no order.
    pub fn instances(&self, now: Time) -> impl Iterator<Item = InstanceView> + '_ {
        self.slots.values().map(move |slot| InstanceView {
            name: slot.name.clone(),
            pool: slot.pool.clone(),
            up: slot.up,
            draining: slot.draining,
            lease: slot.lease.as_ref().map(|lease| LeaseView {
                fence: lease.fence,
                state: lease.state,
                session: lease.session.clone(),
                owner: lease.owner.clone(),
                age: now.since(lease.since),
            }),
        })
    }

    /// All sessions that wait or hold an instance, in no order.
    pub fn sessions(&self, now: Time) -> impl Iterator<Item = SessionView> + '_ {
        self.sessions.values().map(move |known| {
            let instance = match &known.state {
                SessionState::Holds(instance) => Some(instance.clone()),
                SessionState::Waits { .. } => None,
            };
            let lease = instance.as_ref().and_then(|instance| self.lease(instance));
            SessionView {
                session: known.acquire.session.clone(),
                pool: known.acquire.pool.clone(),
                state: lease.map_or("waiting", |lease| lease.state.label()),
                age: lease.map_or(Duration::ZERO, |lease| now.since(lease.since)),
                instance,
                owner: known.acquire.owner.clone(),
                client_address: known.acquire.client_address.clone(),
                node: known.acquire.origin.node.clone(),
                vm: known.acquire.origin.vm.clone(),
            }
        })
    }
}
