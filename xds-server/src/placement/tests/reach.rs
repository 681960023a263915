//! Which proxies can be sent where, and what is kept of that.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

impl Machine {
    fn change_reach(&mut self, node: &str, gained: &[&str], lost: &[&str]) {
        let names = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<_>>();
        let (gained, lost) = (names(gained), names(lost));
        self.placement
            .change_reach(self.now, &node.into(), &gained, &lost);
    }

    fn reaches(&self, node: &str, instance: &str) -> bool {
        let slot = self.placement.slots.find(&instance.into()).unwrap();
        let slot = self.placement.slots.get(slot).unwrap();
        let node = self.placement.reach.find(&node.into());
        self.placement.reach.reaches(node, slot.class)
    }

    fn is_free(&self, instance: &str) -> bool {
        let slot = self.placement.slots.find(&instance.into());
        slot.is_some_and(|slot| self.placement.slots.get(slot).unwrap().is_free())
    }

    /// Each class is there once, and has as many instances as say so; none is empty.
    fn check_classes(&self) {
        let mut counted = BTreeMap::new();
        for (_, _, slot) in self.placement.slots.iter() {
            *counted.entry(slot.class).or_insert(0_usize) += 1;
        }
        let census: BTreeMap<_, _> = self.placement.reach.census().into_iter().collect();
        assert_eq!(census, counted);
    }

    fn add(&mut self, instance: &str) {
        self.placement.add_instance(self.now, spec(instance));
    }
}

#[test]
fn of_what_is_gained_and_lost_at_once_the_gain_counts() {
    let mut m = Machine::new(2);
    m.change_reach("edge", &["web-1", "web-1"], &["web-1", "web-2", "web-2"]);
    assert!(m.reaches("edge", "web-1"));
    assert!(!m.reaches("edge", "web-2"));
}

#[test]
fn an_instance_is_nobodys_when_it_comes() {
    let mut m = Machine::new(1);
    m.add("web-2");
    assert!(!m.reaches("edge", "web-2"));
    m.change_reach("edge", &["web-2"], &[]);
    assert!(m.reaches("edge", "web-2"));
}

#[test]
fn what_was_told_too_early_counts_from_the_next_word() {
    let mut m = Machine::new(1);
    m.change_reach("edge", &["web-2", "web-3", "web-4"], &[]);
    m.change_reach("west", &["web-2"], &[]);
    for name in ["web-2", "web-3"] {
        m.add(name);
        assert!(!m.reaches("edge", name), "{name}");
    }
    m.change_reach("edge", &[], &["web-3"]);
    assert!(m.reaches("edge", "web-2"));
    assert!(!m.reaches("edge", "web-3"), "it was taken back");
    assert!(!m.reaches("west", "web-2"), "it has said nothing since");
    m.placement.forget_node(m.now, &"edge".into());
    m.add("web-4");
    m.change_reach("edge", &[], &[]);
    assert!(!m.reaches("edge", "web-4"), "it was forgotten");
}

#[test]
fn the_next_of_a_number_begins_with_nothing() {
    let mut m = Machine::new(3);
    m.change_reach("west", &["web-1", "web-2"], &[]);
    for node in ["edge", "west"] {
        m.placement.forget_node(m.now, &node.into());
    }
    for newcomer in ["north", "south"] {
        m.placement.set_zone(newcomer.into(), None);
        for instance in ["web-1", "web-2", "web-3"] {
            assert!(!m.reaches(newcomer, instance), "{newcomer} {instance}");
        }
    }
    assert_eq!(m.placement.reach.numbers(), 2);
}

#[test]
fn who_waits_is_served_when_a_whole_class_changes() {
    let policy = PoolPolicy {
        queue: 1,
        ..PoolPolicy::default()
    };
    let mut m = Machine::with(2, policy);
    m.change_reach("edge", &[], &["web-1", "web-2"]);
    assert!(m.acquire("s1", owner("alice", None)).is_none());
    m.change_reach("edge", &["web-1", "web-2"], &[]);
    let outcome = m.answer_to("s1");
    assert!(matches!(outcome, Some(Outcome::Granted(_))), "{outcome:?}");
    m.check_classes();
}

