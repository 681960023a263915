//! The invariants, by what is true at the instances and by what the machine was told.

use std::time::Duration;

use super::audit::{Lease, Turn, Waiting};
use super::network::Connect;
use super::vm::label;
use super::{ORPHAN_AFTER, SETTLE, TIMING, World};
use crate::placement::{
    Acquire, Change, Close, CloseReason, Effect, End, EndCause, Fence, InstanceName, InstanceView,
    LeaseRecord, LeaseState, Origin, Outcome, PastSession, Priority, RecordedState, Refusal,
    ReportedSession, RequestId, SessionId, Sync, Time, Why,
};
use crate::schedule::{Memory, Severity};

impl World {
    pub(crate) fn take_audit(&mut self) {
        if let Some((invariant, detail)) = self.audit.take_problem() {
            self.violate(invariant, || detail);
        }
    }

    /// A stream is about to open: I3, and I1 but for what cannot be had without an agent.
    pub(crate) fn check_open(&mut self, index: usize, connect: &Connect) {
        let Some(instance) = self.instances.get(index) else {
            return;
        };
        let name = instance.spec.name.clone();
        let (session, fence) = (&connect.session, connect.fence);
        let leases = self.audit.leases.get(&name);
        let granted = |lease: &Lease| lease.fence == fence && lease.session == *session;
        if !leases.is_some_and(|leases| leases.iter().any(granted)) {
            return self.violate("I3", || {
                format!("{session} is at {name}, which was never leased to it as {fence}")
            });
        }
        let there: Vec<(SessionId, Fence, bool)> = instance
            .streams
            .iter()
            .map(|(session, stream)| (session.clone(), stream.fence, stream.stuck))
            .collect();
        let agent = instance.spec.agent;
        for (other, other_fence, stuck) in there {
            let cause = self.excuse(&name, (session, fence), (&other, other_fence), stuck);
            match cause {
                Some(cause) if !agent => self.coverage.add(cause),
                _ => self.violate("I1", || {
                    format!("{session} ({fence}) joins {other} ({other_fence}) at {name}")
                }),
            }
        }
    }

