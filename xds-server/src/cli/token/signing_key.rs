//! A key that signs, of any type whose signatures admission checks.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use berth_admission::Algorithm;
use ed25519_dalek::pkcs8::KeypairBytes;
use hmac::{Hmac, Mac};
use p256::{
    ecdsa::signature::{self, RandomizedSigner, SignatureEncoding, Signer},
    elliptic_curve::sec1::ToEncodedPoint,
    pkcs8::{self, DecodePrivateKey, EncodePrivateKey, LineEnding},
};
use rsa::{
    RsaPrivateKey,
    pkcs1::DecodeRsaPrivateKey,
    rand_core::{CryptoRngCore, OsRng},
    traits::PublicKeyParts,
};
use serde_json::{Value, json};
use sha2::{Digest, Sha256, Sha384, Sha512};

/// A private key or a secret.
pub(super) enum SigningKey {
    Rsa(Box<RsaPrivateKey>),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
    P521(p521::SecretKey),
    Ed25519(ed25519_dalek::SigningKey),
    /// Of an HMAC, with the one algorithm that its `alg` names, if it names one.
    Secret(Vec<u8>, Option<Algorithm>),
}

/// Why a key could not be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NewKeyError {
    #[error(transparent)]
    Rsa(#[from] rsa::Error),
    #[error(transparent)]
    Encode(#[from] pkcs8::Error),
}

impl SigningKey {
    /// A new key for this algorithm.
    pub(super) fn new(algorithm: Algorithm) -> Result<Self, rsa::Error> {
        let random = &mut OsRng;
        Ok(match algorithm {
            Algorithm::Hs256 => Self::Secret(secret(random, 32), Some(algorithm)),
            Algorithm::Hs384 => Self::Secret(secret(random, 48), Some(algorithm)),
            Algorithm::Hs512 => Self::Secret(secret(random, 64), Some(algorithm)),
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512 => Self::Rsa(Box::new(RsaPrivateKey::new(random, RSA_BITS)?)),
            Algorithm::Es256 => Self::P256(p256::SecretKey::random(random)),
            Algorithm::Es384 => Self::P384(p384::SecretKey::random(random)),
            Algorithm::Es512 => Self::P521(p521::SecretKey::random(random)),
            Algorithm::EdDsa => Self::Ed25519(ed25519_dalek::SigningKey::generate(random)),
        })
    }

    /// Reads what [`to_text`](Self::to_text) writes; of RSA also PKCS#1.
    pub(super) fn from_text(text: &str) -> Option<Self> {
        if text.trim_start().starts_with('{') {
            return Self::from_jwk(&serde_json::from_str(text).ok()?);
        }
        let rsa = RsaPrivateKey::from_pkcs8_pem(text)
            .ok()
            .or_else(|| RsaPrivateKey::from_pkcs1_pem(text).ok());
        let p256 = || p256::SecretKey::from_pkcs8_pem(text).ok().map(Self::P256);
        let p384 = || p384::SecretKey::from_pkcs8_pem(text).ok().map(Self::P384);
        let p521 = || p521::SecretKey::from_pkcs8_pem(text).ok().map(Self::P521);
        let ed25519 = || {
            let key = ed25519_dalek::SigningKey::from_pkcs8_pem(text);
            key.ok().map(Self::Ed25519)
        };
        rsa.map(|key| Self::Rsa(Box::new(key)))
            .or_else(p256)
            .or_else(p384)
            .or_else(p521)
            .or_else(ed25519)
    }

    /// Only of a secret: for everything else there is PEM.
    fn from_jwk(jwk: &Value) -> Option<Self> {
        let text = |member| jwk.get(member).and_then(Value::as_str);
        let secret = text("k").filter(|_| text("kty") == Some("oct"))?;
        let algorithm = match jwk.get("alg") {
            Some(_) => Some(Algorithm::from_name(text("alg")?)?),
            None => None,
        };
        let secret = URL_SAFE_NO_PAD.decode(secret).ok()?;
        Some(Self::Secret(secret, algorithm))
    }

    /// The key as it is kept: PKCS#8 in PEM, or the JWK of a secret, for which PEM has no form.
    pub(super) fn to_text(&self, kid: &str) -> Result<String, pkcs8::Error> {
        let pem = match self {
            Self::Rsa(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::P256(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::P384(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::P521(key) => key.to_pkcs8_pem(LineEnding::LF),
            Self::Ed25519(key) => {
                // With the public half in it, OpenSSL before 3.0 cannot read it.
                let (secret_key, public_key) = (key.to_bytes(), None);
                let key = KeypairBytes {
                    secret_key,
                    public_key,
                };
                key.to_pkcs8_pem(LineEnding::LF)
            }
            Self::Secret(_, algorithm) => {
                let algorithm = algorithm.unwrap_or(Algorithm::Hs256);
                return Ok(format!("{:#}\n", self.to_jwk(algorithm, kid)));
            }
        };
        Ok(pem?.to_string())
    }

    /// What it can sign with, the usual one first.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
        match self {
            Self::Rsa(_) => vec![
                Algorithm::Rs256,
                Algorithm::Rs384,
                Algorithm::Rs512,
                Algorithm::Ps256,
                Algorithm::Ps384,
                Algorithm::Ps512,
            ],
            Self::P256(_) => vec![Algorithm::Es256],
            Self::P384(_) => vec![Algorithm::Es384],
            Self::P521(_) => vec![Algorithm::Es512],
            Self::Ed25519(_) => vec![Algorithm::EdDsa],
            Self::Secret(_, Some(algorithm)) => vec![*algorithm],
            Self::Secret(_, None) => vec![Algorithm::Hs256, Algorithm::Hs384, Algorithm::Hs512],
        }
    }

    /// Whether whoever can check its signatures can sign.
    pub(super) const fn is_secret(&self) -> bool {
        matches!(self, Self::Secret(..))
    }

    /// The signature of `message` as a JWS has it; nothing for an algorithm that is not one of
    /// [`algorithms`](Self::algorithms).
    pub(super) fn sign(
        &self,
        algorithm: Algorithm,
        message: &[u8],
    ) -> Result<Vec<u8>, signature::Error> {
        match (self, algorithm) {
            (Self::Secret(key, _), Algorithm::Hs256) => hmac::<Hmac<Sha256>>(key, message),
            (Self::Secret(key, _), Algorithm::Hs384) => hmac::<Hmac<Sha384>>(key, message),
            (Self::Secret(key, _), Algorithm::Hs512) => hmac::<Hmac<Sha512>>(key, message),
            (Self::Rsa(key), Algorithm::Rs256) => blinded(
                &rsa::pkcs1v15::SigningKey::<Sha256>::new(*key.clone()),
                message,
            ),
            (Self::Rsa(key), Algorithm::Rs384) => blinded(
                &rsa::pkcs1v15::SigningKey::<Sha384>::new(*key.clone()),
                message,
            ),
            (Self::Rsa(key), Algorithm::Rs512) => blinded(
                &rsa::pkcs1v15::SigningKey::<Sha512>::new(*key.clone()),
                message,
            ),
            (Self::Rsa(key), Algorithm::Ps256) => blinded(
                &rsa::pss::BlindedSigningKey::<Sha256>::new(*key.clone()),
                message,
            ),
            (Self::Rsa(key), Algorithm::Ps384) => blinded(
                &rsa::pss::BlindedSigningKey::<Sha384>::new(*key.clone()),
                message,
            ),
            (Self::Rsa(key), Algorithm::Ps512) => blinded(
                &rsa::pss::BlindedSigningKey::<Sha512>::new(*key.clone()),
                message,
            ),
            (Self::P256(key), Algorithm::Es256) => {
                let signature: p256::ecdsa::Signature =
                    p256::ecdsa::SigningKey::from(key).try_sign(message)?;
                Ok(signature.to_vec())
            }
            (Self::P384(key), Algorithm::Es384) => {
                let signature: p384::ecdsa::Signature =
                    p384::ecdsa::SigningKey::from(key).try_sign(message)?;
                Ok(signature.to_vec())
            }
            (Self::P521(key), Algorithm::Es512) => {
                let key = p521::ecdsa::SigningKey::from_bytes(&key.to_bytes())?;
                let signature: p521::ecdsa::Signature =
                    key.try_sign_with_rng(&mut OsRng, message)?;
                Ok(signature.to_vec())
            }
            (Self::Ed25519(key), Algorithm::EdDsa) => Ok(key.try_sign(message)?.to_vec()),
            _ => Err(signature::Error::new()),
        }
    }

    /// What signatures are checked with (RFC 7517): the public half, or the secret.
    pub(super) fn to_jwk(&self, algorithm: Algorithm, kid: &str) -> Value {
        let mut jwk = self.bare_jwk();
        for (member, value) in [("alg", algorithm.name()), ("kid", kid), ("use", "sig")] {
            if let Some(members) = jwk.as_object_mut() {
                members.insert(member.to_owned(), value.into());
            }
        }
        jwk
    }

    /// A name for it: the thumbprint of its public half (RFC 7638), or chance for a secret, of which
    /// nothing is to be told.
    pub(super) fn default_kid(&self) -> String {
        if self.is_secret() {
            return URL_SAFE_NO_PAD.encode(secret(&mut OsRng, 16));
        }
        // Without white space, and in the order of the alphabet, as a map of serde_json is.
        URL_SAFE_NO_PAD.encode(Sha256::digest(self.bare_jwk().to_string()))
    }

    /// The members that RFC 7638 §3.2 counts, and RFC 8037 §2 for Ed25519.
    fn bare_jwk(&self) -> Value {
        let text = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let ec = |crv: &str, point: &[u8]| {
            // Uncompressed (SEC 1 §2.3.3): a byte that says so, then both coordinates.
            let coordinates = point.get(1..).unwrap_or_default();
            let (x, y) = coordinates.split_at(coordinates.len() / 2);
            json!({"crv": crv, "kty": "EC", "x": text(x), "y": text(y)})
        };
        match self {
            Self::Rsa(key) => {
                let (n, e) = (key.n().to_bytes_be(), key.e().to_bytes_be());
                json!({"e": text(&e), "kty": "RSA", "n": text(&n)})
            }
            Self::P256(key) => ec("P-256", key.public_key().to_encoded_point(false).as_bytes()),
            Self::P384(key) => ec("P-384", key.public_key().to_encoded_point(false).as_bytes()),
            Self::P521(key) => ec("P-521", key.public_key().to_encoded_point(false).as_bytes()),
            Self::Ed25519(key) => {
                json!({"crv": "Ed25519", "kty": "OKP", "x": text(key.verifying_key().as_bytes())})
            }
            Self::Secret(secret, _) => json!({"k": text(secret), "kty": "oct"}),
        }
    }
}

fn secret(random: &mut impl CryptoRngCore, bytes: usize) -> Vec<u8> {
    let mut secret = vec![0; bytes];
    random.fill_bytes(&mut secret);
    secret
}

fn hmac<H: Mac + sha2::digest::KeyInit>(
    key: &[u8],
    message: &[u8],
) -> Result<Vec<u8>, signature::Error> {
    let hmac = <H as sha2::digest::KeyInit>::new_from_slice(key);
    let hmac = hmac.map_err(|_| signature::Error::new())?;
    Ok(hmac.chain_update(message).finalize().into_bytes().to_vec())
}

/// With chance in it, so that the time it takes tells nothing of an RSA key.
fn blinded<S: SignatureEncoding>(
    key: &impl RandomizedSigner<S>,
    message: &[u8],
) -> Result<Vec<u8>, signature::Error> {
    Ok(key.try_sign_with_rng(&mut OsRng, message)?.to_vec())
}

/// The least that admission takes.
const RSA_BITS: usize = 2048;
