//! Instances as they truly are, and their agents. What is open here is what counts.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::network::{AgentEvent, Connect, Event, InstanceEvent, Link, Place, ProxyEvent};
use super::{ROUTE_TIMEOUT, World};
use crate::placement::{
    Access, AgentOrder, AgentReport, EndCause, Fence, InstanceSpec, Revision, SessionId, Time,
};

#[derive(Debug)]
pub(crate) struct Instance {
    pub(crate) spec: InstanceSpec,
    pub(crate) running: bool,
    pub(crate) hung_until: Time,
    pub(crate) wedges_next: bool,
    pub(crate) runtime: Runtime,
    /// Grows with each change of the runtime.
    epoch: u64,
    pub(crate) streams: BTreeMap<SessionId, Stream>,
    /// Who is let through, where there is an agent.
    pub(crate) firewall: Option<Access>,
    /// It has once been closed with its host, without an order.
    pub(crate) firewall_lost: bool,
    pub(crate) agent: Option<Agent>,
    pub(crate) drained: bool,
    pub(crate) quarantined: bool,
    /// A probe fails though nothing is wrong.
    pub(crate) flaps_until: Time,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Runtime {
    Free,
    InSession,
    /// The client is gone, and the runtime has not noticed yet.
    WindingDown,
    /// It will not notice.
    Wedged,
}

/// A stream at the instance.
#[derive(Clone, Debug)]
pub(crate) struct Stream {
    pub(crate) place: Place,
    pub(crate) fence: Fence,
    pub(crate) client_address: Arc<str>,
    /// Its proxy has ended it, and that has not got through because the network is cut or the host gone.
    pub(crate) stuck: bool,
}

#[derive(Debug)]
pub(crate) struct Agent {
    pub(crate) running: bool,
    pub(crate) incarnation: u64,
    sequence: u64,
    revision: Revision,
    working_on: Option<AgentOrder>,
    pub(crate) slow_until: Time,
    /// The lease whose session this incarnation has seen begin.
    begun: Option<Fence>,
    over: Option<Fence>,
}

impl Instance {
    pub(crate) fn new(spec: InstanceSpec) -> Self {
        let agent = spec.agent.then(|| Agent::new(1));
        Self {
            spec,
            running: true,
            hung_until: Time::default(),
            wedges_next: false,
            runtime: Runtime::Free,
            epoch: 0,
            streams: BTreeMap::new(),
            firewall: None,
            firewall_lost: false,
            agent,
            drained: false,
            quarantined: false,
            flaps_until: Time::default(),
        }
    }

    pub(crate) fn probe_passes(&self, now: Time) -> bool {
        self.running && self.hung_until <= now && self.flaps_until <= now
    }

    fn lets_through(&self, address: &Arc<str>) -> bool {
        let open = |access: &Access| access.client_address == *address;
        self.agent.is_none() || self.firewall.as_ref().is_some_and(open)
    }

    fn set_runtime(&mut self, runtime: Runtime) {
        self.runtime = runtime;
        self.epoch += 1;
    }

    /// The runtime has come free, by itself or by force.
    fn come_free(&mut self) {
        self.set_runtime(Runtime::Free);
        if let Some(agent) = self.agent.as_mut().filter(|agent| agent.running) {
            agent.over = agent.begun.take().or(agent.over);
        }
    }
}

impl Agent {
    fn new(incarnation: u64) -> Self {
        Self {
            running: true,
            incarnation,
            sequence: 0,
            revision: Revision::default(),
            working_on: None,
            slow_until: Time::default(),
            begun: None,
            over: None,
        }
    }
}

impl World {
    pub(crate) fn instance_event(&mut self, index: usize, event: InstanceEvent) {
        match event {
            InstanceEvent::Connect(connect) => self.connect_arrives(index, connect),
            InstanceEvent::Fin(session) => self.fin_arrives(index, &session),
            InstanceEvent::Expire(session) => self.stream_ends_at_instance(index, &session),
            InstanceEvent::RuntimeFree(epoch) => {
                let Some(instance) = self.instances.get_mut(index) else {
                    return;
                };
                if instance.epoch == epoch {
                    instance.come_free();
                    self.agent_reports(index);
                }
            }
            InstanceEvent::Starts => self.instance_starts(index),
        }
    }

