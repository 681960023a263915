use serde_json::{Value, json};

use super::{BAD_SIGNATURE, MALFORMED, Table};
use crate::{ISSUER, KeyError};

/// What a token says is what it says, byte for byte, and of the type that it has to be.
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    issuers(table)?;
    audiences(table)?;
    times(table)?;
    users(table)
}

fn issuers(table: &mut Table) -> Result<(), KeyError> {
    table.class("an issuer that is nearly ours");
    for issuer in [
        "",
        "https://login.berth.example/",
        "https://login.berth.example#",
        "https://login.berth.example?x",
        "HTTPS://LOGIN.BERTH.EXAMPLE",
        "http://login.berth.example",
        "https://login.berth.example.attacker.example",
        "https://attacker.example/https://login.berth.example",
        "https://login.berth.example@attacker.example",
        "https://attacker.example",
        " https://login.berth.example",
        "https://login.berth.example\0",
        "https://login.berth.example:443",
        "https://login.berth.exampl\u{435}",
        "api_key",
        "client_certificate",
        "*",
        "https://login.berth.*",
    ] {
        table.unseen(
            issuer.escape_debug().to_string(),
            table.token().claim("iss", issuer).sign()?,
            "wrong_issuer",
        );
    }
    table.unseen(
        "none",
        table.token().without_claim("iss").sign()?,
        "wrong_issuer",
    );
    table.unseen(
        "8 kB of it",
        table.token().claim("iss", "i".repeat(8_000)).sign()?,
        "wrong_issuer",
    );
    for (name, value) in [
        ("an array", json!([ISSUER])),
        (
            "an array of two",
            json!([ISSUER, "https://attacker.example"]),
        ),
        ("an object", json!({"url": ISSUER})),
        ("null", Value::Null),
        ("a number", json!(7)),
    ] {
        table.unseen(name, table.token().claim("iss", value).sign()?, MALFORMED);
    }
    Ok(())
}

fn audiences(table: &mut Table) -> Result<(), KeyError> {
    table.class("an audience that is nearly ours");
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    for (name, value, reason) in [
        ("another", json!("another-service"), "wrong_audience"),
        ("the beginning", json!("ber"), "wrong_audience"),
        ("more than it", json!("berth-admin"), "wrong_audience"),
        ("another case", json!("BERTH"), "wrong_audience"),
        ("a space after it", json!("berth "), "wrong_audience"),
        ("a zero byte after it", json!("berth\0"), "wrong_audience"),
        (
            "several in one text",
            json!("berth other"),
            "wrong_audience",
        ),
        (
            "several with a comma",
            json!("berth,other"),
            "wrong_audience",
        ),
        ("an empty text", json!(""), "wrong_audience"),
        ("an empty array", json!([]), "wrong_audience"),
        ("a star", json!("*"), "wrong_audience"),
        ("2,000 others", json!(vec!["a"; 2_000]), "wrong_audience"),
        ("an array in an array", json!([["berth"]]), MALFORMED),
        ("one that is no text", json!(["berth", 7]), MALFORMED),
        ("null among them", json!(["berth", null]), MALFORMED),
        ("100 levels", deep, MALFORMED),
        ("an object", json!({"berth": true}), MALFORMED),
        ("null", Value::Null, MALFORMED),
        ("a truth", json!(true), MALFORMED),
    ] {
        table.seen(name, table.token().claim("aud", value).sign()?, reason);
    }
    table.seen(
        "none",
        table.token().without_claim("aud").sign()?,
        "wrong_audience",
    );
    table.admitted(
        "ours among others",
        table
            .token()
            .claim("aud", json!(["other", "berth"]))
            .sign()?,
    );
    Ok(())
}

fn times(table: &mut Table) -> Result<(), KeyError> {
    let now = table.now;
    table.class("a time that is none");
    let expired = "token_expired";
    for (name, value, reason) in [
        ("an hour ago", json!(now - 3_600), expired),
        ("zero", json!(0), expired),
        ("-1", json!(-1), expired),
        ("-1e308", json!(-1e308), expired),
        ("0.5", json!(0.5), expired),
        ("the first second there is", json!(i64::MIN), expired),
        ("the smallest float", json!(5e-324), expired),
        ("in text", json!((now + 600).to_string()), MALFORMED),
        ("a date", json!("2099-01-01T00:00:00Z"), MALFORMED),
        ("words", json!("tomorrow"), MALFORMED),
        ("not a number, in text", json!("NaN"), MALFORMED),
        ("an empty text", json!(""), MALFORMED),
        ("an array", json!([now + 600]), MALFORMED),
        ("an object", json!({"seconds": now + 600}), MALFORMED),
        ("a truth", json!(true), MALFORMED),
        ("null", Value::Null, MALFORMED),
    ] {
        table.seen(
            format!("exp: {name}"),
            table.token().claim("exp", value).sign()?,
            reason,
        );
    }
    table.seen(
        "exp: none",
        table.token().without_claim("exp").sign()?,
        MALFORMED,
    );
    for (name, member, reason) in [
        ("not a number", "NaN", MALFORMED),
        ("1e400", "1e400", MALFORMED),
        ("-1e400", "-1e400", MALFORMED),
        ("of 400 digits", &"9".repeat(400), MALFORMED),
    ] {
        let token = table
            .token()
            .without_claim("exp")
            .claims_member(format!("\"exp\":{member}"));
        table.unseen(format!("exp: {name}"), token.sign()?, reason);
    }
    for (name, value) in [
        ("in 1e308 seconds", json!(1e308)),
        ("at the last second there is", json!(u64::MAX)),
        ("at a half", json!(now as f64 + 600.5)),
    ] {
        table.admitted(
            format!("exp: {name}"),
            table.token().claim("exp", value).sign()?,
        );
    }
    let early = "token_not_yet_valid";
    for (name, value, reason) in [
        ("in an hour", json!(now + 3_600), early),
        ("in 1e308 seconds", json!(1e308), early),
        ("at the last second there is", json!(u64::MAX), early),
        ("an object", json!({}), MALFORMED),
        ("text", json!("0"), MALFORMED),
        ("null", Value::Null, MALFORMED),
    ] {
        table.seen(
            format!("nbf: {name}"),
            table.token().claim("nbf", value).sign()?,
            reason,
        );
    }
    table.admitted("nbf: -1e308", table.token().claim("nbf", -1e308).sign()?);
    let both = table.token().expired().not_yet_valid().expired();
    table.seen("over before it begins", both.sign()?, expired);
    let forged = table.token().expired().altered();
    table.seen("over, and not signed", forged.sign()?, BAD_SIGNATURE);
    Ok(())
}

