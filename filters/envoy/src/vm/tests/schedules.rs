//! Every schedule of what a proxy, its clients and a control plane may do.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Step {
    Open {
        check: bool,
        wait: bool,
        known: bool,
        token: Credential,
    },
    /// The answer to the call of the nth stream that has one under way; a grant may be for so many seconds.
    Answer(usize, Outcome, Option<u64>),
    /// Somebody sets the wall clock.
    Set(u64),
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

/// How long a token is accepted, and when it ends its session.
#[derive(Clone, Copy, Debug)]
struct Credential {
    expires_at: Option<u64>,
    closes_at: Option<u64>,
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
        3 => (prop::bool::weighted(0.2), any::<bool>(), any::<bool>(), credential())
            .prop_map(|(check, wait, known, token)| Step::Open { check, wait, known, token }),
        4 => (which.clone(), outcome, prop::option::of(0..6u64))
            .prop_map(|(nth, outcome, max_age)| Step::Answer(nth, outcome, max_age)),
        1 => WALL.prop_map(Step::Set),
        3 => which.clone().prop_map(Step::Established),
        1 => which.clone().prop_map(Step::Lost),
        2 => which.clone().prop_map(Step::End),
        3 => (0..3000u64, prop::bool::weighted(0.8))
            .prop_map(|(millis, sent)| Step::Tick { millis, sent }),
        2 => prop::option::weighted(0.8, prop::collection::vec(which, 0..3)).prop_map(Step::Synced),
    ]
}

fn credential() -> impl Strategy<Value = Credential> {
    (prop::option::of(WALL), prop::option::of(WALL)).prop_map(|(expires_at, closes_at)| {
        Credential {
            expires_at,
            closes_at,
        }
    })
}

/// What the wall clock shows, and when tokens end.
const WALL: std::ops::Range<u64> = 1_000..1_020;

/// A proxy that keeps the rules of one, and a control plane that remembers what it was told.
#[derive(Default)]
struct World {
    vm: Vm,
    now: Uptime,
    /// What the wall clock showed when this VM's clock began, in milliseconds.
    wall: u64,
    next: u32,
    /// Streams that are there, with their sessions' ids.
    alive: BTreeMap<ContextId, String>,
    answered: BTreeSet<ContextId>,
    placed: BTreeSet<ContextId>,
    tokens: BTreeMap<ContextId, Credential>,
    /// Those that only the control plane knows.
    unknown: BTreeSet<ContextId>,
    max_ages: BTreeMap<ContextId, Duration>,
    live: BTreeMap<ContextId, Uptime>,
    closed: BTreeMap<ContextId, Closed>,
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
    fn now(&self) -> Now {
        let unix = self.wall + u64::try_from(self.now.as_millis()).unwrap();
        Now {
            uptime: self.now,
            unix: UnixSeconds(unix / 1000),
        }
    }

    fn is_past(&self, end: Option<u64>) -> bool {
        end.is_some_and(|end| self.now().unix >= UnixSeconds(end))
    }

