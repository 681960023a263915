//! What is remembered from one request to the next: tokens, and who failed.

use serde_json::{Value, json};

use super::support::{
    Always, HEADER, NOW, STRANGER, Sent, claims, label, policy_with, signed, token, unsigned,
};
use crate::{Memory, NativeVerifier, Policy, UnixSeconds};

/// What is answered, and how many signatures were computed for it.
fn ask(sent: &Sent, now: u64, policy: &Policy, memory: &mut Memory) -> (String, usize) {
    let asked = Always::yes();
    let verdict = sent.verdict_at(now, policy, memory, &asked);
    assert_eq!(
        verdict.remembered.is_some_and(|hit| !hit),
        asked.asked.get() > 0
    );
    (label(&verdict), asked.asked.get())
}

fn answer(text: &str, asked: usize) -> (String, usize) {
    (text.to_owned(), asked)
}

#[test]
fn a_signature_is_computed_once() {
    let policy = policy_with(json!({"token_cache": {"entries": 8, "seconds": 300}}));
    let memory = &mut Memory::new(&policy, 7);
    let (web, native) = (
        Sent::to("/sign_in").bearer(token()),
        Sent::to("/rtsp").bearer(token()),
    );
    assert_eq!(ask(&web, NOW, &policy, memory), answer("admitted", 1));
    assert_eq!(ask(&web, NOW, &policy, memory), answer("admitted", 0));
    assert_eq!(
        ask(&native, NOW + 299, &policy, memory),
        answer("admitted", 0)
    );
    assert_eq!(
        ask(&native, NOW + 300, &policy, memory),
        answer("admitted", 1)
    );
    assert_eq!(
        ask(&native, NOW + 599, &policy, memory),
        answer("admitted", 0)
    );
    // What is remembered is the signature: time goes on.
    assert_eq!(
        ask(&native, NOW + 700, &policy, memory),
        answer("token_expired", 1)
    );
    let mut other = Memory::new(&policy, 7);
    assert_eq!(ask(&web, NOW, &policy, &mut other), answer("admitted", 1));
}

#[test]
fn what_has_ended_since_is_not_served() {
    let policy = policy_with(json!({"token_cache": {"entries": 8, "seconds": 1_000_000}}));
    let memory = &mut Memory::new(&policy, 0);
    let sent = Sent::to("/rtsp").bearer(token());
    assert_eq!(ask(&sent, NOW, &policy, memory), answer("admitted", 1));
    assert_eq!(
        ask(&sent, NOW + 659, &policy, memory),
        answer("admitted", 0)
    );
    assert_eq!(
        ask(&sent, NOW + 660, &policy, memory),
        answer("token_expired", 0)
    );

    // What was revoked is not remembered: whoever knows of revocations is asked again.
    assert_eq!(ask(&sent, NOW, &policy, memory), answer("admitted", 0));
    memory.forget_tokens();
    assert_eq!(ask(&sent, NOW, &policy, memory), answer("admitted", 1));
}