    /// Why an overlap could not be prevented without an agent.
    fn excuse(
        &self,
        name: &InstanceName,
        new: (&SessionId, Fence),
        there: (&SessionId, Fence),
        stuck: bool,
    ) -> Option<&'static str> {
        if stuck || self.lost_its_host(name, there.0) {
            return Some("overlap: cut off from the instance");
        }
        let leases = self.audit.leases.get(name)?;
        let last = |(session, fence): (&SessionId, Fence)| {
            leases
                .iter()
                .rposition(|lease| lease.session == *session && lease.fence == fence)
        };
        let first = |(session, fence): (&SessionId, Fence)| {
            leases
                .iter()
                .position(|lease| lease.session == *session && lease.fence == fence)
        };
        // The one that was leased to earlier should be gone: what was known when the next one came?
        let outlaw = if first(new) < first(there) {
            new
        } else {
            there
        };
        let at = first(outlaw)?;
        let _ = last;
        let passed_on = leases
            .iter()
            .enumerate()
            .skip(at + 1)
            .filter(|(index, lease)| {
                let before = index.checked_sub(1).and_then(|index| leases.get(index));
                lease.session != *outlaw.0
                    && before.is_some_and(|before| before.session == *outlaw.0)
            });
        let excuses = passed_on.filter_map(|(_, lease)| {
            let before = lease.before;
            if before.unheard >= ORPHAN_AFTER {
                Some("overlap: silent for too long")
            } else if self.memory == Memory::None && !before.told {
                Some("overlap: forgotten, and unheard while learning")
            } else {
                None
            }
        });
        excuses.into_iter().next()
    }

    /// The host of the stream's proxy is gone without a word to anybody.
    fn lost_its_host(&self, name: &InstanceName, session: &SessionId) -> bool {
        let instance = self
            .instances
            .iter()
            .find(|instance| instance.spec.name == *name);
        let stream = instance.and_then(|instance| instance.streams.get(session));
        stream.is_some_and(|stream| self.lost_hosts.contains(&stream.place.process_key()))
    }

    /// An agent cuts a stream: the machine must not think of it as live.
    pub(crate) fn check_cut(&mut self, index: usize, session: &SessionId) {
        self.coverage.add("cut by a firewall");
        if self.memory == Memory::None {
            return;
        }
        let Some(name) = self
            .instances
            .get(index)
            .map(|instance| instance.spec.name.clone())
        else {
            return;
        };
        let record = self
            .plane
            .machine
            .as_ref()
            .and_then(|machine| machine.lease_record(&name));
        let held = record.filter(|record| {
            record.session == *session
                && matches!(record.state, RecordedState::Held { closing: None })
        });
        if held.is_some() {
            self.violate("no needless cut", || {
                format!("the agent of {name} cuts {session}, whose lease is held")
            });
        }
    }

    pub(crate) fn audit_effect(&mut self, now: Time, effect: &Effect) {
        self.trace(|| format!("       -> {effect:?}"));
        match effect {
            Effect::Answer {
                request,
                session,
                outcome,
            } => self.audit_answer(now, *request, session, outcome),
            Effect::Agent { order, .. } => {
                self.coverage.add(match (&order.open, order.recycle) {
                    (_, true) => "order: recycle",
                    (Some(_), false) => "order: open",
                    (None, false) => "order: close",
                });
            }
            Effect::Commit(_) => self.coverage.add("commit"),
            Effect::Changed {
                instance,
                change,
                session,
                ..
            } => {
                self.coverage.add(change_label(*change));
                if matches!(change, Change::Adopted | Change::Reserved) {
                    self.audit_lease(now, instance);
                }
                self.audit.changed(instance, *change);
                if matches!(change, Change::Adopted | Change::Orphaned) {
                    self.audit.uncounted.insert(session.clone());
                }
            }
            Effect::Over(past) => self.audit_over(now, past),
        }
    }

    fn audit_answer(
        &mut self,
        now: Time,
        request: RequestId,
        session: &SessionId,
        outcome: &Outcome,
    ) {
        let waiting = self.audit.answered(request, session);
        match outcome {
            Outcome::Granted(grant) => {
                self.coverage.add("granted");
                let record = self
                    .plane
                    .machine
                    .as_ref()
                    .and_then(|machine| machine.lease_record(&grant.instance));
                let holds = record.is_some_and(|record| {
                    record.fence == grant.fence && record.session == *session
                });
                if !holds {
                    self.violate("I3", || {
                        format!("{session} is granted {grant:?}, which it does not have")
                    });
                }
            }
            Outcome::Refused(refusal) => {
                self.coverage.add(label(refusal));
                if let (Refusal::NoInstance { .. }, Some(waiting)) = (refusal, waiting) {
                    self.audit_no_instance(now, &waiting);
                }
            }
        }
    }

    /// An answer is given to its caller.
    pub(crate) fn audit_said(&mut self, session: &SessionId, outcome: &Outcome) {
        let Outcome::Granted(grant) = outcome else {
            return;
        };
        let earlier = self.audit.said.insert(session.clone(), grant.clone());
        if let Some(earlier) = earlier.filter(|earlier| earlier != grant) {
            self.violate("same answer", || {
                format!("{session} is granted {grant:?} after {earlier:?}")
            });
        }
        if self.memory == Memory::None {
            return;
        }
        let record = self
            .plane
            .machine
            .as_ref()
            .and_then(|machine| machine.lease_record(&grant.instance));
        let current = record.is_some_and(|record| record.fence == grant.fence);
        if current && !self.plane.store.has(&grant.instance, grant.fence) {
            self.violate("durable", || {
                format!("{session} is told of {grant:?} before it is durable")
            });
        }
    }

    fn audit_lease(&mut self, now: Time, instance: &InstanceName) {
        let record = self
            .plane
            .machine
            .as_ref()
            .and_then(|machine| machine.lease_record(instance));
        let Some(record) = record else {
            return;
        };
        let Some(earlier) = self.audit.leased(now, &record) else {
            return;
        };
        self.coverage.add(match record.pick.why {
            Why::Adopted => "why: adopted",
            Why::LeastRecentlyUsed => "why: least recently used",
            Why::Packed => "why: packed",
            Why::Resumed => "why: resumed",
            Why::Spread => "why: spread",
            Why::TookOver => "why: took over",
        });
        if record.pick.why == Why::Adopted {
            return;
        }
        let life = self.audit.life;
        let counts = |lease: &&Lease| self.memory == Memory::Journal || lease.life == life;
        let greatest = earlier.iter().filter(counts).map(|lease| lease.fence).max();
        if greatest >= Some(record.fence) {
            self.violate("fences grow", || {
                format!(
                    "{instance} is leased as {} after {greatest:?}",
                    record.fence
                )
            });
        }
        let before = earlier.last().map(|lease| &lease.session);
        if record.pick.why == Why::Resumed
            && let Some(before) = before.filter(|before| self.audit.terminated.contains(before))
        {
            let before = before.clone();
            self.violate("terminated", || {
                format!("{} resumes {before}", record.session)
            });
        }
        self.audit_grant(now, &record);
    }

    /// What a VM has just stated stands: none of it is taken for silent.
    pub(crate) fn check_heard(&mut self, sync: &Sync, closes: &[Close]) {
        let now = self.plane.time(self.now);
        let machine = self.plane.machine.as_ref().into_iter();
        let orphan = machine
            .flat_map(|machine| machine.sessions(now).collect::<Vec<_>>())
            .find(|view| {
                let stated = |reported: &ReportedSession| {
                    reported.session == view.session && reported.grant.is_some()
                };
                view.state == "orphaned"
                    && view.vm == sync.origin.vm
                    && sync.sessions.iter().flatten().any(stated)
            });
        let mut stated = sync.sessions.iter().flatten();
        let spared = stated.find(|reported| {
            reported.grant.is_some()
                && self.audit.terminated.contains(&reported.session)
                && !self.audit.over.contains(&reported.session)
                && closes.iter().all(|close| close.session != reported.session)
        });
        if let Some(spared) = spared {
            self.violate("terminated", || format!("{} is not closed", spared.session));
        }
        if let Some(orphan) = orphan {
            self.violate("heard", || {
                format!("{} is an orphan, though its VM has it", orphan.session)
            });
        }
    }

    fn audit_grant(&mut self, now: Time, record: &LeaseRecord) {
        let own = matches!(record.pick.why, Why::Resumed | Why::TookOver);
        let Some(waiting) = self.audit.waiting.get(&record.session).cloned() else {
            return self.violate("grants", || {
                format!("{} is granted something and does not wait", record.session)
            });
        };
        if let Some(lack) = self.lack(now, &waiting.acquire, &record.instance, own) {
            self.violate("grants", || {
                format!("{} is given {}: {lack}", record.session, record.instance)
            });
        }
        let views = self.views(now);
        if let Some(excess) = self.excess(&views, record, own) {
            self.violate("caps", || {
                format!("{} is given {}: {excess}", record.session, record.instance)
            });
        }
        if !own {
            self.audit_reserved(&views, &waiting, &record.instance);
            // Whose own has come free in a state they cannot be sent to gets another in its place.
            let in_its_place = self.audit.freed_now.contains(&record.owner.user);
            self.audit_turn(&views, &waiting, record, in_its_place);
        }
    }

    fn views(&self, now: Time) -> Vec<InstanceView> {
        let machine = self.plane.machine.as_ref().into_iter();
        machine
            .flat_map(|machine| machine.instances(now).collect::<Vec<_>>())
            .collect()
    }

    /// What the instance lacks for that request.
    fn lack(
        &self,
        now: Time,
        acquire: &Acquire,
        name: &InstanceName,
        own: bool,
    ) -> Option<&'static str> {
        let instance = self
            .instances
            .iter()
            .find(|instance| instance.spec.name == *name)?;
        let audit = &self.audit;
        let reached = audit.reach.get(&acquire.origin.node);
        let warm = |warm_at: &Time| now >= *warm_at;
        let agent = audit.agents_heard.get(name);
        // By the last time that the machine looked.
        let looked = self.plane.before_this;
        let silent = |heard: &Time| looked.since(*heard) >= TIMING.silent_after;
        let machine = self.plane.machine.as_ref()?;
        let lacks = [
            (machine.is_learning(), "nobody knows yet what is live"),
            (
                !reached.is_some_and(|reached| reached.contains(name)),
                "its proxy cannot be sent there",
            ),
            (instance.spec.pool != acquire.pool, "it is of another pool"),
            (instance.quarantined, "it is quarantined"),
            (instance.drained && !own, "it is draining"),
            (
                !audit.warm_at.get(name).is_some_and(warm),
                "it is not up and warm",
            ),
            (
                !own && !instance.spec.labels.satisfy(&acquire.labels),
                "it has not the labels",
            ),
            (
                instance.spec.agent && agent.is_none_or(silent),
                "its agent is away",
            ),
        ];
        let lack = lacks.into_iter().find(|(lacks, _)| *lacks);
        lack.map(|(_, lack)| lack)
    }

    pub(crate) fn policy(
        &self,
        pool: &crate::placement::PoolName,
    ) -> Option<&crate::placement::PoolPolicy> {
        let found = self.pools.iter().find(|(name, _)| name == pool);
        found.map(|(_, policy)| policy)
    }

    /// Which limit the grant breaks. What was learnt or came back was not granted, and rules may have changed while a
    /// session waited: only who came since then counts.
    fn excess(
        &self,
        views: &[InstanceView],
        record: &LeaseRecord,
        own: bool,
    ) -> Option<&'static str> {
        let policy = self.policy(&self.audit.waiting.get(&record.session)?.acquire.pool)?;
        if own || self.audit.rules_changed {
            return None;
        }
        let leases = views.iter().filter(|view| {
            Some(&view.pool)
                == views
                    .iter()
                    .find(|v| v.name == record.instance)
                    .map(|v| &v.pool)
        });
        // Those that came after it in the same call are not its fault.
        let leases: Vec<_> = leases
            .filter_map(|view| view.lease.as_ref())
            .filter(|lease| lease.fence <= record.fence)
            .collect();
        // Who comes again while their own cannot be had is given another, and the old one is closed.
        let machine = self.plane.machine.as_ref()?;
        let closing: Vec<SessionId> = views
            .iter()
            .filter_map(|view| machine.lease_record(&view.name))
            .filter(|record| matches!(record.state, RecordedState::Held { closing: Some(_) }))
            .map(|record| record.session)
            .collect();
        let live = |lease: &&&crate::placement::LeaseView| {
            matches!(
                lease.state,
                LeaseState::Active | LeaseState::Reserved { .. }
            ) && !self.audit.uncounted.contains(&lease.session)
                && !closing.contains(&lease.session)
        };
        let above = |count: usize, limit: Option<u32>| {
            limit.is_some_and(|limit| u32::try_from(count).is_ok_and(|count| count > limit))
        };
        let of_user = leases
            .iter()
            .filter(live)
            .filter(|lease| lease.owner.user == record.owner.user);
        let of_tenant = leases
            .iter()
            .filter(live)
            .filter(|lease| lease.owner.tenant == record.owner.tenant);
        let tenant = policy.tenants.get(&record.owner.tenant);
        let tenant = tenant.and_then(|tenant| tenant.max_sessions);
        if above(leases.len(), policy.max_sessions) {
            Some("the pool has too many")
        } else if above(of_user.count(), policy.max_sessions_per_user) {
            Some("its user has too many")
        } else if above(of_tenant.count(), tenant.or(policy.max_sessions_per_tenant)) {
            Some("its tenant has too many")
        } else {
            None
        }
    }

    /// What is left after the grant is enough for those for whom it is kept.
    fn audit_reserved(&mut self, views: &[InstanceView], waiting: &Waiting, given: &InstanceName) {
        let acquire = &waiting.acquire;
        let Some(policy) = self.policy(&acquire.pool) else {
            return;
        };
        let of_pool: Vec<&InstanceView> = views
            .iter()
            .filter(|view| view.pool == acquire.pool)
            .collect();
        let leased_by = |tenant: &str| {
            let owners = of_pool
                .iter()
                .filter_map(|view| self.audit.taken.get(&view.name));
            let count = owners.filter(|owner| &*owner.tenant == tenant);
            u32::try_from(count.count()).unwrap_or(u32::MAX)
        };
        let kept: u32 = policy
            .tenants
            .iter()
            .filter(|(tenant, _)| **tenant != acquire.owner.tenant)
            .map(|(tenant, policy)| policy.reserved.saturating_sub(leased_by(tenant)))
            .sum();
        let left = of_pool
            .iter()
            .filter(|view| !self.audit.taken.contains_key(&view.name) && view.name != *given)
            .filter(|view| view.up && !view.draining && !view.quarantined)
            .count();
        if usize::try_from(kept).is_ok_and(|kept| left < kept) {
            let session = acquire.session.clone();
            self.violate("reserved", || {
                format!("{session} is given what is kept: {left} left of {kept}")
            });
        }
    }

    /// Nobody who waits and could have been given it should have been served before.
    fn audit_turn(
        &mut self,
        views: &[InstanceView],
        served: &Waiting,
        record: &LeaseRecord,
        in_its_place: bool,
    ) {
        let instance = &record.instance;
        let queued = !record.pick.waited.is_zero();
        let (acquire, tenant) = (&served.acquire, &served.acquire.owner.tenant);
        let turn = Turn {
            pool: acquire.pool.clone(),
            priority: acquire.priority.0,
            tenant: tenant.clone(),
            arrivals: self.audit.arrivals(),
            sure: !in_its_place,
        };
        let of_level = |other: &Turn| other.pool == turn.pool && other.priority == turn.priority;
        let last = |tenant: &str, sure: bool| {
            let turns = self.audit.turns.iter().rev();
            let mut turns = turns.filter(|other| of_level(other));
            turns.find(|other| &*other.tenant == tenant && (other.sure || !sure))
        };
        let last_of = |tenant: &str| last(tenant, false).map_or(0, |turn| turn.arrivals);
        let previous = last(tenant, true).map_or(0, |turn| turn.arrivals);
        let passed_over = self.audit.waiting.values().find(|other| {
            let wanted = &other.acquire;
            let same_pool = wanted.pool == acquire.pool && wanted.session != acquire.session;
            if !same_pool || !self.could_have(views, other, served, instance) {
                return false;
            }
            let mate = wanted.owner.tenant == *tenant;
            wanted.priority > acquire.priority
                || wanted.priority == acquire.priority && mate && other.order < served.order
                || wanted.priority == acquire.priority
                    && !mate
                    && queued
                    && self.equal_tenants(acquire)
                    && previous > last_of(&wanted.owner.tenant)
                    && other.order <= previous
        });
        if let Some(other) = passed_over.filter(|_| !in_its_place) {
            let other = other.acquire.session.clone();
            let session = acquire.session.clone();
            self.violate("turns", || {
                format!("{session} is given {instance} before {other}")
            });
        }
        if queued {
            self.audit.turns.push(turn);
        }
    }

    /// Nothing is kept for any tenant, nor is any limited, so that all of them take turns.
    fn equal_tenants(&self, acquire: &Acquire) -> bool {
        self.policy(&acquire.pool).is_some_and(|policy| {
            policy.tenants.is_empty() && policy.max_sessions_per_tenant.is_none()
        })
    }

    /// Whether the other one could have been served with what `served` was: it asks alike and nothing else is in its way.
    fn could_have(
        &self,
        views: &[InstanceView],
        other: &Waiting,
        served: &Waiting,
        instance: &InstanceName,
    ) -> bool {
        let (wanted, acquire) = (&other.acquire, &served.acquire);
        let alike = wanted.labels == acquire.labels
            && wanted.origin.node == acquire.origin.node
            && (wanted.owner.tenant == acquire.owner.tenant || self.equal_tenants(acquire));
        let now = self.plane.time(self.now);
        let speaks = self.audit.unheard(now, &wanted.origin.vm) < TIMING.silent_after;
        let given = views.iter().any(|view| {
            view.name == *instance
                && view
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.session == acquire.session)
        });
        alike && speaks && !has_any(views, wanted) && given && !self.is_opening(&wanted.session)
    }

    /// It has an instance already, of which it will be told.
    pub(crate) fn is_opening(&self, session: &SessionId) -> bool {
        let now = self.plane.time(self.now);
        let machine = self.plane.machine.as_ref();
        let mut sessions = machine
            .into_iter()
            .flat_map(|machine| machine.sessions(now));
        sessions.any(|view| view.session == *session && view.instance.is_some())
    }

    /// Somebody is told that there is nothing: is there?
    fn audit_no_instance(&mut self, now: Time, waiting: &Waiting) {
        let acquire = &waiting.acquire;
        let equal = self.equal_tenants(acquire);
        let Some(policy) = self.policy(&acquire.pool) else {
            return;
        };
        let learning = self
            .plane
            .machine
            .as_ref()
            .is_some_and(crate::placement::Placement::is_learning);
        if learning || !equal || policy.max_sessions.is_some() {
            return;
        }
        let views = self.views(now);
        // Who has something of their own waits for that.
        if has_any(&views, acquire) {
            return;
        }
        // What has become possible just now is looked at just now.
        let earlier = self.plane.before_this;
        let idle = views.iter().find(|view| {
            view.lease.is_none()
                && view.pool == acquire.pool
                && self.lack(earlier, acquire, &view.name, false).is_none()
                && !self.audit.taken.contains_key(&view.name)
                && self.is_settled(&view.name)
        });
        if let Some(idle) = idle {
            let (session, name) = (acquire.session.clone(), idle.name.clone());
            self.violate("nothing idle", || {
                format!("{session} gets nothing while {name} is free")
            });
        }
    }

    /// Nothing that the machine has not been told, or has not told, keeps the instance from being given away.
    fn is_settled(&self, name: &InstanceName) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.spec.name == *name && !instance.spec.agent)
    }

    fn audit_over(&mut self, now: Time, past: &PastSession) {
        self.coverage.add(match past.end {
            End::Ended(cause) => ended_label(cause),
            End::Closed(_) => "over: closed",
            End::GivenUp => "over: given up",
        });
        let session = &past.acquire.session;
        if self.audit.over.insert(session.clone()) {
            self.coverage.add("over");
        }
        let fault = match past.end {
            End::GivenUp => {
                let vm = self.audit.vm_of(&past.instance, session);
                let unheard = vm.map(|vm| self.audit.unheard(now, &vm));
                self.audit.given_up(session, unheard.unwrap_or_default());
                (unheard < Some(ORPHAN_AFTER)).then_some("its VM was heard of")
            }
            _ if self.has_agent(&past.instance) => None,
            _ => self.is_with_a_vm(session).then_some("its VM has it"),
        };
        if let Some(fault) = fault {
            self.violate("no needless end", || {
                format!("{session} is over ({:?}), but {fault}", past.end)
            });
        }
    }

    fn has_agent(&self, name: &InstanceName) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.spec.name == *name && instance.spec.agent)
    }

    fn is_with_a_vm(&self, session: &SessionId) -> bool {
        let mut vms = self.proxies.iter().flat_map(|proxy| &proxy.vms);
        vms.any(|vm| {
            vm.streams
                .get(session)
                .is_some_and(|stream| stream.phase.grant().is_some())
        })
    }

    /// A VM is told to close a session for its fence: that needs a reason in the past.
    pub(crate) fn check_close(&mut self, session: &SessionId, reason: CloseReason) {
        self.coverage.add(close_label(reason));
        if reason == CloseReason::Fenced
            && self.memory == Memory::Journal
            && !self.audit.over.contains(session)
        {
            self.violate("no needless cut", || {
                format!("{session} is to be closed for its fence, and was never over")
            });
        }
    }

    /// Nobody waits for longer than the longest hold there was, or for longer than an agent is given to open.
    pub(crate) fn check_patience(&mut self) {
        let (now, lateness) = (self.plane.time(self.now), self.plane.lateness);
        let late = self
            .audit
            .waiting
            .values()
            .find(|waiting| now > waiting.hold_until.after(lateness));
        let Some(late) = late.cloned() else {
            return;
        };
        let session = &late.acquire.session;
        let opening = self.is_opening(session);
        if !opening || now > late.hold_until.after(TIMING.agent_within + lateness) {
            self.violate("patience", || {
                format!("{session} waits since {:?}", late.since)
            });
        }
    }

    /// I2: everybody has left.
    pub(crate) fn check_quiet(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let now = self.plane.time(self.now);
        let streams: usize = self
            .instances
            .iter()
            .map(|instance| instance.streams.len())
            .sum();
        let busy = self.proxies.iter().flat_map(|proxy| &proxy.vms);
        let busy = busy.filter(|vm| !vm.is_idle()).count();
        if streams + busy > 0 {
            return self.violate("quiet", || {
                format!("{streams} streams and {busy} VMs are left in the world")
            });
        }
        let Some(machine) = self.plane.machine.as_ref() else {
            return self.violate("quiet", || "the control plane does not run".to_owned());
        };
        let leases: Vec<_> = machine
            .instances(now)
            .filter_map(|view| Some((view.name, view.lease?.state)))
            .collect();
        let (waiting, idle) = (machine.waiting(), machine.is_idle());
        if !leases.is_empty() || waiting > 0 || !idle {
            return self.violate("I2", || {
                format!("left: {leases:?}, {waiting} waiting, idle: {idle}")
            });
        }
        if !self.plane.store.is_empty() {
            self.violate("I2", || "leases are left in the journal".to_owned());
        }
    }

    /// I2, of what an instance is for: each can be had again.
    pub(crate) fn check_usable(&mut self) {
        let names: Vec<InstanceName> = self
            .instances
            .iter()
            .filter(|instance| !instance.drained && !instance.quarantined)
            .map(|instance| instance.spec.name.clone())
            .collect();
        for name in &names {
            if self.violation.is_some() {
                return;
            }
            if let Err(refusal) = self.can_be_had(&names, name) {
                self.violate("I2", || format!("nobody can be given {name}: {refusal:?}"));
            }
        }
    }

    /// Whether somebody who has nothing would be given this one, were it the only one.
    fn can_be_had(&mut self, all: &[InstanceName], name: &InstanceName) -> Result<(), Refusal> {
        let now = self.plane.time(self.now);
        let node = self.proxies.iter().find(|proxy| {
            let reached = self.audit.reach.get(&proxy.node);
            reached.is_some_and(|reached| reached.contains(name))
        });
        let instance = self
            .instances
            .iter()
            .find(|instance| instance.spec.name == *name);
        let (Some(node), Some(instance)) = (node, instance) else {
            return Ok(());
        };
        let policy = self.policy(&instance.spec.pool);
        if policy.is_none_or(|policy| !policy.tenants.is_empty()) {
            return Ok(());
        }
        let acquire = Acquire {
            origin: Origin {
                node: node.node.clone(),
                vm: "somebody".into(),
                sequence: 1,
            },
            session: "somebody".into(),
            pool: instance.spec.pool.clone(),
            owner: super::operator::owner(0),
            client_address: "192.0.2.0".into(),
            priority: Priority(0),
            labels: super::operator::labels(false),
        };
        let Some(machine) = self.plane.machine.as_mut() else {
            return Ok(());
        };
        for other in all {
            machine.set_quarantined(now, other, other != name);
        }
        machine.check(now, &acquire)
    }

    /// I2, of what is remembered.
    pub(crate) fn check_forgotten(&mut self) {
        let known = self
            .plane
            .machine
            .as_ref()
            .map_or(0, crate::placement::Placement::known_vms);
        if known > 0 && self.violation.is_none() {
            self.violate("I2", || format!("{known} VMs are remembered for ever"));
        }
    }

    /// Mild schedules have no fault that excuses anything.
    pub(crate) fn check_mild(&mut self) {
        let excused = self
            .coverage
            .iter()
            .find(|(what, _)| what.starts_with("overlap"));
        if let (Severity::Mild, Some((what, _))) = (self.severity, excused) {
            self.violate("I1", || format!("{what}, where nothing excuses it"));
        }
        debug_assert!(
            SETTLE > Duration::from_millis(5),
            "ends reach instances in it"
        );
    }
}

