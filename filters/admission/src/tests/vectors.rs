//! Signatures of others, by others' keys: the RFCs' examples, and Wycheproof's if they are there.

use std::fs;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{EncodingKey, crypto};
use serde_json::{Value, json};

use super::support::{
    RSA, Sent, encode, from_hex, from_jwk, merge, outcome, policy_config, policy_with,
};
use crate::json::Object;

use crate::{Algorithm, NativeVerifier, VerifyError, VerifySignature};

/// Whether a compact JWS is signed with the key, by the rules of a token; but its payload may be
/// anything.
fn is_signed(jwk: &Value, jws: &str) -> Result<(), &'static str> {
    let key = from_jwk(jwk).map_err(|_| "the key is refused")?;
    let (message, signature) = jws.rsplit_once('.').ok_or("no signature")?;
    let (header, payload) = message.split_once('.').ok_or("no payload")?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| "not base64url");
    decode(payload)?;
    let header = Object::parse(&decode(header)?).ok_or("no header")?;
    let name = header.text("alg").ok().flatten().ok_or("no algorithm")?;
    let algorithm = Algorithm::from_name(name).ok_or("an unknown algorithm")?;
    let kid = header.text("kid").map_err(|_| "no name of a key")?;
    if kid.is_some() && kid != key.id.as_deref() {
        return Err("another key's name");
    }
    if !key.may_check(algorithm) {
        return Err("another key's algorithm");
    }
    let (message, signature) = (message.as_bytes(), decode(signature)?);
    match NativeVerifier.verify(algorithm, &key.material, message, &signature) {
        Ok(true) => Ok(()),
        Ok(false) => Err("a bad signature"),
        Err(_) => Err("the verifier refuses the key"),
    }
}

fn examples(text: &str) -> Vec<Value> {
    let data: Value = serde_json::from_str(text).unwrap();
    data["examples"].as_array().unwrap().clone()
}

/// The key without its private half, which an issuer does not publish.
fn published(key: &Value) -> Value {
    let private = json!({"d": null, "p": null, "q": null, "dp": null, "dq": null, "qi": null});
    merge(key.clone(), private)
}

#[test]
fn the_examples_of_the_rfcs_are_signed_with_their_keys_and_no_other() {
    let examples: Vec<Value> = [RFC7515, RFC7520, RFC8037].map(examples).concat();
    let algorithms: Vec<_> = examples
        .iter()
        .map(|it| it["algorithm"].as_str().unwrap())
        .collect();
    let expected = [
        "HS256", "RS256", "ES256", "ES512", "RS256", "PS384", "ES512", "HS256", "EdDSA",
    ];
    assert_eq!(algorithms, expected);
    for example in &examples {
        let (key, token) = (
            published(&example["key"]),
            example["token"].as_str().unwrap(),
        );
        assert_eq!(is_signed(&key, token), Ok(()), "{example}");

        let (message, signature) = token.rsplit_once('.').unwrap();
        for byte in [0, 31, 32, 63] {
            let mut bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
            let byte = byte % bytes.len();
            bytes[byte] ^= 1;
            let changed = format!("{message}.{}", encode(bytes));
            assert_eq!(
                is_signed(&key, &changed),
                Err("a bad signature"),
                "{example}: {byte}"
            );
        }
        let bytes = URL_SAFE_NO_PAD.decode(signature).unwrap();
        let longer = [&[0][..], &bytes].concat();
        for bytes in [&bytes[1..], &bytes[..bytes.len() - 1], &longer, &[]] {
            let changed = format!("{message}.{}", encode(bytes));
            assert_eq!(
                is_signed(&key, &changed),
                Err("a bad signature"),
                "{example}"
            );
        }
        for other in examples
            .iter()
            .filter(|other| other["key"] != example["key"])
        {
            assert!(
                is_signed(&published(&other["key"]), token).is_err(),
                "{other}: {token}"
            );
        }
    }
}

