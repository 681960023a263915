//! Turns a fuzzer's bytes into a request and checks what holds for every answer. The seeds go
//! through the same function in a plain test.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use berth_admission::{
    Algorithm, KeyMaterial, Policy, Request, UnixSeconds, Verdict, VerifyError, VerifySignature,
    admit, admitted_body,
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
                }]}
            }],
            "pools": [
                {"name": "n", "family": "native"},
                {"name": "v", "family": "web"},
                {"name": "w", "family": "web"}
            ],
            "default_pools": {"web": "w"},
            "pools_claim": "p",
            "tenant_claim": "t",
            "priority_claim": "u",
            "labels": [{"label": "l", "query_parameter": "l"}]
        }"#,
    )?;
    Ok(Policy::compile(config)?)
}

/// Answers the request that `data` stands for: `admitted`, or the reason's label.
///
/// Its lines are the method, the path, and the headers `upgrade`, `authorization`,
/// `sec-websocket-protocol` and `berth-resume-key`; an empty one is absent. If two more follow,
/// they are a JOSE header and claims, and become the token.
pub(crate) fn drive(policy: &Policy, data: &[u8]) -> &'static str {
    let mut lines = data.splitn(8, |byte| *byte == b'\n');
    let mut line = || lines.next().filter(|line| !line.is_empty());
    let method = line().unwrap_or_default();
    let path = line().unwrap_or_default();
    let (upgrade, authorization, protocols, resume_key) = (line(), line(), line(), line());
    let token = line().map(|header| {
        let claims = line().unwrap_or_default();
        let (header, claims) = (
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(claims),
        );
        format!("Bearer {header}.{claims}.AAAA")
    });
    let request = Request {
        method,
        path,
        upgrade,
        authorization: token.as_deref().map(str::as_bytes).or(authorization),
        sec_websocket_protocol: protocols,
        resume_key,
        labels: &[],
    };

    for answer in [
        Ok(false),
        Err(VerifyError::KeyRefused),
        Err(VerifyError::NotHere),
        Err(VerifyError::Unavailable),
    ] {
        let verdict = admit(policy, &request, NOW, &Always(answer));
        assert!(
            matches!(verdict, Verdict::Refuse(_)),
            "admitted without a signature"
        );
    }
    match admit(policy, &request, NOW, &Always(Ok(true))) {
        Verdict::Refuse(reason) => reason.label(),
        Verdict::Admit(admission) => {
            assert!(["n", "v", "w"].contains(&admission.pool.as_str()));
            assert!(admission.expires_at.is_some_and(|end| end > NOW));
            let owner = &admission.owner;
            assert!((1..=256).contains(&owner.subject.len()) && owner.tenant.len() <= 256);
            assert!(!owner.subject.contains(char::is_control));
            assert!(!owner.tenant.contains(char::is_control));
            assert!(owner.resume_key.len() <= 128);
            assert!(owner.resume_key.bytes().all(|byte| byte.is_ascii_graphic()));
            assert!(admission.priority <= 9);
            assert!(
                admission
                    .labels
                    .iter()
                    .all(|(_, value)| (1..=63).contains(&value.len()))
            );
            assert!(admission.upstream.path.len() <= request.path.len());
            assert!(serde_json::from_str::<serde_json::Value>(&admitted_body(&admission)).is_ok());
            "admitted"
        }
    }
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
