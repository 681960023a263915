//! Every place that may carry a credential, and what is left of it.

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use berth_client::Carrier;
use berth_tests::{ClientBuilder, Token, World, WorldBuilder};
use serde_json::json;

use crate::{CASE, CASE_LOGGED, Change, leave, logged, said, verdict};

/// A place, and how a client puts a credential into it.
struct Place {
    name: &'static str,
    put: fn(ClientBuilder, &str) -> ClientBuilder,
}

#[rustfmt::skip] // one place a line
const PLACES: &[Place] = &[
    Place { name: "authorization", put: |client, text| client.header("authorization", format!("Bearer {text}")) },
    Place { name: "a header", put: |client, text| client.header("x-key", text) },
    Place { name: "a header with a prefix", put: |client, text| client.header("x-token", format!("Token {text}")) },
    Place { name: "the query", put: |client, text| client.and_credential(Carrier::Query, text) },
    Place { name: "a cookie", put: |client, text| client.header("cookie", format!("theme=dark; session={text}; lang=de")) },
    Place { name: "NVCF's subprotocol", put: |client, text| client.subprotocol(&format!("authorization.{text}")) },
    Place { name: "a subprotocol", put: |client, text| client.subprotocol(&format!("authorization.bearer.{text}")) },
    Place { name: "Kubernetes' subprotocol", put: |client, text| {
        let text = BASE64_URL_SAFE_NO_PAD.encode(text);
        client.subprotocol(&format!("base64url.bearer.authorization.k8s.io.{text}"))
    } },
];

fn world() -> WorldBuilder {
    World::builder().web_instances(1).admission(json!({
        "carriers": [
            "authorization",
            { "header": { "name": "x-key" } },
            { "header": { "name": "x-token", "prefix": "Token " } },
            { "query": "token" },
            { "cookie": "session" },
            { "subprotocol": "authorization." },
            { "subprotocol": "authorization.bearer." },
            { "subprotocol_base64url": "base64url.bearer.authorization." },
        ],
        "origins": ["https://app.example.com"],
    }))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_taken_from_where_it_is_and_comes_no_further() {
    let log = world().access_log(LOG).unwrap();
    let world = log.start().await.unwrap();
    let refused: [(&str, Change); 3] = [
        ("bad_signature", Token::altered),
        ("token_expired", Token::expired),
        ("pool_forbidden", |token| token.pools(["else"])),
    ];
    let mut secrets = vec![RESUME_KEY.to_owned(), "eyJ".to_owned()];
    let mut cases = Vec::new();
    for Place { name, put } in PLACES {
        let mut client = |said: &str, token: Token| {
            let (case, text) = (format!("{name}, {said}"), token.sign().unwrap());
            secrets.extend(text.split('.').skip(1).map(str::to_owned));
            secrets.push(BASE64_URL_SAFE_NO_PAD.encode(&text));
            cases.push(case.clone());
            let client = world.client("web").unwrap().without_token();
            let client = put(client, &text)
                .subprotocol("x-nv-sessionid.1")
                .resume_key(RESUME_KEY)
                .query("client_type", "6");
            client.header(CASE, &case)
        };
        let session = client("admitted", world.token()).connect().await.unwrap();
        assert_eq!(session.subprotocol(), Some("x-nv-sessionid.1"), "{name}");
        let record = world.instance("web-1").unwrap().records().pop().unwrap();
        assert_eq!(record.path_and_query, "/sign_in?client_type=6", "{name}");
        let protocols = record.header("sec-websocket-protocol");
        assert_eq!(protocols, Some("x-nv-sessionid.1"), "{name}");
        let cookies = (*name == "a cookie").then_some("theme=dark; lang=de");
        assert_eq!(record.header("cookie"), cookies, "{name}");
        leave(&world, session, "web-1").await;
        for (reason, change) in refused {
            let refusal = client(reason, change(world.token())).refusal().await;
            assert_eq!(said(&refusal.unwrap()), reason, "{name}");
        }
        // Refused before anybody looks at what it brought, and cleaned all the same.
        let lost = client("no_such_pool", world.token()).path("/nowhere/sign_in");
        assert_eq!(said(&lost.refusal().await.unwrap()), "no_such_pool");
    }

    for case in &cases {
        let request = logged(&world, case).await;
        // It is these requests that were logged, with what they had besides.
        let path = request["path"].as_str().unwrap();
        assert!(path.ends_with("?client_type=6"), "{case}: {request}");
        assert_eq!(request["protocols"], "x-nv-sessionid.1", "{case}");
    }
    let records = format!("{:?}", world.instance("web-1").unwrap().records());
    let log = format!("{:?}", world.access_log().unwrap());
    for (place, text) in [("the instance", &records), ("the access log", &log)] {
        for secret in &secrets {
            assert!(
                !text.contains(secret.as_str()),
                "{place} has {secret}: {text}"
            );
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_in_two_places_have_to_agree() {
    let world = world().start().await.unwrap();
    let (token, other) = (world.token().subject("alice"), world.token().subject("bob"));
    let (token, other) = (token.sign().unwrap(), other.sign().unwrap());
    let pairs = PLACES.iter().zip(PLACES.iter().cycle().skip(1));
    for (first, second) in pairs {
        let names = format!("{} and {}", first.name, second.name);
        let client = world.client("web").unwrap().without_token();
        let one = (first.put)(client, &token);
        let both = (second.put)(one.clone(), &token).subprotocol("x-nv-sessionid.1");
        let session = both.connect().await.unwrap();
        leave(&world, session, "web-1").await;
        let differ = (second.put)(one, &other);
        let refusal = differ.refusal().await.unwrap();
        assert_eq!(said(&refusal), "malformed_token", "{names}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_place_that_is_not_named_carries_nothing() {
    let admission = json!({ "carriers": ["authorization", { "query": "token" }] });
    let world = World::builder().web_instances(1).admission(admission);
    let world = world.start().await.unwrap();
    let token = world.token().sign().unwrap();
    for Place { name, put } in PLACES {
        let client = world.client("web").unwrap().without_token();
        let expected = match *name {
            "authorization" | "the query" => "admitted",
            _ => "no_token",
        };
        let client = put(client, &token);
        // A plain GET offers no subprotocols.
        let answer = if name.ends_with("subprotocol") {
            said(&client.refusal().await.unwrap())
        } else {
            verdict(&client).await
        };
        assert_eq!(answer, expected, "{name}");
    }
}

/// Everything in which a credential came.
const LOG: &[(&str, &str)] = &[
    ("case", CASE_LOGGED),
    ("path", "%REQ(:PATH)%"),
    ("original_path", "%REQ(X-ENVOY-ORIGINAL-PATH)%"),
    ("path_operator", "%PATH(WQ:ORIG_OR_PATH)%"),
    ("authorization", "%REQ(AUTHORIZATION)%"),
    ("cookie", "%REQ(COOKIE)%"),
    ("key", "%REQ(X-KEY)%"),
    ("token", "%REQ(X-TOKEN)%"),
    ("protocols", "%REQ(SEC-WEBSOCKET-PROTOCOL)%"),
    ("resume_key", "%REQ(BERTH-RESUME-KEY)%"),
    ("answer", "%RESP(SEC-WEBSOCKET-PROTOCOL)%"),
    ("details", "%RESPONSE_CODE_DETAILS%"),
    ("session", "%FILTER_STATE(wasm.berth.session:PLAIN)%"),
    ("subject", "%FILTER_STATE(wasm.berth.subject:PLAIN)%"),
];
const RESUME_KEY: &str = "resume-key-of-this-test";
