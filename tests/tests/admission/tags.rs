//! What others get to know of a session.

use berth_tests::{Algorithm, SigningKeys, Token, World};
use serde_json::{Value, json};

use crate::{CASE, CASE_LOGGED, leave, logged, said};

#[tokio::test(flavor = "multi_thread")]
async fn the_access_log_and_the_instance_are_told_by_whomever_it_was_decided() {
    let world = world().await;
    for algorithm in [Algorithm::Rs256, Algorithm::Ps256] {
        let case = algorithm.name();
        let token = world.token().algorithm(algorithm);
        let session = client(&world, token, case).connect().await.unwrap();
        let id = world.berth().sessions().await.unwrap().remove(0).id;

        let record = world.instance("web-1").unwrap().records().pop().unwrap();
        let told = [
            ("x-session", Some(id.as_str())),
            ("x-user", Some("alice")),
            ("x-tenant", Some("acme")),
            ("x-pool", Some("web")),
            ("x-issuer", Some("https://login.berth.example")),
            ("x-department", Some("Z%C3%BCrich")),
            ("x-level", Some("7")),
            // The token does not say, and what the client said of it is gone.
            ("x-clearance", None),
        ];
        for (name, value) in told {
            let all = record.headers.iter().filter(|(other, _)| other == name);
            let all: Vec<&str> = all.map(|(_, value)| value.as_str()).collect();
            let expected: Vec<&str> = value.into_iter().collect();
            assert_eq!(all, expected, "{case}: {name}");
        }
        let others = record.headers.iter().map(|(name, _)| name.as_str());
        let ours: Vec<&str> = others.filter(|name| name.starts_with("x-berth-")).collect();
        assert!(ours.is_empty(), "{case}: {ours:?}");

        leave(&world, session, "web-1").await;
        let request = logged(&world, case).await;
        let expected = json!({
            "case": case,
            "session": id,
            "subject": "alice",
            "tenant": "acme",
            "pool": "web",
            "issuer": "https://login.berth.example",
            "department": "Z%C3%BCrich",
            "level": "7",
            "clearance": Value::Null,
        });
        assert_eq!(request, expected);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_a_refused_request_nobody_is_told_whose_it_claims_to_be() {
    let world = world().await;
    for (case, algorithm) in [("here", Algorithm::Rs256), ("there", Algorithm::Ps256)] {
        let token = world.token().algorithm(algorithm).altered();
        let refusal = client(&world, token, case).refusal().await.unwrap();
        assert_eq!(said(&refusal), "bad_signature", "{case}");
        let request = logged(&world, case).await;
        for (name, value) in request.as_object().unwrap() {
            let known = matches!(name.as_str(), "case" | "session");
            assert!(known || value.is_null(), "{case}: {name} is {value}");
        }
        // Only what is asked about elsewhere has a session's id.
        assert_eq!(request["session"].is_string(), case == "there", "{request}");
    }
}

async fn world() -> World {
    let key = SigningKeys::of_tests().unwrap().jwk(Algorithm::Ps256);
    let world = World::builder()
        .web_instances(1)
        .more_keys([key])
        .admission(json!({
            "tags": {
                "claims": ["department", "place.level", "clearance"],
                "headers": [
                    { "name": "x-session", "value": "session" },
                    { "name": "x-user", "value": "subject" },
                    { "name": "x-tenant", "value": "tenant" },
                    { "name": "x-pool", "value": "pool" },
                    { "name": "x-issuer", "value": "issuer" },
                    { "name": "x-department", "value": { "claim": "department" } },
                    { "name": "x-level", "value": { "claim": "place.level" } },
                    { "name": "x-clearance", "value": { "claim": "clearance" } },
                ],
            },
        }));
    world.access_log(LOG).unwrap().start().await.unwrap()
}

/// Somebody who would like to be taken for somebody else.
fn client(world: &World, token: Token, case: &str) -> berth_tests::ClientBuilder {
    let token = token
        .subject("alice")
        .claim("tenant", "acme")
        .claim("department", "Zürich")
        .claim("place", json!({ "level": 7 }));
    let client = world.client("web").unwrap().token(token).header(CASE, case);
    [
        "x-session",
        "x-user",
        "x-tenant",
        "x-pool",
        "x-issuer",
        "x-department",
        "x-clearance",
        "x-berth-session",
        "x-berth-subject",
    ]
    .into_iter()
    .fold(client, |client, name| client.header(name, "mallory"))
}

const LOG: &[(&str, &str)] = &[
    ("case", CASE_LOGGED),
    ("session", "%FILTER_STATE(wasm.berth.session:PLAIN)%"),
    ("subject", "%FILTER_STATE(wasm.berth.subject:PLAIN)%"),
    ("tenant", "%FILTER_STATE(wasm.berth.tenant:PLAIN)%"),
    ("pool", "%FILTER_STATE(wasm.berth.pool:PLAIN)%"),
    ("issuer", "%FILTER_STATE(wasm.berth.issuer:PLAIN)%"),
    (
        "department",
        "%FILTER_STATE(wasm.berth.claim.department:PLAIN)%",
    ),
    (
        "level",
        "%FILTER_STATE(wasm.berth.claim.place.level:PLAIN)%",
    ),
    (
        "clearance",
        "%FILTER_STATE(wasm.berth.claim.clearance:PLAIN)%",
    ),
];
