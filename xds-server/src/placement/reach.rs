//! Which proxies can be sent to which instances. Instances that the same proxies can be sent to are
//! of one class; most are of one or two.

use std::collections::HashSet;

use foldhash::fast::FixedState;
use slotmap::SlotMap;

use super::Placement;
use super::keys::{Map, SlotKey};
use super::types::{Acquire, InstanceName, NodeId, Zone};

slotmap::new_key_type! {
    pub(super) struct ClassKey;
}

/// A proxy, by the place of its bit in a class; `None` for one nothing is known of.
pub(super) type NodeKey = Option<u32>;

#[derive(Debug)]
pub(super) struct Reach {
    nodes: Map<NodeId, Node>,
    /// Numbers of proxies that were forgotten.
    vacant: Vec<u32>,
    classes: SlotMap<ClassKey, Class>,
    by_members: Map<Bits, ClassKey>,
}

#[derive(Debug)]
struct Node {
    number: u32,
    zone: Option<Zone>,
    reached: HashSet<SlotKey, FixedState>,
}

#[derive(Debug)]
struct Class {
    nodes: Bits,
    /// How many instances are of it.
    instances: usize,
}

/// A set of small numbers; no zero word at the end, so that equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Bits(Vec<u64>);

impl Bits {
    fn contains(&self, number: u32) -> bool {
        let (word, bit) = Self::place(number);
        self.0.get(word).is_some_and(|word| word & bit != 0)
    }

    fn with(&self, number: u32, contained: bool) -> Self {
        let (word, bit) = Self::place(number);
        let mut words = self.0.clone();
        if words.len() <= word {
            words.resize(word + 1, 0);
        }
        if let Some(word) = words.get_mut(word) {
            *word = if contained { *word | bit } else { *word & !bit };
        }
        while words.last() == Some(&0) {
            words.pop();
        }
        Self(words)
    }

    fn place(number: u32) -> (usize, u64) {
        let word = usize::try_from(number / u64::BITS).unwrap_or(usize::MAX);
        (word, 1 << (number % u64::BITS))
    }
}

impl Reach {
    pub(super) fn new(hash_seed: u64) -> Self {
        let mut classes = SlotMap::with_key();
        let nobody = classes.insert(Class {
            nodes: Bits::default(),
            instances: 0,
        });
        let mut by_members = Map::with_hasher(FixedState::with_seed(hash_seed));
        by_members.insert(Bits::default(), nobody);
        Self {
            nodes: Map::with_hasher(FixedState::with_seed(hash_seed)),
            vacant: Vec::new(),
            classes,
            by_members,
        }
    }

    /// The class of an instance nobody can be sent to yet; counts one in it.
    pub(super) fn nobody(&mut self) -> ClassKey {
        self.join(Bits::default())
    }

    pub(super) fn find(&self, node: &NodeId) -> NodeKey {
        self.nodes.get(node).map(|node| node.number)
    }

    /// A proxy's key, and where it is.
    pub(super) fn locate(&self, node: &NodeId) -> (NodeKey, Option<&Zone>) {
        match self.nodes.get(node) {
            Some(node) => (Some(node.number), node.zone.as_ref()),
            None => (None, None),
        }
    }

    pub(super) fn set_zone(&mut self, node: &NodeId, zone: Option<Zone>) {
        self.node(node).zone = zone;
    }

    pub(super) fn reaches(&self, node: NodeKey, class: ClassKey) -> bool {
        let class = self.classes.get(class);
        class
            .zip(node)
            .is_some_and(|(class, node)| class.nodes.contains(node))
    }

    pub(super) fn forget(&mut self, node: &NodeId) {
        if let Some(node) = self.nodes.remove(node) {
            self.vacant.push(node.number);
        }
    }

    fn node(&mut self, node: &NodeId) -> &mut Node {
        let number = match self.vacant.last() {
            Some(number) => *number,
            None => u32::try_from(self.nodes.len()).unwrap_or(u32::MAX),
        };
        self.nodes.entry(node.clone()).or_insert_with(|| {
            self.vacant.pop();
            Node {
                number,
                zone: None,
                reached: HashSet::default(),
            }
        })
    }

    /// The class of those of `class` and this proxy, or without it; moves one instance there.
    fn move_one(&mut self, class: ClassKey, node: u32, reached: bool) -> Option<ClassKey> {
        let from = self.classes.get_mut(class)?;
        from.instances -= 1;
        let nodes = from.nodes.with(node, reached);
        Some(self.join(nodes))
    }

    fn join(&mut self, nodes: Bits) -> ClassKey {
        let key = match self.by_members.get(&nodes) {
            Some(key) => *key,
            None => {
                let class = Class {
                    nodes: nodes.clone(),
                    instances: 0,
                };
                let key = self.classes.insert(class);
                self.by_members.insert(nodes, key);
                key
            }
        };
        if let Some(class) = self.classes.get_mut(key) {
            class.instances += 1;
        }
        key
    }

    /// Forgets a class no instance is of; true if it is gone.
    fn drop_if_empty(&mut self, key: ClassKey) -> bool {
        let empty = |class: &&Class| class.instances == 0 && !class.nodes.0.is_empty();
        let Some(class) = self.classes.get(key).filter(empty) else {
            return false;
        };
        self.by_members.remove(&class.nodes);
        self.classes.remove(key);
        true
    }
}

impl Placement {
    pub(super) fn change_reach(&mut self, node: &NodeId, instances: &HashSet<InstanceName>) {
        let known = self.reach.node(node);
        let number = known.number;
        let before = std::mem::take(&mut known.reached);
        let after: HashSet<SlotKey, FixedState> = instances
            .iter()
            .filter_map(|name| self.slots.find(name))
            .collect();
        let mut changed: Vec<SlotKey> = before.symmetric_difference(&after).copied().collect();
        changed.sort_unstable();
        for slot in changed {
            self.reclass(slot, number, after.contains(&slot));
        }
        self.reach.node(node).reached = after;
    }

    fn reclass(&mut self, key: SlotKey, node: u32, reached: bool) {
        let Some(slot) = self.slots.get(key) else {
            return;
        };
        let (pool, from, free) = (slot.pool, slot.class, slot.shelved.is_some());
        let Some(to) = self.reach.move_one(from, node, reached) else {
            return;
        };
        if free {
            self.unshelve(key);
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.class = to;
        }
        if free {
            self.shelve(key);
        }
        if self.reach.drop_if_empty(from) {
            self.drop_shelves(from);
        }
        self.stir(pool);
    }

    /// The instance can be used, has what is asked for, and the proxy can be sent to it.
    pub(super) fn serves(&self, slot: SlotKey, acquire: &Acquire) -> bool {
        let node = self.reach.find(&acquire.origin.node);
        self.slots.get(slot).is_some_and(|slot| {
            slot.is_usable()
                && slot.spec.labels.satisfy(&acquire.labels)
                && self.reach.reaches(node, slot.class)
        })
    }
}
