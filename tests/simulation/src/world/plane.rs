//! The control plane around the machine: its clock, its journal, and what waits until that is durable.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Duration;

use super::network::{AgentEvent, Event, Link, Place, PlaneEvent, ProxyEvent};
use super::store::Store;
use super::vm::{CallNo, Reply};
use super::{TIMING, World};
use crate::placement::{
    AgentOrder, AgentReport, Close, Effect, InstanceName, Outcome, Placement, RequestId,
    RevocationId, SessionId, Time,
};
use crate::schedule::Memory;

#[derive(Debug)]
pub(crate) struct Plane {
    /// `None` while its process does not run.
    pub(crate) machine: Option<Placement>,
    /// How often it was started.
    pub(crate) life: u64,
    term: u64,
    pub(crate) store: Store,
    pub(crate) paused_until: Time,
    deferred: Vec<PlaneEvent>,
    /// How long it has stood still, in milliseconds, less how far its clock has jumped ahead.
    lag: i64,
    /// How far the wall clock leads its clock, in milliseconds.
    pub(crate) wall_lead: i64,
    /// Until when writing takes long.
    pub(crate) stalled_until: Time,
    /// When it was last called, and when it was last called before that moment.
    latest: Time,
    pub(crate) before_this: Time,
    /// How late it is for what is due.
    pub(crate) lateness: Duration,
    outbox: VecDeque<(u64, Out)>,
    requests: BTreeMap<RequestId, Caller>,
    next_request: u64,
}

#[derive(Clone, Debug)]
struct Caller {
    place: Place,
    call: CallNo,
    session: SessionId,
}

/// What is said once all that came before it is durable.
#[derive(Debug)]
pub(crate) enum Out {
    Answer(RequestId, SessionId, Outcome),
    Sync(Place, Option<CallNo>, Vec<Close>),
    Agent(InstanceName, AgentOrder),
    /// The operator is told that something is revoked.
    Revoked(RevocationId),
    /// The operator is told that a revocation is lifted.
    Lifted(RevocationId),
    /// The operator is told that the session is to end.
    Terminated(SessionId),
}

impl Plane {
    pub(crate) fn new(lateness: Duration) -> Self {
        Self {
            machine: None,
            life: 0,
            term: 0,
            store: Store::default(),
            paused_until: Time::default(),
            deferred: Vec::new(),
            lag: 0,
            wall_lead: 0,
            stalled_until: Time::default(),
            latest: Time::default(),
            before_this: Time::default(),
            lateness,
            outbox: VecDeque::new(),
            requests: BTreeMap::new(),
            next_request: 0,
        }
    }

    /// The machine's time.
    pub(crate) fn time(&self, now: Time) -> Time {
        shift(now, -self.lag)
    }

    /// When the machine has to be woken.
    pub(crate) fn wakes_at(&self, now: Time) -> Option<Time> {
        if now < self.paused_until {
            return None;
        }
        let due = self.machine.as_ref()?.next_timeout()?;
        if due == Time::NEVER {
            return None;
        }
        Some(shift(due, self.lag).after(self.lateness))
    }

    /// It does something at that moment.
    fn attend(&mut self, now: Time) {
        if now > self.latest {
            self.before_this = self.latest;
            self.latest = now;
        }
    }

    fn end_pause(&mut self, now: Time) {
        let left = millis(self.paused_until.since(now));
        self.lag -= left;
        self.wall_lead -= left;
        self.paused_until = self.paused_until.min(now);
    }

    pub(crate) fn jump(&mut self, by: Duration) {
        self.lag -= millis(by);
        self.wall_lead -= millis(by);
    }
}

