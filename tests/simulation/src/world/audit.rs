//! What was said to the machine and what it said, kept apart from it, so that its word can be checked.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use crate::placement::{
    Acquire, Change, EndCause, Fence, Grant, InstanceName, LeaseRecord, NodeId, Owner,
    RecordedState, RequestId, SessionId, Sync, Time, User, VmId,
};

#[derive(Debug, Default)]
pub(crate) struct Audit {
    pub(crate) life: u64,
    /// Sessions that wait for their first answer, as far as the machine of this life was told.
    pub(crate) waiting: BTreeMap<SessionId, Waiting>,
    requests: BTreeMap<RequestId, bool>,
    arrivals: u64,
    /// The longest that anybody may have been promised to be held.
    pub(crate) longest_hold: Duration,
    /// The leases of each instance, in the order in which they were given or learnt.
    pub(crate) leases: BTreeMap<InstanceName, Vec<Lease>>,
    /// What was granted to whom, of what callers have been told.
    said: BTreeMap<SessionId, Grant>,
    pub(crate) over: BTreeSet<SessionId>,
    heard: BTreeMap<VmId, Time>,
    /// Which life last heard of the session's grant from its VM.
    listed: BTreeMap<SessionId, u64>,
    pub(crate) agents_heard: BTreeMap<InstanceName, Time>,
    pub(crate) reach: BTreeMap<NodeId, HashSet<InstanceName>>,
    /// When what is up is warm, by the rules when it came up.
    pub(crate) warm_at: BTreeMap<InstanceName, Time>,
    /// Grants out of the queue, by pool and priority: to which tenant, and the arrival before which it was decided.
    pub(crate) turns: Vec<Turn>,
    /// Rules have changed: who waited then may be one too many by now.
    pub(crate) rules_changed: bool,
    /// Sessions that were not granted by this machine as it is, or had been given up for a while.
    pub(crate) uncounted: BTreeSet<SessionId>,
    /// Instances with a lease, as far as has been told.
    pub(crate) taken: BTreeMap<InstanceName, Owner>,
    /// Whose instances have been freed by the call that is under way.
    pub(crate) freed_now: HashSet<User>,
    /// For how long the VMs of sessions had been silent that were given up, and have not been heard of since.
    given_up: BTreeMap<SessionId, Duration>,
    pub(crate) revocations: super::revoked::Revocations,
    /// Sessions that the operator wanted to end.
    pub(crate) terminated: BTreeSet<SessionId>,
    latest_full: BTreeMap<VmId, u64>,
    /// Until when what is kept for whom.
    windows: BTreeMap<InstanceName, (Time, User)>,
    cut_short: Vec<(InstanceName, User)>,
    /// Who has been answered by the call that is under way.
    pub(crate) answered_now: HashSet<User>,
    /// Sessions whose VM has said that they are over, or has said nothing of them.
    pub(crate) ended_told: BTreeSet<SessionId>,
    problem: Option<(&'static str, String)>,
}

#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    /// Who came earlier has a smaller one.
    pub(crate) order: u64,
    pub(crate) since: Time,
    pub(crate) hold_until: Time,
    pub(crate) acquire: Acquire,
    request: RequestId,
}

/// A lease that an instance has had.
#[derive(Clone, Debug)]
pub(crate) struct Lease {
    pub(crate) fence: Fence,
    pub(crate) session: SessionId,
    pub(crate) vm: VmId,
    pub(crate) owner: Owner,
    pub(crate) life: u64,
    pub(crate) before: Before,
}

/// What the machine could know of the instance's lease before this one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Before {
    /// For how long its VM had not been heard.
    pub(crate) unheard: Duration,
    /// The machine of this life had been told of it.
    pub(crate) told: bool,
}

