//! The agents on instances: what they have to do, and what they say of it.

use std::sync::Arc;

use super::keys::SlotKey;
use super::lease::LeaseState;
use super::timers::Timer;
use super::types::{
    Access, AgentOrder, AgentReport, CloseReason, Effect, EndCause, Fence, InstanceName, Revision,
    Time,
};
use super::{Ignored, Placement};

/// An agent, as placement sees it.
#[derive(Debug, Default)]
pub(super) struct Agent {
    /// How the instance has to be.
    order: Option<AgentOrder>,
    /// It has been heard of lately.
    there: bool,
    heard: Time,
    /// The order it had carried out when it last spoke.
    done: Revision,
    in_session: bool,
    incarnation: Option<u64>,
    sequence: u64,
    /// Incarnations before this one: what they say comes too late.
    former: Vec<u64>,
    watched: bool,
    /// Since when the runtime has a client whom nothing entitles to it.
    stuck_since: Option<Time>,
}

impl Agent {
    pub(super) fn is_there(&self) -> bool {
        self.there
    }

    /// The firewall is closed, and the runtime takes a session.
    pub(super) fn is_ready(&self) -> bool {
        self.there && !self.in_session && self.has_closed()
    }

    fn has_closed(&self) -> bool {
        self.order
            .as_ref()
            .is_some_and(|order| order.open.is_none() && order.revision == self.done)
    }

    /// The firewall lets the lease's client through.
    pub(super) fn has_opened(&self) -> bool {
        self.order
            .as_ref()
            .is_some_and(|order| order.open.is_some() && order.revision == self.done)
    }

    /// Takes a report; false if it is older than another that was taken.
    fn take(&mut self, now: Time, report: &AgentReport) -> bool {
        if self.former.contains(&report.incarnation) {
            // Unless it was taken for a former one because of a late word of that one, which says no more.
            if self.there {
                return false;
            }
            self.former.retain(|former| *former != report.incarnation);
        }
        if self.incarnation == Some(report.incarnation) {
            if report.sequence <= self.sequence {
                return false;
            }
        } else if let Some(former) = self.incarnation.replace(report.incarnation) {
            self.former.push(former);
            if self.former.len() > FORMER {
                self.former.remove(0);
            }
        }
        self.sequence = report.sequence;
        self.heard = now;
        self.there = true;
        self.done = report.revision;
        self.in_session = report.in_session;
        true
    }
}

impl Placement {
    /// Takes an agent's word; answers with how the instance has to be. Nothing if there is no such
    /// instance, or no agent is expected on it, or a later report has been taken.
    pub fn agent(
        &mut self,
        now: Time,
        instance: &InstanceName,
        report: AgentReport,
    ) -> Option<AgentOrder> {
        let key = self.slots.find(instance)?;
        self.slots.get(key)?.agent.as_ref()?;
        let mut taken = false;
        self.update_slot(key, |slot| {
            taken = slot
                .agent
                .as_mut()
                .is_some_and(|agent| agent.take(now, &report));
        });
        if !taken {
            self.ignore(Ignored::LateReport);
            return None;
        }
        self.watch_agent(now, key);
        self.outrank(key, &report);
        self.take_evidence(now, key, &report);
        self.take_opened(now, key);
        self.take_closed(now, key);
        self.take_stuck(now, key);
        self.serve_queues(now);
        self.slots.get(key)?.agent.as_ref()?.order.clone()
    }

    /// What an earlier machine granted and ordered comes before what this one does, which may know
    /// nothing of it.
    fn outrank(&mut self, key: SlotKey, report: &AgentReport) {
        let latest = Fence {
            term: self.term,
            sequence: self.sequence,
        };
        if let Some(over) = report.over.filter(|over| *over > latest) {
            self.term = over.term.saturating_add(1);
        }
        let Some(agent) = self.slots.get_mut(key).and_then(|slot| slot.agent.as_mut()) else {
            return;
        };
        let order = agent.order.as_ref();
        if order.is_some_and(|order| report.revision <= order.revision) {
            return;
        }
        let recycle = order.is_some_and(|order| order.recycle);
        let ordered = agent.order.take().is_some();
        let latest = Revision {
            term: self.term,
            sequence: self.orders,
        };
        if report.revision > latest {
            self.term = report.revision.term.saturating_add(1);
        }
        if ordered {
            self.instruct(key, recycle);
        }
    }

