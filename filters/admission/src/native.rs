use ed25519_dalek::VerifyingKey as Ed25519Key;
use hmac::{Hmac, Mac};
use p256::ecdsa::signature;
use rsa::traits::SignatureScheme;
use rsa::{BigUint, Pkcs1v15Sign, Pss, RsaPublicKey};
use sha2::digest::KeyInit;
use sha2::{Digest, Sha256, Sha384, Sha512};
use spki::SubjectPublicKeyInfoRef;
use spki::der::Decode;

use crate::jwk::MAX_MODULUS_BITS;
use crate::signature::{Algorithm, KeyMaterial, Secret, VerifyError, VerifySignature};

/// Checks the signatures of every algorithm by itself, in Rust alone.
///
/// The crates are called directly: a JWT library in between would take no RSA key over 4096 bits, no
/// P-521, and Ed25519 keys of small order, with which one signature fits many messages.
#[derive(Clone, Copy, Debug, Default)]
pub struct NativeVerifier;

impl VerifySignature for NativeVerifier {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        match algorithm {
            Algorithm::Hs256 => hmac::<Hmac<Sha256>>(secret(key)?, message, signature),
            Algorithm::Hs384 => hmac::<Hmac<Sha384>>(secret(key)?, message, signature),
            Algorithm::Hs512 => hmac::<Hmac<Sha512>>(secret(key)?, message, signature),
            Algorithm::Rs256 => pkcs1v15::<Sha256>(public(key)?, message, signature),
            Algorithm::Rs384 => pkcs1v15::<Sha384>(public(key)?, message, signature),
            Algorithm::Rs512 => pkcs1v15::<Sha512>(public(key)?, message, signature),
            Algorithm::Ps256 => pss::<Sha256>(public(key)?, message, signature),
            Algorithm::Ps384 => pss::<Sha384>(public(key)?, message, signature),
            Algorithm::Ps512 => pss::<Sha512>(public(key)?, message, signature),
            Algorithm::Es256 => {
                let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(public(key)?);
                ecdsa::<p256::ecdsa::Signature, _>(key, message, signature)
            }
            Algorithm::Es384 => {
                let key = p384::ecdsa::VerifyingKey::from_sec1_bytes(public(key)?);
                ecdsa::<p384::ecdsa::Signature, _>(key, message, signature)
            }
            Algorithm::Es512 => {
                let key = p521::ecdsa::VerifyingKey::from_sec1_bytes(public(key)?);
                ecdsa::<p521::ecdsa::Signature, _>(key, message, signature)
            }
            Algorithm::EdDsa => ed25519(public(key)?, message, signature),
        }
    }
}

fn secret(key: &KeyMaterial) -> Result<&Secret, VerifyError> {
    match key {
        KeyMaterial::Secret(secret) => Ok(secret),
        KeyMaterial::Public(_) => Err(VerifyError::KeyRefused),
    }
}

/// What the SubjectPublicKeyInfo wraps: an RSAPublicKey (RFC 8017 §A.1.1), the point of a curve
/// (SEC 1 §2.3.3), or an Ed25519 key (RFC 8032 §5.1.5). No two that fit here have a form in common.
fn public(key: &KeyMaterial) -> Result<&[u8], VerifyError> {
    let KeyMaterial::Public(key) = key else {
        return Err(VerifyError::KeyRefused);
    };
    SubjectPublicKeyInfoRef::from_der(key.spki_der())
        .map(|info| info.subject_public_key.raw_bytes())
        .map_err(|_| VerifyError::KeyRefused)
}

fn hmac<H: Mac + KeyInit>(
    secret: &Secret,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, VerifyError> {
    let hmac = <H as KeyInit>::new_from_slice(secret.expose());
    let hmac = hmac.map_err(|_| VerifyError::KeyRefused)?;
    // All of the signature, in constant time.
    Ok(hmac.chain_update(message).verify_slice(signature).is_ok())
}

fn pkcs1v15<H: Digest + rsa::pkcs8::AssociatedOid>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<bool, VerifyError> {
    rsa(
        key,
        Pkcs1v15Sign::new::<H>(),
        &H::digest(message),
        signature,
    )
}

/// With a salt as long as the hash, and no other (RFC 7518 §3.5).
fn pss<H: Digest + sha2::digest::DynDigest + Send + Sync + 'static>(
    key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<bool, VerifyError> {
    rsa(key, Pss::new::<H>(), &H::digest(message), signature)
}

fn rsa(
    key: &[u8],
    scheme: impl SignatureScheme,
    hash: &[u8],
    signature: &[u8],
) -> Result<bool, VerifyError> {
    let key = rsa::pkcs1::RsaPublicKey::try_from(key).map_err(|_| VerifyError::KeyRefused)?;
    let [modulus, exponent] =
        [key.modulus, key.public_exponent].map(|number| BigUint::from_bytes_be(number.as_bytes()));
    let key = RsaPublicKey::new_with_max_size(modulus, exponent, MAX_MODULUS_BITS);
    let key = key.map_err(|_| VerifyError::KeyRefused)?;
    Ok(key.verify(scheme, hash, signature).is_ok())
}

fn ecdsa<S, K>(
    key: Result<K, signature::Error>,
    message: &[u8],
    signature: &[u8],
) -> Result<bool, VerifyError>
where
    S: for<'a> TryFrom<&'a [u8]>,
    K: signature::Verifier<S>,
{
    let key = key.map_err(|_| VerifyError::KeyRefused)?;
    let Ok(signature) = S::try_from(signature) else {
        // Another length, or numbers that are no ECDSA signature's.
        return Ok(false);
    };
    Ok(key.verify(message, &signature).is_ok())
}

fn ed25519(key: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, VerifyError> {
    let key = Ed25519Key::try_from(key).map_err(|_| VerifyError::KeyRefused)?;
    if key.is_weak() {
        return Err(VerifyError::KeyRefused);
    }
    let Ok(signature) = ed25519_dalek::Signature::from_slice(signature) else {
        return Ok(false);
    };
    Ok(key.verify_strict(message, &signature).is_ok())
}
