//! A lease's beginning: the grant, and its answer.

use std::sync::Arc;

use super::keys::{SessionKey, SlotKey};
use super::lease::{Lease, LeaseState};
use super::types::{Change, Effect, Fence, Grant, Outcome, Pick, RequestId, SessionId, Time};
use super::{Placement, PoolPolicy, SessionState};

impl Placement {
    /// Leases a free instance to a session that waits.
    pub(super) fn grant(
        &mut self,
        now: Time,
        key: SessionKey,
        slot: SlotKey,
        pick: Pick,
        window_until: Option<Time>,
    ) {
        self.set_waiting_place(key, super::WaitingPlace::Door);
        self.count(key, true);
        let Some(known) = self.sessions.get_mut(key) else {
            return;
        };
        let SessionState::Waits(waiting) = known.state else {
            return;
        };
        known.state = SessionState::Holds(slot);
        self.sequence += 1;
        let fence = Fence {
            term: self.term,
            sequence: self.sequence,
        };
        let max_age = self
            .pools
            .get(known.pool)
            .and_then(|pool| pool.policy.max_session_age);
        let watched = self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.agent.is_some());
        let within = if watched {
            self.timing.agent_within
        } else {
            self.timing.reserve_for
        };
        let lease = Lease {
            fence,
            acquire: Arc::clone(&known.acquire),
            sequence: known.sequence,
            user: known.user,
            session: Some(key),
            state: LeaseState::Reserved {
                until: now.after(within),
            },
            since: now,
            granted_at: now,
            expires_at: max_age.map(|age| now.after(age)),
            pick,
            heir: None,
            opening: watched.then_some(waiting.request),
            window_until,
        };
        // Before the agent is told as well.
        self.commit(slot);
        self.place(now, slot, lease);
        self.counts.granted += 1;
        self.note(slot, Change::Reserved);
        if !watched {
            self.answer_grant(waiting.request, slot);
        }
    }

    /// Puts a lease into an empty slot.
    pub(super) fn place(&mut self, now: Time, key: SlotKey, lease: Lease) {
        let (user, tenant, state) = (
            lease.user,
            Arc::clone(&lease.acquire.owner.tenant),
            lease.state,
        );
        if let Some(holder) = self.users.get_mut(user) {
            holder.held.push(key);
        }
        self.update_slot(key, |slot| {
            slot.last_fence = slot.last_fence.max(Some(lease.fence));
            slot.lease = Some(lease);
        });
        self.leased(key, &tenant, true);
        self.set_lease_state(now, key, state);
    }

    /// Counts a lease that has come (`true`) or gone.
    pub(super) fn leased(&mut self, key: SlotKey, tenant: &Arc<str>, came: bool) {
        let Some((pool, host)) = self.slots.get(key).map(|slot| (slot.pool, slot.host)) else {
            return;
        };
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.lease_of(tenant, came);
        }
        self.host_of(host, came);
        if !came {
            self.stir(pool);
        }
    }

    pub(super) fn answer_grant(&mut self, request: RequestId, slot: SlotKey) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let (fence, session) = (lease.fence, lease.acquire.session.clone());
        let Some(instance) = self.slots.name(slot).cloned() else {
            return;
        };
        self.answer(
            request,
            &session,
            Outcome::Granted(Grant { fence, instance }),
        );
    }

    pub(super) fn answer(&mut self, request: RequestId, session: &SessionId, outcome: Outcome) {
        let session = session.clone();
        self.effects.push_back(Effect::Answer {
            request,
            session,
            outcome,
        });
    }

    pub(super) fn note(&mut self, slot: SlotKey, change: Change) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let (session, fence) = (lease.acquire.session.clone(), lease.fence);
        let Some(instance) = self.slots.name(slot).cloned() else {
            return;
        };
        self.effects.push_back(Effect::Changed {
            instance,
            session,
            fence,
            change,
        });
        if let Change::Ended { cause, .. } = change {
            *self.counts.ended.entry(cause).or_default() += 1;
        }
    }

    pub(super) fn lease(&self, slot: SlotKey) -> Option<&Lease> {
        self.slots.get(slot)?.lease.as_ref()
    }

    pub(super) fn lease_mut(&mut self, slot: SlotKey) -> Option<&mut Lease> {
        self.slots.get_mut(slot)?.lease.as_mut()
    }

    /// An instance's lease, and the rules of its pool.
    pub(super) fn lease_and_policy(&self, slot: SlotKey) -> Option<(&Lease, &PoolPolicy)> {
        let slot = self.slots.get(slot)?;
        Some((slot.lease.as_ref()?, &self.pools.get(slot.pool)?.policy))
    }

    /// The session's VM is not silent.
    pub(super) fn speaks(&self, now: Time, session: SessionKey) -> bool {
        self.sessions
            .get(session)
            .and_then(|known| self.vms.get(known.vm))
            .is_some_and(|vm| now.since(vm.heard) < self.timing.silent_after)
    }
}