    fn connect_arrives(&mut self, index: usize, connect: Connect) {
        let now = self.now;
        let place = connect.place;
        if let Some(healed) = self
            .network
            .cut_until(Link::ProxyInstance(place.proxy, index), now)
        {
            // Retransmitted, for as long as anybody waits.
            let at = healed.after(self.random.millis(1..100));
            if at < now.after(ROUTE_TIMEOUT) {
                let event = Event::Instance(index, InstanceEvent::Connect(connect));
                self.network.schedule(at, event);
            }
            return;
        }
        if self.placed_fence(place, &connect.session) != Some(connect.fence) {
            return;
        }
        let Some(instance) = self.instances.get(index) else {
            return;
        };
        if instance.hung_until > now {
            return;
        }
        let through = instance.lets_through(&connect.client_address);
        let busy = instance.runtime != Runtime::Free;
        if !instance.running || !through || (busy && instance.streams.is_empty()) {
            if busy && through && instance.running && instance.agent.is_some() {
                self.violate("I1", || {
                    format!(
                        "{} is sent a session before its runtime is free",
                        connect.session
                    )
                });
            }
            if instance_has_agent(self, index) && !through {
                self.check_turned_away(index, &connect.session);
            }
            return self.send_proxy(
                place,
                index,
                ProxyEvent::Rejected(place, connect.session.clone()),
            );
        }
        self.open_stream(index, connect);
    }

    fn open_stream(&mut self, index: usize, connect: Connect) {
        self.check_open(index, &connect);
        let Connect {
            place,
            session,
            fence,
            client_address,
        } = connect;
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        let name = instance.spec.name.clone();
        instance.set_runtime(Runtime::InSession);
        let stream = Stream {
            place,
            fence,
            client_address,
            stuck: false,
        };
        instance.streams.insert(session.clone(), stream);
        if let Some(agent) = instance.agent.as_mut().filter(|agent| agent.running) {
            agent.begun = instance.firewall.as_ref().map(|access| access.fence);
        }
        self.trace(|| format!("{session} ({fence}) is open at {name}"));
        self.agent_reports(index);
        self.send_proxy(place, index, ProxyEvent::Upgraded(place, session));
    }

    fn fin_arrives(&mut self, index: usize, session: &SessionId) {
        let now = self.now;
        let Some(stream) = self
            .instances
            .get_mut(index)
            .and_then(|instance| instance.streams.get_mut(session))
        else {
            return;
        };
        let link = Link::ProxyInstance(stream.place.proxy, index);
        match self.network.cut_until(link, now) {
            Some(healed) => {
                stream.stuck = true;
                let again = healed.after(self.random.millis(1..100));
                let fin = InstanceEvent::Fin(session.clone());
                self.network.schedule(again, Event::Instance(index, fin));
                let expiry = now.after(self.random.millis(5_000..20_000));
                let expire = InstanceEvent::Expire(session.clone());
                self.network
                    .schedule(expiry, Event::Instance(index, expire));
            }
            None => self.stream_ends_at_instance(index, session),
        }
    }

    /// The stream is no longer at the instance, whoever ended it.
    fn stream_ends_at_instance(&mut self, index: usize, session: &SessionId) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        if instance.streams.remove(session).is_none() {
            return;
        }
        let name = instance.spec.name.clone();
        if instance.streams.is_empty() {
            self.runtime_winds_down(index);
        }
        self.trace(|| format!("{session} has left {name}"));
    }

    fn runtime_winds_down(&mut self, index: usize) {
        let wind_down = self.random.millis(20..400);
        let stuck_for = self.random.millis(5_000..20_000);
        let now = self.now;
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        let wedges = std::mem::take(&mut instance.wedges_next);
        instance.set_runtime(match (wedges, instance.agent.is_some()) {
            (true, _) => Runtime::Wedged,
            (false, true) => Runtime::WindingDown,
            (false, false) => Runtime::Free,
        });
        let (epoch, runtime) = (instance.epoch, instance.runtime);
        let free = match (runtime, instance.agent.is_some()) {
            (Runtime::WindingDown, _) => Some(wind_down),
            // Somebody looks after it, in the end.
            (Runtime::Wedged, false) => Some(stuck_for),
            _ => None,
        };
        if let Some(after) = free {
            let event = Event::Instance(index, InstanceEvent::RuntimeFree(epoch));
            self.network.schedule(now.after(after), event);
        }
        self.agent_reports(index);
    }

    /// Ends a stream from the instance's side.
    pub(crate) fn hang_up(&mut self, index: usize, session: &SessionId) {
        let stream = self
            .instances
            .get(index)
            .and_then(|instance| instance.streams.get(session));
        let Some(place) = stream.map(|stream| stream.place) else {
            return;
        };
        self.stream_ends_at_instance(index, session);
        self.send_proxy(
            place,
            index,
            ProxyEvent::UpstreamClosed(place, session.clone()),
        );
    }

    pub(crate) fn hang_up_all(&mut self, index: usize) {
        for session in self.sessions_at(index) {
            self.hang_up(index, &session);
        }
    }

    pub(crate) fn sessions_at(&self, index: usize) -> Vec<SessionId> {
        let instance = self.instances.get(index).into_iter();
        instance
            .flat_map(|instance| instance.streams.keys().cloned())
            .collect()
    }

