//! What the operator has called back.

use super::*;

const ISSUER: &str = "https://issuer.test";

fn subject(issuer: Option<&str>, subject: &str) -> Revoked {
    Revoked::Subject {
        issuer: issuer.map(Into::into),
        subject: subject.into(),
    }
}

fn token(issuer: Option<&str>, id: &str) -> Revoked {
    Revoked::Token {
        issuer: issuer.map(Into::into),
        id: id.into(),
    }
}

/// All that names alice's session `s1`, which came with the token `jti-s1`.
fn names_of_s1() -> [Revoked; 5] {
    [
        Revoked::Session("s1".into()),
        subject(None, "alice"),
        subject(Some(ISSUER), "alice"),
        token(None, "jti-s1"),
        token(Some(ISSUER), "jti-s1"),
    ]
}

/// What names others, or alice and her token as another issuer has them.
fn names_of_others() -> [Revoked; 5] {
    [
        Revoked::Session("s".into()),
        subject(None, "jti-s1"),
        subject(Some("https://other.test"), "alice"),
        token(None, "alice"),
        token(Some("https://other.test"), "jti-s1"),
    ]
}

impl Machine {
    fn revoke_for(&mut self, what: Revoked, span: Duration) -> RevocationEffect {
        let span = RevocationSpan::new(span).unwrap();
        let note = None;
        let revoke = Revoke { what, span, note };
        self.placement.revoke(self.now, revoke).unwrap()
    }

    fn revoke(&mut self, what: Revoked) -> RevocationEffect {
        self.revoke_for(what, seconds(3600))
    }

    /// Asks with a token whose id is that of the session, with `jti-` before it.
    fn ask_with_token(&mut self, session: &str, subject: &str) -> Option<Outcome> {
        let acquire = self.with_token(session, subject);
        self.requests += 1;
        let request = RequestId(self.requests);
        self.placement.acquire(self.now, request, acquire);
        self.answer_to(session)
    }

    fn with_token(&mut self, session: &str, subject: &str) -> Acquire {
        Acquire {
            token_id: Some(format!("jti-{session}").into()),
            ..asked(self.origin("vm"), session, owner(subject, None))
        }
    }

    fn granted_with_token(&mut self, session: &str, subject: &str) -> Grant {
        match self.ask_with_token(session, subject) {
            Some(Outcome::Granted(grant)) => grant,
            other => panic!("{session} got {other:?}"),
        }
    }
}

fn closed_for(closes: &[Close]) -> Vec<CloseReason> {
    closes.iter().map(|close| close.reason).collect()
}

const REVOKED: Option<Outcome> = Some(Outcome::Refused(Refusal::Revoked));

#[test]
fn what_is_revoked_is_refused_and_only_that() {
    for (names, refused) in [(names_of_s1(), true), (names_of_others(), false)] {
        for what in names {
            let mut m = Machine::new(1);
            let seen = m.placement.revocations_seen();
            let done = m.revoke(what.clone());
            assert_eq!((done.closing, done.refused), (0, 0), "{what:?}");
            assert_ne!(m.placement.revocations_seen(), seen, "{what:?}");
            let acquire = m.with_token("s1", "alice");
            let checked = m.placement.check(m.now, &acquire);
            assert_eq!(checked == Err(Refusal::Revoked), refused, "{what:?}");
            let answer = m.ask_with_token("s1", "alice");
            assert_eq!(answer == REVOKED, refused, "{what:?}: {answer:?}");
        }
    }
}

#[test]
fn who_is_live_is_closed_and_nothing_is_kept_for_them() {
    for what in names_of_s1() {
        let mut m = Machine::new(2);
        let [first, second] =
            [("s1", "alice"), ("s2", "bob")].map(|(s, who)| m.granted_with_token(s, who));
        m.full("vm", &[("s1", &first), ("s2", &second)]);
        let done = m.revoke(what.clone());
        assert_eq!((done.closing, done.refused), (1, 0), "{what:?}");
        let closes = m.full("vm", &[("s1", &first), ("s2", &second)]);
        assert_eq!(closed_for(&closes), [CloseReason::Revoked], "{what:?}");
        m.ended("s1", Some(first.fence), EndCause::Client);
        assert_eq!(m.state("web-1"), "settling", "{what:?}");
        m.pass(seconds(1));
        assert_eq!(m.state("web-1"), "free", "{what:?}");
        assert_eq!(m.state("web-2"), "active", "{what:?}");
    }
}

#[test]
fn a_window_is_closed_and_its_instance_free() {
    for what in names_of_s1() {
        let mut m = Machine::new(1);
        let grant = m.granted_with_token("s1", "alice");
        m.full("vm", &[("s1", &grant)]);
        m.ended("s1", Some(grant.fence), EndCause::Client);
        assert_eq!(m.state("web-1"), "resumable");
        m.revoke(what.clone());
        m.pass(seconds(1));
        assert_eq!(m.state("web-1"), "free", "{what:?}");
        assert!(m.placement.is_idle(), "{what:?}");
    }
}

