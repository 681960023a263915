//! Which pool, and who may use it.

use serde_json::{Value, json};

use super::support::{Always, Sent, claims, ec_jwk, label, policy_config, policy_with, unsigned};
use crate::Policy;

fn token(changes: Value) -> String {
    unsigned(r#"{"alg":"ES256"}"#, &claims(changes))
}

/// The pool, or why not.
fn pool(policy: &Policy, sent: &Sent) -> String {
    match sent.meets(policy, &Always::yes()) {
        Ok(admission) => admission.pool,
        Err(reason) => reason.label().to_owned(),
    }
}

#[test]
fn a_pool_has_audiences_beside_the_issuers() {
    let mut config = policy_config();
    config["issuers"][0]["audiences"] = json!(["berth", "berth-a"]);
    config["pools"] = json!([
        {"name": "web-a", "family": "web", "audiences": ["berth-a", "lab"]},
        {"name": "web-b", "family": "web"},
    ]);
    let strict = policy_with(config.clone());
    config["issuers"][0]["audiences"] = json!([]);
    let loose = policy_with(config);
    // aud, then the answers at web-a and web-b if the issuer asks for audiences, and if it does not
    for (aud, expected) in [
        (
            json!("berth"),
            ["wrong_audience", "web-b", "wrong_audience", "web-b"],
        ),
        (json!("berth-a"), ["web-a", "web-b", "web-a", "web-b"]),
        (
            json!("lab"),
            ["wrong_audience", "wrong_audience", "web-a", "web-b"],
        ),
        (
            json!(["lab", "berth"]),
            ["web-a", "web-b", "web-a", "web-b"],
        ),
        (
            json!("web-a"),
            [
                "wrong_audience",
                "wrong_audience",
                "wrong_audience",
                "web-b",
            ],
        ),
        (
            Value::Null,
            [
                "wrong_audience",
                "wrong_audience",
                "wrong_audience",
                "web-b",
            ],
        ),
        (
            json!(7),
            [
                "malformed_token",
                "malformed_token",
                "malformed_token",
                "web-b",
            ],
        ),
    ] {
        let paths = ["/web-a/sign_in", "/web-b/sign_in"];
        let both = [&strict, &loose].map(|policy| paths.map(|path| (policy, path)));
        for ((policy, path), expected) in both.concat().into_iter().zip(expected) {
            let sent = Sent::to(path).bearer(token(json!({"aud": aud.clone()})));
            assert_eq!(pool(policy, &sent), expected, "{aud} {path}");
        }
    }
}

#[test]
fn a_pool_is_for_whoever_one_of_its_rules_fits() {
    let mut config = policy_config();
    let other = json!({"issuer": "https://other.example", "jwks": {"keys": [ec_jwk("other")]}});
    config["issuers"].as_array_mut().unwrap().push(other);
    config["pools"] = json!([
        {"name": "web-a", "family": "web", "allow": [
            {"tenant": {"exact": "acme"}},
            {"issuer": "https://other.example", "subject": {"prefix": "admin-"}},
            {"claims": [
                {"claim": "groups", "matches": {"exact": "vr"}},
                {"claim": "realm.level", "matches": {"exact": "5"}},
            ]},
        ]},
        {"name": "web-b", "family": "web"},
    ]);
    let policy = policy_with(config);
    let other = "https://other.example";
    for (says, expected) in [
        (json!({}), "pool_forbidden"),
        (json!({"tenant": "acme"}), "web-a"),
        (json!({"tenant": "Acme"}), "pool_forbidden"),
        (json!({"tenant": "acme2"}), "pool_forbidden"),
        (json!({"iss": other}), "pool_forbidden"),
        (json!({"iss": other, "sub": "admin-1"}), "web-a"),
        (json!({"iss": other, "tenant": "acme"}), "web-a"),
        (json!({"sub": "admin-1"}), "pool_forbidden"),
        (
            json!({"groups": ["x", "vr"], "realm": {"level": 5}}),
            "web-a",
        ),
        (json!({"groups": ["vr"]}), "pool_forbidden"),
        (
            json!({"groups": "vr", "realm": {"level": 4}}),
            "pool_forbidden",
        ),
        (
            json!({"groups": "vr,x", "realm": {"level": 5}}),
            "pool_forbidden",
        ),
    ] {
        let sent = |path| Sent::to(path).bearer(token(says.clone()));
        assert_eq!(pool(&policy, &sent("/web-a/sign_in")), expected, "{says}");
        assert_eq!(pool(&policy, &sent("/web-b/sign_in")), "web-b", "{says}");
    }
}

#[test]
fn the_first_source_that_names_a_pool_chooses_it() {
    let [path, header, claim] = [
        json!("path"),
        json!({"header": "x-pool"}),
        json!({"claim": "vr.pool"}),
    ];
    // path's pool, header, claim; what is chosen by path-header-claim, claim-header-path, header alone, claim alone
    let table = [
        (None, None, None, ["web-a", "web-a", "web-a", "web-a"]),
        (
            Some("web-b"),
            None,
            None,
            ["web-b", "web-b", "no_such_pool", "no_such_pool"],
        ),
        (
            None,
            Some("web-b"),
            None,
            ["web-b", "web-b", "web-b", "web-a"],
        ),
        (
            None,
            None,
            Some("web-b"),
            ["web-b", "web-b", "web-a", "web-b"],
        ),
        (
            Some("web-b"),
            Some("web-c"),
            Some("web-a"),
            ["web-b", "web-a", "no_such_pool", "no_such_pool"],
        ),
        (
            None,
            Some("web-c"),
            Some("web-b"),
            ["web-c", "web-b", "web-c", "web-b"],
        ),
        (
            None,
            Some(" web-b\t"),
            None,
            ["web-b", "web-b", "web-b", "web-a"],
        ),
        (None, Some(" "), None, ["web-a", "web-a", "web-a", "web-a"]),
        // Named first, and none of ours: no other source is asked.
        (
            None,
            Some("10.0.0.5"),
            Some("web-b"),
            ["no_such_pool", "web-b", "no_such_pool", "web-b"],
        ),
        (
            None,
            Some("native"),
            None,
            ["no_such_pool", "no_such_pool", "no_such_pool", "web-a"],
        ),
        (
            None,
            Some("web-b, web-c"),
            None,
            ["no_such_pool", "no_such_pool", "no_such_pool", "web-a"],
        ),
        (
            Some("nobody"),
            Some("web-b"),
            None,
            ["no_such_pool", "web-b", "no_such_pool", "no_such_pool"],
        ),
    ];
    let orders = [
        json!([path, header, claim]),
        json!([claim, header, path]),
        json!([header]),
        json!([claim]),
    ];
    let policies = orders.map(|order| {
        policy_with(json!({
            "pool_from": order,
            "pools": [
                {"name": "web-a", "family": "web"},
                {"name": "web-b", "family": "web"},
                {"name": "web-c", "family": "web"},
                {"name": "native", "family": "native"},
            ],
        }))
    });
    for (path, header, claim, expected) in table {
        let claims = claim.map_or_else(|| json!({}), |claim| json!({"vr": {"pool": claim}}));
        let url = path.map_or_else(|| "/sign_in".to_owned(), |pool| format!("/{pool}/sign_in"));
        let mut sent = Sent::to(url).bearer(token(claims));
        if let Some(pool) = header {
            sent = sent.header("x-pool", pool);
        }
        for (policy, expected) in policies.iter().zip(expected) {
            assert_eq!(
                pool(policy, &sent),
                expected,
                "{path:?} {header:?} {claim:?}"
            );
        }
    }
    let twice = Sent::to("/sign_in").bearer(token(json!({})));
    let twice = twice.header("x-pool", "web-b").header("x-pool", "web-b");
    assert_eq!(pool(&policies[2], &twice), "no_such_pool");
    let bytes = Sent::to("/sign_in").bearer(token(json!({})));
    assert_eq!(
        pool(&policies[2], &bytes.header("x-pool", b"\xff")),
        "no_such_pool"
    );
}

#[test]
fn a_header_that_names_a_pool_stays_in_the_request() {
    let policy = policy_with(json!({"pool_from": [{"header": "x-pool"}]}));
    assert!(policy.reads("x-pool"));
    let sent = Sent::to("/sign_in")
        .bearer(token(json!({})))
        .header("x-pool", "web-b");
    let verdict = sent.verdict(&policy, &Always::yes());
    assert_eq!(label(&verdict), "admitted");
    assert_eq!(sent.edited(&verdict).value("x-pool"), Some(&b"web-b"[..]));
}
