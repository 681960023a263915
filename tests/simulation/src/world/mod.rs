//! The world: clients, proxies, instances, agents and a network around the machine, in virtual time.

mod audit;
mod checks;
mod grants;
mod instance;
mod network;
mod operator;
mod plane;
mod proxy;
mod quiet;
mod revoked;
mod store;
mod vm;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::coverage::Coverage;
use crate::placement::{InstanceName, PoolName, PoolPolicy, Time, Timing};
use crate::random::Random;
use crate::schedule::{Action, Memory, Schedule, Severity};
use audit::Audit;
use instance::Instance;
use network::{Event, Link, Network, Place, PlaneEvent};
use plane::Plane;
use proxy::Proxy;
use vm::{TICK, Wish};

/// An invariant that does not hold.
#[derive(Clone, Debug)]
pub struct Violation {
    /// When, from the start.
    pub at: Duration,
    /// Which invariant.
    pub invariant: &'static str,
    /// What happened.
    pub detail: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_secs_f64();
        write!(
            f,
            "{} does not hold after {at:.3} s: {}",
            self.invariant, self.detail
        )
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// The first invariant that did not hold.
    pub violation: Option<Violation>,
    /// What happened in it.
    pub coverage: Coverage,
    /// All that happened, in order, if it was asked for.
    pub trace: Vec<String>,
}

/// Runs a schedule, and lets the world go quiet.
pub fn run(schedule: &Schedule, trace: bool) -> Run {
    let mut world = World::new(schedule, trace);
    world.play(schedule);
    if world.violation.is_none() {
        world.go_quiet();
    }
    Run {
        violation: world.violation,
        coverage: world.coverage,
        trace: world.traced.unwrap_or_default(),
    }
}

struct World {
    now: Time,
    seed: u64,
    random: Random,
    memory: Memory,
    severity: Severity,
    network: Network,
    plane: Plane,
    /// Processes that went with their hosts: nobody closed their connections.
    lost_hosts: BTreeSet<(usize, u64)>,
    proxies: Vec<Proxy>,
    workers: usize,
    instances: Vec<Instance>,
    pools: Vec<(PoolName, PoolPolicy)>,
    audit: Audit,
    coverage: Coverage,
    /// Makes names and numbers.
    counter: u64,
    traced: Option<Vec<String>>,
    violation: Option<Violation>,
}

impl World {
    fn new(schedule: &Schedule, trace: bool) -> Self {
        let mut random = Random::new(schedule.seed);
        let lateness = random.pick(&[0, 0, 3, 40]).copied().unwrap_or(0);
        let workers = random.index(2) + 1;
        let mut world = Self {
            now: START,
            seed: schedule.seed,
            memory: schedule.memory,
            severity: schedule.severity,
            network: Network::default(),
            plane: Plane::new(Duration::from_millis(lateness)),
            lost_hosts: BTreeSet::new(),
            proxies: Vec::new(),
            workers,
            instances: Vec::new(),
            pools: Vec::new(),
            audit: Audit::default(),
            coverage: Coverage::default(),
            counter: 0,
            traced: trace.then(Vec::new),
            violation: None,
            random,
        };
        world.build(schedule.agents);
        for (index, step) in schedule.steps.iter().enumerate() {
            let at = START.after(SETTLED).after(step.at);
            world.network.schedule(at, Event::Step(index));
        }
        world.plane_starts();
        for index in 0..world.proxies.len() {
            world.start_proxy(index);
        }
        for (index, instance) in world.instances.iter().enumerate() {
            if let Some(agent) = &instance.agent {
                let tick = network::AgentEvent::Tick;
                let event = Event::Agent(index, agent.incarnation, tick);
                world.network.schedule(START, event);
            }
        }
        world
    }

    fn play(&mut self, schedule: &Schedule) {
        let last = schedule.steps.last().map_or(Duration::ZERO, |step| step.at);
        self.pass_until(START.after(SETTLED).after(last), Some(schedule));
    }

