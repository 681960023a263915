//! An Acquire, from its arrival to where it waits.

use std::sync::Arc;

use super::agent::Agent;
use super::keys::{SessionKey, SlotKey};
use super::lease::LeaseState;
use super::timers::Timer;
use super::types::{
    Acquire, CloseReason, EndCause, Outcome, Pick, Refusal, RequestId, SecondDevice, SessionId,
    Time, Why,
};
use super::vm::Vm;
use super::{Ignored, Placement, Session, SessionState, Waiting, WaitingPlace};

impl Placement {
    /// Takes a request. Its answer comes as an effect, at once or when what it waits for has
    /// happened. The same session asked for again is answered the same.
    pub fn acquire(&mut self, now: Time, request: RequestId, acquire: Acquire) {
        let vm = self.hear(now, &acquire.origin.vm);
        let known = self.sessions.find(&acquire.session);
        // What its VM is to close although it is no longer known here has ended by other evidence.
        let over = self.vms.get(vm).is_some_and(|vm| {
            vm.is_over(&acquire.session, acquire.origin.sequence)
                || known.is_none() && vm.closing.contains_key(&acquire.session)
        });
        if over {
            self.ignore(Ignored::LateAcquire);
            self.refuse(request, &acquire.session, Refusal::Cancelled);
        } else if let Some(known) = known {
            self.acquire_again(now, request, known, &acquire);
        } else if self.is_revoked(&acquire) {
            self.refuse(request, &acquire.session, Refusal::Revoked);
        } else if let Some(pool) = self.pools.find(&acquire.pool) {
            let user = self.users.find_or_insert_default(&acquire.owner.user);
            let hold = self.pools.get(pool).map(|pool| pool.policy.hold);
            let until = now.after(hold.unwrap_or_default());
            let waiting = Waiting {
                request,
                until,
                place: WaitingPlace::Door,
            };
            let session = Session {
                sequence: acquire.origin.sequence,
                pool,
                user,
                vm,
                asked_at: now,
                established_at: None,
                counted: false,
                state: SessionState::Waits(waiting),
                acquire: Arc::new(acquire),
            };
            let key = self.enter(session);
            if self.learning {
                self.enqueue(now, key);
            } else {
                self.decide(now, key);
            }
        } else {
            self.refuse(request, &acquire.session, Refusal::NoSuchPool);
        }
        self.serve_queues(now);
    }

    /// The caller of that request no longer listens: if its session waits, it leaves. A session
    /// that has an instance keeps it until its VM says what came of it.
    pub fn cancel(&mut self, now: Time, request: RequestId, session: &SessionId) {
        if let Some(key) = self.sessions.find(session)
            && let Some(SessionState::Waits(waiting)) =
                self.sessions.get(key).map(|known| known.state)
            && waiting.request == request
        {
            self.refuse_waiting(key, Refusal::Cancelled);
        }
        self.serve_queues(now);
    }

    /// What an Acquire would be answered now, without a wait; leases nothing.
    ///
    /// # Errors
    /// The refusal.
    pub fn check(&self, now: Time, acquire: &Acquire) -> Result<(), Refusal> {
        if self.is_revoked(acquire) {
            return Err(Refusal::Revoked);
        }
        let pool = self.pools.find(&acquire.pool).ok_or(Refusal::NoSuchPool)?;
        if self.learning {
            return Err(Refusal::Learning);
        }
        let user = self.users.find(&acquire.owner.user).unwrap_or_default();
        let session = Session {
            acquire: Arc::new(acquire.clone()),
            sequence: acquire.origin.sequence,
            pool,
            user,
            vm: super::VmKey::default(),
            asked_at: now,
            established_at: None,
            counted: false,
            state: SessionState::Holds(SlotKey::default()),
        };
        let own = match self.claim(&session) {
            Claim::Refused => return Err(Refusal::SessionExists),
            Claim::Own(slot) => self.serves(slot, acquire),
            Claim::None => false,
        };
        if own {
            return Ok(());
        }
        if !self.replaces(&session)
            && let Some(refusal) = self.too_many(now, &session)
        {
            return Err(refusal);
        }
        let retry_after = self.retry_after(now, pool);
        let free = self.choose(now, &session).map(|_| ());
        free.ok_or(Refusal::NoInstance { retry_after })
    }

