use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::json::Json;
use crate::signature::{Algorithm, Curve, KeyMaterial, PublicKey, Secret};

/// A key of an issuer's set that signatures can be checked with.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    /// `kid`.
    pub(crate) id: Option<String>,
    pub(crate) material: KeyMaterial,
    /// What it is for: all of its type, or the one that `alg` says. Never empty.
    algorithms: &'static [Algorithm],
}

impl Key {
    /// Reads a JWK (RFC 7517 §4, RFC 7518 §6, RFC 8037 §2) as far as it matters for checking
    /// signatures.
    pub(crate) fn from_jwk(jwk: &Json) -> Result<Self, RefusedKey> {
        if !matches!(jwk, Json::Object(_)) {
            return refuse_whole(KeyProblem::NotAnObject);
        }
        let (fitting, material) = match required(jwk, "kty")? {
            "oct" => (OCT, secret(jwk)?),
            key_type => {
                // Before all else: a key that is of no use to us is not a secret the less.
                refuse_private(jwk)?;
                let (fitting, public) = match key_type {
                    "RSA" => (RSA, rsa(jwk)?),
                    "EC" => ec(jwk)?,
                    "OKP" => (OKP, ed25519(jwk)?),
                    _ => return refuse("kty", KeyProblem::KeyType),
                };
                (fitting, KeyMaterial::Public(public))
            }
        };
        check_purpose(jwk)?;
        let algorithms = match &material {
            KeyMaterial::Public(_) => pinned(jwk, fitting)?,
            KeyMaterial::Secret(secret) => no_longer_than(secret, pinned(jwk, fitting)?)?,
        };
        let id = optional(jwk, "kid")?.map(str::to_owned);
        Ok(Self {
            id,
            material,
            algorithms,
        })
    }

    /// Whether signatures of this algorithm are checked with this key. The key says it, not the
    /// token: a key that the token could use as it likes is a key that can be confused (RFC 8725
    /// §3.1).
    pub(crate) fn may_check(&self, algorithm: Algorithm) -> bool {
        self.algorithms.contains(&algorithm)
    }
}

/// Whether whoever reads this JWK could sign with it, so that only the control plane may have it.
pub fn is_secret(jwk: &Json) -> bool {
    // What calls itself otherwise and has a `k` is not used, and not to be passed on either.
    jwk.get("kty").and_then(Json::as_text) == Some("oct")
        || ["k", "d"].iter().any(|member| jwk.get(member).is_some())
}

/// Why a key is not used.
#[derive(Debug)]
pub(crate) struct RefusedKey {
    /// The member that is to blame; `None` for the key as a whole.
    pub(crate) member: Option<&'static str>,
    pub(crate) problem: KeyProblem,
}

