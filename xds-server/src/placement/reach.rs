//! Which proxies can be sent to which instances. Instances that the same proxies can be sent to are
//! of one class; most are of one or two. When a whole class changes together, as it does when a proxy
//! comes, the class is changed and none of its instances is touched.

use std::collections::hash_map::Entry;

use foldhash::fast::FixedState;
use slotmap::SlotMap;

use super::Placement;
use super::keys::{Map, PoolKey, Set, SlotKey};
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
    /// Instances that it can be sent to by name, and that were not there when that was said.
    early: Set<InstanceName>,
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
        Self {
            nodes: Map::with_hasher(FixedState::with_seed(hash_seed)),
            vacant: Vec::new(),
            classes: SlotMap::with_key(),
            by_members: Map::with_hasher(FixedState::with_seed(hash_seed)),
        }
    }

    /// The class of an instance nobody can be sent to yet; counts one in it.
    pub(super) fn nobody(&mut self) -> ClassKey {
        self.join(Bits::default(), 1)
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
                early: Set::default(),
            }
        })
    }

    /// Changes a class as a whole, if so many are all its instances and there is no such class yet.
    fn change_whole(&mut self, key: ClassKey, instances: usize, node: u32, reached: bool) -> bool {
        let class = self.classes.get_mut(key);
        let Some(class) = class.filter(|class| class.instances == instances) else {
            return false;
        };
        let nodes = class.nodes.with(node, reached);
        let Entry::Vacant(vacant) = self.by_members.entry(nodes.clone()) else {
            return false;
        };
        vacant.insert(key);
        let before = std::mem::replace(&mut class.nodes, nodes);
        self.by_members.remove(&before);
        true
    }

    /// The class of those of `class` and this proxy, or without it; counts so many as moved there.
    fn change_some(
        &mut self,
        key: ClassKey,
        instances: usize,
        node: u32,
        reached: bool,
    ) -> Option<ClassKey> {
        let from = self.classes.get_mut(key)?;
        from.instances -= instances;
        let nodes = from.nodes.with(node, reached);
        Some(self.join(nodes, instances))
    }

    fn join(&mut self, nodes: Bits, instances: usize) -> ClassKey {
        let classes = &mut self.classes;
        let key = *self.by_members.entry(nodes).or_insert_with_key(|nodes| {
            classes.insert(Class {
                nodes: nodes.clone(),
                instances: 0,
            })
        });
        if let Some(class) = self.classes.get_mut(key) {
            class.instances += instances;
        }
        key
    }

    /// Forgets a class no instance is of; true if it is gone.
    fn drop_if_empty(&mut self, key: ClassKey) -> bool {
        let empty = |class: &&Class| class.instances == 0;
        let Some(class) = self.classes.get(key).filter(empty) else {
            return false;
        };
        self.by_members.remove(&class.nodes);
        self.classes.remove(key);
        true
    }
}

#[cfg(test)]
impl Reach {
    /// How many numbers proxies have or had.
    pub(super) fn numbers(&self) -> usize {
        self.nodes.len() + self.vacant.len()
    }

    /// How many instances each class has.
    pub(super) fn census(&self) -> Vec<(ClassKey, usize)> {
        assert_eq!(self.by_members.len(), self.classes.len());
        let classes = self.classes.iter();
        classes
            .inspect(|(key, class)| assert_eq!(self.by_members.get(&class.nodes), Some(key)))
            .map(|(key, class)| (key, class.instances))
            .collect()
    }
}

impl Placement {
    pub(super) fn gain_and_lose(
        &mut self,
        node: &NodeId,
        gained: &[InstanceName],
        lost: &[InstanceName],
    ) {
        let known = self.reach.node(node);
        let number = known.number;
        let mut early = std::mem::take(&mut known.early);
        for name in lost {
            early.remove(name);
        }
        let lost = lost.iter().filter_map(|name| self.slots.find(name));
        self.reclass(number, false, lost.collect());

        let slots = &self.slots;
        let mut here: Vec<SlotKey> = Vec::with_capacity(gained.len());
        early.retain(|name| {
            let found = slots.find(name);
            here.extend(found);
            found.is_none()
        });
        for name in gained {
            match slots.find(name) {
                Some(slot) => here.push(slot),
                None => {
                    early.insert(name.clone());
                }
            }
        }
        self.reclass(number, true, here);
        self.reach.node(node).early = early;
    }

    /// Takes a proxy out of all classes, and forgets it. Whoever has its number next begins with nothing.
    pub(super) fn lose_node(&mut self, name: &NodeId) {
        let Some(number) = self.reach.find(name) else {
            return;
        };
        let classes = self.reach.classes.values();
        if classes.clone().any(|class| class.nodes.contains(number)) {
            let all = self.slots.iter().map(|(slot, ..)| slot);
            self.reclass(number, false, all.collect());
        }
        self.reach.nodes.remove(name);
        self.reach.vacant.push(number);
    }

    /// The proxy of that number can be sent to each of these, or no longer.
    fn reclass(&mut self, node: u32, reached: bool, slots: Vec<SlotKey>) {
        let changes = |slot: SlotKey| {
            let class = self.slots.get(slot)?.class;
            (self.reach.reaches(Some(node), class) != reached).then_some((class, slot))
        };
        let mut changed: Vec<(ClassKey, SlotKey)> = slots.into_iter().filter_map(changes).collect();
        changed.sort_unstable();
        changed.dedup();
        for alike in changed.chunk_by(|(one, _), (other, _)| one == other) {
            let Some((class, _)) = alike.first() else {
                continue;
            };
            let instances = alike.len();
            if !self.reach.change_whole(*class, instances, node, reached)
                && let Some(to) = self.reach.change_some(*class, instances, node, reached)
            {
                for (_, slot) in alike {
                    self.set_class(*slot, to);
                }
                if self.reach.drop_if_empty(*class) {
                    self.drop_shelves(*class);
                }
            }
            self.stir_pools_of(alike);
        }
    }

    fn set_class(&mut self, key: SlotKey, class: ClassKey) {
        let free = |slot: &super::Slot| slot.shelved.is_some();
        let free = self.slots.get(key).is_some_and(free);
        if free {
            self.unshelve(key);
        }
        if let Some(slot) = self.slots.get_mut(key) {
            slot.class = class;
        }
        if free {
            self.shelve(key);
        }
    }

    fn stir_pools_of(&mut self, changed: &[(ClassKey, SlotKey)]) {
        let mut latest: Option<PoolKey> = None;
        for (_, slot) in changed {
            let pool = self.slots.get(*slot).map(|slot| slot.pool);
            if let Some(pool) = pool.filter(|_| pool != latest) {
                self.stir(pool);
                latest = Some(pool);
            }
        }
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
