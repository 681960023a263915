//! Things by key and by name. A key that has been given up finds nothing, whatever takes its place.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use foldhash::fast::FixedState;
use slotmap::{Key, SlotMap};

slotmap::new_key_type! {
    pub(super) struct HostKey;
    pub(super) struct PoolKey;
    pub(super) struct SessionKey;
    pub(super) struct ShelfKey;
    pub(super) struct SlotKey;
    pub(super) struct UserKey;
    pub(super) struct VmKey;
}

/// A map whose order depends on its seed and its history only.
pub(super) type Map<K, V> = HashMap<K, V, FixedState>;
/// A set of that kind.
pub(super) type Set<K> = HashSet<K, FixedState>;

/// Values under a key that is quick to follow, and their names.
#[derive(Debug)]
pub(super) struct Keyed<K: Key, N, V> {
    values: SlotMap<K, (N, V)>,
    keys: Map<N, K>,
}

impl<K: Key, N: Clone + Eq + Hash, V> Keyed<K, N, V> {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            values: SlotMap::with_key(),
            keys: Map::with_hasher(FixedState::with_seed(hash_seed)),
        }
    }

    pub(super) fn find(&self, name: &N) -> Option<K> {
        self.keys.get(name).copied()
    }

    pub(super) fn get(&self, key: K) -> Option<&V> {
        self.values.get(key).map(|(_, value)| value)
    }

    pub(super) fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.values.get_mut(key).map(|(_, value)| value)
    }

    pub(super) fn name(&self, key: K) -> Option<&N> {
        self.values.get(key).map(|(name, _)| name)
    }

    /// Adds a value under a name that is not there yet.
    pub(super) fn insert(&mut self, name: N, value: V) -> K {
        let key = self.values.insert((name.clone(), value));
        self.keys.insert(name, key);
        key
    }

    pub(super) fn find_or_insert_default(&mut self, name: &N) -> K
    where
        V: Default,
    {
        match self.keys.entry(name.clone()) {
            Entry::Occupied(entry) => *entry.get(),
            Entry::Vacant(entry) => {
                let key = self.values.insert((entry.key().clone(), V::default()));
                *entry.insert(key)
            }
        }
    }

    pub(super) fn remove(&mut self, key: K) -> Option<V> {
        let (name, value) = self.values.remove(key)?;
        self.keys.remove(&name);
        Some(value)
    }

    /// All of them, in no order that means anything, but always the same.
    pub(super) fn iter(&self) -> impl Iterator<Item = (K, &N, &V)> {
        self.values
            .iter()
            .map(|(key, (name, value))| (key, name, value))
    }

    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.values.values_mut().map(|(_, value)| value)
    }

    pub(super) fn len(&self) -> usize {
        self.values.len()
    }
}
