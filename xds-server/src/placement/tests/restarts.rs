//! What the next machine knows of this one.

use super::*;

/// Has a new machine take over all that has been written down.
fn restarted(m: &Machine, instances: usize, policy: PoolPolicy) -> Machine {
    let records: Vec<LeaseRecord> = (1..=instances)
        .filter_map(|number| {
            m.placement
                .lease_record(&format!("web-{number}").as_str().into())
        })
        .collect();
    let mut next = Machine::learning(instances, policy);
    next.now = m.now;
    next.sequence = m.sequence;
    next.placement.restore(next.now, records);
    next
}

#[test]
fn nothing_has_to_be_learnt() {
    let mut m = Machine::new(2);
    let live = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &live)]);
    let mut next = restarted(&m, 2, policy());
    assert_eq!(next.state("web-1"), "reserved");
    let grant = next.granted("s2", owner("bob", None));
    assert_eq!(grant.instance.as_str(), "web-2");
    assert!(grant.fence > live.fence);
    // Asked again, the same answer; and its VM's word makes it what it was.
    assert_eq!(next.granted("s1", owner("alice", None)), live);
    next.full("vm", &[("s1", &live), ("s2", &grant)]);
    assert_eq!(next.state("web-1"), "active");
}

#[test]
fn what_its_vm_no_longer_lists_has_ended_meanwhile() {
    let mut m = Machine::new(1);
    let live = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &live)]);
    let mut next = restarted(&m, 1, policy());
    next.full("vm", &[]);
    assert_eq!(next.state("web-1"), "resumable");
}

#[test]
fn a_silent_vms_lease_becomes_an_orphan() {
    let mut m = Machine::new(1);
    m.granted("s1", owner("alice", None));
    let mut next = restarted(&m, 1, policy());
    next.pass(seconds(4));
    assert_eq!(next.state("web-1"), "orphaned");
    next.pass(seconds(298));
    assert_eq!(next.state("web-1"), "free");
}

#[test]
fn windows_and_rests_go_on() {
    // (how it ended, time that passes before the restart, the state after it, and so much later)
    let cases = [
        (EndCause::Client, 10, "resumable", 21, "free"),
        (EndCause::Client, 10, "resumable", 19, "resumable"),
        (EndCause::Instance, 0, "settling", 1, "free"),
    ];
    for (cause, before, after, later, then) in cases {
        let mut m = Machine::new(1);
        let live = m.granted("s1", owner("alice", Some("k")));
        m.full("vm", &[("s1", &live)]);
        m.ended("s1", Some(live.fence), cause);
        m.pass(seconds(before));
        let mut next = restarted(&m, 1, policy());
        assert_eq!(next.state("web-1"), after, "{cause:?}");
        next.pass(seconds(later));
        assert_eq!(next.state("web-1"), then, "{cause:?} {later}");
        if then == "resumable" {
            next.granted("s2", owner("alice", Some("k")));
        }
    }
}

#[test]
fn the_operators_word_stands() {
    let mut m = Machine::new(1);
    let live = m.granted("s1", owner("alice", None));
    m.full("vm", &[("s1", &live)]);
    m.placement.terminate(m.now, &"s1".into());
    let mut next = restarted(&m, 1, policy());
    let closes = next.full("vm", &[("s1", &live)]);
    assert!(matches!(
        closes.as_slice(),
        [Close {
            reason: CloseReason::Terminated,
            ..
        }]
    ));
    next.ended("s1", Some(live.fence), EndCause::Berth);
    assert_eq!(next.state("web-1"), "settling");
}

#[test]
fn a_grant_is_written_down_before_it_is_answered_and_so_is_its_end() {
    let mut m = Machine::new(1);
    let origin = m.origin("vm");
    m.placement.acquire(
        m.now,
        RequestId(1),
        asked(origin, "s1", owner("alice", None)),
    );
    let kinds = |m: &mut Machine| {
        let mut kinds = Vec::new();
        while let Some(effect) = m.placement.poll_effect() {
            kinds.push(match effect {
                Effect::Agent { .. } => "agent",
                Effect::Answer { .. } => "answer",
                Effect::Changed { .. } => "changed",
                Effect::Commit(_) | Effect::CommitRevocation(_) => "commit",
                Effect::Over(_) => "over",
            });
        }
        kinds
    };
    assert_eq!(kinds(&mut m), ["commit", "changed", "answer"]);
    m.ended("s1", None, EndCause::Instance);
    assert_eq!(kinds(&mut m), ["over", "changed", "commit"]);
    m.pass(seconds(1));
    assert_eq!(kinds(&mut m), ["changed", "commit"]);
    assert_eq!(m.placement.lease_record(&"web-1".into()), None);
}

#[test]
fn of_two_proxies_with_one_instance_the_later_grant_stays() {
    for later_first in [true, false] {
        let mut m = Machine::learning(1, policy());
        let [old, new] = [3, 4].map(|sequence| Grant {
            fence: Fence { term: 1, sequence },
            instance: "web-1".into(),
        });
        let mut words = [("old-vm", "s-old", &old), ("new-vm", "s-new", &new)];
        if later_first {
            words.reverse();
        }
        for (vm, session, grant) in words {
            m.full(vm, &[(session, grant)]);
        }
        let on = m
            .lease("web-1")
            .map(|lease| lease.acquire.session.to_string());
        assert_eq!(on.as_deref(), Some("s-new"), "later first: {later_first}");
        assert_eq!(m.full("old-vm", &[("s-old", &old)]).len(), 1);
        assert_eq!(m.full("new-vm", &[("s-new", &new)]).len(), 0);
        assert_eq!(m.placement.counts().overlaps, 1);
    }
}
