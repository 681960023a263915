//! Whether a grant was due, and whether a refusal was.

use super::audit::{Turn, Waiting};
use super::{TIMING, World};
use crate::placement::{
    Acquire, InstanceName, InstanceView, LeaseRecord, LeaseState, LeaseView, Placement, PoolName,
    PoolPolicy, RecordedState, SessionId, Time, Why,
};

impl World {
    pub(crate) fn audit_grant(&mut self, now: Time, record: &LeaseRecord) {
        let own = matches!(record.pick.why, Why::Resumed | Why::TookOver);
        let Some(waiting) = self.audit.waiting.get(&record.session).cloned() else {
            return self.violate("grants", || {
                format!("{} is granted something and does not wait", record.session)
            });
        };
        if let Some(lack) = self.lack(now, &waiting.acquire, &record.instance, own) {
            self.violate("grants", || {
                format!("{} is given {}: {lack}", record.session, record.instance)
            });
        }
        let views = self.views(now);
        if let Some(excess) = self.excess(&views, record, own) {
            self.violate("caps", || {
                format!("{} is given {}: {excess}", record.session, record.instance)
            });
        }
        if !own {
            self.audit_reserved(&views, &waiting, &record.instance);
            // Whose own has come free in a state they cannot be sent to gets another in its place.
            let in_its_place = self.audit.freed_now.contains(&record.owner.user);
            self.audit_turn(&views, &waiting, record, in_its_place);
        }
    }

    fn views(&self, now: Time) -> Vec<InstanceView> {
        let machine = self.plane.machine.as_ref().into_iter();
        machine
            .flat_map(|machine| machine.instances(now).collect::<Vec<_>>())
            .collect()
    }

