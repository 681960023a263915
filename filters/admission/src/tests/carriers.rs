//! Where a credential may be, and what is left of the request for the instance.

use serde_json::{Value, json};

use super::support::{
    Always, HEADER, Sent, Steps, claims, encode, label, policy_with, token, unsigned,
};
use crate::Policy;

/// Every kind of carrier there is. Cookies need `origins`; a request of a program has none.
fn carriers() -> Vec<Value> {
    vec![
        json!("authorization"),
        json!({"header": {"name": "x-token", "prefix": "Token "}}),
        json!({"header": {"name": "x-key"}}),
        json!({"query": "token"}),
        json!({"cookie": "session"}),
        json!({"subprotocol": "authorization."}),
        json!({"subprotocol": "authorization.bearer."}),
        json!({"subprotocol_base64url": "base64url.bearer.authorization."}),
    ]
}

/// A request with this credential in the carrier of that place in the list.
fn carry(sent: Sent, carrier: usize, token: &str) -> Sent {
    match carrier {
        0 => sent.bearer(token),
        1 => sent.header("x-token", format!("Token {token}")),
        2 => sent.header("x-key", token),
        3 => {
            let path = String::from_utf8(sent.path.clone()).unwrap();
            let path = format!("{path}&token={token}");
            Sent {
                path: path.into_bytes(),
                ..sent
            }
        }
        4 => sent.header("cookie", format!("a=1; session={token}; b=2")),
        5 => offer(sent, &format!("authorization.{token}")),
        6 => offer(sent, &format!("authorization.bearer.{token}")),
        _ => {
            let encoded = encode(token);
            let protocol = format!("base64url.bearer.authorization.k8s.io.{encoded}");
            offer(sent, &protocol)
        }
    }
}

fn offer(sent: Sent, protocol: &str) -> Sent {
    let earlier = sent.value("sec-websocket-protocol");
    let earlier = earlier.map_or_else(String::new, |value| {
        format!("{}, ", String::from_utf8_lossy(value))
    });
    sent.without("sec-websocket-protocol")
        .protocols(format!("{earlier}{protocol}"))
}

fn policy_of(carriers: &[Value]) -> Policy {
    policy_with(json!({"carriers": carriers, "origins": ["https://app.example"]}))
}

fn policy() -> Policy {
    policy_of(&carriers())
}

/// The path and the headers that are left, but the upgrade's.
fn left(sent: &Sent, policy: &Policy) -> String {
    let left = sent.edited(&sent.verdict(policy, &Always::yes()));
    let headers = left.headers.iter().filter(|(name, _)| name != "upgrade");
    let headers = headers.map(|(name, value)| format!("{name}: {}", value.escape_ascii()));
    let path = left.path.escape_ascii().to_string();
    let lines: Vec<String> = std::iter::once(path).chain(headers).collect();
    lines.join(" | ")
}

#[test]
fn each_carrier_carries_and_leaves_nothing() {
    let policy = policy();
    for carrier in 0..carriers().len() {
        let sent = carry(Sent::to("/sign_in?a=1"), carrier, &token());
        let verdict = sent.verdict(&policy, &Always::yes());
        assert_eq!(label(&verdict), "admitted", "{sent:?}");
        let left = left(&sent, &policy);
        assert!(
            !left.contains(&token()) && !left.contains(&encode(token())),
            "{left}"
        );
        let rest = match carrier {
            4 => "/sign_in?a=1 | cookie: a=1; b=2",
            _ => "/sign_in?a=1",
        };
        assert_eq!(left, rest);
    }
}

#[test]
fn two_carriers_agree_or_admit_nobody() {
    let policy = policy();
    let other = unsigned(HEADER, &claims(json!({"sub": "mallory"})));
    for first in 0..carriers().len() {
        for second in (0..carriers().len()).filter(|second| *second != first) {
            let sent = carry(Sent::to("/sign_in?a=1"), first, &token());
            let same = carry(sent.clone(), second, &token());
            let verdict = same.verdict(&policy, &Always::yes());
            assert_eq!(label(&verdict), "admitted", "{first} {second}");

            let differ = carry(sent, second, &other);
            let never = Always::yes();
            let verdict = differ.verdict(&policy, &never);
            assert_eq!(label(&verdict), "malformed_token", "{first} {second}");
            assert_eq!(never.asked.get(), 0, "{first} {second}");
            let left = left(&differ, &policy);
            for secret in [&token(), &other] {
                assert!(!left.contains(secret), "{left}");
                assert!(!left.contains(&encode(secret)), "{left}");
            }
        }
    }
}

