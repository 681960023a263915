//! Stories of one or two sessions, in virtual time; `simulation` tells the long ones.

mod agents;
mod choices;
mod own;
mod queues;
mod reach;
mod restarts;
mod revoked;
mod stories;

use std::time::Duration;

use super::*;

/// A machine past its learning, with its clock.
struct Machine {
    placement: Placement,
    now: Time,
    sequence: u64,
    requests: u64,
}

impl Machine {
    /// A pool `web` of `instances` instances `web-1`, `web-2`, … that are up, and a proxy `edge`
    /// that reaches them all.
    fn new(instances: usize) -> Self {
        Self::with(instances, policy())
    }

    fn with(instances: usize, policy: PoolPolicy) -> Self {
        let mut machine = Self::learning(instances, policy);
        machine.pass(TIMING.learn_for);
        machine
    }

    fn learning(instances: usize, policy: PoolPolicy) -> Self {
        let now = Time::default();
        let mut placement = Placement::new(TIMING, 1, 0, now);
        placement.set_pool(now, "web".into(), policy);
        let names: Vec<InstanceName> = (1..=instances)
            .map(|number| InstanceName::from(format!("web-{number}")))
            .collect();
        for name in &names {
            placement.add_instance(now, spec(name.as_str()));
            placement.set_up(now, name, true);
        }
        placement.change_reach(now, &"edge".into(), &names, &[]);
        Self {
            placement,
            now,
            sequence: 0,
            requests: 0,
        }
    }

    /// Lets time pass, in which no VM says anything.
    fn pass(&mut self, duration: Duration) {
        let until = self.now.after(duration);
        while let Some(next) = self.placement.next_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.placement.advance(self.now);
        }
        self.now = until;
    }

    fn origin(&mut self, vm: &str) -> Origin {
        self.sequence += 1;
        Origin {
            node: "edge".into(),
            vm: vm.into(),
            sequence: self.sequence,
        }
    }

    fn origin_of(&self, vm: &str, sequence: u64) -> Origin {
        Origin {
            node: "edge".into(),
            vm: vm.into(),
            sequence,
        }
    }

    /// Sends an Acquire; the answer, unless it is held.
    fn acquire(&mut self, session: &str, owner: Owner) -> Option<Outcome> {
        let origin = self.origin("vm");
        self.acquire_from(origin, session, owner)
    }

    fn acquire_from(&mut self, origin: Origin, session: &str, owner: Owner) -> Option<Outcome> {
        self.requests += 1;
        let request = RequestId(self.requests);
        let acquire = asked(origin, session, owner);
        self.placement.acquire(self.now, request, acquire);
        self.answer_to(session)
    }

    /// The answer that has come for a session since it was last asked.
    fn answer_to(&mut self, wanted: &str) -> Option<Outcome> {
        let mut found = None;
        while let Some(effect) = self.placement.poll_effect() {
            if let Effect::Answer {
                session, outcome, ..
            } = effect
                && session.as_str() == wanted
            {
                found = Some(outcome);
            }
        }
        found
    }

    fn granted(&mut self, session: &str, owner: Owner) -> Grant {
        match self.acquire(session, owner) {
            Some(Outcome::Granted(grant)) => grant,
            other => panic!("{session} got {other:?}"),
        }
    }

    /// A full Sync of `vm` that lists exactly these sessions as live.
    fn full(&mut self, vm: &str, live: &[(&str, &Grant)]) -> Vec<Close> {
        let origin = self.origin(vm);
        self.full_from(origin, live, &[])
    }

    fn full_from(
        &mut self,
        origin: Origin,
        live: &[(&str, &Grant)],
        pending: &[&str],
    ) -> Vec<Close> {
        let live = live
            .iter()
            .map(|(session, grant)| reported(session, Some((*grant).clone())));
        let pending = pending.iter().map(|session| reported(session, None));
        let sessions = live.chain(pending).collect();
        self.placement.sync(
            self.now,
            Sync {
                origin,
                sessions: Some(sessions),
                ended: Vec::new(),
            },
        )
    }

    fn ended(&mut self, session: &str, fence: Option<Fence>, cause: EndCause) {
        let origin = self.origin("vm");
        self.ended_from(origin, session, fence, cause);
    }

    fn ended_from(&mut self, origin: Origin, session: &str, fence: Option<Fence>, cause: EndCause) {
        let ended = vec![ReportedEnd {
            session: session.into(),
            fence,
            cause,
        }];
        let sync = Sync {
            origin,
            sessions: None,
            ended,
        };
        self.placement.sync(self.now, sync);
    }

    fn state(&self, instance: &str) -> &'static str {
        self.lease(instance)
            .map_or("free", |lease| lease.state.label())
    }

    fn lease(&self, instance: &str) -> Option<&lease::Lease> {
        self.placement
            .lease(self.placement.slots.find(&instance.into())?)
    }

    fn ignored(&self, kind: Ignored) -> u64 {
        self.placement
            .counts()
            .ignored
            .get(&kind)
            .copied()
            .unwrap_or(0)
    }
}

fn asked(origin: Origin, session: &str, owner: Owner) -> Acquire {
    Acquire {
        origin,
        session: session.into(),
        pool: "web".into(),
        owner,
        client_address: "192.0.2.1".into(),
        priority: Priority::default(),
        labels: Labels::default(),
        token_id: None,
    }
}

fn owner(subject: &str, resume_key: Option<&str>) -> Owner {
    Owner {
        user: User {
            issuer: "https://issuer.test".into(),
            subject: subject.into(),
        },
        tenant: "".into(),
        resume_key: resume_key.map(Into::into),
    }
}

fn reported(session: &str, grant: Option<Grant>) -> ReportedSession {
    let lease = grant.map(|grant| ReportedLease {
        grant,
        pool: "web".into(),
        owner: owner(session, None),
        client_address: "192.0.2.1".into(),
        token_id: None,
        established: true,
    });
    ReportedSession {
        session: session.into(),
        lease,
    }
}

/// The default, but that nobody waits for just any instance.
fn policy() -> PoolPolicy {
    PoolPolicy {
        queue: 0,
        ..PoolPolicy::default()
    }
}

fn spec(name: &str) -> InstanceSpec {
    InstanceSpec {
        name: name.into(),
        pool: "web".into(),
        host: name.into(),
        zone: None,
        labels: Labels::default(),
        agent: false,
    }
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const TIMING: Timing = Timing {
    agent_within: seconds(5),
    learn_for: seconds(3),
    reserve_for: seconds(15),
    silent_after: seconds(3),
};