    /// Lets everything happen that happens until then.
    fn pass_until(&mut self, until: Time, schedule: Option<&Schedule>) {
        while self.violation.is_none() {
            let wake = self.plane.wakes_at(self.now);
            let next = self.network.next_at();
            let Some(at) = [wake, next].into_iter().flatten().min() else {
                break;
            };
            if at > until {
                break;
            }
            self.now = self.now.max(at);
            if next == Some(at) {
                let event = self.network.pop();
                self.handle(event, schedule);
            } else {
                self.after_call();
            }
            self.take_audit();
        }
        self.now = self.now.max(until);
    }

    fn handle(&mut self, event: Option<Event>, schedule: Option<&Schedule>) {
        match event {
            Some(Event::Step(index)) => {
                let step = schedule.and_then(|schedule| schedule.steps.get(index));
                if let Some(step) = step {
                    // From here on chance is the step's own, so that a step may be left out without changing all that follows.
                    let number = u64::try_from(step.number).unwrap_or(0);
                    self.random = Random::new(self.seed.wrapping_add(number << 40));
                    self.trace(|| format!("{:>4} {:?}", step.number, step.action));
                    self.coverage.add(step.action.label());
                    self.apply(step.action);
                }
            }
            Some(Event::Proxy(index, process, event)) => self.proxy_event(index, process, event),
            Some(Event::ProxyResumes(index)) => self.resume_proxy(index),
            Some(Event::ProxyStarts(index)) => self.start_proxy(index),
            Some(Event::Plane(event)) => {
                self.trace(|| format!("     {event:?}"));
                self.plane_event(event);
            }
            Some(Event::PlaneResumes) => self.plane_resumes(),
            Some(Event::PlaneStarts) => self.plane_starts(),
            Some(Event::Instance(index, event)) => self.instance_event(index, event),
            Some(Event::Agent(index, incarnation, event)) => {
                let agent = self.instances.get(index);
                let agent = agent.and_then(|instance| instance.agent.as_ref());
                if agent.is_some_and(|agent| agent.incarnation == incarnation) {
                    self.agent_event(index, event);
                }
            }
            Some(Event::AgentStarts(index)) => self.agent_starts(index),
            None => {}
        }
    }

