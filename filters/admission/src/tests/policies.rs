//! What a policy may say, and what is wrong with one that may not.

use serde_json::{Value, json};

use super::support::{ec_jwk, encode, merge, policy_config, rsa_jwk};
use crate::{DefaultPools, Family, Policy, PolicyConfig};

fn compile(config: Value) -> Result<Policy, String> {
    let config: PolicyConfig = serde_json::from_value(config).map_err(|error| error.to_string())?;
    Policy::compile(config).map_err(|error| error.to_string())
}

/// The policy with one key set.
fn with_keys(keys: Value) -> Value {
    let mut config = policy_config();
    config["issuers"][0]["jwks"] = json!({ "keys": keys });
    config
}

#[test]
fn a_policy_that_makes_no_sense_is_refused_by_its_field() {
    let pools = "pools[1].name: `web-a` is there already";
    let shape = "is not 1 to 63 of a-z, 0-9 and -";
    let key_set =
        "issuers[0].jwks: must be a JWK Set: an object with an array `keys` (RFC 7517 §5)";
    let table = [
        (
            "/issuers",
            json!([]),
            "issuers: must not be empty unless there are `api_keys` or `client_certificates`"
                .into(),
        ),
        (
            "/issuers/0/issuer",
            json!(""),
            "issuers[0].issuer: must not be empty".into(),
        ),
        (
            "/issuers/0/audiences",
            json!(["a", ""]),
            "issuers[0].audiences[1]: must not be empty".into(),
        ),
        ("/issuers/0/jwks", json!({}), key_set.into()),
        ("/issuers/0/jwks", json!(null), key_set.into()),
        ("/issuers/0/jwks", json!({"keys": {}}), key_set.into()),
        ("/pools", json!([]), "pools: must not be empty".into()),
        ("/pools/1/name", json!("web-a"), pools.into()),
        (
            "/pools/0/name",
            json!(""),
            format!("pools[0].name: `` {shape}"),
        ),
        (
            "/pools/0/name",
            json!("Web"),
            format!("pools[0].name: `Web` {shape}"),
        ),
        (
            "/pools/0/name",
            json!("a/b"),
            format!("pools[0].name: `a/b` {shape}"),
        ),
        (
            "/pools/2/name",
            json!("n".repeat(64)),
            format!("pools[2].name: `{}` {shape}", "n".repeat(64)),
        ),
        (
            "/default_pools/web",
            json!("native"),
            "default_pools.web: `native` is not the name of a pool of the family `web`".into(),
        ),
        (
            "/default_pools/native",
            json!("nobody"),
            "default_pools.native: `nobody` is not the name of a pool of the family `native`"
                .into(),
        ),
        (
            "/pools_claim",
            json!(""),
            "pools_claim: must not be empty".into(),
        ),
        (
            "/tenant_claim",
            json!(""),
            "tenant_claim: must not be empty".into(),
        ),
        (
            "/priority_claim",
            json!(""),
            "priority_claim: must not be empty".into(),
        ),
        (
            "/issuers/0/clock_skew_seconds",
            json!(3601),
            "issuers[0].clock_skew_seconds: must be at most 3600 seconds".into(),
        ),
    ];
    for (field, value, expected) in table {
        let mut config = policy_config();
        let (parent, member) = field.rsplit_once('/').unwrap();
        match (config.pointer_mut(parent).unwrap(), member.parse::<usize>()) {
            (Value::Array(items), Ok(index)) => items[index] = value,
            (object, _) => object[member] = value,
        }
        assert_eq!(compile(config).unwrap_err(), expected, "{field}");
    }
}

