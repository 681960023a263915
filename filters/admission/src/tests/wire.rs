//! What is said to clients, to logs and to metrics.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Always, NOW, Sent, claims, label, policy_with, unsigned};
use crate::{Family, Memory, Reason, admitted_body, refusal_body};

#[test]
fn every_reason_has_one_label_that_finds_it() {
    let mut labels = BTreeSet::new();
    for reason in Reason::ALL {
        let label = reason.label();
        assert!(labels.insert(label), "{label} comes twice");
        assert!(
            label
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_'),
            "{label}"
        );
        assert_eq!(Reason::from_label(label), Some(*reason));
        assert_eq!(reason.to_string(), label);
        assert!(reason.message().ends_with('.'), "{label}");
    }
    for unknown in ["", "No_Token", "no_token ", "ok"] {
        assert_eq!(Reason::from_label(unknown), None, "{unknown}");
    }
}

#[test]
fn all_lists_the_reasons_by_status_and_leaves_none_out() {
    assert!(Reason::ALL.is_sorted_by_key(|reason| reason.status()));
    // A reason is a number below the count of reasons, if each has its place in the list.
    let numbers: BTreeSet<_> = Reason::ALL.iter().map(|reason| *reason as usize).collect();
    assert_eq!(numbers, (0..Reason::ALL.len()).collect());
    assert_eq!(
        Reason::ALL.iter().map(|reason| *reason as usize).max(),
        Some(Reason::WrongType as usize)
    );
}

#[test]
fn only_a_401_has_a_challenge_and_only_a_bad_token_an_error() {
    for reason in Reason::ALL {
        let challenge = reason.www_authenticate();
        assert_eq!(challenge.is_some(), reason.status() == 401, "{reason}");
        if let Some(challenge) = challenge {
            assert!(challenge.starts_with("Bearer realm="), "{reason}");
            assert_eq!(
                challenge.contains("error=\"invalid_token\""),
                *reason != Reason::NoToken
            );
        }
    }
}

#[test]
fn a_refusal_says_why_and_when_to_come_back() {
    for reason in Reason::ALL {
        for wait in [None, Some(3)] {
            let mut expected = json!({
                "verdict": "refused",
                "reason": reason.label(),
                "status": reason.status(),
                "message": reason.message(),
            });
            if matches!(reason.status(), 429 | 503)
                && let Some(seconds) = wait
            {
                expected["retry_after_seconds"] = json!(seconds);
            }
            let body: Value = serde_json::from_str(&refusal_body(*reason, wait)).unwrap();
            assert_eq!(body, expected);
        }
    }
    let expected = concat!(
        r#"{"verdict":"refused","reason":"no_instance","status":503,"#,
        r#""message":"No instance is free.","retry_after_seconds":3}"#,
    );
    assert_eq!(refusal_body(Reason::NoInstance, Some(3)), expected);
}

#[test]
fn an_admission_says_who_and_where() {
    let policy = policy_with(json!({}));
    let token = unsigned(
        r#"{"alg":"ES256"}"#,
        &claims(json!({"sub": "al\"ice", "tenant": "acme"})),
    );
    let admission = Sent::to("/web-b/sign_in")
        .bearer(token)
        .meets(&policy, &Always::yes())
        .unwrap();
    let body: Value = serde_json::from_str(&admitted_body(Family::Web, &admission)).unwrap();
    let expected = json!({
        "verdict": "admitted",
        "family": "web",
        "pool": "web-b",
        "issuer": "https://issuer.example",
        "subject": "al\"ice",
        "tenant": "acme",
        "expires_at": NOW + 660,
    });
    assert_eq!(body, expected);

    let mut without = admission;
    without.owner.tenant.clear();
    without.expires_at = None;
    let body: Value = serde_json::from_str(&admitted_body(Family::Web, &without)).unwrap();
    assert_eq!((body.get("tenant"), body.get("expires_at")), (None, None));
}

#[test]
fn nothing_that_is_printed_holds_a_credential() {
    let policy = policy_with(json!({}));
    let token = unsigned(r#"{"alg":"ES256"}"#, &claims(json!({})));
    let sent = Sent::to(format!(
        "/sign_in?a=b&token={token}&berth_resume_key=resume-me"
    ))
    .bearer(&token)
    .protocols(format!("authorization.{token}, other"))
    .resume_key("resume-me");
    let admission = sent.admitted(&policy);
    assert_eq!(admission.owner.resume_key, "resume-me");

    let mut memory = Memory::new(&policy, 0);
    let verdict = sent.verdict_at(NOW, &policy, &mut memory, &Always::yes());
    let undecided = sent.verdict(&policy, &Always::new(Ok(false)));
    assert_eq!(label(&undecided), "bad_signature?");
    let printed = [
        sent.read(|request| format!("{request:?}")),
        sent.read(|request| format!("{request:#?}")),
        format!("{:?}", sent.edited(&verdict)),
        format!("{verdict:?}"),
        format!("{undecided:?}"),
        format!("{memory:?}"),
        admitted_body(Family::Web, &admission),
    ];
    for text in printed {
        for secret in token.split('.').take(2).chain(["resume-me"]) {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    let request = sent.read(|request| format!("{request:?}"));
    for part in ["GET", "/sign_in", "authorization", "berth-resume-key"] {
        assert!(request.contains(part), "{part} not in {request}");
    }
}
