//! How long a token may be, and bytes that are not text. Everything else that a token may not look like is a case of
//! `berth-admission-cases`.

use serde_json::json;

use super::support::{HEADER, Sent, answer, check, claims, encode, good, unsigned};

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