fn users(table: &mut Table) -> Result<(), KeyError> {
    table.class("a user who is none");
    let deep = (0..100).fold(Value::Null, |inner, _| json!([inner]));
    for (claim, name, value, reason) in [
        ("sub", "empty", json!(""), MALFORMED),
        ("sub", "null", Value::Null, MALFORMED),
        ("sub", "an array", json!(["alice"]), MALFORMED),
        ("sub", "a number", json!(0), MALFORMED),
        ("sub", "8 kB", json!("s".repeat(8_000)), MALFORMED),
        ("sub", "a zero byte", json!("\0"), MALFORMED),
        (
            "sub",
            "a header in it",
            json!("alice\r\nx-user: root"),
            MALFORMED,
        ),
        ("sub", "a line break", json!("alice\n"), MALFORMED),
        ("sub", "a next line of C1", json!("alice\u{85}"), MALFORMED),
        ("sub", "a delete", json!("a\u{7f}"), MALFORMED),
        ("tenant", "an object", json!({"name": "acme"}), MALFORMED),
        (
            "tenant",
            "a header in it",
            json!("a\r\nx-user: root"),
            MALFORMED,
        ),
        ("tenant", "8 kB", json!("t".repeat(8_000)), MALFORMED),
        ("jti", "a number", json!(7), MALFORMED),
        ("jti", "8 kB", json!("j".repeat(8_000)), MALFORMED),
        ("jti", "a line break", json!("a\nb"), MALFORMED),
        ("priority", "10", json!(10), MALFORMED),
        ("priority", "-1", json!(-1), MALFORMED),
        ("priority", "text", json!("9"), MALFORMED),
        ("priority", "9.5", json!(9.5), MALFORMED),
        ("pools", "a number", json!(1), MALFORMED),
        ("pools", "an object", json!({"web": true}), MALFORMED),
        ("pools", "100 levels", deep, MALFORMED),
        ("pools", "one that is no text", json!(["web", 7]), MALFORMED),
        ("pools", "none", json!([]), "pool_forbidden"),
        (
            "pools",
            "2,000 that are none",
            json!(vec!["x"; 2_000]),
            "pool_forbidden",
        ),
        ("pools", "another's", json!(["native"]), "pool_forbidden"),
        ("pools", "another case", json!(["WEB"]), "pool_forbidden"),
        ("pools", "a star", json!(["*"]), "pool_forbidden"),
        (
            "pools",
            "several in one text",
            json!("web native"),
            "pool_forbidden",
        ),
    ] {
        table.seen(
            format!("{claim}: {name}"),
            table.token().claim(claim, value).sign()?,
            reason,
        );
    }
    table.seen(
        "sub: not there",
        table.token().without_claim("sub").sign()?,
        MALFORMED,
    );
    table.seen(
        "pools: not there",
        table.token().without_claim("pools").sign()?,
        "pool_forbidden",
    );

    table.class("a user who is odd");
    for (claim, name, value) in [
        (
            "sub",
            "four bytes a character",
            json!("\u{1F97D}".repeat(64)),
        ),
        ("sub", "of markup", json!("<script>alert(1)</script>")),
        ("sub", "of a database's", json!("' OR '1'='1")),
        (
            "sub",
            "that is written from right to left",
            json!("\u{202e}toor"),
        ),
        ("tenant", "that is empty", json!("")),
        (
            "role",
            "of headers",
            json!("a\r\nx-user: root\r\n\r\nGET / HTTP/1.1"),
        ),
        (
            "role",
            "of bytes that are no text",
            json!("\u{0}\u{1}\u{7f}\u{80}\u{ff}"),
        ),
        ("role", "of 8 kB", json!("r".repeat(8_000))),
        (
            "pools",
            "of one pool, a thousand times",
            json!(vec!["web"; 1_000]),
        ),
        ("priority", "at its most", json!(9)),
    ] {
        table.admitted(
            format!("{claim} {name}"),
            table.token().claim(claim, value).sign()?,
        );
    }
    Ok(())
}
