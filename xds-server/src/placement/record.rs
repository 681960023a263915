//! What the next machine has to know, out of this one and into that one.

use std::sync::Arc;

use super::Placement;
use super::keys::SlotKey;
use super::lease::{Lease, LeaseState};
use super::types::{
    Acquire, InstanceName, Labels, LeaseRecord, Origin, Priority, RecordedState, Time,
};

impl Placement {
    /// What has to be written down of an instance; `None` when it has no lease, and a record that is
    /// there has to go.
    pub fn lease_record(&self, instance: &InstanceName) -> Option<LeaseRecord> {
        let slot = self.slots.get(self.slots.find(instance)?)?;
        let lease = slot.lease.as_ref()?;
        let acquire = &lease.acquire;
        let state = match lease.state {
            LeaseState::Active | LeaseState::Orphaned { .. } | LeaseState::Reserved { .. } => {
                let closing = lease
                    .session
                    .and_then(|session| self.vms.get(self.sessions.get(session)?.vm))
                    .and_then(|vm| vm.closing.get(&acquire.session).copied());
                RecordedState::Held { closing }
            }
            LeaseState::Resumable { until, .. } => RecordedState::Resumable { until },
            LeaseState::Settling { .. } => RecordedState::Settling,
        };
        Some(LeaseRecord {
            instance: instance.clone(),
            fence: lease.fence,
            owner: acquire.owner.clone(),
            session: acquire.session.clone(),
            node: acquire.origin.node.clone(),
            vm: acquire.origin.vm.clone(),
            sequence: lease.sequence,
            client_address: Arc::clone(&acquire.client_address),
            granted_at: lease.granted_at,
            pick: lease.pick,
            state,
            window_until: lease.window_until,
            token_id: acquire.token_id.clone(),
        })
    }

    /// Takes over what an earlier machine wrote down, before anything else is asked of this one and
    /// once its pools and instances are known. Nothing has to be learnt then: who is not in a
    /// record has nothing. Records of instances that are not there are left alone. Revocations come before them
    /// ([`Self::restore_revocations`]).
    pub fn restore(&mut self, now: Time, leases: Vec<LeaseRecord>) {
        for record in leases {
            self.term = self.term.max(record.fence.term.saturating_add(1));
            if let Some(slot) = self.slots.find(&record.instance)
                && self.lease(slot).is_none()
            {
                self.restore_lease(now, slot, record);
            }
        }
        self.close_revoked(now, |machine, acquire| machine.is_revoked(acquire));
        self.end_learning(now);
    }

    fn restore_lease(&mut self, now: Time, slot: SlotKey, record: LeaseRecord) {
        let Some(policy) = self.policy_of(slot) else {
            return;
        };
        let (resume_window, settle, max_age) =
            (policy.resume_window, policy.settle, policy.max_session_age);
        let pool = self.slots.get(slot).map(|slot| slot.spec.pool.clone());
        let Some(pool) = pool else {
            return;
        };
        let acquire = Arc::new(Acquire {
            origin: Origin {
                node: record.node,
                vm: record.vm,
                sequence: record.sequence,
            },
            session: record.session,
            pool,
            owner: record.owner,
            client_address: record.client_address,
            priority: Priority::default(),
            labels: Labels::default(),
            token_id: record.token_id,
        });
        let watched = self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.agent.is_some());
        let settled_at = if watched {
            Time::NEVER
        } else {
            now.after(settle)
        };
        let settling = LeaseState::Settling {
            until: if watched {
                now.after(self.timing.agent_within)
            } else {
                settled_at
            },
        };
        let mut session = None;
        let state = match record.state {
            RecordedState::Held { closing } => {
                // Its VM says what is true of it, or falls silent.
                let vm = self.hear(now, &acquire.origin.vm);
                let entered =
                    self.enter_holding(now, vm, slot, Arc::clone(&acquire), record.sequence);
                if let (Some(reason), Some(vm)) = (closing, self.vms.get_mut(vm)) {
                    vm.closing.insert(acquire.session.clone(), reason);
                }
                session = entered;
                LeaseState::Reserved {
                    until: now.after(self.timing.reserve_for),
                }
            }
            RecordedState::Resumable { until } if until > now => LeaseState::Resumable {
                until: until.min(now.after(resume_window)),
                settled_at,
            },
            RecordedState::Resumable { .. } | RecordedState::Settling => settling,
        };
        let user = self.users.find_or_insert_default(&acquire.owner.user);
        let settles = matches!(state, LeaseState::Settling { .. });
        let lease = Lease {
            fence: record.fence,
            acquire,
            sequence: record.sequence,
            user,
            session,
            state,
            since: now,
            granted_at: record.granted_at,
            expires_at: max_age.map(|age| record.granted_at.after(age)),
            pick: record.pick,
            heir: None,
            opening: None,
            window_until: record.window_until,
        };
        self.place(now, slot, lease);
        if settles {
            self.forget_holder(user, slot);
        }
    }
}