impl World {
    pub(crate) fn plane_starts(&mut self) {
        if self.plane.machine.is_some() {
            return;
        }
        self.plane.life += 1;
        self.plane.term = match (self.memory, self.random.below(2)) {
            (Memory::Journal, _) => self.plane.term + 1,
            // Without a journal nobody knows which terms were used.
            (Memory::None, 0) => self.plane.term.max(1),
            (Memory::None, _) => self.plane.term + 1,
        };
        let seed = self.random.next();
        let now = self.plane.time(self.now);
        let mut machine = Placement::new(TIMING, self.plane.term, seed, now);
        for (name, policy) in &self.pools {
            machine.set_pool(now, name.clone(), policy.clone());
        }
        for instance in &self.instances {
            machine.add_instance(now, instance.spec.clone());
        }
        if self.memory == Memory::Journal && self.plane.life > 1 {
            let revocations = self.plane.store.load_revocations(self.plane.wall_lead);
            self.audit_restored(now, &revocations);
            machine.restore_revocations(now, revocations);
            let leases = self.plane.store.load(self.plane.wall_lead);
            if !leases.is_empty() {
                self.coverage.add("restored leases");
            }
            self.audit.restored(&leases, now);
            for lease in &leases {
                let window = self.window_of(&lease.instance);
                self.audit.window_restored(now, lease, window);
            }
            self.audit.end_windows_of_revoked(now);
            machine.restore(now, leases);
        } else {
            self.audit.started_empty();
            for instance in &mut self.instances {
                instance.drained = false;
                instance.quarantined = false;
            }
        }
        for instance in &self.instances {
            machine.set_draining(now, &instance.spec.name, instance.drained);
            machine.set_quarantined(now, &instance.spec.name, instance.quarantined);
        }
        for proxy in &self.proxies {
            machine.set_zone(proxy.node.clone(), proxy.zone.clone());
        }
        self.plane.machine = Some(machine);
        self.after_call();
        for index in 0..self.instances.len() {
            self.probe_soon(index);
        }
        for index in 0..self.proxies.len() {
            self.tell_reach_later(index);
        }
    }

    pub(crate) fn plane_crashes(&mut self, down: Duration) {
        if self.plane.machine.take().is_none() {
            return;
        }
        let reached_disk = self.random.percent(50);
        self.plane.end_pause(self.now);
        let plane = &mut self.plane;
        plane.store.crash(reached_disk, plane.wall_lead);
        plane.outbox.clear();
        plane.deferred.clear();
        plane.requests.clear();
        self.audit.crashed();
        let at = self.now.after(down);
        self.network.schedule(at, Event::PlaneStarts);
    }

    pub(crate) fn plane_pauses(&mut self, span: Duration) {
        let until = self.now.after(span);
        if self.plane.machine.is_some() && self.plane.paused_until <= self.now {
            self.plane.paused_until = until;
            self.plane.lag += millis(span);
            self.plane.wall_lead += millis(span);
            self.network.schedule(until, Event::PlaneResumes);
        }
    }

    pub(crate) fn plane_resumes_early(&mut self) {
        self.plane.end_pause(self.now);
        self.plane_resumes();
    }

    pub(crate) fn plane_resumes(&mut self) {
        for event in std::mem::take(&mut self.plane.deferred) {
            self.network.schedule(self.now, Event::Plane(event));
        }
    }

    pub(crate) fn plane_event(&mut self, event: PlaneEvent) {
        if self.plane.machine.is_none() {
            return self.nobody_listens(event);
        }
        if self.now < self.plane.paused_until {
            self.plane.deferred.push(event);
            return;
        }
        match event {
            PlaneEvent::Acquire(place, call, acquire) => {
                self.plane.next_request += 1;
                let request = RequestId(self.plane.next_request);
                let caller = Caller {
                    place,
                    call,
                    session: acquire.session.clone(),
                };
                self.plane.requests.insert(request, caller);
                let now = self.plane.time(self.now);
                self.audit.asked(now, request, &acquire);
                self.call(|machine, now| machine.acquire(now, request, acquire));
            }
            PlaneEvent::Sync(place, call, sync) => {
                let now = self.plane.time(self.now);
                self.audit.heard_sync(now, &sync);
                let news = self.audit.is_news(&sync);
                let stated = news.then(|| sync.clone());
                let closes = self.call(|machine, now| machine.sync(now, sync));
                let closes = closes.unwrap_or_default();
                if let Some(stated) = stated {
                    self.check_heard(&stated, &closes);
                }
                for close in &closes {
                    self.check_close(&close.session, close.reason);
                }
                self.put_out(Out::Sync(place, call, closes));
            }
            PlaneEvent::Broken(place, call) => self.calls_break(place, call),
            PlaneEvent::AgentReport(index, report) => self.agent_is_heard(index, report),
            PlaneEvent::Probe(index) => {
                let Some(instance) = self.instances.get(index) else {
                    return;
                };
                let (name, up) = (instance.spec.name.clone(), instance.probe_passes(self.now));
                let warm_up = self
                    .policy(&instance.spec.pool)
                    .map(|policy| policy.warm_up);
                let warm_at = self.plane.time(self.now).after(warm_up.unwrap_or_default());
                self.audit.probed(warm_at, &name, up);
                self.call(|machine, now| machine.set_up(now, &name, up));
            }
            PlaneEvent::Reach(index) => {
                let Some(proxy) = self.proxies.get(index) else {
                    return;
                };
                let node = proxy.node.clone();
                let reached = |index: &usize| {
                    let instance = self.instances.get(*index)?;
                    Some(instance.spec.name.clone())
                };
                let reach: HashSet<InstanceName> = proxy.reach.iter().filter_map(reached).collect();
                let before = self.audit.reaches(&node, &reach);
                let gained: Vec<_> = reach.difference(&before).cloned().collect();
                let lost: Vec<_> = before.difference(&reach).cloned().collect();
                self.call(|machine, now| machine.change_reach(now, &node, &gained, &lost));
            }
            PlaneEvent::FlushStarts(life) => self.flush_starts(life),
            PlaneEvent::FlushEnds(life) if life == self.plane.life => {
                self.plane.store.end_flush(self.plane.wall_lead);
                self.say();
            }
            PlaneEvent::FlushEnds(_) => {}
        }
    }

