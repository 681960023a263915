use super::*;

fn refused(outcome: Option<Outcome>) -> Refusal {
    match outcome {
        Some(Outcome::Refused(refusal)) => refusal,
        other => panic!("expected a refusal, got {other:?}"),
    }
}

fn is_granted(outcome: &Option<Outcome>, instance: &str) -> bool {
    matches!(outcome, Some(Outcome::Granted(grant)) if grant.instance.as_str() == instance)
}

#[test]
fn a_lease_goes_through_its_life() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    assert_eq!(m.state("web-1"), "reserved");
    m.full("vm", &[("s1", &grant)]);
    assert_eq!(m.state("web-1"), "active");
    m.ended("s1", Some(grant.fence), EndCause::Client);
    assert_eq!(m.state("web-1"), "resumable");
    m.pass(seconds(29));
    assert_eq!(m.state("web-1"), "resumable");
    m.pass(seconds(1));
    assert_eq!(m.state("web-1"), "free");
}

#[test]
fn how_it_ended_decides_what_is_kept() {
    let cases = [
        (EndCause::Client, "resumable"),
        (EndCause::Unlisted, "resumable"),
        (EndCause::Instance, "settling"),
        (EndCause::Berth, "settling"),
        (EndCause::NotEstablished, "settling"),
    ];
    for (cause, state) in cases {
        let mut m = Machine::new(1);
        let grant = m.granted("s1", owner("alice", None));
        m.full("vm", &[("s1", &grant)]);
        m.ended("s1", Some(grant.fence), cause);
        assert_eq!(m.state("web-1"), state, "{cause:?}");
        m.pass(seconds(31));
        assert_eq!(m.state("web-1"), "free", "{cause:?}");
    }
}

#[test]
fn nothing_free_is_refused_with_a_time() {
    let mut m = Machine::new(1);
    m.granted("s1", owner("alice", None));
    let refusal = refused(m.acquire("s2", owner("bob", None)));
    assert!(matches!(refusal, Refusal::NoInstance { retry_after } if retry_after > Duration::ZERO));
}

#[test]
fn settling_keeps_everybody_out_until_it_is_over() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.ended("s1", Some(grant.fence), EndCause::Instance);
    m.pass(Duration::from_millis(249));
    refused(m.acquire("s2", owner("bob", None)));
    m.pass(Duration::from_millis(1));
    m.granted("s3", owner("bob", None));
}

#[test]
fn the_same_session_is_answered_the_same() {
    let mut m = Machine::new(2);
    let first = m.granted("s1", owner("alice", None));
    let again = m.granted("s1", owner("alice", None));
    assert_eq!(first, again);
    let mut foreign = m.origin("other-vm");
    foreign.sequence += 1;
    let refusal = refused(m.acquire_from(foreign, "s1", owner("alice", None)));
    assert_eq!(refusal, Refusal::IdInUse);
}

#[test]
fn an_end_that_overtakes_its_acquire_cancels_it() {
    let mut m = Machine::new(1);
    let acquire = m.origin("vm");
    m.ended("s1", None, EndCause::NotEstablished);
    let refusal = refused(m.acquire_from(acquire, "s1", owner("alice", None)));
    assert_eq!(refusal, Refusal::Cancelled);
    assert_eq!(m.state("web-1"), "free");
}

#[test]
fn a_full_sync_that_overtakes_an_acquire_speaks_for_it() {
    for (pending, outcome) in [(false, "free"), (true, "reserved")] {
        let mut m = Machine::new(1);
        let acquire = m.origin("vm");
        let sync = m.origin("vm");
        m.full_from(sync, &[], if pending { &["s1"] } else { &[] });
        m.acquire_from(acquire, "s1", owner("alice", None));
        assert_eq!(m.state("web-1"), outcome, "listed as pending: {pending}");
    }
}

#[test]
fn a_sync_speaks_only_for_lower_numbers() {
    let mut m = Machine::new(1);
    let sync = m.origin("vm");
    m.granted("s1", owner("alice", None));
    m.full_from(sync, &[], &[]);
    assert_eq!(m.state("web-1"), "reserved");
    m.full("vm", &[]);
    assert_ne!(m.state("web-1"), "reserved");
}