fn has_any(views: &[InstanceView], acquire: &Acquire) -> bool {
    let mut leases = views.iter().filter_map(|view| view.lease.as_ref());
    leases.any(|lease| lease.owner.user == acquire.owner.user)
}

fn change_label(change: Change) -> &'static str {
    match change {
        Change::Activated => "lease: activated",
        Change::Adopted => "lease: adopted",
        Change::Ended {
            resumable: true, ..
        } => "lease: ended, resumable",
        Change::Ended {
            resumable: false, ..
        } => "lease: ended",
        Change::Freed => "lease: freed",
        Change::Orphaned => "lease: orphaned",
        Change::Reclaimed => "lease: reclaimed",
        Change::ReleasedOrphan => "lease: given up",
        Change::Reserved => "lease: reserved",
    }
}

fn ended_label(cause: EndCause) -> &'static str {
    match cause {
        EndCause::Berth => "over: berth",
        EndCause::Client => "over: client",
        EndCause::Instance => "over: instance",
        EndCause::NotEstablished => "over: not established",
        EndCause::Unlisted => "over: unlisted",
    }
}

fn close_label(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Expired => "close: expired",
        CloseReason::Fenced => "close: fenced",
        CloseReason::Resumed => "close: resumed",
        CloseReason::TakenOver => "close: taken over",
        CloseReason::Terminated => "close: terminated",
        CloseReason::TooSlow => "close: too slow",
    }
}
