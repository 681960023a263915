//! What time does to the machine.

use std::collections::BTreeSet;
use std::time::Duration;

use super::keys::{SessionKey, SlotKey, VmKey};
use super::lease::LeaseState;
use super::types::{Change, CloseReason, EndCause, Grant, Refusal, RevocationId, Time};
use super::{Placement, SessionState, WaitingPlace};

/// Something that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Timer {
    /// An agent may have fallen silent.
    Agent(SlotKey),
    /// A VM may have been idle for so long that it can be forgotten.
    Forget(VmKey),
    /// The time of listening after a start is over.
    Learnt,
    /// An instance's lease changes by itself.
    Lease(SlotKey),
    /// A waiting session's patience ends.
    Patience(SessionKey),
    /// A revocation holds no longer.
    Revocation(RevocationId),
    /// A VM may have fallen silent.
    Silence(VmKey),
    /// An instance has been up for long enough.
    Warm(SlotKey),
}

#[derive(Debug, Default)]
pub(super) struct Timers(BTreeSet<(Time, Timer)>);

impl Timers {
    pub(super) fn set(&mut self, at: Time, timer: Timer) {
        if at < Time::NEVER {
            self.0.insert((at, timer));
        }
    }

    pub(super) fn clear(&mut self, at: Time, timer: Timer) {
        self.0.remove(&(at, timer));
    }

    fn next(&self) -> Option<Time> {
        self.0.first().map(|(at, _)| *at)
    }