#[test]
fn late_and_foreign_words_change_nothing() {
    let mut m = Machine::new(1);
    let old = m.origin("vm");
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    let wrong = Fence {
        term: grant.fence.term,
        sequence: grant.fence.sequence + 1,
    };
    m.ended("s1", Some(wrong), EndCause::Client);
    m.full_from(old, &[], &[]);
    m.full("other-vm", &[]);
    let foreign = m.origin("other-vm");
    m.ended_from(foreign, "s1", Some(grant.fence), EndCause::Client);
    assert_eq!(m.state("web-1"), "active");
    assert_eq!(m.ignored(Ignored::ForeignFence), 1);
    assert_eq!(m.ignored(Ignored::ForeignSession), 1);
    assert_eq!(m.ignored(Ignored::LateSync), 1);
}

#[test]
fn its_own_client_gets_it_back_and_nobody_else() {
    // (the lease's key, who comes with which key, whether they get the instance)
    let cases = [
        (Some("k"), "alice", Some("k"), true),
        (Some("k"), "alice", None, true),
        (None, "alice", Some("k"), true),
        (Some("k"), "alice", Some("other"), false),
        (Some("k"), "mallory", Some("k"), false),
        (None, "mallory", None, false),
    ];
    for (key, who, with, gets) in cases {
        let mut m = Machine::new(1);
        let grant = m.granted("s1", owner("alice", key));
        m.full("vm", &[("s1", &grant)]);
        m.ended("s1", Some(grant.fence), EndCause::Client);
        m.pass(seconds(10));
        let outcome = m.acquire("s2", owner(who, with));
        assert_eq!(
            is_granted(&outcome, "web-1"),
            gets,
            "{key:?} {who} {with:?}: {outcome:?}"
        );
    }
}

#[test]
fn a_client_back_before_the_instance_has_settled_is_held() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.ended("s1", Some(grant.fence), EndCause::Client);
    assert_eq!(m.acquire("s2", owner("alice", None)), None);
    m.pass(Duration::from_millis(250));
    let outcome = m.answer_to("s2");
    assert!(is_granted(&outcome, "web-1"), "{outcome:?}");
}

#[test]
fn a_failed_return_leaves_the_window_open() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.ended("s1", Some(grant.fence), EndCause::Client);
    m.pass(seconds(10));
    let grant = m.granted("s2", owner("alice", None));
    m.ended("s2", Some(grant.fence), EndCause::NotEstablished);
    assert_eq!(m.state("web-1"), "resumable");
    m.pass(seconds(21));
    assert_eq!(m.state("web-1"), "free");
}

#[test]
fn what_a_second_device_meets() {
    let cases = [
        (SecondDevice::Allow, "granted web-2"),
        (SecondDevice::Refuse, "refused"),
        (SecondDevice::TakeOver, "held"),
    ];
    for (second_device, expected) in cases {
        let policy = PoolPolicy {
            second_device,
            ..policy()
        };
        let mut m = Machine::with(2, policy);
        let grant = m.granted("s1", owner("alice", None));
        assert_eq!(grant.instance.as_str(), "web-1");
        m.full("vm", &[("s1", &grant)]);
        let met = match m.acquire("s2", owner("alice", None)) {
            None => "held".to_owned(),
            Some(Outcome::Granted(grant)) => format!("granted {}", grant.instance),
            Some(Outcome::Refused(Refusal::SessionExists)) => "refused".to_owned(),
            Some(other) => format!("{other:?}"),
        };
        assert_eq!(met, expected, "{second_device:?}");
    }
}

