//! A store that ends with its process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::history::{History, HistoryError, HistoryLimits, HistoryQuery, PastRecord};
use super::{Batch, CommitError, LoadError, Loaded, Stamp, Store, UnixMillis};

/// Keeps only the history, in memory. For tests and trials.
#[derive(Debug)]
pub struct MemoryStore {
    limits: HistoryLimits,
    past: Arc<Past>,
}

impl MemoryStore {
    /// An empty one.
    pub fn new(limits: HistoryLimits) -> Self {
        Self {
            limits,
            past: Arc::default(),
        }
    }
}

impl Store for MemoryStore {
    fn load(&mut self, _: Stamp) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch, _: u64) -> Result<(), CommitError> {
        let mut past = self.past.lock();
        for (stamp, session) in &batch.past {
            let record = PastRecord::new(*stamp, session);
            past.insert(record.key(), record);
        }
        while u64::try_from(past.len()).unwrap_or(u64::MAX) > self.limits.max_sessions {
            past.pop_first();
        }
        Ok(())
    }

    fn tend(&mut self, now: UnixMillis) -> Result<(), CommitError> {
        let kept = (now.before(self.limits.max_age).0, 0, 0);
        let mut past = self.past.lock();
        *past = past.split_off(&kept);
        Ok(())
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::clone(&self.past) as Arc<dyn History>
    }
}

#[derive(Debug, Default)]
struct Past(Mutex<BTreeMap<(u64, u64, u64), PastRecord>>);

impl Past {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<(u64, u64, u64), PastRecord>> {
        // A map of records is whole between any two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl History for Past {
    fn query(&self, query: &HistoryQuery) -> Result<Vec<PastRecord>, HistoryError> {
        let past = self.lock();
        let found = past.values().rev().filter(|past| query.matches(past));
        Ok(found.take(query.limit.get()).cloned().collect())
    }
}
