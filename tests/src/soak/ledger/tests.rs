use super::super::evidence::Leave;
use super::super::plan::Trouble;
use super::*;

const ORPHAN_AFTER: Duration = Duration::from_secs(10);

fn seconds(seconds: f64) -> Moment {
    Duration::from_secs_f64(seconds)
}

/// A session by Envoy 0, which its client left.
fn upgrade(number: u64, user: u32, from: f64, until: f64) -> Upgrade {
    Upgrade {
        number,
        user,
        may_be_taken_over: true,
        envoy: 0,
        began: seconds(from),
        outcome: Outcome::Admitted {
            at: seconds(from),
            over: seconds(until),
            by: Parting::Left(Leave::Close),
        },
    }
}

fn cut(mut upgrade: Upgrade) -> Upgrade {
    if let Outcome::Admitted { by, .. } = &mut upgrade.outcome {
        *by = Parting::Cut("the connection was reset".to_owned());
    }
    upgrade
}

fn refused(number: u64, user: u32, from: f64, until: f64) -> Upgrade {
    let outcome = Outcome::Refused {
        at: seconds(until),
        reason: "503 no_instance".to_owned(),
    };
    Upgrade {
        outcome,
        ..upgrade(number, user, from, until)
    }
}

fn visit(upgrade: u64, instance: &str, from: f64, until: f64) -> Visit {
    Visit {
        instance: instance.to_owned(),
        upgrade: Some(upgrade),
        from: seconds(from),
        until: Some(seconds(until)),
        ended_by_instance: false,
    }
}

fn happening(part: Part, way: Way, from: f64, until: f64) -> Happening {
    Happening {
        trouble: Trouble {
            part,
            way,
            lasts: seconds(until - from),
        },
        from: seconds(from),
        gone: seconds(from),
        until: seconds(until),
    }
}

fn kinds(evidence: &Evidence) -> Vec<FaultKind> {
    let verdict = judge(evidence, ORPHAN_AFTER);
    verdict.faults.iter().map(|fault| fault.kind).collect()
}

#[test]
fn two_at_once_need_an_envoy_that_was_out_of_touch() {
    let stopped = |envoy, from, until| happening(Part::Envoy(envoy), Way::Stopped, from, until);
    // The first session is by Envoy 0 from 1 s to 20 s; the second begins at 15 s.
    let cases = [
        ("nothing happened", None, false),
        ("long enough", Some(stopped(0, 2.0, 14.0)), true),
        ("not long enough", Some(stopped(0, 5.0, 14.9)), false),
        ("the other Envoy", Some(stopped(1, 2.0, 14.0)), false),
        ("afterwards", Some(stopped(0, 21.0, 40.0)), false),
        (
            "another trouble",
            Some(happening(Part::ControlPlane, Way::Stopped, 2.0, 14.0)),
            false,
        ),
    ];
    for (case, happening, excused) in cases {
        let evidence = Evidence {
            upgrades: vec![upgrade(1, 1, 1.0, 20.0), upgrade(2, 2, 15.0, 30.0)],
            visits: vec![visit(1, "web-1", 1.0, 20.0), visit(2, "web-1", 15.0, 30.0)],
            happenings: Vec::from_iter(happening),
            ..Evidence::default()
        };
        let verdict = judge(&evidence, ORPHAN_AFTER);
        let overlaps = (verdict.overlaps_excused, verdict.faults.len());
        assert_eq!(
            overlaps,
            (usize::from(excused), usize::from(!excused)),
            "{case}"
        );
    }
}

#[test]
fn sessions_meet_only_at_one_instance_and_at_one_time() {
    let open = Visit {
        until: None,
        ..visit(1, "web-1", 1.0, 0.0)
    };
    let cases = [
        (
            "one after the other",
            vec![visit(1, "web-1", 1.0, 2.0), visit(2, "web-1", 2.0, 3.0)],
            0,
        ),
        (
            "in any order",
            vec![visit(2, "web-1", 1.9, 3.0), visit(1, "web-1", 1.0, 2.0)],
            1,
        ),
        (
            "two instances",
            vec![visit(1, "web-1", 1.0, 2.0), visit(2, "web-2", 1.0, 2.0)],
            0,
        ),
        ("never ended", vec![open, visit(2, "web-1", 8.0, 9.0)], 1),
        (
            "two within a long one",
            vec![
                visit(1, "web-1", 1.0, 9.0),
                visit(2, "web-1", 2.0, 3.0),
                visit(3, "web-1", 4.0, 5.0),
            ],
            2,
        ),
    ];
    for (case, visits, overlaps) in cases {
        let upgrades = visits.iter().map(|visit| {
            let number = visit.upgrade.unwrap();
            refused(number, number as u32, 1.0, 9.0)
        });
        let evidence = Evidence {
            upgrades: upgrades.collect(),
            visits,
            ..Evidence::default()
        };
        assert_eq!(
            kinds(&evidence),
            vec![FaultKind::Overlap; overlaps],
            "{case}"
        );
    }
}

