//! What an issuer asks of its tokens beyond keys, time and audience.

use serde_json::{Value, json};

use super::support::{
    Always, NOW, Sent, claims, label, merge, policy_config, policy_with, unsigned,
};
use crate::{Policy, UnixSeconds};

/// The policy with some members of its issuer replaced.
fn policy(changes: Value) -> Policy {
    let mut config = policy_config();
    config["issuers"][0] = merge(config["issuers"][0].clone(), changes);
    policy_with(config)
}

fn answer(policy: &Policy, header: Value, changes: Value) -> String {
    let header = merge(json!({"alg": "ES256", "kid": "ec"}), header);
    let token = unsigned(&header.to_string(), &claims(changes));
    label(
        &Sent::to("/rtsp")
            .bearer(token)
            .verdict(policy, &Always::yes()),
    )
}

#[test]
fn tokens_are_of_a_type() {
    let typed = policy(json!({"types": ["at+jwt", "application/berth+jwt"]}));
    for (typ, expected) in [
        (json!("at+jwt"), "admitted"),
        (json!("AT+JWT"), "admitted"),
        (json!("application/at+jwt"), "admitted"),
        (json!("Application/AT+jwt"), "admitted"),
        (json!("berth+jwt"), "admitted"),
        (json!("application/berth+jwt"), "admitted"),
        (json!("JWT"), "wrong_type"),
        (json!(""), "wrong_type"),
        (json!("application/"), "wrong_type"),
        (json!("application/application/at+jwt"), "wrong_type"),
        (json!("at+jwt "), "wrong_type"),
        (json!("logout+jwt"), "wrong_type"),
        (Value::Null, "wrong_type"),
        (json!(["at+jwt"]), "malformed_token"),
        (json!(7), "malformed_token"),
    ] {
        assert_eq!(
            answer(&typed, json!({"typ": typ.clone()}), json!({})),
            expected,
            "{typ}"
        );
    }
    let never = Always::yes();
    let token = unsigned(r#"{"alg":"ES256","typ":"id+jwt"}"#, &claims(json!({})));
    Sent::to("/rtsp").bearer(token).verdict(&typed, &never);
    assert_eq!(
        never.asked.get(),
        0,
        "what is not for us costs no signature"
    );
    let untyped = policy(json!({}));
    assert_eq!(
        answer(&untyped, json!({"typ": "anything"}), json!({})),
        "admitted"
    );
    assert_eq!(
        answer(&untyped, json!({"typ": 7}), json!({})),
        "malformed_token"
    );
}

#[test]
fn an_issuer_speaks_for_its_users() {
    let policy = policy(json!({"subjects": [
        {"exact": "alice"}, {"prefix": "service:"}, {"suffix": "@example.com"},
    ]}));
    for (subject, expected) in [
        ("alice", "admitted"),
        ("service:", "admitted"),
        ("service:a", "admitted"),
        ("bob@example.com", "admitted"),
        ("Alice", "user_forbidden"),
        ("alice ", "user_forbidden"),
        ("a service:", "user_forbidden"),
        ("bob@example.com.evil", "user_forbidden"),
        ("bob", "user_forbidden"),
    ] {
        assert_eq!(
            answer(&policy, json!({}), json!({"sub": subject})),
            expected,
            "{subject}"
        );
    }
}

#[test]
fn a_claim_is_found_by_its_name_or_its_path() {
    let one = |claim: &str, matches: Value| {
        policy(json!({"required_claims": [{"claim": claim, "matches": matches}]}))
    };
    let exact = |text: &str| json!({"exact": text});
    let table = [
        // the claim asked for, what it has to be, what the token says, the answer
        ("role", exact("vr"), json!({"role": "vr"}), "admitted"),
        (
            "role",
            exact("vr"),
            json!({"role": ["x", "vr"]}),
            "admitted",
        ),
        (
            "role",
            exact("vr"),
            json!({"role": "x,vr"}),
            "user_forbidden",
        ),
        (
            "role",
            exact("vr"),
            json!({"role": [["vr"]]}),
            "user_forbidden",
        ),
        (
            "role",
            exact("vr"),
            json!({"role": {"vr": true}}),
            "user_forbidden",
        ),
        ("role", exact("vr"), json!({"role": []}), "user_forbidden"),
        ("role", exact("vr"), json!({}), "user_forbidden"),
        ("role", exact(""), json!({}), "user_forbidden"),
        ("role", exact(""), json!({"role": ""}), "admitted"),
        ("role", exact(""), json!({"role": null}), "user_forbidden"),
        ("n", exact("7"), json!({"n": 7}), "admitted"),
        ("n", exact("7"), json!({"n": "7"}), "admitted"),
        ("n", exact("7"), json!({"n": 7.0}), "admitted"),
        (
            "email_verified",
            exact("true"),
            json!({"email_verified": true}),
            "admitted",
        ),
        (
            "email_verified",
            exact("true"),
            json!({"email_verified": false}),
            "user_forbidden",
        ),
        (
            "scope",
            json!({"prefix": "vr:"}),
            json!({"scope": ["vr:a"]}),
            "admitted",
        ),
        // By path, and by a name with dots, which goes first.
        (
            "realm.roles",
            exact("vr"),
            json!({"realm": {"roles": ["vr"]}}),
            "admitted",
        ),
        (
            "a.b.c.d",
            exact("e"),
            json!({"a": {"b": {"c": {"d": "e"}}}}),
            "admitted",
        ),
        ("a.b", exact("e"), json!({"a.b": "e"}), "admitted"),
        (
            "a.b",
            exact("e"),
            json!({"a.b": "x", "a": {"b": "e"}}),
            "user_forbidden",
        ),
        (
            "a.b",
            exact("e"),
            json!({"a.b": "e", "a": {"b": "x"}}),
            "admitted",
        ),
        (
            "a.b.c",
            exact("e"),
            json!({"a": {"b.c": "e"}}),
            "user_forbidden",
        ),
        ("a.b", exact("e"), json!({"a": "b"}), "user_forbidden"),
        ("a.0", exact("e"), json!({"a": ["e"]}), "user_forbidden"),
        ("a.", exact("e"), json!({"a": {"": "e"}}), "admitted"),
        (
            "https://x.example/roles",
            exact("vr"),
            json!({"https://x.example/roles": ["vr"]}),
            "admitted",
        ),
    ];
    for (claim, matches, says, expected) in table {
        let policy = one(claim, matches.clone());
        assert_eq!(
            answer(&policy, json!({}), says.clone()),
            expected,
            "{claim} {matches} {says}"
        );
    }
}

#[test]
fn every_required_claim_is_required() {
    let policy = policy(json!({
        "required_claims": [
            {"claim": "a", "matches": {"exact": "1"}},
            {"claim": "b", "matches": {"exact": "2"}},
        ],
        "subjects": [{"exact": "alice"}],
    }));
    for (says, expected) in [
        (json!({"a": "1", "b": "2"}), "admitted"),
        (json!({"a": "1"}), "user_forbidden"),
        (json!({"b": "2"}), "user_forbidden"),
        (json!({"a": "2", "b": "1"}), "user_forbidden"),
        (json!({"a": "1", "b": "2", "sub": "bob"}), "user_forbidden"),
    ] {
        assert_eq!(answer(&policy, json!({}), says.clone()), expected, "{says}");
    }
}

#[test]
fn tokens_are_good_for_so_long() {
    let limited = policy(json!({"max_lifetime_seconds": 3600, "clock_skew_seconds": 60}));
    // iat, exp, the answer
    for (iat, exp, expected) in [
        (json!(NOW - 3000), json!(NOW + 600), "admitted"),
        (json!(NOW - 3000), json!(NOW + 601), "lifetime_too_long"),
        (json!(NOW), json!(NOW + 3600), "admitted"),
        (json!(NOW + 60), json!(NOW + 3660), "admitted"),
        (json!(NOW + 61), json!(NOW + 3600), "token_not_yet_valid"),
        (json!(NOW + 100), json!(NOW + 90), "token_not_yet_valid"),
        (json!(NOW as f64 - 0.5), json!(NOW + 3600), "admitted"),
        (json!(NOW - 10_000), json!(NOW - 100), "token_expired"),
        (json!(-5), json!(NOW + 1), "lifetime_too_long"),
        (json!(NOW), json!(1e300), "lifetime_too_long"),
        (json!(u64::MAX), json!(u64::MAX), "token_not_yet_valid"),
        (json!(1e300), json!(1e300), "token_not_yet_valid"),
        (Value::Null, json!(NOW + 600), "lifetime_too_long"),
        (json!("now"), json!(NOW + 600), "malformed_token"),
        (json!([NOW]), json!(NOW + 600), "malformed_token"),
    ] {
        let says = json!({"iat": iat.clone(), "exp": exp.clone()});
        assert_eq!(answer(&limited, json!({}), says), expected, "{iat} {exp}");
    }
    let unlimited = policy(json!({}));
    for iat in [json!(NOW + 1_000), json!("now"), Value::Null] {
        assert_eq!(
            answer(&unlimited, json!({}), json!({"iat": iat})),
            "admitted"
        );
    }
}

#[test]
fn a_session_ends_with_its_token_where_the_issuer_says_so() {
    let skew = 60;
    for (close, exp, closes_at) in [
        (false, NOW + 600, None),
        (true, NOW + 600, Some(NOW + 600)),
        (true, NOW + 1, Some(NOW + 1)),
        // Let in within the skew: until that is over.
        (true, NOW, Some(NOW + skew)),
        (true, NOW - 59, Some(NOW - 59 + skew)),
    ] {
        let policy = policy(json!({"close_when_expired": close, "clock_skew_seconds": skew}));
        let token = unsigned(
            r#"{"alg":"ES256"}"#,
            &claims(json!({"exp": exp, "jti": "t-1"})),
        );
        let admission = Sent::to("/rtsp").bearer(token).admitted(&policy);
        assert_eq!(admission.closes_at, closes_at.map(UnixSeconds), "{exp}");
        assert_eq!(admission.expires_at, Some(UnixSeconds(exp + skew)));
        assert_eq!(admission.token_id, "t-1");
    }
}

#[test]
fn a_tokens_id_is_a_name_or_none() {
    for (id, expected) in [
        (json!("a"), "admitted"),
        (json!(""), "admitted"),
        (Value::Null, "admitted"),
        (json!("i".repeat(256)), "admitted"),
        (json!("i".repeat(257)), "malformed_token"),
        (json!("a\nb"), "malformed_token"),
        (json!(7), "malformed_token"),
    ] {
        assert_eq!(
            answer(&policy(json!({})), json!({}), json!({"jti": id.clone()})),
            expected,
            "{id}"
        );
    }
}