    /// Makes a session known.
    pub(super) fn enter(&mut self, session: Session) -> SessionKey {
        let (vm, user) = (session.vm, session.user);
        let key = self
            .sessions
            .insert(session.acquire.session.clone(), session);
        if let Some(vm) = self.vms.get_mut(vm) {
            vm.sessions.insert(key);
        }
        if let Some(holder) = self.users.get_mut(user) {
            holder.sessions.push(key);
        }
        key
    }

    /// Notes that a VM has said something.
    pub(super) fn hear(&mut self, now: Time, id: &super::VmId) -> super::VmKey {
        let key = match self.vms.find(id) {
            Some(key) => key,
            None => self.vms.insert(id.clone(), Vm::new(self.hash_seed)),
        };
        if let Some(vm) = self.vms.get_mut(key) {
            vm.heard = now;
            if !vm.watched {
                vm.watched = true;
                let silent_at = now.after(self.timing.silent_after);
                self.timers.set(silent_at, Timer::Silence(key));
            }
        }
        key
    }

    /// The same session asks again: an answer was lost, or the first Acquire never came.
    fn acquire_again(&mut self, now: Time, request: RequestId, key: SessionKey, acquire: &Acquire) {
        let known = self.sessions.get(key);
        let revoked = known.is_some_and(|known| self.is_revoked(&known.acquire));
        let Some(known) = self.sessions.get_mut(key) else {
            return;
        };
        let session = &acquire.session;
        if known.acquire.origin.vm != acquire.origin.vm {
            self.ignore(Ignored::ForeignSession);
            return self.refuse(request, session, Refusal::IdInUse);
        }
        // A VM that has heard that it was granted does not ask once more.
        let unheard = acquire.origin.sequence > known.sequence;
        known.sequence = known.sequence.max(acquire.origin.sequence);
        match &mut known.state {
            SessionState::Waits(waiting) => {
                let earlier = std::mem::replace(&mut waiting.request, request);
                self.refuse(earlier, session, Refusal::Cancelled);
            }
            // Said twice on its way, it may be on its way to the instance by the first answer: its VM is to close it.
            SessionState::Holds(_) if revoked => {
                self.refuse(request, session, Refusal::Revoked);
                if unheard {
                    self.end(now, key, EndCause::NotEstablished);
                }
            }
            SessionState::Holds(slot) => {
                let (slot, sequence) = (*slot, known.sequence);
                self.grant_again(request, slot, sequence);
            }
        }
    }

