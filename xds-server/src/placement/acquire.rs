//! An Acquire, from its arrival to its answer.

use std::time::Duration;

use super::lease::{Lease, LeaseState};
use super::timers::Timer;
use super::types::{
    Acquire, Change, CloseReason, Fence, Grant, InstanceName, NodeId, Outcome, Owner, PoolPolicy,
    Refusal, RequestId, SecondDevice, SessionId, Time,
};
use super::vm::Vm;
use super::{Effect, Placement, Session, SessionState};

impl Placement {
    /// Takes a request. Its answer comes as an effect, at once or when what it waits for has
    /// happened. The same session asked for again is answered the same.
    pub fn acquire(&mut self, now: Time, request: RequestId, acquire: Acquire) {
        let session = acquire.session.clone();
        let origin = acquire.origin.clone();
        let vm = self
            .vms
            .entry(origin.vm.clone())
            .or_insert_with(|| Vm::new(now));
        vm.heard = now;
        let over = vm.is_over(&session, origin.sequence);
        self.watch(&origin.vm);
        if over {
            self.counts.late += 1;
            return self.refuse(request, &session, Refusal::Cancelled);
        }
        if self.sessions.contains_key(&session) {
            return self.acquire_again(request, acquire);
        }
        let Some(pool) = self.pools.get(&acquire.pool) else {
            return self.refuse(request, &session, Refusal::NoSuchPool);
        };
        let until = now.after(pool.policy.hold);
        if let Some(vm) = self.vms.get_mut(&origin.vm) {
            vm.sessions.insert(session.clone());
        }
        let state = SessionState::Waits {
            request,
            heir_of: None,
            until,
        };
        self.sessions
            .insert(session.clone(), Session { acquire, state });
        if let Some(learning) = self.learning.as_mut() {
            learning.push(session.clone());
            self.timers.set(until, Timer::Patience(session));
        } else {
            self.decide(now, &session);
        }
    }

    /// What an Acquire for `pool` would be answered now; leases nothing.
    pub fn check(
        &self,
        node: &NodeId,
        pool: &super::PoolName,
        owner: &Owner,
    ) -> Result<(), Refusal> {
        if !self.pools.contains_key(pool) {
            return Err(Refusal::NoSuchPool);
        }
        if self.learning.is_some() {
            return Err(Refusal::Learning);
        }
        match self.claim(owner, pool) {
            Claim::Refused => Err(Refusal::SessionExists),
            Claim::Own(instance) if self.serves(&instance, node) => Ok(()),
            Claim::Own(_) | Claim::None => match self.free(pool, node) {
                Some(_) => Ok(()),
                None => Err(self.no_instance()),
            },
        }
    }

    /// The same session asks again: an answer was lost, or the first Acquire never came.
    fn acquire_again(&mut self, request: RequestId, acquire: Acquire) {
        let session = acquire.session;
        let Some(known) = self.sessions.get_mut(&session) else {
            return;
        };
        if known.acquire.origin.vm != acquire.origin.vm {
            self.counts.foreign += 1;
            return self.refuse(request, &session, Refusal::IdInUse);
        }
        let sequence = known.acquire.origin.sequence.max(acquire.origin.sequence);
        known.acquire.origin.sequence = sequence;
        match &mut known.state {
            SessionState::Waits {
                request: earlier, ..
            } => {
                let earlier = std::mem::replace(earlier, request);
                self.refuse(earlier, &session, Refusal::Cancelled);
            }
            SessionState::Holds(instance) => {
                let instance = instance.clone();
                let Some(fence) = self.lease(&instance).map(|lease| lease.fence) else {
                    return;
                };
                self.answer(
                    request,
                    &session,
                    Outcome::Granted(Grant { fence, instance }),
                );
            }
        }
    }