    fn apply(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::Come { .. } => self.client_comes(action),
            Action::Leave(pick) => self.somebody_leaves(pick, 1..30),
            Action::Vanish(pick) => self.somebody_leaves(pick, 3_000..9_000),
            Action::Hangup(pick) => {
                let index = self.which_instance(pick);
                self.hang_up_all(index);
            }
            Action::VmCrash { proxy, worker } => self.crash_vm(self.which_proxy(proxy), worker),
            Action::ProxyCrash { proxy, host, down } => {
                self.crash_proxy(self.which_proxy(proxy), host, down);
            }
            Action::ProxyPause { proxy, span } => self.pause_proxy(self.which_proxy(proxy), span),
            Action::CutPlane { proxy, span } => {
                let link = Link::ProxyPlane(self.which_proxy(proxy));
                self.network.cut(link, now.after(span));
            }
            Action::CutInstance {
                proxy,
                instance,
                span,
            } => {
                let (proxy, instance) = (self.which_proxy(proxy), self.which_instance(instance));
                let link = Link::ProxyInstance(proxy, instance);
                self.network.cut(link, now.after(span));
            }
            Action::CutAgent { instance, span } => {
                let link = Link::AgentPlane(self.which_instance(instance));
                self.network.cut(link, now.after(span));
            }
            Action::Weather { span, loss } => self.network.turn_bad(now.after(span), loss),
            Action::PlaneCrash { down } => self.plane_crashes(down),
            Action::PlanePause { span } => self.plane_pauses(span),
            Action::ClockJump(by) => self.plane.jump(by),
            Action::WallJump { by, back } => {
                let by = i64::try_from(by.as_millis()).unwrap_or(0);
                self.plane.wall_lead += if back { -by } else { by };
            }
            Action::DiskStall(span) => self.plane.stalled_until = now.after(span),
            _ => self.apply_to_instance(action),
        }
    }

    fn apply_to_instance(&mut self, action: Action) {
        let now = self.now;
        match action {
            Action::InstanceCrash {
                instance,
                down,
                host,
            } => self.instance_crashes(self.which_instance(instance), down, host),
            Action::Hang { instance, span } => {
                let index = self.which_instance(instance);
                self.with_instance(index, |instance| instance.hung_until = now.after(span));
                self.probe_after(index, span);
            }
            Action::Wedge(pick) => {
                let index = self.which_instance(pick);
                self.with_instance(index, |instance| instance.wedges_next = true);
            }
            Action::Flap(pick) => {
                let (index, span) = (self.which_instance(pick), self.random.millis(2_000..4_000));
                self.with_instance(index, |instance| instance.flaps_until = now.after(span));
                self.probe_after(index, span);
            }
            Action::AgentCrash { instance, down } => {
                self.agent_crashes(self.which_instance(instance), down);
            }
            Action::AgentSlow { instance, span } => {
                let index = self.which_instance(instance);
                self.with_instance(index, |instance| {
                    if let Some(agent) = &mut instance.agent {
                        agent.slow_until = now.after(span);
                    }
                });
            }
            _ => self.operator(action),
        }
    }

    /// A probe that starts failing, and one that passes again.
    fn probe_after(&mut self, index: usize, span: Duration) {
        self.probe_soon(index);
        let event = Event::Plane(PlaneEvent::Probe(index));
        self.network.schedule(self.now.after(span), event);
    }

    fn with_instance(&mut self, index: usize, change: impl FnOnce(&mut Instance)) {
        if let Some(instance) = self.instances.get_mut(index) {
            change(instance);
        }
    }

    fn which_proxy(&self, pick: usize) -> usize {
        pick.checked_rem(self.proxies.len()).unwrap_or(0)
    }

    fn which_instance(&self, pick: usize) -> usize {
        pick.checked_rem(self.instances.len()).unwrap_or(0)
    }

    fn instance_index(&self, name: &InstanceName) -> Option<usize> {
        self.instances
            .iter()
            .position(|instance| instance.spec.name == *name)
    }

    fn client_comes(&mut self, action: Action) {
        let Action::Come {
            device,
            proxy,
            worker,
            pool,
            picky,
            priority,
        } = action
        else {
            return;
        };
        let index = self.which_proxy(proxy);
        let Some(proxy) = self.proxies.get(index) else {
            return;
        };
        let worker = worker.checked_rem(self.workers).unwrap_or(0);
        let Some(vm) = proxy.vms.get(worker) else {
            return;
        };
        if proxy.is_paused(self.now) {
            return;
        }
        let place = Place {
            proxy: index,
            process: proxy.process,
            worker,
            incarnation: vm.incarnation,
        };
        // A name that is no pool's, now and then.
        let pool = match pool {
            7 if self.random.percent(20) => None,
            _ => self
                .pools
                .get(pool.checked_rem(self.pools.len()).unwrap_or(0)),
        };
        let hold = pool.map_or(Duration::ZERO, |(_, policy)| policy.hold);
        let pool = pool.map_or_else(|| "nowhere".into(), |(name, _)| name.clone());
        self.counter += 1;
        let wish = Wish {
            session: format!("s{}", self.counter).into(),
            pool,
            owner: operator::owner(device),
            client_address: format!("192.0.2.{}", self.counter).into(),
            priority: crate::placement::Priority(priority),
            labels: operator::labels(picky),
            token_id: self.random.percent(80).then(|| revoked::token_id(device)),
            token_left: self
                .random
                .percent(5)
                .then(|| self.random.millis(2_000..20_000)),
            hold,
            waits: self.random.percent(70),
        };
        self.open(place, wish);
    }

    fn somebody_leaves(&mut self, pick: usize, after: std::ops::Range<u64>) {
        let open = self.open_streams();
        let pick = pick.checked_rem(open.len()).unwrap_or(0);
        if let Some((place, session)) = open.get(pick) {
            let after = self.random.millis(after);
            self.client_leaves(*place, session.clone(), after);
        }
    }

    /// Faults heal, everybody leaves, and nobody comes: at the end of all windows everything is free (I2).
    fn go_quiet(&mut self) {
        self.network.heal();
        self.plane.stalled_until = self.now;
        for index in 0..self.proxies.len() {
            if let Some(proxy) = self.proxies.get_mut(index) {
                proxy.paused_until = self.now;
            }
            self.resume_proxy(index);
            self.start_proxy(index);
        }
        self.plane_resumes_early();
        self.plane_starts();
        let now = self.now;
        for index in 0..self.instances.len() {
            self.with_instance(index, |instance| {
                instance.hung_until = now;
                instance.flaps_until = now;
                instance.wedges_next = false;
                if let Some(agent) = &mut instance.agent {
                    agent.slow_until = now;
                }
            });
            self.instance_starts(index);
            self.agent_starts(index);
        }
        self.pass_until(self.now.after(revoked::HEARD), None);
        self.check_nobody_revoked();
        for (place, session) in self.open_streams() {
            let after = self.random.millis(1..2_000);
            self.client_leaves(place, session, after);
        }
        self.pass_until(self.now.after(QUIET), None);
        self.check_quiet();
        self.check_revocations_written();
        self.check_mild();
        self.check_usable();
        self.forget_everything();
    }

    /// Nobody says anything any more, for as long as anything may be remembered.
    fn forget_everything(&mut self) {
        let until = self.plane.time(self.now).after(FORGOTTEN);
        while self.violation.is_none()
            && let Some(machine) = self.plane.machine.as_mut()
            && let Some(due) = machine.next_timeout().filter(|due| *due <= until)
        {
            machine.advance(due);
            while machine.poll_effect().is_some() {}
        }
        self.check_forgotten();
    }

    fn violate(&mut self, invariant: &'static str, detail: impl FnOnce() -> String) {
        if self.violation.is_none() {
            let violation = Violation {
                at: self.now.since(START.after(SETTLED)),
                invariant,
                detail: detail(),
            };
            self.trace(|| format!("{invariant} does not hold: {}", violation.detail));
            self.violation = Some(violation);
        }
    }

    fn trace(&mut self, line: impl FnOnce() -> String) {
        if let Some(traced) = &mut self.traced {
            let at = self.now.since(START.after(SETTLED)).as_secs_f64();
            traced.push(format!("{at:>9.3}s {}", line()));
        }
    }
}

/// The machine's times, so short that a schedule of a minute or two sees everything end.
pub(crate) const TIMING: Timing = Timing {
    agent_within: Duration::from_secs(3),
    learn_for: Duration::from_secs(4),
    reserve_for: Duration::from_secs(10),
    silent_after: Duration::from_secs(3),
};

/// How long a proxy waits for a 101.
const ROUTE_TIMEOUT: Duration = Duration::from_secs(3);

/// Every pool's. An end reaches its instance sooner unless something is cut.
const SETTLE: Duration = Duration::from_millis(250);

/// Every pool's.
const ORPHAN_AFTER: Duration = Duration::from_secs(8);

/// Far enough from zero for clocks to jump back.
const START: Time = Time(Duration::from_secs(1_000));

/// What the world is given to come up.
const SETTLED: Duration = Duration::from_secs(6);

/// Longer than a jump of the wall clock, every window and timer, and the restart of what has failed.
const QUIET: Duration = Duration::from_secs(110);

/// Longer than the machine remembers anything of anybody.
const FORGOTTEN: Duration = Duration::from_secs(3_600);

type Text = Arc<str>;
