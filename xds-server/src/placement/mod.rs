//! Placement: which session has which instance. One state machine without I/O, clock or randomness:
//! what happens comes in with the time it happened at, what to do about it comes out.
//!
//! - In: [`Placement::acquire`], [`Placement::sync`], [`Placement::terminate`], what is known of
//!   instances and proxies (`set_*`), and [`Placement::advance`] whenever
//!   [`Placement::next_timeout`] has come. Times never go back.
//! - Out: [`Placement::poll_effect`], until it is empty, after each of them.
//!
//! A lease lives in its instance's slot, and a slot has room for one. It goes RESERVED → ACTIVE →
//! RESUMABLE or SETTLING → free, with ORPHANED beside: silence alone never frees an instance at
//! once. A session is known by its id and its VM; nothing another VM says changes it, and nothing
//! that carries another fence changes a lease. All of that is counted.

mod acquire;
mod lease;
mod sync;
mod timers;
mod types;
mod view;
mod vm;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

pub use lease::LeaseState;
pub use types::*;
pub use view::{Counts, InstanceView, SessionView};

use lease::Slot;
use timers::{Timer, Timers};
use vm::Vm;

/// The machine.
#[derive(Debug)]
pub struct Placement {
    timing: Timing,
    /// The term of the fences it gives.
    term: u64,
    /// The next fence's sequence.
    sequence: u64,
    pools: HashMap<PoolName, Pool>,
    slots: HashMap<InstanceName, Slot>,
    /// Sessions that wait or hold a lease.
    sessions: HashMap<SessionId, Session>,
    vms: HashMap<VmId, Vm>,
    /// Which instances a proxy can be sent to.
    reach: HashMap<NodeId, HashSet<InstanceName>>,
    /// Which instances a user has a lease of, settling ones apart.
    held_by: HashMap<User, Vec<InstanceName>>,
    /// Acquires that came while the machine was learning, in their order; `None` once it is not.
    learning: Option<Vec<SessionId>>,
    timers: Timers,
    effects: VecDeque<Effect>,
    counts: Counts,
}

#[derive(Debug)]
struct Pool {
    policy: PoolPolicy,
    /// Free instances, the one that has been free for longest first.
    free: BTreeSet<(Time, InstanceName)>,
}

/// A session that asks for an instance or has one.
#[derive(Debug)]
struct Session {
    acquire: Acquire,
    state: SessionState,
}

#[derive(Clone, Debug)]
enum SessionState {
    /// Its lease is in that instance's slot.
    Holds(InstanceName),
    /// It is the heir of that instance, or, without one, waits for the end of learning.
    Waits {
        request: RequestId,
        heir_of: Option<InstanceName>,
        until: Time,
    },
}

impl Placement {
    /// A machine that remembers nothing of an earlier one: it listens for `timing.learn_for` before
    /// it grants. `term` has to be greater than any that was used before, as far as that is known;
    /// a term seen in a Sync raises it.
    pub fn new(timing: Timing, term: u64, now: Time) -> Self {
        let mut timers = Timers::default();
        timers.set(now.after(timing.learn_for), Timer::Learnt);
        Self {
            timing,
            term,
            sequence: 0,
            pools: HashMap::new(),
            slots: HashMap::new(),
            sessions: HashMap::new(),
            vms: HashMap::new(),
            reach: HashMap::new(),
            held_by: HashMap::new(),
            learning: Some(Vec::new()),
            timers,
            effects: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Adds a pool or changes its rules; leases keep the times they have.
    pub fn set_pool(&mut self, name: PoolName, policy: PoolPolicy) {
        match self.pools.get_mut(&name) {
            Some(pool) => pool.policy = policy,
            None => {
                let free = BTreeSet::new();
                self.pools.insert(name, Pool { policy, free });
            }
        }
    }

    /// Adds an instance; it is down until [`Self::set_up`] says otherwise. A known one stays as it is.
    pub fn add_instance(&mut self, now: Time, name: InstanceName, pool: PoolName) {
        self.slots
            .entry(name.clone())
            .or_insert_with(|| Slot::new(name, pool, now));
    }

    /// Says whether an instance's probes pass. A live session on it is left alone.
    pub fn set_up(&mut self, instance: &InstanceName, up: bool) {
        self.update_slot(instance, |slot| slot.up = up);
    }

    /// Says whether an instance is draining: it is given to nobody, but its own client may resume.
    pub fn set_draining(&mut self, instance: &InstanceName, draining: bool) {
        self.update_slot(instance, |slot| slot.draining = draining);
    }

    /// Says which instances a proxy can be sent to, in place of what was said before.
    pub fn set_reach(&mut self, node: NodeId, instances: HashSet<InstanceName>) {
        if instances.is_empty() {
            self.reach.remove(&node);
        } else {
            self.reach.insert(node, instances);
        }
    }

    /// Forgets a proxy: nothing can be granted to it.
    pub fn forget_node(&mut self, node: &NodeId) {
        self.reach.remove(node);
    }

    /// Asks for the end of a session. One that waits is refused; one that holds an instance is
    /// closed by its proxy, and the instance freed when that has been said. False if there is none.
    pub fn terminate(&mut self, session: &SessionId) -> bool {
        let Some(known) = self.sessions.get(session) else {
            return false;
        };
        match known.state {
            SessionState::Holds(_) => self.close(session, CloseReason::Terminated),
            SessionState::Waits { .. } => self.refuse_waiting(session, Refusal::Terminated),
        }
        true
    }

    /// What is to be done next, in order.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Has the session's VM close it, at its next word. The first reason stands, but the operator's
    /// comes before any: nobody resumes what was terminated.
    fn close(&mut self, session: &SessionId, reason: CloseReason) {
        let Some(known) = self.sessions.get(session) else {
            return;
        };
        if let Some(vm) = self.vms.get_mut(&known.acquire.origin.vm) {
            let stands = vm.closing.entry(session.clone()).or_insert(reason);
            if reason == CloseReason::Terminated {
                *stands = reason;
            }
        }
    }

    /// Changes a slot and keeps the pool's free instances in step.
    fn update_slot(&mut self, instance: &InstanceName, change: impl FnOnce(&mut Slot)) {
        let Some(slot) = self.slots.get_mut(instance) else {
            return;
        };
        let Some(pool) = self.pools.get_mut(&slot.pool) else {
            return;
        };
        if slot.is_free() {
            pool.free.remove(&(slot.freed_at, slot.name.clone()));
        }
        change(slot);
        if slot.is_free() {
            pool.free.insert((slot.freed_at, slot.name.clone()));
        }
    }

    fn forget_session(&mut self, session: &SessionId) -> Option<Session> {
        let known = self.sessions.remove(session)?;
        if let Some(vm) = self.vms.get_mut(&known.acquire.origin.vm) {
            vm.sessions.remove(session);
        }
        Some(known)
    }

    fn forget_holder(&mut self, user: &User, instance: &InstanceName) {
        if let Some(held) = self.held_by.get_mut(user) {
            held.retain(|other| other != instance);
            if held.is_empty() {
                self.held_by.remove(user);
            }
        }
    }
}