/// What can keep a JWK from being used; each says what it should have been.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum KeyProblem {
    /// The key is for an algorithm that is not checked here, or not one of its type and curve.
    #[error("must be {}, or absent", Alternatives(.0))]
    Algorithm(&'static [Algorithm]),
    /// A coordinate, or an Ed25519 key, has not the length of the curve's field.
    #[error("must be {0} bytes")]
    Coordinate(usize),
    /// The curve is none of the key type's that are checked here.
    #[error("must be {0}")]
    Curve(&'static str),
    /// The RSA exponent is one no RSA key has.
    #[error("must be odd, at least 3 and below 2^32")]
    Exponent,
    /// The key's operations do not include checking signatures.
    #[error("must be an array that contains `verify`, or absent")]
    KeyOperations,
    /// The key is of a type that is not checked here.
    #[error("must be RSA, EC, OKP or oct")]
    KeyType,
    /// A required member is not there.
    #[error("is missing")]
    Missing,
    /// The RSA modulus is too short to be safe (RFC 7518 §3.3), too long to be checked in time, or
    /// even.
    #[error("must be an odd number of 2048 to {MAX_MODULUS_BITS} bits, and has {0} bits")]
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
    /// The secret is shorter than the hash of its algorithm, so that guessing it is easier than it
    /// has to be (RFC 7518 §3.2).
    #[error("must be at least {least} bytes for {algorithm}, and has {bytes}")]
    Secret {
        /// The algorithm it is for, or the least demanding if it is for any.
        algorithm: Algorithm,
        /// As long as the algorithm's hash.
        least: usize,
        /// As long as it is.
        bytes: usize,
    },
    /// The key is for something else than signatures.
    #[error("must be `sig`, or absent")]
    Use,
}

fn rsa(jwk: &Json) -> Result<PublicKey, RefusedKey> {
    let modulus = unsigned(jwk, "n")?;
    let bits = bit_length(&modulus);
    if !(2048..=MAX_MODULUS_BITS).contains(&bits) || !is_odd(&modulus) {
        return refuse("n", KeyProblem::Modulus(bits));
    }
    let exponent = unsigned(jwk, "e")?;
    if !(2..=32).contains(&bit_length(&exponent)) || !is_odd(&exponent) {
        return refuse("e", KeyProblem::Exponent);
    }
    Ok(PublicKey::rsa(&modulus, &exponent))
}

fn ec(jwk: &Json) -> Result<(&'static [Algorithm], PublicKey), RefusedKey> {
    let Some(curve) = Curve::from_name(required(jwk, "crv")?) else {
        return refuse("crv", KeyProblem::Curve("P-256, P-384 or P-521"));
    };
    let fitting = match curve {
        Curve::P256 => P256,
        Curve::P384 => P384,
        Curve::P521 => P521,
    };
    let bytes = curve.coordinate_bytes();
    let (x, y) = (coordinate(jwk, "x", bytes)?, coordinate(jwk, "y", bytes)?);
    Ok((fitting, PublicKey::ec(curve, &x, &y)))
}

fn ed25519(jwk: &Json) -> Result<PublicKey, RefusedKey> {
    if required(jwk, "crv")? != "Ed25519" {
        return refuse("crv", KeyProblem::Curve("Ed25519"));
    }
    Ok(PublicKey::ed25519(&coordinate(jwk, "x", ED25519_BYTES)?))
}

fn secret(jwk: &Json) -> Result<KeyMaterial, RefusedKey> {
    Ok(KeyMaterial::Secret(Secret::new(bytes(jwk, "k")?)))
}

/// RFC 7518 §6.2.2 and §6.3.2, RFC 8037 §2; `priv` is that of key types to come. Two factors of a
/// modulus are as good as `d`.
fn refuse_private(jwk: &Json) -> Result<(), RefusedKey> {
    let private = ["d", "p", "q", "dp", "dq", "qi", "oth", "priv"];
    match private.into_iter().find(|member| jwk.get(member).is_some()) {
        Some(member) => refuse(member, KeyProblem::Private),
        None => Ok(()),
    }
}

/// `use` and `key_ops` (RFC 7517 §4.2, §4.3): each may be absent, none may exclude us.
fn check_purpose(jwk: &Json) -> Result<(), RefusedKey> {
    if optional(jwk, "use")?.is_some_and(|purpose| purpose != "sig") {
        return refuse("use", KeyProblem::Use);
    }
    if let Some(operations) = jwk.get("key_ops") {
        let verify = |operation: &Json| operation.as_text() == Some("verify");
        if !operations
            .as_array()
            .is_some_and(|operations| operations.iter().any(verify))
        {
            return refuse("key_ops", KeyProblem::KeyOperations);
        }
    }
    Ok(())
}

/// What is left of `fitting` by `alg` (RFC 7517 §4.4), which may be absent: the one it names.
fn pinned(jwk: &Json, fitting: &'static [Algorithm]) -> Result<&'static [Algorithm], RefusedKey> {
    let Some(name) = optional(jwk, "alg")? else {
        return Ok(fitting);
    };
    let named = Algorithm::from_name(name);
    let mut singles = fitting.chunks(1);
    match singles.find(|single| single.first().copied() == named) {
        Some(single) => Ok(single),
        None => refuse("alg", KeyProblem::Algorithm(fitting)),
    }
}

/// What is left of `algorithms`, shortest hash first, by the secret's length (RFC 7518 §3.2).
fn no_longer_than(
    secret: &Secret,
    algorithms: &'static [Algorithm],
) -> Result<&'static [Algorithm], RefusedKey> {
    let bytes = secret.expose().len();
    let fitting = algorithms.partition_point(|algorithm| hmac_bytes(*algorithm) <= bytes);
    match (algorithms.get(..fitting), algorithms.first()) {
        (Some([]), Some(algorithm)) => refuse(
            "k",
            KeyProblem::Secret {
                algorithm: *algorithm,
                least: hmac_bytes(*algorithm),
                bytes,
            },
        ),
        (fitting, _) => Ok(fitting.unwrap_or_default()),
    }
}

/// How long the hash of an HMAC is.
const fn hmac_bytes(algorithm: Algorithm) -> usize {
    match algorithm {
        Algorithm::Hs512 => 64,
        Algorithm::Hs384 => 48,
        _ => 32,
    }
}

/// Always of full length (RFC 7518 §6.2.1.2): a shorter one is damaged, not a small number.
fn coordinate(jwk: &Json, member: &'static str, length: usize) -> Result<Vec<u8>, RefusedKey> {
    let bytes = bytes(jwk, member)?;
    if bytes.len() == length {
        Ok(bytes)
    } else {
        refuse(member, KeyProblem::Coordinate(length))
    }
}

/// A Base64urlUInt (RFC 7518 §2), without the leading zero bytes that some issuers put there.
fn unsigned(jwk: &Json, member: &'static str) -> Result<Vec<u8>, RefusedKey> {
    Ok(bytes(jwk, member)?
        .into_iter()
        .skip_while(|byte| *byte == 0)
        .collect())
}

fn bytes(jwk: &Json, member: &'static str) -> Result<Vec<u8>, RefusedKey> {
    let text = required(jwk, member)?;
    URL_SAFE_NO_PAD.decode(text).map_err(|_| RefusedKey {
        member: Some(member),
        problem: KeyProblem::NotBase64Url,
    })
}

fn required<'a>(jwk: &'a Json, member: &'static str) -> Result<&'a str, RefusedKey> {
    optional(jwk, member)?.ok_or(RefusedKey {
        member: Some(member),
        problem: KeyProblem::Missing,
    })
}

fn optional<'a>(jwk: &'a Json, member: &'static str) -> Result<Option<&'a str>, RefusedKey> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Json::Text(text)) => Ok(Some(text)),
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

