//! What a JWK becomes, and for which algorithms it is used.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};

use super::support::{ec_jwk, encode, from_hex, from_jwk, merge, rsa_jwk};

use crate::{Algorithm, KeyMaterial, ecdsa_signature_to_der, is_secret};

/// The names of the algorithms, or the member to blame and why.
fn used_for(jwk: &Value) -> String {
    match from_jwk(jwk) {
        Ok(key) => {
            let used = Algorithm::ALL.into_iter().filter(|it| key.may_check(*it));
            used.map(Algorithm::name).collect::<Vec<_>>().join(" ")
        }
        Err(refused) => format!("{}: {}", refused.member.unwrap_or("-"), refused.problem),
    }
}

fn curve(name: &str, bytes: usize) -> Value {
    let [x, y] = [1, 2].map(|byte| encode(vec![byte; bytes]));
    json!({"kty": "EC", "crv": name, "x": x, "y": y})
}

fn ed25519() -> Value {
    json!({"kty": "OKP", "crv": "Ed25519", "x": encode([1; 32])})
}

fn oct(bytes: usize) -> Value {
    json!({"kty": "oct", "k": encode(vec![7; bytes])})
}

#[test]
fn a_key_is_used_for_the_algorithms_of_its_type_curve_and_length() {
    let rsa = "RS256 RS384 RS512 PS256 PS384 PS512";
    let table = [
        (rsa_jwk("k"), json!({}), rsa),
        (rsa_jwk("k"), json!({"alg": "PS384"}), "PS384"),
        (rsa_jwk("k"), json!({"alg": "RS512"}), "RS512"),
        (ec_jwk("k"), json!({}), "ES256"),
        (ec_jwk("k"), json!({"alg": "ES256"}), "ES256"),
        (curve("P-384", 48), json!({}), "ES384"),
        (curve("P-521", 66), json!({"alg": "ES512"}), "ES512"),
        (ed25519(), json!({}), "EdDSA"),
        (ed25519(), json!({"alg": "EdDSA"}), "EdDSA"),
        (ed25519(), json!({"alg": "Ed25519"}), "EdDSA"),
        (oct(32), json!({}), "HS256"),
        (oct(47), json!({}), "HS256"),
        (oct(48), json!({}), "HS256 HS384"),
        (oct(64), json!({}), "HS256 HS384 HS512"),
        (oct(200), json!({"alg": "HS384"}), "HS384"),
        (
            oct(64),
            json!({"use": "sig", "key_ops": ["sign", "verify"]}),
            "HS256 HS384 HS512",
        ),
    ];
    for (jwk, changes, expected) in table {
        let jwk = merge(jwk, changes);
        assert_eq!(used_for(&jwk), expected, "{jwk}");
    }
}

#[test]
fn a_key_that_fits_no_algorithm_says_what_it_should_have_been() {
    let private = "is the private half of the key: replace the key, and give only its public half";
    let of_rsa = "alg: must be RS256, RS384, RS512, PS256, PS384 or PS512, or absent".to_owned();
    let of_oct = "alg: must be HS256, HS384 or HS512, or absent".to_owned();
    let of_p521 = "alg: must be ES512, or absent".to_owned();
    let mut table = vec![
        (rsa_jwk("k"), json!({"alg": "RSA-OAEP-256"}), of_rsa.clone()),
        (rsa_jwk("k"), json!({"alg": "HS256"}), of_rsa.clone()),
        (rsa_jwk("k"), json!({"alg": "none"}), of_rsa.clone()),
        (rsa_jwk("k"), json!({"alg": "rs256"}), of_rsa),
        (oct(64), json!({"alg": "RS256"}), of_oct.clone()),
        (oct(64), json!({"alg": "A256KW"}), of_oct),
        (curve("P-521", 66), json!({"alg": "ES521"}), of_p521.clone()),
        (curve("P-521", 66), json!({"alg": "ES256"}), of_p521),
        (
            ed25519(),
            json!({"alg": "Ed448"}),
            "alg: must be EdDSA, or absent".into(),
        ),
        (
            oct(0),
            json!({}),
            "k: must be at least 32 bytes for HS256, and has 0".into(),
        ),
        (
            oct(31),
            json!({}),
            "k: must be at least 32 bytes for HS256, and has 31".into(),
        ),
        (
            oct(63),
            json!({"alg": "HS512"}),
            "k: must be at least 64 bytes for HS512, and has 63".into(),
        ),
        (oct(64), json!({"k": null}), "k: is missing".into()),
        (
            oct(64),
            json!({"k": "a b"}),
            "k: must be base64url without padding".into(),
        ),
        (
            oct(64),
            json!({"use": "enc"}),
            "use: must be `sig`, or absent".into(),
        ),
        (
            oct(64),
            json!({"key_ops": ["sign"]}),
            "key_ops: must be an array that contains `verify`, or absent".into(),
        ),
        (
            ed25519(),
            json!({"x": encode([1; 31])}),
            "x: must be 32 bytes".into(),
        ),
        (ed25519(), json!({"crv": null}), "crv: is missing".into()),
        (curve("P-521", 65), json!({}), "x: must be 66 bytes".into()),
        (
            curve("P-384", 48),
            json!({"y": encode([1; 32])}),
            "y: must be 48 bytes".into(),
        ),
    ];
    for name in ["X25519", "Ed448", "X448", "P-256", "ed25519"] {
        table.push((
            ed25519(),
            json!({"crv": name}),
            "crv: must be Ed25519".into(),
        ));
    }
    for name in ["secp256k1", "P-224", "P-512", "Ed25519"] {
        let expected = "crv: must be P-256, P-384 or P-521".into();
        table.push((ec_jwk("k"), json!({"crv": name}), expected));
    }
    let foreign = json!({"kty": "AKP", "alg": "ML-DSA-44", "pub": "AAAA"});
    table.push((
        foreign.clone(),
        json!({}),
        "kty: must be RSA, EC, OKP or oct".into(),
    ));
    for (jwk, member) in [
        (rsa_jwk("k"), "d"),
        (rsa_jwk("k"), "p"),
        (rsa_jwk("k"), "oth"),
        (ec_jwk("k"), "d"),
        (ed25519(), "d"),
        (merge(ed25519(), json!({"crv": "X25519"})), "d"),
        (merge(ec_jwk("k"), json!({"crv": "secp256k1"})), "d"),
        (foreign, "priv"),
    ] {
        table.push((jwk, json!({member: "AQAB"}), format!("{member}: {private}")));
    }
    for (jwk, changes, expected) in table {
        let jwk = merge(jwk, changes);
        assert_eq!(used_for(&jwk), expected, "{jwk}");
    }
}

