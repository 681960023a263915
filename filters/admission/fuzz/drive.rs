//! Turns a fuzzer's bytes into a request and checks what holds for every answer. The seeds go
//! through the same function in a plain test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_admission::{
    Admission, Algorithm, Certificate, Decision, Edits, KeyMaterial, Memory, Policy, Request,
    UnixSeconds, Verdict, VerifyError, VerifySignature, Wish, admit, admitted_body,
};

/// A policy in which every rule is in force.
pub(crate) fn policy() -> Result<Policy, Box<dyn std::error::Error>> {
    let config = serde_json::from_str(
        r#"{
            "issuers": [{
                "issuer": "i",
                "audiences": ["a"],
                "jwks": {"keys": [{
                    "kty": "EC", "crv": "P-256", "kid": "k",
                    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
                    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
                }]},
                "types": ["JWT", "at+jwt"],
                "subjects": [{"prefix": "s"}],
                "required_claims": [{"claim": "r.e", "matches": {"exact": "yes"}}],
                "max_lifetime_seconds": 3600
            }],
            "api_keys": [{
                "subject": "machine", "pools": ["w"],
                "sha256": "79f3d57c9f4aeb69df3fa40882ac40d381525f6bd1d580b19dc4aa03589625e2"
            }],
            "client_certificates": [{"name": "uri_san", "matches": {"prefix": "spiffe://"}}],
            "carriers": [
                "authorization", {"header": {"name": "x-token", "prefix": "Token "}},
                {"query": "token"}, {"cookie": "session"},
                {"subprotocol": "authorization.bearer."}, {"subprotocol": "authorization."},
                {"subprotocol_base64url": "base64url.bearer.authorization."}
            ],
            "pools": [
                {"name": "n", "family": "native"},
                {"name": "v", "family": "web", "audiences": ["b"]},
                {"name": "w", "family": "web", "allow": [{"tenant": {"exact": "t"}}, {"issuer": "api_key"}]}
            ],
            "pool_from": [{"header": "x-pool"}, "path", {"claim": "pool"}],
            "default_pools": {"web": "w"},
            "pools_claim": "p",
            "tenant_claim": "t",
            "priority_claim": "u",
            "labels": [{"label": "l", "query_parameter": "l", "header": "x-l"}],
            "origins": ["https://app.example", "https://*.example.com"],
            "tags": {
                "claims": ["t", "r.e"],
                "headers": [{"name": "x-user", "value": "subject"}, {"name": "x-r", "value": {"claim": "r"}}]
            }
        }"#,
    )?;
    Ok(Policy::compile(config)?)
}

/// Answers the request that `data` stands for: `admitted`, `preflight`, `undecided`, or the reason's label.
///
/// Its lines are the method, the path, and headers, `name: value`. An empty one ends them; a header `certificate` is the
/// URI in the client's certificate. If two lines follow, they are a JOSE header and claims, and become the token.
pub(crate) fn drive(policy: &Policy, data: &[u8]) -> &'static str {
    let mut lines = data.split(|byte| *byte == b'\n');
    let method = lines.next().unwrap_or_default();
    let path = lines.next().unwrap_or_default();
    let mut headers = Vec::new();
    let mut certificate = None;
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        let mut parts = line.splitn(2, |byte| *byte == b':');
        let name = String::from_utf8_lossy(parts.next().unwrap_or_default()).into_owned();
        let value = parts.next().unwrap_or_default().trim_ascii().to_vec();
        match name.as_str() {
            "certificate" => certificate = String::from_utf8(value).ok(),
            _ => headers.push((name, value)),
        }
    }
    if let Some(header) = lines.next().filter(|header| !header.is_empty()) {
        let claims = lines.next().unwrap_or_default();
        let (header, claims) = (
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
        );
        let value = format!("Bearer {header}.{claims}.AAAA");
        headers.push(("authorization".to_owned(), value.into_bytes()));
    }
    let request = Request {
        method,
        path,
        headers: &headers,
        client: None,
        certificate: Certificate {
            uri_san: certificate.as_deref(),
            ..Certificate::default()
        },
    };
    check(policy, &request)
}

