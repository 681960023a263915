use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::PolicyConfig;
use crate::tests::support::{merge, policy_config};

/// A value without duplicates, for the tree that serde_json makes holds none.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    leaf.prop_recursive(5, 40, 6, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..6).prop_map(Value::from),
            btree_map("[a-c\"é]{0,2}", inner, 0..6)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Bytes that are often nearly JSON.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..40),
        "[\\[\\]{}:,\"0-9eE.+\\\\a-c -]{0,24}".prop_map(String::into_bytes),
        (value(), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(value, index, byte)| {
            let mut text = value.to_string().into_bytes();
            let index = index.index(text.len());
            text[index] = byte;
            text
        }),
    ]
}

proptest! {
    #[test]
    fn what_serde_json_reads_is_read_alike(value in value()) {
        let json = Json::parse(value.to_string().as_bytes()).unwrap();
        let theirs: Value = serde_json::from_str(&value.to_string()).unwrap();
        prop_assert_eq!(Value::from(json.clone()), theirs.clone());
        prop_assert_eq!(Json::from(theirs.clone()), json.clone());
        prop_assert_eq!(serde_json::to_value(&json).unwrap(), theirs.clone());
        prop_assert_eq!(serde_json::from_value::<Json>(theirs).unwrap(), json);
    }

    #[test]
    fn what_serde_json_refuses_is_refused(text in text()) {
        match (Json::parse(&text), serde_json::from_slice::<Value>(&text)) {
            (Ok(json), Ok(theirs)) => prop_assert_eq!(Value::from(json), theirs),
            (Err(ours), Err(theirs)) => prop_assert_eq!(ours.to_string(), theirs.to_string()),
            (Err(ours), Ok(_)) => {
                prop_assert!(ours.to_string().starts_with("a member comes twice"), "{}", ours);
            }
            (Ok(json), Err(theirs)) => prop_assert!(false, "{:?}: {}", json, theirs),
        }
    }

    #[test]
    fn a_configuration_is_read_as_serde_json_reads_it(field in field(), value in value()) {
        let mut config = full();
        *config.pointer_mut(field).unwrap() = value;
        let ours = PolicyConfig::read(&Json::from(config.clone()));
        let theirs = serde_json::from_value::<PolicyConfig>(config.clone());
        match (ours, theirs) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Err(_), Err(_)) => {}
            // A struct as an array of its fields, which nobody means.
            (Err(ours), Ok(_)) => {
                let array = ours.to_string().ends_with("must be an object");
                prop_assert!(array, "{}: {}", config, ours);
            }
            (Ok(_), Err(theirs)) => prop_assert!(false, "{}: {}", config, theirs),
        }
    }
}

/// A policy with something in each field.
fn full() -> Value {
    let claim = json!({"claim": "c", "matches": {"suffix": "s"}});
    let mut base = policy_config();
    let issuer = base.pointer_mut("/issuers/0").unwrap();
    *issuer = merge(
        issuer.clone(),
        json!({
            "clock_skew_seconds": 5, "types": ["JWT"], "subjects": [{"exact": "s"}],
            "required_claims": [claim], "max_lifetime_seconds": 6, "close_when_expired": true,
        }),
    );
    base["pools"][0] = json!({
        "name": "web-a", "family": "web", "audiences": ["a"],
        "allow": [{"issuer": "i", "subject": {"exact": "s"}, "tenant": {"prefix": "t"}, "claims": [claim]}],
    });
    merge(
        base,
        json!({
            "pools_claim": "p", "priority_claim": "u",
            "api_keys": [
                {"subject": "s", "sha256": "00", "tenant": "t", "priority": 9, "pools": ["web-a"]},
            ],
            "client_certificates": [
                {"name": "uri_san", "matches": {"prefix": "s"}, "tenant": "t", "pools": ["web-a"]},
                {"name": "dns_san", "matches": {"prefix": "d"}},
                {"name": "subject", "matches": {"prefix": "d"}},
            ],
            "carriers": [
                "authorization", {"header": {"name": "x-token", "prefix": "p"}}, {"query": "token"},
                {"cookie": "c"}, {"subprotocol": "s"}, {"subprotocol_base64url": "b"},
            ],
            "pool_from": ["path", {"claim": "pool"}, {"header": "x-pool"}],
            "labels": [{"label": "gpu", "header": "x-gpu", "query_parameter": "gpu"}],
            "origins": ["https://app.example"],
            "tags": {"claims": ["c"], "headers": [
                {"name": "x-c", "value": {"claim": "c"}}, {"name": "x-s", "value": "session"},
                {"name": "x-i", "value": "issuer"}, {"name": "x-u", "value": "subject"},
                {"name": "x-t", "value": "tenant"}, {"name": "x-p", "value": "pool"},
            ]},
            "attempts": {"burst": 1, "per_minute": 2},
            "token_cache": {"entries": 3, "seconds": 4},
        }),
    )
}

