//! Requests and tokens that are not of the form they should be, and what they are answered.

use serde_json::json;

use super::support::{EC, HEADER, Sent, answer, check, claims, encode, good, signed, unsigned};

#[test]
fn a_token_has_one_form() {
    let good = good();
    let (message, signature) = good.rsplit_once('.').unwrap();
    let (header, payload) = message.split_once('.').unwrap();
    let last = |text: &str| text.len() - 1;
    // The last character of 86 has four bits to spare: another one with the same value of the rest.
    let stray = {
        const ALPHABET: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let value = ALPHABET.find(&signature[last(signature)..]).unwrap();
        format!(
            "{}{}",
            &signature[..last(signature)],
            &ALPHABET[value + 1..value + 2]
        )
    };
    check([
        ("nothing", String::from("."), "malformed_token"),
        ("two dots", "..".into(), "malformed_token"),
        ("three dots", "...".into(), "malformed_token"),
        ("one part", header.into(), "malformed_token"),
        ("two parts", message.into(), "malformed_token"),
        ("four parts", format!("{good}.AAAA"), "malformed_token"),
        (
            "five parts, as a JWE",
            format!("{header}.AAAA.AAAA.AAAA.AAAA"),
            "malformed_token",
        ),
        ("a dot at the end", format!("{good}."), "malformed_token"),
        ("a dot at the start", format!(".{good}"), "malformed_token"),
        (
            "no header",
            format!(".{payload}.{signature}"),
            "malformed_token",
        ),
        (
            "no claims",
            format!("{header}..{signature}"),
            "malformed_token",
        ),
        ("no signature", format!("{message}."), "bad_signature"),
        (
            "padded",
            format!("{header}=.{payload}.{signature}"),
            "malformed_token",
        ),
        (
            "padded signature",
            format!("{message}.{signature}=="),
            "malformed_token",
        ),
        (
            "stray bits",
            format!("{message}.{stray}"),
            "malformed_token",
        ),
        (
            "one character over",
            format!("{message}.{signature}AAA"),
            "malformed_token",
        ),
        (
            "standard alphabet",
            format!("{message}.++//"),
            "malformed_token",
        ),
        ("a space", good.replacen('.', ". ", 1), "malformed_token"),
        ("a tab", good.replacen('.', ".\t", 1), "malformed_token"),
        (
            "a line break",
            good.replacen('.', ".\r\n", 1),
            "malformed_token",
        ),
        ("a comma", good.replacen('.', ".,", 1), "malformed_token"),
        ("encoded", good.replace('.', "%2E"), "malformed_token"),
        (
            "JSON serialization",
            r#"{"payload":"e30","signatures":[]}"#.into(),
            "malformed_token",
        ),
    ]);
}

#[test]
fn size_is_bounded() {
    let sized = |size: usize| {
        let token =
            |fill: usize| unsigned(HEADER, &claims(json!({"exp": 0, "fill": "f".repeat(fill)})));
        let mut fill = size / 4 * 3 - 200;
        while token(fill).len() < size {
            fill += 1;
        }
        token(fill)
    };
    let (most, more) = (sized(16 * 1024), sized(16 * 1024 + 1));
    assert_eq!((most.len(), more.len()), (16_384, 16_385));
    check([
        ("16 KiB", most, "bad_signature"),
        ("over 16 KiB", more, "malformed_token"),
        ("55 KiB", "A.".repeat(28_000), "malformed_token"),
        ("1 MiB", "A".repeat(1 << 20), "malformed_token"),
    ]);
    let many = format!("/sign_in?{}", "token=a&token=b&".repeat(4000));
    assert_eq!(answer(&Sent::to(many)), "malformed_token");
    let many = "authorization.a,authorization.b,".repeat(2000);
    assert_eq!(
        answer(&Sent::to("/rtsp").protocols(many)),
        "malformed_token"
    );
}