#[test]
fn whoever_waits_is_refused_before_they_inherit() {
    let mut m = Machine::with(
        1,
        PoolPolicy {
            queue: 4,
            settle: Duration::ZERO,
            ..PoolPolicy::default()
        },
    );
    let grant = m.granted_with_token("s1", "alice");
    m.full("vm", &[("s1", &grant)]);
    // Her other device is to get the instance, and somebody else waits for any.
    assert_eq!(m.ask_with_token("s2", "alice"), None);
    assert_eq!(m.ask_with_token("s3", "bob"), None);
    let done = m.revoke(subject(None, "alice"));
    assert_eq!((done.closing, done.refused), (1, 1));
    assert_eq!(m.answer_to("s2"), REVOKED);
    m.ended("s1", Some(grant.fence), EndCause::Berth);
    assert!(matches!(m.answer_to("s3"), Some(Outcome::Granted(_))));
}

#[test]
fn an_answer_that_was_lost_is_not_given_again() {
    let mut m = Machine::new(1);
    m.granted_with_token("s1", "alice");
    m.revoke(token(None, "jti-s1"));
    // Repeated on its way: its VM may have heard the first answer, and says what came of it.
    let acquire = Acquire {
        origin: m.origin_of("vm", m.sequence),
        ..m.with_token("s1", "alice")
    };
    m.placement.acquire(m.now, RequestId(77), acquire);
    assert_eq!(m.answer_to("s1"), REVOKED);
    assert_eq!(m.state("web-1"), "reserved");
    // Asked once more: it has not.
    assert_eq!(m.ask_with_token("s1", "alice"), REVOKED);
    assert_eq!(m.state("web-1"), "settling");
    assert!(m.full("vm", &[]).is_empty());
}

#[test]
fn it_holds_until_it_is_over_or_lifted() {
    let mut m = Machine::new(1);
    m.revoke_for(subject(None, "alice"), seconds(60));
    m.pass(seconds(59));
    assert_eq!(m.ask_with_token("s1", "alice"), REVOKED);
    m.pass(seconds(1));
    assert_eq!(m.placement.revocations().len(), 0);
    m.granted_with_token("s1", "alice");

    let done = m.revoke(subject(None, "bob"));
    let seen = m.placement.revocations_seen();
    assert!(m.placement.lift_revocation(done.id));
    assert!(!m.placement.lift_revocation(done.id), "there is none left");
    assert_eq!(m.placement.revocations_seen(), seen);
    assert_ne!(m.ask_with_token("s2", "bob"), REVOKED);
}

#[test]
fn revoked_again_it_holds_for_as_long_as_was_said_last() {
    let mut m = Machine::new(1);
    let first = m.revoke_for(subject(None, "alice"), seconds(60));
    let again = m.revoke_for(subject(None, "alice"), seconds(120));
    assert!(again.id > first.id);
    assert!(m.placement.revocation(first.id).is_none());
    m.pass(seconds(119));
    assert_eq!(m.ask_with_token("s1", "alice"), REVOKED);
    m.pass(seconds(1));
    assert_ne!(m.ask_with_token("s1", "alice"), REVOKED);
}

#[test]
fn there_are_only_so_many() {
    let mut m = Machine::new(1);
    for number in 0..MAX_REVOCATIONS {
        m.revoke(subject(None, &format!("user-{number}")));
    }
    let revoke = |what| Revoke {
        what,
        span: RevocationSpan::default(),
        note: None,
    };
    let one_more = m.placement.revoke(m.now, revoke(subject(None, "alice")));
    assert_eq!(one_more, Err(RevocationsFull));
    // One that is there takes no room.
    let known = m.placement.revoke(m.now, revoke(subject(None, "user-7")));
    assert!(m.placement.lift_revocation(known.unwrap().id));
    assert_eq!(m.revoke(subject(None, "alice")).closing, 0);
}

#[test]
fn it_is_written_down_before_anything_that_it_does() {
    let mut m = Machine::new(1);
    let grant = m.granted_with_token("s1", "alice");
    m.full("vm", &[("s1", &grant)]);
    while m.placement.poll_effect().is_some() {}
    let id = m.revoke(subject(None, "alice")).id;
    let first = m.placement.poll_effect();
    assert_eq!(first, Some(Effect::CommitRevocation(id)));
    let closing = m.placement.poll_effect();
    assert_eq!(closing, Some(Effect::Commit("web-1".into())));
    while m.placement.poll_effect().is_some() {}
    m.pass(seconds(3600));
    let mut over = false;
    while let Some(effect) = m.placement.poll_effect() {
        over |= effect == Effect::CommitRevocation(id);
    }
    assert!(over && m.placement.revocation(id).is_none());
}

