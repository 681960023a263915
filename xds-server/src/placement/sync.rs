//! What VMs say of their sessions: the truth about what is live.

use std::collections::{HashMap, HashSet};

use super::lease::{Lease, LeaseState};
use super::types::{
    Acquire, Change, Close, CloseReason, EndCause, Grant, InstanceName, Origin, ReportedEnd,
    ReportedSession, SessionId, Sync, Time,
};
use super::vm::Vm;
use super::{Placement, Session, SessionState};

impl Placement {
    /// Takes a VM's word; answers with what that VM has to close.
    pub fn sync(&mut self, now: Time, sync: Sync) -> Vec<Close> {
        let Sync {
            origin,
            sessions,
            ended,
        } = sync;
        let vm = self
            .vms
            .entry(origin.vm.clone())
            .or_insert_with(|| Vm::new(now));
        vm.heard = now;
        self.watch(&origin.vm);
        for end in ended {
            self.take_end(now, &origin, end);
        }
        if let Some(sessions) = sessions {
            self.take_full(now, &origin, sessions);
        }
        self.closes(&origin)
    }

    fn closes(&self, origin: &Origin) -> Vec<Close> {
        let closing = self
            .vms
            .get(&origin.vm)
            .into_iter()
            .flat_map(|vm| &vm.closing);
        closing
            .map(|(session, reason)| Close {
                session: session.clone(),
                reason: *reason,
            })
            .collect()
    }

    fn take_end(&mut self, now: Time, origin: &Origin, end: ReportedEnd) {
        let ReportedEnd {
            session,
            fence,
            cause,
        } = end;
        let mut repeated = false;
        if let Some(vm) = self.vms.get_mut(&origin.vm) {
            repeated = vm.has_ended(&session);
            vm.remember_end(session.clone(), origin.sequence);
        }
        match self.sessions.get(&session) {
            Some(known) if known.acquire.origin.vm != origin.vm => self.counts.foreign += 1,
            Some(known) => {
                let held = match &known.state {
                    SessionState::Holds(instance) => self.lease(instance).map(|lease| lease.fence),
                    SessionState::Waits { .. } => None,
                };
                // Without a fence the filter had not seen the grant that is under way to it.
                if fence.is_some() && fence != held {
                    self.counts.foreign += 1;
                } else {
                    self.end(now, &session, cause);
                }
            }
            None => {
                // Its end overtook its Acquire, or it was never ours. That a Sync repeats what a hint
                // said is as it should be.
                if !repeated {
                    self.counts.late += 1;
                }
                if let Some(vm) = self.vms.get_mut(&origin.vm) {
                    vm.closing.remove(&session);
                }
            }
        }
    }

    fn take_full(&mut self, now: Time, origin: &Origin, sessions: Vec<ReportedSession>) {
        let pending: HashSet<SessionId> = sessions
            .iter()
            .filter(|reported| reported.grant.is_none())
            .map(|reported| reported.session.clone())
            .collect();
        let Some(vm) = self.vms.get_mut(&origin.vm) else {
            return;
        };
        if !vm.advance(origin.sequence, pending) {
            self.counts.late += 1;
            return;
        }
        let listed: HashMap<SessionId, ReportedSession> = sessions
            .into_iter()
            .map(|reported| (reported.session.clone(), reported))
            .collect();
        let unlisted: Vec<SessionId> = vm
            .sessions
            .iter()
            .filter(|session| !listed.contains_key(*session))
            .cloned()
            .collect();
        for session in unlisted {
            // It speaks only for Acquires with lower numbers.
            let told = self
                .sessions
                .get(&session)
                .is_some_and(|known| known.acquire.origin.sequence < origin.sequence);
            if told {
                self.end(now, &session, EndCause::Unlisted);
            }
        }
        if let Some(vm) = self.vms.get_mut(&origin.vm) {
            vm.closing.retain(|session, _| listed.contains_key(session));
        }
        for reported in listed.into_values() {
            self.take_listed(now, origin, reported);
        }
    }

