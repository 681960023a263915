//! What time does to the machine.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::lease::LeaseState;
use super::types::{Change, CloseReason, EndCause, InstanceName, Refusal, SessionId, Time, VmId};
use super::vm::Vm;
use super::{Effect, Placement, SessionState};

/// Something that may be due. A timer is never cancelled: when it comes, the state says whether it
/// still means anything.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// The time of listening after a start is over.
    Learnt,
    /// A VM may have been idle for so long that it can be forgotten.
    Forget(VmId),
    /// An instance's lease changes by itself.
    Lease(InstanceName),
    /// A waiting session's patience ends.
    Patience(SessionId),
    /// A VM may have fallen silent.
    Silence(VmId),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BinaryHeap<Reverse<(Time, Timer)>>);

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        self.0.push(Reverse((at, timer)));
    }

    fn next(&self) -> Option<Time> {
        self.0.peek().map(|Reverse((at, _))| *at)
    }

    fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop().map(|Reverse((_, timer))| timer)
    }
}

impl Placement {
    /// When [`Self::advance`] has to be called next.
    pub fn next_timeout(&self) -> Option<Time> {
        self.timers.next()
    }

    /// Does what is due at `now`.
    pub fn advance(&mut self, now: Time) {
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Learnt => self.end_learning(now),
                Timer::Forget(vm) => self.forget_due(now, &vm),
                Timer::Lease(instance) => self.lease_due(now, &instance),
                Timer::Patience(session) => self.patience_due(now, &session),
                Timer::Silence(vm) => self.silence_due(now, &vm),
            }
        }
    }

    /// Puts a lease into a state and sees to its timer.
    pub(super) fn set_lease_state(
        &mut self,
        now: Time,
        instance: &InstanceName,
        state: LeaseState,
    ) {
        let Some(lease) = self
            .slots
            .get_mut(instance)
            .and_then(|slot| slot.lease.as_mut())
        else {
            return;
        };
        lease.state = state;
        lease.since = now;
        let due = match state {
            LeaseState::Active => return,
            LeaseState::Orphaned { until, .. }
            | LeaseState::Reserved { until }
            | LeaseState::Settling { until } => until,
            LeaseState::Resumable { until, settled_at } => {
                if lease.heir.is_some() {
                    self.timers.set(settled_at, Timer::Lease(instance.clone()));
                }
                until
            }
        };
        self.timers.set(due, Timer::Lease(instance.clone()));
    }

    fn end_learning(&mut self, now: Time) {
        let Some(waiting) = self.learning.take() else {
            return;
        };
        for session in waiting {
            if matches!(
                self.sessions.get(&session).map(|known| &known.state),
                Some(SessionState::Waits { .. })
            ) {
                self.decide(now, &session);
            }
        }
    }

    fn lease_due(&mut self, now: Time, instance: &InstanceName) {
        let Some(lease) = self.lease(instance) else {
            return;
        };
        let session = lease.session.clone();
        match lease.state {
            LeaseState::Orphaned { until, .. } if until <= now => {
                self.counts.orphans_released += 1;
                self.note(instance, Change::ReleasedOrphan);
                self.forget_session(&session);
                self.settle(now, instance);
            }
            LeaseState::Reserved { until } if until <= now => self.reservation_due(now, instance),
            LeaseState::Resumable { settled_at, .. }
                if lease.heir.is_some() && settled_at <= now =>
            {
                self.hand_over(now, instance);
            }
            LeaseState::Resumable { until, settled_at } if until <= now => {
                if settled_at > now {
                    self.set_lease_state(now, instance, LeaseState::Settling { until: settled_at });
                } else {
                    self.hand_over(now, instance);
                }
            }
            LeaseState::Settling { until } if until <= now => self.hand_over(now, instance),
            _ => {}
        }
    }

    /// The upgrade should be through. The VM that still lists it as pending is told to end it; of a
    /// VM that has said nothing since the grant, nobody knows what came of it.
    fn reservation_due(&mut self, now: Time, instance: &InstanceName) {
        let Some(lease) = self.lease(instance) else {
            return;
        };
        let (session, granted) = (lease.session.clone(), lease.since);
        let heard = self
            .sessions
            .get(&session)
            .and_then(|known| self.vms.get(&known.acquire.origin.vm))
            .map_or(granted, |vm| vm.heard);
        if now.since(heard) < self.timing.silent_after {
            self.close(&session, CloseReason::TooSlow);
            let until = now.after(self.timing.reserve_for);
            self.set_lease_state(now, instance, LeaseState::Reserved { until });
        } else {
            self.orphan(now, heard, instance);
        }
    }

    fn patience_due(&mut self, now: Time, session: &SessionId) {
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        if let SessionState::Waits { until, .. } = known.state
            && until <= now
        {
            let refusal = if self.learning.is_some() {
                Refusal::Learning
            } else {
                self.no_instance()
            };
            self.refuse_waiting(session, refusal);
        }
    }

    fn silence_due(&mut self, now: Time, id: &VmId) {
        let Some(vm) = self.vms.get_mut(id) else {
            return;
        };
        let silent_at = vm.heard.after(self.timing.silent_after);
        if silent_at > now {
            self.timers.set(silent_at, Timer::Silence(id.clone()));
            return;
        }
        let heard = vm.heard;
        vm.watched = false;
        // Its numbers are kept for a message that is still under way.
        let forget_at = heard.after(FORGET_VM_AFTER);
        self.timers.set(forget_at, Timer::Forget(id.clone()));
        let held: Vec<InstanceName> = vm
            .sessions
            .iter()
            .filter_map(|session| match &self.sessions.get(session)?.state {
                SessionState::Holds(instance) => Some(instance.clone()),
                SessionState::Waits { .. } => None,
            })
            .collect();
        for instance in held {
            self.orphan(now, heard, &instance);
        }
    }

    fn forget_due(&mut self, now: Time, id: &VmId) {
        let silent = |vm: &&Vm| !vm.watched && now.since(vm.heard) >= FORGET_VM_AFTER;
        let Some(vm) = self.vms.get(id).filter(silent) else {
            return;
        };
        if vm.sessions.is_empty() {
            self.vms.remove(id);
        } else {
            // Its orphans are given up first.
            let again = now.after(FORGET_VM_AFTER);
            self.timers.set(again, Timer::Forget(id.clone()));
        }
    }

    fn orphan(&mut self, now: Time, heard: Time, instance: &InstanceName) {
        let Some((lease, policy)) = self.lease_and_policy(instance) else {
            return;
        };
        let established = match lease.state {
            LeaseState::Active => true,
            LeaseState::Reserved { .. } => false,
            _ => return,
        };
        let until = heard.after(policy.orphan_after);
        self.counts.orphaned += 1;
        self.set_lease_state(now, instance, LeaseState::Orphaned { until, established });
        self.note(instance, Change::Orphaned);
    }

    /// The lease's session is over and nothing is kept for its client.
    pub(super) fn settle(&mut self, now: Time, instance: &InstanceName) {
        let Some((lease, policy)) = self.lease_and_policy(instance) else {
            return;
        };
        let (user, until) = (lease.owner.user.clone(), now.after(policy.settle));
        self.forget_holder(&user, instance);
        self.set_lease_state(now, instance, LeaseState::Settling { until });
        if until <= now {
            self.hand_over(now, instance);
        }
    }

    /// Ends a lease whose session is over: the instance goes to the lease's heir, or is free.
    pub(super) fn hand_over(&mut self, now: Time, instance: &InstanceName) {
        let Some(lease) = self.lease(instance) else {
            return;
        };
        let (heir, user) = (lease.heir.clone(), lease.owner.user.clone());
        let window_until = match lease.state {
            LeaseState::Resumable { until, .. } => Some(until),
            _ => lease.window_until,
        };
        self.forget_holder(&user, instance);
        self.note(instance, Change::Freed);
        self.update_slot(instance, |slot| {
            slot.lease = None;
            slot.freed_at = now;
        });
        let Some(heir) = heir else {
            return;
        };
        let serves = self.sessions.get(&heir).is_some_and(|known| {
            self.serves(instance, &known.acquire.origin.node) && self.speaks(now, &heir)
        });
        if serves {
            self.grant(now, &heir, instance, window_until);
        } else {
            self.decide(now, &heir);
        }
    }

    pub(super) fn note(&mut self, instance: &InstanceName, change: Change) {
        let Some(lease) = self.lease(instance) else {
            return;
        };
        let (session, fence) = (lease.session.clone(), lease.fence);
        let instance = instance.clone();
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

    /// Makes sure that somebody looks when the VM falls silent.
    pub(super) fn watch(&mut self, id: &VmId) {
        let Some(vm) = self.vms.get_mut(id) else {
            return;
        };
        if !vm.watched {
            vm.watched = true;
            let silent_at = vm.heard.after(self.timing.silent_after);
            self.timers.set(silent_at, Timer::Silence(id.clone()));
        }
    }

    /// Ends what is known of a session's use of an instance.
    pub(super) fn end(&mut self, now: Time, session: &SessionId, cause: EndCause) {
        let Some(known) = self.forget_session(session) else {
            return;
        };
        let closing = self
            .vms
            .get_mut(&known.acquire.origin.vm)
            .and_then(|vm| vm.closing.remove(session));
        match known.state {
            SessionState::Waits {
                request, heir_of, ..
            } => {
                self.disinherit(heir_of.as_ref(), session);
                self.answer(
                    request,
                    session,
                    super::Outcome::Refused(Refusal::Cancelled),
                );
            }
            SessionState::Holds(instance) => self.end_lease(now, &instance, cause, closing),
        }
    }

    fn end_lease(
        &mut self,
        now: Time,
        instance: &InstanceName,
        cause: EndCause,
        closing: Option<CloseReason>,
    ) {
        let Some((lease, policy)) = self.lease_and_policy(instance) else {
            return;
        };
        let until = match (cause, closing) {
            // Only a connection that broke, or was left for a new one, is come back to.
            (_, Some(CloseReason::Terminated | CloseReason::Fenced | CloseReason::TooSlow))
            | (EndCause::Instance | EndCause::Berth, None) => None,
            (EndCause::NotEstablished, _) => lease.window_until,
            _ => Some(now.after(policy.resume_window)),
        };
        let settled_at = now.after(policy.settle);
        let until = until.filter(|until| *until > now);
        let resumable = until.is_some();
        self.note(instance, Change::Ended { cause, resumable });
        match until {
            Some(until) => {
                let state = LeaseState::Resumable { until, settled_at };
                self.set_lease_state(now, instance, state);
                self.lease_due(now, instance);
            }
            None => self.settle(now, instance),
        }
    }
}

/// How long the numbers of a VM without sessions are kept: longer than a message can be under way.
const FORGET_VM_AFTER: std::time::Duration = std::time::Duration::from_secs(120);
