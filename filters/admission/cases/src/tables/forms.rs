use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::{MALFORMED, Table};
use crate::KeyError;

/// A token has one form (RFC 7515 §7.1), and so have the JSON objects in it.
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    parts(table)?;
    objects(table)?;
    twice(table)
}

fn parts(table: &mut Table) -> Result<(), KeyError> {
    let good = table.good()?;
    let parts: Vec<&str> = good.split('.').collect();
    let [header, claims, signature] = parts[..] else {
        return Ok(());
    };
    table.class("no token in its form");
    for (name, text) in [
        ("a dot", ".".to_owned()),
        ("two dots", "..".into()),
        ("three dots", "...".into()),
        ("one part", header.into()),
        ("two parts", format!("{header}.{claims}")),
        ("four parts", format!("{good}.AAAA")),
        (
            "a JWE's five parts",
            format!("{header}.AAAA.AAAA.AAAA.AAAA"),
        ),
        (
            "a JWE's, two of them empty",
            format!("{header}..AAAA.AAAA."),
        ),
        ("a dot at its end", format!("{good}.")),
        ("a dot at its start", format!(".{good}")),
        ("no header", format!(".{claims}.{signature}")),
        ("no claims", format!("{header}..{signature}")),
        ("only a signature", format!("..{signature}")),
        ("a padded header", format!("{header}=.{claims}.{signature}")),
        ("padded claims", format!("{header}.{claims}==.{signature}")),
        ("the other alphabet", "+/+/.+/+/.+/+/".into()),
        ("a wrong length", "e.e.e".into()),
        ("stray bits", "e31.e31.e31".into()),
        ("three empty objects", "e30.e30.e30".into()),
        ("bytes that are not UTF-8", "__79.__79.__79".into()),
        ("a space in it", good.replacen('.', ". ", 1)),
        ("a tab in it", good.replacen('.', ".\t", 1)),
        ("a line break in it", good.replacen('.', ".\r\n", 1)),
        ("a zero byte in it", good.replacen('.', ".\0", 1)),
        ("a comma in it", good.replacen('.', ".,", 1)),
        ("its dots escaped", good.replace('.', "%2E")),
        ("a scheme before it", format!("Bearer {good}")),
        ("itself before it", format!("{good} {good}")),
        ("quotes around it", format!("\"{good}\"")),
        ("in capitals", good.to_uppercase()),
        ("a percent sign", "%".into()),
        ("half an escape", "%f.%.%zz".into()),
        ("18,000 dots", ".".repeat(18_000)),
        ("18 kB of one character", "A".repeat(18_000)),
        (
            "20 kB, and good",
            table.token().claim("x", "x".repeat(15_000)).sign()?,
        ),
        (
            "the flattened serialisation",
            format!(
                "{{\"protected\":\"{header}\",\"payload\":\"{claims}\",\"signature\":\"{signature}\"}}"
            ),
        ),
        (
            "the general serialisation",
            format!(
                "{{\"payload\":\"{claims}\",\"signatures\":[{{\"protected\":\"{header}\",\"signature\":\"{signature}\"}}]}}"
            ),
        ),
        ("in base64 as a whole", STANDARD.encode(&good)),
        ("in base64url as a whole", URL_SAFE_NO_PAD.encode(&good)),
    ] {
        table.unseen(name, text, MALFORMED);
    }
    table.unseen(
        "its bytes and one that is not ASCII",
        [good.as_bytes(), b"\xff"].concat(),
        MALFORMED,
    );
    table.unseen(
        "three bytes that are not ASCII",
        b"\xff.\xff.\xff".to_vec(),
        MALFORMED,
    );
    let nested = table
        .token()
        .header("cty", "JWT")
        .claims_text(good.as_bytes());
    table.unseen("a token in a token", nested.sign()?, MALFORMED);
    Ok(())
}

