//! Who waits, and whose turn it is.

use super::*;

const FULL: usize = 1_000;

fn queueing(instances: usize, change: impl FnOnce(&mut PoolPolicy)) -> Machine {
    let mut policy = PoolPolicy {
        queue: FULL,
        resume_window: Duration::ZERO,
        settle: Duration::ZERO,
        ..PoolPolicy::default()
    };
    change(&mut policy);
    Machine::with(instances, policy)
}

fn of(subject: &str, tenant: &str) -> Owner {
    Owner {
        tenant: tenant.into(),
        ..owner(subject, None)
    }
}

/// Asks for a session named after its user; the answer, unless it waits.
fn ask(m: &mut Machine, who: &str, tenant: &str, priority: u8) -> Option<Outcome> {
    let origin = m.origin("vm");
    let acquire = Acquire {
        priority: Priority(priority),
        ..asked(origin, who, of(who, tenant))
    };
    m.requests += 1;
    let request = RequestId(m.requests);
    m.placement.acquire(m.now, request, acquire);
    m.answer_to(who)
}

/// Ends whoever is on the instance; who is on it then.
fn next(m: &mut Machine) -> String {
    let on = |m: &Machine| {
        m.lease("web-1")
            .map(|lease| lease.acquire.session.to_string())
    };
    let session = on(m).unwrap();
    m.ended(&session, None, EndCause::Instance);
    on(m).unwrap_or_default()
}

#[test]
fn by_priority_then_tenants_in_turn_then_who_came_first() {
    let mut m = queueing(1, |_| {});
    ask(&mut m, "first", "a", 0).unwrap();
    let waiting = [
        ("a1", "a", 0),
        ("a2", "a", 0),
        ("b1", "b", 0),
        ("a3", "a", 0),
        ("c1", "c", 0),
        ("b2", "b", 0),
        ("urgent-b", "b", 9),
        ("urgent-a", "a", 9),
        ("less", "a", 5),
    ];
    for (who, tenant, priority) in waiting {
        assert_eq!(ask(&mut m, who, tenant, priority), None, "{who}");
    }
    let served: Vec<String> = (0..waiting.len()).map(|_| next(&mut m)).collect();
    let expected = [
        "urgent-b", "urgent-a", "less", "a1", "b1", "c1", "a2", "b2", "a3",
    ];
    assert_eq!(served, expected);
    assert_eq!(next(&mut m), "");
    assert!(m.placement.is_idle());
}

#[test]
fn who_waits_is_refused_when_patience_ends_and_told_when_to_come_back() {
    let mut m = queueing(1, |policy| policy.max_session_age = Some(seconds(30)));
    let Some(Outcome::Granted(grant)) = ask(&mut m, "first", "a", 0) else {
        panic!("nobody has the instance yet");
    };
    m.full("vm", &[("first", &grant)]);
    assert_eq!(ask(&mut m, "second", "a", 0), None);
    m.pass(Duration::from_millis(1_500));
    assert_eq!(ask(&mut m, "third", "a", 0), None);
    for (millis, left) in [(8_000, "second"), (9_500, "third")] {
        // It is said until then that both are there.
        while m.now < Time(TIMING.learn_for + Duration::from_millis(millis)) {
            assert_eq!(m.answer_to(left), None, "at {:?}", m.now);
            let origin = m.origin("vm");
            let pending: &[&str] = if left == "second" {
                &["second", "third"]
            } else {
                &["third"]
            };
            m.full_from(origin, &[("first", &grant)], pending);
            m.pass(Duration::from_millis(500));
        }
        let answer = m.answer_to(left);
        let Some(Outcome::Refused(Refusal::NoInstance { retry_after })) = answer else {
            panic!("{left}: {answer:?}");
        };
        // The only session there is has to end 30 s after its grant.
        let ends_in = Time(TIMING.learn_for + seconds(30)).since(m.now);
        assert!(
            retry_after >= ends_in && retry_after <= ends_in + seconds(2),
            "{retry_after:?}"
        );
    }
}

#[test]
fn who_leaves_leaves_the_queue_at_once() {
    type Leaving = fn(&mut Machine);
    let ways: [(&str, Leaving); 4] = [
        ("a hint", |m| {
            m.ended("second", None, EndCause::NotEstablished)
        }),
        ("a Sync without it", |m| {
            let origin = m.origin("vm");
            let first = m.lease("web-1").map(|lease| Grant {
                fence: lease.fence,
                instance: "web-1".into(),
            });
            m.full_from(origin, &[("first", &first.unwrap())], &["third"]);
        }),
        ("its caller hung up", |m| {
            m.placement.cancel(m.now, RequestId(2), &"second".into());
        }),
        ("the operator", |m| {
            m.placement.terminate(m.now, &"second".into());
        }),
    ];
    for (way, leave) in ways {
        let mut m = queueing(1, |_| {});
        ask(&mut m, "first", "a", 0).unwrap();
        ask(&mut m, "second", "a", 0);
        ask(&mut m, "third", "a", 0);
        leave(&mut m);
        assert_eq!(m.placement.waiting(), 1, "{way}");
        assert_eq!(next(&mut m), "third", "{way}");
    }
}

