//! Which of several free instances is given.

use super::*;

struct Given {
    zone: Option<&'static str>,
    labels: &'static [(&'static str, &'static str)],
    host: &'static str,
}

fn machine(choice: Choice, instances: &[Given]) -> Machine {
    let policy = PoolPolicy {
        choice,
        resume_window: Duration::ZERO,
        settle: Duration::ZERO,
        ..policy()
    };
    let mut m = Machine::with(0, policy);
    let mut names = Vec::new();
    for (number, given) in (1..).zip(instances) {
        let name = format!("web-{number}");
        let spec = InstanceSpec {
            zone: given.zone.map(Zone::from),
            labels: given.labels.iter().copied().collect(),
            host: given.host.into(),
            ..spec(&name)
        };
        m.placement.add_instance(m.now, spec);
        m.placement.set_up(m.now, &name.as_str().into(), true);
        names.push(name.into());
    }
    m.placement.change_reach(m.now, &"edge".into(), &names, &[]);
    m
}

fn ask(m: &mut Machine, session: &str, labels: &[(&str, &str)]) -> Option<String> {
    let origin = m.origin("vm");
    let acquire = Acquire {
        labels: labels.iter().copied().collect(),
        ..asked(origin, session, owner(session, None))
    };
    m.requests += 1;
    let request = RequestId(m.requests);
    m.placement.acquire(m.now, request, acquire);
    match m.answer_to(session)? {
        Outcome::Granted(grant) => Some(grant.instance.to_string()),
        Outcome::Refused(_) => None,
    }
}

const PLAIN: Given = Given {
    zone: None,
    labels: &[],
    host: "h",
};

#[test]
fn the_hosts_are_packed_or_spread_or_all_take_their_turn() {
    let hosts = || ["h1", "h1", "h2", "h2"].map(|host| Given { host, ..PLAIN });
    // Four come; then the second and the third go, and two more come.
    for (choice, first, then) in [
        (
            Choice::LeastRecentlyUsed,
            ["web-1", "web-2", "web-3", "web-4"],
            ["web-2", "web-3"],
        ),
        (
            Choice::Pack,
            ["web-1", "web-2", "web-3", "web-4"],
            ["web-2", "web-3"],
        ),
        (
            Choice::Spread,
            ["web-1", "web-3", "web-2", "web-4"],
            ["web-3", "web-2"],
        ),
    ] {
        let mut m = machine(choice, &hosts());
        let given = ["s1", "s2", "s3", "s4"].map(|session| ask(&mut m, session, &[]).unwrap());
        assert_eq!(given, first, "{choice:?}");
        for session in ["s2", "s3"] {
            m.pass(Duration::from_millis(1));
            m.ended(session, None, EndCause::Instance);
        }
        let given = ["s5", "s6"].map(|session| ask(&mut m, session, &[]).unwrap());
        assert_eq!(given, then, "{choice:?}");
    }
    // With one on the second host only, packing goes there.
    let mut m = machine(Choice::Pack, &hosts());
    for session in ["s1", "s2", "s3"] {
        ask(&mut m, session, &[]).unwrap();
    }
    for session in ["s1", "s2"] {
        m.ended(session, None, EndCause::Instance);
    }
    assert_eq!(ask(&mut m, "s4", &[]).as_deref(), Some("web-4"));
}

#[test]
fn what_is_asked_for_is_given_or_nothing() {
    let mut m = machine(
        Choice::default(),
        &[
            Given {
                labels: &[("region", "us")],
                ..PLAIN
            },
            Given {
                labels: &[("gpu", "l40"), ("region", "eu")],
                ..PLAIN
            },
            Given {
                labels: &[("region", "eu")],
                ..PLAIN
            },
        ],
    );
    let both = [("region", "eu"), ("gpu", "l40")];
    assert_eq!(ask(&mut m, "s0", &[("region", "mars")]), None);
    assert_eq!(ask(&mut m, "s1", &both).as_deref(), Some("web-2"));
    assert_eq!(ask(&mut m, "s2", &both), None);
    assert_eq!(
        ask(&mut m, "s3", &[("region", "eu")]).as_deref(),
        Some("web-3")
    );
    assert_eq!(ask(&mut m, "s4", &[]).as_deref(), Some("web-1"));
}