fn field() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "",
        "/issuers",
        "/issuers/0",
        "/issuers/0/issuer",
        "/issuers/0/audiences",
        "/issuers/0/audiences/1",
        "/issuers/0/jwks",
        "/pools/2",
        "/pools/0/family",
        "/default_pools",
        "/default_pools/web",
        "/tenant_claim",
        "/api_keys/0/priority",
        "/client_certificates/0/matches",
        "/client_certificates/0/matches/prefix",
        "/carriers/0",
        "/carriers/1/header",
        "/pool_from/1",
        "/origins",
        "/tags/headers/0/value",
        "/issuers/0/types",
        "/issuers/0/subjects/0",
        "/issuers/0/required_claims/0/matches",
        "/issuers/0/max_lifetime_seconds",
        "/issuers/0/clock_skew_seconds",
        "/issuers/0/close_when_expired",
        "/pools/0/allow/0",
        "/pools/0/allow/0/tenant",
        "/pools/0/audiences",
        "/labels/0",
        "/labels/0/header",
        "/client_certificates/0/name",
        "/tags",
        "/attempts",
        "/attempts/burst",
        "/token_cache/entries",
    ])
}

#[test]
fn the_full_configuration_is_read() {
    let config = PolicyConfig::read(&Json::from(full())).unwrap();
    assert_eq!(config, serde_json::from_value(full()).unwrap());
    // There is something in each, and it is what was written.
    let written = serde_json::to_value(&config).unwrap();
    assert_eq!(
        written,
        merge(full(), json!({"default_pools": {"web": "web-a"}}))
    );
}

#[test]
fn no_object_has_a_member_twice_or_too_many() {
    let members = |count: usize| {
        let members: Vec<String> = (0..count).map(|name| format!("\"{name}\":0")).collect();
        format!("{{{}}}", members.join(","))
    };
    let nested = |levels: usize| "[".repeat(levels) + &"]".repeat(levels);
    let twice = Some("a member comes twice");
    for (text, error) in [
        (r#"{"a":1,"a":1}"#.to_owned(), twice),
        (r#"{"a":1,"b":2,"\u0061":3}"#.to_owned(), twice),
        (r#"[{"x":{"y":[{"a":{},"a":{}}]}}]"#.to_owned(), twice),
        (r#"{"a":{"a":{}},"A":1,"":2}"#.to_owned(), None),
        (members(MAX_MEMBERS), None),
        (
            members(MAX_MEMBERS + 1),
            Some("an object has too many members"),
        ),
        (nested(127), None),
        (nested(128), Some("recursion limit exceeded")),
        ("1e999".to_owned(), Some("number out of range")),
        ("1 2".to_owned(), Some("trailing characters")),
    ] {
        match (Json::parse(text.as_bytes()), error) {
            (Ok(_), None) => {}
            (Err(said), Some(error)) => assert!(said.to_string().starts_with(error), "{said}"),
            (result, _) => panic!("{text}: {result:?}"),
        }
    }
}

#[test]
fn a_number_is_of_one_kind() {
    for (text, expected) in [
        ("0", Json::Unsigned(0)),
        ("18446744073709551615", Json::Unsigned(u64::MAX)),
        ("18446744073709551616", Json::Float(18446744073709551616.0)),
        ("-1", Json::Negative(-1)),
        ("-9223372036854775808", Json::Negative(i64::MIN)),
        ("1.0", Json::Float(1.0)),
        ("1e2", Json::Float(100.0)),
    ] {
        assert_eq!(Json::parse(text.as_bytes()).unwrap(), expected, "{text}");
    }
}

#[test]
fn an_error_names_the_field() {
    for (field, value, expected) in [
        ("", json!([]), "must be an object"),
        ("", json!({}), "pools: is missing"),
        ("/issuers", json!({}), "issuers: must be an array"),
        (
            "/issuers/0",
            json!({"issuer": "i"}),
            "issuers[0].jwks: is missing",
        ),
        (
            "/issuers/0/audiences/1",
            json!(7),
            "issuers[0].audiences[1]: must be a string",
        ),
        (
            "/issuers/0/close_when_expired",
            json!("yes"),
            "issuers[0].close_when_expired: must be true or false",
        ),
        (
            "/pools/1/family",
            json!("vr"),
            "pools[1].family: must be native or web",
        ),
        (
            "/pools/1/family",
            json!(1),
            "pools[1].family: must be native or web",
        ),
        (
            "/api_keys/0/priority",
            json!(256),
            "api_keys[0].priority: must be at most 255",
        ),
        (
            "/attempts/burst",
            json!(1_u64 << 32),
            "attempts.burst: must be at most 4294967295",
        ),
        (
            "/attempts/burst",
            json!(1.0),
            "attempts.burst: must be a whole number, not below 0",
        ),
        (
            "/carriers/1/header/name",
            json!(null),
            "carriers[1].header.name: must be a string",
        ),
        ("/carriers/2", json!("query"), CARRIER),
        ("/carriers/2", json!({"query": "a", "cookie": "b"}), CARRIER),
        (
            "/carriers/0",
            json!({"authorization": 1}),
            "carriers[0]: must be authorization, or an object with header, query, cookie, subprotocol or subprotocol_base64url",
        ),
        (
            "/default_pools",
            json!({"Web": "a"}),
            "default_pools.Web: is not known",
        ),
    ] {
        let mut config = full();
        *config.pointer_mut(field).unwrap() = value;
        let error = PolicyConfig::read(&Json::from(config)).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }
}

const CARRIER: &str = "carriers[2]: must be authorization, or an object with header, query, cookie, subprotocol or subprotocol_base64url";
