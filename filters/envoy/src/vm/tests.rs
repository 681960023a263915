use std::collections::BTreeSet;

use super::*;
use crate::session::{Fence, Found, Who};
use berth_admission::{Admission, Family, Owner, UnixSeconds};

mod deadlines;
mod schedules;
mod unverified;

const CONTEXT: ContextId = ContextId(7);
const TOKEN: Token = Token(1);
const HOLD: Duration = Duration::from_secs(8);
const TICK: Duration = Duration::from_secs(1);
const START: Uptime = Duration::from_secs(100);

fn admitted() -> Admission {
    Admission {
        pool: "web".to_owned(),
        owner: Owner {
            issuer: "https://idp.example".to_owned(),
            subject: "alice".to_owned(),
            tenant: String::new(),
            resume_key: String::new(),
        },
        priority: 0,
        labels: Vec::new(),
        token_id: String::new(),
        expires_at: None,
        closes_at: None,
        tags: Vec::new(),
        headers: Vec::new(),
    }
}

fn session(id: &str) -> Session {
    Session {
        id: SessionId(id.to_owned()),
        client: Some("192.0.2.1".parse().unwrap()),
        who: Who::Admitted(Box::new(admitted())),
    }
}

fn opening(id: &str) -> Opening {
    Opening {
        session: session(id),
        purpose: Purpose::Upgrade {
            answer_subprotocol: None,
        },
        when_away: WhenAway::Wait,
        hold: HOLD,
    }
}

fn check(id: &str) -> Opening {
    Opening {
        purpose: Purpose::Check {
            family: Family::Web,
        },
        ..opening(id)
    }
}

fn lease(sequence: u64) -> Lease {
    Lease {
        fence: Fence { term: 3, sequence },
        instance: "i1".to_owned(),
        max_age: None,
    }
}

fn placement() -> Placement {
    Placement {
        cluster: "web-0".to_owned(),
        endpoint: "10.0.0.5:49100".parse().unwrap(),
        found: Found::default(),
    }
}

fn granted(sequence: u64) -> Answer {
    Answer::Granted(Box::new(Grant {
        lease: lease(sequence),
        placement: placement(),
        admitted: None,
    }))
}

/// The moment, on a wall clock that showed 1,000 s when this VM's clock began.
fn at(uptime: Uptime) -> Now {
    Now {
        uptime,
        unix: UnixSeconds(1_000 + uptime.as_secs()),
    }
}

fn tick(vm: &mut Vm, now: Uptime, period: Duration) -> Due {
    vm.tick(at(now), Cadence::new(period))
}

const REFUSED: Answer = Answer::Refused {
    reason: Reason::SessionExists,
    retry_after_seconds: None,
};

fn refusal(reason: Reason, retry_after_seconds: Option<u32>) -> Option<Act> {
    let refusal = Refusal {
        reason,
        retry_after_seconds,
    };
    Some(Act::Refuse(CONTEXT, refusal))
}

/// The points of a stream's way, in order, and what brings it from each to the next.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Reached {
    Waiting,
    Asking,
    Placed,
    Live,
}

fn vm_with(opening: Opening, reached: Reached) -> Vm {
    let mut vm = Vm::default();
    vm.open(CONTEXT, opening, START);
    if reached >= Reached::Asking {
        assert!(vm.acquire(CONTEXT, START).is_some());
        vm.acquire_sent(CONTEXT, TOKEN);
    }
    if reached >= Reached::Placed {
        assert_eq!(vm.take_call(TOKEN), Some(Call::Acquire(CONTEXT)));
        let act = vm.answered(CONTEXT, granted(1), START);
        assert_eq!(act, Some(Act::Place(CONTEXT, placement())));
    }
    if reached >= Reached::Live {
        vm.established(CONTEXT, START);
    }
    vm
}

fn vm(reached: Reached) -> Vm {
    vm_with(opening("s"), reached)
}

/// Sends the Sync, whose call is `token`.
fn send_sync(vm: &mut Vm, token: Token, now: Uptime) -> (Vec<(String, bool)>, Vec<Ended>, Told) {
    let (report, told) = vm.sync();
    let sessions = report.sessions.unwrap_or_default();
    let sessions = sessions
        .iter()
        .map(|standing| (standing.session.id.0.clone(), standing.established))
        .collect();
    let ended = report.ended.into_iter().cloned().collect();
    vm.sync_sent(Some(token), told, TICK, now);
    (sessions, ended, told)
}

