//! What is heard of a decision.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::support::{Always, HEADER, NOW, Sent, Steps, claims, policy_with, token, unsigned};
use crate::{Certificate, Memory, Policy, VerifyError};

fn policy() -> Policy {
    policy_with(json!({
        "origins": ["https://app.example"],
        "pool_from": [{"header": "x-pool"}, "path"],
        "pools_claim": "pools",
        "priority_claim": "urgency",
        "labels": [{"label": "region", "header": "x-region"}],
        "attempts": {"burst": 1, "per_minute": 1},
        "api_keys": [{
            "subject": "probe",
            // Of `k`.
            "sha256": "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
        }],
        "client_certificates": [{"name": "subject", "matches": {"exact": "CN=a"}}],
        "pools": [
            {"name": "web-a", "family": "web", "audiences": ["a"], "allow": [{"tenant": {"exact": "acme"}}]},
            {"name": "web-b", "family": "web"},
        ],
    }))
}

fn of(says: Value) -> Sent {
    of_token(HEADER, says)
}

fn of_token(header: &str, says: Value) -> Sent {
    let mut all = json!({"pools": ["web-a", "web-b"], "tenant": "acme", "aud": ["berth", "a"]});
    for (name, value) in says.as_object().unwrap() {
        all[name.as_str()] = value.clone();
    }
    Sent::to("/web-a/sign_in").bearer(unsigned(header, &claims(all)))
}

#[test]
fn the_steps_of_an_admission_are_in_the_order_of_the_checks() {
    let steps = Steps::of(&of(json!({})), &policy(), &Always::yes());
    let names: Vec<_> = steps.0.iter().map(|(name, _)| *name).collect();
    let expected = [
        "path",
        "origin",
        "method",
        "resume key",
        "labels",
        "credential",
        "attempts",
        "token",
        "issuer",
        "typ",
        "signature",
        "time",
        "audience",
        "user",
        "subjects and claims",
        "what the user has",
        "pool",
        "audience of the pool",
        "permission",
        "allow",
    ];
    assert_eq!(names, expected);
    let unique: BTreeSet<_> = names.iter().collect();
    assert_eq!(unique.len(), names.len());
}

