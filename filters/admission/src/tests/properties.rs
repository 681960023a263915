//! What holds for every input.

use der::Decode;
use der::asn1::UintRef;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::support::{
    Always, HEADER, NOW, Sent, claims, ec_jwk, encode, merge, policy_config, policy_with, rsa_jwk,
    token, unsigned,
};
use crate::{
    Admission, Algorithm, Policy, PolicyConfig, Reason, Request, UnixSeconds, Verdict, VerifyError,
    admit, admitted_body, ecdsa_signature_to_der,
};

fn policy() -> Policy {
    policy_with(json!({
        "pools_claim": "pools",
        "priority_claim": "urgency",
        "labels": [{"label": "region", "query_parameter": "r", "header": "x-region"}],
    }))
}

/// What an admission promises to those who use it.
fn check_promises(sent: &Sent, admission: &Admission) -> Result<(), TestCaseError> {
    let owner = &admission.owner;
    let pools = ["native", "web-a", "web-b"];
    prop_assert!(pools.contains(&admission.pool.as_str()));
    prop_assert_eq!(&owner.issuer, "https://issuer.example");
    for name in [&owner.subject, &owner.tenant] {
        prop_assert!(name.len() <= 256 && !name.contains(char::is_control));
    }
    prop_assert!(!owner.subject.is_empty());
    prop_assert!(owner.resume_key.len() <= 128);
    prop_assert!(owner.resume_key.bytes().all(|byte| byte.is_ascii_graphic()));
    prop_assert!(admission.priority <= 9);
    for (name, value) in &admission.labels {
        prop_assert_eq!(name, "region");
        let clean = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        prop_assert!((1..=63).contains(&value.len()) && value.bytes().all(clean));
    }
    prop_assert!(admission.expires_at.is_some_and(|end| end.0 > NOW));
    let path = &admission.upstream.path;
    prop_assert!(path.starts_with(b"/sign_in") || path.starts_with(b"/rtsp"));
    prop_assert!(path.len() <= sent.path.len());
    if let Some(answer) = &admission.answer_subprotocol {
        prop_assert!(!answer.is_empty());
        prop_assert!(
            answer
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
        );
    }
    prop_assert!(serde_json::from_str::<Value>(&admitted_body(admission)).is_ok());
    Ok(())
}

/// Answers with verifiers of every kind: none but a true one's verdict may be to admit.
fn check_request(policy: &Policy, sent: &Sent) -> Result<(), TestCaseError> {
    let answers = [
        Ok(false),
        Err(VerifyError::KeyRefused),
        Err(VerifyError::Unavailable),
    ];
    for answer in answers {
        prop_assert!(sent.meets(policy, &Always::new(answer)).is_err());
    }
    let asked = Always::yes();
    let answer = sent.meets(policy, &asked);
    if let Ok(admission) = &answer {
        prop_assert_eq!(asked.asked.get(), 1);
        check_promises(sent, admission)?;
    }
    let printed = sent.read(|request| format!("{request:?} {answer:?}"));
    prop_assert!(printed.len() < 100_000);
    Ok(())
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let delimiters = select(b"./?#&=%,; \t\0\xFFbB".to_vec());
    vec(prop_oneof![any::<u8>(), delimiters], 0..200)
}

