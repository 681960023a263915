//! What the operator has called back: who is let in, and who stays, in spite of it.

use std::collections::{BTreeMap, BTreeSet};

use super::{TICK, World};
use crate::placement::{
    Acquire, Close, Revocation, RevocationId, RevocationSpan, Revoke, Revoked, SessionId, Sync,
    Time,
};
use crate::schedule::{DEVICES, Memory, Target};

/// What is revoked, as far as the machine was told, and who everybody is.
#[derive(Debug, Default)]
pub(crate) struct Revocations {
    holding: BTreeMap<RevocationId, Holding>,
    /// The operator has been told that they are lifted.
    lifted: BTreeSet<RevocationId>,
    /// As each session asked first.
    asked: BTreeMap<SessionId, Acquire>,
}

#[derive(Clone, Debug)]
struct Holding {
    what: Revoked,
    since: Time,
    until: Time,
    /// The operator has been told that it holds.
    told: bool,
}

impl Revocations {
    pub(crate) fn asked(&mut self, acquire: &Acquire) {
        let session = acquire.session.clone();
        self.asked.entry(session).or_insert_with(|| acquire.clone());
    }

    /// Whether that session is revoked.
    pub(crate) fn of(&self, now: Time, session: &SessionId) -> bool {
        self.since(now, session).is_some()
    }

    /// Since when it is.
    fn since(&self, now: Time, session: &SessionId) -> Option<Time> {
        let acquire = self.asked.get(session)?;
        let holding = self.holding.values();
        let holding = holding.filter(|held| now < held.until && held.what.includes(acquire));
        holding.map(|held| held.since).min()
    }

    fn told(&mut self, id: RevocationId) {
        if let Some(held) = self.holding.get_mut(&id) {
            held.told = true;
        }
    }

    fn held(&self, what: &Revoked) -> Option<RevocationId> {
        let mut holding = self.holding.iter();
        holding
            .find(|(_, held)| held.what == *what)
            .map(|(id, _)| *id)
    }

    /// A machine has started that knows of none.
    pub(crate) fn forget(&mut self) {
        self.holding.clear();
    }

    /// A machine has started with these: one that should be among them and is not, or the other way round.
    fn restored(&mut self, now: Time, restored: &[Revocation]) -> Option<RevocationId> {
        let is_there = |id: RevocationId| restored.iter().any(|revocation| revocation.id == id);
        let mut holding = self.holding.iter();
        let lost = holding.find(|(id, held)| held.told && now < held.until && !is_there(**id));
        let lost = lost.map(|(id, _)| *id);
        let back = self.lifted.iter().copied().find(|id| is_there(*id));
        let restored = restored.iter().map(|revocation| {
            let held = Holding {
                what: revocation.what.clone(),
                since: revocation.since,
                until: revocation.until,
                told: true,
            };
            (revocation.id, held)
        });
        self.holding = restored.collect();
        lost.or(back)
    }
}

impl World {
    pub(crate) fn revoke(&mut self, target: Target, span: RevocationSpan) {
        let Some(what) = self.target(target) else {
            return;
        };
        let now = self.plane.time(self.now);
        let revoke = Revoke {
            what: what.clone(),
            span,
            note: None,
        };
        let earlier = self.audit.revocations.held(&what);
        // Before: what the machine says meanwhile is measured by it.
        let held = Holding {
            what,
            since: now,
            until: now.after(span.get()),
            told: false,
        };
        let expected = RevocationId {
            term: u64::MAX,
            sequence: 0,
        };
        self.audit.revocations.holding.insert(expected, held);
        self.audit.end_windows_of_revoked(now);
        let done = self.call(|machine, now| machine.revoke(now, revoke));
        let held = self.audit.revocations.holding.remove(&expected);
        if let (Some(Ok(done)), Some(held)) = (done, held) {
            if let Some(earlier) = earlier {
                self.audit.revocations.holding.remove(&earlier);
            }
            self.audit.revocations.holding.insert(done.id, held);
            self.put_out(super::plane::Out::Revoked(done.id));
        }
    }

    pub(crate) fn lift(&mut self, pick: usize) {
        let machine = self.plane.machine.as_ref().into_iter();
        let held: Vec<RevocationId> = machine
            .flat_map(|machine| {
                machine
                    .revocations()
                    .map(|held| held.id)
                    .collect::<Vec<_>>()
            })
            .collect();
        let pick = pick.checked_rem(held.len()).unwrap_or(0);
        if let Some(id) = held.get(pick).copied() {
            self.audit.revocations.holding.remove(&id);
            self.call(|machine, _| machine.lift_revocation(id));
            self.put_out(super::plane::Out::Lifted(id));
        }
    }