#[test]
fn an_active_session_is_closed_before_its_key_resumes_it() {
    let mut m = Machine::new(1);
    let first = m.granted("s1", owner("alice", Some("k")));
    m.full("vm", &[("s1", &first)]);
    assert_eq!(m.acquire("s2", owner("alice", Some("k"))), None);
    let close = Close {
        session: "s1".into(),
        reason: CloseReason::Resumed,
    };
    // It is asked for until the VM no longer lists it, and nobody has the instance meanwhile.
    for _ in 0..2 {
        let origin = m.origin("vm");
        let closes = m.full_from(origin, &[("s1", &first)], &["s2"]);
        assert_eq!(closes, vec![close.clone()]);
        m.pass(seconds(1));
        assert_eq!(m.answer_to("s2"), None);
    }
    m.ended("s1", Some(first.fence), EndCause::Berth);
    m.pass(Duration::from_millis(250));
    let outcome = m.answer_to("s2");
    assert!(is_granted(&outcome, "web-1"), "{outcome:?}");
}

#[test]
fn the_latest_device_wins_and_patience_ends() {
    let mut m = Machine::new(1);
    let first = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &first)]);
    assert_eq!(m.acquire("s2", owner("alice", None)), None);
    assert_eq!(m.acquire("s3", owner("alice", None)), None);
    assert!(m.placement.sessions.find(&"s2".into()).is_none());
    m.pass(seconds(8));
    assert!(matches!(
        refused(m.answer_to("s3")),
        Refusal::NoInstance { .. }
    ));
    assert_eq!(m.state("web-1"), "orphaned");
}

#[test]
fn silence_orphans_and_only_time_or_its_vm_frees() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", Some("k")));
    m.full("vm", &[("s1", &grant)]);
    m.pass(seconds(3));
    assert_eq!(m.state("web-1"), "orphaned");
    // Its own client waits like anyone.
    let other = m.origin("other-vm");
    refused(m.acquire_from(other, "s2", owner("alice", Some("k"))));
    m.full("vm", &[("s1", &grant)]);
    assert_eq!(m.state("web-1"), "active");
    m.pass(seconds(299));
    assert_eq!(m.state("web-1"), "orphaned");
    assert_eq!(m.placement.counts().orphans_released, 0);
    m.pass(seconds(2));
    assert_eq!(m.state("web-1"), "free");
    assert_eq!(m.placement.counts().orphans_released, 1);
}

#[test]
fn a_reservation_of_a_silent_vm_is_an_orphan_too() {
    let mut m = Machine::new(1);
    m.granted("s1", owner("alice", None));
    m.pass(seconds(16));
    assert_eq!(m.state("web-1"), "orphaned");
}

#[test]
fn an_upgrade_that_takes_too_long_is_closed() {
    let mut m = Machine::new(1);
    m.granted("s1", owner("alice", None));
    for _ in 0..16 {
        m.pass(seconds(1));
        let origin = m.origin("vm");
        let closes = m.full_from(origin, &[], &["s1"]);
        assert_eq!(closes.is_empty(), m.now < Time(seconds(18)), "{:?}", m.now);
    }
    m.full("vm", &[]);
    assert_ne!(m.state("web-1"), "reserved");
}

#[test]
fn an_orphan_come_back_too_late_is_closed_and_counted() {
    let mut m = Machine::new(1);
    let lost = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &lost)]);
    m.pass(seconds(301));
    let other = m.origin("other-vm");
    assert!(is_granted(
        &m.acquire_from(other, "s2", owner("bob", None)),
        "web-1"
    ));
    let closes = m.full("vm", &[("s1", &lost)]);
    assert_eq!(closes.len(), 1);
    assert_eq!(m.placement.counts().overlaps, 1);
    let session = m.lease("web-1").map(|lease| lease.acquire.session.as_str());
    assert_eq!(session, Some("s2"));
}

#[test]
fn a_cold_start_learns_before_it_grants() {
    let mut m = Machine::learning(2, policy());
    let live = Grant {
        fence: Fence {
            term: 7,
            sequence: 40,
        },
        instance: "web-1".into(),
    };
    assert_eq!(m.acquire("s2", owner("bob", None)), None);
    m.full("old-vm", &[("s1", &live)]);
    assert_eq!(m.state("web-1"), "active");
    m.pass(seconds(2));
    m.full("vm", &[]);
    assert_eq!(
        m.answer_to("s2"),
        Some(Outcome::Refused(Refusal::Cancelled))
    );
    assert_eq!(m.acquire("s3", owner("bob", None)), None);
    m.pass(seconds(1));
    let Some(Outcome::Granted(grant)) = m.answer_to("s3") else {
        panic!("s3 is not granted after learning");
    };
    assert_eq!(grant.instance.as_str(), "web-2");
    assert!(grant.fence > live.fence);
}