fn answer_sync(vm: &mut Vm, token: Token, closes: Option<Vec<Close>>) -> Vec<Act> {
    match vm.take_call(token) {
        Some(Call::Sync(told)) => vm.synced(told, closes),
        other => panic!("{other:?}"),
    }
}

fn close(reason: &str) -> Close {
    Close {
        session: SessionId("s".to_owned()),
        reason: reason.to_owned(),
    }
}

#[test]
fn an_end_tells_who_ended_what() {
    for (reached, fence, cause) in [
        (Reached::Waiting, None, Cause::NotEstablished),
        (Reached::Asking, None, Cause::NotEstablished),
        (Reached::Placed, Some(lease(1).fence), Cause::NotEstablished),
        (Reached::Live, Some(lease(1).fence), Cause::Instance),
    ] {
        let mut vm = vm(reached);
        let sequence = vm.sequence;
        let hint = vm.end(CONTEXT, Cause::Instance).unwrap();
        assert_eq!(hint.sequence, sequence + 1);
        assert!(hint.sessions.is_none());
        let ended = Ended {
            session: SessionId("s".to_owned()),
            fence,
            cause,
        };
        assert_eq!(hint.ended, [&ended], "{reached:?}");
        assert!(vm.end(CONTEXT, Cause::Client).is_none(), "ended twice");
        assert!(vm.streams.is_empty() && vm.contexts.is_empty() && vm.calls.is_empty());
    }
}

#[test]
fn an_answer_decides_what_becomes_of_the_request() {
    let away = refusal(Reason::ControlPlaneAway, Some(1));
    let internal = refusal(Reason::Internal, None);
    let exists = refusal(Reason::SessionExists, None);
    let place = Some(Act::Place(CONTEXT, placement()));
    let late = START + HOLD;
    // And whether an end is to be told of: not where the control plane said that it has nothing.
    for (when_away, answer, now, act, told) in [
        (WhenAway::Wait, granted(1), START, place, true),
        (WhenAway::Wait, REFUSED, START, exists, false),
        (WhenAway::Wait, Answer::Unreadable, START, internal, true),
        (WhenAway::Wait, Answer::Away, START, None, true),
        (WhenAway::Wait, Answer::Away, late, away.clone(), true),
        (WhenAway::Refuse, Answer::Away, START, away, true),
    ] {
        let opening = Opening {
            when_away,
            ..opening("s")
        };
        let mut vm = vm_with(opening, Reached::Asking);
        assert!(vm.take_call(TOKEN).is_some());
        let case = format!("{when_away:?} {answer:?} {now:?}");
        assert_eq!(vm.answered(CONTEXT, answer, now), act, "{case}");
        assert_eq!(vm.end(CONTEXT, Cause::Client).is_some(), told, "{case}");
    }
}

#[test]
fn a_check_is_answered_and_never_told_of() {
    let yes = admitted_body(Family::Web, &admitted());
    for (answer, act) in [
        (Answer::Available(None), Act::Admitted(CONTEXT, yes)),
        (granted(1), refusal(Reason::Internal, None).unwrap()),
        (Answer::Unreadable, refusal(Reason::Internal, None).unwrap()),
    ] {
        let mut vm = vm_with(check("s"), Reached::Asking);
        assert!(!tick(&mut vm, START, TICK).sync);
        assert_eq!(vm.answered(CONTEXT, answer, START), Some(act));
        assert!(vm.end(CONTEXT, Cause::Client).is_none());
        assert!(vm.streams.is_empty() && vm.calls.is_empty());
    }
    let mut vm = vm_with(check("s"), Reached::Asking);
    assert!(vm.end(CONTEXT, Cause::Client).is_none());
    assert!(vm.streams.is_empty() && vm.calls.is_empty());
}

#[test]
fn an_acquire_is_sent_again_under_a_new_number_until_the_hold_is_over() {
    let mut vm = vm(Reached::Waiting);
    let mut sequences = Vec::new();
    for second in 0..8 {
        let now = START + Duration::from_secs(second);
        if second > 0 {
            assert_eq!(tick(&mut vm, now, TICK).acquires, [CONTEXT]);
        }
        let acquire = vm.acquire(CONTEXT, now).unwrap();
        assert_eq!(acquire.session.id.0, "s");
        assert_eq!(acquire.timeout, Duration::from_secs(9 - second));
        sequences.push(acquire.sequence);
        let token = Token(second as u32);
        vm.acquire_sent(CONTEXT, token);
        assert!(vm.acquire(CONTEXT, now).is_none(), "one is under way");
        assert!(tick(&mut vm, now, TICK).acquires.is_empty());
        vm.take_call(token);
        assert_eq!(vm.answered(CONTEXT, Answer::Away, now), None);
    }
    assert!(sequences.is_sorted_by(|a, b| a < b), "{sequences:?}");
    let due = tick(&mut vm, START + HOLD, TICK);
    assert_eq!(
        due.acts.first(),
        refusal(Reason::ControlPlaneAway, Some(1)).as_ref()
    );
    assert!(due.acquires.is_empty());
    assert!(
        tick(&mut vm, START + HOLD + TICK, TICK).acts.is_empty(),
        "once"
    );
}