fn refuse_whole<T>(problem: KeyProblem) -> Result<T, RefusedKey> {
    Err(RefusedKey {
        member: None,
        problem,
    })
}

/// `ES256`; `HS256, HS384 or HS512`.
struct Alternatives<'a>(&'a [Algorithm]);

impl fmt::Display for Alternatives<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, algorithm) in self.0.iter().enumerate() {
            match index {
                0 => {}
                _ if index + 1 == self.0.len() => f.write_str(" or ")?,
                _ => f.write_str(", ")?,
            }
            f.write_str(algorithm.name())?;
        }
        Ok(())
    }
}

/// The most that was tried with Envoy 1.40, which takes it. A larger one costs whoever checks more
/// time than a request is worth.
pub(crate) const MAX_MODULUS_BITS: usize = 8192;

const ED25519_BYTES: usize = 32;

const OCT: &[Algorithm] = &[Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512];
const RSA: &[Algorithm] = &[
    Algorithm::Rs256,
    Algorithm::Rs384,
    Algorithm::Rs512,
    Algorithm::Ps256,
    Algorithm::Ps384,
    Algorithm::Ps512,
];
const P256: &[Algorithm] = &[Algorithm::Es256];
const P384: &[Algorithm] = &[Algorithm::Es384];
const P521: &[Algorithm] = &[Algorithm::Es512];
const OKP: &[Algorithm] = &[Algorithm::EdDsa];
