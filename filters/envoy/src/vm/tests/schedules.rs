//! Every schedule of what a proxy, its clients and a control plane may do.

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open {
        check: bool,
        wait: bool,
    },
    /// The answer to the call of the nth stream that has one under way.
    Answer(usize, Outcome),
    Established(usize),
    Lost(usize),
    End(usize),
    Tick {
        millis: u64,
        sent: bool,
    },
    /// The answer to the Sync: none, or orders to close the nth sessions.
    Synced(Option<Vec<usize>>),
}

#[derive(Clone, Copy, Debug)]
enum Outcome {
    Granted,
    Refused,
    Away,
    Unreadable,
}

fn step() -> impl Strategy<Value = Step> {
    let outcome = prop_oneof![
        4 => Just(Outcome::Granted),
        1 => Just(Outcome::Refused),
        2 => Just(Outcome::Away),
        1 => Just(Outcome::Unreadable),
    ];
    let which = 0..8usize;
    prop_oneof![
        3 => (prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(check, wait)| Step::Open { check, wait }),
        4 => (which.clone(), outcome).prop_map(|(nth, outcome)| Step::Answer(nth, outcome)),
        2 => which.clone().prop_map(Step::Established),
        1 => which.clone().prop_map(Step::Lost),
        2 => which.clone().prop_map(Step::End),
        3 => (0..3000u64, prop::bool::weighted(0.8))
            .prop_map(|(millis, sent)| Step::Tick { millis, sent }),
        2 => prop::option::weighted(0.8, prop::collection::vec(which, 0..3)).prop_map(Step::Synced),
    ]
}

/// A proxy that keeps the rules of one, and a control plane that remembers what it was told.
#[derive(Default)]
struct World {
    vm: Vm,
    now: Uptime,
    next: u32,
    /// Streams that are there, with their sessions' ids.
    alive: BTreeMap<ContextId, String>,
    answered: BTreeSet<ContextId>,
    placed: BTreeSet<ContextId>,
    calls: BTreeMap<ContextId, Token>,
    sync: Option<(Token, BTreeSet<String>, BTreeSet<String>)>,
    sequence: u64,
    /// Sessions whose end has to become known.
    over: BTreeSet<String>,
    /// What the control plane believes.
    listed: BTreeSet<String>,
    known_over: BTreeSet<String>,
}

impl World {
    fn fresh(&mut self) -> u32 {
        self.next += 1;
        self.next
    }

    fn nth<T: Clone>(items: impl Iterator<Item = T>, nth: usize) -> Option<T> {
        let items: Vec<T> = items.collect();
        items.get(nth % items.len().max(1)).cloned()
    }

    fn numbered(&mut self, sequence: u64) {
        assert!(
            sequence > self.sequence,
            "{sequence} after {}",
            self.sequence
        );
        self.sequence = sequence;
    }

    fn ask(&mut self, context: ContextId, sent: bool) {
        let sequence = match self.vm.acquire(context, self.now) {
            Some(acquire) => acquire.sequence,
            None => return,
        };
        self.numbered(sequence);
        let token = Token(self.fresh());
        if sent {
            self.vm.acquire_sent(context, token);
            self.calls.insert(context, token);
        } else {
            let act = self.vm.answered(context, Answer::Away, self.now);
            self.act(act);
        }
    }

