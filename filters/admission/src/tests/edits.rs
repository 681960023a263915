//! What becomes of a request on its way to the instance.

use serde_json::json;

use super::support::{Always, Sent, policy_with, token};

#[test]
fn the_instance_sees_every_parameter_but_ours() {
    let table = [
        ("/rtsp", "/rtsp"),
        ("/rtsp?", "/rtsp?"),
        ("/rtsp?TOKEN", "/rtsp"),
        ("/rtsp?TOKEN&a=b", "/rtsp?a=b"),
        (
            "/web-b/sign_in?peer_id=p&TOKEN&version=2",
            "/sign_in?peer_id=p&version=2",
        ),
        ("/sign_in?a&TOKEN", "/sign_in?a"),
        ("/sign_in?TOKEN&TOKEN", "/sign_in"),
        ("/sign_in?TOKEN&", "/sign_in?"),
        ("/sign_in?a=1&&b=2&", "/sign_in?a=1&&b=2&"),
        ("/sign_in?a=%20+%zz&a=1&A=?/", "/sign_in?a=%20+%zz&a=1&A=?/"),
        ("/sign_in?a=b=c&=d&=", "/sign_in?a=b=c&=d&="),
        ("/sign_in?berth_resume_key=k&a", "/sign_in?a"),
        ("/sign_in?berth%5Fresume_key=k&a", "/sign_in?a"),
        ("/sign_in?token&berth_resume_key&a", "/sign_in?a"),
        (
            "/sign_in?tokens=1&xtoken=2&Token=3",
            "/sign_in?tokens=1&xtoken=2&Token=3",
        ),
        ("/sign_in?a;token=1", "/sign_in?a;token=1"),
        ("/sign_in?a=b#c&d", "/sign_in?a=b"),
    ];
    let policy = policy_with(json!({}));
    let parameter = format!("token={}", token());
    let upstream = |path: &[u8]| {
        let sent = Sent::to(path).bearer(token());
        let left = sent.edited(&sent.verdict(&policy, &Always::yes()));
        assert_eq!(left.value("authorization"), None);
        left.path
    };
    for (path, expected) in table {
        let path = path.replace("TOKEN", &parameter);
        assert_eq!(upstream(path.as_bytes()), expected.as_bytes(), "{path}");
    }
    assert_eq!(
        upstream(b"/rtsp?\xFF=\xFE&token&\x80"),
        b"/rtsp?\xFF=\xFE&\x80"
    );
}

#[test]
fn of_the_protocols_a_client_offers_those_that_are_no_credential_remain() {
    let none = None::<Option<&str>>;
    // offered, what becomes of the header, what may be answered
    let table = [
        ("", none, None),
        (" , ", none, None),
        ("x-nv-sessionid.7", none, Some("x-nv-sessionid.7")),
        ("a, b", none, Some("a")),
        ("bad proto, good", none, Some("good")),
        ("b\u{e4}d", none, None),
        ("authorization", none, Some("authorization")),
        ("authorization.TOKEN", Some(None), None),
        ("authorization., b", Some(Some("b")), Some("b")),
        ("a ,authorization.TOKEN,\tb", Some(Some("a, b")), Some("a")),
        (
            "authorization.bearer.TOKEN,, x-nv-sessionid.7",
            Some(Some("x-nv-sessionid.7")),
            Some("x-nv-sessionid.7"),
        ),
        ("AUTHORIZATION.TOKEN, a b", Some(Some("a b")), None),
    ];
    let policy = policy_with(json!({}));
    for (offered, header, answer) in table {
        let offered = offered.replace("TOKEN", &token());
        let sent = Sent::to("/rtsp").bearer(token()).protocols(&offered);
        let verdict = sent.verdict(&policy, &Always::yes());
        let mut edits = verdict.edits.iter();
        let edit = edits.find(|(name, _)| *name == "sec-websocket-protocol");
        let expected = header.map(|header| header.map(str::as_bytes));
        assert_eq!(edit.map(|(_, value)| value), expected, "{offered}");
        let wish = sent.wish(&policy);
        assert_eq!(wish.answer_subprotocol.as_deref(), answer, "{offered}");
    }
    let sent = Sent::to("/rtsp").bearer(token());
    let edits = sent.verdict(&policy, &Always::yes()).edits;
    let names: Vec<_> = edits.iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["authorization"]);
    assert_eq!(sent.wish(&policy).answer_subprotocol, None);
}
