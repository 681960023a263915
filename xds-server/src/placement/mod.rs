//! Placement: which session has which instance. One state machine without I/O, clock or randomness:
//! what happens comes in with the time it happened at, what to do about it comes out.
//!
//! - In: [`Placement::acquire`], [`Placement::cancel`], [`Placement::sync`], [`Placement::agent`],
//!   [`Placement::terminate`], [`Placement::revoke`], what is known of pools, instances and proxies (`set_*`), and
//!   [`Placement::advance`] whenever [`Placement::next_timeout`] has come. Times never go back.
//! - Out: [`Placement::poll_effect`], until it is empty, after each of them.
//!
//! A lease lives in its instance's slot, and a slot has room for one. It goes RESERVED → ACTIVE →
//! RESUMABLE or SETTLING → free, with ORPHANED beside: silence alone never frees an instance at
//! once. A session is known by its id and its VM; nothing another VM says changes it, and nothing
//! that carries another fence changes a lease. All of that is counted.
//!
//! The order in which things are gone through depends on what has happened and on the hash seed,
//! never on the process: the same calls have the same effects.

mod acquire;
mod agent;
mod choice;
mod ends;
mod grant;
mod keys;
mod lease;
mod pool;
mod queue;
mod reach;
mod record;
mod retry;
mod revocations;
mod sync;
mod timers;
mod types;
mod view;
mod vm;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

pub use lease::LeaseState;
pub use queue::LEARNING_QUEUE;
pub use types::*;
pub use view::{Counts, Ignored, InstanceView, LeaseView, SessionView};

use smallvec::SmallVec;

use choice::Host;
use keys::{HostKey, Keyed, PoolKey, SessionKey, SlotKey, VmKey};
use lease::Slot;
use pool::Pool;
use queue::Ticket;
use reach::Reach;
use revocations::Revocations;
use timers::{Timer, Timers};
use vm::Vm;

/// The machine.
#[derive(Debug)]
pub struct Placement {
    timing: Timing,
    /// The term of the fences it gives.
    term: u64,
    /// The latest fence's sequence.
    sequence: u64,
    /// The latest order's to an agent.
    orders: u64,
    pools: Keyed<PoolKey, PoolName, Pool>,
    slots: Keyed<SlotKey, InstanceName, Slot>,
    hosts: Keyed<HostKey, std::sync::Arc<str>, Host>,
    /// Sessions that wait or hold a lease.
    sessions: Keyed<SessionKey, SessionId, Session>,
    users: Keyed<keys::UserKey, User, Holder>,
    vms: Keyed<VmKey, VmId, Vm>,
    /// Which instances a proxy can be sent to.
    reach: Reach,
    revocations: Revocations,
    /// Nothing is granted yet, because it is not known what is live.
    learning: bool,
    timers: Timers,
    /// Pools of which something changed that may let somebody out of the queue.
    stirred: Vec<PoolKey>,
    effects: VecDeque<Effect>,
    counts: Counts,
    hash_seed: u64,
}

/// A session that asks for an instance or has one.
#[derive(Debug)]
struct Session {
    acquire: std::sync::Arc<Acquire>,
    /// The number of the latest message that asked for it.
    sequence: u64,
    pool: PoolKey,
    user: keys::UserKey,
    vm: VmKey,
    asked_at: Time,
    established_at: Option<Time>,
    /// It counts as one of its user's and its tenant's.
    counted: bool,
    state: SessionState,
}

#[derive(Clone, Copy, Debug)]
enum SessionState {
    /// Its lease is in that instance's slot.
    Holds(SlotKey),
    Waits(Waiting),
}

#[derive(Clone, Copy, Debug)]
struct Waiting {
    request: RequestId,
    until: Time,
    place: WaitingPlace,
}

#[derive(Clone, Copy, Debug)]
enum WaitingPlace {
    /// It has just come.
    Door,
    /// It gets that instance once it is free.
    Heir(SlotKey),
    Queue(Ticket),
}

/// What a user has and wants.
#[derive(Debug, Default)]
struct Holder {
    /// Instances with a lease of theirs, settling ones apart.
    held: SmallVec<[SlotKey; 2]>,
    sessions: SmallVec<[SessionKey; 2]>,
}