#[test]
fn a_part_that_makes_no_sense_is_refused_by_its_field() {
    let header = "must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the \
                  handshake or Berth reads";
    let parameter = "must be 1 to 64 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`, and not \
                     `berth_resume_key`";
    let token = "must be 1 to 64 of the characters of a token (RFC 9110 §5.6.2)";
    let origins = json!(["https://app.example"]);
    let key = |changes: Value| {
        let key = json!({"subject": "a", "sha256": "0".repeat(64)});
        json!({"api_keys": [merge(key, changes)]})
    };
    let mut table = vec![
        (json!({"carriers": [{"query": "a b"}]}), format!("carriers[0]: {parameter}")),
        (
            json!({"carriers": ["authorization", {"query": "berth_resume_key"}]}),
            format!("carriers[1]: {parameter}"),
        ),
        (
            json!({"carriers": [{"cookie": "a"}]}),
            "carriers[0]: needs `origins`: a browser sends its cookies whichever web page asks".into(),
        ),
        (json!({"carriers": [{"cookie": "a=b"}], "origins": origins}), format!("carriers[0]: {token}")),
        (json!({"carriers": [{"subprotocol": "a,b"}]}), format!("carriers[0]: {token}")),
        (json!({"carriers": [{"subprotocol_base64url": ""}]}), format!("carriers[0]: {token}")),
        (
            json!({"carriers": ["authorization", "authorization"]}),
            "carriers[1]: is there already".into(),
        ),
        (
            json!({"client_certificates": [{"name": "subject", "matches": {"exact": "a"}}]}),
            "client_certificates[0]: needs `origins`: a browser shows its certificate whichever web \
             page asks"
                .into(),
        ),
        (key(json!({"sha256": "0".repeat(63)})), "api_keys[0].sha256: must be the SHA-256 of the key: 64 hexadecimal digits".into()),
        (key(json!({"sha256": "g".repeat(64)})), "api_keys[0].sha256: must be the SHA-256 of the key: 64 hexadecimal digits".into()),
        (key(json!({"subject": ""})), "api_keys[0].subject: must not be empty".into()),
        (key(json!({"tenant": "a\nb"})), "api_keys[0].tenant: must be at most 256 bytes without control characters".into()),
        (key(json!({"priority": 10})), "api_keys[0].priority: must be from 0 to 9".into()),
        (key(json!({"pools": ["web-a", "x"]})), "api_keys[0].pools[1]: `x` is not the name of a pool".into()),
        (json!({"pool_from": ["path", {"header": "host"}]}), format!("pool_from[1]: {header}")),
        (json!({"pool_from": [{"claim": ""}]}), "pool_from[0]: must not be empty".into()),
        (json!({"attempts": {"burst": 1, "per_minute": 0}}), "attempts.per_minute: must be at least 1 where there is a `burst`".into()),
        (json!({"tags": {"claims": vec!["a"; 17]}}), "tags.claims: must have at most 16 entries".into()),
    ];
    for name in [
        "X-User",
        "x_user",
        "",
        "authorization",
        "berth-resume-key",
        "cookie",
        "connection",
        "content-length",
        "expect",
        "host",
        "keep-alive",
        "origin",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "via",
        "sec-websocket-key",
        "access-control-allow-origin",
        "x-berth-user",
        "x-envoy-original-path",
    ] {
        let tags = json!({"tags": {"headers": [{"name": name, "value": "subject"}]}});
        table.push((tags, format!("tags.headers[0].name: {header}")));
        let carriers = json!({"carriers": [{"header": {"name": name}}]});
        table.push((carriers, format!("carriers[0]: {header}")));
    }
    for origin in [
        "",
        "*",
        "null",
        "app.example",
        "https://",
        "https://*.",
        "https://*",
        "https://app.example/",
        "https://app.example:443",
        "http://app.example:80",
        "https://App.example",
        "https://a*.example",
        "https://*.*.example",
        "https://u@app.example",
        "wss://app.example",
    ] {
        let expected = format!(
            "origins[0]: `{origin}` is not an origin: `https://app.example.com` or \
             `https://*.example.com`, lower case, without a path and without the scheme's own port"
        );
        table.push((json!({"origins": [origin]}), expected));
    }
    for (changes, expected) in table {
        let error = compile(merge(policy_config(), changes.clone())).unwrap_err();
        assert_eq!(error, expected, "{changes}");
    }
    for issuer in ["api_key", "client_certificate"] {
        let mut config = policy_config();
        config["issuers"][0]["issuer"] = json!(issuer);
        let expected = format!(
            "issuers[0].issuer: `{issuer}` is what those have for an issuer who come without a token"
        );
        assert_eq!(compile(config).unwrap_err(), expected);
    }
    let mut config = policy_config();
    config["pools"][1]["allow"] = json!([{"issuer": "a"}, {}]);
    assert_eq!(
        compile(config).unwrap_err(),
        "pools[1].allow[1]: must not be empty"
    );
}

