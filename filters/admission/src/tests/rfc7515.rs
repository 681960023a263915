//! The RFC's own examples, keys and signatures both.

use serde_json::json;

use super::support::{
    EC, RSA, STRANGER, Sent, claims, ec_jwk, example, label, outcome, policy_with, rsa_jwk, signed,
};
use crate::{Memory, NativeVerifier, Policy};

/// The RFC's issuer, `joe`, with both example keys.
fn policy() -> Policy {
    policy_with(json!({
        "issuers": [{"issuer": "joe", "jwks": {"keys": [ec_jwk("ec"), rsa_jwk("rsa")]}}],
    }))
}

#[test]
fn the_examples_have_expired_since_and_have_no_subject() {
    let expiry = 1_300_819_380;
    for appendix in ["A.2", "A.3"] {
        let token = example(appendix)["token"].as_str().unwrap();
        // The signature comes before the time, so a time that is told apart was reached.
        let table = [
            (expiry - 1, "malformed_token"),
            (expiry + 59, "malformed_token"),
            (expiry + 60, "token_expired"),
        ];
        for (now, expected) in table {
            let sent = Sent::to("/rtsp").bearer(token);
            let policy = policy();
            let verdict =
                sent.verdict_at(now, &policy, &mut Memory::new(&policy, 0), &NativeVerifier);
            assert_eq!(label(&verdict), expected, "{appendix} at {now}");
        }
    }
}

#[test]
fn an_example_with_one_bit_changed_is_not_signed() {
    for appendix in ["A.2", "A.3"] {
        let token = example(appendix)["token"].as_str().unwrap();
        let (rest, signature) = token.rsplit_once('.').unwrap();
        let flip = |text: &str| {
            let first = if text.starts_with('A') { 'B' } else { 'A' };
            format!("{first}{}", &text[1..])
        };
        let changed = format!("{rest}.{}", flip(signature));
        let answer = Sent::to("/rtsp")
            .bearer(changed)
            .meets(&policy(), &NativeVerifier);
        assert_eq!(outcome(&answer), "bad_signature", "{appendix}");
    }
}

#[test]
fn tokens_of_both_algorithms_are_admitted_if_their_own_key_signed_them() {
    let (ec, rsa) = (
        r#"{"alg":"ES256","kid":"ec"}"#,
        r#"{"alg":"RS256","kid":"rsa"}"#,
    );
    let table = [
        (ec, &EC, "admitted"),
        (rsa, &RSA, "admitted"),
        (r#"{"alg":"ES256"}"#, &EC, "admitted"),
        (r#"{"alg":"RS256"}"#, &RSA, "admitted"),
        (ec, &STRANGER, "bad_signature"),
        (rsa, &STRANGER, "bad_signature"),
        (rsa, &EC, "bad_signature"),
    ];
    let policy = policy_with(json!({}));
    for (header, signer, expected) in table {
        let answer = Sent::to("/rtsp").bearer(signed(header, &claims(json!({})), signer));
        assert_eq!(
            outcome(&answer.meets(&policy, &NativeVerifier)),
            expected,
            "{header}"
        );
    }
}