impl Placement {
    /// A machine that remembers nothing of an earlier one: unless it is given a journal
    /// ([`Self::restore`]) it listens for `timing.learn_for` before it grants. `term` has to be
    /// greater than any that was used before, as far as that is known; a term seen in a Sync raises it.
    pub fn new(timing: Timing, term: u64, hash_seed: u64, now: Time) -> Self {
        let mut timers = Timers::default();
        timers.set(now.after(timing.learn_for), Timer::Learnt);
        Self {
            timing,
            term,
            sequence: 0,
            orders: 0,
            pools: Keyed::new(hash_seed),
            slots: Keyed::new(hash_seed),
            hosts: Keyed::new(hash_seed),
            sessions: Keyed::new(hash_seed),
            users: Keyed::new(hash_seed),
            vms: Keyed::new(hash_seed),
            reach: Reach::new(hash_seed),
            revocations: Revocations::new(term, hash_seed),
            learning: true,
            timers,
            stirred: Vec::new(),
            effects: VecDeque::new(),
            counts: Counts::default(),
            hash_seed,
        }
    }

    /// Adds a pool or changes its rules; leases keep the times they have.
    pub fn set_pool(&mut self, now: Time, name: PoolName, policy: PoolPolicy) {
        match self.pools.find(&name) {
            Some(key) => self.change_policy(key, policy),
            None => {
                let pool = Pool::new(policy, self.hash_seed);
                self.pools.insert(name, pool);
            }
        }
        self.serve_queues(now);
    }

    /// Adds an instance to a pool that is there; it is down until [`Self::set_up`] says otherwise. A
    /// known one stays as it is.
    pub fn add_instance(&mut self, now: Time, spec: InstanceSpec) {
        let Some(pool) = self.pools.find(&spec.pool) else {
            return;
        };
        if self.slots.find(&spec.name).is_some() {
            return;
        }
        let host = self.hosts.find_or_insert_default(&spec.host);
        let name = spec.name.clone();
        let class = self.reach.nobody();
        let slot = Slot::new(spec, pool, host, class, now);
        let key = self.slots.insert(name, slot);
        if let Some(host) = self.hosts.get_mut(host) {
            host.slots.push(key);
        }
        // While it is not known who is on it, its firewall stays as it is.
        if !self.learning {
            self.instruct(key, false);
        }
    }

    /// Says whether an instance's probes pass. A live session on it is left alone.
    pub fn set_up(&mut self, now: Time, instance: &InstanceName, up: bool) {
        let Some(key) = self.slots.find(instance) else {
            return;
        };
        let Some(warm_up) = self.policy_of(key).map(|policy| policy.warm_up) else {
            return;
        };
        let mut warm_at = None;
        self.update_slot(key, |slot| {
            match (slot.up, up) {
                (false, true) => slot.warm_at = now.after(warm_up),
                (true, false) => slot.warm_at = Time::NEVER,
                _ => {}
            }
            slot.up = up;
            slot.warm = slot.warm_at <= now;
            warm_at = (up && !slot.warm).then_some(slot.warm_at);
        });
        if let Some(warm_at) = warm_at {
            self.timers.set(warm_at, Timer::Warm(key));
        }
        self.serve_queues(now);
    }

    /// Says whether an instance is draining: it is given to nobody, but its own client may resume.
    pub fn set_draining(&mut self, now: Time, instance: &InstanceName, draining: bool) {
        if let Some(key) = self.slots.find(instance) {
            self.update_slot(key, |slot| slot.draining = draining);
        }
        self.serve_queues(now);
    }

    /// Says whether an instance is quarantined: it is given to nobody, not even to its own client. A
    /// live session on it is left alone.
    pub fn set_quarantined(&mut self, now: Time, instance: &InstanceName, quarantined: bool) {
        if let Some(key) = self.slots.find(instance) {
            self.update_slot(key, |slot| slot.quarantined = quarantined);
        }
        self.serve_queues(now);
    }

    /// Says to which instances a proxy can be sent that it could not before, and to which no longer; of a name in
    /// both, that it can. An instance that is not there yet counts from what is said next of the proxy once it is.
    pub fn change_reach(
        &mut self,
        now: Time,
        node: &NodeId,
        gained: &[InstanceName],
        lost: &[InstanceName],
    ) {
        self.gain_and_lose(node, gained, lost);
        self.serve_queues(now);
    }