#[test]
fn a_cut_needs_a_cause() {
    let envoy = |index, way, from, until| {
        let happening = happening(Part::Envoy(index), way, from, until);
        (Some(happening), None)
    };
    let asked = |user, from, until| (None, Some(refused(2, user, from, until)));
    let berth_killed = happening(Part::ControlPlane, Way::Killed, 4.9, 5.5);
    let (ended, taken_over) = (Some(Cut::EnvoyEnded), Some(Cut::TakenOver));
    // The session is cut at 5 s.
    let cases = [
        ("nothing", (None, None), None),
        ("its Envoy killed", envoy(0, Way::Killed, 4.9, 7.0), ended),
        ("restarted", envoy(0, Way::Restarted, 4.0, 7.0), ended),
        ("long ago", envoy(0, Way::Killed, 1.0, 1.5), None),
        ("afterwards", envoy(0, Way::Killed, 5.1, 7.0), None),
        ("the other", envoy(1, Way::Killed, 4.9, 7.0), None),
        ("stopped", envoy(0, Way::Stopped, 2.0, 5.0), None),
        ("berth killed", (Some(berth_killed), None), None),
        ("other device", asked(1, 4.0, 6.0), taken_over),
        ("other device afterwards", asked(1, 5.5, 6.0), None),
        ("another user", asked(3, 4.0, 6.0), None),
    ];
    for (case, (happening, other), cause) in cases {
        let upgrades = [Some(cut(upgrade(1, 1, 1.0, 5.0))), other];
        let evidence = Evidence {
            upgrades: upgrades.into_iter().flatten().collect(),
            visits: vec![visit(1, "web-1", 1.0, 5.0)],
            happenings: Vec::from_iter(happening),
            ..Evidence::default()
        };
        assert_eq!(cause_of(&evidence), cause, "{case}");
    }
}

#[test]
fn an_instance_may_cut_its_session_and_a_second_device_not_always() {
    let mut evidence = Evidence {
        upgrades: vec![cut(upgrade(1, 1, 1.0, 5.0)), refused(2, 1, 4.0, 6.0)],
        visits: vec![visit(1, "web-1", 1.0, 5.0)],
        ..Evidence::default()
    };
    evidence.upgrades[0].may_be_taken_over = false;
    assert_eq!(cause_of(&evidence), None);
    evidence.visits[0].ended_by_instance = true;
    assert_eq!(cause_of(&evidence), Some(Cut::InstanceEnded));
}

/// What cut the only session that was; `None` where that is a fault.
fn cause_of(evidence: &Evidence) -> Option<Cut> {
    let verdict = judge(evidence, ORPHAN_AFTER);
    let cause = verdict.cuts.into_keys().next();
    assert_eq!(verdict.faults.len(), usize::from(cause.is_none()));
    cause
}

#[test]
fn whoever_is_admitted_is_at_one_instance() {
    let cases = [
        (vec![], vec![FaultKind::Misplaced]),
        (vec![visit(1, "web-1", 1.0, 2.0)], vec![]),
        (
            vec![visit(1, "web-1", 1.0, 1.5), visit(1, "web-2", 1.5, 2.0)],
            vec![FaultKind::Misplaced],
        ),
    ];
    for (visits, expected) in cases {
        let evidence = Evidence {
            upgrades: vec![upgrade(1, 1, 1.0, 2.0)],
            visits,
            ..Evidence::default()
        };
        assert_eq!(kinds(&evidence), expected, "{evidence:?}");
    }
}

#[test]
fn a_request_without_an_answer_needs_an_envoy_that_was_away() {
    let stopped = |envoy| happening(Part::Envoy(envoy), Way::Stopped, 1.5, 4.0);
    for (happening, expected) in [
        (None, vec![FaultKind::Unanswered]),
        (Some(stopped(0)), vec![]),
        (Some(stopped(1)), vec![FaultKind::Unanswered]),
    ] {
        let unanswered = Upgrade {
            outcome: Outcome::Unanswered {
                at: seconds(2.0),
                how: "network".to_owned(),
            },
            ..upgrade(1, 1, 1.0, 2.0)
        };
        let evidence = Evidence {
            upgrades: vec![unanswered],
            happenings: Vec::from_iter(happening),
            ..Evidence::default()
        };
        assert_eq!(kinds(&evidence), expected, "{evidence:?}");
    }
}

#[test]
fn what_is_left_is_told() {
    let evidence = Evidence {
        left: vec!["web-1 is leased".to_owned()],
        ..Evidence::default()
    };
    assert_eq!(kinds(&evidence), [FaultKind::Left]);
}