#[test]
fn json_that_is_not_a_claim_set_is_malformed() {
    let deep = |open: &str, close: &str, depth: usize| {
        format!(
            r#"{{"iss":"https://issuer.example","x":{}{}}}"#,
            open.repeat(depth),
            close.repeat(depth)
        )
    };
    let table = [
        ("nothing", String::new()),
        ("null", "null".into()),
        ("a list", "[]".into()),
        ("text", "\"iss\"".into()),
        ("a number", "1".into()),
        ("unfinished", r#"{"iss":"https://issuer.example""#.into()),
        ("two", "{}{}".into()),
        ("a comment", "{/**/}".into()),
        (
            "a last comma",
            r#"{"iss":"https://issuer.example",}"#.into(),
        ),
        ("single quotes", "{'iss':'https://issuer.example'}".into()),
        (
            "a byte order mark",
            format!("\u{feff}{}", claims(json!({}))),
        ),
        ("a lone surrogate", r#"{"iss":"\ud800"}"#.into()),
        ("deep lists", deep("[", "]", 1000)),
        ("deep objects", deep(r#"{"a":"#, "", 1000)),
        ("unclosed lists", "[".repeat(12_000)),
        ("unclosed objects", r#"{"a":"#.repeat(2400)),
        ("a huge number", r#"{"x":1e999}"#.into()),
    ];
    for (name, text) in table {
        check([
            (
                format!("claims: {name}"),
                signed(HEADER, &text, &EC),
                "malformed_token",
            ),
            (
                format!("header: {name}"),
                signed(&text, &claims(json!({})), &EC),
                "malformed_token",
            ),
        ]);
    }
    let shallow = claims(json!({"x": [[[[[[[[1]]]]]]]], "y": {"z": [{}, 1.5, "\u{1F600}"]}}));
    let spaced = shallow.replacen('{', " \r\n\t{ ", 1);
    let digits = claims(json!({"x": "D"})).replace("\"D\"", &"9".repeat(300));
    check([
        (
            "claims nobody asked for",
            signed(HEADER, &shallow, &EC),
            "admitted",
        ),
        ("white space", signed(HEADER, &spaced, &EC), "admitted"),
        (
            "a number of 300 digits",
            signed(HEADER, &digits, &EC),
            "admitted",
        ),
        ("empty claims", signed(HEADER, "{}", &EC), "wrong_issuer"),
    ]);
}

#[test]
fn bytes_that_are_not_text_are_answered() {
    let good = good();
    let invalid = |text: &str| [b"{\"a\":\"\xFF\",", &text.as_bytes()[1..]].concat();
    let join = |header: &[u8], claims: &[u8]| format!("{}.{}.AAAA", encode(header), encode(claims));
    let claims = claims(json!({}));
    let dressed = [good.as_bytes(), b"\xFF"].concat();
    check([
        ("0xFF", b"\xFF".to_vec(), "malformed_token"),
        ("0xFF dotted", b"\xFF.\xFF.\xFF".to_vec(), "malformed_token"),
        ("0x00", b"\0".to_vec(), "malformed_token"),
        ("good and 0xFF", dressed.clone(), "malformed_token"),
        (
            "in the header",
            join(&invalid(HEADER), claims.as_bytes()).into(),
            "malformed_token",
        ),
        (
            "in the claims",
            join(HEADER.as_bytes(), &invalid(&claims)).into(),
            "malformed_token",
        ),
    ]);
    let to = |path: &[u8]| Sent::to([path, b"\xFF"].concat());
    let table = [
        ("path", to(b"/"), "not_found"),
        ("end of path", to(b"/rtsp"), "not_found"),
        (
            "pool",
            Sent::to(b"/\xFF/sign_in").bearer(&good),
            "no_such_pool",
        ),
        (
            "token",
            to(format!("/sign_in?token={good}").as_bytes()),
            "malformed_token",
        ),
        ("query", to(b"/sign_in?").bearer(&good), "admitted"),
        (
            "scheme",
            Sent::to("/rtsp").authorization(b"\xFF x"),
            "no_token",
        ),
        (
            "protocols",
            Sent::to("/rtsp").bearer(&good).protocols(b"\xFF,\xFE"),
            "admitted",
        ),
        (
            "protocol token",
            Sent::to("/rtsp").protocols(b"authorization.\xFF"),
            "malformed_token",
        ),
        (
            "resume key",
            Sent::to("/rtsp").bearer(&good).resume_key(b"\xFF"),
            "bad_request",
        ),
        (
            "method",
            Sent::to("/rtsp").bearer(&good).method(b"\xFF"),
            "method_not_allowed",
        ),
        (
            "upgrade",
            Sent::to("/rtsp").bearer(&good).upgrade(b"\xFF"),
            "admitted",
        ),
    ];
    for (name, sent, expected) in table {
        assert_eq!(answer(&sent), expected, "{name}");
    }
}