#[test]
fn a_caller_that_asked_again_is_not_cancelled_by_its_first_call() {
    let mut m = queueing(1, |_| {});
    ask(&mut m, "first", "a", 0).unwrap();
    ask(&mut m, "second", "a", 0);
    let again = ask(&mut m, "second", "a", 0);
    assert_eq!(
        again,
        Some(Outcome::Refused(Refusal::Cancelled)),
        "the first call's answer"
    );
    m.placement.cancel(m.now, RequestId(2), &"second".into());
    assert_eq!(next(&mut m), "second");
}

#[test]
fn those_of_a_silent_proxy_stand_in_nobodys_way() {
    let mut m = queueing(1, |_| {});
    let origin = m.origin("other-vm");
    m.acquire_from(origin, "first", of("first", "a"));
    ask(&mut m, "second", "a", 0);
    for _ in 0..4 {
        m.pass(seconds(1));
        m.full(
            "other-vm",
            &[(
                "first",
                &m.lease("web-1")
                    .map(|lease| Grant {
                        fence: lease.fence,
                        instance: "web-1".into(),
                    })
                    .unwrap(),
            )],
        );
    }
    assert_eq!(m.placement.waiting(), 0);
    assert_eq!(
        m.answer_to("second"),
        Some(Outcome::Refused(Refusal::Cancelled))
    );
}

#[test]
fn a_hundred_thousand_requests_cost_no_more_than_there_is_room_for() {
    for learning in [false, true] {
        let mut m = if learning {
            Machine::learning(1, PoolPolicy::default())
        } else {
            queueing(1, |_| {})
        };
        ask(&mut m, "first", "a", 0);
        let mut refused = 0;
        for number in 0..100_000 {
            match ask(&mut m, &format!("user-{number}"), "a", 0) {
                None => {}
                Some(Outcome::Refused(Refusal::QueueFull { retry_after })) => {
                    assert!(retry_after >= seconds(1));
                    refused += 1;
                }
                Some(other) => panic!("{other:?}"),
            }
        }
        let waiting = m.placement.waiting();
        assert_eq!(waiting, FULL, "learning: {learning}");
        assert_eq!(refused, 100_000 - FULL + usize::from(learning));
        assert!(m.placement.sessions.len() <= FULL + 1);
        assert!(m.placement.users.len() <= FULL + 1);
        // And nothing is lost of those who are in.
        if !learning {
            assert_eq!(next(&mut m), "user-0");
        }
    }
}

#[test]
fn an_absurd_hold_is_only_a_long_one() {
    let mut m = queueing(1, |policy| policy.hold = Duration::MAX);
    ask(&mut m, "first", "a", 0).unwrap();
    assert_eq!(ask(&mut m, "second", "a", 0), None);
    assert_eq!(next(&mut m), "second");
}

#[test]
fn a_client_that_waits_elsewhere_gets_back_what_it_left() {
    // Another connection of the same headset came before anybody knew that the first was gone.
    let mut m = queueing(1, |policy| {
        policy.second_device = SecondDevice::Allow;
        policy.resume_window = seconds(30);
    });
    let grant = m.granted("s1", owner("alice", Some("k1")));
    m.full("vm", &[("s1", &grant)]);
    assert_eq!(m.acquire("s2", owner("bob", None)), None);
    assert_eq!(m.acquire("s3", owner("alice", None)), None);
    m.ended("s1", Some(grant.fence), EndCause::Client);
    assert!(matches!(m.answer_to("s3"), Some(Outcome::Granted(_))));
    let why = m.lease("web-1").map(|lease| lease.pick.why);
    assert_eq!(why, Some(Why::Resumed));
}

