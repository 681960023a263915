//! A pool: its rules, its free instances, who waits, and what its tenants use.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use foldhash::fast::FixedState;
use slotmap::SlotMap;

use super::choice::Shelf;
use super::keys::{Map, PoolKey, SessionKey, ShelfKey, SlotKey};
use super::queue::Queue;
use super::types::{PoolPolicy, Refusal, TenantPolicy, Time};
use super::{Placement, Session, SessionState};

#[derive(Debug)]
pub(super) struct Pool {
    pub(super) policy: PoolPolicy,
    /// Free instances; those that look alike to every request are on one shelf.
    pub(super) shelves: SlotMap<ShelfKey, Shelf>,
    /// How many are on all shelves.
    pub(super) free: usize,
    /// Instances with a lease, whatever its state.
    pub(super) leased: usize,
    pub(super) queue: Queue,
    tenants: Map<Arc<str>, TenantUse>,
    /// Instances that are kept for tenants who have fewer than are reserved for them.
    kept: usize,
    /// When instances will be free by themselves at the latest.
    pub(super) coming: BTreeSet<(Time, SlotKey)>,
    /// The mean time between two instances that became free, lately.
    pub(super) pace: Option<Duration>,
    pub(super) last_freed: Option<Time>,
    /// It is among the stirred ones.
    stirred: bool,
}

/// What a tenant has of a pool.
#[derive(Clone, Copy, Debug, Default)]
struct TenantUse {
    /// Instances with a lease of theirs.
    leased: u32,
    /// Sessions that count.
    sessions: u32,
}

impl Pool {
    pub(super) fn new(policy: PoolPolicy, hash_seed: u64) -> Self {
        let mut pool = Self {
            policy,
            shelves: SlotMap::with_key(),
            free: 0,
            leased: 0,
            queue: Queue::new(hash_seed),
            tenants: Map::with_hasher(FixedState::with_seed(hash_seed)),
            kept: 0,
            coming: BTreeSet::new(),
            pace: None,
            last_freed: None,
            stirred: false,
        };
        pool.count_kept();
        pool
    }

    /// Whether one of the free instances may be given to this tenant now.
    pub(super) fn admits(&self, tenant: &Arc<str>) -> bool {
        let below = |limit: u32| usize::try_from(limit).is_ok_and(|limit| self.leased < limit);
        let for_others = self.kept.saturating_sub(self.kept_for(tenant));
        self.policy.max_sessions.is_none_or(below) && self.free > for_others
    }

    /// A lease of this tenant has come (`true`) or gone.
    pub(super) fn lease_of(&mut self, tenant: &Arc<str>, came: bool) {
        let before = self.kept_for(tenant);
        let step = |count: u32| {
            if came {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            }
        };
        self.leased = if came {
            self.leased + 1
        } else {
            self.leased.saturating_sub(1)
        };
        self.change_use(tenant, |used| used.leased = step(used.leased));
        self.kept = self.kept + self.kept_for(tenant) - before;
    }

    /// Nobody has or wants anything of it.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
            && self.leased == 0
            && self.tenants.is_empty()
            && self.coming.is_empty()
    }

    fn session_of(&mut self, tenant: &Arc<str>, counts: bool) {
        let step = |count: u32| {
            if counts {
                count.saturating_add(1)
            } else {
                count.saturating_sub(1)
            }
        };
        self.change_use(tenant, |used| used.sessions = step(used.sessions));
    }

    fn change_use(&mut self, tenant: &Arc<str>, change: impl FnOnce(&mut TenantUse)) {
        // Nobody asks what is used of a pool that sets nobody a limit.
        if self.policy.tenants.is_empty() && self.policy.max_sessions_per_tenant.is_none() {
            return;
        }
        let used = self.tenants.entry(Arc::clone(tenant)).or_default();
        change(used);
        if used.leased == 0 && used.sessions == 0 {
            self.tenants.remove(tenant);
        }
    }

    fn kept_for(&self, tenant: &Arc<str>) -> usize {
        let Some(TenantPolicy { reserved, .. }) = self.policy.tenants.get(tenant) else {
            return 0;
        };
        let leased = self.tenants.get(tenant).map_or(0, |used| used.leased);
        usize::try_from(reserved.saturating_sub(leased)).unwrap_or(usize::MAX)
    }

    fn count_kept(&mut self) {
        self.kept = self
            .policy
            .tenants
            .keys()
            .map(|tenant| self.kept_for(tenant))
            .sum();
    }

    /// So many of the tenant's sessions that count have an instance that no other may be given one. Who resumes is
    /// not asked, so that this may be so though others of the tenant's were let in.
    pub(super) fn is_full_of(&self, tenant: &Arc<str>) -> bool {
        let waiting = u32::try_from(self.queue.waiting_of(tenant)).unwrap_or(u32::MAX);
        self.limit_of(tenant)
            .is_some_and(|limit| self.sessions_of(tenant).saturating_sub(waiting) >= limit)
    }

    fn has_too_many_of(&self, tenant: &Arc<str>) -> bool {
        self.limit_of(tenant)
            .is_some_and(|limit| self.sessions_of(tenant) >= limit)
    }

    fn limit_of(&self, tenant: &Arc<str>) -> Option<u32> {
        let own = self.policy.tenants.get(tenant);
        let own = own.and_then(|tenant| tenant.max_sessions);
        own.or(self.policy.max_sessions_per_tenant)
    }

    fn sessions_of(&self, tenant: &Arc<str>) -> u32 {
        self.tenants.get(tenant).map_or(0, |used| used.sessions)
    }
}

