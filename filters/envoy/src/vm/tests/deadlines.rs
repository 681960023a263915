//! What a clock alone ends.

use super::*;

/// Its token ends so many seconds after `START`, and is accepted for one more.
fn until(seconds: u64, closes: bool) -> Opening {
    let end = at(START).unix.0 + seconds;
    let admitted = Admission {
        expires_at: Some(UnixSeconds(end + 1)),
        closes_at: closes.then_some(UnixSeconds(end)),
        ..admitted()
    };
    let session = Session {
        who: Who::Admitted(Box::new(admitted)),
        ..session("s")
    };
    Opening {
        session,
        ..opening("s")
    }
}

/// One that is live, and may live so long.
fn live(opening: Opening, max_age: Option<Duration>) -> Vm {
    let mut vm = vm_with(opening, Reached::Asking);
    let lease = Lease {
        max_age,
        ..lease(1)
    };
    let grant = Grant {
        lease,
        placement: placement(),
        admitted: None,
    };
    vm.take_call(TOKEN);
    vm.answered(CONTEXT, Answer::Granted(Box::new(grant)), START);
    vm.established(CONTEXT, START);
    vm
}

const ENDLESS: Duration = Duration::from_secs(1_000_000);

#[test]
fn a_session_is_closed_when_its_time_is_up_and_not_before() {
    let seconds = Duration::from_secs;
    let reset = |why| Some(Act::Reset(CONTEXT, why));
    for (opening, max_age, lasts, act) in [
        (opening("s"), None, ENDLESS, None),
        (
            opening("s"),
            Some(seconds(5)),
            seconds(5),
            reset(Closed::MaxAge),
        ),
        (opening("s"), Some(Duration::MAX), ENDLESS, None),
        (
            until(5, true),
            None,
            seconds(5),
            reset(Closed::TokenExpired),
        ),
        (until(5, false), None, ENDLESS, None),
        (
            until(5, true),
            Some(seconds(4)),
            seconds(4),
            reset(Closed::MaxAge),
        ),
        (
            until(4, true),
            Some(seconds(5)),
            seconds(4),
            reset(Closed::TokenExpired),
        ),
        (
            until(5, false),
            Some(seconds(9)),
            seconds(9),
            reset(Closed::MaxAge),
        ),
    ] {
        let case = format!("{opening:?} {max_age:?}");
        let mut vm = live(opening, max_age);
        let early = START + lasts - Duration::from_millis(1);
        assert_eq!(tick(&mut vm, early, TICK).acts, [], "{case}");
        let due = tick(&mut vm, START + lasts, TICK);
        assert_eq!(due.acts, Vec::from_iter(act.clone()), "{case}");
        assert_eq!(
            tick(&mut vm, START + lasts + TICK, TICK).acts,
            [],
            "{case}: twice"
        );
        // Its end is told as what it was, whatever the proxy says of the connections.
        let (sessions, ..) = send_sync(&mut vm, Token(2), START);
        assert_eq!(sessions, [("s".to_owned(), true)], "{case}");
        let cause = match act {
            Some(Act::Reset(_, why)) => Cause::Closed(why),
            _ => Cause::Client,
        };
        let hint = vm.end(CONTEXT, Cause::Client).unwrap();
        assert_eq!(
            hint.ended.first().map(|ended| ended.cause),
            Some(cause),
            "{case}"
        );
    }
}

#[test]
fn a_request_is_not_worth_more_than_its_token() {
    use Reached::{Asking, Placed, Waiting};

    let expired = refusal(Reason::TokenExpired, None);
    for (opening, reached, lasts, act) in [
        (until(2, true), Waiting, 2, expired.clone()),
        (until(2, false), Waiting, 3, expired.clone()),
        (until(2, false), Asking, 3, expired.clone()),
        (until(2, true), Placed, 2, expired.clone()),
        // On its way it is a session already, and that one may outlive its token.
        (until(2, false), Placed, 3, None),
        (opening("s"), Asking, 3, None),
    ] {
        let case = format!("{opening:?} {reached:?}");
        let mut vm = vm_with(opening, reached);
        let end = START + TICK * lasts;
        let early = end - Duration::from_millis(1);
        assert_eq!(tick(&mut vm, early, TICK).acts, [], "{case}");
        assert_eq!(tick(&mut vm, end, TICK).acts, Vec::from_iter(act), "{case}");
        let hint = vm.end(CONTEXT, Cause::Client).unwrap();
        let cause = hint.ended.first().map(|ended| ended.cause);
        assert_eq!(cause, Some(Cause::NotEstablished), "{case}");
    }
}

#[test]
fn a_check_is_refused_when_its_token_ends_and_nobody_is_told() {
    let opening = Opening {
        purpose: check("s").purpose,
        ..until(2, false)
    };
    let mut vm = vm_with(opening, Reached::Asking);
    let due = tick(&mut vm, START + TICK * 3, TICK);
    let expired = refusal(Reason::TokenExpired, None);
    assert_eq!(due.acts, Vec::from_iter(expired));
    assert!(vm.end(CONTEXT, Cause::Client).is_none());
}

#[test]
fn an_age_goes_by_the_clock_that_nobody_sets() {
    let mut vm = live(until(5, true), Some(Duration::from_secs(8)));
    let long_ago = Now {
        uptime: START + Duration::from_secs(7),
        unix: UnixSeconds(0),
    };
    assert_eq!(vm.tick(long_ago, Cadence::new(TICK)).acts, []);
    let due = vm.tick(
        Now {
            uptime: START + Duration::from_secs(8),
            ..long_ago
        },
        Cadence::new(TICK),
    );
    assert_eq!(due.acts, [Act::Reset(CONTEXT, Closed::MaxAge)]);
}

#[test]
fn a_slow_sync_does_not_make_the_clock_slow() {
    // The root ticks four times a period.
    let cadence = Cadence::new(Duration::from_secs(2));
    let mut vm = live(opening("s"), Some(Duration::from_secs(60)));
    let mut sent = Vec::new();
    for step in 0..40u32 {
        let now = START + cadence.timer() * step;
        if vm.tick(at(now), cadence).sync {
            let token = Token(100 + step);
            let (_, told) = vm.sync();
            vm.sync_sent(Some(token), told, cadence.sync(), now);
            answer_sync(&mut vm, token, Some(Vec::new()));
            sent.push(step);
        }
    }
    assert_eq!(sent, (0..10).map(|period| period * 4).collect::<Vec<_>>());
}

#[test]
fn an_acquire_is_sent_again_with_the_syncs_but_not_slower_than_each_second() {
    let millis = Duration::from_millis;
    for (period, due) in [
        (millis(50), 50),
        (millis(700), 700),
        (TICK, 1000),
        (TICK * 60, 1000),
    ] {
        let cadence = Cadence::new(period);
        let mut vm = vm(Reached::Waiting);
        vm.acquire(CONTEXT, START);
        let mut asked = Vec::new();
        for after in (1..)
            .map(|n| cadence.timer() * n)
            .take_while(|after| *after <= millis(3000))
        {
            if !vm.tick(at(START + after), cadence).acquires.is_empty() {
                vm.acquire(CONTEXT, START + after);
                asked.push(after);
            }
        }
        let expected = (1..)
            .map(|n| millis(due) * n)
            .take_while(|after| *after <= millis(3000));
        assert_eq!(asked, expected.collect::<Vec<_>>(), "{period:?}");
    }
}
