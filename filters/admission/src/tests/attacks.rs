//! What is sent by somebody who should not get in, and what they are answered.
//!
//! The signatures are real: those that could be made by an attacker are, and the verifier computes.

use serde_json::json;

use super::support::{
    EC, HEADER, NOW, RSA, STRANGER, Sent, answer, check, claims, ec_jwk, encode, good, label,
    policy_config, policy_with, rsa_jwk, signed,
};
use crate::{Algorithm, NativeVerifier, ecdsa_signature_to_der};

#[test]
fn the_good_token_is_good() {
    assert_eq!(answer(&Sent::to("/rtsp").bearer(good())), "admitted");
}

#[test]
fn algorithms_are_not_the_clients_choice() {
    let unsupported = "unsupported_algorithm";
    let unheard_of = [
        "none", "None", "NONE", "nOnE", "", "ES256K", "Ed448", "rs256", "es256", "ES256 ",
        "RSA-OAEP", "dir",
    ];
    let names = unheard_of.map(|name| (name, [unsupported, unsupported]));
    let of_others = [
        "HS256", "HS384", "HS512", "ES384", "ES512", "EdDSA", "Ed25519",
    ];
    let of_others = of_others.map(|name| (name, ["unknown_key?", "unknown_key?"]));
    let of_rsa = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"];
    let of_rsa = of_rsa.map(|name| (name, ["unknown_key?", "bad_signature"]));
    for (name, expected) in names.into_iter().chain(of_others).chain(of_rsa) {
        for (kid, expected) in ["ec", "rsa"].into_iter().zip(expected) {
            let header = json!({"alg": name, "kid": kid}).to_string();
            let message = format!("{}.{}", encode(&header), encode(claims(json!({}))));
            for signature in ["", "AAAA", good().rsplit('.').next().unwrap()] {
                check([(
                    format!("{name} of {kid}"),
                    format!("{message}.{signature}"),
                    expected,
                )]);
            }
        }
    }
    let claims = &claims(json!({}));
    check([
        (
            "no alg",
            signed(r#"{"kid":"ec"}"#, claims, &EC),
            "malformed_token",
        ),
        (
            "null",
            signed(r#"{"alg":null,"kid":"ec"}"#, claims, &EC),
            "malformed_token",
        ),
        (
            "list",
            signed(r#"{"alg":["ES256"],"kid":"ec"}"#, claims, &EC),
            "malformed_token",
        ),
        (
            "RS256 of an EC key",
            signed(r#"{"alg":"RS256","kid":"ec"}"#, claims, &EC),
            "unknown_key?",
        ),
        (
            "ES256 of an RSA key",
            signed(r#"{"alg":"ES256","kid":"rsa"}"#, claims, &RSA),
            "unknown_key?",
        ),
        (
            "RS256 by EC",
            signed(r#"{"alg":"RS256","kid":"rsa"}"#, claims, &EC),
            "bad_signature",
        ),
        (
            "ES256 by RSA",
            signed(r#"{"alg":"ES256","kid":"ec"}"#, claims, &RSA),
            "bad_signature",
        ),
    ]);
}

#[test]
fn keys_are_not_the_clients_choice() {
    let table = [
        json!({"jwk": ec_jwk("ec")}),
        json!({"jwk": {"kty": "oct", "k": "AAAA"}}),
        json!({"jwk": 7}),
        json!({"jku": "https://attacker.example/jwks.json"}),
        json!({"x5u": "https://attacker.example/chain.pem"}),
        json!({"x5c": ["MIIB"], "x5t": "AAAA", "x5t#S256": "AAAA"}),
        json!({"iss": "https://issuer.example", "typ": "at+jwt", "zip": "DEF", "b64": false}),
    ];
    for mut header in table {
        header["alg"] = json!("ES256");
        header["kid"] = json!("ec");
        let strange = signed(&header.to_string(), &claims(json!({})), &STRANGER);
        let genuine = signed(&header.to_string(), &claims(json!({})), &EC);
        check([
            (header.to_string(), strange, "bad_signature"),
            (header.to_string(), genuine, "admitted"),
        ]);
    }
    let kids = [
        "",
        "EC",
        "ec ",
        "ec\0",
        "../../../../dev/null",
        "/proc/self/environ",
        "' OR 1=1 --",
        "https://attacker.example/key",
        "$(id)",
        "e\u{441}",
    ];
    for kid in kids {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        check([(
            kid,
            signed(&header, &claims(json!({})), &EC),
            "unknown_key?",
        )]);
    }
    let long = json!({"alg": "ES256", "kid": "k".repeat(9000)}).to_string();
    check([(
        "long kid",
        signed(&long, &claims(json!({})), &EC),
        "unknown_key?",
    )]);
    for kid in [json!(7), json!(null), json!(["ec"]), json!({"ec": 1})] {
        let header = json!({"alg": "ES256", "kid": kid}).to_string();
        check([(
            header.clone(),
            signed(&header, &claims(json!({})), &EC),
            "malformed_token",
        )]);
    }
}

#[test]
fn extensions_that_have_to_be_understood_are_not() {
    for crit in [
        json!(["exp"]),
        json!(["b64"]),
        json!([]),
        json!(null),
        json!("exp"),
    ] {
        let header = json!({"alg": "ES256", "kid": "ec", "crit": crit, "b64": false}).to_string();
        check([(
            header.clone(),
            signed(&header, &claims(json!({})), &EC),
            "unsupported_algorithm",
        )]);
    }
}

#[test]
fn a_member_that_comes_twice_is_not_read_once() {
    let twice = |text: &str, member: &str| text.replacen('{', &format!("{{{member},"), 1);
    let plain = claims(json!({}));
    check([
        (
            "alg",
            signed(&twice(HEADER, r#""alg":"none""#), &plain, &EC),
            "malformed_token",
        ),
        (
            "same alg",
            signed(&twice(HEADER, r#""alg":"ES256""#), &plain, &EC),
            "malformed_token",
        ),
        (
            "alg, escaped",
            signed(&twice(HEADER, r#""\u0061lg":"none""#), &plain, &EC),
            "malformed_token",
        ),
        (
            "kid",
            signed(&twice(HEADER, r#""kid":"x""#), &plain, &EC),
            "malformed_token",
        ),
        (
            "iss",
            signed(HEADER, &twice(&plain, r#""iss":"x""#), &EC),
            "malformed_token",
        ),
        (
            "exp",
            signed(HEADER, &twice(&plain, r#""exp":9999999999"#), &EC),
            "malformed_token",
        ),
        (
            "any",
            signed(HEADER, &twice(&twice(&plain, r#""a":1"#), r#""a":1"#), &EC),
            "malformed_token",
        ),
    ]);
}

#[test]
fn a_signature_is_over_these_very_bytes() {
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let other = signed(HEADER, &claims(json!({"sub": "mallory"})), &EC);
    let (other_message, other_signature) = other.rsplit_once('.').unwrap();
    let raw = {
        use base64::Engine;
        base64::engine::general_purpose::URL_SAFE_NO_PAD
            .decode(signature)
            .unwrap()
    };
    let der = ecdsa_signature_to_der(Algorithm::Es256, &raw).unwrap();
    let one = [&[0; 31][..], &[1], &[0; 31], &[1]].concat();
    check([
        (
            "another's message",
            format!("{other_message}.{signature}"),
            "bad_signature",
        ),
        (
            "another's signature",
            format!("{message}.{other_signature}"),
            "bad_signature",
        ),
        (
            "zeros",
            format!("{message}.{}", encode([0; 64])),
            "bad_signature",
        ),
        (
            "ones",
            format!("{message}.{}", encode([0xFF; 64])),
            "bad_signature",
        ),
        (
            "r = s = 1",
            format!("{message}.{}", encode(one)),
            "bad_signature",
        ),
        (
            "in DER",
            format!("{message}.{}", encode(der)),
            "bad_signature",
        ),
        (
            "half of it",
            format!("{message}.{}", encode(&raw[..32])),
            "bad_signature",
        ),
        (
            "more of it",
            format!("{message}.{}", encode([&raw[..], &[0]].concat())),
            "bad_signature",
        ),
    ]);
    let header = r#"{"alg":"RS256","kid":"rsa"}"#;
    let message = format!("{}.{}", encode(header), encode(claims(json!({}))));
    for length in [0, 1, 255, 256, 257, 4096] {
        for byte in [0, 1, 0xFF] {
            let token = format!("{message}.{}", encode(vec![byte; length]));
            check([(format!("{length} times {byte}"), token, "bad_signature")]);
        }
    }
}

#[test]
fn two_credentials_are_none() {
    let (good, expired) = (
        good(),
        signed(HEADER, &claims(json!({"exp": NOW - 100})), &EC),
    );
    let rs256 = signed(r#"{"alg":"RS256","kid":"rsa"}"#, &claims(json!({})), &RSA);
    let to = |token: &str| Sent::to(format!("/sign_in?token={token}"));
    let table = [
        (
            "an expired one beside",
            to(&expired).bearer(&good),
            "malformed_token",
        ),
        ("junk beside", to("junk").bearer(&good), "malformed_token"),
        (
            "another good one beside",
            to(&rs256).bearer(&good),
            "malformed_token",
        ),
        (
            "the same one, encoded",
            to(&good.replace('.', "%2e")).bearer(&good),
            "admitted",
        ),
        (
            "in another case",
            to(&good.to_uppercase()).bearer(&good),
            "malformed_token",
        ),
        ("the expired one alone", to(&expired), "token_expired"),
    ];
    for (name, sent, expected) in table {
        assert_eq!(answer(&sent), expected, "{name}");
    }
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
