//! The RFC's own examples, keys and signatures both.

use serde_json::{Value, json};

use super::support::{
    EC, Native, RSA, STRANGER, Sent, claims, ec_jwk, example, from_hex, label, outcome,
    policy_with, rsa_jwk, signed,
};
use crate::jwk::Key;
use crate::{Memory, Policy, ecdsa_signature_to_der};

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
            let verdict = sent.verdict_at(now, &policy, &mut Memory::new(&policy, 0), &Native);
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
        let answer = Sent::to("/rtsp").bearer(changed).meets(&policy(), &Native);
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
            outcome(&answer.meets(&policy, &Native)),
            expected,
            "{header}"
        );
    }
}

#[test]
fn keys_become_subject_public_key_info() {
    let hex = |member: &Value| {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(member.as_str().unwrap())
            .unwrap()
    };
    let (ec, rsa) = (ec_jwk("ec"), rsa_jwk("rsa"));
    // RFC 5480 §2: ecEncryption on prime256v1, and an uncompressed point.
    let ec_prefix = "3059301306072a8648ce3d020106082a8648ce3d03010703420004";
    let ec_der = [from_hex(ec_prefix), hex(&ec["x"]), hex(&ec["y"])].concat();
    // RFC 3279 §2.3.1: rsaEncryption with NULL, and the modulus with a zero before its high bit.
    let rsa_prefix = "30820122300d06092a864886f70d01010105000382010f003082010a0282010100";
    let rsa_der = [from_hex(rsa_prefix), hex(&rsa["n"]), from_hex("0203010001")].concat();

    for (jwk, expected) in [(ec, ec_der), (rsa, rsa_der)] {
        let Ok(key) = Key::from_jwk(&jwk) else {
            panic!("{jwk} is a key")
        };
        assert_eq!(key.public.spki_der(), expected, "{jwk}");
    }
}

#[test]
fn an_ecdsa_signature_becomes_two_integers() {
    let join = |r: &str, s: &str| {
        let pad = |number: &str| from_hex(&format!("{number:0>64}"));
        [pad(r), pad(s)].concat()
    };
    let high = "80".to_owned() + &"00".repeat(31);
    let table = [
        (join("01", "02"), Some("3006020101020102".to_owned())),
        (join("80", "7f"), Some("300702020080".to_owned() + "02017f")),
        (
            join("00", "ff00"),
            Some("3008".to_owned() + "020100" + "020300ff00"),
        ),
        (
            join(&high, &high),
            Some(format!("3046022100{high}022100{high}")),
        ),
        (vec![], None),
        (vec![1; 63], None),
        (vec![1; 65], None),
        (vec![1; 96], None),
    ];
    for (raw, expected) in table {
        assert_eq!(
            ecdsa_signature_to_der(&raw),
            expected.as_deref().map(from_hex),
            "{raw:?}"
        );
    }
}
