//! What VMs say of their sessions: the truth about what is live.

use std::sync::Arc;

use super::keys::{SessionKey, Set, SlotKey, VmKey};
use super::lease::{Lease, LeaseState};
use super::types::{
    Acquire, Change, Close, CloseReason, EndCause, Fence, Grant, Labels, Origin, Pick, Priority,
    ReportedEnd, ReportedLease, ReportedSession, SessionId, Sync, Time, Why,
};
use super::vm::Vm;
use super::{Ignored, Placement, Session, SessionState, Slot, WaitingPlace};

impl Placement {
    /// Takes a VM's word; answers with what that VM has to close.
    pub fn sync(&mut self, now: Time, sync: Sync) -> Vec<Close> {
        let Sync {
            origin,
            sessions,
            ended,
        } = sync;
        let vm = self.hear(now, &origin.vm);
        for end in ended {
            self.take_end(now, vm, &origin, end);
        }
        if let Some(sessions) = sessions {
            self.take_full(now, vm, &origin, sessions);
        }
        self.serve_queues(now);
        let closing = self.vms.get(vm).into_iter().flat_map(|vm| &vm.closing);
        closing
            .map(|(session, reason)| Close {
                session: session.clone(),
                reason: *reason,
            })
            .collect()
    }

    fn take_end(&mut self, now: Time, key: VmKey, origin: &Origin, end: ReportedEnd) {
        let ReportedEnd {
            session,
            fence,
            cause,
        } = end;
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        let repeated = vm.remember_end(session.clone(), origin.sequence);
        let Some(found) = self.sessions.find(&session) else {
            // Its end overtook its Acquire, or it was never ours. That a Sync repeats what a hint
            // said is as it should be.
            if let Some(vm) = self.vms.get_mut(key) {
                vm.closing.remove(&session);
            }
            if !repeated {
                self.ignore(Ignored::LateEnd);
            }
            return;
        };
        let Some(known) = self.sessions.get(found) else {
            return;
        };
        let held = match known.state {
            SessionState::Holds(slot) => self.lease(slot).map(|lease| lease.fence),
            SessionState::Waits(_) => None,
        };
        if known.vm != key {
            self.ignore(Ignored::ForeignSession);
        } else if fence.is_some() && fence != held {
            // Without a fence the filter had not seen the grant that is under way to it.
            self.ignore(Ignored::ForeignFence);
        } else {
            self.end(now, found, cause);
        }
    }

    fn take_full(
        &mut self,
        now: Time,
        key: VmKey,
        origin: &Origin,
        sessions: Vec<ReportedSession>,
    ) {
        let Some(vm) = self.vms.get_mut(key) else {
            return;
        };
        if !vm.is_news(origin.sequence) {
            return self.ignore(Ignored::LateSync);
        }
        let pending = sessions.iter().filter(|reported| reported.lease.is_none());
        vm.advance(origin.sequence, pending.map(|reported| &reported.session));
        let listed: Set<SessionId> = sessions
            .iter()
            .map(|reported| reported.session.clone())
            .collect();
        let mut unlisted: Vec<SessionKey> = vm.sessions.iter().copied().collect();
        unlisted.sort_unstable();
        for session in unlisted {
            // It speaks only for Acquires with lower numbers.
            let over = self.sessions.get(session).is_some_and(|known| {
                !listed.contains(&known.acquire.session) && known.sequence < origin.sequence
            });
            if over {
                self.end(now, session, EndCause::Unlisted);
            }
        }
        let all = &self.sessions;
        let held = |session: &SessionId| {
            let known = all.find(session).and_then(|key| all.get(key));
            known.is_some_and(|known| known.vm == key)
        };
        if let Some(vm) = self.vms.get_mut(key) {
            // Of those whose Acquire has overtaken it this Sync does not speak.
            vm.closing
                .retain(|session, _| listed.contains(session) || held(session));
        }
        for reported in sessions {
            self.take_listed(now, key, origin, reported);
        }
    }

    fn take_listed(&mut self, now: Time, key: VmKey, origin: &Origin, reported: ReportedSession) {
        let ReportedSession { session, lease } = reported;
        let Some(found) = self.sessions.find(&session) else {
            // Its Acquire is under way if it has none.
            if let Some(lease) = lease {
                self.take_unknown(now, key, origin, session, lease);
            }
            return;
        };
        let Some(known) = self.sessions.get(found) else {
            return;
        };
        if known.vm != key {
            return self.ignore(Ignored::ForeignSession);
        }
        let SessionState::Holds(slot) = known.state else {
            return;
        };
        let Some(held) = self.lease(slot).map(|lease| lease.fence) else {
            return;
        };
        if lease
            .as_ref()
            .is_some_and(|lease| lease.grant.fence != held)
        {
            self.ignore(Ignored::ForeignFence);
            return self.close(found, CloseReason::Fenced);
        }
        self.reclaim(now, slot);
        if lease.is_some_and(|lease| lease.established) {
            self.activate(now, found, slot);
        }
    }