#[test]
fn a_label_that_nobody_could_ask_for_is_refused() {
    let name = "is not 1 to 63 of a-z, 0-9, `-`, `.` and `_`";
    let parameter = "query_parameter: must be 1 to 64 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`, \
                     and not `berth_resume_key`";
    let header = "header: must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header \
                  that the handshake or Berth reads";
    let mut table = vec![
        (
            json!({}),
            "labels[1]: needs a `query_parameter`, a `header` or both".to_owned(),
        ),
        (
            json!({"label": "region", "header": "h"}),
            "labels[1].label: `region` is there already".into(),
        ),
        (
            json!({"query_parameter": "r"}),
            "labels[1].query_parameter: `r` is there already".into(),
        ),
        (
            json!({"query_parameter": "token"}),
            "labels[1].query_parameter: `token` is there already".into(),
        ),
        (
            json!({"header": "x-region"}),
            "labels[1].header: `x-region` is there already".into(),
        ),
    ];
    for label in ["", "Gpu", "g pu", &"g".repeat(64)] {
        let expected = format!("labels[1].label: `{label}` {name}");
        table.push((json!({"label": label, "header": "h"}), expected));
    }
    for taken in ["", "a b", "berth_resume_key"] {
        let expected = format!("labels[1].{parameter}");
        table.push((json!({"query_parameter": taken}), expected));
    }
    for taken in [
        "",
        "X-Gpu",
        "x_gpu",
        ":path",
        "x-berth-gpu",
        "sec-websocket-key",
        "authorization",
        "berth-resume-key",
        "cookie",
        "connection",
        "host",
        "upgrade",
    ] {
        table.push((json!({"header": taken}), format!("labels[1].{header}")));
    }
    for (label, expected) in table {
        let label = merge(json!({"label": "gpu"}), label);
        let mut config = policy_config();
        config["labels"] =
            json!([{"label": "region", "query_parameter": "r", "header": "x-region"}, label]);
        assert_eq!(compile(config).unwrap_err(), expected, "{label}");
    }
    let labels = |count: usize| {
        let labels =
            (0..count).map(|n| json!({"label": format!("l{n}"), "header": format!("h{n}")}));
        merge(
            policy_config(),
            json!({"labels": labels.collect::<Vec<_>>()}),
        )
    };
    assert!(compile(labels(16)).is_ok());
    let error = compile(labels(17)).unwrap_err();
    assert_eq!(error, "labels: must have at most 16 entries");
}

#[test]
fn two_issuers_of_one_name_are_refused() {
    let mut config = policy_config();
    let issuer = config["issuers"][0].clone();
    config["issuers"].as_array_mut().unwrap().push(issuer);
    let expected = "issuers[1].issuer: `https://issuer.example` is there already";
    assert_eq!(compile(config).unwrap_err(), expected);
}

