//! A lease's end: the session's, the window's, the instance's rest.

use std::sync::Arc;

use super::keys::{SessionKey, SlotKey};
use super::lease::LeaseState;
use super::types::{
    Change, CloseReason, Effect, End, EndCause, PastSession, Pick, Refusal, Time, Why,
};
use super::{Placement, Session, SessionState, WaitingPlace};

impl Placement {
    /// Ends what is known of a session.
    pub(super) fn end(&mut self, now: Time, key: SessionKey, cause: EndCause) {
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let SessionState::Holds(slot) = known.state else {
            return self.refuse_waiting(key, Refusal::Cancelled);
        };
        let id = known.acquire.session.clone();
        let closing = self
            .vms
            .get_mut(known.vm)
            .and_then(|vm| vm.closing.remove(&id));
        let opening = self.lease_mut(slot).and_then(|lease| lease.opening.take());
        if let Some(request) = opening {
            self.refuse(request, &id, Refusal::Cancelled);
        }
        let end = match (cause, closing) {
            (EndCause::Berth | EndCause::Unlisted, Some(reason)) => End::Closed(reason),
            _ => End::Ended(cause),
        };
        if let Some(known) = self.forget_session(key) {
            self.remember(now, slot, known, end);
        }
        self.end_lease(now, slot, cause, closing);
    }

    fn end_lease(
        &mut self,
        now: Time,
        slot: SlotKey,
        cause: EndCause,
        closing: Option<CloseReason>,
    ) {
        let Some((lease, policy)) = self.lease_and_policy(slot) else {
            return;
        };
        let until = match (cause, closing) {
            // Only a connection that broke, was left for a new one, or has to be made again with a new token is come back
            // to.
            (
                _,
                Some(
                    CloseReason::Expired
                    | CloseReason::Fenced
                    | CloseReason::Revoked
                    | CloseReason::Terminated
                    | CloseReason::TooSlow,
                ),
            )
            | (EndCause::Instance | EndCause::Berth, None)
            | (EndCause::MaxAge, _) => None,
            (EndCause::NotEstablished, _) => lease.window_until,
            _ => Some(now.after(policy.resume_window)),
        };
        let until = until.filter(|until| *until > now);
        let resumable = until.is_some();
        self.note(slot, Change::Ended { cause, resumable });
        let Some(until) = until else {
            return self.settle(now, slot);
        };
        let settled_at = self.settled_at(now, slot);
        if let Some(lease) = self.lease_mut(slot) {
            lease.session = None;
        }
        self.set_lease_state(now, slot, LeaseState::Resumable { until, settled_at });
        self.commit(slot);
        self.find_heir(now, slot);
        self.lease_due(now, slot);
    }

    /// When an instance whose session has just ended has settled; an agent says so itself.
    fn settled_at(&self, now: Time, slot: SlotKey) -> Time {
        if self
            .slots
            .get(slot)
            .is_some_and(|slot| slot.agent.is_some())
        {
            return Time::NEVER;
        }
        self.policy_of(slot)
            .map_or(now, |policy| now.after(policy.settle))
    }

    /// The lease's session is over and nothing is kept for its client.
    pub(super) fn settle(&mut self, now: Time, slot: SlotKey) {
        let Some(lease) = self.lease_mut(slot) else {
            return;
        };
        lease.session = None;
        let settled_at = match lease.state {
            LeaseState::Resumable { settled_at, .. } => settled_at,
            _ => self.settled_at(now, slot),
        };
        if settled_at <= now {
            if let Some(lease) = self.lease_mut(slot) {
                lease.state = LeaseState::Settling { until: now };
            }
            return self.hand_over(now, slot);
        }
        let until = match settled_at {
            Time::NEVER => now.after(self.timing.agent_within),
            at => at,
        };
        if let Some(user) = self.lease(slot).map(|lease| lease.user) {
            self.forget_holder(user, slot);
        }
        self.set_lease_state(now, slot, LeaseState::Settling { until });
        self.commit(slot);
    }

    /// Ends a lease whose session is over: the instance goes to the lease's heir, or is free.
    pub(super) fn hand_over(&mut self, now: Time, slot: SlotKey) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let (heir, user, tenant) = (
            lease.heir,
            lease.user,
            Arc::clone(&lease.acquire.owner.tenant),
        );
        let (window_until, why) = match lease.state {
            LeaseState::Resumable { until, .. } => (Some(until), Why::Resumed),
            _ => (lease.window_until, Why::TookOver),
        };
        self.forget_holder(user, slot);
        self.note(slot, Change::Freed);
        self.clear_due(slot);
        self.update_slot(slot, |slot| {
            slot.lease = None;
            slot.freed_at = now;
        });
        self.leased(slot, &tenant, false);
        self.freed(now, slot);
        self.commit(slot);
        let Some(heir) = heir else {
            return;
        };
        let Some(known) = self.sessions.get(heir) else {
            return;
        };
        let node = &known.acquire.origin.node;
        if self.serves(slot, &known.acquire) && self.speaks(now, heir) {
            let zone = self
                .slots
                .get(slot)
                .and_then(|slot| slot.spec.zone.as_ref());
            let same_zone = zone.is_some() && zone == self.reach.locate(node).1;
            let free = self.pools.get(known.pool).map_or(0, |pool| pool.free);
            let pick = Pick::own(why, free, same_zone, now.since(known.asked_at));
            self.grant(now, heir, slot, pick, window_until);
        } else {
            self.set_waiting_place(heir, WaitingPlace::Door);
            self.decide(now, heir);
        }
    }

    /// Gives up a lease whose VM has been silent for too long.
    pub(super) fn give_up_orphan(&mut self, now: Time, slot: SlotKey) {
        self.counts.orphans_released += 1;
        self.note(slot, Change::ReleasedOrphan);
        let Some(session) = self.lease(slot).and_then(|lease| lease.session) else {
            return self.settle(now, slot);
        };
        if let Some(known) = self.forget_session(session) {
            self.remember(now, slot, known, End::GivenUp);
        }
        self.settle(now, slot);
    }

    /// Hands a session that is over to whoever keeps the history.
    pub(super) fn remember(&mut self, now: Time, slot: SlotKey, known: Session, end: End) {
        let Some(lease) = self.lease(slot) else {
            return;
        };
        let (fence, pick, granted_at) = (lease.fence, lease.pick, lease.granted_at);
        let Some(instance) = self.slots.name(slot).cloned() else {
            return;
        };
        let past = PastSession {
            acquire: known.acquire,
            instance,
            fence,
            pick,
            granted_at,
            established_at: known.established_at,
            ended_at: now,
            end,
        };
        self.effects.push_back(Effect::Over(Box::new(past)));
    }
}
