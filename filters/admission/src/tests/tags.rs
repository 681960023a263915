//! What others get to know of a session.

use serde_json::{Value, json};

use super::support::{Always, Sent, claims, label, policy_with, token, unsigned};
use crate::Policy;

fn policy() -> Policy {
    policy_with(json!({"tags": {
        "claims": ["role", "realm.roles", "https://x.example/n"],
        "headers": [
            {"name": "x-session", "value": "session"},
            {"name": "x-user", "value": "subject"},
            {"name": "x-tenant", "value": "tenant"},
            {"name": "x-issuer", "value": "issuer"},
            {"name": "x-pool", "value": "pool"},
            {"name": "x-role", "value": {"claim": "role"}},
        ],
    }}))
}

fn sent(says: Value) -> Sent {
    Sent::to("/rtsp").bearer(unsigned(r#"{"alg":"ES256"}"#, &claims(says)))
}

fn find<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    let mut pairs = pairs.iter().filter(|(other, _)| other == name);
    let found = pairs.next().map(|(_, value)| value.as_str());
    assert!(pairs.next().is_none(), "{name} comes twice");
    found
}

#[test]
fn a_session_has_its_tags() {
    let says = json!({
        "tenant": "acme", "role": "pilot", "realm": {"roles": ["a", "b", 3, true]},
        "https://x.example/n": 7,
    });
    let admission = sent(says).admitted(&policy());
    let pairs = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        let pairs = pairs.iter();
        pairs
            .map(|(name, value)| ((*name).into(), (*value).into()))
            .collect()
    };
    let log = [
        ("issuer", "https://issuer.example"),
        ("pool", "native"),
        ("subject", "alice"),
        ("tenant", "acme"),
        ("claim.role", "pilot"),
        ("claim.realm.roles", "a,b,3,true"),
        ("claim.https://x.example/n", "7"),
    ];
    assert_eq!(admission.tags, pairs(&log));
    let headers = [
        ("x-user", "alice"),
        ("x-tenant", "acme"),
        ("x-issuer", "https://issuer.example"),
        ("x-pool", "native"),
        ("x-role", "pilot"),
    ];
    assert_eq!(admission.headers, pairs(&headers));
    assert_eq!(policy().session_headers(), ["x-session"]);
}

#[test]
fn a_tag_is_safe_wherever_it_is_put() {
    let table = [
        (json!("pilot"), Some("pilot".to_owned())),
        (
            json!("a\r\nx-admin: yes"),
            Some("a%0D%0Ax-admin:%20yes".into()),
        ),
        (json!("a\0b\u{7f}"), Some("a%00b%7F".into())),
        (json!("\u{e9}\u{1f600}"), Some("%C3%A9%F0%9F%98%80".into())),
        // No two values look alike.
        (json!(" pilot "), Some("%20pilot%20".into())),
        (json!("100%25"), Some("100%2525".into())),
        (json!("a,b"), Some("a%2Cb".into())),
        (json!(["a", "b"]), Some("a,b".into())),
        (json!("say \"yes\""), Some("say%20%22yes%22".into())),
        (json!(false), Some("false".into())),
        (json!(-3), Some("-3".into())),
        // Cut short it could be another's.
        (json!("r".repeat(256)), Some("r".repeat(256))),
        (json!("r".repeat(257)), None),
        (json!("\n".repeat(86)), None),
        (json!(vec!["r"; 1000]), None),
        (json!(""), None),
        (json!([]), None),
        (json!(null), None),
        (json!({"a": 1}), None),
        (json!([["a"]]), None),
        (json!(["a", null]), None),
    ];
    for (role, expected) in table {
        let admission = sent(json!({"role": role.clone()})).admitted(&policy());
        assert_eq!(
            find(&admission.tags, "claim.role"),
            expected.as_deref(),
            "{role}"
        );
        assert_eq!(
            find(&admission.headers, "x-role"),
            expected.as_deref(),
            "{role}"
        );
    }
    let named = sent(json!({"sub": "\u{e9} b%", "tenant": "a,b"})).admitted(&policy());
    assert_eq!(find(&named.headers, "x-user"), Some("%C3%A9%20b%25"));
    assert_eq!(find(&named.tags, "tenant"), Some("a%2Cb"));
    let long = sent(json!({"sub": "\u{e9}".repeat(128)})).admitted(&policy());
    assert_eq!(find(&long.headers, "x-user"), None);
    let plain = sent(json!({})).admitted(&policy());
    assert_eq!(find(&plain.tags, "tenant"), None, "there is none");
}

#[test]
fn what_only_berth_says_the_client_does_not() {
    let names = [
        "x-session",
        "x-user",
        "x-tenant",
        "x-issuer",
        "x-pool",
        "x-role",
    ];
    let forged = names.iter().fold(sent(json!({})), |sent, name| {
        sent.header(name, "root").header(name, "admin")
    });
    let forged = forged.header("x-other", "1");
    // Whether there is something to say instead or not, and whether it is let in or not.
    for sent in [forged.clone(), forged.clone().without("authorization"), {
        Sent {
            path: b"/elsewhere".to_vec(),
            ..forged
        }
    }] {
        let verdict = sent.verdict(&policy(), &Always::yes());
        let left = sent.edited(&verdict);
        for name in names {
            assert_eq!(left.value(name), None, "{name}, {}", label(&verdict));
        }
        assert_eq!(left.value("x-other"), Some(&b"1"[..]));
    }
}

#[test]
fn no_tag_is_a_secret() {
    let token = token();
    let sent = Sent::to(format!("/rtsp?token={token}&berth_resume_key=resume-me"));
    let admission = sent.admitted(&policy());
    let pairs = admission.tags.iter().chain(&admission.headers);
    for (name, value) in pairs {
        assert!(!value.contains("resume-me"), "{name}: {value}");
        assert!(
            token.split('.').all(|part| !value.contains(part)),
            "{name}: {value}"
        );
    }
    let key = policy_with(json!({
        "api_keys": [{
            "subject": "probe",
            // Of `k`.
            "sha256": "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a",
        }],
        "tags": {"claims": ["sub"], "headers": [{"name": "x-user", "value": "subject"}]},
    }));
    let admission = Sent::to("/rtsp").bearer("k").admitted(&key);
    assert_eq!(find(&admission.headers, "x-user"), Some("probe"));
    assert_eq!(
        find(&admission.tags, "claim.sub"),
        None,
        "there is no token"
    );
    assert!(!format!("{admission:?}").contains("8254"));
}
