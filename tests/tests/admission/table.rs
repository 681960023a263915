//! The table of refusals against the admission crate itself, in milliseconds and without a proxy: what fails here
//! is not the proxy's doing.

use berth_admission::{Certificate, Decision, Memory, NativeVerifier, Policy, UnixSeconds, admit};
use berth_client::Carrier;
use berth_tests::cases::{Credential, REFUSALS, Request, Situation};
use berth_tests::{SigningKeys, token};
use serde_json::json;

const ISSUER: &str = "https://login.berth.example";

#[test]
fn refuses_what_the_table_says() {
    let it = Admission::new();
    for case in REFUSALS {
        let verdict = match it.decide(&case.request) {
            Decision::Admit(..) => "admitted",
            Decision::Refuse(reason) => reason.label(),
            // Nobody knows more keys.
            Decision::Undecided(_, undecided) => undecided.reason.label(),
            Decision::Preflight => "preflight",
        };
        // What is refused for how things stand is a request that could have been admitted.
        let expected = match case.situation {
            Situation::Quiet => case.reason,
            _ => "admitted",
        };
        assert_eq!(verdict, expected, "{}", case.name);
    }
}

#[test]
fn admits_the_requests_that_the_table_starts_from() {
    let it = Admission::new();
    for request in [Request::web(), Request::native()] {
        let verdict = it.decide(&request);
        assert!(
            matches!(verdict, Decision::Admit(..)),
            "{request:?}: {verdict:?}"
        );
    }
}

struct Admission {
    policy: Policy,
    keys: SigningKeys,
}

impl Admission {
    fn new() -> Self {
        let keys = SigningKeys::of_tests().unwrap();
        let jwks = keys.jwks();
        let config = json!({
            "issuers": [{ "issuer": ISSUER, "audiences": ["berth"], "jwks": jwks }],
            "pools": [{ "name": "web", "family": "web" }, { "name": "native", "family": "native" }],
            "pools_claim": "pools",
            "priority_claim": "priority",
            "labels": [{ "label": "region", "query_parameter": "region", "header": "x-region" }],
        });
        Self {
            policy: Policy::compile(serde_json::from_value(config).unwrap()).unwrap(),
            keys,
        }
    }

    fn decide(&self, request: &Request) -> Decision {
        let (mut path, mut headers) = (request.path.to_owned(), request.headers.to_vec());
        let credential = match request.credential {
            Credential::Absent => None,
            Credential::Text(text) => Some(text.to_owned()),
            Credential::Token(change) => {
                let token = token(&self.keys, ISSUER, "berth");
                Some(change(token.pools(["web", "native"])).sign().unwrap())
            }
        };
        let also = request
            .also
            .map(|(carrier, text)| (carrier, text.to_owned()));
        let carried: Vec<(Carrier, String)> = credential
            .map(|credential| (request.carrier, credential))
            .into_iter()
            .chain(also)
            .collect();
        let mut written = Vec::new();
        for (carrier, text) in &carried {
            match carrier {
                Carrier::Header => written.push(("authorization", format!("Bearer {text}"))),
                Carrier::Subprotocol => {
                    written.push((
                        "sec-websocket-protocol",
                        format!("authorization.bearer.{text}"),
                    ));
                }
                Carrier::Query => {
                    let separator = if path.contains('?') { '&' } else { '?' };
                    path = format!("{path}{separator}token={text}");
                }
            }
        }
        headers.extend(written.iter().map(|(name, value)| (*name, value.as_str())));
        headers.push(("upgrade", "websocket"));
        let headers: Vec<(String, Vec<u8>)> = headers
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.into()))
            .collect();
        let request = berth_admission::Request {
            method: request.method.as_bytes(),
            path: path.as_bytes(),
            headers: &headers,
            client: None,
            certificate: Certificate::default(),
        };
        let mut memory = Memory::new(&self.policy, 0);
        admit(&self.policy, &mut memory, &request, now(), &NativeVerifier).decision
    }
}

/// Today, as the tokens say themselves.
fn now() -> UnixSeconds {
    UnixSeconds(berth_tests::unix_seconds().unsigned_abs())
}