#[test]
fn only_what_is_up_in_service_and_reachable_is_given() {
    type Change = fn(&mut Placement, Time);
    let cases: [(&str, Change, bool); 6] = [
        ("as it is", |_, _| {}, true),
        (
            "down",
            |p, now| p.set_up(now, &"web-1".into(), false),
            false,
        ),
        (
            "draining",
            |p, now| p.set_draining(now, &"web-1".into(), true),
            false,
        ),
        (
            "quarantined",
            |p, now| p.set_quarantined(now, &"web-1".into(), true),
            false,
        ),
        (
            "out of the proxy's reach",
            |p, now| p.change_reach(now, &"edge".into(), &[], &["web-1".into()]),
            false,
        ),
        (
            "node forgotten",
            |p, now| p.forget_node(now, &"edge".into()),
            false,
        ),
    ];
    for (what, change, given) in cases {
        let mut m = Machine::new(1);
        change(&mut m.placement, m.now);
        let outcome = m.acquire("s1", owner("alice", None));
        assert_eq!(is_granted(&outcome, "web-1"), given, "{what}");
    }
}

#[test]
fn a_draining_instance_takes_its_own_client_back() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.placement.set_draining(m.now, &"web-1".into(), true);
    m.ended("s1", Some(grant.fence), EndCause::Client);
    m.pass(seconds(1));
    m.granted("s2", owner("alice", None));
}

#[test]
fn a_live_session_outlives_its_instances_probes() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.placement.set_up(m.now, &"web-1".into(), false);
    assert!(m.full("vm", &[("s1", &grant)]).is_empty());
    assert_eq!(m.state("web-1"), "active");
}

#[test]
fn the_operators_end_is_not_resumed() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    assert!(m.placement.terminate(m.now, &"s1".into()));
    assert!(!m.placement.terminate(m.now, &"s9".into()));
    assert_eq!(m.full("vm", &[("s1", &grant)]).len(), 1);
    m.ended("s1", Some(grant.fence), EndCause::Berth);
    assert_eq!(m.state("web-1"), "settling");
}

#[test]
fn nor_is_it_when_the_vm_says_it_otherwise() {
    type Word = fn(&mut Machine, Fence);
    let words: [(&str, Word); 2] = [
        ("the client left first", |m, fence| {
            m.ended("s1", Some(fence), EndCause::Client);
        }),
        ("its end is told by a Sync alone", |m, _| {
            m.full("vm", &[]);
        }),
    ];
    for (what, word) in words {
        let mut m = Machine::new(1);
        let grant = m.granted("s1", owner("alice", None));
        m.full("vm", &[("s1", &grant)]);
        m.placement.terminate(m.now, &"s1".into());
        word(&mut m, grant.fence);
        assert_eq!(m.state("web-1"), "settling", "{what}");
    }
}

#[test]
fn a_terminated_session_that_is_also_left_for_a_new_one_is_not_resumed() {
    let mut m = Machine::new(1);
    let first = m.granted("s1", owner("alice", Some("k")));
    m.full("vm", &[("s1", &first)]);
    assert_eq!(m.acquire("s2", owner("alice", Some("k"))), None);
    m.ended("s2", None, EndCause::NotEstablished);
    m.placement.terminate(m.now, &"s1".into());
    let closes = m.full("vm", &[("s1", &first)]);
    assert!(matches!(
        closes.as_slice(),
        [Close {
            reason: CloseReason::Terminated,
            ..
        }]
    ));
    m.ended("s1", Some(first.fence), EndCause::Berth);
    assert_eq!(m.state("web-1"), "settling");
}

