//! What a client asks for in an instance.

use serde_json::json;

use super::support::{Always, Sent, outcome, policy_with, token};
use crate::Policy;

fn policy() -> Policy {
    policy_with(json!({"labels": [
        {"label": "region", "query_parameter": "region", "header": "x-region"},
        {"label": "gpu", "query_parameter": "gpu"},
        {"label": "build", "header": "x-build"},
    ]}))
}

#[test]
fn a_client_asks_by_parameter_or_header() {
    let at = |query: &str| Sent::to(format!("/rtsp?{query}")).bearer(token());
    let table: [(Sent, &[(&str, &str)]); 12] = [
        (at(""), &[]),
        (at("region=eu"), &[("region", "eu")]),
        (at("region="), &[]),
        (at("region"), &[]),
        (at("Region=eu&xregion=eu&a=region"), &[]),
        (at("re%67ion=e%75-W.1_b"), &[("region", "eu-W.1_b")]),
        (at("region=eu&region=eu"), &[("region", "eu")]),
        (at("").header("x-region", "eu"), &[("region", "eu")]),
        (at("").header("x-region", " eu\t"), &[("region", "eu")]),
        (
            at("region=eu&gpu=l40s").header("x-region", "eu"),
            &[("region", "eu"), ("gpu", "l40s")],
        ),
        (at("build=7").header("x-build", "8"), &[("build", "8")]),
        (at("").header("x-other", "eu").header("region", "eu"), &[]),
    ];
    for (sent, expected) in table {
        let pairs = expected.iter();
        let expected = pairs.map(|(name, value)| ((*name).into(), (*value).into()));
        let labels = sent.admitted(&policy()).labels;
        assert_eq!(
            labels,
            expected.collect::<Vec<(String, String)>>(),
            "{sent:?}"
        );
    }
}

#[test]
fn what_is_not_clean_is_a_bad_request() {
    let at = |query: String| Sent::to(format!("/rtsp?{query}")).bearer(token());
    let plain = || at(String::new());
    let long = "a".repeat(63);
    for (sent, expected) in [
        (at(format!("region={long}")), "admitted"),
        (at(format!("region={long}a")), "bad_request"),
        (at("region=eu&region=us".into()), "bad_request"),
        (at("region=e+u".into()), "bad_request"),
        (at("region=e%20u".into()), "bad_request"),
        (at("region=%00".into()), "bad_request"),
        (at("region=%ff".into()), "bad_request"),
        (at("region=e/u".into()), "bad_request"),
        (
            at("region=eu".into()).header("x-region", "us"),
            "bad_request",
        ),
        (plain().header("x-region", "eu, eu"), "bad_request"),
        (plain().header("x-region", b"\xff"), "bad_request"),
        // What is wrong with the path or the method comes first, the token after.
        (Sent::to("/elsewhere?region=/"), "not_found"),
        (Sent::to("/rtsp?region=/"), "bad_request"),
    ] {
        let answer = sent.meets(&policy(), &Always::yes());
        assert_eq!(outcome(&answer), expected, "{sent:?}");
    }
}

#[test]
fn what_is_asked_for_stays_in_the_request() {
    let path = "/sign_in?a=1&region=eu&gpu=l40s";
    let sent = Sent::to(path).bearer(token());
    let policy = policy();
    let left = sent.edited(&sent.verdict(&policy, &Always::yes()));
    assert_eq!(left.path, path.as_bytes());
}

#[test]
fn the_policy_names_the_headers_to_read() {
    let policy = policy();
    for (name, expected) in [("x-region", true), ("x-build", true), ("x-other", false)] {
        assert_eq!(policy.reads(name), expected, "{name}");
    }
}