fn objects(table: &mut Table) -> Result<(), KeyError> {
    table.class("an object that is none");
    let deep = |levels: usize| {
        format!(
            r#"{{"alg":"RS256","x":{}{}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        )
    };
    let nested = |levels: usize| {
        format!(
            r#"{{"x":{}1{}}}"#,
            r#"{"a":"#.repeat(levels),
            "}".repeat(levels)
        )
    };
    let open = r#"{"alg":"RS256","iss":"https://login.berth.example""#;
    for (name, text) in [
        ("nothing", String::new()),
        ("spaces", " ".repeat(8_000)),
        ("null", "null".into()),
        ("an array", "[]".into()),
        ("text", "\"alg\"".into()),
        ("a number", "1".into()),
        ("half an object", open.into()),
        ("an object and more", format!("{open}}}{{}}")),
        ("a comment", format!("{open}/**/}}")),
        ("a comma at its end", format!("{open},}}")),
        ("single quotes", "{'alg':'RS256'}".into()),
        ("a name without quotes", "{alg:\"RS256\"}".into()),
        ("a byte order mark", format!("\u{feff}{open}}}")),
        (
            "half a surrogate pair",
            format!(r#"{open},"kid":"\ud800"}}"#),
        ),
        ("a line break in text", format!("{open},\"x\":\"\n\"}}")),
        ("arrays, 5,000 levels", deep(5_000)),
        ("objects, 1,500 levels", nested(1_500)),
        ("arrays that never end", "[".repeat(11_000)),
        ("objects that never end", r#"{"a":"#.repeat(2_200)),
        (
            "a number that no float holds",
            format!("{open},\"x\":1e400}}"),
        ),
        (
            "a number of 8,000 digits",
            format!("{open},\"x\":{}}}", "9".repeat(8_000)),
        ),
        ("no number", format!("{open},\"x\":NaN}}")),
        ("infinity", format!("{open},\"x\":Infinity}}")),
        ("a hexadecimal number", format!("{open},\"x\":0x10}}")),
        (
            "a number with a zero before it",
            format!("{open},\"x\":01}}"),
        ),
    ] {
        table.unseen(
            format!("header: {name}"),
            table.token().header_text(text.clone()).sign()?,
            MALFORMED,
        );
        table.unseen(
            format!("claims: {name}"),
            table.token().claims_text(text).sign()?,
            MALFORMED,
        );
    }
    let bytes = b"\"x\":\"\xff\xfe\"";
    table.unseen(
        "header: not UTF-8",
        table.token().header_member(bytes).sign()?,
        MALFORMED,
    );
    table.unseen(
        "claims: not UTF-8",
        table.token().claims_member(bytes).sign()?,
        MALFORMED,
    );

    table.class("an object that is odd");
    for (name, member) in [
        (
            "100 levels",
            format!("\"x\":{}{}", "[".repeat(100), "]".repeat(100)),
        ),
        ("5,000 elements", format!("\"x\":[{}0]", "0,".repeat(4_999))),
        (
            "a number of 300 digits",
            format!("\"x\":{}", "9".repeat(300)),
        ),
        ("a zero byte in a name", r#""\u0000":"\u0000""#.into()),
        ("an empty name", r#""":1"#.into()),
        ("white space", " \r\n\t\"x\" : 1 ".into()),
        (
            "members of an object's prototype",
            r#""__proto__":{"sub":"root"},"constructor":1"#.into(),
        ),
    ] {
        table.admitted(
            format!("claims: {name}"),
            table.token().claims_member(&member).sign()?,
        );
        table.admitted(
            format!("header: {name}"),
            table.token().header_member(&member).sign()?,
        );
    }
    Ok(())
}

fn twice(table: &mut Table) -> Result<(), KeyError> {
    table.class("a member that comes twice");
    for (name, member) in [
        ("alg", r#""alg":"none""#),
        ("alg, the same", r#""alg":"RS256""#),
        ("alg, escaped", r#""\u0061lg":"none""#),
        ("kid", r#""kid":"x""#),
        ("typ", r#""typ":"x""#),
        ("nobody's", r#""y":1,"y":1"#),
    ] {
        table.unseen(
            format!("header: {name}"),
            table.token().header_member(member).sign()?,
            MALFORMED,
        );
    }
    for (name, member) in [
        ("iss", r#""iss":"https://attacker.example""#),
        ("sub", r#""sub":"root""#),
        ("sub, escaped", r#""s\u0075b":"root""#),
        ("exp", r#""exp":99999999999"#),
        ("aud", r#""aud":["berth"]"#),
        ("pools", r#""pools":["web"]"#),
        ("nobody's", r#""y":1,"y":1"#),
    ] {
        table.unseen(
            format!("claims: {name}"),
            table.token().claims_member(member).sign()?,
            MALFORMED,
        );
    }
    Ok(())
}
