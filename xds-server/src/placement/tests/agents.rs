//! Instances with an agent.

use super::*;

struct Agented {
    m: Machine,
    sequence: u64,
    incarnation: u64,
    order: AgentOrder,
}

impl Agented {
    /// A pool of one instance whose agent has just started, and closed its firewall.
    fn new() -> Self {
        let mut m = Machine::with(0, policy());
        let spec = InstanceSpec {
            agent: true,
            ..spec("web-1")
        };
        m.placement.add_instance(m.now, spec);
        m.placement.set_up(m.now, &"web-1".into(), true);
        m.placement
            .change_reach(m.now, &"edge".into(), &["web-1".into()], &[]);
        let order = AgentOrder {
            revision: Revision::default(),
            open: None,
            recycle: false,
        };
        let mut agented = Self {
            m,
            sequence: 0,
            incarnation: 1,
            order,
        };
        agented.report(false, None);
        agented.report(false, None);
        agented
    }

    /// The agent says that it has done what it was last told.
    fn report(&mut self, in_session: bool, over: Option<Fence>) {
        self.sequence += 1;
        let report = AgentReport {
            incarnation: self.incarnation,
            sequence: self.sequence,
            revision: self.order.revision,
            in_session,
            over,
        };
        let order = self.m.placement.agent(self.m.now, &"web-1".into(), report);
        self.order = order.unwrap();
    }

    /// A granted and established session.
    fn live(&mut self, session: &str) -> Grant {
        assert_eq!(self.m.acquire(session, owner("alice", None)), None);
        self.report(false, None);
        self.report(false, None);
        let Some(Outcome::Granted(grant)) = self.m.answer_to(session) else {
            panic!("the firewall is open and nobody is told");
        };
        self.m.full("vm", &[(session, &grant)]);
        grant
    }
}

#[test]
fn a_grant_waits_for_the_firewall() {
    let mut a = Agented::new();
    assert_eq!(a.m.acquire("s1", owner("alice", None)), None);
    a.report(false, None);
    let open = a.order.open.clone().unwrap();
    assert_eq!(&*open.client_address, "192.0.2.1");
    assert_eq!(
        a.m.answer_to("s1"),
        None,
        "it has been told, and not done it yet"
    );
    a.report(false, None);
    assert!(
        matches!(a.m.answer_to("s1"), Some(Outcome::Granted(grant)) if grant.fence == open.fence)
    );
}

#[test]
fn a_firewall_is_opened_for_what_is_written_down() {
    let mut a = Agented::new();
    while a.m.placement.poll_effect().is_some() {}
    let acquire = asked(a.m.origin("vm"), "s1", owner("alice", None));
    a.m.placement.acquire(a.m.now, RequestId(1), acquire);
    assert!(matches!(
        a.m.placement.poll_effect(),
        Some(Effect::Commit(_))
    ));
    let opens = a.m.placement.poll_effect();
    assert!(matches!(opens, Some(Effect::Agent { order, .. }) if order.open.is_some()));
}

#[test]
fn who_is_revoked_meanwhile_is_not_told_of_the_instance() {
    let mut a = Agented::new();
    a.m.acquire("s1", owner("alice", None));
    a.report(false, None);
    let revoke = Revoke {
        what: Revoked::Session("s1".into()),
        span: RevocationSpan::default(),
        note: None,
    };
    let done = a.m.placement.revoke(a.m.now, revoke).unwrap();
    assert_eq!((done.closing, done.refused), (0, 1));
    let answer = a.m.answer_to("s1");
    assert_eq!(answer, Some(Outcome::Refused(Refusal::Revoked)));
    assert_eq!(a.m.state("web-1"), "settling");
    a.report(false, None);
    a.report(false, None);
    assert_eq!(a.order.open, None);
    assert_eq!(a.m.state("web-1"), "free");
}

#[test]
fn a_firewall_that_does_not_open_refuses() {
    let mut a = Agented::new();
    a.m.acquire("s1", owner("alice", None));
    a.m.pass(TIMING.agent_within);
    assert!(matches!(
        a.m.answer_to("s1"),
        Some(Outcome::Refused(Refusal::NoInstance { .. }))
    ));
    assert_eq!(a.m.state("web-1"), "settling");
}

#[test]
fn the_instance_is_free_when_its_agent_says_so() {
    let mut a = Agented::new();
    let grant = a.live("s1");
    a.m.ended("s1", Some(grant.fence), EndCause::Instance);
    a.m.pass(seconds(1));
    a.report(true, None);
    assert_eq!(a.order.open, None);
    a.report(true, None);
    assert_eq!(
        a.m.state("web-1"),
        "settling",
        "the runtime still has a client"
    );
    a.report(false, Some(grant.fence));
    assert_eq!(a.m.state("web-1"), "free");
    a.live("s2");
}

