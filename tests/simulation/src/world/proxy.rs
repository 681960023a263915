//! Proxies: processes with a filter VM for each worker, between clients, instances and the control plane.

use std::collections::BTreeSet;
use std::time::Duration;

use super::instance::UPSTREAM_ENDED;
use super::network::{Connect, Event, InstanceEvent, Link, Place, PlaneEvent, ProxyEvent};
use super::vm::{Act, CallNo, Phase, Reply, TICK, Vm, Wish};
use super::{ROUTE_TIMEOUT, SETTLE, World};
use crate::placement::{EndCause, Fence, Grant, NodeId, SessionId, Sync, Time, VmId, Zone};

#[derive(Debug)]
pub(crate) struct Proxy {
    pub(crate) node: NodeId,
    /// Which incarnation of the process runs.
    pub(crate) process: u64,
    pub(crate) running: bool,
    pub(crate) paused_until: Time,
    /// What waits for it to go on.
    deferred: Vec<ProxyEvent>,
    pub(crate) vms: Vec<Vm>,
    /// What it can send sessions to, by index.
    pub(crate) reach: BTreeSet<usize>,
    pub(crate) zone: Option<Zone>,
}

impl Proxy {
    pub(crate) fn new(node: NodeId) -> Self {
        Self {
            node,
            process: 0,
            running: false,
            paused_until: Time::default(),
            deferred: Vec::new(),
            vms: Vec::new(),
            reach: BTreeSet::new(),
            zone: None,
        }
    }

    pub(crate) fn is_paused(&self, now: Time) -> bool {
        now < self.paused_until
    }
}

impl World {
    pub(crate) fn start_proxy(&mut self, index: usize) {
        let workers = self.workers;
        let Some(proxy) = self.proxies.get_mut(index) else {
            return;
        };
        if proxy.running {
            return;
        }
        proxy.running = true;
        proxy.process += 1;
        proxy.vms.clear();
        let process = proxy.process;
        for _ in 0..workers {
            self.start_vm(index);
        }
        let at = self.now.after(self.random.millis(50..1_500));
        let event = Event::Proxy(index, process, ProxyEvent::TellReach);
        self.network.schedule(at, event);
    }

    fn new_vm(&mut self, index: usize) -> Option<Vm> {
        self.counter += 1;
        let id = VmId::from(format!("vm-{}", self.counter));
        let node = self.proxies.get(index)?.node.clone();
        Some(Vm::new(id, node, self.counter))
    }

    fn start_vm(&mut self, index: usize) {
        let Some(vm) = self.new_vm(index) else {
            return;
        };
        let Some(proxy) = self.proxies.get_mut(index) else {
            return;
        };
        let place = Place {
            proxy: index,
            process: proxy.process,
            worker: proxy.vms.len(),
            incarnation: vm.incarnation,
        };
        proxy.vms.push(vm);
        self.tick_later(place);
    }

    fn tick_later(&mut self, place: Place) {
        let at = self.now.after(TICK);
        let event = Event::Proxy(place.proxy, place.process, ProxyEvent::Tick(place));
        self.network.schedule(at, event);
    }

    /// The VM traps: its sessions are gone, and another one takes its place.
    pub(crate) fn crash_vm(&mut self, index: usize, worker: usize) {
        let Some(fresh) = self.new_vm(index) else {
            return;
        };
        let now = self.now;
        let Some(proxy) = self.proxies.get_mut(index) else {
            return;
        };
        let worker = worker.checked_rem(proxy.vms.len()).unwrap_or(0);
        if !proxy.running || proxy.is_paused(now) {
            return;
        }
        let process = proxy.process;
        let Some(known) = proxy.vms.get_mut(worker) else {
            return;
        };
        let place = |incarnation| Place {
            proxy: index,
            process,
            worker,
            incarnation,
        };
        let next = place(fresh.incarnation);
        let gone = std::mem::replace(known, fresh);
        self.streams_break(place(gone.incarnation), &gone, false);
        self.tick_later(next);
    }

