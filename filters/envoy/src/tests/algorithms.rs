use super::*;

/// The usual policy, with a key of each kind, under a name of its own.
fn with_keys() -> Value {
    let bytes = |length: usize| URL_SAFE_NO_PAD.encode(vec![0xc3; length]);
    let mut configuration = configuration();
    let curve = |name: &str, length| {
        let kid = format!("ES-{name}");
        json!({"kty": "EC", "kid": kid, "crv": name, "x": bytes(length), "y": bytes(length)})
    };
    configuration["admission"]["issuers"][0]["jwks"]["keys"] = json!([
        {"kty": "RSA", "kid": "RSA", "n": bytes(256), "e": "AQAB"},
        curve("P-256", 32),
        curve("P-384", 48),
        curve("P-521", 66),
        {"kty": "OKP", "kid": "OKP", "crv": "Ed25519", "x": bytes(32)},
    ]);
    configuration
}

/// The calls of the proxy's functions that a token of this algorithm leads to.
fn asked(algorithm: &str, key: &str, signature: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut proxy = Proxy::new(&with_keys());
    let bearer = format!("Bearer {}", signed(algorithm, key, signature));
    let headers = upgrade("/sign_in", &[("authorization", bearer.as_str())]);
    proxy.request(STREAM, "berth", headers);
    proxy.worker.host.with(|state| state.foreign_calls.clone())
}

#[test]
fn the_proxy_is_told_the_hash_and_given_the_signature_in_its_form() {
    for (algorithm, key, bytes, hash) in [
        ("RS256", "RSA", 256, "sha256"),
        ("RS384", "RSA", 256, "sha384"),
        ("RS512", "RSA", 256, "sha512"),
        ("ES256", "ES-P-256", 64, "sha256"),
        ("ES384", "ES-P-384", 96, "sha384"),
        ("ES512", "ES-P-521", 132, "sha512"),
    ] {
        let raw = vec![1; bytes];
        let calls = asked(algorithm, key, &raw);
        let [(name, arguments)] = calls.as_slice() else {
            panic!("{algorithm}: {calls:?}");
        };
        assert_eq!(name, "verify_signature");
        let expected = [&[0x0a, 6][..], hash.as_bytes(), &[0x12]].concat();
        assert!(arguments.starts_with(&expected), "{algorithm}");
        // An RSA signature as it is; of ECDSA two INTEGERs of half its length each.
        let half = u8::try_from(bytes / 2).unwrap();
        let integer = [&[0x02, half][..], &raw[..bytes / 2]].concat();
        let form = if key == "RSA" { raw } else { integer.repeat(2) };
        let found = arguments.windows(form.len()).any(|window| window == form);
        assert!(found, "{algorithm}: {arguments:02x?}");
    }
}

#[test]
fn a_signature_of_another_length_is_not_asked_about() {
    for (algorithm, key, bytes) in [("ES256", "ES-P-256", 96), ("ES512", "ES-P-521", 131)] {
        assert_eq!(asked(algorithm, key, &vec![1; bytes]), [], "{algorithm}");
    }
}

#[test]
fn the_proxy_is_not_asked_about_what_it_cannot_compute() {
    for (algorithm, key) in [
        ("PS256", "RSA"),
        ("PS384", "RSA"),
        ("PS512", "RSA"),
        ("EdDSA", "OKP"),
        ("Ed25519", "OKP"),
        // Nor with a key that is for something else.
        ("HS256", "RSA"),
        ("ES384", "ES-P-256"),
        ("RS256", "ES-P-256"),
    ] {
        assert_eq!(asked(algorithm, key, &[1; 256]), [], "{algorithm}");
    }
}
