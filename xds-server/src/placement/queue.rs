//! Who waits for an instance of a pool, and whose turn it is: the greatest priority first; of one
//! priority the tenants in turn; of one tenant who came first.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::acquire::Claim;
use super::keys::{Map, PoolKey, SessionKey, SlotKey};
use super::reach::NodeKey;
use super::types::{Acquire, Labels, Pick, Priority, Refusal, Time};
use super::{Placement, Session, WaitingPlace};

/// A place in the queue; of two in one lane who asked earlier has the smaller, also who was an heir in between.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Ticket(Time, u64);

#[derive(Debug)]
pub(super) struct Queue {
    levels: BTreeMap<Priority, Level>,
    waiting: usize,
    next: u64,
    hash_seed: u64,
}

/// Those of one priority.
#[derive(Debug)]
struct Level {
    /// Tenants somebody of whom waits; the first is the next to be served.
    turns: VecDeque<Arc<str>>,
    lanes: Map<Arc<str>, BTreeMap<Ticket, SessionKey>>,
}

impl Queue {
    pub(super) fn new(hash_seed: u64) -> Self {
        Self {
            levels: BTreeMap::new(),
            waiting: 0,
            next: 0,
            hash_seed,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.waiting
    }

    /// How many of one tenant wait.
    pub(super) fn waiting_of(&self, tenant: &Arc<str>) -> usize {
        let lanes = self.levels.values();
        let lanes = lanes.filter_map(|level| level.lanes.get(tenant));
        lanes.map(BTreeMap::len).sum()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    pub(super) fn push(
        &mut self,
        priority: Priority,
        tenant: &Arc<str>,
        asked_at: Time,
        session: SessionKey,
    ) -> Ticket {
        let ticket = Ticket(asked_at, self.next);
        self.next += 1;
        self.waiting += 1;
        let hash_seed = self.hash_seed;
        let level = self.levels.entry(priority).or_insert_with(|| Level {
            turns: VecDeque::new(),
            lanes: Map::with_hasher(FixedState::with_seed(hash_seed)),
        });
        if !level.lanes.contains_key(tenant) {
            // Who comes back from waiting for their own may have been here before the next in turn.
            let next = level
                .turns
                .front()
                .and_then(|next| level.lanes.get(next)?.keys().next());
            if next.is_some_and(|next| ticket < *next) {
                level.turns.push_front(Arc::clone(tenant));
            } else {
                level.turns.push_back(Arc::clone(tenant));
            }
        }
        let lane = level.lanes.entry(Arc::clone(tenant)).or_default();
        lane.insert(ticket, session);
        ticket
    }

    /// Takes somebody out who leaves.
    pub(super) fn remove(&mut self, priority: Priority, tenant: &Arc<str>, ticket: Ticket) {
        let Some(level) = self.levels.get_mut(&priority) else {
            return;
        };
        let Some(lane) = level.lanes.get_mut(tenant) else {
            return;
        };
        if lane.remove(&ticket).is_none() {
            return;
        }
        self.waiting -= 1;
        if lane.is_empty() {
            level.lanes.remove(tenant);
            level.turns.retain(|other| other != tenant);
        }
        if level.lanes.is_empty() {
            self.levels.remove(&priority);
        }
    }

    /// The tenant has had its turn at this priority.
    pub(super) fn served(&mut self, priority: Priority, tenant: &Arc<str>) {
        if let Some(level) = self.levels.get_mut(&priority)
            && let Some(at) = level.turns.iter().position(|other| other == tenant)
            && let Some(tenant) = level.turns.remove(at)
        {
            level.turns.push_back(tenant);
        }
    }

    /// Everybody who waits, by priority and the tenants' turns: of each tenant all, in their order.
    pub(super) fn lanes(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, impl Iterator<Item = SessionKey>)> {
        self.levels.values().rev().flat_map(|level| {
            let lanes = level
                .turns
                .iter()
                .filter_map(|tenant| level.lanes.get_key_value(tenant));
            lanes.map(|(tenant, lane)| (tenant, lane.values().copied()))
        })
    }

    /// Everybody who waits, in the order in which they came.
    pub(super) fn in_order(&self) -> Vec<SessionKey> {
        let lanes = self.levels.values().flat_map(|level| level.lanes.values());
        let mut all: Vec<_> = lanes
            .flatten()
            .map(|(ticket, session)| (*ticket, *session))
            .collect();
        all.sort_unstable_by_key(|(ticket, _)| *ticket);
        all.into_iter().map(|(_, session)| session).collect()
    }
}

/// Who asks alike: what one cannot be given, the other cannot either.
type Kind = (NodeKey, Labels);

impl Placement {
    /// Has a session wait for an instance, if there is room for it.
    pub(super) fn enqueue(&mut self, now: Time, key: SessionKey) {
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let (pool_key, asked_at) = (known.pool, known.asked_at);
        let acquire = Arc::clone(&known.acquire);
        let retry_after = self.retry_after(now, pool_key);
        let Some(pool) = self.pools.get_mut(pool_key) else {
            return;
        };
        let room = if self.learning {
            pool.policy.queue.max(LEARNING_QUEUE)
        } else {
            pool.policy.queue
        };
        if pool.queue.len() >= room {
            let refusal = match room {
                0 => Refusal::NoInstance { retry_after },
                _ => Refusal::QueueFull { retry_after },
            };
            return self.refuse_waiting(key, refusal);
        }
        let ticket = pool
            .queue
            .push(acquire.priority, &acquire.owner.tenant, asked_at, key);
        self.set_waiting_place(key, WaitingPlace::Queue(ticket));
        self.count(key, true);
    }

    /// Takes a session out of the queue it is in.
    pub(super) fn leave_queue(&mut self, known: &Session, ticket: Ticket) {
        let Acquire {
            priority, owner, ..
        } = &*known.acquire;
        if let Some(pool) = self.pools.get_mut(known.pool) {
            pool.queue.remove(*priority, &owner.tenant, ticket);
        }
    }

    /// Gives what has become free to those who wait for it.
    pub(super) fn serve_queues(&mut self, now: Time) {
        if self.learning {
            return;
        }
        while let Some(pool) = self.next_stirred() {
            while let Some((session, slot, pick)) = self.next_in_queue(now, pool) {
                self.serve(now, pool, session, slot, pick);
            }
        }
    }

    /// It is the turn of a session for which this instance would be free. What its user has may have changed while it
    /// waited.
    fn serve(&mut self, now: Time, pool: PoolKey, key: SessionKey, slot: SlotKey, pick: Pick) {
        if !self.speaks(now, key) {
            // Its proxy has said nothing for as long as it waited: an answer would reach nobody.
            return self.refuse_waiting(key, Refusal::Cancelled);
        }
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let acquire = Arc::clone(&known.acquire);
        match self.claim(known) {
            Claim::Refused => return self.refuse_waiting(key, Refusal::SessionExists),
            Claim::Own(own) if self.serves(own, &acquire) => {
                return self.inherit(now, key, own);
            }
            // Who was to have that next may have been given this one: the queue is looked at again.
            Claim::Own(own) if self.give_up_own(now, own) => return,
            Claim::Own(_) | Claim::None => {}
        }
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.queue.served(acquire.priority, &acquire.owner.tenant);
        }
        self.grant(now, key, slot, pick, None);
    }

    /// The first in the queue for whom there is an instance, and the instance.
    fn next_in_queue(&self, now: Time, key: PoolKey) -> Option<(SessionKey, SlotKey, Pick)> {
        let pool = self.pools.get(key)?;
        let mut hopeless: Vec<Kind> = Vec::new();
        for (tenant, lane) in pool.queue.lanes() {
            if !pool.admits(tenant) || pool.is_full_of(tenant) {
                continue;
            }
            for session in lane {
                let Some(known) = self.sessions.get(session) else {
                    continue;
                };
                if self.user_is_full(known) && !self.replaces(known) {
                    continue;
                }
                let node = self.reach.find(&known.acquire.origin.node);
                let kind =
                    |(other, labels): &Kind| *other == node && *labels == known.acquire.labels;
                if hopeless.iter().any(kind) {
                    continue;
                }
                if let Some((slot, pick)) = self.choose(now, known) {
                    return Some((session, slot, pick));
                }
                hopeless.push((node, known.acquire.labels.clone()));
            }
        }
        None
    }
}

/// While nothing is known yet, so many may wait even where nobody may otherwise.
pub const LEARNING_QUEUE: usize = 1_000;
