//! Web pages that ask, and what their browsers are told.

use serde_json::json;

use super::support::{Always, Sent, label, policy_with, token};
use crate::Policy;

fn policy() -> Policy {
    policy_with(json!({"origins": [
        "https://app.example",
        "https://dev.example:8443",
        "http://localhost:5173",
        "https://*.example.com",
        "https://*.lab.example:9443",
        "http://[::1]:3000",
    ]}))
}

#[test]
fn a_page_may_ask_or_not() {
    let may = [
        "https://app.example",
        "https://dev.example:8443",
        "http://localhost:5173",
        "https://a.example.com",
        "https://a.b.example.com",
        "https://a-1.example.com",
        "https://x.lab.example:9443",
        "http://[::1]:3000",
    ];
    let may_not = [
        "",
        "null",
        "*",
        "https://",
        "https://evil.example",
        "https://evil-example.com",
        "https://evilexample.com",
        "https://example.com",
        "https://.example.com",
        "https://example.com.evil",
        "https://a.example.com.evil",
        "https://a.example.com:443",
        "https://a.example.com:8443",
        "https://a.example.com/",
        "https://a.example.com ",
        " https://a.example.com",
        "https://evil/.example.com",
        "https://evil?.example.com",
        "https://evil#.example.com",
        "https://evil:80.example.com",
        "https://evil\\.example.com",
        "https://user@a.example.com",
        "https://user:password@a.example.com",
        "https://*.example.com",
        "https://a.example.com, https://a.example.com",
        "https://a%2eexample.com",
        "https://a.example\u{3002}com",
        "https://\u{430}.example.com",
        "http://a.example.com",
        "wss://a.example.com",
        "HTTPS://app.example",
        "https://APP.EXAMPLE",
        "https://app.example.",
        "https://app.example:443",
        "https://app.example:80",
        "http://app.example",
        "https://app.exampl",
        "https://app.example.evil",
        "https://app.example/path",
        "https://user@app.example",
        "https://app.example\0",
        "https://dev.example",
        "https://dev.example:84430",
        "http://localhost",
        "http://localhost:51730",
        "https://x.lab.example",
        "file://",
        "chrome-extension://abc",
        "http://[::1]:3001",
    ];
    let of = |origin: &str, policy: &Policy| {
        let sent = Sent::to("/rtsp").bearer(token()).header("origin", origin);
        let asked = Always::yes();
        let verdict = sent.verdict(policy, &asked);
        (label(&verdict), verdict.cors, asked.asked.get())
    };
    for origin in may {
        let (answer, cors, _) = of(origin, &policy());
        assert_eq!(answer, "admitted", "{origin}");
        assert!(cors.contains(&("access-control-allow-origin", origin.to_owned())));
    }
    let any = policy_with(json!({}));
    let none = policy_with(json!({"origins": []}));
    for origin in may_not {
        let (answer, cors, asked) = of(origin, &policy());
        assert_eq!(answer, "origin_forbidden", "{origin}");
        assert_eq!(cors, [("vary", "origin".to_owned())], "{origin}");
        assert_eq!(asked, 0, "{origin}");
        assert_eq!(of(origin, &any).0, "admitted", "{origin}");
    }
    for origin in may.iter().chain(&may_not) {
        assert_eq!(of(origin, &none).0, "origin_forbidden", "{origin}");
    }
    let bytes = Sent::to("/rtsp").bearer(token()).header("origin", b"\xff");
    let verdict = bytes.verdict(&policy(), &Always::yes());
    assert_eq!(label(&verdict), "origin_forbidden");
    let two = Sent::to("/rtsp").bearer(token());
    let two = two
        .header("origin", "https://app.example")
        .header("origin", "https://app.example");
    assert_eq!(
        label(&two.verdict(&policy(), &Always::yes())),
        "origin_forbidden"
    );
}

#[test]
fn a_program_has_no_origin() {
    for policy in [policy(), policy_with(json!({"origins": []}))] {
        let verdict = Sent::to("/rtsp")
            .bearer(token())
            .verdict(&policy, &Always::yes());
        assert_eq!(
            (label(&verdict).as_str(), verdict.cors),
            ("admitted", vec![])
        );
    }
}