/// JSON of every type, in the sizes and numbers that tokens are not made of.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (NOW - 100..NOW + 100).prop_map(Value::from),
        ".{0,20}".prop_map(Value::from),
        select(vec!["alice", "berth", "web-a", "native", "web-b", ""]).prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::from),
            btree_map(".{0,5}", inner, 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// Good claims, some of them replaced or removed.
fn strange_claims() -> impl Strategy<Value = String> {
    let names = vec![
        "iss", "aud", "sub", "exp", "nbf", "tenant", "pools", "urgency", "iat", "jti", "x",
    ];
    let changes = btree_map(select(names), value(), 0..4);
    changes.prop_map(|changes| {
        let base = json!({"pools": ["web-a", "native"]});
        claims(merge(base, json!(changes)))
    })
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(
        method in prop_oneof![Just(b"GET".to_vec()), bytes()],
        prefix in select(vec!["", "/rtsp", "/rtsp?", "/sign_in?token=", "/web-a/sign_in?r="]),
        path in bytes(),
        upgrade in option::of(bytes()),
        scheme in select(vec!["", "Bearer "]),
        authorization in option::of(bytes()),
        protocols in option::of(bytes()),
        resume_key in option::of(bytes()),
        region in option::of(bytes()),
    ) {
        let path = [prefix.as_bytes(), &path].concat();
        let authorization = authorization.map(|value| [scheme.as_bytes(), &value].concat());
        let labels = region.into_iter().map(|value| ("x-region", value)).collect();
        let sent = Sent { method, path, upgrade, authorization, protocols, resume_key, labels };
        check_request(&policy(), &sent)?;
    }

    #[test]
    fn arbitrary_json_is_answered(
        header in prop_oneof![
            3 => Just(HEADER.to_owned()),
            1 => value().prop_map(|kid| json!({"alg": "RS256", "kid": kid}).to_string()),
            1 => value().prop_map(|header| header.to_string()),
        ],
        claims in strange_claims(),
        path in select(vec!["/rtsp", "/sign_in", "/web-a/sign_in", "/web-b/sign_in"]),
    ) {
        let sent = Sent::to(path).bearer(unsigned(&header, &claims));
        check_request(&policy(), &sent)?;
    }

    #[test]
    fn arbitrary_text_in_a_token_is_answered(
        header in bytes(),
        claims in bytes(),
        signature in bytes(),
    ) {
        let good = r#"{"alg":"ES256"}"#.as_bytes();
        for header in [&header, good] {
            let token = format!("{}.{}.{}", encode(header), encode(&claims), encode(&signature));
            check_request(&policy(), &Sent::to("/rtsp").bearer(token))?;
        }
    }

    #[test]
    fn a_good_token_changed_anywhere_is_another(
        position in any::<prop::sample::Index>(),
        byte: u8,
    ) {
        let good = token();
        let mut changed = good.clone().into_bytes();
        let position = position.index(changed.len());
        changed[position] = byte;
        let sent = Sent::to("/rtsp").bearer(&changed);
        check_request(&policy(), &sent)?;
        let both = Sent::to(format!("/rtsp?token={good}")).bearer(&changed);
        if changed != good.as_bytes() {
            let answer = both.meets(&policy_with(json!({})), &Always::yes());
            prop_assert!(answer.is_err());
        }
    }

    /// The oracle knows what each parameter is because it made it.
    #[test]
    fn a_query_keeps_every_byte_that_is_not_ours(
        parameters in vec(parameter(), 0..12),
        path in select(vec![
            ("/rtsp", "/rtsp"),
            ("/sign_in", "/sign_in"),
            ("/web-b/sign_in", "/sign_in"),
        ]),
    ) {
        let join = |parameters: Vec<&Vec<u8>>| {
            parameters.into_iter().map(Vec::as_slice).collect::<Vec<_>>().join(&b'&')
        };
        let all: Vec<_> = parameters.iter().map(|(_, bytes)| bytes).collect();
        let theirs = parameters.iter().filter(|(ours, _)| !ours);
        let theirs: Vec<_> = theirs.map(|(_, bytes)| bytes).collect();
        let (sent_path, seen_path) = path;
        let mut expected = seen_path.as_bytes().to_vec();
        if !theirs.is_empty() {
            expected.push(b'?');
            expected.extend(join(theirs));
        }
        let sent = Sent::to([sent_path.as_bytes(), b"?", &join(all)].concat()).bearer(token());
        let admission = sent.meets(&policy_with(json!({})), &Always::yes());
        let admission = admission.map_err(|reason| TestCaseError::fail(reason.label()))?;
        // Without any parameter, what is sent is still an empty one.
        if parameters.is_empty() {
            expected.push(b'?');
        }
        prop_assert_eq!(admission.upstream.path, expected);
    }

    /// Every part of the token is looked for, as sent and as the bytes it stands for.
    #[test]
    fn a_credential_goes_no_further(
        carriers in 1_u8..8,
        parameters in vec(parameter(), 0..6),
        protocols in vec("[a-z0-9.-]{1,12}", 0..4),
        key in "[!-~&&[^&#%]]{8,128}",
        key_in_query: bool,
    ) {
        let token = unsigned(HEADER, &claims(json!({"jti": "f00dfeedf00dfeed"})));
        let mut query: Vec<Vec<u8>> = parameters.into_iter().map(|(_, bytes)| bytes).collect();
        query.retain(|parameter| !parameter.starts_with(b"berth"));
        let mut protocols = protocols;
        protocols.retain(|name| !name.starts_with("auth"));
        let mut sent = Sent::to("");
        if carriers & 1 != 0 {
            sent = sent.bearer(&token);
        }
        if carriers & 2 != 0 {
            query.insert(query.len() / 2, format!("token={token}").into_bytes());
        }
        if carriers & 4 != 0 {
            protocols.insert(protocols.len() / 2, format!("authorization.{token}"));
        }
        if key_in_query {
            query.push(format!("berth_resume_key={key}").into_bytes());
        } else {
            sent = sent.resume_key(&key);
        }
        sent.path = [&b"/web-b/sign_in?"[..], &query.join(&b'&')].concat();
        let sent = sent.protocols(protocols.join(", "));

        let admission = sent.meets(&policy_with(json!({})), &Always::yes());
        let admission = admission.map_err(|reason| TestCaseError::fail(reason.label()))?;
        prop_assert_eq!(&admission.owner.resume_key, &key);
        let header = admission.upstream.sec_websocket_protocol.clone().flatten();
        let mut printed = vec![
            admission.upstream.path.escape_ascii().to_string(),
            header.unwrap_or_default().escape_ascii().to_string(),
            admission.answer_subprotocol.clone().unwrap_or_default(),
            admitted_body(&admission),
            format!("{admission:?}"),
            sent.read(|request| format!("{request:?}")),
        ];
        if carriers & 4 == 0 {
            let kept = &admission.upstream.sec_websocket_protocol;
            prop_assert!(kept.is_none(), "nothing was to be removed");
        }
        printed.push(format!("{:?}", sent.meets(&policy_with(json!({})), &Always::new(Ok(false)))));
        for text in printed {
            for secret in token.split('.').take(2).chain(["f00dfeed", &key]) {
                prop_assert!(!text.contains(secret), "{} in {}", secret, text);
            }
        }
    }

    #[test]
    fn signatures_of_every_length_are_re_encoded_or_not(
        raw in prop_oneof![
            vec(any::<u8>(), 0..150),
            select(vec![64, 96, 132]).prop_flat_map(|bytes| vec(any::<u8>(), bytes)),
        ],
    ) {
        for algorithm in Algorithm::ALL {
            let der = ecdsa_signature_to_der(algorithm, &raw);
            let half = match algorithm {
                Algorithm::Es256 => 32,
                Algorithm::Es384 => 48,
                Algorithm::Es512 => 66,
                _ => usize::MAX / 2,
            };
            prop_assert_eq!(der.is_some(), raw.len() == 2 * half);
            if let Some(der) = der {
                let numbers = Vec::<UintRef<'_>>::from_der(&der).unwrap();
                let pad = |number: &[u8]| [vec![0; half - number.len()], number.to_vec()].concat();
                let padded: Vec<_> = numbers.iter().map(|number| pad(number.as_bytes())).collect();
                prop_assert_eq!(padded.concat(), &raw[..]);
            }
        }
    }

    #[test]
    fn an_arbitrary_key_set_is_compiled_or_named(
        jwk in value(),
        member in jwk_member(),
        other in value(),
    ) {
        for mut key in [ec_jwk("k"), rsa_jwk("k")] {
            key[member] = other.clone();
            for keys in [json!([key]), json!([jwk, key]), jwk.clone()] {
                let mut config = policy_config();
                config["issuers"][0]["jwks"]["keys"] = keys;
                let config: PolicyConfig = serde_json::from_value(config).unwrap();
                if let Err(error) = Policy::compile(config) {
                    prop_assert!(error.field.starts_with("issuers[0].jwks"), "{}", error);
                }
            }
        }
    }

    #[test]
    fn labels_are_found_or_not(label in "[a-z_]{0,24}") {
        prop_assert!(Reason::from_label(&label).is_none_or(|reason| reason.label() == label));
    }
}

fn jwk_member() -> impl Strategy<Value = &'static str> {
    select(vec![
        "kty", "n", "e", "crv", "x", "y", "use", "alg", "key_ops", "kid", "d", "k",
    ])
}

