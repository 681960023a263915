//! What is read from a request.

use serde_json::json;

use super::support::{
    Always, Sent, claims, label, outcome, policy_config, policy_with, token, unsigned,
};
use crate::{Kind, Policy, Reason};

fn refused(policy: &Policy, sent: &Sent) -> &'static str {
    outcome(&sent.meets(policy, &Always::yes()))
}

#[test]
fn the_path_says_the_family_and_the_pool() {
    let table = [
        ("/rtsp", "native native"),
        ("/rtsp?a=b", "native native"),
        ("/rtsp#fragment", "native native"),
        ("/sign_in", "web web-a"),
        ("/sign_in?", "web web-a"),
        ("/sign_in?/web-b/sign_in", "web web-a"),
        ("/web-a/sign_in", "web web-a"),
        ("/web-b/sign_in?a=b", "web web-b"),
        ("/native/sign_in", "no_such_pool"),
        ("/nobody/sign_in", "no_such_pool"),
        ("/WEB-A/sign_in", "no_such_pool"),
        ("/sign_in/sign_in", "no_such_pool"),
        ("/10.0.0.5/sign_in", "no_such_pool"),
        ("/10.0.0.5:49100/sign_in", "no_such_pool"),
        ("/[::1]/sign_in", "no_such_pool"),
        ("/web%2Da/sign_in", "no_such_pool"),
        ("/web-a%2F/sign_in", "no_such_pool"),
        ("/../sign_in", "no_such_pool"),
        ("/%2e%2e/sign_in", "no_such_pool"),
        ("/web-a;v=1/sign_in", "no_such_pool"),
        ("", "not_found"),
        ("/", "not_found"),
        ("*", "not_found"),
        ("/rtsp/", "not_found"),
        ("/RTSP", "not_found"),
        ("/rtsp;v=1", "not_found"),
        ("/native/rtsp", "not_found"),
        ("rtsp", "not_found"),
        ("/sign_in/", "not_found"),
        ("/sign_in;v=1", "not_found"),
        ("/sign%5Fin", "not_found"),
        ("//sign_in", "not_found"),
        ("/web-a//sign_in", "not_found"),
        ("//web-a/sign_in", "not_found"),
        ("/web-a/sign_in/..", "not_found"),
        ("/proxy/10.0.0.5/sign_in", "not_found"),
        ("/?/sign_in", "not_found"),
        ("/#/sign_in", "not_found"),
        ("https://berth.example/sign_in", "not_found"),
        ("web-a/sign_in", "not_found"),
    ];
    let policy = policy_with(json!({}));
    for (path, expected) in table {
        let sent = Sent::to(path).bearer(token());
        let answer = match sent.meets(&policy, &Always::yes()) {
            Ok(admission) => format!("{} {}", sent.wish(&policy).family, admission.pool),
            Err(reason) => reason.label().to_owned(),
        };
        assert_eq!(answer, expected, "{path}");
    }
}

#[test]
fn signaling_is_opened_with_get() {
    let policy = policy_with(json!({}));
    for method in ["HEAD", "POST", "CONNECT", "OPTIONS", "get", "GET ", ""] {
        let sent = Sent::to("/rtsp").method(method).bearer(token());
        assert_eq!(refused(&policy, &sent), "method_not_allowed", "{method}");
    }
    let sent = Sent::to("/elsewhere").method("POST");
    assert_eq!(refused(&policy, &sent), "not_found", "the path comes first");
}

#[test]
fn an_upgrade_to_websocket_is_one_and_anything_else_asks() {
    let table = [
        ("websocket", Kind::Upgrade),
        ("WebSocket", Kind::Upgrade),
        ("h2c, websocket", Kind::Upgrade),
        ("h2c,\twebsocket ", Kind::Upgrade),
        ("h2c", Kind::Check),
        ("websocket2", Kind::Check),
        ("websocket;v=13", Kind::Check),
        ("", Kind::Check),
    ];
    let policy = policy_with(json!({}));
    for (upgrade, expected) in table {
        let sent = Sent::to("/rtsp").bearer(token()).upgrade(upgrade);
        assert_eq!(sent.wish(&policy).kind, expected, "{upgrade}");
    }
    let sent = Sent::to("/rtsp").bearer(token()).without("upgrade");
    assert_eq!(sent.wish(&policy).kind, Kind::Check);
}