    pub(crate) fn crash_proxy(&mut self, index: usize, host: bool, down: Duration) {
        let Some(proxy) = self.proxies.get_mut(index).filter(|proxy| proxy.running) else {
            return;
        };
        proxy.running = false;
        proxy.paused_until = Time::default();
        proxy.deferred.clear();
        let process = proxy.process;
        if host {
            self.lost_hosts.insert((index, process));
        }
        let vms = std::mem::take(&mut proxy.vms);
        for (worker, vm) in vms.iter().enumerate() {
            let place = Place {
                proxy: index,
                process,
                worker,
                incarnation: vm.incarnation,
            };
            self.streams_break(place, vm, host);
        }
        let at = self.now.after(down);
        self.network.schedule(at, Event::ProxyStarts(index));
    }

    /// What a VM that is gone leaves behind: streams that its kernel closes, unless the host went as well.
    fn streams_break(&mut self, place: Place, vm: &Vm, host: bool) {
        for (session, stream) in &vm.streams {
            let Some(grant) = stream.phase.grant() else {
                continue;
            };
            if !host {
                self.close_upstream(session, grant);
            } else if let Some(index) = self.instance_index(&grant.instance) {
                let expiry = self.now.after(self.random.millis(5_000..20_000));
                let expire = InstanceEvent::Expire(session.clone());
                self.network
                    .schedule(expiry, Event::Instance(index, expire));
            }
        }
        if !host {
            self.send_plane(place, PlaneEvent::Broken(place, None));
        }
    }

    /// Tells the instance that the stream is over: it hears of it before it could be given to anybody else.
    fn close_upstream(&mut self, session: &SessionId, grant: &Grant) {
        let Some(index) = self.instance_index(&grant.instance) else {
            return;
        };
        let longest = u64::try_from(SETTLE.as_millis()).unwrap_or(0) - 5;
        let at = self.now.after(self.random.millis(0..longest));
        let fin = InstanceEvent::Fin(session.clone());
        self.network.schedule(at, Event::Instance(index, fin));
    }

    pub(crate) fn pause_proxy(&mut self, index: usize, span: Duration) {
        let until = self.now.after(span);
        let Some(proxy) = self.proxies.get_mut(index).filter(|proxy| proxy.running) else {
            return;
        };
        proxy.paused_until = proxy.paused_until.max(until);
        let until = proxy.paused_until;
        self.network.schedule(until, Event::ProxyResumes(index));
    }

    /// What has waited happens at once: who has gone first, for what was to be done for them is not done any more.
    pub(crate) fn resume_proxy(&mut self, index: usize) {
        let now = self.now;
        let Some(proxy) = self.proxies.get_mut(index) else {
            return;
        };
        if !proxy.running || proxy.is_paused(now) {
            return;
        }
        let process = proxy.process;
        let mut deferred = std::mem::take(&mut proxy.deferred);
        deferred.sort_by_key(|event| !matches!(event, ProxyEvent::StreamEnds(..)));
        for event in deferred {
            self.network
                .schedule(now, Event::Proxy(index, process, event));
        }
    }

    pub(crate) fn proxy_event(&mut self, index: usize, process: u64, event: ProxyEvent) {
        let now = self.now;
        let Some(proxy) = self.proxies.get_mut(index) else {
            return;
        };
        if !proxy.running || proxy.process != process {
            return;
        }
        if proxy.is_paused(now) {
            proxy.deferred.push(event);
            return;
        }
        match event {
            ProxyEvent::Tick(place) => self.tick(place),
            ProxyEvent::Answered(place, call, reply) => self.call_is_over(place, call, reply),
            ProxyEvent::TimedOut(place, call) => {
                self.call_is_over(place, call, None);
                self.send_plane(place, PlaneEvent::Broken(place, Some(call)));
            }
            ProxyEvent::StreamEnds(place, session, cause) => self.end(place, &session, cause),
            ProxyEvent::Upgraded(place, session) => {
                if self
                    .vm(place)
                    .is_some_and(|vm| vm.established(&session, now))
                {
                    self.coverage.add("established");
                }
            }
            ProxyEvent::Rejected(place, session) => self.not_upgraded(place, &session),
            ProxyEvent::UpstreamClosed(place, session) => {
                let live = self.vm(place).and_then(|vm| vm.streams.get(&session));
                match live.map(|stream| stream.phase.clone()) {
                    Some(Phase::Placed(_)) => self.not_upgraded(place, &session),
                    Some(_) => self.end(place, &session, UPSTREAM_ENDED),
                    None => {}
                }
            }
            ProxyEvent::TellReach => self.tell_reach(index),
        }
    }