#[test]
fn only_what_was_good_is_remembered() {
    let policy = policy_with(json!({}));
    let memory = &mut Memory::new(&policy, 0);
    let forged = Sent::to("/rtsp").bearer(signed(HEADER, &claims(json!({})), &STRANGER));
    for _ in 0..2 {
        let verdict = forged.verdict_at(NOW, &policy, memory, &NativeVerifier);
        assert_eq!(
            (label(&verdict).as_str(), verdict.remembered),
            ("bad_signature", Some(false))
        );
    }
    let of = |says: Value| Sent::to("/rtsp").bearer(unsigned(HEADER, &claims(says)));
    for says in [
        json!({"aud": "x"}),
        json!({"exp": 0}),
        json!({"sub": ""}),
        json!({"tenant": 7}),
    ] {
        let sent = of(says.clone());
        let first = ask(&sent, NOW, &policy, memory);
        assert_eq!(
            (first.1, ask(&sent, NOW, &policy, memory).1),
            (1, 1),
            "{says}"
        );
    }
    // Another pool is another question, of the same good token.
    let elsewhere = Sent::to("/nobody/sign_in").bearer(token());
    assert_eq!(
        ask(&elsewhere, NOW, &policy, memory),
        answer("no_such_pool", 1)
    );
    assert_eq!(
        ask(&Sent::to("/rtsp").bearer(token()), NOW, &policy, memory),
        answer("admitted", 0)
    );
    let undecided = Always::new(Ok(false));
    let nameless = unsigned(r#"{"alg":"ES256"}"#, &claims(json!({})));
    for _ in 0..2 {
        Sent::to("/rtsp")
            .bearer(&nameless)
            .verdict_at(NOW, &policy, memory, &undecided);
    }
    assert_eq!(undecided.asked.get(), 2);
}

#[test]
fn a_remembered_token_is_all_of_it() {
    let policy = policy_with(json!({}));
    let memory = &mut Memory::new(&policy, 0);
    let good = Sent::to("/rtsp").bearer(token());
    assert_eq!(ask(&good, NOW, &policy, memory), answer("admitted", 1));
    let (rest, _) = token()
        .rsplit_once('.')
        .map(|(a, b)| (a.to_owned(), b.to_owned()))
        .unwrap();
    for other in [
        format!("{rest}."),
        format!("{rest}.AAAB"),
        format!("{rest}.AAAAAAAA"),
    ] {
        let never = Always::new(Ok(false));
        let verdict = Sent::to("/rtsp")
            .bearer(&other)
            .verdict_at(NOW, &policy, memory, &never);
        assert_eq!(label(&verdict), "bad_signature", "{other}");
    }
}

#[test]
fn the_oldest_is_forgotten_first() {
    let policy = policy_with(json!({"token_cache": {"entries": 3, "seconds": 300}}));
    let memory = &mut Memory::new(&policy, 0);
    let of = |user: usize| {
        let token = unsigned(HEADER, &claims(json!({"sub": format!("user-{user}")})));
        Sent::to("/rtsp").bearer(token)
    };
    for user in 0..4 {
        assert_eq!(ask(&of(user), NOW, &policy, memory).1, 1);
    }
    for user in [1, 2, 3] {
        assert_eq!(ask(&of(user), NOW, &policy, memory).1, 0, "{user}");
    }
    assert_eq!(ask(&of(0), NOW, &policy, memory).1, 1);
    assert_eq!(ask(&of(1), NOW, &policy, memory).1, 1);
    for user in 0..2_000 {
        ask(&of(user), NOW, &policy, memory);
    }
    assert!(format!("{memory:?}").contains("entries: 3"), "{memory:?}");
}

#[test]
fn some_tokens_are_never_remembered() {
    let none = policy_with(json!({"token_cache": {"entries": 0, "seconds": 300}}));
    let brief = policy_with(json!({"token_cache": {"entries": 8, "seconds": 0}}));
    let usual = policy_with(json!({}));
    let long = unsigned(HEADER, &claims(json!({"x": "x".repeat(3_100)})));
    assert!(long.len() > 4096);
    for (policy, token) in [(&none, token()), (&brief, token()), (&usual, long)] {
        let memory = &mut Memory::new(policy, 0);
        let sent = Sent::to("/rtsp").bearer(token);
        for _ in 0..2 {
            assert_eq!(ask(&sent, NOW, policy, memory), answer("admitted", 1));
        }
    }
}

fn limited() -> Policy {
    policy_with(json!({
        "attempts": {"burst": 3, "per_minute": 60},
        "api_keys": [{
            "subject": "probe",
            // Of `k`.
            "sha256": "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
        }],
    }))
}

#[test]
fn who_fails_too_often_costs_no_more_signatures() {
    let policy = limited();
    let memory = &mut Memory::new(&policy, 0);
    let forged = Sent::to("/rtsp").bearer(token()).from("192.0.2.7");
    let asked = Always::new(Ok(false));
    let mut answers = Vec::new();
    for _ in 0..6 {
        answers.push(label(&forged.verdict_at(NOW, &policy, memory, &asked)));
    }
    let bad = "bad_signature";
    let many = "too_many_attempts";
    assert_eq!(answers, [bad, bad, bad, many, many, many]);
    assert_eq!(asked.asked.get(), 3);

    // Nobody else is held for it, and neither is who brings what is known to be good.
    let yes = Always::yes();
    let elsewhere = forged.clone().from("192.0.2.8");
    let unknown = Sent {
        client: None,
        ..forged.clone()
    };
    for sent in [&elsewhere, &unknown, &forged] {
        let verdict = sent.verdict_at(NOW, &policy, memory, &yes);
        assert_eq!(label(&verdict), "admitted", "{:?}", sent.client);
    }
    assert_eq!(yes.asked.get(), 1);
    let good = unsigned(HEADER, &claims(json!({"sub": "bob"})));
    let good = Sent::to("/rtsp").bearer(good).from("192.0.2.7");
    assert_eq!(ask(&good, NOW, &policy, memory), answer(many, 0));
    // A token that was remembered tells nothing of how often others failed.
    memory.forget_tokens();
    assert_eq!(ask(&forged, NOW, &policy, memory), answer(many, 0));
    assert_eq!(ask(&good, NOW + 1, &policy, memory), answer("admitted", 1));
}

#[test]
fn what_is_a_failure_and_what_is_not() {
    let of = |says: Value| Sent::to("/rtsp").bearer(unsigned(HEADER, &claims(says)));
    let key = |key: &str| Sent::to("/rtsp").bearer(key);
    let failures = [
        key("x"),
        key("a.b.c"),
        of(json!({"exp": 0})),
        of(json!({"aud": "x"})),
        of(json!({"iss": "x"})),
        Sent::to("/rtsp").bearer(unsigned(r#"{"alg":"none"}"#, "{}")),
    ];
    let others = [
        Sent::to("/rtsp"),
        Sent::to("/elsewhere").bearer("x"),
        Sent::to("/rtsp").method("POST").bearer("x"),
        Sent::to("/rtsp?token=a").bearer("b"),
        Sent::to("/nobody/sign_in").bearer(token()),
        Sent::to("/rtsp").bearer(unsigned(
            r#"{"alg":"ES256","kid":"new"}"#,
            &claims(json!({})),
        )),
        key("k"),
        of(json!({})),
    ];
    let policy = limited();
    for (sents, expected) in [
        (&failures[..], "too_many_attempts"),
        (&others[..], "admitted"),
    ] {
        for sent in sents {
            let memory = &mut Memory::new(&policy, 0);
            let sent = sent.clone().from("2001:db8::1");
            for _ in 0..10 {
                sent.verdict_at(NOW, &policy, memory, &Always::yes());
            }
            // The same network of IPv6.
            let last = key("k").from("2001:db8::2");
            let last = last.verdict_at(NOW, &policy, memory, &Always::yes());
            assert_eq!(label(&last), expected, "{sent:?}");
        }
    }
    let memory = &mut Memory::new(&policy, 0);
    for _ in 0..3 {
        memory.failed(Some([192, 0, 2, 7].into()), UnixSeconds(NOW));
    }
    let sent = key("k").from("192.0.2.7");
    assert_eq!(
        ask(&sent, NOW, &policy, memory),
        answer("too_many_attempts", 0)
    );
    // What was mapped into IPv6 on its way is the same address.
    let sent = key("k").from("::ffff:192.0.2.7");
    assert_eq!(
        ask(&sent, NOW, &policy, memory),
        answer("too_many_attempts", 0)
    );
}
