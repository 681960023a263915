//! The yardstick: the standard library's ordered map.

use std::collections::{BTreeMap, VecDeque};

use tokio::time::Instant;

pub(super) struct Map {
    map: BTreeMap<u64, u64>,
    /// Its keys, in the order in which they go.
    keys: VecDeque<u64>,
    random: u64,
}

impl Map {
    pub(super) fn new(entries: usize) -> Self {
        let mut map = Self {
            map: BTreeMap::new(),
            keys: VecDeque::new(),
            random: 0x9E37_79B9_7F4A_7C15,
        };
        for _ in 0..entries {
            map.insert();
        }
        map
    }

    /// Nanoseconds that an insert and a remove take, at the size that it has.
    pub(super) fn measure(&mut self, pairs: usize) -> f64 {
        let start = Instant::now();
        for _ in 0..pairs {
            self.insert();
            if let Some(key) = self.keys.pop_front() {
                self.map.remove(&key);
            }
        }
        super::pairs::nanoseconds(start, pairs)
    }

    fn insert(&mut self) {
        // xorshift64: keys come in no order, as names do.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.map.insert(self.random, 0);
        self.keys.push_back(self.random);
    }
}
