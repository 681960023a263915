//! Grants and ends, as proxies ask for them.

use std::collections::VecDeque;
use std::time::Duration;

use berth::placement::{
    Acquire, Effect, EndCause, Fence, Grant, InstanceSpec, Labels, Origin, Outcome, Owner,
    Placement, PoolPolicy, Priority, ReportedEnd, ReportedLease, ReportedSession, RequestId,
    SessionId, Sync, Time, Timing, User,
};
use tokio::time::Instant;

/// A machine of which half the instances have a session, and one VM whose sessions come and go.
pub(super) struct Pairs {
    placement: Placement,
    now: Time,
    sequence: u64,
    sessions: u64,
    live: VecDeque<(SessionId, Grant)>,
}

impl Pairs {
    pub(super) fn new(instances: usize) -> Self {
        let mut pairs = Self {
            placement: empty(instances),
            now: Time(Duration::from_secs(1)),
            sequence: 0,
            sessions: 0,
            live: VecDeque::new(),
        };
        pairs.fill(instances / 2);
        pairs
    }

    /// So many sessions that stay, in VMs of a thousand each.
    pub(super) fn fill(&mut self, sessions: usize) {
        for number in 0..sessions {
            let mut acquire = self.request();
            acquire.origin.vm = format!("vm-{}", number / 1_000).into();
            self.ask(acquire);
        }
        self.live.clear();
    }

    /// Nanoseconds that a grant and the end of another session take, with all that the machine says of them; a full
    /// Sync of the VM after each thousand included. Nothing if not every one was granted.
    pub(super) fn measure(&mut self, pairs: usize) -> Option<f64> {
        let before = self.placement.counts().granted;
        let mut requests: Vec<Acquire> = (0..pairs).map(|_| self.request()).collect();
        requests.reverse();
        let start = Instant::now();
        for number in 0..pairs {
            self.now = self.now.after(Duration::from_micros(1));
            if let Some(request) = requests.pop() {
                self.ask(request);
            }
            if self.live.len() > LIVE
                && let Some((session, grant)) = self.live.pop_front()
            {
                self.end(session, grant.fence);
            }
            if number % 1_000 == 0 {
                self.state_all();
            }
        }
        let cost = nanoseconds(start, pairs);
        let granted = self.placement.counts().granted - before;
        (usize::try_from(granted) == Ok(pairs)).then_some(cost)
    }

    fn request(&mut self) -> Acquire {
        self.sessions += 1;
        let number = self.sessions;
        Acquire {
            origin: self.origin(),
            // As long as the filter's, and in no order.
            session: format!("{:032x}", u128::from(number) * 0x9E37_79B9_7F4A_7C15_F39C).into(),
            pool: "web".into(),
            owner: owner(number),
            client_address: "192.0.2.1".into(),
            priority: Priority::default(),
            labels: Labels::default(),
            token_id: None,
        }
    }

    fn origin(&mut self) -> Origin {
        self.sequence += 1;
        Origin {
            node: "edge".into(),
            vm: "busy".into(),
            sequence: self.sequence,
        }
    }

    fn ask(&mut self, mut acquire: Acquire) {
        self.sequence += 1;
        acquire.origin.sequence = self.sequence;
        self.placement
            .acquire(self.now, RequestId(self.sequence), acquire);
        while let Some(effect) = self.placement.poll_effect() {
            if let Effect::Answer {
                session,
                outcome: Outcome::Granted(grant),
                ..
            } = effect
            {
                self.live.push_back((session, grant));
            }
        }
    }

    fn end(&mut self, session: SessionId, fence: Fence) {
        let ended = ReportedEnd {
            session,
            fence: Some(fence),
            cause: EndCause::Client,
        };
        self.sync(None, vec![ended]);
    }

    fn state_all(&mut self) {
        let live = self.live.iter().map(|(session, grant)| ReportedSession {
            session: session.clone(),
            lease: Some(ReportedLease {
                grant: grant.clone(),
                pool: "web".into(),
                owner: owner(0),
                client_address: "192.0.2.1".into(),
                token_id: None,
                established: true,
            }),
        });
        let live = live.collect();
        self.sync(Some(live), Vec::new());
    }

    fn sync(&mut self, sessions: Option<Vec<ReportedSession>>, ended: Vec<ReportedEnd>) {
        let origin = self.origin();
        let sync = Sync {
            origin,
            sessions,
            ended,
        };
        self.placement.sync(self.now, sync);
        while self.placement.poll_effect().is_some() {}
    }
}

/// A machine of so many instances, all of them free. Nothing is kept for a client, nothing has to settle: the next
/// grant can be had at once.
pub(super) fn empty(instances: usize) -> Placement {
    let timing = Timing {
        agent_within: Duration::from_secs(10),
        learn_for: Duration::ZERO,
        reserve_for: Duration::from_secs(15),
        silent_after: Duration::from_secs(3),
    };
    let policy = PoolPolicy {
        resume_window: Duration::ZERO,
        settle: Duration::ZERO,
        ..PoolPolicy::default()
    };
    let now = Time::default();
    let mut placement = Placement::new(timing, 1, 0, now);
    placement.set_pool(now, "web".into(), policy);
    let names: Vec<String> = (0..instances)
        .map(|number| format!("gpu-{number}"))
        .collect();
    for name in &names {
        let spec = InstanceSpec {
            name: name.as_str().into(),
            pool: "web".into(),
            host: name.as_str().into(),
            zone: None,
            labels: Labels::default(),
            agent: false,
        };
        placement.add_instance(now, spec);
        placement.set_up(now, &name.as_str().into(), true);
    }
    let reached: Vec<_> = names.iter().map(|name| name.as_str().into()).collect();
    placement.change_reach(now, &"edge".into(), &reached, &[]);
    placement.advance(now);
    placement
}

fn owner(number: u64) -> Owner {
    Owner {
        user: User {
            issuer: "https://login.example.com".into(),
            subject: format!("user-{number}").into(),
        },
        tenant: "".into(),
        resume_key: None,
    }
}

pub(super) fn nanoseconds(start: Instant, pairs: usize) -> f64 {
    let nanoseconds = start.elapsed().as_secs_f64() * 1e9;
    nanoseconds / f64::from(u32::try_from(pairs).unwrap_or(u32::MAX))
}

/// Sessions of the busy VM at one time.
const LIVE: usize = 64;