    /// What an instance says gets through when the network does.
    fn send_proxy(&mut self, place: Place, index: usize, event: ProxyEvent) {
        let link = Link::ProxyInstance(place.proxy, index);
        let sent = self.network.cut_until(link, self.now).unwrap_or(self.now);
        let at = sent.after(self.random.millis(1..40));
        self.network
            .schedule(at, Event::Proxy(place.proxy, place.process, event));
    }

    pub(crate) fn instance_crashes(&mut self, index: usize, down: std::time::Duration, host: bool) {
        self.hang_up_all(index);
        let at = self.now.after(down);
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        instance.running = false;
        instance.come_free();
        if host && let Some(agent) = instance.agent.as_mut() {
            agent.running = false;
            instance.firewall = None;
            instance.firewall_lost = true;
            self.network.schedule(at, Event::AgentStarts(index));
        }
        self.network
            .schedule(at, Event::Instance(index, InstanceEvent::Starts));
        self.probe_soon(index);
    }

    pub(crate) fn instance_starts(&mut self, index: usize) {
        if let Some(instance) = self.instances.get_mut(index) {
            instance.running = true;
        }
        self.probe_soon(index);
    }

    pub(crate) fn agent_crashes(&mut self, index: usize, down: std::time::Duration) {
        let Some(agent) = self
            .instances
            .get_mut(index)
            .and_then(|instance| instance.agent.as_mut())
        else {
            return;
        };
        agent.running = false;
        self.network
            .schedule(self.now.after(down), Event::AgentStarts(index));
    }

    pub(crate) fn agent_starts(&mut self, index: usize) {
        let Some(agent) = self
            .instances
            .get_mut(index)
            .and_then(|instance| instance.agent.as_mut())
        else {
            return;
        };
        if agent.running {
            return;
        }
        *agent = Agent::new(agent.incarnation + 1);
        self.agent_event(index, AgentEvent::Tick);
    }

    /// Something happens to an agent that runs.
    pub(crate) fn agent_event(&mut self, index: usize, event: AgentEvent) {
        let now = self.now;
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        let Some(agent) = instance.agent.as_mut().filter(|agent| agent.running) else {
            return;
        };
        let incarnation = agent.incarnation;
        match event {
            AgentEvent::Tick => {
                self.agent_reports(index);
                let at = now.after(super::vm::TICK);
                self.network
                    .schedule(at, Event::Agent(index, incarnation, AgentEvent::Tick));
            }
            AgentEvent::Order(order) => {
                let latest = agent.working_on.as_ref().map(|order| order.revision);
                if order.revision <= latest.unwrap_or(agent.revision).max(agent.revision) {
                    return;
                }
                let takes = match order.recycle {
                    true => self.random.millis(300..2_000),
                    false => self.random.millis(1..20),
                };
                let at = agent.slow_until.max(now).after(takes);
                let done = AgentEvent::Done(order.revision);
                agent.working_on = Some(order);
                self.network
                    .schedule(at, Event::Agent(index, incarnation, done));
            }
            AgentEvent::Done(revision) => {
                let due = agent.working_on.take_if(|order| order.revision == revision);
                if let Some(order) = due {
                    self.carry_out_order(index, order);
                }
            }
        }
    }

    fn carry_out_order(&mut self, index: usize, order: AgentOrder) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        instance.firewall = order.open;
        if let Some(agent) = instance.agent.as_mut() {
            agent.revision = order.revision;
        }
        let cut: Vec<SessionId> = instance
            .streams
            .iter()
            .filter(|(_, stream)| order.recycle || !instance.lets_through(&stream.client_address))
            .map(|(session, _)| session.clone())
            .collect();
        for session in cut {
            self.check_cut(index, &session);
            self.hang_up(index, &session);
        }
        if order.recycle {
            self.coverage.add("recycled");
            if let Some(instance) = self.instances.get_mut(index) {
                instance.come_free();
            }
        }
        self.agent_reports(index);
    }

    pub(crate) fn agent_reports(&mut self, index: usize) {
        let Some(instance) = self.instances.get_mut(index) else {
            return;
        };
        let Some(agent) = instance.agent.as_mut().filter(|agent| agent.running) else {
            return;
        };
        agent.sequence += 1;
        let report = AgentReport {
            incarnation: agent.incarnation,
            sequence: agent.sequence,
            revision: agent.revision,
            in_session: instance.runtime != Runtime::Free,
            over: agent.over,
        };
        self.tell_plane_of_agent(index, report);
    }
}

fn instance_has_agent(world: &World, index: usize) -> bool {
    let agent = |instance: &Instance| instance.agent.is_some();
    world.instances.get(index).is_some_and(agent)
}

/// What a stream that an instance ends means to its proxy.
pub(crate) const UPSTREAM_ENDED: EndCause = EndCause::Instance;