    /// A session with a lease that nobody here knows.
    fn take_unknown(
        &mut self,
        now: Time,
        key: VmKey,
        origin: &Origin,
        session: SessionId,
        lease: ReportedLease,
    ) {
        let ended = |vm: &Vm| vm.has_ended(&session);
        if self.vms.get(key).is_none_or(ended) {
            return self.ignore(Ignored::LateSession);
        }
        self.close_unknown_if_revoked(key, &session, &lease);
        let closing = |vm: &Vm| vm.closing.contains_key(&session);
        // Otherwise it has been told to close it, and the instance is nobody's by that.
        if !self.vms.get(key).is_some_and(closing) || self.is_to_adopt(&lease.grant, &session) {
            self.adopt(now, key, origin, session, lease);
        }
    }

    /// Whether an instance has to be kept for a session that is to be closed: not where another has
    /// it, nor where an agent has closed the firewall.
    fn is_to_adopt(&self, grant: &Grant, session: &SessionId) -> bool {
        let Some(key) = self.slots.find(&grant.instance) else {
            return false;
        };
        let free = |slot: &Slot| slot.agent.is_none() && slot.lease.is_none();
        self.slots.get(key).is_some_and(free) || self.was_given_up(key, grant, session)
    }

    /// The VM of an orphan is back.
    fn reclaim(&mut self, now: Time, slot: SlotKey) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let (LeaseState::Orphaned { established, .. }, Some(session)) =
            (lease.state, lease.session)
        else {
            return;
        };
        let until = now.after(self.timing.reserve_for);
        let state = if established {
            LeaseState::Active
        } else {
            LeaseState::Reserved { until }
        };
        self.set_lease_state(now, slot, state);
        self.count(session, true);
        self.counts.reclaimed += 1;
        self.note(slot, Change::Reclaimed);
        self.lease_due(now, slot);
    }

    /// The 101 has been seen.
    fn activate(&mut self, now: Time, key: SessionKey, slot: SlotKey) {
        let reserved = |lease: &&Lease| matches!(lease.state, LeaseState::Reserved { .. });
        if self.lease(slot).filter(reserved).is_none() {
            return;
        }
        if let Some(known) = self.sessions.get_mut(key) {
            known.established_at.get_or_insert(now);
            // It came through after all, before its VM was told.
            let (vm, session) = (known.vm, known.acquire.session.clone());
            if let Some(vm) = self.vms.get_mut(vm)
                && vm.closing.get(&session) == Some(&CloseReason::TooSlow)
            {
                vm.closing.remove(&session);
                self.commit(slot);
            }
        }
        self.set_lease_state(now, slot, LeaseState::Active);
        self.note(slot, Change::Activated);
        self.lease_due(now, slot);
    }

    /// A session that this machine did not grant, or had given up: it is on the instance, whoever
    /// sent it there, so the instance is its own as long as nobody else's.
    fn adopt(
        &mut self,
        now: Time,
        vm: VmKey,
        origin: &Origin,
        id: SessionId,
        reported: ReportedLease,
    ) {
        let grant = reported.grant;
        // What is granted from now on is later than that, also where this machine's term was used before.
        let latest = Fence {
            term: self.term,
            sequence: self.sequence,
        };
        if grant.fence > latest {
            self.term = grant.fence.term.saturating_add(1);
        }
        // It may have been taken out of the configuration: nobody is sent there, and who is there may stay.
        let Some(slot) = self.slots.find(&grant.instance) else {
            return;
        };
        if self.was_given_up(slot, &grant, &id) {
            return self.reinstate(now, vm, slot, origin.sequence, reported.established);
        }
        if let Some(held) = self.lease(slot).map(|lease| lease.fence)
            && !self.make_way(now, slot, held, grant.fence)
        {
            if let Some(vm) = self.vms.get_mut(vm) {
                vm.closing.insert(id, CloseReason::Fenced);
            }
            return;
        }
        let stale = self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.last_fence > Some(grant.fence));
        let established = reported.established;
        let acquire = Arc::new(Acquire {
            origin: origin.clone(),
            session: id,
            pool: reported.pool,
            owner: reported.owner,
            client_address: reported.client_address,
            priority: Priority::default(),
            labels: Labels::default(),
            token_id: reported.token_id,
        });
        let Some(key) = self.enter_holding(now, vm, slot, Arc::clone(&acquire), origin.sequence)
        else {
            return;
        };
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        session.established_at = established.then_some(now);
        let user = session.user;
        let until = now.after(self.timing.reserve_for);
        let state = if established {
            LeaseState::Active
        } else {
            LeaseState::Reserved { until }
        };
        let max_age = self
            .policy_of(slot)
            .and_then(|policy| policy.max_session_age);
        let lease = Lease {
            fence: grant.fence,
            acquire,
            sequence: origin.sequence,
            user,
            session: Some(key),
            state,
            since: now,
            granted_at: now,
            expires_at: max_age.map(|age| now.after(age)),
            pick: Pick::own(Why::Adopted, 0, false, std::time::Duration::ZERO),
            heir: None,
            opening: None,
            window_until: None,
        };
        self.place(now, slot, lease);
        self.commit(slot);
        self.counts.adopted += 1;
        self.note(slot, Change::Adopted);
        if stale {
            self.close(key, CloseReason::Fenced);
        }
    }

    /// The lease is that of an orphan whose time was up, and nobody else has been sent to the instance since.
    fn was_given_up(&self, slot: SlotKey, grant: &Grant, session: &SessionId) -> bool {
        let agentless = |slot: &&Slot| slot.agent.is_none();
        let slot = self.slots.get(slot).filter(agentless);
        slot.and_then(|slot| slot.lease.as_ref())
            .is_some_and(|lease| {
                matches!(lease.state, LeaseState::Settling { .. })
                    && lease.fence == grant.fence
                    && lease.acquire.session == *session
            })
    }

    /// Gives a session that was given up its lease back.
    fn reinstate(&mut self, now: Time, vm: VmKey, slot: SlotKey, sequence: u64, established: bool) {
        let Some(acquire) = self.lease(slot).map(|lease| Arc::clone(&lease.acquire)) else {
            return;
        };
        let Some(key) = self.enter_holding(now, vm, slot, acquire, sequence) else {
            return;
        };
        let Some(user) = self.sessions.get(key).map(|session| session.user) else {
            return;
        };
        if let Some(holder) = self.users.get_mut(user) {
            holder.held.push(slot);
        }
        let Some(lease) = self.lease_mut(slot) else {
            return;
        };
        lease.user = user;
        lease.session = Some(key);
        let awaited = lease.heir.is_some();
        let until = now.after(self.timing.reserve_for);
        self.set_lease_state(now, slot, LeaseState::Reserved { until });
        self.counts.reclaimed += 1;
        self.note(slot, Change::Reclaimed);
        self.commit(slot);
        if established {
            self.activate(now, key, slot);
        }
        if awaited {
            self.close(key, CloseReason::Resumed);
        }
    }

    /// Two proxies say that they have a session on one instance, and the one that was granted later
    /// stays. What this machine has granted comes after whatever else has its term, which may have
    /// been used before. False if the session stays that is here already.
    fn make_way(&mut self, now: Time, slot: SlotKey, held: Fence, reported: Fence) -> bool {
        let Some(lease) = self.lease(slot) else {
            return false;
        };
        let (Some(session), learnt) = (lease.session, lease.pick.why == Why::Adopted) else {
            return false;
        };
        if self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.agent.is_some())
        {
            // Its firewall lets one of them through.
            self.ignore(Ignored::ForeignFence);
        } else {
            self.counts.overlaps += 1;
        }
        let later = if learnt {
            reported > held
        } else {
            reported.term > held.term
        };
        if !later {
            return false;
        }
        let Some(known) = self.sessions.get(session) else {
            return false;
        };
        let (vm, id) = (known.vm, known.acquire.session.clone());
        let heir = self.take_heir(slot);
        self.end(now, session, EndCause::Berth);
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.closing.insert(id, CloseReason::Fenced);
        }
        let over = |lease: &Lease| lease.session.is_none();
        let another = if self.lease(slot).is_some_and(over) {
            let another = self.take_heir(slot);
            self.hand_over(now, slot);
            another
        } else {
            None
        };
        for heir in heir.into_iter().chain(another) {
            self.set_waiting_place(heir, WaitingPlace::Door);
            self.enqueue(now, heir);
        }
        self.lease(slot).is_none()
    }

    /// Nobody is to have the instance next.
    fn take_heir(&mut self, slot: SlotKey) -> Option<SessionKey> {
        self.lease_mut(slot)?.heir.take()
    }

    /// Makes a session known that has an instance already.
    pub(super) fn enter_holding(
        &mut self,
        now: Time,
        vm: VmKey,
        slot: SlotKey,
        acquire: Arc<Acquire>,
        sequence: u64,
    ) -> Option<SessionKey> {
        let pool = self.slots.get(slot)?.pool;
        let user = self.users.find_or_insert_default(&acquire.owner.user);
        let key = self.enter(Session {
            acquire,
            sequence,
            pool,
            user,
            vm,
            asked_at: now,
            established_at: None,
            counted: false,
            state: SessionState::Holds(slot),
        });
        self.count(key, true);
        Some(key)
    }
}
