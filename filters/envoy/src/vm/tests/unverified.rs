//! Requests of which only the control plane can tell whose they are.

use super::*;
use crate::session::Unverified;

pub(super) fn who() -> Who {
    Who::Unverified(Unverified {
        path: b"/sign_in?token=secret".to_vec(),
        headers: vec![("authorization".to_owned(), b"Bearer secret".to_vec())],
    })
}

fn unverified(opening: Opening) -> Opening {
    let session = Session {
        who: who(),
        ..opening.session
    };
    Opening { session, ..opening }
}

fn found() -> Option<Box<Admission>> {
    Some(Box::new(Admission {
        token_id: "t1".to_owned(),
        expires_at: Some(UnixSeconds(2_000)),
        ..admitted()
    }))
}

fn grant_to(admitted: Option<Box<Admission>>) -> Answer {
    Answer::Granted(Box::new(Grant {
        lease: lease(1),
        placement: placement(),
        admitted,
    }))
}

fn stated(vm: &mut Vm) -> Vec<(Option<Admission>, Option<Lease>)> {
    let (report, _) = vm.sync();
    let sessions = report.sessions.unwrap().into_iter();
    sessions
        .map(|standing| {
            (
                standing.session.admitted().cloned(),
                standing.lease.cloned(),
            )
        })
        .collect()
}

#[test]
fn a_grant_tells_whose_it_is() {
    let mut vm = vm_with(unverified(opening("s")), Reached::Asking);
    assert_eq!(stated(&mut vm), [(None, None)]);
    assert!(vm.unverified(CONTEXT).is_some());
    let act = vm.answered(CONTEXT, grant_to(found()), START);
    assert_eq!(act, Some(Act::Place(CONTEXT, placement())));
    assert!(vm.unverified(CONTEXT).is_none());
    assert_eq!(
        stated(&mut vm),
        [(found().map(|found| *found), Some(lease(1)))]
    );
}

#[test]
fn what_was_found_holds_for_a_grant_that_comes_too_late() {
    let mut vm = vm_with(unverified(opening("s")), Reached::Asking);
    send_sync(&mut vm, Token(2), START);
    answer_sync(&mut vm, Token(2), Some(vec![close("superseded")]));
    assert_eq!(vm.answered(CONTEXT, grant_to(found()), START), None);
    assert_eq!(
        stated(&mut vm),
        [(found().map(|found| *found), Some(lease(1)))]
    );
}

#[test]
fn a_grant_that_does_not_say_whose_it_is_opens_nothing_and_its_end_is_told() {
    let mut vm = vm_with(unverified(opening("s")), Reached::Asking);
    let act = vm.answered(CONTEXT, grant_to(None), START);
    assert_eq!(act, refusal(Reason::Internal, None));
    let hint = vm.end(CONTEXT, Cause::Client).unwrap();
    let ended = Ended {
        session: SessionId("s".to_owned()),
        fence: Some(lease(1).fence),
        cause: Cause::NotEstablished,
    };
    assert_eq!(hint.ended, [&ended]);
}

#[test]
fn nobody_is_told_who_they_are_by_a_grant_if_that_was_known() {
    let mut vm = vm(Reached::Asking);
    vm.answered(CONTEXT, grant_to(found()), START);
    assert_eq!(stated(&mut vm), [(Some(admitted()), Some(lease(1)))]);
}

#[test]
fn a_check_says_who_was_found() {
    let body = admitted_body(Family::Web, &found().unwrap());
    for (found, act) in [
        (found(), Some(Act::Admitted(CONTEXT, body))),
        (None, refusal(Reason::Internal, None)),
    ] {
        let mut vm = vm_with(unverified(check("s")), Reached::Asking);
        assert_eq!(vm.answered(CONTEXT, Answer::Available(found), START), act);
        assert!(vm.end(CONTEXT, Cause::Client).is_none());
        assert!(vm.streams.is_empty());
    }
}

#[test]
fn no_credential_is_written_out() {
    let vm = vm_with(unverified(opening("s")), Reached::Asking);
    let written = format!("{vm:?}");
    assert!(written.contains("Unverified") && !written.contains("115, 101, 99"));
    assert!(!written.contains("secret") && !written.contains("authorization"));
}