    /// The VM, if it is still that one.
    pub(crate) fn vm(&mut self, place: Place) -> Option<&mut Vm> {
        let proxy = self.proxies.get_mut(place.proxy)?;
        let vm = proxy.vms.get_mut(place.worker)?;
        let same = proxy.process == place.process && vm.incarnation == place.incarnation;
        (proxy.running && same).then_some(vm)
    }

    /// Of what the session was granted, if it is on its way to the instance.
    pub(crate) fn placed_fence(&mut self, place: Place, session: &SessionId) -> Option<Fence> {
        match &self.vm(place)?.streams.get(session)?.phase {
            Phase::Placed(grant) => Some(grant.fence),
            _ => None,
        }
    }

    pub(crate) fn open(&mut self, place: Place, wish: Wish) {
        let (now, session) = (self.now, wish.session.clone());
        if let Some(vm) = self.vm(place) {
            vm.open(wish, now);
            self.ask(place, &session);
        }
    }

    fn ask(&mut self, place: Place, session: &SessionId) {
        self.counter += 1;
        let (now, call) = (self.now, self.counter);
        let Some((acquire, timeout)) = self.vm(place).and_then(|vm| vm.acquire(session, call, now))
        else {
            return;
        };
        self.time_out_later(place, call, timeout);
        // Whoever is between the two may try again, and listens to one answer only.
        if self.random.percent(3) {
            let calls = if self.random.percent(50) {
                [0, call]
            } else {
                [call, 0]
            };
            let mut at = self.now;
            for call in calls {
                // Some take long on the way.
                let slow = if self.random.percent(10) { 2_000 } else { 20 };
                at = at.after(self.random.millis(0..slow));
                let said = PlaneEvent::Acquire(place, call, acquire.clone());
                self.network.schedule(at, Event::Plane(said));
            }
            return;
        }
        self.send_plane(place, PlaneEvent::Acquire(place, call, acquire));
        // Or the connection breaks: the proxy asks again, and the control plane may notice late.
        if self.random.percent(4) {
            let at = self.now.after(self.random.millis(20..200));
            let failed = ProxyEvent::Answered(place, call, None);
            self.network
                .schedule(at, Event::Proxy(place.proxy, place.process, failed));
            let at = at.after(self.random.millis(0..1_400));
            let broken = PlaneEvent::Broken(place, Some(call));
            self.network.schedule(at, Event::Plane(broken));
        }
    }

    fn time_out_later(&mut self, place: Place, call: CallNo, timeout: Duration) {
        let at = self.now.after(timeout);
        let event = ProxyEvent::TimedOut(place, call);
        self.network
            .schedule(at, Event::Proxy(place.proxy, place.process, event));
    }

    /// Sends something to the control plane; it may never come.
    pub(crate) fn send_plane(&mut self, place: Place, event: PlaneEvent) {
        let link = Link::ProxyPlane(place.proxy);
        if let Some(delay) = self.network.delay(link, &mut self.random, self.now) {
            let at = self.now.after(delay);
            self.network.schedule(at, Event::Plane(event));
        } else {
            self.coverage.add("message lost");
        }
    }

    fn call_is_over(&mut self, place: Place, call: CallNo, reply: Option<Reply>) {
        let now = self.now;
        let acts = self.vm(place).map(|vm| vm.answered(call, reply, now));
        self.act(place, acts.unwrap_or_default());
    }

    fn act(&mut self, place: Place, acts: impl IntoIterator<Item = Act>) {
        for act in acts {
            match act {
                Act::Place(session, grant) => self.connect(place, session, &grant),
                Act::Finish(session) => self.finish(place, session),
            }
        }
    }

