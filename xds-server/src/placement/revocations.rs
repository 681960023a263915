//! What the operator has called back: who asks with it is refused, who has something by it is closed.

use std::collections::BTreeMap;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::keys::{Map, SessionKey, SlotKey, VmKey};
use super::lease::{Lease, LeaseState};
use super::timers::Timer;
use super::types::{
    Acquire, CloseReason, Effect, EndCause, MAX_REVOCATIONS, Refusal, ReportedLease, Revocation,
    RevocationEffect, RevocationId, RevocationsFull, Revoke, Revoked, SessionId, Time, User,
};
use super::{Placement, SessionState};

/// The revocations that hold, by their ids and by what they are about.
#[derive(Debug)]
pub(super) struct Revocations {
    by_id: BTreeMap<RevocationId, Revocation>,
    ids: Map<Revoked, RevocationId>,
    /// The latest id given.
    latest: RevocationId,
}

impl Revocations {
    pub(super) fn new(term: u64, hash_seed: u64) -> Self {
        Self {
            by_id: BTreeMap::new(),
            ids: Map::with_hasher(FixedState::with_seed(hash_seed)),
            latest: RevocationId { term, sequence: 0 },
        }
    }

    fn insert(&mut self, revocation: Revocation) {
        self.ids.insert(revocation.what.clone(), revocation.id);
        self.by_id.insert(revocation.id, revocation);
    }

    fn remove(&mut self, id: RevocationId) -> Option<Revocation> {
        let revocation = self.by_id.remove(&id)?;
        self.ids.remove(&revocation.what);
        Some(revocation)
    }

    /// However many there are, this is a handful of look-ups.
    fn include(&self, session: &SessionId, user: &User, token_id: Option<&Arc<str>>) -> bool {
        if self.ids.is_empty() {
            return false;
        }
        let issuers = [None, Some(&user.issuer)];
        let subjects = issuers.map(|issuer| Revoked::Subject {
            issuer: issuer.cloned(),
            subject: user.subject.clone(),
        });
        let tokens = token_id.into_iter().flat_map(|id| {
            issuers.map(|issuer| Revoked::Token {
                issuer: issuer.cloned(),
                id: id.clone(),
            })
        });
        let session = Revoked::Session(session.clone());
        let mut all = subjects.into_iter().chain(tokens).chain([session]);
        all.any(|what| self.ids.contains_key(&what))
    }
}

impl Placement {
    /// Revokes somebody or something, from now on: requests are refused, those that wait too; live sessions are closed
    /// by their proxies, and nothing is kept for their clients. What is revoked already is revoked anew, for as long as
    /// is said now, under a new id.
    ///
    /// # Errors
    /// [`RevocationsFull`].
    pub fn revoke(
        &mut self,
        now: Time,
        revoke: Revoke,
    ) -> Result<RevocationEffect, RevocationsFull> {
        let Revoke { what, span, note } = revoke;
        match self.revocations.ids.get(&what).copied() {
            Some(earlier) => self.forget_revocation(earlier),
            None if self.revocations.by_id.len() >= MAX_REVOCATIONS => return Err(RevocationsFull),
            None => {}
        }
        self.revocations.latest.sequence += 1;
        let id = self.revocations.latest;
        self.keep_revocation(Revocation {
            id,
            what: what.clone(),
            since: now,
            until: now.after(span.get()),
            note,
        });
        self.effects.push_back(Effect::CommitRevocation(id));
        let (closing, refused) = self.close_revoked(now, |_, acquire| what.includes(acquire));
        self.serve_queues(now);
        Ok(RevocationEffect {
            id,
            closing,
            refused,
        })
    }

    /// Lifts a revocation: what it has closed stays closed. False if there is none of that name.
    pub fn lift_revocation(&mut self, id: RevocationId) -> bool {
        let known = self.revocations.by_id.contains_key(&id);
        self.forget_revocation(id);
        known
    }

    /// Takes over what an earlier machine wrote down, before [`Self::restore`].
    pub fn restore_revocations(&mut self, now: Time, revocations: Vec<Revocation>) {
        for revocation in revocations {
            let latest = &mut self.revocations.latest;
            latest.term = latest.term.max(revocation.id.term.saturating_add(1));
            if revocation.until > now {
                self.keep_revocation(revocation);
            } else {
                self.effects
                    .push_back(Effect::CommitRevocation(revocation.id));
            }
        }
    }