    /// Finds an instance for a waiting session: its own, or any free one.
    pub(super) fn decide(&mut self, now: Time, session: &SessionId) {
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        if !self.speaks(now, session) {
            // Its proxy has said nothing for as long as it waited: an answer would reach nobody.
            return self.refuse_waiting(session, Refusal::Cancelled);
        }
        let Acquire {
            origin,
            pool,
            owner,
            ..
        } = &known.acquire;
        let (node, pool) = (origin.node.clone(), pool.clone());
        let own = match self.claim(owner, &pool) {
            Claim::Refused => return self.refuse_waiting(session, Refusal::SessionExists),
            Claim::Own(instance) if self.serves(&instance, &node) => {
                return self.inherit(now, session, &instance);
            }
            Claim::Own(instance) => Some(instance),
            Claim::None => None,
        };
        let Some(free) = self.free(&pool, &node) else {
            let refusal = self.no_instance();
            return self.refuse_waiting(session, refusal);
        };
        // Its own cannot be had now, and is let go of only where there is another in its place.
        if let Some(own) = own {
            self.give_up_own(now, &own);
        }
        self.grant(now, session, &free, None);
    }

    /// The instance that anybody would be given, the one that has been free for longest.
    fn free(&self, pool: &super::PoolName, node: &NodeId) -> Option<InstanceName> {
        let free = &self.pools.get(pool)?.free;
        free.iter()
            .map(|(_, instance)| instance)
            .find(|instance| self.serves(instance, node))
            .cloned()
    }

    /// What the user already has in the pool, and what the pool's policy makes of it.
    fn claim(&self, owner: &Owner, pool: &super::PoolName) -> Claim {
        let Some(policy) = self.pools.get(pool).map(|pool| &pool.policy) else {
            return Claim::None;
        };
        let mut claim = Claim::None;
        for instance in self.held_by.get(&owner.user).into_iter().flatten() {
            let Some(slot) = self.slots.get(instance).filter(|slot| slot.pool == *pool) else {
                continue;
            };
            let Some(lease) = &slot.lease else {
                continue;
            };
            let keyed = owner.resume_key.is_some() && owner.resume_key == lease.owner.resume_key;
            let keyless = owner.resume_key.is_none() || lease.owner.resume_key.is_none();
            match lease.state {
                // Its client waits like anyone until somebody knows what became of it.
                LeaseState::Orphaned { .. } | LeaseState::Settling { .. } => {}
                _ if keyed => return Claim::Own(instance.clone()),
                LeaseState::Resumable { .. } if keyless => return Claim::Own(instance.clone()),
                LeaseState::Resumable { .. } => {}
                LeaseState::Active | LeaseState::Reserved { .. } => match policy.second_device {
                    SecondDevice::Allow => {}
                    SecondDevice::Refuse => claim = Claim::Refused,
                    SecondDevice::TakeOver => claim = Claim::Own(instance.clone()),
                },
            }
        }
        claim
    }

    /// Makes the session the next one on the instance, and ends the one that is on it.
    fn inherit(&mut self, now: Time, session: &SessionId, instance: &InstanceName) {
        let Some(lease) = self
            .slots
            .get_mut(instance)
            .and_then(|slot| slot.lease.as_mut())
        else {
            return;
        };
        let displaced = lease.heir.replace(session.clone());
        let (state, live) = (lease.state, lease.session.clone());
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let keyed = known.acquire.owner.resume_key.is_some()
            && known.acquire.owner.resume_key == lease.owner.resume_key;
        if let SessionState::Waits { heir_of, until, .. } = &mut known.state {
            *heir_of = Some(instance.clone());
            self.timers.set(*until, Timer::Patience(session.clone()));
        }
        if let Some(displaced) = displaced {
            self.refuse_waiting(&displaced, Refusal::Superseded);
        }
        match state {
            LeaseState::Resumable { settled_at, .. } if settled_at <= now => {
                self.hand_over(now, instance);
            }
            LeaseState::Resumable { .. } => self.set_lease_state(now, instance, state),
            _ if keyed => self.close(&live, CloseReason::Resumed),
            _ => self.close(&live, CloseReason::TakenOver),
        }
    }

    /// Lets go of an instance of the client's own where it cannot be sent.
    fn give_up_own(&mut self, now: Time, instance: &InstanceName) {
        let Some(lease) = self.lease(instance) else {
            return;
        };
        match lease.state {
            LeaseState::Resumable { .. } => self.settle(now, instance),
            LeaseState::Active | LeaseState::Reserved { .. } => {
                let live = lease.session.clone();
                self.close(&live, CloseReason::Resumed);
            }
            LeaseState::Orphaned { .. } | LeaseState::Settling { .. } => {}
        }
    }

