//! `berth token`: keys, and tokens that somebody else's JOSE library believes.

use std::{fs, os::unix::fs::PermissionsExt, path::Path};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{DecodingKey, Validation, decode, decode_header, jwk::JwkSet};
use p521::ecdsa::signature::Verifier;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{berth, new_key, printed};

#[test]
fn tokens_are_verified_by_the_key_set_made_with_their_key() {
    for algorithm in ["ES256", "RS256"] {
        let folder = TempDir::new().unwrap();
        let kid = new_key(folder.path(), algorithm);
        let kid = kid.strip_prefix("kid ").unwrap().trim_end();
        let set = fs::read(folder.path().join("jwks.json")).unwrap();
        let set: JwkSet = serde_json::from_slice(&set).unwrap();
        let jwk = set.find(kid).unwrap();
        let thumbprint = jwk.thumbprint(jsonwebtoken::jwk::ThumbprintHash::SHA256);
        assert_eq!(thumbprint.unwrap(), kid);
        let key = DecodingKey::from_jwk(jwk).unwrap();
        let mut rules = Validation::new(algorithm.parse().unwrap());
        rules.set_audience(&["berth"]);
        rules.set_issuer(&["https://dev.example"]);
        let claims = |token: &str| decode::<Value>(token, &key, &rules).map(|token| token.claims);

        let token = mint(
            folder.path(),
            &["--audience", "berth", "--claim", "tenant=acme"],
        );
        let header = decode_header(&token).unwrap();
        assert_eq!((header.kid, header.typ.as_deref()), (None, Some("JWT")));
        let found = claims(&token).unwrap();
        assert_eq!(found["sub"], "alice");
        assert_eq!(found["tenant"], "acme");
        let lifetime = found["exp"].as_u64().unwrap() - found["iat"].as_u64().unwrap();
        assert_eq!(lifetime, 600);

        let audiences = ["--audience", "other", "--audience", "berth"];
        let more = ["--kid", kid, "--typ", "at+jwt", "--lifetime", "1h"];
        let pools = ["--claim", r#"pools=["web"]"#];
        let token = mint(folder.path(), &[&audiences[..], &more, &pools].concat());
        let header = decode_header(&token).unwrap();
        assert_eq!(header.kid.as_deref(), Some(kid));
        assert_eq!(header.typ.as_deref(), Some("at+jwt"));
        let found = claims(&token).unwrap();
        assert_eq!(found["pools"], json!(["web"]));
        assert_eq!(found["aud"], json!(["other", "berth"]));

        let expired = mint(folder.path(), &["--audience", "berth", "--claim", "exp=1"]);
        assert!(claims(&expired).is_err());
    }
}

#[test]
fn every_algorithm_has_a_key_and_a_token() {
    for (algorithm, key_type) in [
        ("HS256", "oct"),
        ("HS384", "oct"),
        ("HS512", "oct"),
        ("RS256", "RSA"),
        ("RS384", "RSA"),
        ("RS512", "RSA"),
        ("PS256", "RSA"),
        ("PS384", "RSA"),
        ("PS512", "RSA"),
        ("ES256", "EC"),
        ("ES384", "EC"),
        ("ES512", "EC"),
        ("EdDSA", "OKP"),
    ] {
        let folder = TempDir::new().unwrap();
        let make = ["token", "--new-key", algorithm, "--kid", "mine"];
        let files = ["--key-out", "dev-key.pem", "--jwks-out", "jwks.json"];
        let said = printed(folder.path(), &[&make[..], &files].concat());
        let mode = |file| {
            fs::metadata(folder.path().join(file))
                .unwrap()
                .permissions()
                .mode()
        };
        let secret = key_type == "oct";
        let expected = if secret {
            "kid mine\njwks.json is as secret as dev-key.pem: whoever reads either can sign tokens\n"
        } else {
            "kid mine\n"
        };
        assert_eq!(said, expected, "{algorithm}");
        assert_eq!(mode("dev-key.pem") & 0o777, 0o600, "{algorithm}");
        let readable = if secret { 0o600 } else { 0o644 };
        assert_eq!(mode("jwks.json") & 0o777, readable, "{algorithm}");

        let set = fs::read(folder.path().join("jwks.json")).unwrap();
        let set: Value = serde_json::from_slice(&set).unwrap();
        let [jwk] = set["keys"].as_array().unwrap().as_slice() else {
            panic!("{set}");
        };
        let shown = ["kty", "alg", "kid", "use"].map(|member| jwk[member].as_str().unwrap());
        assert_eq!(shown, [key_type, algorithm, "mine", "sig"]);

        let token = mint(folder.path(), &["--algorithm", &algorithm.to_lowercase()]);
        let (message, signature) = token.rsplit_once('.').unwrap();
        assert!(
            is_signed(algorithm, jwk, message, signature),
            "{algorithm}: {token}"
        );
        let other = mint(
            folder.path(),
            &["--algorithm", algorithm, "--claim", "sub=bob"],
        );
        let (message, _) = other.rsplit_once('.').unwrap();
        assert!(
            !is_signed(algorithm, jwk, message, signature),
            "{algorithm}: {token}"
        );
        let header = URL_SAFE_NO_PAD
            .decode(token.split('.').next().unwrap())
            .unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header, json!({"alg": algorithm, "typ": "JWT"}));
    }
}