#[test]
fn a_token_without_a_signature_is_no_token() {
    let data: Value = serde_json::from_str(RFC7519).unwrap();
    let (signed, unsecured) = (data["signed"].as_str(), data["unsecured"].as_str());
    let hs256 = &examples(RFC7515)[0]["key"];
    assert_eq!(is_signed(hs256, signed.unwrap()), Ok(()));
    assert_eq!(
        is_signed(hs256, unsecured.unwrap()),
        Err("an unknown algorithm")
    );

    // The same two as the credentials of a client.
    let mut config = policy_config();
    config["issuers"][0] = json!({"issuer": "joe", "jwks": {"keys": [hs256]}});
    let policy = policy_with(config);
    let table = [
        (signed, "token_expired"),
        (unsecured, "unsupported_algorithm"),
    ];
    for (token, expected) in table {
        let sent = Sent::to("/rtsp").bearer(token.unwrap());
        assert_eq!(outcome(&sent.meets(&policy, &NativeVerifier)), expected);
    }
}

/// What the RFCs have no example of. The signatures are the library's that others make theirs with.
#[test]
fn a_signature_is_of_one_algorithm_and_one_key() {
    let secret = json!({"kty": "oct", "k": encode([7; 64])});
    let [p384, ed25519] = [p384(), ed25519()];
    let rsa = published(&examples(RFC7515)[1]["key"]);
    let hmac = EncodingKey::from_secret(&[7; 64]);
    let table = [
        ("HS256", &secret, &hmac),
        ("HS384", &secret, &hmac),
        ("HS512", &secret, &hmac),
        ("RS256", &rsa, &RSA.key),
        ("RS384", &rsa, &RSA.key),
        ("RS512", &rsa, &RSA.key),
        ("PS256", &rsa, &RSA.key),
        ("PS384", &rsa, &RSA.key),
        ("PS512", &rsa, &RSA.key),
        ("ES384", &p384.0, &p384.1),
        ("EdDSA", &ed25519.0, &ed25519.1),
    ];
    for (name, jwk, key) in table {
        let signature = crypto::sign(b"message", key, name.parse().unwrap()).unwrap();
        let signature = URL_SAFE_NO_PAD.decode(signature).unwrap();
        for (_, other, _) in table {
            let material = from_jwk(other).unwrap().material;
            for algorithm in Algorithm::ALL {
                let answer = NativeVerifier.verify(algorithm, &material, b"message", &signature);
                let fits = from_jwk(other).unwrap().may_check(algorithm);
                let expected = match fits {
                    true => Ok(other == jwk && algorithm.name() == name),
                    false => Err(VerifyError::KeyRefused),
                };
                assert_eq!(answer, expected, "{name}: {algorithm} with {other}");
            }
        }
    }
}

#[test]
fn a_key_with_which_one_signature_fits_many_messages_is_refused() {
    // The point of order 1 (RFC 8032 §5.1.3: y = 1), and a signature of any message under it.
    let mut neutral = [0; 32];
    neutral[0] = 1;
    let jwk = json!({"kty": "OKP", "crv": "Ed25519", "x": encode(neutral)});
    let signature = [neutral, [0; 32]].concat();
    let key = from_jwk(&jwk).unwrap();
    let answer = NativeVerifier.verify(Algorithm::EdDsa, &key.material, b"message", &signature);
    assert_eq!(answer, Err(VerifyError::KeyRefused));
}

#[test]
fn an_rsa_key_of_the_most_bits_is_one() {
    // No key of that size is worth the minutes it takes to find: this one fits no signature.
    let modulus = vec![0xFF; 1024];
    let jwk = json!({"kty": "RSA", "n": encode(&modulus), "e": "AQAB"});
    let key = from_jwk(&jwk).unwrap();
    for algorithm in [Algorithm::Rs256, Algorithm::Ps512] {
        let answer = NativeVerifier.verify(algorithm, &key.material, b"message", &[1; 1024]);
        assert_eq!(answer, Ok(false));
    }
}