    /// What the SDK would panic at: a stream that is gone, or that was answered before.
    fn act(&mut self, acts: impl IntoIterator<Item = Act>) {
        for act in acts {
            let fresh = match act {
                Act::Place(context, _) => {
                    assert!(!self.answered.contains(&context), "{act:?} after an answer");
                    assert!(self.alive.contains_key(&context), "{act:?} on nothing");
                    self.placed.insert(context)
                }
                Act::Admitted(context, _) | Act::Refuse(context, _) | Act::Reset(context) => {
                    assert!(self.alive.contains_key(&context), "{act:?} on nothing");
                    self.answered.insert(context)
                }
            };
            assert!(fresh, "{act:?} twice");
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open { check: only, wait } => {
                let id = format!("s{}", self.fresh());
                let context = ContextId(self.fresh());
                let mut opening = if only { check(&id) } else { opening(&id) };
                if !wait {
                    opening.when_away = WhenAway::Refuse;
                }
                self.alive.insert(context, id);
                self.vm.open(context, opening, self.now);
                self.ask(context, true);
            }
            Step::Answer(nth, outcome) => {
                let Some((context, token)) =
                    Self::nth(self.calls.iter().map(|(c, t)| (*c, *t)), nth)
                else {
                    return;
                };
                self.calls.remove(&context);
                let answer = match outcome {
                    Outcome::Granted => granted(token.0.into()),
                    Outcome::Refused => REFUSED,
                    Outcome::Away => Answer::Away,
                    Outcome::Unreadable => Answer::Unreadable,
                };
                // The proxy brings it, whether anybody waits for it or not.
                if let Some(Call::Acquire(context)) = self.vm.take_call(token) {
                    let act = self.vm.answered(context, answer, self.now);
                    self.act(act);
                }
            }
            Step::Established(nth) => {
                if let Some(context) = Self::nth(self.placed.iter().copied(), nth) {
                    self.vm.established(context);
                }
            }
            Step::Lost(nth) => {
                let placed = self.placed.difference(&self.answered).copied();
                if let Some(context) = Self::nth(placed, nth) {
                    let act = self.vm.instance_lost(context);
                    self.act(act);
                }
            }
            Step::End(nth) => {
                if let Some(context) = Self::nth(self.alive.keys().copied(), nth) {
                    self.end(context);
                }
            }
            Step::Tick { millis, sent } => {
                self.now += Duration::from_millis(millis);
                self.tick(sent);
            }
            Step::Synced(closes) => self.synced(closes),
        }
        assert!(self.vm.calls.len() <= self.alive.len() + 1, "calls leak");
        assert!(self.vm.streams.len() <= self.alive.len(), "streams leak");
    }

    fn end(&mut self, context: ContextId) {
        let id = self.alive.remove(&context).unwrap();
        self.placed.remove(&context);
        if let Some(sequence) = self
            .vm
            .end(context, Cause::Client)
            .map(|hint| hint.sequence)
        {
            self.numbered(sequence);
            self.over.insert(id);
        }
    }

    fn tick(&mut self, sent: bool) {
        let due = self.vm.tick(self.now, TICK);
        self.act(due.acts);
        for context in due.acquires {
            self.ask(context, sent);
        }
        if !due.sync {
            return;
        }
        let (report, told) = self.vm.sync();
        let sequence = report.sequence;
        let sessions = report.sessions.unwrap_or_default();
        let sessions = sessions.iter().map(|s| s.session.id.0.clone()).collect();
        let ended = report.ended.iter().map(|e| e.session.0.clone()).collect();
        self.numbered(sequence);
        let token = Token(self.fresh());
        let carried = sent.then_some(token);
        self.vm.sync_sent(carried, told, TICK, self.now);
        self.sync = carried.map(|token| (token, sessions, ended));
    }

    fn synced(&mut self, closes: Option<Vec<usize>>) {
        let Some((token, sessions, ended)) = self.sync.take() else {
            return;
        };
        let closes = closes.map(|closes| {
            self.listed = sessions;
            self.known_over.extend(ended);
            let ids = closes
                .into_iter()
                .filter_map(|nth| Self::nth(self.listed.iter(), nth));
            ids.map(|id| Close {
                session: SessionId(id.clone()),
                reason: "superseded".to_owned(),
            })
            .collect()
        });
        let Some(Call::Sync(told)) = self.vm.take_call(token) else {
            panic!("nobody waits for the Sync that is under way");
        };
        let acts = self.vm.synced(told, closes);
        self.act(acts);
    }

    /// Lets everything end, and the control plane answer.
    fn settle(&mut self) {
        let alive: Vec<ContextId> = self.alive.keys().copied().collect();
        for context in alive {
            self.end(context);
        }
        for _ in 0..4 {
            self.now += TICK * 2;
            self.tick(true);
            self.synced(Some(Vec::new()));
        }
        assert!(
            !self.vm.tick(self.now + TICK * 2, TICK).sync,
            "still talking"
        );
        assert!(self.listed.is_empty(), "still listed: {:?}", self.listed);
        let untold: Vec<_> = self.over.difference(&self.known_over).collect();
        assert!(untold.is_empty(), "ends that were not told: {untold:?}");
        assert!(self.vm.streams.is_empty() && self.vm.contexts.is_empty());
        assert!(self.vm.calls.is_empty(), "{:?}", self.vm.calls);
    }
}

proptest! {
    #[test]
    fn no_stream_is_touched_out_of_turn_and_every_end_becomes_known(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut world = World { now: START, ..World::default() };
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