/// Names of keys and tokens are base64url as often as not.
#[test]
fn a_name_may_begin_with_a_dash() {
    let folder = tempfile::tempdir().unwrap();
    let key = [
        "--new-key",
        "ES256",
        "--key-out",
        "dev-key.pem",
        "--jwks-out",
        "jwks.json",
    ];
    printed(
        folder.path(),
        &[&["token", "--kid", "-b"], &key[..]].concat(),
    );
    let token = mint(folder.path(), &["--kid", "-b"]);
    let header = URL_SAFE_NO_PAD.decode(token.split('.').next().unwrap());
    let header: Value = serde_json::from_slice(&header.unwrap()).unwrap();
    assert_eq!(header["kid"], "-b");
}

fn is_signed(algorithm: &str, jwk: &Value, message: &str, signature: &str) -> bool {
    let Ok(known) = algorithm.parse() else {
        // The library knows no ES512.
        let decoded = |text: &str| URL_SAFE_NO_PAD.decode(text).unwrap();
        let coordinate = |member: &str| decoded(jwk[member].as_str().unwrap());
        let point = [vec![4], coordinate("x"), coordinate("y")].concat();
        let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(&point).unwrap();
        let signature = p521::ecdsa::Signature::from_slice(&decoded(signature)).unwrap();
        return key.verify(message.as_bytes(), &signature).is_ok();
    };
    let key = DecodingKey::from_jwk(&serde_json::from_value(jwk.clone()).unwrap()).unwrap();
    jsonwebtoken::crypto::verify(signature, message.as_bytes(), &key, known).unwrap()
}

fn mint(folder: &Path, more: &[&str]) -> String {
    let who = ["--issuer", "https://dev.example", "--subject", "alice"];
    let arguments = [&["token", "--key", "dev-key.pem"], &who[..], more].concat();
    printed(folder, &arguments).trim_end().to_owned()
}

#[test]
fn keys_are_private_and_never_replaced() {
    let folder = TempDir::new().unwrap();
    new_key(folder.path(), "ES256");
    let path = folder.path().join("dev-key.pem");
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let before = fs::read(&path).unwrap();
    for (key, jwks, named) in [
        ("dev-key.pem", "new.json", "dev-key.pem"),
        ("new.pem", "jwks.json", "jwks.json"),
    ] {
        let arguments = [
            "token",
            "--new-key",
            "ES256",
            "--key-out",
            key,
            "--jwks-out",
            jwks,
        ];
        let run = berth(folder.path(), &arguments);
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(
            run.stderr.starts_with(&format!("cannot write {named}: ")),
            "{run:?}"
        );
    }
    assert_eq!(fs::read(&path).unwrap(), before);
    let mut left: Vec<_> = fs::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    left.sort();
    assert_eq!(left, ["dev-key.pem", "jwks.json"]);
}

#[test]
fn keys_of_other_programs_can_sign() {
    // Made by OpenSSL 3: `genpkey -algorithm ed25519`, and `ecparam -genkey` as PKCS#8. They sign nothing else.
    let folder = TempDir::new().unwrap();
    let secret = |bytes: usize| json!({"kty": "oct", "k": URL_SAFE_NO_PAD.encode(vec![7; bytes])});
    let table = [
        (OPENSSL_ED25519.to_owned(), "EdDSA"),
        (OPENSSL_P256.to_owned(), "ES256"),
        (secret(32).to_string(), "HS256"),
    ];
    for (key, algorithm) in table {
        fs::write(folder.path().join("dev-key.pem"), key).unwrap();
        let header = mint(folder.path(), &[]);
        let header = URL_SAFE_NO_PAD
            .decode(header.split('.').next().unwrap())
            .unwrap();
        let header: Value = serde_json::from_slice(&header).unwrap();
        assert_eq!(header["alg"], algorithm);
    }
}

#[test]
fn a_key_that_cannot_sign_is_named() {
    let folder = TempDir::new().unwrap();
    new_key(folder.path(), "ES256");
    fs::write(folder.path().join("bytes"), [0xFF; 32]).unwrap();
    fs::write(folder.path().join("text"), "hunter2").unwrap();
    for (key, more, expected) in [
        ("gone.pem", &[][..], "cannot read gone.pem: "),
        ("jwks.json", &[], "jwks.json has no private key: "),
        ("bytes", &[], "bytes has no private key: "),
        (
            "text",
            &["--algorithm", "HS256"],
            "text has no private key: ",
        ),
        (
            "dev-key.pem",
            &["--algorithm", "RS256"],
            "the key in dev-key.pem cannot sign with RS256, only with ES256; ",
        ),
        (
            "dev-key.pem",
            &["--algorithm", "HS256"],
            "the key in dev-key.pem cannot sign with HS256, only with ES256; ",
        ),
    ] {
        let who = ["--issuer", "https://dev.example", "--subject", "alice"];
        let run = berth(
            folder.path(),
            &[&["token", "--key", key], &who[..], more].concat(),
        );
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stderr.starts_with(expected), "{run:?}");
    }
}

const OPENSSL_ED25519: &str = "\
-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIglzu7kj+6OdlQjeosafD95w9bbMkQ4vBRmpxPoIdPI
-----END PRIVATE KEY-----
";

const OPENSSL_P256: &str = "\
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg8yL1ZI9U8BbluGGY
VATXBXECxo5N4p/nM+sNA1TEqi6hRANCAARoKVvrG18FVOr6N+G6F+3I91CAhlcz
u6br3tyjmkej4l8yu65/MA9tEp8AFd2q9tLz1/59URBlM/nTAe3nDs+R
-----END PRIVATE KEY-----
";