    /// Why a live session may not go on.
    fn over(&self, context: ContextId) -> Vec<Closed> {
        let closes = self.is_past(self.tokens[&context].closes_at);
        let age = self.now - self.live[&context];
        let old = self.max_ages.get(&context).is_some_and(|max| age >= *max);
        let over = [(closes, Closed::TokenExpired), (old, Closed::MaxAge)];
        let over = over.into_iter().filter(|(over, _)| *over);
        over.map(|(_, why)| why).collect()
    }

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
                Act::Admitted(context, _) | Act::Refuse(context, _) | Act::Reset(context, _) => {
                    match act {
                        Act::Reset(_, why) => {
                            let over = self.over(context);
                            assert!(
                                why == Closed::Berth || over.contains(&why),
                                "{act:?} too early"
                            );
                            self.closed.insert(context, why);
                        }
                        Act::Refuse(_, refusal) if refusal.reason == Reason::TokenExpired => {
                            let token = self.tokens[&context];
                            let ended = [token.expires_at, token.closes_at];
                            let ended = ended.into_iter().any(|end| self.is_past(end));
                            assert!(ended, "{act:?} too early");
                        }
                        _ => {}
                    }
                    assert!(self.alive.contains_key(&context), "{act:?} on nothing");
                    self.answered.insert(context)
                }
            };
            assert!(fresh, "{act:?} twice");
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Open {
                check: only,
                wait,
                known,
                token,
            } => {
                let id = format!("s{}", self.fresh());
                let context = ContextId(self.fresh());
                let mut opening = if only { check(&id) } else { opening(&id) };
                if !wait {
                    opening.when_away = WhenAway::Refuse;
                }
                opening.session.who = if known {
                    Who::Admitted(with(token))
                } else {
                    self.unknown.insert(context);
                    unverified::who()
                };
                self.alive.insert(context, id);
                self.tokens.insert(context, token);
                self.vm.open(context, opening, self.now);
                self.ask(context, true);
            }
            Step::Answer(nth, outcome, max_age) => {
                let Some((context, token)) =
                    Self::nth(self.calls.iter().map(|(c, t)| (*c, *t)), nth)
                else {
                    return;
                };
                self.calls.remove(&context);
                let unknown = self.unknown.contains(&context);
                let answer = match outcome {
                    Outcome::Granted => Answer::Granted(Box::new(Grant {
                        lease: Lease {
                            max_age: max_age.map(Duration::from_secs),
                            ..lease(token.0.into())
                        },
                        placement: placement(),
                        admitted: unknown.then(|| with(self.tokens[&context])),
                    })),
                    Outcome::Refused => REFUSED,
                    Outcome::Away => Answer::Away,
                    Outcome::Unreadable => Answer::Unreadable,
                };
                // The proxy brings it, whether anybody waits for it or not.
                if let Some(Call::Acquire(context)) = self.vm.take_call(token) {
                    let act = self.vm.answered(context, answer, self.now);
                    if let Some(Act::Place(..)) = act {
                        self.unknown.remove(&context);
                        let max_age = max_age.map(|age| (context, Duration::from_secs(age)));
                        self.max_ages.extend(max_age);
                    }
                    self.act(act);
                }
            }
            Step::Set(wall) => {
                let now = u64::try_from(self.now.as_millis()).unwrap();
                self.wall = (wall * 1000).saturating_sub(now);
            }
            Step::Established(nth) => {
                let placed = self.placed.difference(&self.answered).copied();
                if let Some(context) = Self::nth(placed, nth) {
                    self.vm.established(context, self.now);
                    self.live.entry(context).or_insert(self.now);
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
        assert!(
            self.vm.calls.iter().count() <= self.alive.len() + 1,
            "calls leak"
        );
        assert!(
            self.vm.streams.iter().count() <= self.alive.len(),
            "streams leak"
        );
    }

    fn end(&mut self, context: ContextId) {
        let id = self.alive.remove(&context).unwrap();
        self.placed.remove(&context);
        let live = self.live.remove(&context).is_some();
        let hint = self.vm.end(context, Cause::Client);
        if let Some((sequence, cause)) = hint.map(|hint| (hint.sequence, hint.ended[0].cause)) {
            match (self.closed.get(&context), live) {
                (Some(why), _) => assert_eq!(cause, Cause::Closed(*why)),
                (None, true) => assert_eq!(cause, Cause::Client),
                (None, false) => {
                    let causes = [Cause::NotEstablished, Cause::Closed(Closed::Berth)];
                    assert!(causes.contains(&cause), "{cause:?}");
                }
            }
            self.numbered(sequence);
            self.over.insert(id);
        }
    }

    fn tick(&mut self, sent: bool) {
        let due = self.vm.tick(self.now(), Cadence::new(TICK));
        self.act(due.acts);
        for context in self.live.keys() {
            let over = self.over(*context);
            let left = over.is_empty() || self.answered.contains(context);
            assert!(left, "{context:?} goes on, and is over: {over:?}");
        }
        for context in due.acquires {
            self.ask(context, sent);
        }
        if !due.sync {
            return;
        }
        let (report, told) = self.vm.sync();
        let sequence = report.sequence;
        let sessions = report.sessions.unwrap_or_default();
        for standing in &sessions {
            let known = standing.session.admitted().is_some();
            assert!(known || standing.lease.is_none(), "whose? {standing:?}");
        }
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
            !tick(&mut self.vm, self.now + TICK * 2, TICK).sync,
            "still talking"
        );
        assert!(self.listed.is_empty(), "still listed: {:?}", self.listed);
        let untold: Vec<_> = self.over.difference(&self.known_over).collect();
        assert!(untold.is_empty(), "ends that were not told: {untold:?}");
        assert!(self.vm.streams.is_empty() && self.vm.contexts.is_empty());
        assert!(self.vm.calls.is_empty(), "{:?}", self.vm.calls);
    }
}

fn with(token: Credential) -> Box<Admission> {
    Box::new(Admission {
        expires_at: token.expires_at.map(UnixSeconds),
        closes_at: token.closes_at.map(UnixSeconds),
        ..admitted()
    })
}

proptest! {
    #[test]
    fn no_stream_is_touched_out_of_turn_and_every_end_becomes_known(
        steps in prop::collection::vec(step(), 0..80)
    ) {
        let mut world = World { now: START, wall: 900_000, ..World::default() };
        for step in steps {
            world.step(step);
        }
        world.settle();
    }
}