/// A grant to somebody who had waited.
#[derive(Clone, Debug)]
pub(crate) struct Turn {
    pub(crate) pool: crate::placement::PoolName,
    pub(crate) priority: u8,
    pub(crate) tenant: super::Text,
    /// How many had arrived by then.
    pub(crate) arrivals: u64,
    /// It was a turn for sure, and not something in place of what they had.
    pub(crate) sure: bool,
}

impl Audit {
    pub(crate) fn started_empty(&mut self) {
        self.start();
        self.said.clear();
        self.terminated.clear();
        self.revocations.forget();
    }

    pub(crate) fn restored(&mut self, leases: &[LeaseRecord], now: Time) {
        self.start();
        for record in leases {
            self.taken
                .insert(record.instance.clone(), record.owner.clone());
            self.heard.insert(record.vm.clone(), now);
            let leases = self.leases.entry(record.instance.clone()).or_default();
            let same =
                |lease: &&mut Lease| lease.fence == record.fence && lease.session == record.session;
            match leases.last_mut().filter(same) {
                Some(lease) => lease.life = self.life,
                None => leases.push(Lease {
                    fence: record.fence,
                    session: record.session.clone(),
                    vm: record.vm.clone(),
                    owner: record.owner.clone(),
                    life: self.life,
                    before: Before {
                        unheard: Duration::ZERO,
                        told: true,
                    },
                }),
            }
        }
    }

    /// What is kept for somebody is kept on, by the rules of now.
    pub(crate) fn window_restored(&mut self, now: Time, record: &LeaseRecord, window: Duration) {
        if let RecordedState::Resumable { until } = record.state {
            let until = until.min(now.after(window));
            let kept = (until, record.owner.user.clone());
            self.windows.insert(record.instance.clone(), kept);
        }
    }

    /// For whom is revoked nothing is kept.
    pub(crate) fn end_windows_of_revoked(&mut self, now: Time) {
        let Self {
            windows,
            leases,
            revocations,
            ..
        } = self;
        windows.retain(|instance, _| {
            let last = leases.get(instance).and_then(|leases| leases.last());
            last.is_none_or(|lease| !revocations.of(now, &lease.session))
        });
    }

    fn start(&mut self) {
        self.life += 1;
    }

    /// A lease has changed, at that time, in a pool with that window.
    pub(crate) fn changed(
        &mut self,
        now: Time,
        instance: &InstanceName,
        change: Change,
        window: Duration,
    ) {
        match change {
            Change::Adopted | Change::Reserved => {
                let leases = self.leases.get(instance);
                let owner = leases.and_then(|leases| Some(leases.last()?.owner.clone()));
                // Who has something again is kept nothing any more.
                if let Some(owner) = &owner {
                    self.windows.retain(|_, (_, user)| *user != owner.user);
                    self.cut_short
                        .retain(|(other, user)| other != instance && *user != owner.user);
                }
                let taken = owner.map(|owner| (instance.clone(), owner));
                self.taken.extend(taken);
            }
            Change::Freed => {
                let owner = self.taken.remove(instance);
                if let Some((until, user)) = self.windows.remove(instance)
                    && now < until
                {
                    self.cut_short.push((instance.clone(), user));
                }
                self.freed_now.extend(owner.map(|owner| owner.user));
            }
            Change::Ended {
                cause,
                resumable: true,
            } if cause != EndCause::NotEstablished => {
                let owner = self.taken.get(instance);
                let kept = owner.map(|owner| (now.after(window), owner.user.clone()));
                self.windows
                    .extend(kept.map(|kept| (instance.clone(), kept)));
            }
            _ => {}
        }
    }

    /// The call is over: nobody who has gone and not come back has lost what was kept for them.
    pub(crate) fn check_windows(&mut self) {
        let cut_short = std::mem::take(&mut self.cut_short);
        for (instance, user) in cut_short {
            // Who has come back while their instance cannot be had waits for another, or is refused.
            let waits = |waiting: &Waiting| waiting.acquire.owner.user == user;
            let here = self.waiting.values().any(waits) || self.answered_now.contains(&user);
            if !here {
                self.object("windows", || {
                    format!("{instance} is kept no longer for {}", user.subject)
                });
            }
        }
        self.answered_now.clear();
    }

