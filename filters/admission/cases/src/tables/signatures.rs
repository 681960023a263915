use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{BAD_SIGNATURE, MALFORMED, Table};
use crate::{Algorithm, KeyError};

/// A signature is over these very bytes, and has one form.
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    let rs256 = table.token();
    let es256 = table.token().algorithm(Algorithm::Es256);

    table.class("a signature of something else");
    table.seen(
        "RS256, a bit changed",
        rs256.clone().altered().sign()?,
        BAD_SIGNATURE,
    );
    table.seen(
        "ES256, a bit changed",
        es256.clone().altered().sign()?,
        BAD_SIGNATURE,
    );
    table.seen(
        "a stranger's",
        rs256.clone().signed_by_a_stranger().sign()?,
        BAD_SIGNATURE,
    );
    let expired = rs256.clone().expired().signed_by_a_stranger();
    table.seen("a stranger's, and expired", expired.sign()?, BAD_SIGNATURE);
    for (name, token) in [("RS256", &rs256), ("ES256", &es256)] {
        let other = token.clone().subject("mallory");
        let moved = other.clone().with_signature(token.signature()?);
        table.seen(
            format!("{name}, another's claims"),
            moved.sign()?,
            BAD_SIGNATURE,
        );
        let header = token
            .clone()
            .header("x", 1)
            .with_signature(token.signature()?);
        table.seen(
            format!("{name}, another header"),
            header.sign()?,
            BAD_SIGNATURE,
        );
    }

    table.class("a signature that is none");
    let whole = rs256.signature()?;
    let (half, _) = whole.split_at(whole.len() / 2);
    for (name, bytes) in [
        ("nothing", vec![]),
        ("half", half.to_vec()),
        ("one byte less", whole.iter().copied().skip(1).collect()),
        ("one byte more", [&whole[..], &[0]].concat()),
        ("a zero before it", [&[0], &whole[..]].concat()),
        ("twice", whole.repeat(2)),
        ("4 kB of it", vec![1; 4096]),
        ("zeros", vec![0; whole.len()]),
        ("one", [vec![0; whole.len() - 1], vec![1]].concat()),
        ("ones", vec![0xFF; whole.len()]),
        // PKCS #1's padding by itself, which is what an exponent of 1 would make of it.
        (
            "its padding",
            [&[0, 1], &[0xFF; 202][..], &[0; 52]].concat(),
        ),
    ] {
        table.seen(
            format!("RS256: {name}"),
            rs256.clone().with_signature(bytes).sign()?,
            BAD_SIGNATURE,
        );
    }
    let whole = es256.signature()?;
    let (r, s) = whole.split_at(32);
    let zero = [0; 32];
    for (name, bytes) in [
        // CVE-2022-21449: zeros were a signature of anything.
        ("nothing", vec![]),
        ("r = s = 0", [zero, zero].concat()),
        ("r = 0", [&zero, s].concat()),
        ("s = 0", [r, &zero].concat()),
        ("r = s = 1", [&zero[1..], &[1], &zero[1..], &[1]].concat()),
        ("r = s = n", [ORDER, ORDER].concat()),
        ("s = n", [r, &ORDER].concat()),
        ("r + n", [&[0xFF; 32], s].concat()),
        ("r and s exchanged", [s, r].concat()),
        ("half", r.to_vec()),
        ("one byte less", whole.iter().copied().take(63).collect()),
        ("one byte more", [&whole[..], &[0]].concat()),
        (
            "in the length of P-384",
            [&[0; 16], r, &[0; 16], s].concat(),
        ),
        ("in DER", der(r, s)),
        ("zeros in DER", vec![0x30, 6, 2, 1, 0, 2, 1, 0]),
        (
            "64 bytes of DER",
            [vec![0x30, 62, 2, 29], vec![1; 29], vec![2, 29], vec![1; 29]].concat(),
        ),
    ] {
        table.seen(
            format!("ES256: {name}"),
            es256.clone().with_signature(bytes).sign()?,
            BAD_SIGNATURE,
        );
    }
    // Every ECDSA signature has a twin, r and n - s: good too, and no way to another token.
    let twin = [r, &negated(s)].concat();
    table.admitted(
        "ES256: its twin",
        es256.clone().with_signature(twin).sign()?,
    );

    table.class("a signature of another form");
    let good = rs256.sign()?;
    let (message, signature) = good.rsplit_once('.').unwrap_or_default();
    let standard = signature.replace('-', "+").replace('_', "/");
    for (name, signature) in [
        ("padded", format!("{signature}==")),
        ("in the other alphabet", format!("{standard}+/")),
        ("with characters over", format!("{signature}AAA")),
        (
            "with a line break in it",
            signature.replacen(|_| true, "\n", 1),
        ),
        ("in hexadecimal and a dot", format!("{signature}.00")),
        ("with stray bits", stray(signature)),
    ] {
        table.unseen(name, format!("{message}.{signature}"), MALFORMED);
    }
    Ok(())
}

/// The same bytes with a last character whose bits to spare are not zero.
fn stray(signature: &str) -> String {
    let (rest, last) = signature.split_at(signature.len() - 1);
    let other = (b'A'..=b'z').map(char::from).find(|character| {
        let text = format!("{rest}{character}");
        last != character.to_string() && URL_SAFE_NO_PAD.decode(&text).is_err()
    });
    format!("{rest}{}", other.unwrap_or('='))
}

/// `n - s`, big-endian.
fn negated(s: &[u8]) -> Vec<u8> {
    let mut borrow = 0;
    let pairs = ORDER.iter().rev().zip(s.iter().rev());
    let mut digits: Vec<u8> = pairs
        .map(|(n, s)| {
            let difference = i16::from(*n) - i16::from(*s) - borrow;
            borrow = i16::from(difference < 0);
            difference.rem_euclid(256) as u8
        })
        .collect();
    digits.reverse();
    digits
}

/// RFC 3279 §2.2.3, which a JWS does not use.
fn der(r: &[u8], s: &[u8]) -> Vec<u8> {
    let integer = |number: &[u8]| [&[2, 33, 0], number].concat();
    let body = [integer(r), integer(s)].concat();
    [vec![0x30, body.len() as u8], body].concat()
}

/// n of P-256 (SEC 2 §2.4.2).
const ORDER: [u8; 32] = [
    0xFF, 0xFF, 0xFF, 0xFF, 0x00, 0x00, 0x00, 0x00, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF,
    0xBC, 0xE6, 0xFA, 0xAD, 0xA7, 0x17, 0x9E, 0x84, 0xF3, 0xB9, 0xCA, 0xC2, 0xFC, 0x63, 0x25, 0x51,
];
