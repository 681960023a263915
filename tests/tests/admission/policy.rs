//! What an issuer's tokens have to be, who may use which pool, and what chooses it: decided by the filter, and by the
//! control plane for what the filter cannot check.

use berth_tests::{AUDIENCE, Algorithm, Family, ISSUER, SigningKeys, Token, World, unix_seconds};
use serde_json::{Value, json};

use crate::{Change, said};

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_tokens_have_to_be_as_its_rules_say() {
    let world = World::builder().web_instances(1).more_keys([ps256()]);
    // A world's own clients, who look whether it is ready, are let in by these.
    let issuer = json!({
        "types": ["JWT", "application/at+jwt"],
        "max_lifetime": "1h",
        "subjects": [{ "prefix": "client-" }, { "suffix": "@example.com" }, { "exact": "root" }],
        "required_claims": [
            { "claim": "pools", "matches": { "prefix": "we" } },
            { "claim": "aud", "matches": { "exact": AUDIENCE } },
        ],
    });
    let world = world.issuer(issuer).start().await.unwrap();
    #[rustfmt::skip] // one case a line
    let cases: [(&str, Change, &str); 12] = [
        ("as it has to be", |token| token, "admitted"),
        ("another type of the list, in capitals", |token| token.header("typ", "AT+JWT"), "admitted"),
        ("another type", |token| token.header("typ", "logout+jwt"), "wrong_type"),
        ("no type", |token| token.without_header("typ"), "wrong_type"),
        ("an hour", |token| token.claim("iat", unix_seconds() - 600).expires_in(2_990), "admitted"),
        ("longer than an hour", |token| token.claim("iat", unix_seconds() - 600).expires_in(3_010), "lifetime_too_long"),
        ("nobody knows how long", |token| token.without_claim("iat"), "lifetime_too_long"),
        ("another subject of the list", |token| token.subject("root"), "admitted"),
        ("another subject", |token| token.subject("roots"), "user_forbidden"),
        ("one of a list", |token| token.pools(["native", "web"]), "admitted"),
        ("none of a list", |token| token.pools(["native"]), "user_forbidden"),
        ("a claim that is not there", |token| token.without_claim("pools"), "user_forbidden"),
    ];
    for algorithm in BOTH {
        for (name, change, expected) in cases {
            let token = world.token().algorithm(algorithm);
            let token = change(token.subject("alice@example.com"));
            let client = world.client("web").unwrap().token(token);
            let answer = client.verdict().await.unwrap();
            assert_eq!(said(&answer), expected, "{name}, by {}", algorithm.name());
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_is_chosen_by_what_the_policy_says_and_is_for_whom_it_says() {
    let world = World::builder()
        .web_instances(1)
        .pool("lab", Family::Web, |pool| {
            let group = json!({ "claim": "groups", "matches": { "exact": "xr" } });
            let rules = json!([
                { "tenant": { "exact": "acme" }, "claims": [group] },
                { "issuer": ISSUER, "subject": { "prefix": "client-" } },
                { "issuer": "api_key" },
            ]);
            pool.audiences(&["lab-only", AUDIENCE]).allow(rules)
        })
        .more_keys([ps256()])
        .issuer(json!({ "audiences": [AUDIENCE, "lab-only", "web-only"] }))
        .admission(json!({
            "pools_claim": null,
            "pool_from": [{ "header": "x-pool" }, { "claim": "place.pool" }, "path"],
            // Somebody's, for whom the pool is too.
            "api_keys": [{ "subject": "kiosk", "sha256": "0".repeat(64) }],
        }))
        .start()
        .await
        .unwrap();
    let (none, web, lab) = ("/sign_in", "/web/sign_in", "/lab/sign_in");
    #[rustfmt::skip] // one case a line
    let cases: [(&str, &str, Option<&str>, Change, &str); 16] = [
        ("the path", web, None, |token| token, "web"),
        ("nothing", none, None, |token| token, "web"),
        ("another path", lab, None, acme, "lab"),
        ("a header before the path", web, Some("lab"), acme, "lab"),
        ("a claim before the path", web, None, |token| acme(token).claim("place", json!({ "pool": "lab" })), "lab"),
        ("a header before a claim", lab, Some("web"), |token| token.claim("place", json!({ "pool": "lab" })), "web"),
        ("a header that names none", web, Some("else"), |token| token, "no_such_pool"),
        ("a claim that names none", web, None, |token| token.claim("place", json!({ "pool": "else" })), "no_such_pool"),

        ("of the tenant and in the group", lab, None, acme, "lab"),
        ("of the tenant, not in the group", lab, None, |token| acme(token).claim("groups", json!(["xr-else"])), "pool_forbidden"),
        ("in the group of another tenant", lab, None, |token| acme(token).claim("tenant", "else"), "pool_forbidden"),
        ("by name", lab, None, |token| token.subject("client-of-old"), "lab"),
        ("by nothing", lab, None, |token| token, "pool_forbidden"),
        ("for the pool", lab, None, |token| acme(token).claim("aud", "lab-only"), "lab"),
        ("for another pool", lab, None, |token| acme(token).claim("aud", "web-only"), "wrong_audience"),
        ("for a pool that does not say", web, None, |token| token.claim("aud", "web-only"), "web"),
    ];
    for algorithm in BOTH {
        for (name, path, header, change, expected) in cases {
            let token = world.token().algorithm(algorithm).subject("alice");
            let mut client = world.client("web").unwrap().path(path);
            client = client.token(change(token));
            if let Some(pool) = header {
                client = client.header("x-pool", pool);
            }
            let answer = client.verdict().await.unwrap();
            let body: Value = serde_json::from_str(&answer.body).unwrap();
            let found = match answer.status {
                200 => &body["pool"],
                _ => &body["reason"],
            };
            assert_eq!(found, expected, "{name}, by {}", algorithm.name());
        }
    }
}

fn acme(token: Token) -> Token {
    let token = token.claim("tenant", "acme");
    token.claim("groups", json!(["staff", "xr"]))
}

/// A signature that the filter checks, and one that it does not.
const BOTH: [Algorithm; 2] = [Algorithm::Rs256, Algorithm::Ps256];

fn ps256() -> Value {
    let keys = SigningKeys::of_tests().unwrap();
    keys.jwk(Algorithm::Ps256)
}