#[test]
fn a_key_that_cannot_be_used_is_named_with_its_member() {
    // A modulus of so many bits, odd.
    let modulus = |bits: usize| {
        let mut bytes = vec![0; bits.div_ceil(8)];
        bytes[0] = 1 << ((bits - 1) % 8);
        *bytes.last_mut().unwrap() |= 1;
        json!(encode(bytes))
    };
    let even = json!(encode([&[0xFF; 255][..], &[0xFE]].concat()));
    let size = "must be an odd number of 2048 to 8192 bits, and has";
    let exponent = "e: must be odd, at least 3 and below 2^32";
    let rsa_algorithm = "alg: must be RS256, RS384, RS512, PS256, PS384 or PS512, or absent";
    let ec_algorithm = "alg: must be ES256, or absent";
    let operations = "key_ops: must be an array that contains `verify`, or absent";
    let (rsa, ec) = (rsa_jwk("rsa"), ec_jwk("ec"));
    let table = [
        (
            &rsa,
            json!({"kty": "AKP"}),
            "kty: must be RSA, EC, OKP or oct".to_owned(),
        ),
        (&rsa, json!({"kty": null}), "kty: is missing".into()),
        (&rsa, json!({"kty": 1}), "kty: must be a string".into()),
        (&rsa, json!({"n": null}), "n: is missing".into()),
        (
            &rsa,
            json!({"n": "AA=="}),
            "n: must be base64url without padding".into(),
        ),
        (
            &rsa,
            json!({"n": "+/+/"}),
            "n: must be base64url without padding".into(),
        ),
        (&rsa, json!({"n": ""}), format!("n: {size} 0 bits")),
        (
            &rsa,
            json!({"n": modulus(1024)}),
            format!("n: {size} 1024 bits"),
        ),
        (
            &rsa,
            json!({"n": modulus(2047)}),
            format!("n: {size} 2047 bits"),
        ),
        (
            &rsa,
            json!({"n": modulus(8193)}),
            format!("n: {size} 8193 bits"),
        ),
        (&rsa, json!({"n": even}), format!("n: {size} 2048 bits")),
        (&rsa, json!({"e": null}), "e: is missing".into()),
        (&rsa, json!({"e": ""}), exponent.into()),
        (&rsa, json!({"e": encode([1])}), exponent.into()),
        (&rsa, json!({"e": encode([1, 0, 0])}), exponent.into()),
        (&rsa, json!({"e": encode([1, 0, 0, 0, 1])}), exponent.into()),
        (&rsa, json!({"alg": "ES256"}), rsa_algorithm.into()),
        (&rsa, json!({"alg": "RSA-OAEP"}), rsa_algorithm.into()),
        (&rsa, json!({"alg": "HS256"}), rsa_algorithm.into()),
        (
            &rsa,
            json!({"use": "enc"}),
            "use: must be `sig`, or absent".into(),
        ),
        (
            &rsa,
            json!({"use": ["sig"]}),
            "use: must be a string".into(),
        ),
        (&rsa, json!({"key_ops": ["sign"]}), operations.into()),
        (&rsa, json!({"key_ops": []}), operations.into()),
        (&rsa, json!({"key_ops": "verify"}), operations.into()),
        (&rsa, json!({"kid": 7}), "kid: must be a string".into()),
        (&ec, json!({"crv": "P-384"}), "x: must be 48 bytes".into()),
        (
            &ec,
            json!({"crv": "secp256k1"}),
            "crv: must be P-256, P-384 or P-521".into(),
        ),
        (&ec, json!({"crv": null}), "crv: is missing".into()),
        (
            &ec,
            json!({"x": encode([1; 31])}),
            "x: must be 32 bytes".into(),
        ),
        (
            &ec,
            json!({"y": encode([1; 33])}),
            "y: must be 32 bytes".into(),
        ),
        (&ec, json!({"y": null}), "y: is missing".into()),
        (&ec, json!({"alg": "RS256"}), ec_algorithm.into()),
        (
            &ec,
            json!({"d": encode([1; 32])}),
            "d: is the private half of the key: replace the key, and give only its public half"
                .into(),
        ),
    ];
    for (jwk, changes, expected) in table {
        let error = compile(with_keys(json!([merge(jwk.clone(), changes.clone())]))).unwrap_err();
        assert_eq!(
            error,
            format!("issuers[0].jwks.keys[0].{expected}"),
            "{changes}"
        );
    }
    let error = compile(with_keys(json!([17]))).unwrap_err();
    assert_eq!(error, "issuers[0].jwks.keys[0]: must be an object");
}

#[test]
fn keys_of_every_shape_that_fits_are_used() {
    let (rsa, ec) = (rsa_jwk("rsa"), ec_jwk("ec"));
    let table = [
        (
            &rsa,
            json!({"alg": "RS256", "use": "sig", "key_ops": ["sign", "verify"]}),
        ),
        (&rsa, json!({"kid": null, "x5c": 3, "unheard-of": {}})),
        (&rsa, json!({"e": encode([3])})),
        (&rsa, json!({"e": encode([0, 0, 0, 0, 0, 0, 1, 0, 1])})),
        (
            &rsa,
            json!({"n": encode([&[0xFF; 1023][..], &[0xFF]].concat())}),
        ),
        (&ec, json!({"alg": "ES256", "use": "sig"})),
        (&ec, json!({"x": encode([0; 32])})),
    ];
    for (jwk, changes) in table {
        let policy = compile(with_keys(json!([merge(jwk.clone(), changes.clone())])));
        assert!(policy.unwrap().ignored_keys().is_empty(), "{changes}");
    }
}

