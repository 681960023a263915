//! Which of several free instances a session is given.

use std::collections::BTreeSet;

use super::keys::{HostKey, PoolKey, ShelfKey, SlotKey};
use super::reach::ClassKey;
use super::types::{Choice, Labels, Pick, Time, Why, Zone};
use super::{Placement, Session};

/// A machine that carries instances.
#[derive(Debug, Default)]
pub(super) struct Host {
    pub(super) slots: Vec<SlotKey>,
    /// How many of them have a lease.
    leased: u64,
}

/// Free instances of one zone, with the same labels, that the same proxies can be sent to: to any
/// request they differ by their rank only.
#[derive(Debug)]
pub(super) struct Shelf {
    zone: Option<Zone>,
    labels: Labels,
    class: ClassKey,
    free: BTreeSet<(Rank, SlotKey)>,
}

/// Who comes first is given first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Rank(u64, Time);

/// Where a free instance is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shelved {
    shelf: ShelfKey,
    rank: Rank,
}

impl Placement {
    /// The instance that this session would be given of those that are free, and why that one.
    ///
    /// Costs a look at each shelf of the pool, of which there are as many as there are kinds of
    /// instances, and one at the first instance on each.
    pub(super) fn choose(&self, now: Time, session: &Session) -> Option<(SlotKey, Pick)> {
        let pool = self.pools.get(session.pool)?;
        let acquire = &session.acquire;
        if !pool.admits(&acquire.owner.tenant) {
            return None;
        }
        let (node, zone) = self.reach.locate(&acquire.origin.node);
        let (elsewhere, (_, slot)) = pool
            .shelves
            .iter()
            .filter_map(|(_, shelf)| Some((shelf, shelf.free.first()?)))
            .filter(|(shelf, _)| {
                self.reach.reaches(node, shelf.class) && shelf.labels.satisfy(&acquire.labels)
            })
            .map(|(shelf, first)| (zone.is_none() || shelf.zone.as_ref() != zone, *first))
            .min()?;
        let pick = Pick {
            why: match pool.policy.choice {
                Choice::LeastRecentlyUsed => Why::LeastRecentlyUsed,
                Choice::Pack => Why::Packed,
                Choice::Spread => Why::Spread,
            },
            free: u32::try_from(pool.free).unwrap_or(u32::MAX),
            same_zone: !elsewhere,
            waited: now.since(session.asked_at),
        };
        Some((slot, pick))
    }

    /// Puts an instance that is free among the free ones.
    pub(super) fn shelve(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(slot.pool) else {
            return;
        };
        let leased = self.hosts.get(slot.host).map_or(0, |host| host.leased);
        let rank = match pool.policy.choice {
            Choice::LeastRecentlyUsed => Rank(0, slot.freed_at),
            Choice::Pack => Rank(u64::MAX - leased, Time::default()),
            Choice::Spread => Rank(leased, slot.freed_at),
        };
        let alike = |shelf: &Shelf| {
            shelf.class == slot.class
                && shelf.zone == slot.spec.zone
                && shelf.labels == slot.spec.labels
        };
        let found = pool.shelves.iter().find(|(_, shelf)| alike(shelf));
        let shelf = match found {
            Some((shelf, _)) => shelf,
            None => pool.shelves.insert(Shelf {
                zone: slot.spec.zone.clone(),
                labels: slot.spec.labels.clone(),
                class: slot.class,
                free: BTreeSet::new(),
            }),
        };
        if let Some(shelf) = pool.shelves.get_mut(shelf) {
            shelf.free.insert((rank, key));
        }
        pool.free += 1;
        slot.shelved = Some(Shelved { shelf, rank });
        let pool = slot.pool;
        self.stir(pool);
    }

    /// Takes an instance from among the free ones.
    pub(super) fn unshelve(&mut self, key: SlotKey) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(Shelved { shelf, rank }) = slot.shelved.take() else {
            return;
        };
        let Some(pool) = self.pools.get_mut(slot.pool) else {
            return;
        };
        if let Some(shelf) = pool.shelves.get_mut(shelf) {
            shelf.free.remove(&(rank, key));
        }
        pool.free -= 1;
    }

    /// Gives every free instance of a pool its place by the pool's rules.
    pub(super) fn shelve_anew(&mut self, pool: PoolKey) {
        let free: Vec<SlotKey> = self
            .slots
            .iter()
            .filter(|(_, _, slot)| slot.pool == pool && slot.shelved.is_some())
            .map(|(key, _, _)| key)
            .collect();
        for key in &free {
            self.unshelve(*key);
        }
        for key in free {
            self.shelve(key);
        }
    }

    /// Takes away the shelves of a class that no instance is of.
    pub(super) fn drop_shelves(&mut self, class: ClassKey) {
        for pool in self.pools.values_mut() {
            pool.shelves.retain(|_, shelf| shelf.class != class);
        }
    }

    /// One of a host's instances has been leased (`true`) or given back: the others' ranks change.
    pub(super) fn host_of(&mut self, host: HostKey, leased: bool) {
        let Some(host) = self.hosts.get_mut(host) else {
            return;
        };
        host.leased = if leased {
            host.leased + 1
        } else {
            host.leased.saturating_sub(1)
        };
        let by_host = |pool: &super::Pool| pool.policy.choice != Choice::LeastRecentlyUsed;
        if host.slots.len() < 2 || !self.pools.iter().any(|(_, _, pool)| by_host(pool)) {
            return;
        }
        let siblings = host.slots.clone();
        for key in siblings {
            let by_host = self
                .policy_of(key)
                .is_some_and(|policy| policy.choice != Choice::LeastRecentlyUsed);
            let free = self
                .slots
                .get(key)
                .is_some_and(|slot| slot.shelved.is_some());
            if by_host && free {
                self.unshelve(key);
                self.shelve(key);
            }
        }
    }
}
