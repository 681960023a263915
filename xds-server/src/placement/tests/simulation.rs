//! Proxies, clients and a slow, reordering network around the machine, by one seed. After every
//! step no two streams are on one instance (I1); when the world goes quiet everything is free (I2).

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 100, ..ProptestConfig::default() })]

    #[test]
    fn no_two_sessions_share_an_instance_and_none_leaks(seed: u64) {
        let mut world = World::new(seed, Trouble { restarts: false });
        world.run(400);
        world.quiet();
    }

    #[test]
    fn nor_does_a_restart_without_a_journal_change_that(seed: u64) {
        let mut world = World::new(seed, Trouble { restarts: true });
        world.run(400);
        world.quiet();
    }
}

struct Trouble {
    /// The control plane loses all it knows, now and then.
    restarts: bool,
}

struct World {
    random: Random,
    trouble: Trouble,
    now: Time,
    placement: Placement,
    term: u64,
    vms: Vec<ModelVm>,
    /// Messages under way, by when they arrive.
    network: BTreeMap<(Time, u64), Message>,
    /// What to do with the answer to a request.
    requests: HashMap<RequestId, (usize, VmId)>,
    counter: u64,
}

/// A filter VM, true to what the filter does.
struct ModelVm {
    id: VmId,
    sequence: u64,
    next_tick: Time,
    /// It runs again then; until then it neither ticks nor listens, but its streams go on.
    stopped_until: Time,
    live: HashMap<SessionId, ModelSession>,
    ended: Vec<ReportedEnd>,
}

struct ModelSession {
    user: u64,
    grant: Option<Grant>,
    established: bool,
    /// It asks again then if it has no answer.
    ask_again: Time,
}

enum Message {
    Acquire(usize, Acquire),
    Sync(usize, Sync),
    Answer(usize, VmId, SessionId, Outcome),
    Closes(usize, VmId, Vec<Close>, usize),
}

impl World {
    fn new(seed: u64, trouble: Trouble) -> Self {
        let now = Time::default();
        let mut world = Self {
            random: Random(seed | 1),
            trouble,
            now,
            placement: machine(1, now),
            term: 1,
            vms: Vec::new(),
            network: BTreeMap::new(),
            requests: HashMap::new(),
            counter: 0,
        };
        for _ in 0..VMS {
            let vm = world.new_vm();
            world.vms.push(vm);
        }
        world
    }

    fn run(&mut self, steps: usize) {
        for _ in 0..steps {
            match self.random.below(100) {
                0..30 => self.client_comes(),
                30..50 => self.client_goes(),
                50..56 => self.upgrade_fails(),
                56..59 => self.vm_dies(),
                59..61 => self.vm_stops(),
                61..65 => self.instance_flaps(),
                65 if self.trouble.restarts => self.control_plane_restarts(),
                66..69 => self.operator_terminates(),
                _ => {}
            }
            let step = Duration::from_millis(self.random.below(700));
            self.pass(step);
        }
    }

    /// Everybody leaves and nobody comes: at the end of all windows every instance is free.
    fn quiet(&mut self) {
        for index in 0..VMS {
            let sessions: Vec<SessionId> = self.vms[index].live.keys().cloned().collect();
            for session in sessions {
                self.end(index, &session, EndCause::Client);
            }
        }
        self.pass(seconds(700));
        let leases: Vec<_> = self
            .placement
            .instances(self.now)
            .filter_map(|instance| Some((instance.name, instance.lease?.state)))
            .collect();
        assert!(leases.is_empty(), "leaked: {leases:?}");
        assert!(self.placement.sessions.is_empty());
        assert!(self.placement.held_by.is_empty());
        assert!(self.placement.vms.len() <= VMS, "VMs that died are kept");
        assert_eq!(self.placement.counts().overlaps, 0);
    }

    fn pass(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        loop {
            let message = self.network.keys().next().map(|(at, _)| *at);
            let tick = self.vms.iter().map(|vm| vm.next_tick).min();
            let timeout = self.placement.next_timeout();
            let next = [message, tick, timeout].into_iter().flatten().min();
            let Some(next) = next.filter(|next| *next <= until) else {
                break;
            };
            self.now = self.now.max(next);
            self.placement.advance(self.now);
            self.take_effects();
            for index in 0..VMS {
                if self.vms[index].next_tick <= self.now {
                    self.tick(index);
                }
            }
            while let Some(entry) = self.network.first_entry() {
                if entry.key().0 > self.now {
                    break;
                }
                let message = entry.remove();
                self.deliver(message);
                self.take_effects();
            }
            self.check();
        }
        self.now = until;
    }

