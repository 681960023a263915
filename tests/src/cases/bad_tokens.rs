//! Tokens that are absurd rather than merely wrong: reading one must cost a proxy nothing but the answer.

use serde_json::{Value, json};

use crate::Token;

/// A token, and what it has to be answered wherever it is carried.
#[derive(Debug, Clone, Copy)]
pub struct BadToken {
    /// What is odd about it, in a few words.
    pub name: &'static str,
    /// The token.
    pub text: Text,
    /// The reason it is refused for; `None` if it is odd and good.
    pub reason: Option<&'static str>,
}

/// What is sent as a token. None of them has a character that a header or a list in one gives a meaning to.
#[derive(Debug, Clone, Copy)]
pub enum Text {
    /// This.
    Just(&'static str),
    /// So many times this.
    Repeated(&'static str, usize),
    /// What this makes of a valid token, signed.
    Signed(fn(Token) -> Token),
}

const fn text(name: &'static str, text: &'static str, reason: &'static str) -> BadToken {
    let text = Text::Just(text);
    let reason = Some(reason);
    BadToken { name, text, reason }
}

const fn long(
    name: &'static str,
    part: &'static str,
    count: usize,
    reason: &'static str,
) -> BadToken {
    let text = Text::Repeated(part, count);
    let reason = Some(reason);
    BadToken { name, text, reason }
}

const fn signed(name: &'static str, change: fn(Token) -> Token, reason: &'static str) -> BadToken {
    let text = Text::Signed(change);
    let reason = Some(reason);
    BadToken { name, text, reason }
}

const fn good(name: &'static str, change: fn(Token) -> Token) -> BadToken {
    let text = Text::Signed(change);
    BadToken {
        name,
        text,
        reason: None,
    }
}

/// All of them.
#[rustfmt::skip] // one case a line
pub const BAD_TOKENS: &[BadToken] = &[
    // No JWT in its form.
    text("a dot", ".", MALFORMED),
    text("three dots", "...", MALFORMED),
    text("two parts", "e30.e30", MALFORMED),
    text("five parts, as an encrypted one has", "e30.e30.e30.e30.e30", MALFORMED),
    text("three empty objects", "e30.e30.e30", MALFORMED),
    text("base64 with its padding", "e30=.e30=.e30=", MALFORMED),
    text("base64 of a wrong length", "e.e.e", MALFORMED),
    text("base64 with stray bits at its end", "e31.e31.e31", MALFORMED),
    text("base64 of the other alphabet", "+/+/.+/+/.+/+/", MALFORMED),
    text("bytes that are not UTF-8", "__79.__79.__79", MALFORMED),
    text("a percent sign", "%", MALFORMED),
    text("half an escape", "%f.%.%zz", MALFORMED),
    long("18,000 dots", ".", 18_000, MALFORMED),
    long("18 kB of one character", "A", 18_000, MALFORMED),

    // Odd JOSE headers.
    signed("a header that is an array", |token| token.header_text("[]"), MALFORMED),
    signed("a header that is a number", |token| token.header_text("1"), MALFORMED),
    signed("a header that is null", |token| token.header_text("null"), MALFORMED),
    signed("a header that is half an object", |token| token.header_text(r#"{"alg":"RS256""#), MALFORMED),
    signed("a header with something after it", |token| token.header_text(r#"{"alg":"RS256"}{}"#), MALFORMED),
    signed("a header with two algorithms", |token| token.header_text(r#"{"alg":"RS256","alg":"none"}"#), MALFORMED),
    signed("a header that is not UTF-8", |token| token.header_text(b"{\"alg\":\"RS256\",\"\xff\":1}"), MALFORMED),
    signed("a header with half a surrogate pair", |token| token.header_text(r#"{"alg":"RS256","kid":"\ud800"}"#), MALFORMED),
    signed("a header of 5,000 levels", |token| token.header_text(deep_text(5_000)), MALFORMED),
    signed("an algorithm that is an array", |token| token.header("alg", json!(["RS256"])), MALFORMED),
    signed("an algorithm that is null", |token| token.header("alg", Value::Null), MALFORMED),
    signed("no algorithm", |token| token.without_header("alg"), MALFORMED),
    signed("an algorithm of no name", |token| token.header("alg", ""), "unsupported_algorithm"),
    signed("an algorithm of 8 kB", |token| token.header("alg", "RS".repeat(4_000)), "unsupported_algorithm"),
    signed("an algorithm with a zero byte in it", |token| token.header("alg", "RS256\0"), "unsupported_algorithm"),
    signed("a key id that is a number", |token| token.header("kid", 1), MALFORMED),
    signed("a key id of 8 kB", |token| token.header("kid", "k".repeat(8_000)), "unknown_key"),
    signed("a key id with a zero byte in it", |token| token.header("kid", "\0"), "unknown_key"),
    good("a key that it brings along", |token| token.header("jwk", json!({ "kty": "oct", "k": "AAAA" }))),
    good("no key id", |token| token.without_header("kid")),

    // Odd claims, with a good signature.
    signed("claims that are an array", |token| token.claims_text("[]"), MALFORMED),
    signed("claims that are nothing", |token| token.claims_text(""), MALFORMED),
    signed("claims that are spaces", |token| token.claims_text(" ".repeat(8_000)), MALFORMED),
    signed("claims that are not UTF-8", |token| with_text(token, b"\"x\":\"\xff\xfe\""), MALFORMED),
    signed("claims of 10,000 levels", |token| token.claims_text(deep_text(10_000)), MALFORMED),
    signed("a subject that comes twice", |token| with_text(token, br#""sub":"bob""#), MALFORMED),
    signed("a number that no float holds", |token| with_text(token, br#""x":1e400"#), MALFORMED),
    signed("a number of 8,000 digits", |token| with_text(token, format!("\"x\":{}", "9".repeat(8_000)).as_bytes()), MALFORMED),
    good("a claim of 100 levels", |token| token.claim("x", deep(100))),
    good("a claim of 5,000 elements", |token| token.claim("x", vec![0; 5_000])),
    good("a claim with a zero byte in it", |token| token.claim("\0", "\0")),

    good("an end in 1e308 seconds", |token| token.claim("exp", 1e308)),
    good("an end at the last second there is", |token| token.claim("exp", u64::MAX)),
    signed("an end at -1", |token| token.claim("exp", -1), "token_expired"),
    signed("an end at -1e308", |token| token.claim("exp", -1e308), "token_expired"),
    signed("an end at the first second there is", |token| token.claim("exp", i64::MIN), "token_expired"),
    signed("an end at 0.5", |token| token.claim("exp", 0.5), "token_expired"),
    signed("an end that is text", |token| token.claim("exp", "tomorrow"), MALFORMED),
    signed("an end that is null", |token| token.claim("exp", Value::Null), MALFORMED),
    signed("an end that is an array", |token| token.claim("exp", json!([1e308])), MALFORMED),
    good("a beginning at -1e308", |token| token.claim("nbf", -1e308)),
    signed("a beginning in 1e308 seconds", |token| token.claim("nbf", 1e308), "token_not_yet_valid"),
    signed("a beginning at the last second there is", |token| token.claim("nbf", u64::MAX), "token_not_yet_valid"),
    signed("a beginning that is an object", |token| token.claim("nbf", json!({})), MALFORMED),

    signed("an issuer that is an array", |token| token.claim("iss", json!(["https://login.berth.example"])), MALFORMED),
    signed("an issuer of 8 kB", |token| token.claim("iss", "i".repeat(8_000)), "wrong_issuer"),
    signed("an audience of 100 levels", |token| token.claim("aud", deep(100)), MALFORMED),
    signed("an audience of 2,000", |token| token.claim("aud", vec!["a"; 2_000]), "wrong_audience"),
    signed("a subject that is an array", |token| token.claim("sub", json!(["alice"])), MALFORMED),
    signed("a subject of 8 kB", |token| token.claim("sub", "s".repeat(8_000)), MALFORMED),
    signed("a subject with a zero byte in it", |token| token.claim("sub", "\0"), MALFORMED),
    good("a subject in four bytes a character", |token| token.claim("sub", "🥽".repeat(64))),
    signed("a tenant that is an object", |token| token.claim("tenant", json!({ "name": "acme" })), MALFORMED),
    signed("pools that are a number", |token| token.claim("pools", 1), MALFORMED),
    signed("pools of 100 levels", |token| token.claim("pools", deep(100)), MALFORMED),
    signed("2,000 pools that are none", |token| token.claim("pools", vec!["x"; 2_000]), "pool_forbidden"),
    good("1,000 times the same pool", |token| token.claim("pools", vec!["web"; 1_000])),
];

const MALFORMED: &str = "malformed_token";

/// Arrays in arrays.
fn deep(levels: usize) -> Value {
    (0..levels).fold(Value::Null, |inner, _| Value::Array(vec![inner]))
}

/// The same as text, for more levels than a value should have; an object, so that it is the depth that is wrong.
fn deep_text(levels: usize) -> String {
    format!(
        r#"{{"alg":"RS256","x":{}{}}}"#,
        "[".repeat(levels),
        "]".repeat(levels)
    )
}

/// The claims with one more member, written as these bytes.
fn with_text(token: Token, member: &[u8]) -> Token {
    let mut text = Value::Object(token.claims().clone())
        .to_string()
        .into_bytes();
    text.pop();
    text.push(b',');
    text.extend(member);
    text.push(b'}');
    token.claims_text(text)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_reasons_exist() {
        let names: BTreeSet<&str> = BAD_TOKENS.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), BAD_TOKENS.len());
        for case in BAD_TOKENS {
            let known = |label| berth_admission::Reason::from_label(label).is_some();
            assert!(case.reason.is_none_or(known), "{}", case.name);
        }
    }
}