#[test]
fn a_proxy_that_comes_moves_no_instance() {
    let mut m = Machine::new(50);
    let names: Vec<String> = (1..=50).map(|number| format!("web-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let classes = |m: &Machine| -> Vec<_> {
        let slots = m.placement.slots.iter();
        slots.map(|(_, _, slot)| slot.class).collect()
    };
    let before = classes(&m);
    for number in 0..200 {
        m.change_reach(&format!("edge-{number}"), &names, &[]);
    }
    assert_eq!(classes(&m), before);
    // Of one that changes only itself does.
    for number in 0..200 {
        let (gained, lost): (&[_], &[_]) = (&[], &["web-7"]);
        m.change_reach(&format!("edge-{number}"), gained, lost);
        let moved = classes(&m)
            .iter()
            .zip(&before)
            .filter(|(a, b)| a != b)
            .count();
        assert_eq!(moved, 1);
    }
    for number in 0..200 {
        m.change_reach(&format!("edge-{number}"), &["web-7"], &[]);
    }
    assert_eq!(classes(&m), before);
    assert_eq!(m.placement.reach.census().len(), 1);
}

#[derive(Clone, Debug)]
enum Step {
    Add(&'static str),
    Change(&'static str, Vec<&'static str>, Vec<&'static str>),
    Forget(&'static str),
    Up(&'static str, bool),
    Ask(&'static str),
    End(usize),
}

const INSTANCES: &[&str] = &["a", "b", "c", "d", "e"];
const NODES: &[&str] = &["edge", "west", "north"];

fn step() -> impl Strategy<Value = Step> {
    let instance = || prop::sample::select(INSTANCES);
    let instances = || prop::sample::subsequence(INSTANCES.to_vec(), 0..=INSTANCES.len());
    let node = || prop::sample::select(NODES);
    prop_oneof![
        2 => instance().prop_map(Step::Add),
        6 => (node(), instances(), instances()).prop_map(|(n, gained, lost)| Step::Change(n, gained, lost)),
        1 => node().prop_map(Step::Forget),
        4 => (instance(), any::<bool>()).prop_map(|(name, up)| Step::Up(name, up)),
        3 => node().prop_map(Step::Ask),
        2 => (0..8_usize).prop_map(Step::End),
    ]
}

/// What each proxy reaches of what is there, and what it was told of too early.
#[derive(Default)]
struct Model {
    there: BTreeSet<&'static str>,
    reached: BTreeMap<&'static str, BTreeSet<&'static str>>,
    early: BTreeMap<&'static str, BTreeSet<&'static str>>,
}

impl Model {
    fn change(&mut self, node: &'static str, gained: &[&'static str], lost: &[&'static str]) {
        let reached = self.reached.entry(node).or_default();
        let early = self.early.entry(node).or_default();
        for name in lost {
            reached.remove(name);
            early.remove(name);
        }
        early.extend(gained);
        let there = early
            .iter()
            .copied()
            .filter(|name| self.there.contains(name));
        reached.extend(there);
        early.retain(|name| !self.there.contains(name));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2_000, ..ProptestConfig::default() })]

    #[test]
    fn classes_and_shelves_keep_step(steps in prop::collection::vec(step(), 0..60)) {
        let mut m = Machine::new(0);
        let mut model = Model::default();
        let mut live: Vec<String> = Vec::new();
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Add(name) => {
                    m.add(name);
                    model.there.insert(name);
                }
                Step::Change(node, gained, lost) => {
                    m.change_reach(node, &gained, &lost);
                    model.change(node, &gained, &lost);
                }
                Step::Forget(node) => {
                    m.placement.forget_node(m.now, &node.into());
                    model.reached.remove(node);
                    model.early.remove(node);
                }
                Step::Up(name, up) => m.placement.set_up(m.now, &name.into(), up),
                Step::Ask(node) => {
                    let session = format!("s-{number}");
                    let mut origin = m.origin("vm");
                    origin.node = node.into();
                    let outcome = m.acquire_from(origin, &session, owner(&session, None));
                    if let Some(Outcome::Granted(grant)) = outcome {
                        let reached = model.reached.get(node);
                        prop_assert!(reached.is_some_and(|all| all.contains(grant.instance.as_str())));
                        live.push(session);
                    }
                }
                Step::End(which) if which < live.len() => {
                    m.ended(&live.swap_remove(which), None, EndCause::Instance);
                    m.pass(seconds(1));
                }
                Step::End(_) => {}
            }
            for node in NODES {
                let reached = model.reached.get(node);
                for name in &model.there {
                    let expected = reached.is_some_and(|all| all.contains(name));
                    prop_assert_eq!(m.reaches(node, name), expected, "{} {}", node, name);
                }
            }
            m.check_classes();
            for node in NODES {
                let mut acquire = asked(m.origin("probe"), "probe", owner("probe", None));
                acquire.origin.node = (*node).into();
                let reached = model.reached.get(node).into_iter().flatten();
                let mut free = reached.filter(|name| m.is_free(name));
                let served = m.placement.check(m.now, &acquire);
                prop_assert_eq!(served.is_ok(), free.next().is_some(), "{}: {:?}", node, served);
            }
        }
    }
}