    /// The connection is refused: the caller knows at once.
    fn nobody_listens(&mut self, event: PlaneEvent) {
        match event {
            PlaneEvent::Acquire(place, call, _) | PlaneEvent::Sync(place, Some(call), _) => {
                self.send_vm(place, call, None);
            }
            PlaneEvent::Reach(index) => self.tell_reach_later(index),
            _ => {}
        }
    }

    fn agent_is_heard(&mut self, index: usize, report: AgentReport) {
        let Some(instance) = self.instances.get(index) else {
            return;
        };
        let name = instance.spec.name.clone();
        let now = self.plane.time(self.now);
        self.audit.heard_agent(now, &name);
        let order = self.call(|machine, now| machine.agent(now, &name, report));
        if let Some(order) = order.flatten() {
            self.put_out(Out::Agent(name, order));
        }
    }

    fn calls_break(&mut self, place: Place, call: Option<CallNo>) {
        let broken: Vec<(RequestId, SessionId)> = self
            .plane
            .requests
            .iter()
            .filter(|(_, caller)| {
                caller.place == place && call.is_none_or(|call| call == caller.call)
            })
            .map(|(request, caller)| (*request, caller.session.clone()))
            .collect();
        for (request, session) in broken {
            self.coverage.add("call broken");
            self.audit.cancelled(request, &session);
            self.call(|machine, now| machine.cancel(now, request, &session));
        }
    }

    /// Has the machine do something, and takes what it wants done.
    pub(crate) fn call<T>(&mut self, ask: impl FnOnce(&mut Placement, Time) -> T) -> Option<T> {
        let now = self.plane.time(self.now);
        self.plane.attend(now);
        self.audit.freed_now.clear();
        let answer = ask(self.plane.machine.as_mut()?, now);
        self.after_call();
        Some(answer)
    }

    /// What is due is done before the next event.
    pub(crate) fn after_call(&mut self) {
        let now = self.plane.time(self.now);
        self.plane.attend(now);
        self.take_effects(now);
        self.audit.freed_now.clear();
        if let Some(machine) = self.plane.machine.as_mut() {
            machine.advance(now);
        }
        self.take_effects(now);
        self.audit.check_windows();
        self.check_patience();
        self.say();
    }

    fn take_effects(&mut self, now: Time) {
        while let Some(machine) = self.plane.machine.as_mut()
            && let Some(effect) = machine.poll_effect()
        {
            self.audit_effect(now, &effect);
            match effect {
                Effect::Answer {
                    request,
                    session,
                    outcome,
                } => self.put_out(Out::Answer(request, session, outcome)),
                Effect::Agent { instance, order } => self.put_out(Out::Agent(instance, order)),
                Effect::Commit(instance) => {
                    if self.memory == Memory::Journal {
                        self.plane.store.append(instance);
                        self.flush_soon();
                    }
                }
                Effect::CommitRevocation(id) => {
                    if self.memory == Memory::Journal {
                        self.plane.store.append_revocation(id);
                        self.flush_soon();
                    }
                }
                Effect::Changed { .. } | Effect::Over(_) => {}
            }
        }
    }

    fn flush_soon(&mut self) {
        if self.plane.store.wants_flush() {
            let at = self.now.after(self.random.millis(0..5));
            let event = PlaneEvent::FlushStarts(self.plane.life);
            self.network.schedule(at, Event::Plane(event));
        }
    }