#[test]
fn the_last_step_is_the_one_that_decided() {
    let good = || of(json!({}));
    let at = |path: &str| Sent {
        path: path.into(),
        ..good()
    };
    let yes = Ok(true);
    let table = [
        (at("/elsewhere"), yes, "path"),
        (
            good().header("origin", "https://evil.example"),
            yes,
            "origin",
        ),
        (good().method("POST"), yes, "method"),
        (
            Sent::to("/rtsp")
                .method("OPTIONS")
                .header("origin", "https://app.example")
                .header("access-control-request-method", "GET"),
            yes,
            "method",
        ),
        (good().resume_key("a b"), yes, "resume key"),
        (
            good().resume_key("a").header("berth-resume-key", "b"),
            yes,
            "resume key",
        ),
        (good().header("x-region", "e u"), yes, "labels"),
        (at("/web-a/sign_in?token=x"), yes, "credential"),
        (good().without("authorization"), yes, "client certificate"),
        (Sent::to("/rtsp").bearer("x"), yes, "API key"),
        (Sent::to("/rtsp").bearer("a.b.c"), yes, "token"),
        (of_token(r#"{"alg":"none"}"#, json!({})), yes, "token"),
        (of(json!({"iss": "https://else.example"})), yes, "issuer"),
        (
            of_token(r#"{"alg":"ES256","kid":"x"}"#, json!({})),
            yes,
            "signature",
        ),
        (good(), Ok(false), "signature"),
        (good(), Err(VerifyError::Unavailable), "signature"),
        (good(), Err(VerifyError::NotHere), "signature"),
        (of(json!({"exp": 0})), yes, "time"),
        (of(json!({"aud": "x"})), yes, "audience"),
        (of(json!({"sub": ""})), yes, "user"),
        (of(json!({"tenant": 7})), yes, "what the user has"),
        (of(json!({"urgency": 10})), yes, "what the user has"),
        (of(json!({"pools": 7})), yes, "what the user has"),
        (of(json!({"jti": 7})), yes, "what the user has"),
        (at("/nobody/sign_in"), yes, "pool"),
        (of(json!({"aud": "berth"})), yes, "audience of the pool"),
        (of(json!({"pools": ["web-b"]})), yes, "permission"),
        (of(json!({"tenant": "else"})), yes, "allow"),
        (good(), yes, "allow"),
    ];
    for (sent, says, expected) in table {
        let steps = Steps::of(&sent, &policy(), &Always::new(says));
        let (last, facts) = steps.0.last().unwrap();
        assert_eq!(*last, expected, "{sent:?}: {facts}");
    }
    let memory = &mut Memory::new(&policy(), 0);
    let failed = Sent::to("/rtsp").bearer("x").from("192.0.2.7");
    Steps::with(memory, &failed, &policy(), &Always::yes());
    let steps = Steps::with(memory, &failed, &policy(), &Always::yes());
    assert_eq!(steps.0.last().unwrap().0, "attempts");
}

#[test]
fn a_step_says_what_was_found_and_what_was_wanted() {
    let sent = of(json!({"nbf": 5}))
        .header("x-pool", "web-b")
        .from("192.0.2.7");
    let steps = Steps::of(&sent.resume_key("resume-me"), &policy(), &Always::yes());
    for (name, expected) in [
        ("path", "signaling of the family web".to_owned()),
        ("origin", "none: no web page asks".into()),
        ("method", "GET".into()),
        (
            "resume key",
            "9 bytes, to be at most 128 visible ASCII characters".into(),
        ),
        ("labels", "region is not asked for".into()),
        ("credential", "in the header `authorization`".into()),
        ("attempts", "192.0.2.7 has not failed too often".into()),
        ("issuer", "`https://issuer.example`".into()),
        ("typ", "``, and any will do".into()),
        ("signature", "ES256 by the key `ec`, of 2 known".into()),
        (
            "audience",
            "`berth,a`, to be one of [\"berth\", \"berth-staging\"]".into(),
        ),
        ("user", "`alice`".into()),
        ("pool", "`web-b`, named by the header `x-pool`".into()),
        (
            "permission",
            "the credential permits [\"web-a\", \"web-b\"]".into(),
        ),
        ("allow", "the pool is for everybody who is let in".into()),
    ] {
        assert_eq!(steps.facts(name), Some(expected.as_str()));
    }
    let time = steps.facts("time").unwrap();
    for part in [
        format!("exp `{}`", NOW + 600),
        "nbf `5`".into(),
        format!("now {NOW}"),
    ] {
        assert!(time.contains(&part), "{part} not in {time}");
    }
    let remembered = &mut Memory::new(&policy(), 0);
    let sent = of(json!({}));
    Steps::with(remembered, &sent, &policy(), &Always::yes());
    let steps = Steps::with(remembered, &sent, &policy(), &Always::yes());
    assert_eq!(steps.facts("signature"), Some("verified before"));
    assert_eq!(steps.facts("attempts"), None, "nothing was tried");
}

#[test]
fn nothing_secret_is_heard() {
    let policy = policy();
    let token = of(json!({"nonce": "f00dfeed"}));
    let bearer = String::from_utf8(token.value("authorization").unwrap().to_vec()).unwrap();
    let bearer = bearer.strip_prefix("Bearer ").unwrap();
    let sents = [
        token.clone().resume_key("resume-me"),
        Sent::to(format!(
            "/sign_in?token={bearer}&berth_resume_key=resume-me"
        )),
        Sent::to("/rtsp").protocols(format!("authorization.{bearer}")),
        token.clone().header("cookie", "session=secret-cookie"),
        Sent::to("/rtsp").bearer("secret-api-key"),
        Sent::to("/rtsp?token=secret-one").bearer("secret-two"),
        Sent::to("/rtsp").authorization("Basic secret-basic"),
        Sent::to("/rtsp?token=secret.token.here"),
    ];
    for sent in sents {
        for says in [Ok(true), Ok(false)] {
            let heard = format!("{:?}", Steps::of(&sent, &policy, &Always::new(says)).0);
            let secrets = bearer
                .split('.')
                .chain(["resume-me", "secret", "f00dfeed", "8254"]);
            for secret in secrets {
                assert!(!heard.contains(secret), "{secret} in {heard}");
            }
        }
    }
}

#[test]
fn what_a_stranger_wrote_does_nothing_to_a_terminal() {
    let escape = "\u{1b}[2J\u{7}\r\n\u{202e}";
    let header = json!({"alg": "ES256", "kid": escape, "typ": escape}).to_string();
    let sents = [
        of(json!({"iss": escape})),
        of_token(&header, json!({})),
        of(json!({"sub": escape, "aud": ["berth", "a", escape], "tenant": escape, "jti": escape})),
        of(json!({"pools": [escape]})),
        Sent::to(format!("/{escape}/sign_in"))
            .bearer(token())
            .header("x-pool", escape),
        of(json!({})).method(escape),
        of(json!({})).header("origin", escape),
        of(json!({})).header("x-region", escape),
        Sent::to("/rtsp").certificate(Certificate {
            subject: Some("\u{1b}[2J\u{7}\r\n\u{202e}"),
            ..Certificate::default()
        }),
    ];
    for sent in sents {
        for (name, facts) in Steps::of(&sent, &policy(), &Always::yes()).0 {
            let clean = |character: char| !character.is_control() && character != '\u{202e}';
            assert!(facts.chars().all(clean), "{name}: {facts:?}");
        }
    }
}