#[test]
fn caps_are_refusals_at_once() {
    let case = |change: fn(&mut PoolPolicy)| {
        queueing(4, |policy| {
            policy.second_device = SecondDevice::Allow;
            change(policy);
        })
    };
    let mut m = case(|policy| policy.max_sessions_per_user = Some(2));
    for (session, granted) in [("s1", true), ("s2", true), ("s3", false)] {
        let outcome = m.acquire(session, owner("alice", None));
        assert_eq!(
            matches!(outcome, Some(Outcome::Granted(_))),
            granted,
            "{session}"
        );
    }
    assert!(m.acquire("s4", owner("bob", None)).is_some());
    m.ended("s1", None, EndCause::Instance);
    m.granted("s5", owner("alice", None));

    let mut m = case(|policy| {
        policy.max_sessions_per_tenant = Some(2);
        let large = TenantPolicy {
            max_sessions: Some(3),
            reserved: 0,
        };
        policy.tenants = [("large".into(), large)].into();
    });
    for (who, tenant, granted) in [
        ("a", "small", true),
        ("b", "large", true),
        ("c", "small", true),
        ("d", "small", false),
        ("e", "large", true),
    ] {
        let outcome = ask(&mut m, who, tenant, 0);
        assert_eq!(
            matches!(outcome, Some(Outcome::Granted(_))),
            granted,
            "{who}"
        );
        if !granted {
            assert!(matches!(
                outcome,
                Some(Outcome::Refused(Refusal::TooManyOfTenant { .. }))
            ));
        }
    }
    // The pool is full now: who waits counts.
    assert_eq!(ask(&mut m, "f", "large", 0), None);
    assert!(ask(&mut m, "g", "large", 0).is_some());
}

#[test]
fn a_user_at_the_cap_may_still_come_back() {
    let mut m = queueing(2, |policy| {
        policy.max_sessions_per_user = Some(1);
        policy.resume_window = seconds(30);
    });
    let first = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &first)]);
    assert_eq!(m.acquire("s2", owner("alice", None)), None, "it takes over");
    m.ended("s1", Some(first.fence), EndCause::Berth);
    assert!(matches!(m.answer_to("s2"), Some(Outcome::Granted(_))));
    // And one whose proxy fell silent is not kept out by what may be over.
    m.pass(seconds(4));
    assert_eq!(m.state("web-1"), "orphaned");
    let other = m.origin("other-vm");
    assert!(is_granted(m.acquire_from(
        other,
        "s3",
        owner("alice", None)
    )));
}

#[test]
fn a_pools_cap_makes_others_wait() {
    let mut m = queueing(3, |policy| policy.max_sessions = Some(1));
    ask(&mut m, "first", "a", 0).unwrap();
    assert_eq!(ask(&mut m, "second", "a", 0), None);
    m.ended("first", None, EndCause::Instance);
    assert!(is_granted(m.answer_to("second")));
}

#[test]
fn what_is_reserved_for_a_tenant_is_kept_for_it() {
    let mut m = queueing(3, |policy| {
        let kept = TenantPolicy {
            max_sessions: None,
            reserved: 2,
        };
        policy.tenants = [("kept".into(), kept)].into();
    });
    assert!(is_granted(ask(&mut m, "a", "other", 0)));
    assert_eq!(ask(&mut m, "b", "other", 0), None, "two are kept");
    assert!(is_granted(ask(&mut m, "c", "kept", 0)));
    assert_eq!(m.placement.waiting(), 1, "one is still kept");
    assert!(is_granted(ask(&mut m, "d", "kept", 0)));
    assert_eq!(ask(&mut m, "e", "kept", 0), None);
    // Those who have what is kept for them wait like anyone.
    m.ended("a", None, EndCause::Instance);
    assert!(is_granted(m.answer_to("b")));
    m.ended("c", None, EndCause::Instance);
    assert!(is_granted(m.answer_to("e")));
}

#[test]
fn more_room_lets_them_in() {
    type Change = fn(&mut Machine);
    let changes: [(&str, Change); 4] = [
        ("an instance comes up", |m| {
            m.placement.set_up(m.now, &"web-2".into(), true)
        }),
        ("draining is called off", |m| {
            m.placement.set_up(m.now, &"web-3".into(), true);
            m.placement.set_draining(m.now, &"web-3".into(), false);
        }),
        ("the proxy learns of it", |m| {
            m.placement.set_up(m.now, &"web-4".into(), true);
            m.placement
                .change_reach(m.now, &"edge".into(), &["web-4".into()], &[]);
        }),
        ("a cap is raised", |m| {
            m.placement.set_up(m.now, &"web-2".into(), true);
            let policy = PoolPolicy::default();
            m.placement.set_pool(m.now, "web".into(), policy);
        }),
    ];
    for (what, change) in changes {
        let mut m = queueing(4, |policy| {
            if what == "a cap is raised" {
                policy.max_sessions = Some(1);
            }
        });
        for number in 2..=4 {
            let name = InstanceName::from(format!("web-{number}"));
            m.placement.set_up(m.now, &name, false);
        }
        m.placement.set_draining(m.now, &"web-3".into(), true);
        m.placement
            .change_reach(m.now, &"edge".into(), &[], &["web-4".into()]);
        ask(&mut m, "first", "a", 0).unwrap();
        assert_eq!(ask(&mut m, "second", "a", 0), None, "{what}");
        change(&mut m);
        assert!(is_granted(m.answer_to("second")), "{what}");
    }
}

fn is_granted(outcome: Option<Outcome>) -> bool {
    matches!(outcome, Some(Outcome::Granted(_)))
}