    /// I1, by what is true rather than by what the machine believes.
    fn check(&self) {
        let mut on = HashMap::new();
        for vm in &self.vms {
            for (session, state) in &vm.live {
                if let Some(grant) = &state.grant {
                    let other = on.insert(&grant.instance, session);
                    assert!(
                        other.is_none(),
                        "{} has {session} and {other:?} at {:?}",
                        grant.instance,
                        self.now
                    );
                }
            }
        }
    }

    fn tick(&mut self, index: usize) {
        let now = self.now;
        let vm = &mut self.vms[index];
        vm.next_tick = now.after(seconds(1));
        if vm.stopped_until > now {
            vm.next_tick = vm.stopped_until;
            return;
        }
        let again: Vec<SessionId> = vm
            .live
            .iter()
            .filter(|(_, state)| state.grant.is_none() && state.ask_again <= now)
            .map(|(session, _)| session.clone())
            .collect();
        for session in again {
            self.ask(index, &session);
        }
        let vm = &mut self.vms[index];
        let sessions = vm
            .live
            .iter()
            .map(|(session, state)| ReportedSession {
                owner: user(state.user),
                established: state.established,
                ..reported(session.as_str(), state.grant.clone())
            })
            .collect();
        let sync = Sync {
            origin: vm.origin(),
            sessions: Some(sessions),
            ended: vm.ended.clone(),
        };
        self.send(Message::Sync(index, sync));
    }

    fn client_comes(&mut self) {
        let index = self.random.below(VMS as u64) as usize;
        let user = self.random.below(5);
        self.counter += 1;
        let session = SessionId::from(format!("s{}", self.counter));
        let state = ModelSession {
            user,
            grant: None,
            established: false,
            ask_again: self.now,
        };
        if self.vms[index].stopped_until <= self.now {
            self.vms[index].live.insert(session.clone(), state);
            self.ask(index, &session);
        }
    }

    fn ask(&mut self, index: usize, session: &SessionId) {
        let again = self.now.after(seconds(9));
        let vm = &mut self.vms[index];
        let origin = vm.origin();
        let Some(state) = vm.live.get_mut(session) else {
            return;
        };
        state.ask_again = again;
        let acquire = Acquire {
            origin,
            session: session.clone(),
            pool: "web".into(),
            owner: user(state.user),
            client_address: "192.0.2.1".into(),
        };
        self.send(Message::Acquire(index, acquire));
    }

    fn client_goes(&mut self) {
        let cause = match self.random.below(3) {
            0 => EndCause::Instance,
            _ => EndCause::Client,
        };
        self.any_ends(cause, |_| true);
    }

    fn upgrade_fails(&mut self) {
        self.any_ends(EndCause::NotEstablished, |state| !state.established);
    }

    fn any_ends(&mut self, cause: EndCause, which: impl Fn(&ModelSession) -> bool) {
        let index = self.random.below(VMS as u64) as usize;
        let vm = &self.vms[index];
        if vm.stopped_until > self.now {
            return;
        }
        let mut sessions: Vec<SessionId> = vm
            .live
            .iter()
            .filter(|(_, state)| which(state))
            .map(|(session, _)| session.clone())
            .collect();
        sessions.sort();
        if let Some(session) = self.random.pick(sessions) {
            self.end(index, &session, cause);
        }
    }

    /// As the filter does it: out of the live set, remembered for the next Sync, hinted at once.
    fn end(&mut self, index: usize, session: &SessionId, cause: EndCause) {
        let vm = &mut self.vms[index];
        let Some(state) = vm.live.remove(session) else {
            return;
        };
        vm.ended.push(ReportedEnd {
            session: session.clone(),
            fence: state.grant.map(|grant| grant.fence),
            cause,
        });
        let sync = Sync {
            origin: vm.origin(),
            sessions: None,
            ended: vm.ended.clone(),
        };
        self.send(Message::Sync(index, sync));
    }

    /// The process is killed: its streams are gone, and a new one knows nothing of them.
    fn vm_dies(&mut self) {
        let index = self.random.below(VMS as u64) as usize;
        self.vms[index] = self.new_vm();
    }

    /// Stopped for less than anybody needs to give its sessions up, and less than a restarted
    /// control plane listens.
    fn vm_stops(&mut self) {
        let most = if self.trouble.restarts {
            1_500
        } else {
            250_000
        };
        let until = self
            .now
            .after(Duration::from_millis(self.random.below(most)));
        let index = self.random.below(VMS as u64) as usize;
        let vm = &mut self.vms[index];
        vm.stopped_until = vm.stopped_until.max(until);
    }