#[test]
fn an_acquire_whose_answer_got_lost_is_given_up() {
    // A root that is deleted takes the answers to its calls along.
    for opening in [opening("s"), check("s")] {
        let mut vm = vm_with(opening, Reached::Asking);
        let lost = START + HOLD + ANSWER_MARGIN * 2;
        let due = tick(&mut vm, lost - Duration::from_millis(1), TICK);
        assert_eq!((due.acts, due.acquires), (vec![], vec![]));
        let due = tick(&mut vm, lost, TICK);
        let refused = refusal(Reason::ControlPlaneAway, Some(1));
        assert_eq!((due.acts, due.acquires), (Vec::from_iter(refused), vec![]));
        assert_eq!(tick(&mut vm, lost + TICK, TICK).acts, vec![]);
        // It ends as any other that was refused, and nobody waits for the call any more.
        vm.end(CONTEXT, Cause::Client);
        assert_eq!(vm.take_call(TOKEN), None);
    }
}

#[test]
fn a_grant_that_comes_too_late_is_named_by_the_end() {
    let mut vm = vm(Reached::Asking);
    vm.server_lists_sessions = true;
    send_sync(&mut vm, Token(2), START);
    let acts = answer_sync(&mut vm, Token(2), Some(vec![close("superseded")]));
    assert_eq!(acts.first(), refusal(Reason::Superseded, None).as_ref());
    assert_eq!(vm.take_call(TOKEN), Some(Call::Acquire(CONTEXT)));
    assert_eq!(vm.answered(CONTEXT, granted(5), START), None);
    let hint = vm.end(CONTEXT, Cause::Client).unwrap();
    let fence = hint.ended.first().and_then(|ended| ended.fence);
    assert_eq!(fence, Some(lease(5).fence));
}

#[test]
fn an_instance_that_does_not_upgrade_is_lost_once_and_only_then() {
    for reached in [Reached::Waiting, Reached::Asking, Reached::Live] {
        assert_eq!(vm(reached).instance_lost(CONTEXT), None, "{reached:?}");
    }
    let mut vm = vm(Reached::Placed);
    let lost = refusal(Reason::InstanceLost, Some(1));
    assert_eq!(vm.instance_lost(CONTEXT), lost);
    assert_eq!(vm.instance_lost(CONTEXT), None);
    vm.established(CONTEXT, START);
    let hint = vm.end(CONTEXT, Cause::Instance).unwrap();
    assert_eq!(
        hint.ended.first().map(|e| e.cause),
        Some(Cause::NotEstablished)
    );
}

#[test]
fn a_close_ends_the_session_once_and_is_berths_doing() {
    let superseded = refusal(Reason::Superseded, None);
    let unknown = refusal(Reason::NoInstance, None);
    let reset = Some(Act::Reset(CONTEXT, Closed::Berth));
    for (reached, reason, act, established) in [
        (Reached::Waiting, "superseded", superseded.clone(), false),
        (Reached::Asking, "superseded", superseded.clone(), false),
        (Reached::Placed, "superseded", superseded, false),
        (Reached::Placed, "of_the_future", unknown, false),
        (Reached::Live, "terminated", reset, true),
    ] {
        let mut vm = vm(reached);
        let closes = vec![close(reason), close(reason)];
        send_sync(&mut vm, Token(2), START);
        let acts = answer_sync(&mut vm, Token(2), Some(closes));
        assert_eq!(acts, Vec::from_iter(act), "{reached:?}");
        // Until its end it is there: it may still be connected.
        let (sessions, ..) = send_sync(&mut vm, Token(3), START);
        assert_eq!(sessions, [("s".to_owned(), established)]);
        let hint = vm.end(CONTEXT, Cause::Client).unwrap();
        assert_eq!(
            hint.ended.first().map(|e| e.cause),
            Some(Cause::Closed(Closed::Berth))
        );
    }
}

