//! When somebody who gets nothing should ask again.

use std::time::Duration;

use super::Placement;
use super::keys::{PoolKey, SlotKey};
use super::types::Time;

impl Placement {
    /// By what is known: the moments at which leases end by themselves, and how often instances
    /// have become free lately.
    pub(super) fn retry_after(&self, now: Time, pool: PoolKey) -> Duration {
        let Some(pool) = self.pools.get(pool) else {
            return UNKNOWN;
        };
        let ahead = pool.queue.len();
        // Those ahead go first, as far as it is known when.
        let last = pool.coming.len().saturating_sub(1);
        let coming = pool.coming.iter().nth(ahead.min(LOOK_AHEAD).min(last));
        let known = coming.map(|(at, _)| at.since(now));
        let turns = u32::try_from(ahead + 1).unwrap_or(u32::MAX);
        let usual = pool.pace.map(|pace| pace.saturating_mul(turns));
        let wait = known.into_iter().chain(usual).min().unwrap_or(UNKNOWN);
        wait.clamp(LEAST, MOST)
    }

    /// An instance of the pool has become free.
    pub(super) fn freed(&mut self, now: Time, slot: SlotKey) {
        let Some(pool) = self.slots.get(slot).map(|slot| slot.pool) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(pool) else {
            return;
        };
        if let Some(last) = pool.last_freed.replace(now) {
            let passed = now.since(last);
            // The last eight or so count.
            let pace = pool.pace.map_or(passed, |pace| {
                pace.saturating_mul(7).saturating_add(passed) / 8
            });
            pool.pace = Some(pace);
        }
    }
}

/// A session lasts minutes to hours; a client that asks every few seconds finds a place soon after
/// it is free.
const UNKNOWN: Duration = Duration::from_secs(5);
const LEAST: Duration = Duration::from_secs(1);
/// What is known may change: an operator adds instances, somebody leaves early.
const MOST: Duration = Duration::from_secs(60);
/// A refusal is to cost little, however many wait.
const LOOK_AHEAD: usize = 64;