    /// The revocation of this name, which is what has to be written down of it; `None` if it has been lifted or is over.
    pub fn revocation(&self, id: RevocationId) -> Option<&Revocation> {
        self.revocations.by_id.get(&id)
    }

    /// All revocations that hold, by id.
    pub fn revocations(&self) -> impl ExactSizeIterator<Item = &Revocation> {
        self.revocations.by_id.values()
    }

    /// Another number after each revocation, and after a restart. It does not change when one is lifted: who has
    /// forgotten a token then only has to check it once more.
    pub fn revocations_seen(&self) -> u64 {
        let RevocationId { term, sequence } = self.revocations.latest;
        // Terms are seconds since 1970, which fit until 2106; then this begins again.
        (term << 32).wrapping_add(sequence)
    }

    pub(super) fn is_revoked(&self, acquire: &Acquire) -> bool {
        let user = &acquire.owner.user;
        self.revocations
            .include(&acquire.session, user, acquire.token_id.as_ref())
    }

    /// A VM reports a session that nobody here let in: if it is revoked, the VM has to close it.
    pub(super) fn close_unknown_if_revoked(
        &mut self,
        vm: VmKey,
        session: &SessionId,
        lease: &ReportedLease,
    ) {
        let (user, token_id) = (&lease.owner.user, lease.token_id.as_ref());
        if self.revocations.include(session, user, token_id)
            && let Some(vm) = self.vms.get_mut(vm)
        {
            vm.closing.insert(session.clone(), CloseReason::Revoked);
        }
    }

    /// Ends all that is revoked: how many sessions are to be closed, and how many requests have been refused.
    pub(super) fn close_revoked(
        &mut self,
        now: Time,
        revoked: impl Fn(&Self, &Acquire) -> bool,
    ) -> (usize, usize) {
        let sessions = self.sessions.iter();
        let sessions = sessions.filter(|(_, _, session)| revoked(self, &session.acquire));
        let (mut waiting, mut holding) = (Vec::new(), Vec::new());
        for (key, _, session) in sessions {
            match session.state {
                SessionState::Waits(_) => waiting.push(key),
                SessionState::Holds(slot) => holding.push((key, slot)),
            }
        }
        let kept = |lease: &Lease| {
            matches!(lease.state, LeaseState::Resumable { .. }) && revoked(self, &lease.acquire)
        };
        let slots = self.slots.iter();
        let windows = slots.filter(|(_, _, slot)| slot.lease.as_ref().is_some_and(kept));
        let windows: Vec<SlotKey> = windows.map(|(key, _, _)| key).collect();
        // First: nobody who waits inherits what the others leave.
        let mut refused = waiting.len();
        for key in waiting {
            self.refuse_waiting(key, Refusal::Revoked);
        }
        let mut closing = 0;
        for (key, slot) in holding {
            if self.close_revoked_session(now, key, slot) {
                closing += 1;
            } else {
                refused += 1;
            }
        }
        for slot in windows {
            self.settle(now, slot);
        }
        (closing, refused)
    }

    /// Ends a session that has an instance; true if it is its VM that has to close it.
    fn close_revoked_session(&mut self, now: Time, key: SessionKey, slot: SlotKey) -> bool {
        self.close(key, CloseReason::Revoked);
        let opening = self.lease_mut(slot).and_then(|lease| {
            let request = lease.opening.take()?;
            Some((request, lease.acquire.session.clone()))
        });
        let Some((request, session)) = opening else {
            return true;
        };
        // It has not been told of its instance yet.
        self.refuse(request, &session, Refusal::Revoked);
        self.end(now, key, EndCause::NotEstablished);
        false
    }

    fn keep_revocation(&mut self, revocation: Revocation) {
        self.timers
            .set(revocation.until, Timer::Revocation(revocation.id));
        self.revocations.insert(revocation);
    }

    /// It is over or lifted, if it is there.
    pub(super) fn forget_revocation(&mut self, id: RevocationId) {
        if let Some(revocation) = self.revocations.remove(id) {
            self.timers.clear(revocation.until, Timer::Revocation(id));
            self.effects.push_back(Effect::CommitRevocation(id));
        }
    }
}
