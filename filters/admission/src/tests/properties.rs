//! What holds for every input.

use der::Decode;
use der::asn1::UintRef;
use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Map, Value, json};

use super::support::{
    Always, HEADER, NOW, Sent, claims, ec_jwk, encode, label, merge, policy_config, policy_with,
    rsa_jwk, token, unsigned,
};
use crate::{
    Admission, Algorithm, Certificate, Decision, Edits, Memory, Policy, PolicyConfig, Reason,
    VerifyError, Wish, admitted_body, ecdsa_signature_to_der,
};

/// One in which everything is looked at.
fn policy() -> Policy {
    policy_with(everything())
}

fn everything() -> Value {
    json!({
        "pools_claim": "pools",
        "priority_claim": "urgency",
        "labels": [{"label": "region", "query_parameter": "r", "header": "x-region"}],
        "carriers": [
            "authorization",
            {"header": {"name": "x-token", "prefix": "Token "}},
            {"query": "token"},
            {"cookie": "session"},
            {"subprotocol": "authorization."},
            {"subprotocol": "authorization.bearer."},
            {"subprotocol_base64url": "base64url.bearer.authorization."},
        ],
        "origins": ["https://app.example", "https://*.example.com"],
        "pool_from": [{"header": "x-pool"}, "path", {"claim": "x.pool"}],
        "tags": {
            "claims": ["x", "x.y", "pools"],
            "headers": [
                {"name": "x-user", "value": "subject"},
                {"name": "x-issuer", "value": "issuer"},
                {"name": "x-claim", "value": {"claim": "x"}},
            ],
        },
    })
}

/// What an admission promises to those who use it.
fn check_promises(wish: &Wish, admission: &Admission) -> Result<(), TestCaseError> {
    let owner = &admission.owner;
    let pools = ["native", "web-a", "web-b"];
    prop_assert!(pools.contains(&admission.pool.as_str()));
    prop_assert_eq!(&owner.issuer, "https://issuer.example");
    for name in [&owner.subject, &owner.tenant, &admission.token_id] {
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
    for (_, value) in admission.tags.iter().chain(&admission.headers) {
        let printable = |byte: u8| (b' '..=b'~').contains(&byte);
        prop_assert!((1..=256).contains(&value.len()) && value.bytes().all(printable));
        prop_assert!(!value.starts_with(' ') && !value.ends_with(' '));
    }
    prop_assert!(admission.expires_at.is_some_and(|end| end.0 > NOW));
    if let Some(answer) = &wish.answer_subprotocol {
        prop_assert!(!answer.is_empty());
        prop_assert!(
            answer
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b',')
        );
    }
    prop_assert!(serde_json::from_str::<Value>(&admitted_body(wish.family, admission)).is_ok());
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
        let verdict = sent.verdict(policy, &Always::new(answer));
        prop_assert_ne!(label(&verdict), "admitted");
    }
    let asked = Always::yes();
    let mut memory = Memory::new(policy, 0);
    let verdict = sent.verdict_at(NOW, policy, &mut memory, &asked);
    let admitted = match &verdict.decision {
        Decision::Admit(wish, admission) => {
            prop_assert_eq!(asked.asked.get(), 1);
            check_promises(wish, admission)?;
            true
        }
        _ => false,
    };
    check_memory(policy, sent, &mut memory)?;
    let left = sent.edited(&verdict);
    prop_assert!(left.path.len() <= sent.path.len());
    prop_assert!(
        !admitted || left.path.starts_with(b"/sign_in") || left.path.starts_with(b"/rtsp")
    );
    let again = left.verdict(policy, &Always::yes());
    prop_assert_eq!(&again.edits, &Edits::default(), "of {:?}", left);
    prop_assert!(matches!(
        again.decision,
        Decision::Refuse(_) | Decision::Preflight
    ));
    let printed = sent.read(|request| format!("{request:?} {verdict:?}"));
    prop_assert!(printed.len() < 100_000);
    Ok(())
}