#[test]
fn the_first_in_the_policys_order_is_the_one_that_counts() {
    let names = [
        "in the header `authorization`",
        "in the header `x-token`",
        "in the header `x-key`",
        "in the query parameter `token`",
        "in the cookie `session`",
        "in the subprotocol `authorization.…`",
        "in the subprotocol `authorization.bearer.…`",
        "in the subprotocol `base64url.bearer.authorization.…`",
    ];
    let everywhere = (0..names.len()).fold(Sent::to("/sign_in?a=1"), |sent, carrier| {
        carry(sent, carrier, &token())
    });
    for (first, name) in names.into_iter().enumerate() {
        let mut order = carriers();
        order.rotate_left(first);
        let steps = Steps::of(&everywhere, &policy_of(&order), &Always::yes());
        assert_eq!(steps.facts("credential"), Some(name));
    }
}

#[test]
fn what_is_no_carrier_carries_nothing() {
    for wanted in 0..carriers().len() {
        let policy = policy_of(&carriers()[wanted..=wanted]);
        for carrier in (0..carriers().len()).filter(|carrier| *carrier != wanted) {
            // `authorization.` would be the beginning of `authorization.bearer.` too.
            if wanted == 5 && carrier == 6 {
                continue;
            }
            let sent = carry(Sent::to("/sign_in?a=1"), carrier, &token());
            let verdict = sent.verdict(&policy, &Always::yes());
            assert_eq!(label(&verdict), "no_token", "{wanted} {carrier}");
        }
    }
    // Whatever the scheme and the policy, it is not for the instance.
    let policy = policy_of(&[json!({"query": "t"})]);
    let sent = Sent::to("/rtsp").authorization("Basic YTpi");
    assert_eq!(left(&sent, &policy), "/rtsp");
}

#[test]
fn the_longest_beginning_of_a_subprotocol_wins_whatever_the_order() {
    let plain = json!({"subprotocol": "authorization."});
    let longer = json!({"subprotocol": "authorization.bearer."});
    let encoded = json!({"subprotocol_base64url": "authorization.bearer.b64."});
    let token = token();
    let base64 = encode(&token);
    let offers = [
        format!("authorization.{token}"),
        format!("authorization.bearer.{token}"),
        format!("Authorization.Bearer.{token}"),
        format!("authorization.bearer.b64.{base64}"),
        format!("authorization.bearer.b64.k8s.io.{base64}"),
    ];
    for order in [
        [&plain, &longer, &encoded],
        [&encoded, &longer, &plain],
        [&longer, &encoded, &plain],
    ] {
        let policy = policy_of(&order.map(Value::clone));
        for offer in &offers {
            let sent = Sent::to("/rtsp").protocols(format!("x.1, {offer}"));
            let verdict = sent.verdict(&policy, &Always::yes());
            assert_eq!(label(&verdict), "admitted", "{offer}");
            assert_eq!(left(&sent, &policy), "/rtsp | sec-websocket-protocol: x.1");
        }
    }
}