    /// What the instance lacks for that request.
    fn lack(
        &self,
        now: Time,
        acquire: &Acquire,
        name: &InstanceName,
        own: bool,
    ) -> Option<&'static str> {
        let instance = self
            .instances
            .iter()
            .find(|instance| instance.spec.name == *name)?;
        let audit = &self.audit;
        let reached = audit.reach.get(&acquire.origin.node);
        let warm = |warm_at: &Time| now >= *warm_at;
        let agent = audit.agents_heard.get(name);
        // By the last time that the machine looked.
        let looked = self.plane.before_this;
        let silent = |heard: &Time| looked.since(*heard) >= TIMING.silent_after;
        let machine = self.plane.machine.as_ref()?;
        let lacks = [
            (machine.is_learning(), "nobody knows yet what is live"),
            (
                !reached.is_some_and(|reached| reached.contains(name)),
                "its proxy cannot be sent there",
            ),
            (instance.spec.pool != acquire.pool, "it is of another pool"),
            (instance.quarantined, "it is quarantined"),
            (instance.drained && !own, "it is draining"),
            (
                !audit.warm_at.get(name).is_some_and(warm),
                "it is not up and warm",
            ),
            (
                !instance.spec.labels.satisfy(&acquire.labels),
                "it has not the labels",
            ),
            (
                instance.spec.agent && agent.is_none_or(silent),
                "its agent is away",
            ),
        ];
        let lack = lacks.into_iter().find(|(lacks, _)| *lacks);
        lack.map(|(_, lack)| lack)
    }

    pub(crate) fn policy(&self, pool: &PoolName) -> Option<&PoolPolicy> {
        let found = self.pools.iter().find(|(name, _)| name == pool);
        found.map(|(_, policy)| policy)
    }

    /// Which limit the grant breaks. What was learnt or came back was not granted, and rules may have changed while a
    /// session waited: only who came since then counts.
    fn excess(
        &self,
        views: &[InstanceView],
        record: &LeaseRecord,
        own: bool,
    ) -> Option<&'static str> {
        let policy = self.policy(&self.audit.waiting.get(&record.session)?.acquire.pool)?;
        if own || self.audit.rules_changed {
            return None;
        }
        let leases = views.iter().filter(|view| {
            Some(&view.pool)
                == views
                    .iter()
                    .find(|v| v.name == record.instance)
                    .map(|v| &v.pool)
        });
        // Those that came after it in the same call are not its fault.
        let leases: Vec<_> = leases
            .filter_map(|view| view.lease.as_ref())
            .filter(|lease| lease.fence <= record.fence)
            .collect();
        // Who comes again while their own cannot be had is given another, and the old one is closed.
        let machine = self.plane.machine.as_ref()?;
        let closing: Vec<SessionId> = views
            .iter()
            .filter_map(|view| machine.lease_record(&view.name))
            .filter(|record| matches!(record.state, RecordedState::Held { closing: Some(_) }))
            .map(|record| record.session)
            .collect();
        let live = |lease: &&&LeaseView| {
            matches!(
                lease.state,
                LeaseState::Active | LeaseState::Reserved { .. }
            ) && !self.audit.uncounted.contains(&lease.session)
                && !closing.contains(&lease.session)
        };
        let above = |count: usize, limit: Option<u32>| {
            limit.is_some_and(|limit| u32::try_from(count).is_ok_and(|count| count > limit))
        };
        // An orphan that came back is one too many that nobody granted; so is what takes its place.
        let replaces = leases
            .iter()
            .any(|lease| lease.owner.user == record.owner.user && closing.contains(&lease.session));
        let of_user = leases
            .iter()
            .filter(live)
            .filter(|lease| lease.owner.user == record.owner.user);
        let of_tenant = leases
            .iter()
            .filter(live)
            .filter(|lease| lease.owner.tenant == record.owner.tenant);
        let tenant = policy.tenants.get(&record.owner.tenant);
        let tenant = tenant.and_then(|tenant| tenant.max_sessions);
        if above(leases.len(), policy.max_sessions) {
            Some("the pool has too many")
        } else if above(of_user.count(), policy.max_sessions_per_user) {
            Some("its user has too many")
        } else if !replaces && above(of_tenant.count(), tenant.or(policy.max_sessions_per_tenant)) {
            Some("its tenant has too many")
        } else {
            None
        }
    }

    /// What is left after the grant is enough for those for whom it is kept.
    fn audit_reserved(&mut self, views: &[InstanceView], waiting: &Waiting, given: &InstanceName) {
        let acquire = &waiting.acquire;
        let Some(policy) = self.policy(&acquire.pool) else {
            return;
        };
        let of_pool: Vec<&InstanceView> = views
            .iter()
            .filter(|view| view.pool == acquire.pool)
            .collect();
        let leased_by = |tenant: &str| {
            let owners = of_pool
                .iter()
                .filter_map(|view| self.audit.taken.get(&view.name));
            let count = owners.filter(|owner| &*owner.tenant == tenant);
            u32::try_from(count.count()).unwrap_or(u32::MAX)
        };
        let kept: u32 = policy
            .tenants
            .iter()
            .filter(|(tenant, _)| **tenant != acquire.owner.tenant)
            .map(|(tenant, policy)| policy.reserved.saturating_sub(leased_by(tenant)))
            .sum();
        let left = of_pool
            .iter()
            .filter(|view| !self.audit.taken.contains_key(&view.name) && view.name != *given)
            .filter(|view| view.up && !view.draining && !view.quarantined)
            .count();
        if usize::try_from(kept).is_ok_and(|kept| left < kept) {
            let session = acquire.session.clone();
            self.violate("reserved", || {
                format!("{session} is given what is kept: {left} left of {kept}")
            });
        }
    }

    /// Nobody who waits and could have been given it should have been served before.
    fn audit_turn(
        &mut self,
        views: &[InstanceView],
        served: &Waiting,
        record: &LeaseRecord,
        in_its_place: bool,
    ) {
        let instance = &record.instance;
        let queued = !record.pick.waited.is_zero();
        let (acquire, tenant) = (&served.acquire, &served.acquire.owner.tenant);
        let turn = Turn {
            pool: acquire.pool.clone(),
            priority: acquire.priority.0,
            tenant: tenant.clone(),
            arrivals: self.audit.arrivals(),
            sure: !in_its_place,
        };
        let of_level = |other: &Turn| other.pool == turn.pool && other.priority == turn.priority;
        let last = |tenant: &str, sure: bool| {
            let turns = self.audit.turns.iter().rev();
            let mut turns = turns.filter(|other| of_level(other));
            turns.find(|other| &*other.tenant == tenant && (other.sure || !sure))
        };
        let last_of = |tenant: &str| last(tenant, false).map_or(0, |turn| turn.arrivals);
        let previous = last(tenant, true).map_or(0, |turn| turn.arrivals);
        let passed_over = self.audit.waiting.values().find(|other| {
            let wanted = &other.acquire;
            let same_pool = wanted.pool == acquire.pool && wanted.session != acquire.session;
            if !same_pool || !self.could_have(views, other, served, instance) {
                return false;
            }
            let mate = wanted.owner.tenant == *tenant;
            wanted.priority > acquire.priority
                || wanted.priority == acquire.priority && mate && other.order < served.order
                || wanted.priority == acquire.priority
                    && !mate
                    && queued
                    && self.equal_tenants(acquire)
                    && previous > last_of(&wanted.owner.tenant)
                    && other.order <= previous
        });
        if let Some(other) = passed_over.filter(|_| !in_its_place) {
            let other = other.acquire.session.clone();
            let session = acquire.session.clone();
            self.violate("turns", || {
                format!("{session} is given {instance} before {other}")
            });
        }
        if queued {
            self.audit.turns.push(turn);
        }
    }

    /// Nothing is kept for any tenant, nor is any limited, so that all of them take turns.
    fn equal_tenants(&self, acquire: &Acquire) -> bool {
        self.policy(&acquire.pool).is_some_and(|policy| {
            policy.tenants.is_empty() && policy.max_sessions_per_tenant.is_none()
        })
    }

    /// Whether the other one could have been served with what `served` was: it asks alike and nothing else is in its way.
    fn could_have(
        &self,
        views: &[InstanceView],
        other: &Waiting,
        served: &Waiting,
        instance: &InstanceName,
    ) -> bool {
        let (wanted, acquire) = (&other.acquire, &served.acquire);
        let alike = wanted.labels == acquire.labels
            && wanted.origin.node == acquire.origin.node
            && (wanted.owner.tenant == acquire.owner.tenant || self.equal_tenants(acquire));
        let now = self.plane.time(self.now);
        let speaks = self.audit.unheard(now, &wanted.origin.vm) < TIMING.silent_after;
        let given = views.iter().any(|view| {
            view.name == *instance
                && view
                    .lease
                    .as_ref()
                    .is_some_and(|lease| lease.session == acquire.session)
        });
        alike && speaks && !has_any(views, wanted) && given && !self.is_opening(&wanted.session)
    }

    /// It has an instance already, of which it will be told.
    pub(crate) fn is_opening(&self, session: &SessionId) -> bool {
        let now = self.plane.time(self.now);
        let machine = self.plane.machine.as_ref();
        let mut sessions = machine
            .into_iter()
            .flat_map(|machine| machine.sessions(now));
        sessions.any(|view| view.session == *session && view.instance.is_some())
    }

    /// Somebody is told that there is nothing: is there?
    pub(crate) fn audit_no_instance(&mut self, now: Time, waiting: &Waiting) {
        let acquire = &waiting.acquire;
        let equal = self.equal_tenants(acquire);
        let Some(policy) = self.policy(&acquire.pool) else {
            return;
        };
        let learning = self
            .plane
            .machine
            .as_ref()
            .is_some_and(Placement::is_learning);
        if learning || !equal || policy.max_sessions.is_some() {
            return;
        }
        let views = self.views(now);
        // Who has something of their own waits for that.
        if has_any(&views, acquire) {
            return;
        }
        // What has become possible just now is looked at just now.
        let earlier = self.plane.before_this;
        let idle = views.iter().find(|view| {
            view.lease.is_none()
                && view.pool == acquire.pool
                && self.lack(earlier, acquire, &view.name, false).is_none()
                && !self.audit.taken.contains_key(&view.name)
                && self.is_settled(&view.name)
        });
        if let Some(idle) = idle {
            let (session, name) = (acquire.session.clone(), idle.name.clone());
            self.violate("nothing idle", || {
                format!("{session} gets nothing while {name} is free")
            });
        }
    }

    /// Nothing that the machine has not been told, or has not told, keeps the instance from being given away.
    fn is_settled(&self, name: &InstanceName) -> bool {
        self.instances
            .iter()
            .any(|instance| instance.spec.name == *name && !instance.spec.agent)
    }
}

fn has_any(views: &[InstanceView], acquire: &Acquire) -> bool {
    let mut leases = views.iter().filter_map(|view| view.lease.as_ref());
    leases.any(|lease| lease.owner.user == acquire.owner.user)
}
