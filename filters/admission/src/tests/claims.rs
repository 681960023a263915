//! What a token says, once its signature is known to be its issuer's.

use serde_json::{Value, json};

use super::support::{
    Always, HEADER, NOW, Sent, claims, ec_jwk, encode, good, label, outcome, policy_config,
    policy_with, rsa_jwk, token, unsigned,
};
use crate::{
    Admission, Algorithm, KeyMaterial, NativeVerifier, Policy, Reason, UnixSeconds, VerifyError,
    VerifySignature,
};

fn answer(policy: &Policy, changes: Value) -> Result<Admission, Reason> {
    let token = unsigned(HEADER, &claims(changes));
    Sent::to("/rtsp")
        .bearer(token)
        .meets(policy, &Always::yes())
}

#[test]
fn a_token_has_its_time() {
    let max = u64::MAX;
    // exp, nbf, the answer
    let table = [
        (json!(NOW + 1), json!(null), "admitted"),
        (json!(NOW - 59), json!(null), "admitted"),
        (json!(NOW - 60), json!(null), "token_expired"),
        (json!(NOW as f64 - 59.5), json!(null), "admitted"),
        (json!(NOW as f64 - 60.5), json!(null), "token_expired"),
        (json!(0), json!(null), "token_expired"),
        (json!(-1), json!(null), "token_expired"),
        (json!(-1e300), json!(null), "token_expired"),
        (json!(i64::MIN), json!(null), "token_expired"),
        (json!(1e300), json!(null), "admitted"),
        (json!(max), json!(null), "admitted"),
        (json!(null), json!(null), "malformed_token"),
        (json!("2030-01-01"), json!(null), "malformed_token"),
        (json!("1900000000"), json!(null), "malformed_token"),
        (json!(true), json!(null), "malformed_token"),
        (json!([NOW + 1]), json!(null), "malformed_token"),
        (json!(max), json!(NOW), "admitted"),
        (json!(max), json!(NOW + 60), "admitted"),
        (json!(max), json!(NOW + 61), "token_not_yet_valid"),
        (json!(max), json!(NOW as f64 + 59.5), "admitted"),
        (json!(max), json!(NOW as f64 + 60.5), "token_not_yet_valid"),
        (json!(max), json!(-7), "admitted"),
        (json!(max), json!(max), "token_not_yet_valid"),
        (json!(max), json!(1e300), "token_not_yet_valid"),
        (json!(max), json!("now"), "malformed_token"),
        (json!(0), json!(max), "token_expired"),
    ];
    let policy = policy_with(json!({}));
    for (exp, nbf, expected) in table {
        let answer = answer(&policy, json!({"exp": exp.clone(), "nbf": nbf.clone()}));
        assert_eq!(outcome(&answer), expected, "exp {exp} nbf {nbf}");
    }
}

#[test]
fn the_end_of_a_token_is_when_it_would_be_refused() {
    let table = [
        (json!(NOW + 600), 60, NOW + 660),
        (json!(NOW + 600), 0, NOW + 600),
        (json!(NOW as f64 + 0.25), 0, NOW + 1),
        (json!(u64::MAX - 1), 60, u64::MAX),
        (json!(1e300), 60, u64::MAX),
    ];
    for (exp, skew, expected) in table {
        let mut config = policy_config();
        config["issuers"][0]["clock_skew_seconds"] = json!(skew);
        let policy = policy_with(config);
        let admission = answer(&policy, json!({"exp": exp.clone()})).unwrap();
        assert_eq!(admission.expires_at, Some(UnixSeconds(expected)), "{exp}");
    }
}

#[test]
fn a_number_that_no_float_holds_is_malformed() {
    let policy = policy_with(json!({}));
    for number in [
        "1e400",
        "-1e400",
        "NaN",
        "Infinity",
        "0x10",
        "01",
        "1.",
        "+1",
        "1e99999999999",
    ] {
        let claims = claims(json!({"exp": "EXP"})).replace("\"EXP\"", number);
        let sent = Sent::to("/rtsp").bearer(unsigned(HEADER, &claims));
        let answer = sent.meets(&policy, &Always::yes());
        assert_eq!(outcome(&answer), "malformed_token", "{number}");
    }
}

#[test]
fn a_token_is_for_an_audience() {
    let open = {
        let mut config = policy_config();
        config["issuers"][0]["audiences"] = json!([]);
        policy_with(config)
    };
    let ours = policy_with(json!({}));
    // aud, the answer where audiences are configured, the answer where none are
    let table = [
        (json!("berth"), "admitted", "admitted"),
        (json!("berth-staging"), "admitted", "admitted"),
        (json!(["other", "berth"]), "admitted", "admitted"),
        (json!("other"), "wrong_audience", "admitted"),
        (json!("Berth"), "wrong_audience", "admitted"),
        (json!("berth "), "wrong_audience", "admitted"),
        (json!([]), "wrong_audience", "admitted"),
        (json!(null), "wrong_audience", "admitted"),
        (json!(7), "malformed_token", "admitted"),
        (json!(["berth", 7]), "malformed_token", "admitted"),
        (json!([["berth"]]), "malformed_token", "admitted"),
        (json!({"berth": true}), "malformed_token", "admitted"),
    ];
    for (aud, configured, unconfigured) in table {
        let changes = json!({"aud": aud.clone()});
        assert_eq!(
            outcome(&answer(&ours, changes.clone())),
            configured,
            "{aud}"
        );
        assert_eq!(outcome(&answer(&open, changes)), unconfigured, "{aud}");
    }
}