#[test]
fn the_proxys_zone_comes_before_the_order() {
    let zones = [Some("a"), None, Some("b")].map(|zone| Given { zone, ..PLAIN });
    let mut m = machine(Choice::default(), &zones);
    m.placement.set_zone("edge".into(), Some("b".into()));
    let given: Vec<_> = ["s1", "s2", "s3"]
        .iter()
        .map(|s| ask(&mut m, s, &[]).unwrap())
        .collect();
    assert_eq!(given, ["web-3", "web-1", "web-2"]);
    let picks: Vec<_> = given
        .iter()
        .map(|name| m.lease(name).map(|lease| lease.pick).unwrap())
        .collect();
    assert_eq!(
        picks.iter().map(|pick| pick.same_zone).collect::<Vec<_>>(),
        [true, false, false]
    );
    assert_eq!(
        picks.iter().map(|pick| pick.free).collect::<Vec<_>>(),
        [3, 2, 1]
    );
}

#[test]
fn each_proxy_is_sent_only_where_it_can_be() {
    let mut m = machine(Choice::default(), &[PLAIN, PLAIN]);
    m.placement
        .change_reach(m.now, &"west".into(), &["web-2".into()], &[]);
    let mut origin = m.origin("vm-west");
    origin.node = "west".into();
    let outcome = m.acquire_from(origin, "s1", owner("alice", None));
    assert!(matches!(outcome, Some(Outcome::Granted(grant)) if grant.instance.as_str() == "web-2"));
    m.ended_from(m.origin_of("vm-west", 99), "s1", None, EndCause::Instance);
    assert_eq!(ask(&mut m, "s2", &[]).as_deref(), Some("web-1"));
    // And no longer once it has forgotten.
    m.placement.forget_node(m.now, &"edge".into());
    assert_eq!(ask(&mut m, "s3", &[]), None);
}

#[test]
fn an_instance_warms_up_before_it_is_given() {
    let policy = PoolPolicy {
        warm_up: seconds(10),
        ..policy()
    };
    let mut m = Machine::with(1, policy);
    assert!(!matches!(
        m.acquire("s1", owner("alice", None)),
        Some(Outcome::Granted(_))
    ));
    m.pass(seconds(5));
    m.placement.set_up(m.now, &"web-1".into(), false);
    m.placement.set_up(m.now, &"web-1".into(), true);
    m.pass(seconds(9));
    assert!(!matches!(
        m.acquire("s2", owner("alice", None)),
        Some(Outcome::Granted(_))
    ));
    m.pass(seconds(1));
    m.granted("s3", owner("alice", None));
}

#[test]
fn a_session_is_closed_at_its_age() {
    let policy = PoolPolicy {
        max_session_age: Some(seconds(60)),
        ..policy()
    };
    let mut m = Machine::with(1, policy);
    let grant = m.granted("s1", owner("alice", None));
    // Its proxy is told how long it has, and is given the time that an upgrade may take besides.
    for second in 0..75 {
        let left = m.placement.age_left(m.now, &grant);
        let expected = 60_u64.saturating_sub(second);
        assert_eq!(left, Some(seconds(expected)), "after {second} s");
        let closes = m.full("vm", &[("s1", &grant)]);
        assert_eq!(closes, [], "after {second} s");
        m.pass(seconds(1));
    }
    let another = Grant {
        fence: Fence {
            sequence: 77,
            ..grant.fence
        },
        ..grant.clone()
    };
    assert_eq!(m.placement.age_left(m.now, &another), None);
    let closes = m.full("vm", &[("s1", &grant)]);
    assert!(matches!(
        closes.as_slice(),
        [Close {
            reason: CloseReason::Expired,
            ..
        }]
    ));
    m.ended("s1", Some(grant.fence), EndCause::Berth);
    assert_eq!(
        m.state("web-1"),
        "settling",
        "nobody resumes what has expired"
    );
}