#[test]
fn what_could_sign_is_secret() {
    let table = [
        (oct(32), true),
        (oct(3), true),
        (json!({"kty": "oct"}), true),
        (json!({"kty": "OCT", "k": "AAAA"}), true),
        (json!({"k": 1}), true),
        (json!({"d": "AQAB"}), true),
        (rsa_jwk("k"), false),
        (ec_jwk("k"), false),
        (ed25519(), false),
        (json!(["oct"]), false),
        (json!(null), false),
    ];
    for (jwk, expected) in table {
        assert_eq!(is_secret(&jwk.clone().into()), expected, "{jwk}");
    }
    let secret = json!({"kty": "oct", "k": encode("open sesame, if you please, would you?")});
    let printed = format!("{:?}", from_jwk(&secret).unwrap());
    for part in ["open", "111", &encode("open")[..5]] {
        assert!(!printed.contains(part), "{printed}");
    }
}

#[test]
fn an_algorithm_has_its_registered_name_and_no_other() {
    for algorithm in Algorithm::ALL {
        let name = algorithm.name();
        assert_eq!(Algorithm::from_name(name), Some(algorithm), "{name}");
        assert_eq!(Algorithm::from_name(&name.to_lowercase()), None, "{name}");
        assert_eq!(algorithm.to_string(), name);
    }
    assert_eq!(Algorithm::from_name("Ed25519"), Some(Algorithm::EdDsa));
    for name in [
        "",
        "none",
        "ES256K",
        "Ed448",
        "ESP256",
        "HS1",
        "RS1",
        "HS256 ",
        "ML-DSA-65",
    ] {
        assert_eq!(Algorithm::from_name(name), None, "{name}");
    }
}

#[test]
fn keys_become_subject_public_key_info() {
    let bytes = |member: &Value| URL_SAFE_NO_PAD.decode(member.as_str().unwrap()).unwrap();
    let point = |jwk: &Value| [bytes(&jwk["x"]), bytes(&jwk["y"])].concat();
    let (p256, p384, p521) = (ec_jwk("ec"), curve("P-384", 48), curve("P-521", 66));
    let rsa = rsa_jwk("rsa");
    let table = [
        // RFC 5480 §2: ecPublicKey on prime256v1, secp384r1 or secp521r1, and an uncompressed point.
        (
            "3059301306072a8648ce3d020106082a8648ce3d03010703420004",
            point(&p256),
            p256,
        ),
        (
            "3076301006072a8648ce3d020106052b8104002203620004",
            point(&p384),
            p384,
        ),
        (
            "30819b301006072a8648ce3d020106052b810400230381860004",
            point(&p521),
            p521,
        ),
        // RFC 3279 §2.3.1: rsaEncryption with NULL, and the modulus with a zero before its high bit.
        (
            "30820122300d06092a864886f70d01010105000382010f003082010a0282010100",
            [bytes(&rsa["n"]), from_hex("0203010001")].concat(),
            rsa,
        ),
        // RFC 8410 §4: no parameters.
        ("302a300506032b6570032100", vec![1; 32], ed25519()),
    ];
    for (prefix, rest, jwk) in table {
        let KeyMaterial::Public(public) = from_jwk(&jwk).unwrap().material else {
            panic!("{jwk} is public");
        };
        assert_eq!(
            public.spki_der(),
            [from_hex(prefix), rest].concat(),
            "{jwk}"
        );
    }
    let KeyMaterial::Secret(secret) = from_jwk(&oct(33)).unwrap().material else {
        panic!("it is secret");
    };
    assert_eq!(secret.expose(), [7; 33]);
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
            ecdsa_signature_to_der(Algorithm::Es256, &raw),
            expected.as_deref().map(from_hex),
            "{raw:?}"
        );
    }
}