    /// Its caller is told of a grant; what it was told of before.
    pub(crate) fn said(&mut self, session: &SessionId, grant: &Grant) -> Option<Grant> {
        // It may have been given up before the word went out, and be asked for twice.
        if self.given_up.contains_key(session) {
            return None;
        }
        self.said.insert(session.clone(), grant.clone())
    }

    /// The VM of an orphan has been silent for too long; how long.
    pub(crate) fn given_up(&mut self, session: &SessionId, unheard: Duration) {
        self.given_up.insert(session.clone(), unheard);
        // If it is still asked for it gets something else.
        self.said.remove(session);
    }

    pub(crate) fn crashed(&mut self) {
        self.taken.clear();
        self.windows.clear();
        self.ended_told.clear();
        self.waiting.clear();
        self.requests.clear();
        self.agents_heard.clear();
        self.reach.clear();
        self.warm_at.clear();
        self.turns.clear();
    }

    pub(crate) fn hold_changed(&mut self, hold: Duration) {
        self.rules_changed = true;
        self.longest_hold = self.longest_hold.max(hold);
        for waiting in self.waiting.values_mut() {
            waiting.hold_until = waiting.hold_until.max(waiting.since.after(hold));
        }
    }

    /// The session has ended by an agent's evidence: an Acquire may come that was under way.
    pub(crate) fn over_by_evidence(&mut self, session: &SessionId) {
        self.ended_told.insert(session.clone());
    }

    pub(crate) fn asked(&mut self, now: Time, request: RequestId, acquire: &Acquire) {
        self.heard.insert(acquire.origin.vm.clone(), now);
        self.requests.insert(request, false);
        if self.latest_full.get(&acquire.origin.vm) > Some(&acquire.origin.sequence) {
            // Overtaken by a full Sync, which may not have listed it.
            self.ended_told.insert(acquire.session.clone());
        }
        self.arrivals += 1;
        let hold_until = now.after(self.longest_hold);
        let order = self.arrivals;
        let foreign = |lease: &Waiting| lease.acquire.origin.vm != acquire.origin.vm;
        if acquire.origin.vm.as_str() == "stranger"
            || self.waiting.get(&acquire.session).is_some_and(foreign)
        {
            return;
        }
        self.revocations.asked(acquire);
        let waiting = self.waiting.entry(acquire.session.clone());
        let waiting = waiting.or_insert_with(|| Waiting {
            order,
            since: now,
            hold_until,
            acquire: acquire.clone(),
            request,
        });
        if waiting.acquire.origin.vm == acquire.origin.vm {
            waiting.request = request;
        }
    }

    pub(crate) fn arrivals(&self) -> u64 {
        self.arrivals
    }

    pub(crate) fn cancelled(&mut self, request: RequestId, session: &SessionId) {
        let current = |waiting: &Waiting| waiting.request == request;
        if self.waiting.get(session).is_some_and(current) {
            self.waiting.remove(session);
        }
    }

    /// A request is answered; who had waited, if this was the end of it.
    pub(crate) fn answered(&mut self, request: RequestId, session: &SessionId) -> Option<Waiting> {
        match self.requests.insert(request, true) {
            Some(false) => {}
            Some(true) => self.object("one answer", || format!("{request:?} is answered twice")),
            None => self.object("one answer", || format!("{request:?} was never asked")),
        }
        let current = |waiting: &Waiting| waiting.request == request;
        let waiting = self.waiting.get(session).is_some_and(current);
        let waiting = waiting.then(|| self.waiting.remove(session)).flatten()?;
        self.answered_now.insert(waiting.acquire.owner.user.clone());
        Some(waiting)
    }