    fn take_listed(&mut self, now: Time, origin: &Origin, reported: ReportedSession) {
        let Some(known) = self.sessions.get(&reported.session) else {
            let ended = self
                .vms
                .get(&origin.vm)
                .is_some_and(|vm| vm.has_ended(&reported.session));
            return match reported.grant.clone() {
                Some(_) if ended => self.counts.late += 1,
                Some(grant) => self.adopt(now, origin, reported, grant),
                // Its Acquire is under way.
                None => {}
            };
        };
        if known.acquire.origin.vm != origin.vm {
            self.counts.foreign += 1;
            return;
        }
        let SessionState::Holds(instance) = known.state.clone() else {
            return;
        };
        let Some(lease) = self.lease(&instance) else {
            return;
        };
        if reported
            .grant
            .as_ref()
            .is_some_and(|grant| grant.fence != lease.fence)
        {
            self.counts.foreign += 1;
            return self.close(&reported.session, CloseReason::Fenced);
        }
        let state = match lease.state {
            LeaseState::Orphaned { established, .. } => {
                self.counts.reclaimed += 1;
                self.note(&instance, Change::Reclaimed);
                if established {
                    self.set_lease_state(now, &instance, LeaseState::Active);
                } else {
                    let until = now.after(self.timing.reserve_for);
                    self.set_lease_state(now, &instance, LeaseState::Reserved { until });
                }
                self.lease(&instance).map(|lease| lease.state)
            }
            state => Some(state),
        };
        if let (Some(LeaseState::Reserved { .. }), true) = (state, reported.established) {
            self.set_lease_state(now, &instance, LeaseState::Active);
            self.note(&instance, Change::Activated);
        }
    }

    /// A session that this machine did not grant, or had given up: it is on the instance, whoever
    /// sent it there, so the instance is its own as long as nobody else's.
    fn adopt(&mut self, now: Time, origin: &Origin, reported: ReportedSession, grant: Grant) {
        let Grant { fence, instance } = grant;
        self.term = self.term.max(fence.term.saturating_add(1));
        let Some(slot) = self.slots.get(&instance) else {
            // It has been taken out of the configuration: nobody is sent there, and who is there may stay.
            return;
        };
        if slot.lease.is_some() {
            // Two on one instance, as far as the proxies can tell.
            self.counts.overlaps += 1;
            if let Some(vm) = self.vms.get_mut(&origin.vm) {
                vm.closing.insert(reported.session, CloseReason::Fenced);
            }
            return;
        }
        let stale = self.is_stale(&instance, fence);
        let session = reported.session.clone();
        let until = now.after(self.timing.reserve_for);
        let state = if reported.established {
            LeaseState::Active
        } else {
            LeaseState::Reserved { until }
        };
        if let Some(vm) = self.vms.get_mut(&origin.vm) {
            vm.sessions.insert(session.clone());
        }
        let owner = reported.owner.clone();
        let acquire = Acquire {
            origin: origin.clone(),
            session: session.clone(),
            pool: reported.pool,
            owner: reported.owner,
            client_address: reported.client_address,
        };
        let held = SessionState::Holds(instance.clone());
        self.sessions.insert(
            session.clone(),
            Session {
                acquire,
                state: held,
            },
        );
        let lease = Lease {
            fence,
            owner,
            session: session.clone(),
            state,
            since: now,
            heir: None,
            window_until: None,
        };
        self.place(now, &instance, lease);
        self.counts.adopted += 1;
        self.note(&instance, Change::Adopted);
        if stale {
            self.close(&session, CloseReason::Fenced);
        }
    }

    fn is_stale(&self, instance: &InstanceName, fence: super::Fence) -> bool {
        self.slots
            .get(instance)
            .is_some_and(|slot| slot.last_fence > Some(fence))
    }
}