/// What is remembered changes no verdict.
fn check_memory(policy: &Policy, sent: &Sent, memory: &mut Memory) -> Result<(), TestCaseError> {
    for later in [0, 1, 200, 659, 660, 700, u64::MAX - NOW] {
        let fresh = sent.verdict_at(
            NOW + later,
            policy,
            &mut Memory::new(policy, 1),
            &Always::yes(),
        );
        let mut known = sent.verdict_at(NOW + later, policy, memory, &Always::yes());
        known.remembered = fresh.remembered;
        prop_assert_eq!(known, fresh);
    }
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

/// Headers that decide, some of them twice, that hold anything.
fn headers() -> impl Strategy<Value = Vec<(String, Vec<u8>)>> {
    let names = vec![
        "upgrade",
        "authorization",
        "x-token",
        "cookie",
        "sec-websocket-protocol",
        "berth-resume-key",
        "x-region",
        "x-pool",
        "x-user",
        "origin",
        "access-control-request-method",
        "x-other",
    ];
    let beginnings = vec![
        "",
        "Bearer ",
        "Token ",
        "session=",
        "a=b; session=\"",
        "authorization.",
        "x, authorization.bearer.",
        "base64url.bearer.authorization.a.",
        "https://app.example",
    ];
    let value = (select(beginnings), bytes())
        .prop_map(|(beginning, bytes)| [beginning.as_bytes(), &bytes].concat());
    vec((select(names).prop_map(str::to_owned), value), 0..8)
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_answered(
        method in prop_oneof![Just(b"GET".to_vec()), Just(b"OPTIONS".to_vec()), bytes()],
        prefix in select(vec!["", "/rtsp", "/rtsp?", "/sign_in?token=", "/web-a/sign_in?r="]),
        path in bytes(),
        headers in headers(),
        client in option::of(any::<std::net::IpAddr>()),
    ) {
        let path = [prefix.as_bytes(), &path].concat();
        let certificate = Certificate::default();
        let sent = Sent { method, path, headers, client, certificate };
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
            let verdict = both.verdict(&policy_with(json!({})), &Always::yes());
            prop_assert_ne!(label(&verdict), "admitted");
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
        let verdict = sent.verdict(&policy_with(json!({})), &Always::yes());
        prop_assert_eq!(label(&verdict), "admitted");
        // Without any parameter, what is sent is still an empty one.
        if parameters.is_empty() {
            expected.push(b'?');
        }
        prop_assert_eq!(sent.edited(&verdict).path, expected);
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
        let token = unsigned(HEADER, &claims(json!({"nonce": "f00dfeedf00dfeed"})));
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

        let policy = policy_with(json!({}));
        let verdict = sent.verdict(&policy, &Always::yes());
        let Decision::Admit(wish, admission) = &verdict.decision else {
            return Err(TestCaseError::fail(label(&verdict)));
        };
        prop_assert_eq!(&admission.owner.resume_key, &key);
        let left = sent.edited(&verdict);
        if carriers & 4 == 0 {
            let kept = left.value("sec-websocket-protocol");
            prop_assert_eq!(kept, sent.value("sec-websocket-protocol"));
        }
        let mut printed = vec![
            left.path.escape_ascii().to_string(),
            wish.answer_subprotocol.clone().unwrap_or_default(),
            admitted_body(wish.family, admission),
            format!("{verdict:?}"),
            sent.read(|request| format!("{request:?}")),
            format!("{:?}", sent.verdict(&policy, &Always::new(Ok(false)))),
        ];
        let values = left.headers.iter();
        printed.extend(values.map(|(_, value)| value.escape_ascii().to_string()));
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

    /// Any of the members that may be left out, left out.
    #[test]
    fn a_policy_is_read_as_it_was_written(kept in vec(any::<bool>(), 32), secret in "[A-Za-z0-9_-]{43}") {
        let mut config = merge(policy_config(), everything());
        let oct = json!({"kty": "oct", "k": secret, "kid": "secret"});
        let misnamed = json!({"kty": "RSA", "k": secret});
        config["issuers"][0]["jwks"] = json!({"keys": [oct, ec_jwk("ec"), misnamed, rsa_jwk("rsa")]});
        let more = json!({
            "types": ["JWT"], "subjects": [{"prefix": "a"}], "max_lifetime_seconds": 60,
            "required_claims": [{"claim": "a.b", "matches": {"suffix": "c"}}],
            "close_when_expired": true, "clock_skew_seconds": 5,
        });
        config["issuers"][0] = merge(config["issuers"][0].clone(), more);
        config = merge(config, json!({
            "api_keys": [{
                "subject": "probe", "sha256": "0".repeat(64), "tenant": "t", "pools": ["web-a"], "priority": 3,
            }],
            "client_certificates": [{
                "name": "dns_san", "matches": {"exact": "a"}, "tenant": "t", "pools": ["web-b"],
            }],
            "attempts": {"burst": 1, "per_minute": 2},
            "token_cache": {"entries": 3, "seconds": 4},
        }));
        let optional = ["issuer", "jwks", "pools", "name", "origins", "issuers"];
        let mut kept = kept.into_iter().cycle();
        let mut prune = |object: &mut Value| {
            let members = object.as_object_mut().unwrap();
            members.retain(|name, _| optional.contains(&name.as_str()) || kept.next().unwrap());
        };
        prune(&mut config["issuers"][0]);
        prune(&mut config);

        let read: PolicyConfig = serde_json::from_value(config).unwrap();
        let written = serde_json::to_string(&read).unwrap();
        prop_assert_eq!(&serde_json::from_str::<PolicyConfig>(&written).unwrap(), &read);
        prop_assert!(written.contains(&secret));
        prop_assert!(Policy::compile(read.clone()).is_ok());

        let public = read.for_filters();
        let shown = serde_json::to_string(&public).unwrap();
        prop_assert!(!shown.contains(&secret), "{}", shown);
        prop_assert!(shown.contains("\"ec\"") && shown.contains("\"rsa\""));
        prop_assert_eq!(&public.for_filters(), &public);
        prop_assert!(Policy::compile(public).is_ok());
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
    let nothing = Sent::to("").method("").without("upgrade");
    let policy = policy();
    let verdict = nothing.verdict_at(
        u64::MAX,
        &policy,
        &mut Memory::new(&policy, 0),
        &Always::yes(),
    );
    assert_eq!(verdict.decision, Decision::Refuse(Reason::NotFound));
    assert_eq!(verdict.edits, Edits::default());
}
