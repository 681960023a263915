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
    m.placement.change_reach(m.now, &"edge".into(), &names, &[]);
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

/// Two instances with a session each; the user's two devices wait, and then both instances come free.
#[test]
fn a_second_device_meets_the_same_in_the_queue() {
    // What the first has then, and the second's answer.
    let cases = [
        (SecondDevice::Allow, "web-1", Some("web-2")),
        (SecondDevice::Refuse, "web-1", None),
        (SecondDevice::TakeOver, "web-1", None),
    ];
    for (second_device, first, second) in cases {
        let policy = PoolPolicy {
            queue: 10,
            resume_window: Duration::ZERO,
            second_device,
            settle: Duration::ZERO,
            ..PoolPolicy::default()
        };
        let mut m = Machine::with(2, policy);
        for other in ["one", "two"] {
            m.granted(other, owner(other, None));
        }
        for device in ["first", "second"] {
            assert_eq!(m.acquire(device, owner("user", Some(device))), None);
        }
        m.ended("one", None, EndCause::Instance);
        m.ended("two", None, EndCause::Instance);
        let has = |m: &Machine, device: &str| {
            let mut found = sessions(m).into_iter();
            found.find(|(session, _)| session == device)
        };
        let expected = Some(("first".to_owned(), Some(first.to_owned())));
        assert_eq!(has(&m, "first"), expected, "{second_device:?}");
        let waits = Some(("second".to_owned(), second.map(str::to_owned)));
        let expected = match second_device {
            SecondDevice::Refuse => None,
            _ => waits,
        };
        assert_eq!(has(&m, "second"), expected, "{second_device:?}");
        if second_device == SecondDevice::TakeOver {
            let origin = m.origin("vm");
            let closes = m.full_from(origin, &[], &["first", "second"]);
            let reasons: Vec<_> = closes.iter().map(|close| close.reason).collect();
            assert_eq!(reasons, [CloseReason::TakenOver]);
            m.ended("first", None, EndCause::Berth);
            let expected = Some(("second".to_owned(), Some("web-1".to_owned())));
            assert_eq!(has(&m, "second"), expected);
        }
    }
}

#[test]
fn who_waited_lets_go_of_what_they_cannot_have() {
    let policy = PoolPolicy {
        queue: 10,
        max_sessions_per_user: Some(1),
        settle: Duration::ZERO,
        ..PoolPolicy::default()
    };
    for ended in [true, false] {
        let mut m = Machine::with(2, policy.clone());
        let first = m.granted("first", owner("user", None));
        m.granted("other", owner("other", None));
        if ended {
            m.ended("first", None, EndCause::Client);
        }
        m.placement.set_quarantined(m.now, &first.instance, true);
        assert_eq!(m.acquire("second", owner("user", None)), None);
        m.ended("other", None, EndCause::Instance);
        let expected = ("second".to_owned(), Some("web-2".to_owned()));
        assert_eq!(sessions(&m).last(), Some(&expected), "ended: {ended}");
        if ended {
            assert_eq!(m.state("web-1"), "free");
        } else {
            let origin = m.origin("vm");
            let closes = m.full_from(origin, &[("first", &first)], &["second"]);
            let reasons: Vec<_> = closes.iter().map(|close| close.reason).collect();
            assert_eq!(reasons, [CloseReason::Resumed]);
        }
    }
}

#[test]
fn who_could_not_have_their_own_has_the_place_they_came_for() {
    let policy = PoolPolicy {
        queue: 10,
        ..PoolPolicy::default()
    };
    let mut m = Machine::with(2, policy);
    let first = m.granted("first", owner("user", None));
    m.granted("other", owner("other", None));
    m.ended("first", None, EndCause::Client);
    assert_eq!(m.acquire("second", owner("user", None)), None);
    m.pass(Duration::from_millis(1));
    assert_eq!(m.acquire("later", owner("later", None)), None);
    m.placement.set_quarantined(m.now, &first.instance, true);
    m.pass(seconds(1));
    m.ended("other", None, EndCause::Instance);
    m.pass(seconds(1));
    let expected = ("second".to_owned(), Some("web-2".to_owned()));
    assert!(sessions(&m).contains(&expected), "{:?}", sessions(&m));
}

#[test]
fn an_heir_makes_way_for_who_is_on_the_instance() {
    for settle in [0, 1] {
        let policy = PoolPolicy {
            queue: 10,
            settle: seconds(settle),
            ..PoolPolicy::default()
        };
        let mut m = Machine::with(1, policy);
        let first = m.granted("first", owner("user", None));
        m.full("vm", &[("first", &first)]);
        assert_eq!(m.acquire("second", owner("user", None)), None);
        let later = Grant {
            fence: Fence {
                term: first.fence.term + 1,
                ..first.fence
            },
            ..first
        };
        m.full("far", &[("far", &later)]);
        let expected = [
            ("far".to_owned(), Some("web-1".to_owned())),
            ("second".to_owned(), None),
        ];
        assert_eq!(sessions(&m), expected, "settle: {settle} s");
        assert_eq!(m.state("web-1"), "active");
    }
}