    fn pop_due(&mut self, now: Time) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.0.pop_first().map(|(_, timer)| timer)
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
                Timer::Agent(slot) => self.agent_due(now, slot),
                Timer::Forget(vm) => self.forget_due(now, vm),
                Timer::Learnt => self.end_learning(now),
                Timer::Lease(slot) => {
                    self.clear_due(slot);
                    self.lease_due(now, slot);
                }
                Timer::Patience(session) => self.patience_due(now, session),
                Timer::Revocation(id) => self.forget_revocation(id),
                Timer::Silence(vm) => self.silence_due(now, vm),
                Timer::Warm(slot) => self.warm_due(now, slot),
            }
            self.serve_queues(now);
        }
    }

    /// Puts a lease into a state and sees to its timer, and to the agent of its instance.
    pub(super) fn set_lease_state(&mut self, now: Time, key: SlotKey, state: LeaseState) {
        let Some(lease) = self.lease_mut(key) else {
            return;
        };
        if lease.state != state {
            lease.since = now;
        }
        lease.state = state;
        let (heir, expires_at) = (lease.heir.is_some(), lease.expires_at);
        let due = match state {
            // Who waits counts on the instance from when its proxy should close the session.
            LeaseState::Active => {
                let overdue = |at| if at > now { at } else { self.overdue_at(at) };
                expires_at.map(overdue)
            }
            LeaseState::Orphaned { until, .. }
            | LeaseState::Reserved { until }
            | LeaseState::Settling { until } => Some(until),
            LeaseState::Resumable { until, settled_at } if heir => Some(until.min(settled_at)),
            LeaseState::Resumable { until, .. } => Some(until),
        };
        self.clear_due(key);
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        if let Some(due) = due {
            slot.due = Some(due);
            self.timers.set(due, Timer::Lease(key));
            if !matches!(state, LeaseState::Reserved { .. })
                && let Some(pool) = self.pools.get_mut(slot.pool)
            {
                pool.coming.insert((due, key));
            }
        }
        self.instruct(key, false);
    }

    pub(super) fn clear_due(&mut self, key: SlotKey) {
        if let Some(slot) = self.slots.get_mut(key)
            && let Some(due) = slot.due.take()
        {
            self.timers.clear(due, Timer::Lease(key));
            if let Some(pool) = self.pools.get_mut(slot.pool) {
                pool.coming.remove(&(due, key));
            }
        }
    }

    pub(super) fn end_learning(&mut self, now: Time) {
        if !std::mem::take(&mut self.learning) {
            return;
        }
        let slots: Vec<SlotKey> = self.slots.iter().map(|(key, _, _)| key).collect();
        for slot in slots {
            self.instruct(slot, false);
        }
        let pools: Vec<_> = self
            .pools
            .iter()
            .map(|(key, _, pool)| (key, pool.queue.in_order()))
            .collect();
        for (pool, waiting) in pools {
            for session in &waiting {
                self.count(*session, false);
            }
            for session in waiting {
                self.claim_learnt(now, session);
            }
            self.stir(pool);
        }
        self.serve_queues(now);
        self.close_the_door(now);
    }

    /// Somebody who came during the learning gets what they already have, or what the pool's policy says.
    fn claim_learnt(&mut self, now: Time, key: SessionKey) {
        use super::acquire::Claim;
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        match self.claim(known) {
            Claim::Refused => self.refuse_waiting(key, Refusal::SessionExists),
            Claim::Own(slot) if self.serves(slot, &known.acquire) => {
                self.inherit(now, key, slot);
            }
            Claim::Own(_) | Claim::None => match self.too_many(now, known) {
                Some(refusal) => self.refuse_waiting(key, refusal),
                None => self.count(key, true),
            },
        }
    }

    /// While the machine was learning more waited than the pools' queues have room for.
    fn close_the_door(&mut self, now: Time) {
        let pools: Vec<_> = self
            .pools
            .iter()
            .map(|(key, _, pool)| (key, pool.queue.in_order(), pool.policy.queue))
            .collect();
        for (pool, waiting, room) in pools {
            let retry_after = self.retry_after(now, pool);
            for session in waiting.into_iter().skip(room) {
                self.refuse_waiting(session, Refusal::NoInstance { retry_after });
            }
        }
    }

    pub(super) fn lease_due(&mut self, now: Time, slot: SlotKey) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        match lease.state {
            LeaseState::Active => {
                let overdue_at = lease.expires_at.map(|at| self.overdue_at(at));
                match lease.session {
                    Some(session) if overdue_at.is_some_and(|at| at <= now) => {
                        self.close(session, CloseReason::Expired);
                    }
                    _ => self.set_lease_state(now, slot, lease.state),
                }
            }
            LeaseState::Orphaned { until, .. } if until <= now => self.orphan_due(now, slot),
            LeaseState::Reserved { until } if until <= now => self.reservation_due(now, slot),
            LeaseState::Resumable { settled_at, .. }
                if lease.heir.is_some() && settled_at <= now =>
            {
                self.hand_over(now, slot);
            }
            LeaseState::Resumable { until, settled_at } if until <= now => {
                if settled_at > now {
                    self.settle(now, slot);
                } else {
                    self.hand_over(now, slot);
                }
            }
            // Its heir has left in the meantime, and the window goes on.
            LeaseState::Resumable { .. } => self.set_lease_state(now, slot, lease.state),
            LeaseState::Settling { until } if until <= now => self.settling_due(now, slot),
            _ => {}
        }
    }

    /// When a session that grows too old at that time is closed from here. Its proxy has closed it by then if it can: it
    /// counts what was left at the answer from the 101 on, and that comes within `reserve_for` of the grant, with two
    /// ticks to spare.
    fn overdue_at(&self, expires_at: Time) -> Time {
        expires_at.after(self.timing.reserve_for)
    }

    /// How much of its greatest age a session that is granted this has left; `None` if it may grow as old as it likes.
    pub fn age_left(&self, now: Time, grant: &Grant) -> Option<Duration> {
        let lease = self.lease(self.slots.find(&grant.instance)?)?;
        let expires_at = lease.expires_at.filter(|_| lease.fence == grant.fence)?;
        Some(expires_at.since(now))
    }

    /// Its VM has been silent for too long, unless it has said something in the meantime.
    fn orphan_due(&mut self, now: Time, slot: SlotKey) {
        let Some((lease, policy)) = self.lease_and_policy(slot) else {
            return;
        };
        let LeaseState::Orphaned { established, .. } = lease.state else {
            return;
        };
        let vm = lease.session.and_then(|session| self.sessions.get(session));
        let vm = vm.and_then(|known| self.vms.get(known.vm));
        let until = vm.map_or(now, |vm| vm.heard.after(policy.orphan_after));
        if until > now {
            self.set_lease_state(now, slot, LeaseState::Orphaned { until, established });
        } else {
            self.give_up_orphan(now, slot);
        }
    }

    /// Without an agent the instance has had its moment; with one, that should have said so by now.
    fn settling_due(&mut self, now: Time, slot: SlotKey) {
        if self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.agent.is_none())
        {
            return self.hand_over(now, slot);
        }
        self.instruct(slot, true);
        let until = now.after(self.timing.agent_within);
        self.set_lease_state(now, slot, LeaseState::Settling { until });
    }

    /// The upgrade should be through. The VM that still lists it as pending is told to end it; of a
    /// VM that has said nothing since the grant, nobody knows what came of it.
    fn reservation_due(&mut self, now: Time, slot: SlotKey) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let granted = lease.since;
        let Some(session) = lease.session else {
            return self.settle(now, slot);
        };
        if lease.opening.is_some() {
            return self.opening_due(now, session, slot);
        }
        let heard = self
            .sessions
            .get(session)
            .and_then(|known| self.vms.get(known.vm))
            .map_or(granted, |vm| vm.heard);
        if now.since(heard) < self.timing.silent_after {
            self.close(session, CloseReason::TooSlow);
            let until = now.after(self.timing.reserve_for);
            self.set_lease_state(now, slot, LeaseState::Reserved { until });
        } else {
            self.orphan(now, heard, slot);
        }
    }

    /// The firewall has not been opened, and nobody has been told of this instance.
    fn opening_due(&mut self, now: Time, session: SessionKey, slot: SlotKey) {
        let Some(pool) = self.sessions.get(session).map(|known| known.pool) else {
            return;
        };
        let retry_after = self.retry_after(now, pool);
        if let Some(lease) = self.lease_mut(slot)
            && let Some(request) = lease.opening.take()
        {
            let id = lease.acquire.session.clone();
            self.refuse(request, &id, Refusal::NoInstance { retry_after });
        }
        self.end(now, session, EndCause::NotEstablished);
    }

    fn patience_due(&mut self, now: Time, key: SessionKey) {
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let retry_after = self.retry_after(now, known.pool);
        let refusal = if self.learning {
            Refusal::Learning
        } else {
            Refusal::NoInstance { retry_after }
        };
        self.refuse_waiting(key, refusal);
    }

    fn silence_due(&mut self, now: Time, key: VmKey) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        let silent_at = vm.heard.after(self.timing.silent_after);
        if silent_at > now {
            self.timers.set(silent_at, Timer::Silence(key));
            return;
        }
        let heard = vm.heard;
        vm.watched = false;
        // Its numbers are kept for a message that is still under way.
        self.timers
            .set(heard.after(FORGET_VM_AFTER), Timer::Forget(key));
        let mut sessions: Vec<SessionKey> = vm.sessions.iter().copied().collect();
        sessions.sort_unstable();
        for session in sessions {
            match self
                .sessions
                .get(session)
                .map(|known| (known.state, known.place()))
            {
                Some((SessionState::Holds(slot), _)) => self.orphan(now, heard, slot),
                // Nobody would hear the answer, and others wait behind it.
                Some((_, WaitingPlace::Queue(_))) if !self.learning => {
                    self.refuse_waiting(session, Refusal::Cancelled);
                }
                _ => {}
            }
        }
    }

    fn forget_due(&mut self, now: Time, key: VmKey) {
        let Some(vm) = self.vms.get(key) else {
            return;
        };
        if vm.watched || now.since(vm.heard) < FORGET_VM_AFTER {
            return;
        }
        if vm.sessions.is_empty() {
            self.vms.remove(key);
        } else {
            // Its orphans are given up first.
            self.timers
                .set(now.after(FORGET_VM_AFTER), Timer::Forget(key));
        }
    }

    fn orphan(&mut self, now: Time, heard: Time, slot: SlotKey) {
        let Some((lease, policy)) = self.lease_and_policy(slot) else {
            return;
        };
        let established = match lease.state {
            LeaseState::Active => true,
            LeaseState::Reserved { .. } if lease.opening.is_none() => false,
            _ => return,
        };
        let (until, session) = (heard.after(policy.orphan_after), lease.session);
        self.counts.orphaned += 1;
        self.set_lease_state(now, slot, LeaseState::Orphaned { until, established });
        if let Some(session) = session {
            // Its user is not kept out by what may be over.
            self.count(session, false);
        }
        self.note(slot, Change::Orphaned);
    }

    fn warm_due(&mut self, now: Time, key: SlotKey) {
        self.update_slot(key, |slot| slot.warm = slot.up && slot.warm_at <= now);
    }
}

/// How long the numbers of a VM without sessions are kept: longer than a message can be under way.
const FORGET_VM_AFTER: Duration = Duration::from_secs(120);