    fn flush_starts(&mut self, life: u64) {
        let plane = &mut self.plane;
        let Some(machine) = plane.machine.as_ref() else {
            return;
        };
        if life != plane.life || !plane.store.wants_flush() {
            return;
        }
        plane.store.start_flush(machine);
        let at = plane
            .stalled_until
            .max(self.now)
            .after(self.random.millis(1..25));
        let event = PlaneEvent::FlushEnds(life);
        self.network.schedule(at, Event::Plane(event));
    }

    pub(crate) fn put_out(&mut self, out: Out) {
        let after = self.plane.store.appended();
        self.plane.outbox.push_back((after, out));
        self.say();
    }

    /// Says what may be said.
    fn say(&mut self) {
        let written = self.plane.store.written();
        while let Some((_, out)) = self
            .plane
            .outbox
            .pop_front_if(|(after, _)| *after <= written)
        {
            match out {
                Out::Answer(request, session, outcome) => {
                    self.audit_said(&session, &outcome);
                    let now = self.plane.time(self.now);
                    let age_left = match (&outcome, &self.plane.machine) {
                        (Outcome::Granted(grant), Some(machine)) => machine.age_left(now, grant),
                        _ => None,
                    };
                    if let Some(caller) = self.plane.requests.remove(&request) {
                        let reply = Reply::Acquire(outcome, age_left);
                        self.send_vm(caller.place, caller.call, Some(reply));
                    }
                }
                Out::Sync(place, Some(call), closes) => {
                    self.send_vm(place, call, Some(Reply::Sync(closes)));
                }
                Out::Sync(_, None, _) => {}
                Out::Agent(instance, order) => self.send_agent(&instance, order),
                Out::Revoked(id) => self.operator_is_told(id, false),
                Out::Lifted(id) => self.operator_is_told(id, true),
                Out::Terminated(session) => {
                    self.audit.terminated.insert(session);
                }
            }
        }
        self.flush_soon_if_wanted();
    }

    fn flush_soon_if_wanted(&mut self) {
        if self.plane.machine.is_some() {
            self.flush_soon();
        }
    }

    fn send_vm(&mut self, place: Place, call: CallNo, reply: Option<Reply>) {
        let link = Link::ProxyPlane(place.proxy);
        let Some(delay) = self.network.delay(link, &mut self.random, self.now) else {
            self.coverage.add("message lost");
            return;
        };
        let event = ProxyEvent::Answered(place, call, reply);
        let event = Event::Proxy(place.proxy, place.process, event);
        self.network.schedule(self.now.after(delay), event);
    }

    fn send_agent(&mut self, instance: &InstanceName, order: AgentOrder) {
        let Some(index) = self.instance_index(instance) else {
            return;
        };
        let link = Link::AgentPlane(index);
        let Some(delay) = self.network.delay(link, &mut self.random, self.now) else {
            return;
        };
        let Some(agent) = self
            .instances
            .get(index)
            .and_then(|instance| instance.agent.as_ref())
        else {
            return;
        };
        let event = Event::Agent(index, agent.incarnation, AgentEvent::Order(order));
        self.network.schedule(self.now.after(delay), event);
    }

    pub(crate) fn tell_plane_of_agent(&mut self, index: usize, report: AgentReport) {
        let link = Link::AgentPlane(index);
        if let Some(delay) = self.network.delay(link, &mut self.random, self.now) {
            let event = PlaneEvent::AgentReport(index, report);
            self.network
                .schedule(self.now.after(delay), Event::Plane(event));
        }
    }

    /// A probe finds out what has changed.
    pub(crate) fn probe_soon(&mut self, index: usize) {
        let at = self.now.after(self.random.millis(20..2_000));
        self.network
            .schedule(at, Event::Plane(PlaneEvent::Probe(index)));
    }

    /// The sessions the machine knows, in a fixed order.
    pub(crate) fn known_sessions(&self) -> Vec<SessionId> {
        let Some(machine) = self.plane.machine.as_ref() else {
            return Vec::new();
        };
        let sessions = machine.sessions(self.plane.time(self.now));
        let mut known: Vec<SessionId> = sessions.map(|view| view.session).collect();
        known.sort();
        known
    }
}

fn shift(time: Time, millis: i64) -> Time {
    let by = Duration::from_millis(millis.unsigned_abs());
    if millis < 0 {
        Time(time.0.saturating_sub(by))
    } else {
        time.after(by)
    }
}

fn millis(span: Duration) -> i64 {
    i64::try_from(span.as_millis()).unwrap_or(i64::MAX)
}