#[test]
fn an_answer_can_be_read_by_the_page_that_asked() {
    let exposed = "retry-after, www-authenticate, x-berth-reason";
    let named = json!({"origins": ["https://app.example"]});
    let cookies = json!({"origins": ["https://app.example"], "carriers": [{"cookie": "s"}, {"query": "token"}]});
    let of_app = |more: &[(&'static str, &str)]| {
        let mut headers = vec![("vary", "origin".to_owned())];
        headers.push((
            "access-control-allow-origin",
            "https://app.example".to_owned(),
        ));
        headers.extend(
            more.iter()
                .map(|(name, value)| (*name, (*value).to_owned())),
        );
        headers
    };
    let expose = ("access-control-expose-headers", exposed);
    let table = [
        (
            json!({}),
            vec![
                ("access-control-allow-origin", "*".to_owned()),
                (expose.0, exposed.to_owned()),
            ],
        ),
        (named, of_app(&[expose])),
        (
            cookies,
            of_app(&[("access-control-allow-credentials", "true"), expose]),
        ),
    ];
    for (changes, expected) in table {
        let policy = policy_with(changes);
        // Whether it is let in or not.
        for path in [
            format!("/rtsp?token={}", token()),
            "/rtsp".into(),
            "/elsewhere".into(),
        ] {
            let sent = Sent::to(path).header("origin", "https://app.example");
            assert_eq!(sent.verdict(&policy, &Always::yes()).cors, expected);
        }
    }
}

#[test]
fn a_browser_may_ask_first() {
    let policy = policy_with(json!({
        "origins": ["https://app.example"],
        "carriers": ["authorization", {"header": {"name": "x-token"}}, {"cookie": "s"}],
        "pool_from": [{"header": "x-pool"}, "path"],
        "labels": [{"label": "region", "header": "x-region"}],
        "tags": {"headers": [{"name": "x-user", "value": "subject"}]},
    }));
    let preflight = || {
        let sent = Sent::to("/web-a/sign_in")
            .without("upgrade")
            .method("OPTIONS");
        sent.header("access-control-request-method", "GET")
    };
    let from_app = || preflight().header("origin", "https://app.example");
    let headers = |sent: &Sent| {
        let verdict = sent.verdict(&policy, &Always::yes());
        assert_eq!(label(&verdict), "preflight");
        verdict.cors
    };
    let expected: Vec<(&str, String)> = [
        ("vary", "origin"),
        ("access-control-allow-origin", "https://app.example"),
        ("access-control-allow-credentials", "true"),
        ("access-control-allow-methods", "GET"),
        (
            "access-control-allow-headers",
            "authorization, berth-resume-key, x-token, x-pool, x-region",
        ),
        ("access-control-max-age", "600"),
    ]
    .map(|(name, value)| (name, value.to_owned()))
    .to_vec();
    assert_eq!(headers(&from_app()), expected);

    let network = "access-control-request-private-network";
    let allowed = ("access-control-allow-private-network", "true".to_owned());
    assert!(headers(&from_app().header(network, "true")).contains(&allowed));
    for value in ["", "false", "TRUE", "1", "true, true"] {
        assert!(
            !headers(&from_app().header(network, value)).contains(&allowed),
            "{value}"
        );
    }

    for (sent, expected) in [
        (preflight(), "method_not_allowed"),
        (
            preflight().header("origin", "https://evil.example"),
            "origin_forbidden",
        ),
        (
            from_app().without("access-control-request-method"),
            "method_not_allowed",
        ),
        (from_app().method("options"), "method_not_allowed"),
        (from_app().method("POST"), "method_not_allowed"),
        (from_app().method("GET"), "no_token"),
        (
            Sent {
                path: b"/".to_vec(),
                ..from_app()
            },
            "not_found",
        ),
        // A preflight carries no credential, and one that does is still none.
        (from_app().bearer(token()), "preflight"),
    ] {
        let asked = Always::yes();
        let verdict = sent.verdict(&policy, &asked);
        assert_eq!(
            (label(&verdict).as_str(), asked.asked.get()),
            (expected, 0),
            "{sent:?}"
        );
        let to_a_stranger = verdict.cors.iter().any(|(_, value)| value.contains("evil"));
        assert!(!to_a_stranger);
    }
    let answer = headers(&from_app().header(network, "true"));
    assert!(
        answer.iter().all(|(_, value)| value != "*"),
        "credentials and a star do not go together"
    );
}