#[test]
fn an_order_to_close_what_is_not_there_does_nothing() {
    let mut vm = vm(Reached::Live);
    let stranger = Close {
        session: SessionId("another".to_owned()),
        reason: "terminated".to_owned(),
    };
    send_sync(&mut vm, Token(2), START);
    vm.end(CONTEXT, Cause::Client);
    let acts = answer_sync(&mut vm, Token(2), Some(vec![close("terminated"), stranger]));
    assert!(acts.is_empty());
}

#[test]
fn ends_are_told_until_they_are_answered_for() {
    let mut vm = vm(Reached::Live);
    vm.end(CONTEXT, Cause::Client);
    for token in 10..13 {
        assert!(tick(&mut vm, START + TICK * token, TICK).sync);
        let (sessions, ended, _) = send_sync(&mut vm, Token(token), START + TICK * token);
        assert!(sessions.is_empty());
        assert_eq!(ended.len(), 1, "{token}");
        assert!(answer_sync(&mut vm, Token(token), None).is_empty());
    }
    // One more ends while a Sync without it is under way: that answer is not for this one.
    send_sync(&mut vm, Token(13), START + TICK * 13);
    vm.open(ContextId(8), opening("t"), START);
    vm.end(ContextId(8), Cause::Client);
    answer_sync(&mut vm, Token(13), Some(Vec::new()));
    let (_, ended, _) = send_sync(&mut vm, Token(14), START + TICK * 14);
    let ended: Vec<&str> = ended.iter().map(|ended| ended.session.0.as_str()).collect();
    assert_eq!(ended, ["t"]);
    answer_sync(&mut vm, Token(14), Some(Vec::new()));
    assert!(
        !tick(&mut vm, START + TICK * 15, TICK).sync,
        "nothing left to say"
    );
}

#[test]
fn the_last_session_is_followed_by_one_empty_sync() {
    let mut vm = vm(Reached::Asking);
    let (sessions, ..) = send_sync(&mut vm, Token(2), START);
    assert_eq!(sessions.len(), 1);
    answer_sync(&mut vm, Token(2), Some(Vec::new()));
    // Refused: no end to tell, but the server was told of it.
    vm.answered(CONTEXT, REFUSED, START);
    assert!(tick(&mut vm, START + TICK, TICK).sync);
    let (sessions, ..) = send_sync(&mut vm, Token(3), START + TICK);
    assert!(sessions.is_empty());
    answer_sync(&mut vm, Token(3), Some(Vec::new()));
    assert!(!tick(&mut vm, START + TICK * 2, TICK).sync);
}

#[test]
fn several_roots_send_one_sync_each_tick() {
    let mut vm = vm(Reached::Live);
    let mut sent = Vec::new();
    // Two roots that tick 300 ms apart, with timers that are 20 ms early or late.
    for second in 0..10u32 {
        let jitter = Duration::from_millis(if second % 2 == 0 { 20 } else { 0 });
        for phase in [0, 300] {
            let now = START + TICK * second + Duration::from_millis(phase) - jitter;
            if tick(&mut vm, now, TICK).sync {
                let token = Token(100 + sent.len() as u32);
                send_sync(&mut vm, token, now);
                answer_sync(&mut vm, token, Some(Vec::new()));
                sent.push(now);
            }
        }
    }
    assert_eq!(sent.len(), 10, "{sent:?}");
}

#[test]
fn one_sync_is_outstanding_until_it_is_answered_or_given_up() {
    let mut vm = vm(Reached::Live);
    send_sync(&mut vm, Token(2), START);
    let short = TICK / 4;
    assert!(!tick(&mut vm, START + short * 3, short).sync, "unanswered");
    assert!(
        tick(&mut vm, START + TICK, short).sync,
        "its root took it with it"
    );
    send_sync(&mut vm, Token(3), START + TICK);
    assert_eq!(vm.take_call(Token(2)), None, "given up");
    answer_sync(&mut vm, Token(3), Some(Vec::new()));
    assert!(tick(&mut vm, START + TICK + short, short).sync, "answered");
    // What could not be sent is not waited for.
    let (_, told) = vm.sync();
    vm.sync_sent(None, told, TICK, START + TICK * 2);
    assert!(tick(&mut vm, START + TICK * 2 + short, short).sync);
}

#[test]
fn every_message_has_a_greater_number() {
    let mut vm = vm(Reached::Waiting);
    let mut sequences = vec![vm.acquire(CONTEXT, START).unwrap().sequence];
    sequences.push(vm.sync().0.sequence);
    sequences.push(vm.acquire(CONTEXT, START).unwrap().sequence);
    sequences.push(vm.end(CONTEXT, Cause::Client).unwrap().sequence);
    sequences.push(vm.sync().0.sequence);
    assert_eq!(sequences, [1, 2, 3, 4, 5]);
}