#[test]
fn a_token_names_its_user() {
    let table = [
        (json!("alice"), "admitted"),
        (json!("x".repeat(256)), "admitted"),
        (json!("\u{43f}\u{1f4a1} \"quoted\" <b>"), "admitted"),
        (json!("x".repeat(257)), "malformed_token"),
        (json!("\u{e9}".repeat(129)), "malformed_token"),
        (json!(""), "malformed_token"),
        (json!(null), "malformed_token"),
        (json!(7), "malformed_token"),
        (json!(["alice"]), "malformed_token"),
        (json!("alice\r\nx-berth-endpoint: a"), "malformed_token"),
        (json!("a\u{0}b"), "malformed_token"),
        (json!("a\u{7f}"), "malformed_token"),
        (json!("a\u{85}"), "malformed_token"),
    ];
    let policy = policy_with(json!({}));
    for (sub, expected) in table {
        let answer = answer(&policy, json!({"sub": sub.clone()}));
        assert_eq!(outcome(&answer), expected, "{sub}");
        if let Ok(admission) = answer {
            assert_eq!(json!(admission.owner.subject), sub);
            assert_eq!(admission.owner.issuer, "https://issuer.example");
        }
    }
}

#[test]
fn a_token_may_name_a_tenant() {
    let table = [
        (json!("acme"), Ok("acme")),
        (json!(""), Ok("")),
        (json!(null), Ok("")),
        (json!("x".repeat(257)), Err(Reason::MalformedToken)),
        (json!("a\nb"), Err(Reason::MalformedToken)),
        (json!(7), Err(Reason::MalformedToken)),
    ];
    let policy = policy_with(json!({}));
    let without = policy_with(json!({"tenant_claim": null}));
    for (tenant, expected) in table {
        let changes = json!({"tenant": tenant.clone()});
        let answered = answer(&policy, changes.clone()).map(|admission| admission.owner.tenant);
        assert_eq!(
            answered.as_deref().map_err(|reason| *reason),
            expected,
            "{tenant}"
        );
        assert_eq!(answer(&without, changes).unwrap().owner.tenant, "");
    }
}

#[test]
fn the_issuer_decides_which_keys_and_rules_hold() {
    let mut config = policy_config();
    let other = json!({
        "issuer": "https://other.example",
        "audiences": [],
        "jwks": {"keys": [ec_jwk("other")]},
        "clock_skew_seconds": 0,
    });
    config["issuers"].as_array_mut().unwrap().push(other);
    let policy = policy_with(config);
    let ours = "https://issuer.example";
    // iss, kid, exp, the answer
    let table = [
        (json!(ours), "ec", NOW + 1, "admitted"),
        (json!(ours), "other", NOW + 1, "unknown_key"),
        (json!("https://other.example"), "other", NOW + 1, "admitted"),
        (
            json!("https://other.example"),
            "other",
            NOW,
            "token_expired",
        ),
        (json!("https://other.example"), "ec", NOW + 1, "unknown_key"),
        (
            json!("https://issuer.example/"),
            "ec",
            NOW + 1,
            "wrong_issuer",
        ),
        (
            json!("HTTPS://ISSUER.EXAMPLE"),
            "ec",
            NOW + 1,
            "wrong_issuer",
        ),
        (json!(""), "ec", NOW + 1, "wrong_issuer"),
        (json!(null), "ec", NOW + 1, "wrong_issuer"),
        (json!(7), "ec", NOW + 1, "malformed_token"),
        (json!([ours]), "ec", NOW + 1, "malformed_token"),
    ];
    for (iss, kid, exp, expected) in table {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        let token = unsigned(&header, &claims(json!({"iss": iss.clone(), "exp": exp})));
        let answer = Sent::to("/rtsp")
            .bearer(token)
            .meets(&policy, &Always::yes());
        assert_eq!(outcome(&answer), expected, "{iss} {kid} {exp}");
    }
}

#[test]
fn a_claim_says_how_urgent_it_is() {
    let policy = policy_with(json!({"priority_claim": "urgency"}));
    for (claim, expected) in [
        (json!(null), Ok(0)),
        (json!(0), Ok(0)),
        (json!(9), Ok(9)),
        (json!(10), Err(Reason::MalformedToken)),
        (json!(256), Err(Reason::MalformedToken)),
        (json!(-1), Err(Reason::MalformedToken)),
        (json!(1.5), Err(Reason::MalformedToken)),
        (json!("1"), Err(Reason::MalformedToken)),
        (json!([1]), Err(Reason::MalformedToken)),
    ] {
        let answer = answer(&policy, json!({"urgency": claim.clone()}));
        assert_eq!(
            answer.map(|admission| admission.priority),
            expected,
            "{claim}"
        );
    }
    let unnamed = answer(&policy_with(json!({})), json!({"urgency": "x"}));
    assert_eq!(unnamed.unwrap().priority, 0);
}