#[test]
fn the_token_comes_in_any_of_three_places() {
    let token = &token();
    let other = &unsigned(r#"{"alg":"ES256"}"#, &claims(json!({})));
    let at = |path: String| Sent::to(path);
    let encoded = token.replace('.', "%2E");
    let table = [
        ("nowhere", at("/rtsp".into()), "no_token"),
        ("header", at("/rtsp".into()).bearer(token), "admitted"),
        (
            "any case",
            at("/rtsp".into()).authorization(format!("bEARER {token}")),
            "admitted",
        ),
        (
            "spaces",
            at("/rtsp".into()).authorization(format!("  Bearer   {token} ")),
            "admitted",
        ),
        (
            "other scheme",
            at("/rtsp".into()).authorization(format!("Basic {token}")),
            "no_token",
        ),
        (
            "no scheme",
            at("/rtsp".into()).authorization(token),
            "no_token",
        ),
        (
            "no space",
            at("/rtsp".into()).authorization(format!("Bearer{token}")),
            "no_token",
        ),
        (
            "empty header",
            at("/rtsp".into()).authorization(""),
            "no_token",
        ),
        (
            "only scheme",
            at("/rtsp".into()).authorization("Bearer"),
            "no_token",
        ),
        (
            "scheme and space",
            at("/rtsp".into()).authorization("Bearer "),
            "no_token",
        ),
        (
            "two headers, joined",
            at("/rtsp".into()).authorization(format!("Bearer {token}, Bearer {token}")),
            "malformed_token",
        ),
        ("query", at(format!("/sign_in?token={token}")), "admitted"),
        (
            "later in the query",
            at(format!("/sign_in?a=b&token={token}&c")),
            "admitted",
        ),
        (
            "query twice",
            at(format!("/sign_in?token={token}&token={token}")),
            "admitted",
        ),
        (
            "query, encoded",
            at(format!("/sign_in?%74oken={encoded}")),
            "admitted",
        ),
        (
            "query, other case",
            at(format!("/sign_in?Token={token}")),
            "no_token",
        ),
        ("query, empty", at("/sign_in?token=".into()), "no_token"),
        ("query, bare", at("/sign_in?token".into()), "no_token"),
        (
            "fragment",
            at(format!("/sign_in#?token={token}")),
            "no_token",
        ),
        (
            "query, with a scheme",
            at(format!("/sign_in?token=Bearer%20{token}")),
            "malformed_token",
        ),
        (
            "empty query beside header",
            at("/sign_in?token=".into()).bearer(token),
            "admitted",
        ),
        (
            "protocol",
            at("/rtsp".into()).protocols(format!("authorization.{token}")),
            "admitted",
        ),
        (
            "protocol, bearer",
            at("/rtsp".into()).protocols(format!("x, authorization.bearer.{token}")),
            "admitted",
        ),
        (
            "protocol, any case",
            at("/rtsp".into()).protocols(format!("Authorization.Bearer.{token}")),
            "admitted",
        ),
        (
            "protocol, empty",
            at("/rtsp".into()).protocols("authorization."),
            "no_token",
        ),
        (
            "protocol, other",
            at("/rtsp".into()).protocols(token),
            "no_token",
        ),
        (
            "the same everywhere",
            at(format!("/sign_in?token={token}"))
                .bearer(token)
                .protocols(format!(
                    "authorization.{token}, authorization.bearer.{token}"
                )),
            "admitted",
        ),
        (
            "header and query differ",
            at(format!("/rtsp?token={other}")).bearer(token),
            "malformed_token",
        ),
        (
            "queries differ",
            at(format!("/rtsp?token={token}&token={other}")),
            "malformed_token",
        ),
        (
            "queries differ, then agree",
            at(format!("/rtsp?token={token}&token={other}&token={other}")),
            "malformed_token",
        ),
        (
            "header and protocol differ",
            at("/rtsp".into())
                .bearer(token)
                .protocols(format!("authorization.{other}")),
            "malformed_token",
        ),
        (
            "protocols differ",
            at("/rtsp".into()).protocols(format!("authorization.{token},authorization.{other}")),
            "malformed_token",
        ),
    ];
    let policy = policy_with(json!({}));
    for (name, sent, expected) in table {
        assert_eq!(refused(&policy, &sent), expected, "{name}");
    }
}

#[test]
fn the_query_parameter_is_the_policys() {
    let policy = policy_with(json!({"carriers": [{"query": "access.token"}]}));
    let token = token();
    let sent = Sent::to(format!("/sign_in?access.token={token}&accessXtoken=1"));
    let verdict = sent.verdict(&policy, &Always::yes());
    assert_eq!(label(&verdict), "admitted");
    assert_eq!(sent.edited(&verdict).path, b"/sign_in?accessXtoken=1");
    assert_eq!(
        refused(&policy, &Sent::to(format!("/sign_in?token={token}"))),
        "no_token"
    );
}

#[test]
fn the_resume_key_comes_in_a_header_or_the_query() {
    let long = "k".repeat(128);
    let longer = "k".repeat(129);
    let table = [
        ("/rtsp".to_owned(), None, Ok("")),
        ("/rtsp".into(), Some(""), Ok("")),
        ("/rtsp?berth_resume_key".into(), None, Ok("")),
        ("/rtsp".into(), Some("k1"), Ok("k1")),
        ("/rtsp".into(), Some("!~\"{}"), Ok("!~\"{}")),
        ("/rtsp?berth_resume_key=k2".into(), None, Ok("k2")),
        (
            "/rtsp?berth_resume_key=a+b%2Bc%26".into(),
            None,
            Ok("a+b+c&"),
        ),
        ("/rtsp?berth_resume_key=k3".into(), Some("k3"), Ok("k3")),
        ("/rtsp?berth_resume_key=".into(), Some("k4"), Ok("k4")),
        (
            format!("/rtsp?berth_resume_key={long}"),
            None,
            Ok(long.as_str()),
        ),
        ("/rtsp?berth_resume_key=k5".into(), Some("k6"), Err(())),
        (
            "/rtsp?berth_resume_key=k7&berth_resume_key=k8".into(),
            None,
            Err(()),
        ),
        (format!("/rtsp?berth_resume_key={longer}"), None, Err(())),
        ("/rtsp".into(), Some(longer.as_str()), Err(())),
        ("/rtsp".into(), Some("two words"), Err(())),
        ("/rtsp".into(), Some("\u{e9}"), Err(())),
        ("/rtsp?berth_resume_key=%0D%0A".into(), None, Err(())),
        ("/rtsp?berth_resume_key=%FF".into(), None, Err(())),
        ("/rtsp?berth_resume_key=%00".into(), None, Err(())),
    ];
    let policy = policy_with(json!({}));
    for (path, header, expected) in table {
        let mut sent = Sent::to(&path).bearer(token());
        if let Some(key) = header {
            sent = sent.resume_key(key);
        }
        let answer = sent
            .meets(&policy, &Always::yes())
            .map(|admission| admission.owner.resume_key);
        let expected = expected.map(str::to_owned).map_err(|()| Reason::BadRequest);
        assert_eq!(answer, expected, "{path} {header:?}");
    }
}

#[test]
fn a_pool_is_chosen_by_path_then_token_then_default() {
    let many = policy_config()["pools"].clone();
    let two = json!([{"name": "web-a", "family": "web"}, {"name": "web-b", "family": "web"}]);
    let (claim, no_default) = (json!("pools"), json!({}));
    // policy's pools, default, claim configured; path; token's pools; answer
    let web = json!({"web": "web-a"});
    let table = [
        (&many, &web, false, "/sign_in", json!(null), "web-a"),
        (&many, &web, false, "/web-b/sign_in", json!(null), "web-b"),
        (&many, &web, false, "/sign_in", json!(["web-b"]), "web-a"),
        (
            &many,
            &no_default,
            false,
            "/sign_in",
            json!(null),
            "no_such_pool",
        ),
        (&many, &no_default, false, "/rtsp", json!(null), "native"),
        (
            &two,
            &no_default,
            false,
            "/rtsp",
            json!(null),
            "no_such_pool",
        ),
        (&many, &web, true, "/sign_in", json!(["web-b"]), "web-b"),
        (&many, &web, true, "/sign_in", json!("web-b"), "web-b"),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!(["web-b", "web-b", "nobody", "native"]),
            "web-b",
        ),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!(["web-b", "web-a"]),
            "web-a",
        ),
        (
            &many,
            &no_default,
            true,
            "/sign_in",
            json!(["web-b", "web-a"]),
            "no_such_pool",
        ),
        (
            &many,
            &no_default,
            true,
            "/web-b/sign_in",
            json!(["web-b", "web-a"]),
            "web-b",
        ),
        (
            &many,
            &web,
            true,
            "/web-a/sign_in",
            json!(["web-b"]),
            "pool_forbidden",
        ),
        (
            &many,
            &web,
            true,
            "/nobody/sign_in",
            json!(["nobody"]),
            "no_such_pool",
        ),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!(["native"]),
            "pool_forbidden",
        ),
        (&many, &web, true, "/sign_in", json!([]), "pool_forbidden"),
        (&many, &web, true, "/sign_in", json!(null), "pool_forbidden"),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!("web-a web-b"),
            "pool_forbidden",
        ),
        (&many, &web, true, "/rtsp", json!(["native"]), "native"),
        (
            &many,
            &web,
            true,
            "/rtsp",
            json!(["web-a"]),
            "pool_forbidden",
        ),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!(["web-a", 7]),
            "malformed_token",
        ),
        (
            &many,
            &web,
            true,
            "/sign_in",
            json!({"web-a": true}),
            "malformed_token",
        ),
        (&many, &web, true, "/sign_in", json!(7), "malformed_token"),
        (&many, &web, false, "/sign_in", json!(7), "web-a"),
    ];
    for (pools, default, claimed, path, named, expected) in table {
        let mut changes = json!({"pools": pools, "default_pools": default});
        if claimed {
            changes["pools_claim"] = claim.clone();
        }
        let policy = policy_with(changes);
        let token = unsigned(
            r#"{"alg":"ES256"}"#,
            &claims(json!({"pools": named.clone()})),
        );
        let answer = Sent::to(path).bearer(token).meets(&policy, &Always::yes());
        let answer = answer
            .as_ref()
            .map_or_else(|reason| reason.label(), |admission| &admission.pool);
        assert_eq!(answer, expected, "{path} {named} claim: {claimed}");
    }
}