    /// Says where a proxy is.
    pub fn set_zone(&mut self, node: NodeId, zone: Option<Zone>) {
        self.reach.set_zone(&node, zone);
    }

    /// Forgets a proxy: nothing can be granted to it.
    pub fn forget_node(&mut self, now: Time, node: &NodeId) {
        self.lose_node(node);
        self.serve_queues(now);
    }

    /// Asks for the end of a session. One that waits is refused; one that holds an instance is
    /// closed by its proxy, and the instance freed when that has been said. False if there is none.
    pub fn terminate(&mut self, now: Time, session: &SessionId) -> bool {
        let Some(key) = self.sessions.find(session) else {
            return false;
        };
        match self.sessions.get(key).map(|known| known.state) {
            Some(SessionState::Holds(_)) => self.close(key, CloseReason::Terminated),
            _ => self.refuse_waiting(key, Refusal::Terminated),
        }
        self.serve_queues(now);
        true
    }

    /// What is to be done next, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Has the session's VM close it, at its next word. The first reason stands, but the operator's
    /// come before any: nobody resumes what was terminated or revoked.
    fn close(&mut self, key: SessionKey, reason: CloseReason) {
        let Some(known) = self.sessions.get(key) else {
            return;
        };
        let Some(vm) = self.vms.get_mut(known.vm) else {
            return;
        };
        let before = vm.closing.get(&known.acquire.session).copied();
        let operators = |reason| matches!(reason, CloseReason::Revoked | CloseReason::Terminated);
        if before.is_some_and(|before| !operators(reason) || operators(before)) {
            return;
        }
        vm.closing.insert(known.acquire.session.clone(), reason);
        if let SessionState::Holds(slot) = known.state {
            self.commit(slot);
        }
    }

    /// Changes a slot and keeps the free instances in step.
    fn update_slot(&mut self, key: SlotKey, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let was = slot.is_free();
        change(slot);
        let is = slot.is_free();
        if was && !is {
            self.unshelve(key);
        } else if is && !was {
            self.shelve(key);
        }
    }

    fn forget_session(&mut self, key: SessionKey) -> Option<Session> {
        self.count(key, false);
        let known = self.sessions.remove(key)?;
        if let WaitingPlace::Queue(ticket) = known.place() {
            self.leave_queue(&known, ticket);
        }
        if let SessionState::Waits(waiting) = known.state
            && !matches!(waiting.place, WaitingPlace::Door)
        {
            self.timers.clear(waiting.until, Timer::Patience(key));
        }
        if let Some(vm) = self.vms.get_mut(known.vm) {
            vm.sessions.remove(&key);
        }
        if let Some(holder) = self.users.get_mut(known.user) {
            holder.sessions.retain(|other| *other != key);
        }
        self.forget_user(known.user);
        Some(known)
    }

    fn forget_holder(&mut self, user: keys::UserKey, slot: SlotKey) {
        if let Some(holder) = self.users.get_mut(user) {
            holder.held.retain(|other| *other != slot);
        }
        self.forget_user(user);
    }

    fn forget_user(&mut self, user: keys::UserKey) {
        let idle = |holder: &Holder| holder.held.is_empty() && holder.sessions.is_empty();
        if self.users.get(user).is_some_and(idle) {
            self.users.remove(user);
        }
    }

    fn policy_of(&self, slot: SlotKey) -> Option<&PoolPolicy> {
        let pool = self.slots.get(slot)?.pool;
        Some(&self.pools.get(pool)?.policy)
    }

    fn commit(&mut self, slot: SlotKey) {
        if let Some(slot) = self.slots.get(slot) {
            self.effects
                .push_back(Effect::Commit(slot.spec.name.clone()));
        }
    }

    fn ignore(&mut self, kind: Ignored) {
        *self.counts.ignored.entry(kind).or_default() += 1;
    }
}

impl Session {
    fn place(&self) -> WaitingPlace {
        match self.state {
            SessionState::Holds(_) => WaitingPlace::Door,
            SessionState::Waits(waiting) => waiting.place,
        }
    }
}