#[test]
fn the_next_machine_knows_of_it() {
    // (the state of the session at the restart, that after it)
    for (ended, after) in [(false, "reserved"), (true, "settling")] {
        let mut m = Machine::new(1);
        let grant = m.granted_with_token("s1", "alice");
        m.full("vm", &[("s1", &grant)]);
        if ended {
            m.ended("s1", Some(grant.fence), EndCause::Client);
        }
        let lease = m.placement.lease_record(&"web-1".into());
        let done = m.revoke(token(None, "jti-s1"));
        let kept = m.placement.revocation(done.id).cloned().unwrap();
        let over = Revocation {
            id: RevocationId {
                sequence: 9,
                ..done.id
            },
            what: subject(None, "bob"),
            until: m.now,
            ..kept.clone()
        };

        let mut next = Machine::learning(1, policy());
        (next.now, next.sequence) = (m.now, m.sequence);
        let seen = next.placement.revocations_seen();
        // The lease as it was before: what is revoked is found by itself.
        next.placement
            .restore_revocations(next.now, vec![kept.clone(), over.clone()]);
        next.placement
            .restore(next.now, lease.into_iter().collect());
        assert_eq!(next.state("web-1"), after);
        let held: Vec<_> = next.placement.revocations().cloned().collect();
        assert_eq!(held, [kept]);
        assert_eq!(
            next.placement.poll_effect(),
            Some(Effect::CommitRevocation(over.id)),
            "what is over is forgotten"
        );
        assert_ne!(next.placement.revocations_seen(), seen);
        assert!(next.revoke(subject(None, "carol")).id > over.id);
        if !ended {
            let closes = next.full("vm", &[("s1", &grant)]);
            assert_eq!(closed_for(&closes), [CloseReason::Revoked]);
        }
    }
}

#[test]
fn a_live_session_that_nobody_remembers_is_closed() {
    for (instance, state) in [("web-1", "active"), ("gone", "free")] {
        let mut m = Machine::learning(1, policy());
        m.revoke(token(Some(ISSUER), "jti-s1"));
        let lease = ReportedLease {
            grant: Grant {
                fence: Fence {
                    term: 0,
                    sequence: 7,
                },
                instance: instance.into(),
            },
            pool: "web".into(),
            owner: owner("alice", None),
            client_address: "192.0.2.1".into(),
            token_id: Some("jti-s1".into()),
            established: true,
        };
        let sync = |m: &mut Machine| {
            let origin = m.origin("vm");
            let session = ReportedSession {
                session: "s1".into(),
                lease: Some(lease.clone()),
            };
            let sync = Sync {
                origin,
                sessions: Some(vec![session]),
                ended: Vec::new(),
            };
            m.placement.sync(m.now, sync)
        };
        for word in 0..2 {
            let closes = sync(&mut m);
            assert_eq!(closed_for(&closes), [CloseReason::Revoked], "{word}");
            // The instance is its own until it is gone.
            assert_eq!(m.state("web-1"), state, "{instance}");
        }
        m.full("vm", &[]);
        assert!(m.full("vm", &[]).is_empty());
    }
}

#[test]
fn the_operators_first_word_stands() {
    for (terminate_first, reason) in [
        (true, CloseReason::Terminated),
        (false, CloseReason::Revoked),
    ] {
        let mut m = Machine::new(1);
        let grant = m.granted_with_token("s1", "alice");
        m.full("vm", &[("s1", &grant)]);
        for terminate in [terminate_first, !terminate_first] {
            if terminate {
                m.placement.terminate(m.now, &"s1".into());
            } else {
                m.revoke(Revoked::Session("s1".into()));
            }
        }
        let closes = m.full("vm", &[("s1", &grant)]);
        assert_eq!(closed_for(&closes), [reason]);
    }
}

#[test]
fn what_was_too_old_is_not_come_back_to_but_with_a_new_token() {
    for (cause, state) in [
        (EndCause::MaxAge, "settling"),
        (EndCause::TokenExpired, "resumable"),
    ] {
        let mut m = Machine::new(1);
        let grant = m.granted_with_token("s1", "alice");
        m.full("vm", &[("s1", &grant)]);
        m.ended("s1", Some(grant.fence), cause);
        assert_eq!(m.state("web-1"), state, "{cause:?}");
        let mut over = None;
        while let Some(effect) = m.placement.poll_effect() {
            if let Effect::Over(past) = effect {
                over = Some(past.end.label());
            }
        }
        assert_eq!(over, Some(cause.label()));
    }
}

#[test]
fn a_name_is_read_as_it_is_written() {
    let id = RevocationId {
        term: 1_700_000_000,
        sequence: 12,
    };
    assert_eq!(id.to_string().parse(), Ok(id));
    for text in ["", "1", "1.", ".1", "1.2.3", "a.1", "1.-1", " 1.1"] {
        assert_eq!(text.parse::<RevocationId>(), Err(NoRevocationId), "{text}");
    }
}