#[test]
fn a_set_may_hold_keys_that_are_not_for_us() {
    let keys = json!([{"kty": "AKP"}, {"kty": "RSA"}, ec_jwk("ec"), []]);
    let policy = compile(with_keys(keys)).unwrap();
    let ignored: Vec<_> = policy
        .ignored_keys()
        .iter()
        .map(ToString::to_string)
        .collect();
    let expected = [
        "issuers[0].jwks.keys[0].kty: must be RSA, EC, OKP or oct",
        "issuers[0].jwks.keys[1].n: is missing",
        "issuers[0].jwks.keys[3]: must be an object",
    ];
    assert_eq!(ignored, expected);
}

#[test]
fn a_set_without_a_usable_key_is_refused_by_the_key_that_nearly_was_one() {
    let table = [
        (
            json!([{"kty": "AKP"}, {"kty": "EC"}]),
            "issuers[0].jwks.keys[1].crv: is missing",
        ),
        (
            json!([{"kty": "AKP"}, {"kty": "BRL"}]),
            "issuers[0].jwks.keys[0].kty: must be RSA, EC, OKP or oct",
        ),
    ];
    for (keys, expected) in table {
        assert_eq!(compile(with_keys(keys)).unwrap_err(), expected);
    }
}

#[test]
fn a_private_key_is_refused_even_beside_a_usable_one() {
    let private = merge(rsa_jwk("rsa"), json!({"d": "AQAB"}));
    let error = compile(with_keys(json!([ec_jwk("ec"), private]))).unwrap_err();
    assert!(
        error.starts_with("issuers[0].jwks.keys[1].d: is the private half"),
        "{error}"
    );
}

#[test]
fn what_is_left_out_has_its_default() {
    let config: PolicyConfig = serde_json::from_value(json!({
        "issuers": [{"issuer": "i", "jwks": {"keys": [ec_jwk("ec")]}}],
        "pools": [{"name": "p", "family": "native"}],
    }))
    .unwrap();
    assert_eq!(config.carriers, []);
    assert_eq!(config.default_pools, DefaultPools::default());
    assert_eq!(
        (config.pools_claim.as_ref(), config.tenant_claim.as_ref()),
        (None, None)
    );
    let issuer = &config.issuers[0];
    assert_eq!((issuer.audiences.len(), issuer.clock_skew_seconds), (0, 60));
    assert!(Policy::compile(config).is_ok());
}

#[test]
fn what_is_written_is_what_is_read() {
    let full = merge(
        policy_config(),
        json!({
            "pools_claim": "pools", "priority_claim": "p",
            "labels": [{"label": "gpu", "header": "x-gpu"}],
        }),
    );
    for config in [full, with_keys(json!([ec_jwk("ec")]))] {
        let config: PolicyConfig = serde_json::from_value(config).unwrap();
        let written = serde_json::to_string(&config).unwrap();
        assert_eq!(
            serde_json::from_str::<PolicyConfig>(&written).unwrap(),
            config
        );
    }
}

#[test]
fn a_member_nobody_knows_is_refused() {
    for parent in ["", "/issuers/0", "/pools/0", "/default_pools", "/labels/0"] {
        let mut config = policy_config();
        config["labels"] = json!([{"label": "gpu", "header": "x-gpu"}]);
        config.pointer_mut(parent).unwrap()["surprise"] = json!(1);
        let error = compile(config).unwrap_err();
        assert!(
            error.starts_with("unknown field `surprise`"),
            "{parent}: {error}"
        );
    }
}

#[test]
fn families_have_names() {
    for family in [Family::Native, Family::Web] {
        assert_eq!(family.to_string().parse(), Ok(family));
        assert_eq!(
            serde_json::to_value(family).unwrap(),
            json!(family.as_str())
        );
    }
    assert_eq!(
        "Web".parse::<Family>().unwrap_err().to_string(),
        "a client family is `native` or `web`"
    );
}