#[test]
fn an_instance_out_of_reach_is_given_up_only_for_another() {
    for (instances, end, left) in [
        (1, None, "active"),
        (2, None, "active"),
        (1, Some(EndCause::Client), "resumable"),
        (2, Some(EndCause::Client), "settling"),
    ] {
        let mut m = Machine::new(instances);
        let first = m.granted("s1", owner("alice", None));
        m.full("vm", &[("s1", &first)]);
        if let Some(cause) = end {
            m.ended("s1", Some(first.fence), cause);
        }
        m.placement.set_up(m.now, &"web-1".into(), false);
        let what = format!("{instances} instances, {left}");
        let origin = m.origin("vm");
        let asked = asked(origin, "check", owner("alice", None));
        let available = m.placement.check(m.now, &asked).is_ok();
        assert_eq!(available, instances == 2, "{what}");
        let outcome = m.acquire("s2", owner("alice", None));
        assert_eq!(is_granted(&outcome, "web-2"), instances == 2, "{what}");
        assert_eq!(m.state("web-1"), left, "{what}");
        if end.is_none() {
            let origin = m.origin("vm");
            let closes = m.full_from(origin, &[("s1", &first)], &["s2"]);
            assert_eq!(closes.len(), instances - 1, "{what}");
        }
    }
}

#[test]
fn a_vm_that_never_comes_back_is_forgotten_with_its_last_lease() {
    let mut m = Machine::new(2);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.placement.terminate(m.now, &"s1".into());
    m.pass(seconds(300));
    assert_eq!(m.state("web-1"), "settling");
    m.pass(seconds(600));
    assert_eq!(m.placement.known_vms(), 0);
    assert!(m.placement.is_idle());
    assert_eq!(m.placement.next_timeout(), None);
}

#[test]
fn an_end_hinted_and_then_stated_is_not_late() {
    let mut m = Machine::new(1);
    let grant = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &grant)]);
    m.ended("s1", Some(grant.fence), EndCause::Client);
    let sync = Sync {
        origin: m.origin("vm"),
        sessions: Some(Vec::new()),
        ended: vec![ReportedEnd {
            session: "s1".into(),
            fence: Some(grant.fence),
            cause: EndCause::Client,
        }],
    };
    m.placement.sync(m.now, sync);
    assert_eq!(m.ignored(Ignored::LateEnd), 0);
    m.ended("s9", None, EndCause::Client);
    assert_eq!(m.ignored(Ignored::LateEnd), 1);
}

#[test]
fn a_session_on_an_instance_that_is_no_longer_configured_goes_on() {
    let mut m = Machine::learning(1, policy());
    let live = Grant {
        fence: Fence {
            term: 1,
            sequence: 1,
        },
        instance: "retired".into(),
    };
    assert_eq!(m.full("vm", &[("s1", &live)]), []);
}

#[test]
fn who_is_to_be_closed_is_on_the_instance_all_the_same() {
    let policy = PoolPolicy {
        orphan_after: seconds(10),
        settle: seconds(1),
        ..policy()
    };
    let mut m = Machine::with(1, policy);
    let grant = m.granted("first", owner("user", None));
    m.full("vm", &[("first", &grant)]);
    m.placement.terminate(m.now, &"first".into());
    m.pass(seconds(10));
    assert_eq!(m.state("web-1"), "settling");
    let closes = m.full("vm", &[("first", &grant)]);
    assert_eq!(closes.len(), 1);
    m.pass(seconds(2));
    assert_eq!(m.state("web-1"), "active");
}

#[test]
fn who_is_through_is_not_too_slow() {
    let mut m = Machine::new(1);
    let grant = m.granted("first", owner("user", None));
    for _ in 0..16 {
        m.ended("nobody", None, EndCause::Client);
        m.pass(seconds(1));
    }
    let closing = |m: &Machine| match m.placement.lease_record(&"web-1".into()) {
        Some(LeaseRecord {
            state: RecordedState::Held { closing },
            ..
        }) => closing,
        record => panic!("{record:?}"),
    };
    assert_eq!(closing(&m), Some(CloseReason::TooSlow));
    assert_eq!(m.full("vm", &[("first", &grant)]), []);
    assert_eq!(closing(&m), None);
}