    pub(super) fn grant(
        &mut self,
        now: Time,
        session: &SessionId,
        instance: &InstanceName,
        window_until: Option<Time>,
    ) {
        let Some(known) = self.sessions.get_mut(session) else {
            return;
        };
        let SessionState::Waits { request, .. } = known.state else {
            return;
        };
        known.state = SessionState::Holds(instance.clone());
        let owner = known.acquire.owner.clone();
        self.sequence += 1;
        let fence = Fence {
            term: self.term,
            sequence: self.sequence,
        };
        let until = now.after(self.timing.reserve_for);
        self.place(
            now,
            instance,
            Lease {
                fence,
                owner,
                session: session.clone(),
                state: LeaseState::Reserved { until },
                since: now,
                heir: None,
                window_until,
            },
        );
        self.counts.granted += 1;
        self.note(instance, Change::Reserved);
        let grant = Grant {
            fence,
            instance: instance.clone(),
        };
        self.answer(request, session, Outcome::Granted(grant));
    }

    /// Puts a lease into an empty slot.
    pub(super) fn place(&mut self, now: Time, instance: &InstanceName, lease: Lease) {
        let (user, state) = (lease.owner.user.clone(), lease.state);
        self.held_by.entry(user).or_default().push(instance.clone());
        self.update_slot(instance, |slot| {
            slot.last_fence = slot.last_fence.max(Some(lease.fence));
            slot.lease = Some(lease);
        });
        self.set_lease_state(now, instance, state);
    }

    pub(super) fn lease(&self, instance: &InstanceName) -> Option<&Lease> {
        self.slots.get(instance)?.lease.as_ref()
    }

    /// An instance's lease, and the rules of its pool.
    pub(super) fn lease_and_policy(
        &self,
        instance: &InstanceName,
    ) -> Option<(&Lease, &PoolPolicy)> {
        let slot = self.slots.get(instance)?;
        Some((slot.lease.as_ref()?, &self.pools.get(&slot.pool)?.policy))
    }

    /// The instance is up, and the proxy can be sent to it.
    pub(super) fn serves(&self, instance: &InstanceName, node: &NodeId) -> bool {
        self.slots.get(instance).is_some_and(|slot| slot.up)
            && self
                .reach
                .get(node)
                .is_some_and(|reach| reach.contains(instance))
    }

    /// The session's VM is not silent.
    pub(super) fn speaks(&self, now: Time, session: &SessionId) -> bool {
        self.sessions
            .get(session)
            .and_then(|known| self.vms.get(&known.acquire.origin.vm))
            .is_some_and(|vm| now.since(vm.heard) < self.timing.silent_after)
    }

    pub(super) fn no_instance(&self) -> Refusal {
        Refusal::NoInstance {
            retry_after: RETRY_AFTER,
        }
    }

    /// Refuses a session that waits, and forgets it.
    pub(super) fn refuse_waiting(&mut self, session: &SessionId, refusal: Refusal) {
        let Some(known) = self.forget_session(session) else {
            return;
        };
        if let SessionState::Waits {
            request, heir_of, ..
        } = known.state
        {
            self.disinherit(heir_of.as_ref(), session);
            self.refuse(request, session, refusal);
        }
    }

    pub(super) fn disinherit(&mut self, instance: Option<&InstanceName>, session: &SessionId) {
        let lease = instance
            .and_then(|instance| self.slots.get_mut(instance))
            .and_then(|slot| slot.lease.as_mut());
        if let Some(lease) = lease
            && lease.heir.as_ref() == Some(session)
        {
            lease.heir = None;
        }
    }

    fn refuse(&mut self, request: RequestId, session: &SessionId, refusal: Refusal) {
        self.counts.refused += 1;
        self.answer(request, session, Outcome::Refused(refusal));
    }

    pub(super) fn answer(&mut self, request: RequestId, session: &SessionId, outcome: Outcome) {
        let session = session.clone();
        self.effects.push_back(Effect::Answer {
            request,
            session,
            outcome,
        });
    }
}

/// What a user's leases mean for a new request of theirs.
enum Claim {
    /// Nothing.
    None,
    /// This instance is theirs, now or once the session on it has ended.
    Own(InstanceName),
    /// They have a session and may have no other.
    Refused,
}

/// A session lasts minutes to hours; a client that asks every few seconds finds a place soon after
/// it is free.
const RETRY_AFTER: Duration = Duration::from_secs(5);