    pub(crate) fn heard_sync(&mut self, now: Time, sync: &Sync) {
        let ended = sync.ended.iter().map(|end| end.session.clone());
        self.ended_told.extend(ended);
        if let Some(listed) = &sync.sessions {
            let of_vm = |waiting: &&Waiting| waiting.acquire.origin.vm == sync.origin.vm;
            let waiting = self.waiting.values().filter(of_vm);
            let waiting = waiting.map(|waiting| waiting.acquire.session.clone());
            let unlisted =
                |session: &SessionId| !listed.iter().any(|reported| reported.session == *session);
            self.ended_told.extend(waiting.filter(unlisted));
        }
        self.heard.insert(sync.origin.vm.clone(), now);
        for reported in sync.sessions.iter().flatten() {
            if reported.lease.is_some() {
                self.listed.insert(reported.session.clone(), self.life);
                self.given_up.remove(&reported.session);
            }
        }
    }

    /// Whether it is a full Sync that none has overtaken.
    pub(crate) fn is_news(&mut self, sync: &Sync) -> bool {
        let latest = self.latest_full.entry(sync.origin.vm.clone()).or_default();
        let news = sync.sessions.is_some() && sync.origin.sequence > *latest;
        if news {
            *latest = sync.origin.sequence;
        }
        news
    }

    pub(crate) fn heard_agent(&mut self, now: Time, instance: &InstanceName) {
        self.agents_heard.insert(instance.clone(), now);
    }

    pub(crate) fn unheard(&self, now: Time, vm: &VmId) -> Duration {
        let heard = self.heard.get(vm);
        heard.map_or(Duration::MAX, |heard| now.since(*heard))
    }

    /// Takes what a proxy reaches now; what it reached before.
    pub(crate) fn reaches(
        &mut self,
        node: &NodeId,
        reach: &HashSet<InstanceName>,
    ) -> HashSet<InstanceName> {
        let before = self.reach.insert(node.clone(), reach.clone());
        before.unwrap_or_default()
    }

    pub(crate) fn probed(&mut self, warm_at: Time, instance: &InstanceName, up: bool) {
        if up {
            self.warm_at.entry(instance.clone()).or_insert(warm_at);
        } else {
            self.warm_at.remove(instance);
        }
    }

    /// The lease is another than the instance's last; the fences of this life that came before it.
    pub(crate) fn leased(&mut self, now: Time, record: &LeaseRecord) -> Option<Vec<Lease>> {
        let known = self.leases.get(&record.instance);
        let last = known.and_then(|leases| leases.last());
        let same = |lease: &Lease| {
            lease.fence == record.fence
                && lease.session == record.session
                && lease.life == self.life
        };
        if last.is_some_and(same) {
            return None;
        }
        let before = Before {
            unheard: last.map_or(Duration::MAX, |last| {
                let given_up = self.given_up.get(&last.session).copied();
                self.unheard(now, &last.vm)
                    .max(given_up.unwrap_or_default())
            }),
            told: last.is_some_and(|last| {
                last.life == self.life || self.listed.get(&last.session) == Some(&self.life)
            }),
        };
        let lease = Lease {
            fence: record.fence,
            session: record.session.clone(),
            vm: record.vm.clone(),
            owner: record.owner.clone(),
            life: self.life,
            before,
        };
        let earlier = known.cloned().unwrap_or_default();
        self.leases
            .entry(record.instance.clone())
            .or_default()
            .push(lease);
        Some(earlier)
    }

    pub(crate) fn vm_of(&self, instance: &InstanceName, session: &SessionId) -> Option<VmId> {
        let leases = self.leases.get(instance)?.iter().rev();
        let mut leases = leases.filter(|lease| lease.session == *session);
        Some(leases.next()?.vm.clone())
    }

    pub(crate) fn object(&mut self, invariant: &'static str, detail: impl FnOnce() -> String) {
        if self.problem.is_none() {
            self.problem = Some((invariant, detail()));
        }
    }

    pub(crate) fn take_problem(&mut self) -> Option<(&'static str, String)> {
        self.problem.take()
    }
}