/// Takes only the key with these coordinates' last byte.
struct Only(u8);

impl VerifySignature for Only {
    fn verify(
        &self,
        _: Algorithm,
        key: &KeyMaterial,
        _: &[u8],
        _: &[u8],
    ) -> Result<bool, VerifyError> {
        let KeyMaterial::Public(key) = key else {
            return Err(VerifyError::NotHere);
        };
        match key.spki_der().last() {
            Some(last) if *last == self.0 => Ok(true),
            // What one key's check fails with does not keep the next key from being tried.
            Some(last) if last % 2 == 0 => Err(VerifyError::KeyRefused),
            _ => Ok(false),
        }
    }
}

#[test]
fn a_token_that_names_no_key_is_tried_with_a_few() {
    let keys: Vec<Value> = (1..=9)
        .map(|number: u8| {
            let mut jwk = ec_jwk("same");
            jwk["y"] = json!(encode([number; 32]));
            jwk
        })
        .collect();
    let mut config = policy_config();
    config["issuers"][0]["jwks"] = json!({ "keys": keys });
    let policy = policy_with(config);
    for header in [r#"{"alg":"ES256"}"#, r#"{"alg":"ES256","kid":"same"}"#] {
        let sent = Sent::to("/rtsp").bearer(unsigned(header, &claims(json!({}))));
        for (key, expected) in [(1, "admitted"), (4, "admitted"), (5, "bad_signature")] {
            assert_eq!(
                outcome(&sent.meets(&policy, &Only(key))),
                expected,
                "{header} {key}"
            );
        }
        let never = Always::new(Ok(false));
        assert_eq!(outcome(&sent.meets(&policy, &never)), "bad_signature");
        assert_eq!(never.asked.get(), 4);
    }
}

#[test]
fn what_the_verifier_says_is_what_happens() {
    let table = [
        (Ok(true), "admitted", 1),
        (Ok(false), "bad_signature", 1),
        (Err(VerifyError::KeyRefused), "bad_signature", 1),
        (Err(VerifyError::Unavailable), "internal", 1),
    ];
    let policy = policy_with(json!({}));
    for (says, expected, asked) in table {
        let verifier = Always::new(says);
        let sent = Sent::to("/rtsp").bearer(token());
        assert_eq!(outcome(&sent.meets(&policy, &verifier)), expected);
        assert_eq!(verifier.asked.get(), asked);
    }
}

#[test]
fn nothing_is_believed_before_the_signature() {
    let policy = policy_with(json!({"pools_claim": "pools"}));
    let unbelievable = json!({"exp": 0, "nbf": "x", "aud": 7, "sub": "", "tenant": 7, "pools": 7});
    let token = unsigned(HEADER, &claims(unbelievable));
    let answer = Sent::to("/rtsp")
        .bearer(token)
        .meets(&policy, &Always::new(Ok(false)));
    assert_eq!(outcome(&answer), "bad_signature");
}

#[test]
fn a_key_that_is_no_point_of_its_curve_admits_nobody() {
    let mut config = policy_config();
    let mut jwk = ec_jwk("ec");
    jwk["y"] = json!(encode([1; 32]));
    config["issuers"][0]["jwks"] = json!({"keys": [jwk, rsa_jwk("rsa")]});
    let verdict = Sent::to("/rtsp")
        .bearer(good())
        .verdict(&policy_with(config), &NativeVerifier);
    assert_eq!(label(&verdict), "bad_signature");
}

#[test]
fn a_claim_is_compared_in_its_form_as_text() {
    for (value, text, expected) in [
        (json!("a"), "a", "admitted"),
        (json!(true), "true", "admitted"),
        (json!(7), "7", "admitted"),
        (json!(-7), "-7", "admitted"),
        (json!(u64::MAX), "18446744073709551615", "admitted"),
        (json!(7.0), "7", "admitted"),
        (json!(-0.0), "0", "admitted"),
        (
            json!(9_007_199_254_740_992.0),
            "9007199254740992",
            "admitted",
        ),
        // A whole number, but which, no float says.
        (
            json!(9_007_199_254_740_994.0),
            "9007199254740994",
            "user_forbidden",
        ),
        (json!(7.5), "7.5", "user_forbidden"),
        (json!(7.5), "7", "user_forbidden"),
        (json!(null), "null", "user_forbidden"),
        (json!([7.5, 8]), "8", "admitted"),
        (json!({"a": 1}), "1", "user_forbidden"),
    ] {
        let mut config = policy_config();
        config["issuers"][0]["required_claims"] =
            json!([{"claim": "level", "matches": {"exact": text}}]);
        let policy = policy_with(config);
        let answer = answer(&policy, json!({"level": value.clone()}));
        assert_eq!(outcome(&answer), expected, "{value} {text}");
    }
}