    fn watch_agent(&mut self, now: Time, key: SlotKey) {
        let silent_at = now.after(self.timing.silent_after);
        if let Some(agent) = self.slots.get_mut(key).and_then(|slot| slot.agent.as_mut())
            && !agent.watched
        {
            agent.watched = true;
            self.timers.set(silent_at, Timer::Agent(key));
        }
    }

    pub(super) fn agent_due(&mut self, now: Time, key: SlotKey) {
        let silent_after = self.timing.silent_after;
        let mut again = None;
        self.update_slot(key, |slot| {
            if let Some(agent) = slot.agent.as_mut() {
                let silent_at = agent.heard.after(silent_after);
                agent.there = silent_at > now;
                agent.watched = agent.there;
                again = agent.there.then_some(silent_at);
            }
        });
        if let Some(silent_at) = again {
            self.timers.set(silent_at, Timer::Agent(key));
        }
    }

    /// The runtime had the lease's session, and has it no longer.
    fn take_evidence(&mut self, now: Time, key: SlotKey, report: &AgentReport) {
        let Some(lease) = self.lease(key) else {
            return;
        };
        if !lease.state.holds_session() || report.over.is_none_or(|over| over < lease.fence) {
            return;
        }
        let Some(session) = lease.session else {
            return;
        };
        let id = lease.acquire.session.clone();
        let vm = self.sessions.get(session).map(|known| known.vm);
        self.end(now, session, EndCause::Instance);
        // Its VM may not know yet; until it does, it must not be taken for a session to adopt.
        if let Some(vm) = vm.and_then(|vm| self.vms.get_mut(vm)) {
            vm.closing.entry(id).or_insert(CloseReason::Fenced);
        }
    }

    fn take_opened(&mut self, now: Time, key: SlotKey) {
        let opened = |slot: &&mut super::Slot| slot.agent.as_ref().is_some_and(Agent::has_opened);
        let Some(slot) = self.slots.get_mut(key).filter(opened) else {
            return;
        };
        if let Some(request) = slot.lease.as_mut().and_then(|lease| lease.opening.take()) {
            let until = now.after(self.timing.reserve_for);
            self.set_lease_state(now, key, LeaseState::Reserved { until });
            self.answer_grant(request, key);
        }
    }

    fn take_closed(&mut self, now: Time, key: SlotKey) {
        let ready = |slot: &&super::Slot| slot.agent.as_ref().is_some_and(Agent::is_ready);
        let Some(lease) = self
            .slots
            .get(key)
            .filter(ready)
            .and_then(|slot| slot.lease.as_ref())
        else {
            return;
        };
        match lease.state {
            LeaseState::Settling { .. } => self.hand_over(now, key),
            LeaseState::Resumable { until, settled_at } if settled_at > now => {
                let state = LeaseState::Resumable {
                    until,
                    settled_at: now,
                };
                self.set_lease_state(now, key, state);
                self.lease_due(now, key);
            }
            _ => {}
        }
    }

    /// A runtime without a lease that does not come free, as a machine without a journal may find it, is restarted
    /// like one that has a lease to settle.
    fn take_stuck(&mut self, now: Time, key: SlotKey) {
        let within = self.timing.agent_within;
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let leased = slot.lease.is_some();
        let Some(agent) = slot.agent.as_mut() else {
            return;
        };
        if leased || !agent.in_session || !agent.has_closed() {
            agent.stuck_since = None;
            return;
        }
        let since = *agent.stuck_since.get_or_insert(now);
        if now.since(since) >= within {
            self.instruct(key, true);
        }
    }

    /// Tells the agent of an instance how that has to be, if that has changed.
    pub(super) fn instruct(&mut self, key: SlotKey, recycle: bool) {
        let Some(slot) = self.slots.get_mut(key) else {
            return;
        };
        let Some(agent) = slot.agent.as_mut() else {
            return;
        };
        let lease = slot
            .lease
            .as_ref()
            .filter(|lease| lease.state.holds_session());
        let open = lease.map(|lease| Access {
            fence: lease.fence,
            client_address: Arc::clone(&lease.acquire.client_address),
        });
        let same = |order: &AgentOrder| order.open == open && (order.recycle || !recycle);
        if agent.order.as_ref().is_some_and(same) {
            return;
        }
        self.orders += 1;
        let order = AgentOrder {
            revision: Revision {
                term: self.term,
                sequence: self.orders,
            },
            open,
            recycle,
        };
        agent.order = Some(order.clone());
        let instance = slot.spec.name.clone();
        self.effects.push_back(Effect::Agent { instance, order });
    }
}

/// Restarts of an agent whose reports can still be under way.
const FORMER: usize = 8;