/// Signatures and keys that were made to be mistaken (Apache-2.0). `./just vectors` fetches them.
#[test]
fn wycheproof_agrees_but_for_what_is_known() {
    let known = [
        // The key says PS256 and the token PS384, or the key is for an algorithm `ES521`.
        (
            "json_web_signature_test",
            346,
            Err("another key's algorithm"),
        ),
        (
            "json_web_signature_test",
            350,
            Err("another key's algorithm"),
        ),
        ("json_web_signature_test", 347, Err("the key is refused")),
        ("json_web_signature_test", 351, Err("the key is refused")),
        // Byte for byte the token of number 357, which is valid there.
        ("json_web_signature_test", 367, Ok(())),
        ("json_web_signature_test", 370, Ok(())),
        // Whoever overlooks a `?` in base64url takes these. We do not: a token has one form.
        ("json_web_signature_test", 372, Err("not base64url")),
        ("json_web_signature_test", 373, Err("not base64url")),
        // An issuer may have a secret beside its public keys, or two keys of one name (RFC 7517
        // §4.5): the key says what it is for.
        ("json_web_key_test", 1, Ok(())),
        ("json_web_key_test", 4, Ok(())),
        // A key found by a generator that was broken (ROCA) is not told apart.
        ("json_web_key_test", 7, Ok(())),
    ];
    for (file, tests) in [("json_web_signature_test", 401), ("json_web_key_test", 26)] {
        let path = Path::new(WYCHEPROOF).join(file).with_extension("json");
        let Ok(text) = fs::read_to_string(&path) else {
            eprintln!("skipped: {}; `./just vectors` fetches it", path.display());
            continue;
        };
        let data: Value = serde_json::from_str(&text).unwrap();
        let mut done = 0;
        for group in data["testGroups"].as_array().unwrap() {
            let keys = group.get("public").unwrap_or_else(|| &group["private"]);
            let one = [keys.clone()];
            let keys = keys["keys"].as_array().map_or(&one[..], Vec::as_slice);
            for test in group["tests"].as_array().unwrap() {
                let number = test["tcId"].as_u64().unwrap();
                let jws = test["jws"].as_str().unwrap();
                let answers = keys.iter().map(|key| is_signed(key, jws));
                let answer = answers.reduce(Result::or).unwrap();
                let known = known
                    .iter()
                    .find(|known| (known.0, known.1) == (file, number));
                match known {
                    Some((_, _, expected)) => assert_eq!(answer, *expected, "{number} of {file}"),
                    None => {
                        let valid = test["result"] == "valid";
                        assert_eq!(answer.is_ok(), valid, "{number} of {file}: {answer:?}");
                    }
                }
                done += 1;
            }
        }
        assert_eq!(done, tests, "{file}");
    }
}

fn p384() -> (Value, EncodingKey) {
    // PrivateKeyInfo (RFC 5208) with an ECPrivateKey (RFC 5915) whose scalar is 7, 48 times.
    let scalar = "07".repeat(48);
    let der = "304e020100301006072a8648ce3d020106052b81040022043730350201010430".to_owned();
    let key = EncodingKey::from_ec_der(&from_hex(&(der + &scalar)));
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::ES384);
    (serde_json::to_value(jwk.unwrap()).unwrap(), key)
}

fn ed25519() -> (Value, EncodingKey) {
    // RFC 8410 §7, the seed being 7, 32 times.
    let der = "302e020100300506032b657004220420".to_owned() + &"07".repeat(32);
    let key = EncodingKey::from_ed_der(&from_hex(&der));
    let jwk = jsonwebtoken::jwk::Jwk::from_encoding_key(&key, jsonwebtoken::Algorithm::EdDSA);
    (serde_json::to_value(jwk.unwrap()).unwrap(), key)
}

const RFC7515: &str = include_str!("data/rfc7515.json");
const RFC7519: &str = include_str!("data/rfc7519.json");
const RFC7520: &str = include_str!("data/rfc7520.json");
const RFC8037: &str = include_str!("data/rfc8037.json");
const WYCHEPROOF: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../.tools/wycheproof");
