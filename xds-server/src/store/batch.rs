//! What is to be made durable at once.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use super::Stamp;
use crate::placement::{InstanceName, LeaseRecord, PastSession, Revocation, RevocationId};

/// How things are now, as far as they have changed. A later word on the same thing takes an earlier one's place.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    pub(super) leases: BTreeMap<InstanceName, Option<(Stamp, LeaseRecord)>>,
    pub(super) addresses: BTreeMap<InstanceName, SocketAddr>,
    pub(super) drained: BTreeMap<InstanceName, bool>,
    pub(super) quarantined: BTreeMap<InstanceName, bool>,
    pub(super) revocations: BTreeMap<RevocationId, Option<(Stamp, Revocation)>>,
    pub(super) past: VecDeque<(Stamp, PastSession)>,
    pub(super) learnt: bool,
}

impl Batch {
    /// An instance's lease, or that it has none.
    pub fn lease(&mut self, stamp: Stamp, instance: InstanceName, lease: Option<LeaseRecord>) {
        self.leases
            .insert(instance, lease.map(|lease| (stamp, lease)));
    }

    /// Where an instance is.
    pub fn address(&mut self, instance: InstanceName, address: SocketAddr) {
        self.addresses.insert(instance, address);
    }

    /// Whether an instance drains.
    pub fn drained(&mut self, instance: InstanceName, drained: bool) {
        self.drained.insert(instance, drained);
    }

    /// Whether an instance is quarantined.
    pub fn quarantined(&mut self, instance: InstanceName, quarantined: bool) {
        self.quarantined.insert(instance, quarantined);
    }

    /// A revocation, or that it holds no longer.
    pub fn revocation(&mut self, stamp: Stamp, id: RevocationId, revocation: Option<Revocation>) {
        let revocation = revocation.map(|revocation| (stamp, revocation));
        self.revocations.insert(id, revocation);
    }

    /// A session that is over.
    pub fn past(&mut self, stamp: Stamp, session: PastSession) {
        self.past.push_back((stamp, session));
    }

    /// From now on the store has every lease there is. Before that is durable, the next process learns from the
    /// proxies, for the leases it would find might not be all.
    pub fn learnt(&mut self) {
        self.learnt = true;
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        let Self {
            leases,
            addresses,
            drained,
            quarantined,
            revocations,
            past,
            learnt,
        } = self;
        leases.is_empty()
            && addresses.is_empty()
            && drained.is_empty()
            && quarantined.is_empty()
            && revocations.is_empty()
            && past.is_empty()
            && !learnt
    }

    /// The lease it says that an instance has.
    #[cfg(test)]
    pub(crate) fn lease_of(&self, instance: &InstanceName) -> Option<LeaseRecord> {
        let lease = self.leases.get(instance)?.as_ref();
        lease.map(|(_, lease)| lease.clone())
    }

    /// Whether it says that an instance drains.
    #[cfg(test)]
    pub(crate) fn drains(&self, instance: &InstanceName) -> bool {
        self.drained.get(instance) == Some(&true)
    }

    /// What it says that has to be kept under this id.
    #[cfg(test)]
    pub(crate) fn revocation_of(&self, id: RevocationId) -> Option<Revocation> {
        let revocation = self.revocations.get(&id)?.as_ref();
        revocation.map(|(_, revocation)| revocation.clone())
    }

    /// Whether it says that the store has every lease.
    #[cfg(test)]
    pub(crate) fn is_complete(&self) -> bool {
        self.learnt
    }

    /// Adds what has come since. Of sessions that are over it keeps the latest `max_past`, and says how many it let
    /// go.
    pub(crate) fn merge(&mut self, later: Self, max_past: usize) -> u64 {
        self.leases.extend(later.leases);
        self.addresses.extend(later.addresses);
        self.drained.extend(later.drained);
        self.quarantined.extend(later.quarantined);
        self.revocations.extend(later.revocations);
        self.past.extend(later.past);
        self.learnt |= later.learnt;
        let surplus = self.past.len().saturating_sub(max_past);
        self.past.drain(..surplus);
        u64::try_from(surplus).unwrap_or(u64::MAX)
    }
}
