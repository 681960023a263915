//! A client's own instance, where it cannot have that, or no longer should.

use super::*;

fn sessions(m: &Machine) -> Vec<(String, Option<String>)> {
    let mut sessions: Vec<_> = m
        .placement
        .sessions(m.now)
        .map(|session| {
            let instance = session.instance.map(|instance| instance.to_string());
            (session.session.to_string(), instance)
        })
        .collect();
    sessions.sort();
    sessions
}

#[test]
fn what_its_heir_is_given_instead_is_not_given_twice() {
    let policy = PoolPolicy {
        queue: 10,
        ..PoolPolicy::default()
    };
    let mut m = Machine::with(2, policy);
    let grant = m.granted("first", owner("user", None));
    m.full("vm", &[("first", &grant)]);
    m.ended("first", None, EndCause::Client);
    // Its client is back before the instance has settled, which is then found to be down.
    assert_eq!(m.acquire("second", owner("user", None)), None);
    m.placement.set_up(m.now, &grant.instance, false);
    // It has settled, and before anybody has looked at the time the client comes once more.
    m.now = m.now.after(seconds(1));
    m.acquire("third", owner("user", None));
    let instances: Vec<_> = sessions(&m)
        .into_iter()
        .filter_map(|(_, instance)| instance)
        .collect();
    assert_eq!(instances.len(), 1, "{:?}", sessions(&m));
}

#[test]
fn who_asks_for_something_else_than_they_have_gets_it_or_waits() {
    let mut m = Machine::learning(0, PoolPolicy::default());
    for (name, region) in [("web-1", "eu"), ("web-2", "us")] {
        let labels = Labels::from_iter([("region", region)]);
        let spec = InstanceSpec {
            labels,
            ..spec(name)
        };
        m.placement.add_instance(m.now, spec);
        m.placement.set_up(m.now, &name.into(), true);
    }
    let names = ["web-1", "web-2"].map(InstanceName::from);
    m.placement.set_reach(m.now, "edge".into(), names.into());
    m.pass(TIMING.learn_for);
    let ask = |m: &mut Machine, session: &str, subject: &str, region: &str| {
        m.requests += 1;
        let origin = m.origin("vm");
        let acquire = Acquire {
            labels: Labels::from_iter([("region", region)]),
            ..asked(origin, session, owner(subject, None))
        };
        m.placement.acquire(m.now, RequestId(m.requests), acquire);
        match m.answer_to(session)? {
            Outcome::Granted(grant) => Some(grant),
            Outcome::Refused(refusal) => panic!("{session}: {refusal:?}"),
        }
    };
    let first = ask(&mut m, "first", "user", "eu").unwrap();
    m.full("vm", &[("first", &first)]);
    m.ended("first", None, EndCause::Client);
    let other = ask(&mut m, "other", "other", "us").unwrap();
    assert_eq!(ask(&mut m, "second", "user", "us"), None);
    m.ended("other", Some(other.fence), EndCause::Instance);
    m.pass(seconds(1));
    let second = match m.answer_to("second") {
        Some(Outcome::Granted(grant)) => grant,
        outcome => panic!("{outcome:?}"),
    };
    assert_eq!(second.instance, "web-2".into());
}
