//! The invariants, by what is true at the instances and by what the machine was told.

use std::time::Duration;

use super::audit::{Lease, Waiting};
use super::network::Connect;
use super::vm::label;
use super::{ORPHAN_AFTER, TIMING, World};
use crate::placement::{
    Change, Close, CloseReason, Effect, End, EndCause, Fence, InstanceName, Outcome, PastSession,
    RecordedState, Refusal, ReportedSession, RequestId, SessionId, Sync, Time, Why,
};
use crate::schedule::Memory;

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
            Effect::Commit(_) | Effect::CommitRevocation(_) => self.coverage.add("commit"),
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
                let window = self.window_of(instance);
                self.audit.changed(now, instance, *change, window);
                if matches!(change, Change::Adopted | Change::Orphaned) {
                    self.audit.uncounted.insert(session.clone());
                }
            }
            Effect::Over(past) => self.audit_over(now, past),
        }
    }

    pub(crate) fn window_of(&self, instance: &InstanceName) -> Duration {
        let mut instances = self.instances.iter();
        let instance = instances.find(|known| known.spec.name == *instance);
        let policy = instance.and_then(|instance| self.policy(&instance.spec.pool));
        policy.map_or(Duration::ZERO, |policy| policy.resume_window)
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
                self.audit_granted_though_revoked(now, session);
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
                match (refusal, waiting) {
                    (Refusal::NoInstance { .. }, Some(waiting)) => {
                        self.audit_no_instance(now, &waiting);
                    }
                    (Refusal::Cancelled, Some(waiting)) => self.audit_cancelled(now, &waiting),
                    (Refusal::Revoked, _) => self.audit_refused_as_revoked(now, session),
                    _ => {}
                }
            }
        }
    }

    /// Somebody is told that they have gone: have they?
    fn audit_cancelled(&mut self, now: Time, waiting: &Waiting) {
        let session = &waiting.acquire.session;
        let silent = self.audit.unheard(now, &waiting.acquire.origin.vm) >= TIMING.silent_after;
        if !silent && !self.audit.ended_told.contains(session) {
            self.violate("no needless refusal", || {
                format!("{session} is cancelled, and still asks")
            });
        }
    }

    /// Its firewall turns a session away: the machine must not think that it has been opened.
    pub(crate) fn check_turned_away(&mut self, index: usize, session: &SessionId) {
        self.coverage.add("turned away by a firewall");
        let Some(instance) = self.instances.get(index) else {
            return;
        };
        let name = instance.spec.name.clone();
        let machine = self.plane.machine.as_ref();
        let record = machine.and_then(|machine| machine.lease_record(&name));
        let held = record.is_some_and(|record| {
            record.session == *session
                && matches!(record.state, RecordedState::Held { closing: None })
        });
        if held && !instance.firewall_lost && self.memory == Memory::Journal {
            self.violate("firewall", || {
                format!("{session} is sent to {name} before it is let through")
            });
        }
    }

    /// An answer is given to its caller.
    pub(crate) fn audit_said(&mut self, session: &SessionId, outcome: &Outcome) {
        let Outcome::Granted(grant) = outcome else {
            return;
        };
        let earlier = self.audit.said(session, grant);
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
        if record.pick.why == Why::Resumed
            && let Some(before) = before.filter(|before| self.audit.revocations.of(now, before))
        {
            let before = before.clone();
            self.violate("revoked", || format!("{} resumes {before}", record.session));
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
                    reported.session == view.session && reported.lease.is_some()
                };
                view.state == "orphaned"
                    && view.vm == sync.origin.vm
                    && sync.sessions.iter().flatten().any(stated)
            });
        let mut stated = sync.sessions.iter().flatten();
        let spared = stated.find(|reported| {
            reported.lease.is_some()
                && self.audit.terminated.contains(&reported.session)
                && !self.audit.over.contains(&reported.session)
                && closes.iter().all(|close| close.session != reported.session)
        });
        if let Some(spared) = spared {
            self.violate("terminated", || format!("{} is not closed", spared.session));
        }
        self.check_revoked_closed(sync, closes);
        if let Some(orphan) = orphan {
            self.violate("heard", || {
                format!("{} is an orphan, though its VM has it", orphan.session)
            });
        }
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
            _ if self.has_agent(&past.instance) => {
                self.audit.over_by_evidence(session);
                None
            }
            // Of two that say so after a start without a journal, it is the one that was granted earlier.
            End::Ended(EndCause::Berth) if self.gave_way(past) => None,
            _ => self.is_with_a_vm(session).then_some("its VM has it"),
        };
        if let Some(fault) = fault {
            self.violate("no needless end", || {
                format!("{session} is over ({:?}), but {fault}", past.end)
            });
        }
    }

    fn gave_way(&self, past: &PastSession) -> bool {
        let mut leases = self.audit.leases.get(&past.instance).into_iter().flatten();
        self.memory == Memory::None && leases.any(|lease| lease.fence > past.fence)
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
        EndCause::MaxAge => "over: max age",
        EndCause::NotEstablished => "over: not established",
        EndCause::TokenExpired => "over: token expired",
        EndCause::Unlisted => "over: unlisted",
    }
}

fn close_label(reason: CloseReason) -> &'static str {
    match reason {
        CloseReason::Expired => "close: expired",
        CloseReason::Fenced => "close: fenced",
        CloseReason::Resumed => "close: resumed",
        CloseReason::Revoked => "close: revoked",
        CloseReason::TakenOver => "close: taken over",
        CloseReason::Terminated => "close: terminated",
        CloseReason::TooSlow => "close: too slow",
    }
}