#[test]
fn a_runtime_that_does_not_come_free_is_restarted() {
    let mut a = Agented::new();
    let grant = a.live("s1");
    a.m.ended("s1", Some(grant.fence), EndCause::Instance);
    for _ in 0..5 {
        a.report(true, None);
        assert!(!a.order.recycle);
        a.m.pass(seconds(1));
    }
    a.report(true, None);
    assert!(a.order.recycle);
    a.report(false, None);
    assert_eq!(a.m.state("web-1"), "free");
    a.live("s2");
    assert!(!a.order.recycle);
}

#[test]
fn its_client_comes_back_once_the_runtime_is_free() {
    let mut a = Agented::new();
    let grant = a.live("s1");
    a.m.ended("s1", Some(grant.fence), EndCause::Client);
    assert_eq!(a.m.acquire("s2", owner("alice", None)), None);
    a.report(false, None);
    assert_eq!(a.m.state("web-1"), "resumable");
    a.report(false, Some(grant.fence));
    a.report(false, Some(grant.fence));
    a.report(false, Some(grant.fence));
    assert!(matches!(a.m.answer_to("s2"), Some(Outcome::Granted(_))));
}

#[test]
fn its_evidence_frees_an_orphan() {
    let mut a = Agented::new();
    let grant = a.live("s1");
    let earlier = Fence {
        sequence: grant.fence.sequence - 1,
        ..grant.fence
    };
    for _ in 0..4 {
        a.m.pass(seconds(1));
        a.report(true, Some(earlier));
    }
    assert_eq!(a.m.state("web-1"), "orphaned");
    a.report(false, Some(grant.fence));
    a.report(false, Some(grant.fence));
    assert_eq!(a.m.state("web-1"), "free");
    // Its VM, should it come back, is told to close what it still lists, and that is no overlap.
    let closes = a.m.full("vm", &[("s1", &grant)]);
    assert_eq!(closes.len(), 1);
    assert_eq!(a.m.state("web-1"), "free");
    assert_eq!(a.m.placement.counts().overlaps, 0);
}

#[test]
fn an_orphan_is_cut_off_before_it_is_given_up() {
    let mut a = Agented::new();
    a.live("s1");
    for _ in 0..303 {
        a.m.pass(seconds(1));
        a.report(true, None);
    }
    assert_eq!(a.m.state("web-1"), "settling");
    assert_eq!(a.order.open, None);
    a.report(false, None);
    assert_eq!(a.m.state("web-1"), "free");
}

#[test]
fn an_agent_that_is_away_makes_its_instance_nobodys() {
    let mut a = Agented::new();
    a.m.pass(seconds(3));
    assert!(matches!(
        a.m.acquire("s1", owner("alice", None)),
        Some(Outcome::Refused(_))
    ));
    a.report(false, None);
    a.live("s2");
}

#[test]
fn an_earlier_report_changes_nothing() {
    let mut a = Agented::new();
    let grant = a.live("s1");
    let mut word = |incarnation, sequence| {
        let report = AgentReport {
            incarnation,
            sequence,
            revision: a.order.revision,
            in_session: false,
            over: Some(grant.fence),
        };
        a.m.placement.agent(a.m.now, &"web-1".into(), report)
    };
    assert_eq!(word(1, 1), None);
    assert!(word(2, 1).is_some(), "it has been started anew");
    assert_eq!(word(1, 1_000), None, "from before that");
    assert_eq!(a.m.ignored(Ignored::LateReport), 2);
}

#[test]
fn only_instances_with_an_agent_hear_of_one() {
    let mut m = Machine::new(1);
    let report = AgentReport {
        incarnation: 1,
        sequence: 1,
        revision: Revision::default(),
        in_session: false,
        over: None,
    };
    assert_eq!(
        m.placement.agent(m.now, &"web-1".into(), report.clone()),
        None
    );
    assert_eq!(m.placement.agent(m.now, &"web-9".into(), report), None);
}

#[test]
fn what_an_earlier_control_plane_said_is_outranked() {
    // It reached order 40 and lease 500 of the same term; this one knows nothing of that.
    let mut a = Agented::new();
    a.order.revision = Revision {
        term: 1,
        sequence: 40,
    };
    let over = Fence {
        term: 1,
        sequence: 500,
    };
    a.report(false, Some(over));
    assert!(
        a.order.revision
            > Revision {
                term: 1,
                sequence: 40
            }
    );
    a.report(false, Some(over));
    assert_eq!(a.m.acquire("s1", owner("alice", None)), None);
    a.report(false, Some(over));
    assert!(a.order.open.as_ref().is_some_and(|open| open.fence > over));
    a.report(false, Some(over));
    assert!(matches!(a.m.answer_to("s1"), Some(Outcome::Granted(_))));
}
