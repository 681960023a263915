use serde_json::{Value, json};

use super::{BAD_SIGNATURE, MALFORMED, Table, UNKNOWN_KEY, UNSUPPORTED};
use crate::{Algorithm, KeyError};

/// The algorithm is the key's, never the token's (RFC 8725 §3.1).
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    let token = table.token();
    let signature = token.signature()?;

    table.class("no algorithm");
    for name in ["none", "None", "NONE", "nOnE", "", " none", "none ", "null"] {
        let token = token.clone().header("alg", name);
        for (with, bytes) in [
            ("no", vec![]),
            ("a good", signature.clone()),
            ("a zero", vec![0]),
        ] {
            let signed = token.clone().with_signature(bytes).sign()?;
            table.unseen(
                format!("`{name}` with {with} signature"),
                signed,
                UNSUPPORTED,
            );
        }
    }
    let empty = token
        .clone()
        .unsigned()
        .without_header("kid")
        .without_header("typ");
    table.unseen("`none` and nothing else", empty.sign()?, UNSUPPORTED);
    table.unseen(
        "none at all",
        token.clone().without_header("alg").sign()?,
        MALFORMED,
    );
    for (name, value) in [
        ("null", Value::Null),
        ("an array", json!(["RS256"])),
        ("an object", json!({"RS256": true})),
        ("a number", json!(256)),
        ("a truth", json!(true)),
    ] {
        table.unseen(name, token.clone().header("alg", value).sign()?, MALFORMED);
    }

    table.class("an algorithm that is not spelt so");
    for name in [
        "rs256",
        "Rs256",
        "RS256 ",
        " RS256",
        "RS-256",
        "RSA",
        "RS1",
        "RS256\0",
        "RS256\n",
        "ES256K",
        "es256",
        "ESP256",
        "Ed448",
        "dir",
        "RSA-OAEP",
        "A128KW",
        "PBES2-HS256+A128KW",
        "HS1",
        "MD5",
        "\u{420}S256",
    ] {
        table.unseen(name, token.clone().header("alg", name).sign()?, UNSUPPORTED);
    }
    table.unseen(
        "8 kB of one",
        token.clone().header("alg", "RS".repeat(4_000)).sign()?,
        UNSUPPORTED,
    );

    table.class("a public key as the secret of an HMAC");
    let secrets = table.keys.public_as_secrets()?;
    for (secret, bytes) in &secrets {
        for name in ["HS256", "HS384", "HS512"] {
            let signed = token.clone().authenticated(name, bytes).sign()?;
            table.unseen(format!("{name} with {secret}"), signed, UNKNOWN_KEY);
        }
        let nameless = token
            .clone()
            .authenticated("HS256", bytes)
            .without_header("kid");
        table.unseen(
            format!("HS256 with {secret}, naming no key"),
            nameless.sign()?,
            UNKNOWN_KEY,
        );
    }
    // The algorithm says what the key is for, and the MAC is none of its signatures.
    let rs256 = token
        .clone()
        .authenticated("HS256", b"")
        .header("alg", "RS256");
    table.seen(
        "an HMAC that calls itself RS256",
        rs256.sign()?,
        BAD_SIGNATURE,
    );

    table.class("a key of another algorithm");
    let es256 = token.clone().algorithm(Algorithm::Es256);
    for (name, signed, reason) in [
        (
            "ES256 of the RSA key",
            token.clone().header("alg", "ES256"),
            UNKNOWN_KEY,
        ),
        (
            "RS256 of the EC key",
            es256.clone().header("alg", "RS256"),
            UNKNOWN_KEY,
        ),
        (
            "PS256 of the EC key",
            es256.clone().header("alg", "PS256"),
            UNKNOWN_KEY,
        ),
        (
            "ES384 of a P-256 key",
            es256.clone().header("alg", "ES384"),
            UNKNOWN_KEY,
        ),
        (
            "ES512 of a P-256 key",
            es256.clone().header("alg", "ES512"),
            UNKNOWN_KEY,
        ),
        (
            "EdDSA of the EC key",
            es256.clone().header("alg", "EdDSA"),
            UNKNOWN_KEY,
        ),
        (
            "EdDSA of the RSA key",
            token.clone().header("alg", "EdDSA"),
            UNKNOWN_KEY,
        ),
    ] {
        table.unseen(name, signed.sign()?, reason);
    }
    for name in ["RS384", "RS512", "PS256", "PS384", "PS512"] {
        let signed = token.clone().header("alg", name).sign()?;
        table.unseen(
            format!("{name} of a key that is for RS256"),
            signed,
            UNKNOWN_KEY,
        );
    }
    let crossed = es256.clone().with_signature(signature);
    table.seen(
        "ES256 over a signature of RS256",
        crossed.sign()?,
        BAD_SIGNATURE,
    );
    let crossed = token.clone().with_signature(es256.signature()?);
    table.seen(
        "RS256 over a signature of ES256",
        crossed.sign()?,
        BAD_SIGNATURE,
    );
    table.admitted("RS256 as it should be", token.sign()?);
    table.admitted("ES256 as it should be", es256.sign()?);
    Ok(())
}