    fn connect(&mut self, place: Place, session: SessionId, grant: &Grant) {
        let Some(index) = self.instance_index(&grant.instance) else {
            return;
        };
        let Some(address) = self
            .vm(place)
            .and_then(|vm| vm.streams.get(&session))
            .map(|stream| stream.wish.client_address.clone())
        else {
            return;
        };
        let connect = Connect {
            place,
            session: session.clone(),
            fence: grant.fence,
            client_address: address,
        };
        let slow = if self.random.percent(5) { 1_500 } else { 40 };
        let at = self.now.after(self.random.millis(1..slow));
        self.network
            .schedule(at, Event::Instance(index, InstanceEvent::Connect(connect)));
        let too_late = self.now.after(ROUTE_TIMEOUT);
        let event = ProxyEvent::Rejected(place, session);
        self.network
            .schedule(too_late, Event::Proxy(place.proxy, place.process, event));
    }

    /// The stream was answered or reset; the proxy tells of its end, mostly at once.
    fn finish(&mut self, place: Place, session: SessionId) {
        let slow = match self.random.below(100) {
            0 => 20_000,
            1..5 => 2_500,
            _ => 5,
        };
        let at = self.now.after(self.random.millis(0..slow));
        let event = ProxyEvent::StreamEnds(place, session, EndCause::Client);
        self.network
            .schedule(at, Event::Proxy(place.proxy, place.process, event));
    }

    fn not_upgraded(&mut self, place: Place, session: &SessionId) {
        let act = self.vm(place).and_then(|vm| vm.not_upgraded(session));
        if act.is_some() {
            self.coverage.add("not upgraded");
        }
        self.act(place, act);
    }

    fn end(&mut self, place: Place, session: &SessionId, cause: EndCause) {
        let Some((hint, grant)) = self.vm(place).and_then(|vm| vm.end(session, cause)) else {
            return;
        };
        if let Some(grant) = grant {
            self.close_upstream(session, &grant);
        }
        self.send_plane(place, PlaneEvent::Sync(place, None, hint));
    }

    fn tick(&mut self, place: Place) {
        let now = self.now;
        let Some(vm) = self.vm(place) else {
            return;
        };
        let due = vm.tick(now);
        self.act(place, due.acts);
        for session in due.acquires {
            self.coverage.add("asked again");
            self.ask(place, &session);
        }
        if due.sync {
            self.send_sync(place);
        }
        self.tick_later(place);
    }

    fn send_sync(&mut self, place: Place) {
        self.counter += 1;
        let (now, call) = (self.now, self.counter);
        let Some(sync) = self.vm(place).map(|vm| vm.sync(call, now)) else {
            return;
        };
        let sync: Sync = sync;
        self.time_out_later(place, call, TICK);
        self.send_plane(place, PlaneEvent::Sync(place, Some(call), sync));
    }

    fn tell_reach(&mut self, index: usize) {
        let link = Link::ProxyPlane(index);
        match self.network.delay(link, &mut self.random, self.now) {
            Some(delay) => {
                let at = self.now.after(delay);
                self.network
                    .schedule(at, Event::Plane(PlaneEvent::Reach(index)));
            }
            None => self.tell_reach_later(index),
        }
    }

    /// A stream of xDS that breaks is opened again.
    pub(crate) fn tell_reach_later(&mut self, index: usize) {
        let Some(proxy) = self.proxies.get(index) else {
            return;
        };
        let process = proxy.process;
        let at = self.now.after(self.random.millis(50..1_500));
        let event = Event::Proxy(index, process, ProxyEvent::TellReach);
        self.network.schedule(at, event);
    }

    /// A client or the world ends a stream; its proxy sees that when it runs.
    pub(crate) fn client_leaves(&mut self, place: Place, session: SessionId, after: Duration) {
        let at = self.now.after(after);
        let event = ProxyEvent::StreamEnds(place, session, EndCause::Client);
        self.network
            .schedule(at, Event::Proxy(place.proxy, place.process, event));
    }

    /// Every stream whose end has not been decided, in a fixed order.
    pub(crate) fn open_streams(&self) -> Vec<(Place, SessionId)> {
        let mut streams = Vec::new();
        for (index, proxy) in self.proxies.iter().enumerate() {
            for (worker, vm) in proxy.vms.iter().enumerate() {
                let place = Place {
                    proxy: index,
                    process: proxy.process,
                    worker,
                    incarnation: vm.incarnation,
                };
                let open = vm
                    .streams
                    .iter()
                    .filter(|(_, stream)| !matches!(stream.phase, Phase::Closing { .. }));
                streams.extend(open.map(|(session, _)| (place, session.clone())));
            }
        }
        streams
    }
}