impl Placement {
    /// The pool's queue is looked at once what is under way is done.
    pub(super) fn stir(&mut self, key: PoolKey) {
        if let Some(pool) = self.pools.get_mut(key)
            && !pool.stirred
            && !pool.queue.is_empty()
        {
            pool.stirred = true;
            self.stirred.push(key);
        }
    }

    /// The next pool to look at.
    pub(super) fn next_stirred(&mut self) -> Option<PoolKey> {
        let key = self.stirred.pop()?;
        if let Some(pool) = self.pools.get_mut(key) {
            pool.stirred = false;
        }
        Some(key)
    }

    pub(super) fn change_policy(&mut self, key: PoolKey, policy: PoolPolicy) {
        let Some(pool) = self.pools.get_mut(key) else {
            return;
        };
        pool.policy = policy;
        pool.tenants.clear();
        let leased: Vec<Arc<str>> = self
            .slots
            .iter()
            .filter(|(_, _, slot)| slot.pool == key)
            .filter_map(|(_, _, slot)| Some(Arc::clone(&slot.lease.as_ref()?.acquire.owner.tenant)))
            .collect();
        let counted: Vec<Arc<str>> = self
            .sessions
            .iter()
            .filter(|(_, _, session)| session.pool == key && session.counted)
            .map(|(_, _, session)| Arc::clone(&session.acquire.owner.tenant))
            .collect();
        if let Some(pool) = self.pools.get_mut(key) {
            for tenant in leased {
                pool.change_use(&tenant, |used| used.leased += 1);
            }
            for tenant in counted {
                pool.change_use(&tenant, |used| used.sessions += 1);
            }
            pool.count_kept();
        }
        self.shelve_anew(key);
        self.stir(key);
    }

    /// Has a session count as one of its user's and its tenant's, or no longer.
    pub(super) fn count(&mut self, key: SessionKey, counts: bool) {
        let Some(session) = self.sessions.get_mut(key) else {
            return;
        };
        if session.counted == counts {
            return;
        }
        session.counted = counts;
        let pool = session.pool;
        if let Some(pool) = self.pools.get_mut(pool) {
            pool.session_of(&session.acquire.owner.tenant, counts);
        }
        if !counts {
            self.stir(pool);
        }
    }

    /// Why one more session of this user or tenant is one too many, if it is.
    pub(super) fn too_many(&self, now: Time, session: &Session) -> Option<Refusal> {
        if session.counted {
            return None;
        }
        let pool = self.pools.get(session.pool)?;
        if pool.has_too_many_of(&session.acquire.owner.tenant) {
            let retry_after = self.retry_after(now, session.pool);
            return Some(Refusal::TooManyOfTenant { retry_after });
        }
        let limit = pool.policy.max_sessions_per_user?;
        let reached = self.count_of_user(session, |_| true) >= u64::from(limit);
        let retry_after = self.retry_after(now, session.pool);
        reached.then_some(Refusal::TooManyOfUser { retry_after })
    }

    /// So many of the user's sessions have an instance that this one, which waits, may not be given one.
    pub(super) fn user_is_full(&self, session: &Session) -> bool {
        let pool = self.pools.get(session.pool);
        let holds = |other: &Session| matches!(other.state, SessionState::Holds(_));
        pool.and_then(|pool| pool.policy.max_sessions_per_user)
            .is_some_and(|limit| self.count_of_user(session, holds) >= u64::from(limit))
    }

    /// How many sessions of this one's user in its pool count.
    fn count_of_user(&self, session: &Session, which: impl Fn(&Session) -> bool) -> u64 {
        let sessions = self.users.get(session.user).map(|holder| &holder.sessions);
        let others = sessions.into_iter().flatten();
        let others = others.filter_map(|key| self.sessions.get(*key));
        others.fold(0, |count, other| {
            let counts = other.counted && other.pool == session.pool && which(other);
            count + u64::from(counts)
        })
    }
}