/// A parameter, and whether it is ours to take. One of ours holds nothing, for it has to agree with
/// the others.
fn parameter() -> impl Strategy<Value = (bool, Vec<u8>)> {
    let ours = select(vec![
        "token",
        "token=",
        "%74oken",
        "t%6Fken=",
        "%74%6f%6b%65%6e=",
        "berth_resume_key=",
        "berth%5Fresume_key",
    ]);
    let near = select(vec![
        "Token=x",
        "token%3D",
        "token%",
        "%2574oken=1",
        "tokens=1",
        "xtoken=1",
        "token%00=1",
        " token=1",
        "=token",
    ]);
    let byte = any::<u8>().prop_filter("a delimiter", |byte| !b"&#=%".contains(byte));
    let theirs = (vec(byte, 0..10), option::of("[ -~&&[^&#]]{0,10}")).prop_filter_map(
        "one of ours",
        |(name, value)| {
            let bytes = match value {
                Some(value) => [&name[..], b"=", value.as_bytes()].concat(),
                None => name.clone(),
            };
            (name != b"token" && name != b"berth_resume_key").then_some((false, bytes))
        },
    );
    prop_oneof![
        2 => ours.prop_map(|text: &str| (true, text.as_bytes().to_vec())),
        2 => near.prop_map(|text: &str| (false, text.as_bytes().to_vec())),
        3 => theirs,
    ]
}

#[test]
fn a_request_without_anything_is_answered() {
    let request = Request {
        method: b"",
        path: b"",
        upgrade: None,
        authorization: None,
        sec_websocket_protocol: None,
        resume_key: None,
        labels: &[],
    };
    let verdict = admit(&policy(), &request, UnixSeconds(u64::MAX), &Always::yes());
    assert_eq!(verdict, Verdict::Refuse(Reason::NotFound));
}