fn check(policy: &Policy, request: &Request<'_>) -> &'static str {
    for says in [
        Ok(false),
        Err(VerifyError::KeyRefused),
        Err(VerifyError::NotHere),
        Err(VerifyError::Unavailable),
    ] {
        let verdict = answer(policy, &mut Memory::new(policy, 0), request, says);
        if let Decision::Admit(_, admission) = verdict.decision {
            let issuer = admission.owner.issuer.as_str();
            assert_ne!(issuer, "i", "admitted without a signature");
        }
    }
    let mut memory = Memory::new(policy, 0);
    let verdict = answer(policy, &mut memory, request, Ok(true));
    // What was verified is remembered, and nothing else.
    let again = answer(policy, &mut memory, request, Ok(false));
    if let Decision::Admit(..) = verdict.decision {
        assert_eq!(again.decision, verdict.decision);
    }
    check_edits(policy, request, &verdict.edits);
    match verdict.decision {
        Decision::Refuse(reason) => reason.label(),
        Decision::Undecided(..) => "undecided",
        Decision::Preflight => "preflight",
        Decision::Admit(wish, admission) => {
            check_promises(&wish, &admission);
            "admitted"
        }
    }
}

/// What is left of a request after its edits holds no credential, and nothing more to take out.
fn check_edits(policy: &Policy, request: &Request<'_>, edits: &Edits) {
    let mut path = request.path.to_vec();
    let mut headers = request.headers.to_vec();
    for (name, value) in edits.iter() {
        headers.retain(|(other, _)| other != name);
        match value {
            Some(value) if name == ":path" => path = value.to_vec(),
            Some(value) => headers.push((name.to_owned(), value.to_vec())),
            None => assert_ne!(name, ":path", "a request has a path"),
        }
    }
    assert!(path.len() <= request.path.len().max("/sign_in".len()));
    let left = Request {
        path: &path,
        headers: &headers,
        certificate: Certificate::default(),
        ..*request
    };
    let verdict = answer(policy, &mut Memory::new(policy, 0), &left, Ok(true));
    assert_eq!(verdict.edits, Edits::default(), "something was left");
    assert!(
        matches!(verdict.decision, Decision::Refuse(_) | Decision::Preflight),
        "a credential was left"
    );
}

fn check_promises(wish: &Wish, admission: &Admission) {
    assert!(["n", "v", "w"].contains(&admission.pool.as_str()));
    let owner = &admission.owner;
    assert!(["i", "api_key", "client_certificate"].contains(&owner.issuer.as_str()));
    let of_a_token = owner.issuer == "i";
    assert_eq!(
        admission.expires_at.is_some_and(|end| end > NOW),
        of_a_token
    );
    assert!((1..=256).contains(&owner.subject.len()) && owner.tenant.len() <= 256);
    assert!(!owner.subject.contains(char::is_control));
    assert!(!owner.tenant.contains(char::is_control));
    assert!(owner.resume_key.len() <= 128);
    assert!(owner.resume_key.bytes().all(|byte| byte.is_ascii_graphic()));
    assert!(admission.priority <= 9);
    for (_, value) in &admission.labels {
        assert!((1..=63).contains(&value.len()));
    }
    for (_, value) in admission.tags.iter().chain(&admission.headers) {
        assert!((1..=256).contains(&value.len()));
        assert!(value.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }
    assert!(
        serde_json::from_str::<serde_json::Value>(&admitted_body(wish.family, admission)).is_ok()
    );
}

fn answer(
    policy: &Policy,
    memory: &mut Memory,
    request: &Request<'_>,
    says: Result<bool, VerifyError>,
) -> Verdict {
    admit(policy, memory, request, NOW, &Always(says))
}

struct Always(Result<bool, VerifyError>);

impl VerifySignature for Always {
    fn verify(
        &self,
        _: Algorithm,
        _: &KeyMaterial,
        _: &[u8],
        _: &[u8],
    ) -> Result<bool, VerifyError> {
        self.0
    }
}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