#[test]
fn what_is_left_is_what_was_sent_less_what_is_ours() {
    let policy = policy();
    let token = token();
    let encoded = encode(&token);
    let at = |path: &str| Sent::to(path.replace("TOKEN", &token));
    let cookie = |value: &str| Sent::to("/rtsp").header("cookie", value.replace("TOKEN", &token));
    let protocols = |value: &str| {
        let value = value.replace("TOKEN", &token).replace("ENCODED", &encoded);
        Sent::to("/rtsp").protocols(value)
    };
    let table = [
        // Parameters, found however their name is written.
        (
            at("/rtsp?a=%20+%zz&token=TOKEN&A=?/"),
            "/rtsp?a=%20+%zz&A=?/",
        ),
        (at("/rtsp?%74%6F%6b%65n=TOKEN"), "/rtsp"),
        (at("/rtsp?token=TOKEN&token=TOKEN&&x"), "/rtsp?&x"),
        (
            at("/rtsp?Token=1&tokens=2&token%20=3"),
            "/rtsp?Token=1&tokens=2&token%20=3",
        ),
        (at("/rtsp?berth%5fresume%5Fkey=k&token"), "/rtsp"),
        // Where nothing is served, the log is still to be read without harm.
        (at("/elsewhere/x?a&token=TOKEN&b"), "/elsewhere/x?a&b"),
        (at("/elsewhere?token=TOKEN#token=TOKEN"), "/elsewhere"),
        (at("?token=TOKEN"), ""),
        // Cookies: of one header or several, quoted or not, in any order.
        (cookie("session=TOKEN"), "/rtsp"),
        (cookie("a=b; session=TOKEN;c=d"), "/rtsp | cookie: a=b; c=d"),
        (cookie("session=\"TOKEN\";  a"), "/rtsp | cookie: a"),
        (cookie("session = TOKEN; a"), "/rtsp | cookie: a"),
        (cookie("session=; session=TOKEN; session"), "/rtsp"),
        (
            cookie("a=session=TOKEN; session=TOKEN"),
            &format!("/rtsp | cookie: a=session={token}"),
        ),
        (
            cookie("a=1; session=TOKEN")
                .header("cookie", "b=2")
                .header("cookie", format!("session={token}; c=3")),
            "/rtsp | cookie: a=1; b=2; c=3",
        ),
        // Nothing of ours: as it came.
        (
            cookie("a=1;  Session=1;xsession=2;")
                .header("cookie", "c")
                .bearer(&token),
            "/rtsp | cookie: a=1;  Session=1;xsession=2; | cookie: c",
        ),
        (
            protocols("x,y ,  z").bearer(&token),
            "/rtsp | sec-websocket-protocol: x,y ,  z",
        ),
        // Subprotocols, in one header or several.
        (
            protocols("x,authorization.TOKEN,y"),
            "/rtsp | sec-websocket-protocol: x, y",
        ),
        (
            protocols("base64url.bearer.authorization.k8s.io.ENCODED"),
            "/rtsp",
        ),
        (
            protocols("BASE64URL.bearer.authorization.ENCODED, v4"),
            "/rtsp | sec-websocket-protocol: v4",
        ),
        (
            protocols("a")
                .protocols(format!("authorization.{token}"))
                .protocols("b, c"),
            "/rtsp | sec-websocket-protocol: a, b, c",
        ),
        // Headers, whether they held a credential or not.
        (
            Sent::to("/rtsp").header("x-token", format!("tOKEN {token}")),
            "/rtsp",
        ),
        (
            Sent::to("/rtsp")
                .header("x-token", format!("Other {token}"))
                .bearer(&token),
            "/rtsp",
        ),
        (
            Sent::to("/rtsp")
                .header("x-token", "")
                .header("x-token", "b"),
            "/rtsp",
        ),
        (
            Sent::to("/rtsp").header("x-tokens", "1").resume_key("k"),
            "/rtsp | x-tokens: 1",
        ),
    ];
    for (sent, expected) in table {
        assert_eq!(left(&sent, &policy), expected, "{sent:?}");
    }
}

#[test]
fn what_a_carrier_holds_is_read_as_its_kind_is_written() {
    let policy = policy();
    let token = token();
    let with = |name: &str, value: &str| {
        let value = value
            .replace("TOKEN", &token)
            .replace("ENCODED", &encode(&token));
        Sent::to("/rtsp").header(name, value)
    };
    let protocol = |value: &str| with("sec-websocket-protocol", value);
    let table = [
        (with("x-token", "Token TOKEN"), "admitted"),
        (with("x-token", "token   TOKEN "), "admitted"),
        (with("x-token", "TOKEN"), "no_token"),
        (with("x-token", "Token"), "no_token"),
        (with("x-token", "Token "), "no_token"),
        (with("x-token", "TokenTOKEN"), "no_token"),
        (with("x-key", " TOKEN\t"), "admitted"),
        (with("x-key", "Bearer TOKEN"), "malformed_token"),
        (
            with("x-key", "TOKEN").header("x-key", &token),
            "malformed_token",
        ),
        (
            with("cookie", "session=TOKEN; session=x"),
            "malformed_token",
        ),
        (with("cookie", "session=%54OKEN"), "malformed_token"),
        (with("cookie", "session=\"TOKEN"), "malformed_token"),
        (with("cookie", "session"), "no_token"),
        (
            protocol("authorization.bearer.b64.TOKEN"),
            "malformed_token",
        ),
        (
            protocol("base64url.bearer.authorization.TOKEN"),
            "malformed_token",
        ),
        (
            protocol("base64url.bearer.authorization.ENCODED="),
            "malformed_token",
        ),
        (
            protocol("base64url.bearer.authorization.k8s.io."),
            "no_token",
        ),
        (protocol("base64url.bearer.authorization"), "no_token"),
        (
            protocol("base64url.bearer.authorization.ENCODED.x"),
            "malformed_token",
        ),
    ];
    for (sent, expected) in table {
        let verdict = sent.verdict(&policy, &Always::yes());
        assert_eq!(label(&verdict), expected, "{:?}", sent.headers);
    }
}

#[test]
fn the_usual_carriers_are_those_of_a_policy_that_names_none() {
    let policy = policy_with(json!({}));
    for (carrier, expected) in [
        (0, "admitted"),
        (1, "no_token"),
        (2, "no_token"),
        (3, "admitted"),
        (4, "no_token"),
        (5, "admitted"),
        (6, "admitted"),
        (7, "admitted"),
    ] {
        let sent = carry(Sent::to("/sign_in?a=1"), carrier, &token());
        let verdict = sent.verdict(&policy, &Always::yes());
        assert_eq!(label(&verdict), expected, "{carrier}");
    }
}
