//! Those who come without a token: with an API key, or with a certificate.

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::support::{Always, NOW, Sent, label, policy_with, token};
use crate::{Admission, Certificate, Memory, Policy};

fn hash(key: &str) -> String {
    let hash = Sha256::digest(key);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn policy() -> Policy {
    policy_with(json!({"api_keys": [
        {"subject": "probe", "sha256": hash("key-of-probe"), "pools": ["web-b"], "tenant": "acme", "priority": 7},
        {"subject": "robot", "sha256": hash("KEY of robot").to_uppercase()},
        {"subject": "dots", "sha256": hash("a.b.c")},
        {"subject": "more", "sha256": hash("a.b.c.d")},
    ]}))
}

/// Everything that is said of who was let in.
fn who(admission: &Admission) -> Value {
    let owner = &admission.owner;
    assert_eq!((admission.expires_at, admission.closes_at), (None, None));
    assert_eq!(admission.token_id, "");
    json!([
        owner.issuer,
        owner.subject,
        owner.tenant,
        admission.pool,
        admission.priority
    ])
}

#[test]
fn an_api_key_stands_for_its_user() {
    let probe = json!(["api_key", "probe", "acme", "web-b", 7]);
    let robot = json!(["api_key", "robot", "", "web-a", 0]);
    let web = || Sent::to("/sign_in");
    let table = [
        (web().bearer("key-of-probe"), probe.clone()),
        (web().bearer(" key-of-probe "), probe.clone()),
        (Sent::to("/sign_in?token=key%2Dof-probe"), probe.clone()),
        (web().protocols("authorization.key-of-probe"), probe.clone()),
        (
            web().protocols("base64url.bearer.authorization.a2V5LW9mLXByb2Jl"),
            probe.clone(),
        ),
        (Sent::to("/web-b/sign_in").bearer("key-of-probe"), probe),
        (web().bearer("KEY of robot"), robot),
        (
            Sent::to("/rtsp").bearer("a.b.c.d"),
            json!(["api_key", "more", "", "native", 0]),
        ),
    ];
    for (sent, expected) in table {
        assert_eq!(who(&sent.admitted(&policy())), expected, "{sent:?}");
        let never = Always::yes();
        let verdict = sent.verdict(&policy(), &never);
        assert_eq!((never.asked.get(), verdict.remembered), (0, None));
        let left = sent.edited(&verdict);
        assert_eq!(left.value("authorization"), None);
        assert_eq!(left.value("sec-websocket-protocol"), None);
    }
}

#[test]
fn a_key_that_is_not_known_is_nobodys() {
    let hash = hash("key-of-probe");
    let table = [
        ("key-of-prob", "unknown_api_key"),
        ("key-of-probe2", "unknown_api_key"),
        ("Key-of-probe", "unknown_api_key"),
        ("key-of-probe\0", "unknown_api_key"),
        (&hash, "unknown_api_key"),
        ("x", "unknown_api_key"),
        ("a.b", "unknown_api_key"),
        ("five.parts.as.a.jwe", "unknown_api_key"),
        // Of a token's form: it is read as one, and never looked up.
        ("a.b.c", "malformed_token"),
        (&"k".repeat(100_000), "unknown_api_key"),
    ];
    for (key, expected) in table {
        let never = Always::yes();
        let verdict = Sent::to("/sign_in").bearer(key).verdict(&policy(), &never);
        assert_eq!((label(&verdict).as_str(), never.asked.get()), (expected, 0));
    }
    let without = policy_with(json!({}));
    let verdict = Sent::to("/rtsp")
        .bearer("x")
        .verdict(&without, &Always::yes());
    assert_eq!(label(&verdict), "malformed_token", "nobody has such keys");
}

#[test]
fn an_api_key_opens_its_pools() {
    for (path, key, expected) in [
        ("/web-a/sign_in", "key-of-probe", "pool_forbidden"),
        ("/rtsp", "key-of-probe", "pool_forbidden"),
        ("/web-a/sign_in", "KEY of robot", "admitted"),
        ("/nobody/sign_in", "KEY of robot", "no_such_pool"),
    ] {
        let verdict = Sent::to(path)
            .bearer(key)
            .verdict(&policy(), &Always::yes());
        assert_eq!(label(&verdict), expected, "{path} {key}");
    }
    // What a token would have to say, a key does not.
    let strict = policy_with(json!({
        "api_keys": [{"subject": "probe", "sha256": hash("k")}],
        "pools_claim": "pools",
    }));
    let sent = Sent::to("/rtsp").bearer("k");
    assert_eq!(label(&sent.verdict(&strict, &Always::yes())), "admitted");
}

#[test]
fn keys_alone_let_people_in() {
    let policy = policy_with(json!({
        "issuers": [],
        "api_keys": [{"subject": "probe", "sha256": hash("k")}],
    }));
    let table = [("k".to_owned(), "admitted"), (token(), "wrong_issuer")];
    for (credential, expected) in table {
        let sent = Sent::to("/rtsp").bearer(credential);
        assert_eq!(label(&sent.verdict(&policy, &Always::yes())), expected);
    }
}

fn of_certificates() -> Policy {
    policy_with(json!({
        "origins": [],
        "client_certificates": [
            {"name": "uri_san", "matches": {"prefix": "spiffe://site/"}, "tenant": "site", "pools": ["web-b"]},
            {"name": "dns_san", "matches": {"suffix": ".devices.example"}},
            {"name": "subject", "matches": {"exact": "CN=alice"}},
            {"name": "uri_san", "matches": {"prefix": ""}, "tenant": "never"},
        ],
    }))
}

#[test]
fn a_certificate_stands_for_its_user() {
    let certificate = |uri_san, dns_san, subject| Certificate {
        uri_san,
        dns_san,
        subject,
    };
    let table = [
        (
            certificate(Some("spiffe://site/a"), None, None),
            json!(["client_certificate", "spiffe://site/a", "site", "web-b", 0]),
        ),
        // The first rule that fits.
        (
            certificate(
                Some("spiffe://site/a"),
                Some("a.devices.example"),
                Some("CN=alice"),
            ),
            json!(["client_certificate", "spiffe://site/a", "site", "web-b", 0]),
        ),
        (
            certificate(None, Some("a.devices.example"), Some("CN=alice")),
            json!(["client_certificate", "a.devices.example", "", "web-a", 0]),
        ),
        (
            certificate(None, Some("a.devices.example.evil"), Some("CN=alice")),
            json!(["client_certificate", "CN=alice", "", "web-a", 0]),
        ),
        (
            certificate(Some("spiffe://other"), None, None),
            json!(["client_certificate", "spiffe://other", "never", "web-a", 0]),
        ),
    ];
    for (certificate, expected) in table {
        let sent = Sent::to("/sign_in").certificate(certificate);
        let admission = sent.admitted(&of_certificates());
        assert_eq!(who(&admission), expected, "{certificate:?}");
    }
}

#[test]
fn a_certificate_that_fits_no_rule_is_nothing() {
    let table = [
        (Certificate::default(), "no_token"),
        (
            Certificate {
                dns_san: Some("CN=alice"),
                subject: Some("a.devices.example"),
                ..Certificate::default()
            },
            "no_token",
        ),
        (
            Certificate {
                subject: Some("CN=alice,O=evil"),
                ..Certificate::default()
            },
            "no_token",
        ),
        // An empty name names nobody, even where anything would fit.
        (
            Certificate {
                uri_san: Some(""),
                ..Certificate::default()
            },
            "no_token",
        ),
        (
            Certificate {
                uri_san: Some("spiffe://site/a\nb"),
                ..Certificate::default()
            },
            "user_forbidden",
        ),
    ];
    for (certificate, expected) in table {
        let sent = Sent::to("/sign_in").certificate(certificate);
        let verdict = sent.verdict(&of_certificates(), &Always::yes());
        assert_eq!(label(&verdict), expected, "{certificate:?}");
    }
}

#[test]
fn a_certificate_counts_only_where_nothing_else_is_said() {
    let with = |sent: Sent| {
        sent.certificate(Certificate {
            subject: Some("CN=alice"),
            ..Certificate::default()
        })
    };
    let policy = of_certificates();
    let subject = |sent: Sent| sent.admitted(&policy).owner.subject;
    assert_eq!(subject(with(Sent::to("/rtsp").bearer(token()))), "alice");
    assert_eq!(subject(with(Sent::to("/rtsp"))), "CN=alice");
    let table = [
        (Sent::to("/rtsp").bearer("junk"), "malformed_token"),
        (Sent::to("/sign_in?token=a.b.c"), "malformed_token"),
        (
            Sent::to(format!("/rtsp?token={}", token())).bearer("x"),
            "malformed_token",
        ),
    ];
    for (sent, expected) in table {
        let verdict = with(sent).verdict(&policy, &Always::yes());
        assert_eq!(label(&verdict), expected);
    }
    assert!(policy.reads_certificates());
    assert!(!policy_with(json!({})).reads_certificates());
}

#[test]
fn users_without_a_token_fit_rules_by_what_they_are() {
    let policy = policy_with(json!({
        "origins": [],
        "api_keys": [{"subject": "probe", "sha256": hash("k"), "tenant": "acme"}],
        "client_certificates": [{"name": "subject", "matches": {"prefix": ""}}],
        "pools": [
            {"name": "keys", "family": "web", "allow": [{"issuer": "api_key", "tenant": {"exact": "acme"}}]},
            {"name": "certificates", "family": "web", "allow": [{"issuer": "client_certificate"}]},
            {"name": "tokens", "family": "web", "audiences": ["berth"], "allow": [
                {"claims": [{"claim": "sub", "matches": {"prefix": ""}}]},
            ]},
        ],
        "default_pools": {},
    }));
    let key = |path| Sent::to(path).bearer("k");
    let certificate = |path| {
        Sent::to(path).certificate(Certificate {
            subject: Some("CN=a"),
            ..Certificate::default()
        })
    };
    let ours = |path| Sent::to(path).bearer(token());
    for (sent, expected) in [
        (key("/keys/sign_in"), "admitted"),
        (key("/certificates/sign_in"), "pool_forbidden"),
        (key("/tokens/sign_in"), "pool_forbidden"),
        (certificate("/keys/sign_in"), "pool_forbidden"),
        (certificate("/certificates/sign_in"), "admitted"),
        (certificate("/tokens/sign_in"), "pool_forbidden"),
        (ours("/keys/sign_in"), "pool_forbidden"),
        (ours("/certificates/sign_in"), "pool_forbidden"),
        (ours("/tokens/sign_in"), "admitted"),
    ] {
        let mut memory = Memory::new(&policy, 0);
        let verdict = sent.verdict_at(NOW, &policy, &mut memory, &Always::yes());
        assert_eq!(label(&verdict), expected, "{sent:?}");
    }
}
