use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::signature::{Algorithm, PublicKey};

/// A key of an issuer's set that signatures can be checked with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// `kid`.
    pub(crate) id: Option<String>,
    /// The one algorithm it is used with: a key that fits two is a key that can be confused.
    pub(crate) algorithm: Algorithm,
    pub(crate) public: PublicKey,
}

impl Key {
    /// Reads a JWK (RFC 7517 §4, RFC 7518 §6) as far as it matters for checking signatures.
    pub(crate) fn from_jwk(jwk: &Value) -> Result<Self, RefusedKey> {
        if !jwk.is_object() {
            return Err(RefusedKey {
                member: None,
                problem: KeyProblem::NotAnObject,
            });
        }
        let (algorithm, public) = match required(jwk, "kty")? {
            "RSA" => (Algorithm::Rs256, rsa(jwk)?),
            "EC" => (Algorithm::Es256, p256(jwk)?),
            _ => return refuse("kty", KeyProblem::KeyType),
        };
        check_purpose(jwk, algorithm)?;
        let id = optional(jwk, "kid")?.map(str::to_owned);
        Ok(Self {
            id,
            algorithm,
            public,
        })
    }
}

/// Why a key is not used.
pub(crate) struct RefusedKey {
    /// The member that is to blame; `None` for the key as a whole.
    pub(crate) member: Option<&'static str>,
    pub(crate) problem: KeyProblem,
}

/// What can keep a JWK from being used; each says what it should have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyProblem {
    /// The key is for an algorithm that is not checked here, or not one of its type.
    #[error("must be RS256 for an RSA key and ES256 for an EC key, or absent")]
    Algorithm,
    /// A coordinate has not the length of the curve's field.
    #[error("must be 32 bytes")]
    Coordinate,
    /// The curve is not P-256.
    #[error("must be P-256")]
    Curve,
    /// The key has no DER form; none of a size that is let through lacks one.
    #[error("cannot be written as a SubjectPublicKeyInfo")]
    Encoding,
    /// The RSA exponent is one no RSA key has.
    #[error("must be odd, at least 3 and below 2^32")]
    Exponent,
    /// The key's operations do not include checking signatures.
    #[error("must be an array that contains `verify`, or absent")]
    KeyOperations,
    /// The key is of a type that is not checked here.
    #[error("must be RSA or EC")]
    KeyType,
    /// A required member is not there.
    #[error("is missing")]
    Missing,
    /// The RSA modulus is too short to be safe (RFC 7518 §3.3), too long to be checked in time, or
    /// even.
    #[error("must be an odd number of 2048 to 8192 bits, and has {0} bits")]
    Modulus(usize),
    /// The key is no JSON object.
    #[error("must be an object")]
    NotAnObject,
    /// A member is not text.
    #[error("must be a string")]
    NotAString,
    /// A member is not bytes.
    #[error("must be base64url without padding")]
    NotBase64Url,
    /// The private half is there: whoever reads the policy could sign tokens.
    #[error("is the private half of the key: replace the key, and give only its public half")]
    Private,
    /// The key is for something else than signatures.
    #[error("must be `sig`, or absent")]
    Use,
}

fn rsa(jwk: &Value) -> Result<PublicKey, RefusedKey> {
    refuse_private(jwk)?;
    let modulus = unsigned(jwk, "n")?;
    let bits = bit_length(&modulus);
    if !(2048..=8192).contains(&bits) || !is_odd(&modulus) {
        return refuse("n", KeyProblem::Modulus(bits));
    }
    let exponent = unsigned(jwk, "e")?;
    if !(2..=32).contains(&bit_length(&exponent)) || !is_odd(&exponent) {
        return refuse("e", KeyProblem::Exponent);
    }
    PublicKey::rsa(&modulus, &exponent).ok_or(RefusedKey {
        member: None,
        problem: KeyProblem::Encoding,
    })
}

fn p256(jwk: &Value) -> Result<PublicKey, RefusedKey> {
    refuse_private(jwk)?;
    if required(jwk, "crv")? != "P-256" {
        return refuse("crv", KeyProblem::Curve);
    }
    PublicKey::p256(&coordinate(jwk, "x")?, &coordinate(jwk, "y")?).ok_or(RefusedKey {
        member: None,
        problem: KeyProblem::Encoding,
    })
}

/// `d` is the private half of both types (RFC 7518 §6.2.2, §6.3.2).
fn refuse_private(jwk: &Value) -> Result<(), RefusedKey> {
    if jwk.get("d").is_some() {
        refuse("d", KeyProblem::Private)
    } else {
        Ok(())
    }
}

/// `use`, `key_ops` and `alg` (RFC 7517 §4.2 to §4.4): each may be absent, none may exclude us.
fn check_purpose(jwk: &Value, algorithm: Algorithm) -> Result<(), RefusedKey> {
    if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return refuse("use", KeyProblem::Use);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let verify = |operation: &Value| operation.as_str() == Some("verify");
        if !operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(verify))
        {
            return refuse("key_ops", KeyProblem::KeyOperations);
        }
    }
    if optional(jwk, "alg")?.is_some_and(|name| name != algorithm.name()) {
        return refuse("alg", KeyProblem::Algorithm);
    }
    Ok(())
}

fn coordinate(jwk: &Value, member: &'static str) -> Result<[u8; 32], RefusedKey> {
    // Always of full length (RFC 7518 §6.2.1.2): a shorter one is damaged, not a small number.
    let bytes = bytes(jwk, member)?;
    <[u8; 32]>::try_from(bytes).map_err(|_| RefusedKey {
        member: Some(member),
        problem: KeyProblem::Coordinate,
    })
}

/// A Base64urlUInt (RFC 7518 §2), without the leading zero bytes that some issuers put there.
fn unsigned(jwk: &Value, member: &'static str) -> Result<Vec<u8>, RefusedKey> {
    Ok(bytes(jwk, member)?
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect())
}

fn bytes(jwk: &Value, member: &'static str) -> Result<Vec<u8>, RefusedKey> {
    let text = required(jwk, member)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| RefusedKey {
        member: Some(member),
        problem: KeyProblem::NotBase64Url,
    })
}

fn required<'a>(jwk: &'a Value, member: &'static str) -> Result<&'a str, RefusedKey> {
    optional(jwk, member)?.ok_or(RefusedKey {
        member: Some(member),
        problem: KeyProblem::Missing,
    })
}

fn optional<'a>(jwk: &'a Value, member: &'static str) -> Result<Option<&'a str>, RefusedKey> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => refuse(member, KeyProblem::NotAString),
    }
}

fn bit_length(unsigned: &[u8]) -> usize {
    let unused = unsigned.first().map_or(0, |byte| byte.leading_zeros());
    (unsigned.len() * 8).saturating_sub(unused as usize)
}

fn is_odd(unsigned: &[u8]) -> bool {
    unsigned.last().is_some_and(|byte| byte % 2 == 1)
}

fn refuse<T>(member: &'static str, problem: KeyProblem) -> Result<T, RefusedKey> {
    Err(RefusedKey {
        member: Some(member),
        problem,
    })
}