    fn target(&self, target: Target) -> Option<Revoked> {
        let issuer = |of_one: bool| of_one.then(|| "issuer".into());
        match target {
            Target::Session(pick) => {
                let sessions = self.known_sessions();
                let pick = pick.checked_rem(sessions.len()).unwrap_or(0);
                sessions.get(pick).cloned().map(Revoked::Session)
            }
            Target::Subject { device, of_one } => Some(Revoked::Subject {
                issuer: issuer(of_one),
                subject: super::operator::owner(device % DEVICES).user.subject,
            }),
            Target::Token { device, of_one } => Some(Revoked::Token {
                issuer: issuer(of_one),
                id: token_id(device % DEVICES),
            }),
        }
    }

    /// The operator hears that it is so.
    pub(crate) fn operator_is_told(&mut self, id: RevocationId, lifted: bool) {
        if lifted {
            self.audit.revocations.lifted.insert(id);
        } else {
            self.audit.revocations.told(id);
        }
    }

    /// What a starting machine is told, and what of it is not as the operator was told.
    pub(crate) fn audit_restored(&mut self, now: Time, restored: &[Revocation]) {
        if !restored.is_empty() {
            self.coverage.add("restored revocations");
        }
        if let Some(wrong) = self.audit.revocations.restored(now, restored) {
            self.violate("revoked", || format!("{wrong} is not as it was left"));
        }
    }

    pub(crate) fn audit_granted_though_revoked(&mut self, now: Time, session: &SessionId) {
        if self.audit.revocations.of(now, session) {
            self.violate("revoked", || format!("{session} is granted something"));
        }
    }

    pub(crate) fn audit_refused_as_revoked(&mut self, now: Time, session: &SessionId) {
        // By the last moment at which it may not have been over, for a machine that is late.
        let earlier = Time(now.0.saturating_sub(self.plane.lateness)).min(self.plane.before_this);
        let revoked = [now, earlier]
            .iter()
            .any(|at| self.audit.revocations.of(*at, session));
        if !revoked {
            self.violate("no needless refusal", || {
                format!("{session} is refused as revoked, and is not")
            });
        }
    }

    /// A VM that states a revoked session is told to close it.
    pub(crate) fn check_revoked_closed(&mut self, sync: &Sync, closes: &[Close]) {
        let now = self.plane.time(self.now);
        let mut stated = sync.sessions.iter().flatten();
        let spared = stated.find(|reported| {
            let session = &reported.session;
            reported.lease.is_some()
                && self.audit.revocations.of(now, session)
                && !self.audit.ended_told.contains(session)
                && closes.iter().all(|close| close.session != *session)
        });
        if let Some(spared) = spared {
            self.violate("revoked", || format!("{} is not closed", spared.session));
        }
    }

    /// Nothing fails any more, and everybody has spoken: whoever was revoked before is on the way out.
    pub(crate) fn check_nobody_revoked(&mut self) {
        let now = self.plane.time(self.now);
        let before = Time(now.0.saturating_sub(HEARD));
        let open = self.open_streams();
        let left = open.into_iter().find(|(_, session)| {
            let since = self.audit.revocations.since(now, session);
            since.is_some_and(|since| since < before)
        });
        if let Some((_, left)) = left {
            self.violate("revoked", || format!("{left} is still there"));
        }
    }

    /// What is written down of revocations is what holds.
    pub(crate) fn check_revocations_written(&mut self) {
        let machine = self.plane.machine.as_ref().into_iter();
        let held: BTreeSet<RevocationId> = machine
            .flat_map(|machine| {
                machine
                    .revocations()
                    .map(|held| held.id)
                    .collect::<Vec<_>>()
            })
            .collect();
        let written = self.plane.store.revocations();
        if self.memory == Memory::Journal && held != written {
            self.violate("revoked", || {
                format!("{written:?} is written, {held:?} holds")
            });
        }
    }
}

/// Of the token that a device comes with.
pub(crate) fn token_id(device: usize) -> super::Text {
    format!("token-{device}").into()
}

/// By then every VM that has a session has been told what to close, by a control plane that has just started too.
pub(crate) const HEARD: std::time::Duration = TICK.saturating_mul(8);