    fn grant_again(&mut self, request: RequestId, key: SlotKey, sequence: u64) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let open = slot.agent.as_ref().is_none_or(Agent::has_opened);
        let Some(lease) = slot.lease.as_mut() else {
            return;
        };
        lease.sequence = sequence;
        let session = lease.acquire.session.clone();
        let earlier = lease.opening.take();
        if !open {
            lease.opening = Some(request);
        }
        if let Some(earlier) = earlier {
            self.refuse(earlier, &session, Refusal::Cancelled);
        }
        self.commit(key);
        if open {
            self.answer_grant(request, key);
        }
    }

    /// Finds an instance for a waiting session: its own, or any free one; or lets it wait.
    pub(super) fn decide(&mut self, now: Time, key: SessionKey) {
        if !self.speaks(now, key) {
            // Its proxy has said nothing for as long as it waited: an answer would reach nobody.
            return self.refuse_waiting(key, Refusal::Cancelled);
        }
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let own = match self.claim(known) {
            Claim::Refused => return self.refuse_waiting(key, Refusal::SessionExists),
            Claim::Own(slot) if self.serves(slot, &known.acquire) => {
                return self.inherit(now, key, slot);
            }
            Claim::Own(slot) => Some(slot),
            Claim::None => None,
        };
        if !self.replaces(known)
            && let Some(refusal) = self.too_many(now, known)
        {
            return self.refuse_waiting(key, refusal);
        }
        // Its own cannot be had now, and is let go of only where there is another in its place.
        if let Some(own) = own
            && self.choose(now, known).is_some()
        {
            self.give_up_own(now, own);
        }
        // Chosen now: who was to have its own next may have been given another.
        let known = self.sessions.get(key);
        match known.and_then(|known| self.choose(now, known)) {
            Some((free, pick)) => self.grant(now, key, free, pick, None),
            None => self.enqueue(now, key),
        }
    }

    /// What the user already has in the pool, and what the pool's policy makes of it.
    pub(super) fn claim(&self, session: &Session) -> Claim {
        let Some(policy) = self.pools.get(session.pool).map(|pool| &pool.policy) else {
            return Claim::None;
        };
        let mut claim = Claim::None;
        let held = self.users.get(session.user).map(|holder| &holder.held);
        // The latest first: an earlier one that it could not be sent to is on its way out.
        for key in held.into_iter().flatten().rev() {
            let Some(slot) = self
                .slots
                .get(*key)
                .filter(|slot| slot.pool == session.pool)
            else {
                continue;
            };
            let Some(lease) = &slot.lease else {
                continue;
            };
            let keyed = lease.has_key_of(&session.acquire);
            let keys = [&session.acquire, &lease.acquire].map(|acquire| &acquire.owner.resume_key);
            let keyless = keys.iter().any(|key| key.is_none());
            match lease.state {
                // Its client waits like anyone until somebody knows what became of it.
                LeaseState::Orphaned { .. } | LeaseState::Settling { .. } => {}
                _ if keyed => return Claim::Own(*key),
                LeaseState::Resumable { .. } if keyless => return Claim::Own(*key),
                LeaseState::Resumable { .. } => {}
                LeaseState::Active | LeaseState::Reserved { .. } => match policy.second_device {
                    SecondDevice::Allow => {}
                    SecondDevice::Refuse => claim = Claim::Refused,
                    SecondDevice::TakeOver if matches!(claim, Claim::None) => {
                        claim = Claim::Own(*key);
                    }
                    SecondDevice::TakeOver => {}
                },
            }
        }
        claim
    }

    /// Makes the session the next one on the instance, and ends the one that is on it.
    pub(super) fn inherit(&mut self, now: Time, key: SessionKey, slot: SlotKey) {
        self.set_waiting_place(key, WaitingPlace::Heir(slot));
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let acquire = Arc::clone(&known.acquire);
        let Some(lease) = self.lease_mut(slot) else {
            return;
        };
        let displaced = lease.heir.replace(key);
        let (state, live, keyed) = (lease.state, lease.session, lease.has_key_of(&acquire));
        if let Some(displaced) = displaced {
            self.refuse_waiting(displaced, Refusal::Superseded);
        }
        match (state, live) {
            (LeaseState::Resumable { settled_at, .. }, _) if settled_at <= now => {
                self.hand_over(now, slot);
            }
            (LeaseState::Resumable { .. }, _) => self.set_lease_state(now, slot, state),
            (_, Some(live)) if keyed => self.close(live, CloseReason::Resumed),
            (_, Some(live)) => self.close(live, CloseReason::TakenOver),
            (_, None) => {}
        }
    }

    /// A client has gone and may come back; if it is here already, it gets the instance, once it is known what is live.
    pub(super) fn find_heir(&mut self, now: Time, slot: SlotKey) {
        if self.learning {
            return;
        }
        let Some(lease) = self.lease(slot).filter(|lease| lease.heir.is_none()) else {
            return;
        };
        let waiting = self.users.get(lease.user).map(|holder| &holder.sessions);
        let heir = waiting.into_iter().flatten().copied().find(|key| {
            self.sessions.get(*key).is_some_and(|known| {
                matches!(known.place(), WaitingPlace::Queue(_))
                    && matches!(self.claim(known), Claim::Own(own) if own == slot)
                    && self.serves(slot, &known.acquire)
            })
        });
        if let Some(heir) = heir {
            self.inherit(now, heir, slot);
        }
    }

    /// Lets go of an instance of the client's own where it cannot be sent; true if it was kept for the client and is so
    /// no longer.
    pub(super) fn give_up_own(&mut self, now: Time, slot: SlotKey) -> bool {
        let Some(lease) = self.lease(slot) else {
            return false;
        };
        match (lease.state, lease.session) {
            (LeaseState::Resumable { .. }, _) => {
                self.settle(now, slot);
                return true;
            }
            (LeaseState::Active | LeaseState::Reserved { .. }, Some(live)) => {
                self.close(live, CloseReason::Resumed);
            }
            _ => {}
        }
        false
    }

    /// It comes in place of a session of its user's that is to be closed; a window alone counts for nothing.
    pub(super) fn replaces(&self, session: &Session) -> bool {
        let Claim::Own(slot) = self.claim(session) else {
            return false;
        };
        self.lease(slot)
            .is_some_and(|lease| lease.session.is_some())
    }

    /// Moves a waiting session to another place.
    pub(super) fn set_waiting_place(&mut self, key: SessionKey, place: WaitingPlace) {
        let Some(known) = self.sessions.get_mut(key) else {
            return;
        };
        let before = known.place();
        if let SessionState::Waits(waiting) = &mut known.state {
            waiting.place = place;
            match place {
                WaitingPlace::Door => self.timers.clear(waiting.until, Timer::Patience(key)),
                _ => self.timers.set(waiting.until, Timer::Patience(key)),
            }
        }
        if let WaitingPlace::Queue(ticket) = before
            && let Some(pool) = self.pools.get_mut(known.pool)
        {
            let acquire = &known.acquire;
            pool.queue
                .remove(acquire.priority, &acquire.owner.tenant, ticket);
        }
        if matches!(place, WaitingPlace::Heir(_)) {
            self.count(key, false);
        }
    }

    /// Refuses a session that waits, and forgets it.
    pub(super) fn refuse_waiting(&mut self, key: SessionKey, refusal: Refusal) {
        let Some(known) = self.forget_session(key) else {
            return;
        };
        if let SessionState::Waits(waiting) = known.state {
            if let WaitingPlace::Heir(slot) = waiting.place {
                self.disinherit(slot, key);
            }
            self.refuse(waiting.request, &known.acquire.session, refusal);
        }
    }

    pub(super) fn disinherit(&mut self, slot: SlotKey, session: SessionKey) {
        if let Some(lease) = self.lease_mut(slot)
            && lease.heir == Some(session)
        {
            lease.heir = None;
        }
    }

    pub(super) fn refuse(&mut self, request: RequestId, session: &SessionId, refusal: Refusal) {
        self.counts.refused += 1;
        self.answer(request, session, Outcome::Refused(refusal));
    }
}

/// What a user's leases mean for a new request of theirs.
pub(super) enum Claim {
    /// Nothing.
    None,
    /// This instance is theirs, now or once the session on it has ended.
    Own(SlotKey),
    /// They have a session and may have no other.
    Refused,
}

impl Pick {
    /// The pick of an instance that was not chosen but the client's own.
    pub(super) fn own(why: Why, free: usize, same_zone: bool, waited: std::time::Duration) -> Self {
        Self {
            why,
            free: u32::try_from(free).unwrap_or(u32::MAX),
            same_zone,
            waited,
        }
    }
}