    fn instance_flaps(&mut self) {
        let instance = instance(self.random.below(INSTANCES));
        let up = self.random.below(3) > 0;
        self.placement.set_up(&instance, up);
    }

    fn operator_terminates(&mut self) {
        let mut sessions: Vec<SessionId> = self.placement.sessions.keys().cloned().collect();
        sessions.sort();
        if let Some(session) = self.random.pick(sessions) {
            self.placement.terminate(&session);
        }
    }

    fn control_plane_restarts(&mut self) {
        // A term may come again when nobody reports a greater one: fences alone do not help then.
        if self.random.below(2) == 0 {
            self.term += 1;
        }
        self.placement = machine(self.term, self.now);
        self.requests.clear();
        self.network
            .retain(|_, message| matches!(message, Message::Answer(..) | Message::Closes(..)));
    }

    fn send(&mut self, message: Message) {
        let delay = match self.random.below(10) {
            0 => self.random.below(900),
            _ => self.random.below(30),
        };
        self.counter += 1;
        let at = self.now.after(Duration::from_millis(delay));
        self.network.insert((at, self.counter), message);
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Acquire(index, acquire) => {
                self.counter += 1;
                let request = RequestId(self.counter);
                self.requests
                    .insert(request, (index, acquire.origin.vm.clone()));
                self.placement.acquire(self.now, request, acquire);
            }
            Message::Sync(index, sync) => {
                let (vm, told) = (sync.origin.vm.clone(), sync.ended.len());
                let closes = self.placement.sync(self.now, sync);
                self.send(Message::Closes(index, vm, closes, told));
            }
            Message::Answer(index, vm, session, outcome) => {
                self.answered(index, &vm, &session, outcome);
            }
            Message::Closes(index, vm, closes, told) => {
                if self.vms[index].id != vm {
                    return;
                }
                let told = told.min(self.vms[index].ended.len());
                self.vms[index].ended.drain(..told);
                for close in closes {
                    self.end(index, &close.session, EndCause::Berth);
                }
            }
        }
    }

    fn answered(&mut self, index: usize, vm: &VmId, session: &SessionId, outcome: Outcome) {
        let established = self.random.below(4) > 0;
        let model = &mut self.vms[index];
        if model.id != *vm {
            return;
        }
        let Some(state) = model.live.get_mut(session) else {
            return;
        };
        match outcome {
            Outcome::Granted(grant) => {
                state.grant = Some(grant);
                state.established = established;
            }
            Outcome::Refused(_) => {
                model.live.remove(session);
            }
        }
    }

    fn take_effects(&mut self) {
        while let Some(effect) = self.placement.poll_effect() {
            if let Effect::Answer {
                request,
                session,
                outcome,
            } = effect
                && let Some((index, vm)) = self.requests.remove(&request)
            {
                self.send(Message::Answer(index, vm, session, outcome));
            }
        }
    }

    fn new_vm(&mut self) -> ModelVm {
        self.counter += 1;
        ModelVm {
            id: VmId::from(format!("vm{}", self.counter)),
            sequence: 0,
            next_tick: self.now.after(seconds(1)),
            stopped_until: self.now,
            live: HashMap::new(),
            ended: Vec::new(),
        }
    }
}

impl ModelVm {
    fn origin(&mut self) -> Origin {
        self.sequence += 1;
        Origin {
            node: "edge".into(),
            vm: self.id.clone(),
            sequence: self.sequence,
        }
    }
}

fn machine(term: u64, now: Time) -> Placement {
    let mut placement = {
        // A grant under way, a stop, a tick and a Sync under way.
        let learn_for = seconds(4);
        Placement::new(
            Timing {
                learn_for,
                ..TIMING
            },
            term,
            now,
        )
    };
    placement.set_pool("web".into(), policy());
    let names: HashSet<InstanceName> = (0..INSTANCES).map(instance).collect();
    for name in &names {
        placement.add_instance(now, name.clone(), "web".into());
        placement.set_up(name, true);
    }
    placement.set_reach("edge".into(), names);
    placement
}

fn instance(number: u64) -> InstanceName {
    InstanceName::from(format!("web-{number}"))
}

/// Users 0 and 1 have resume keys.
fn user(number: u64) -> Owner {
    owner(
        &format!("user-{number}"),
        (number < 2).then_some("their key"),
    )
}

/// xorshift64: a simulation needs a seed that replays, not randomness.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn pick<T>(&mut self, mut from: Vec<T>) -> Option<T> {
        let count = from.len() as u64;
        (count > 0).then(|| from.swap_remove(self.below(count) as usize))
    }
}

const VMS: usize = 3;
const INSTANCES: u64 = 3;
