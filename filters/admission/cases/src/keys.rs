use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac as _};
use p256::ecdsa::signature::{RandomizedSigner as _, SignatureEncoding as _, Signer};
use rsa::pkcs1::EncodeRsaPublicKey as _;
use rsa::pkcs8::{DecodePrivateKey as _, EncodePublicKey as _, LineEnding};
use rsa::rand_core::{self, CryptoRng, RngCore};
use rsa::traits::PublicKeyParts as _;
use rsa::{BigUint, Pkcs1v15Sign, RsaPrivateKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A JWS algorithm that the issuer signs with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
    /// RSASSA-PSS with SHA-256. No proxy checks it.
    Ps256,
    /// Ed25519. No proxy checks it.
    EdDsa,
    /// HMAC with SHA-256. No proxy has its key.
    Hs256,
}

impl Algorithm {
    /// Those that a filter leaves to the control plane.
    pub const UNDECIDED: [Self; 3] = [Self::Ps256, Self::EdDsa, Self::Hs256];

    /// Its name in a JOSE header.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// The `kid` of the issuer's key for it.
    #[must_use]
    pub const fn key_id(self) -> &'static str {
        match self {
            Self::Rs256 => "development-rs256",
            Self::Es256 => "development-es256",
            Self::Ps256 => "development-ps256",
            Self::EdDsa => "development-eddsa",
            Self::Hs256 => "development-hs256",
        }
    }
}

/// The issuer's private keys.
pub struct Keys {
    /// For PS256 too, under another name.
    rsa: RsaPrivateKey,
    /// The keys of EdDSA and HS256 are made of this one.
    ec: p256::ecdsa::SigningKey,
}

/// Why there is no key, or no signature.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// What should be an RSA key is none, or cannot sign or be written.
    #[error("the RSA key: {0}")]
    Rsa(String),
    /// What should be a P-256 key is none, or cannot sign.
    #[error("the EC key: {0}")]
    Ec(String),
}

impl KeyError {
    fn rsa(error: impl std::fmt::Display) -> Self {
        Self::Rsa(error.to_string())
    }

    fn ec(error: impl std::fmt::Display) -> Self {
        Self::Ec(error.to_string())
    }
}

impl Keys {
    /// Reads two PKCS #8 keys in PEM.
    ///
    /// # Errors
    /// When one is no key of its algorithm.
    pub fn from_pem(rs256: &str, es256: &str) -> Result<Self, KeyError> {
        Ok(Self {
            rsa: RsaPrivateKey::from_pkcs8_pem(rs256).map_err(KeyError::rsa)?,
            ec: p256::ecdsa::SigningKey::from_pkcs8_pem(es256).map_err(KeyError::ec)?,
        })
    }

    /// Those that RFC 7515 publishes (§A.2, §A.3), for where none can be made.
    ///
    /// # Errors
    /// When the data is damaged.
    pub fn of_rfc_7515() -> Result<Self, KeyError> {
        let data: Value = serde_json::from_str(RFC_7515).map_err(KeyError::rsa)?;
        let number = |appendix: &str, member: &str| {
            let mut examples = data.get("examples").and_then(Value::as_array)?.iter();
            let example =
                examples.find(|one| one.get("appendix").is_some_and(|it| it == appendix))?;
            let text = example.get("key")?.get(member)?.as_str()?;
            URL_SAFE_NO_PAD.decode(text).ok()
        };
        let [n, e, d, p, q] = ["n", "e", "d", "p", "q"].map(|member| {
            let number = number("A.2", member).unwrap_or_default();
            BigUint::from_bytes_be(&number)
        });
        let scalar = number("A.3", "d").unwrap_or_default();
        Ok(Self {
            rsa: RsaPrivateKey::from_components(n, e, d, vec![p, q]).map_err(KeyError::rsa)?,
            ec: p256::ecdsa::SigningKey::from_slice(&scalar).map_err(KeyError::ec)?,
        })
    }

    /// The public halves of those that a filter can check with, as an RFC 7517 set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        let ids = [Algorithm::Rs256, Algorithm::Es256].map(Algorithm::key_id);
        self.jwks_named(ids)
    }

    /// The same with each other's names.
    pub(crate) fn exchanged_jwks(&self) -> Value {
        let ids = [Algorithm::Es256, Algorithm::Rs256].map(Algorithm::key_id);
        self.jwks_named(ids)
    }

    fn jwks_named(&self, [rsa, ec]: [&str; 2]) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let point = self.ec.verifying_key().to_encoded_point(false);
        let coordinate = |bytes: Option<&_>| bytes.map(|bytes: &p256::FieldBytes| encode(bytes));
        json!({"keys": [
            {
                "kty": "RSA", "kid": rsa, "alg": "RS256", "use": "sig",
                "n": encode(&self.rsa.n().to_bytes_be()), "e": encode(&self.rsa.e().to_bytes_be()),
            },
            {"kty": "EC", "crv": "P-256", "kid": ec, "alg": "ES256", "use": "sig", "x": coordinate(point.x()), "y": coordinate(point.y())},
        ]})
    }

    /// A key as its issuer would publish it: the public half, or for HS256 the secret.
    #[must_use]
    pub fn jwk(&self, algorithm: Algorithm) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let kid = algorithm.key_id();
        match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => json!({
                "kty": "RSA", "kid": kid, "alg": algorithm.name(), "use": "sig",
                "n": encode(&self.rsa.n().to_bytes_be()), "e": encode(&self.rsa.e().to_bytes_be()),
            }),
            Algorithm::Es256 => {
                let set = self.jwks();
                set.pointer("/keys/1").cloned().unwrap_or_default()
            }
            Algorithm::EdDsa => {
                let public = self.ed25519().verifying_key();
                json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "alg": "EdDSA", "x": encode(public.as_bytes())})
            }
            Algorithm::Hs256 => {
                json!({"kty": "oct", "kid": kid, "alg": "HS256", "k": encode(&self.derived("HS256"))})
            }
        }
    }

    fn ed25519(&self) -> ed25519_dalek::SigningKey {
        ed25519_dalek::SigningKey::from_bytes(&self.derived("EdDSA"))
    }

    fn derived(&self, purpose: &str) -> [u8; 32] {
        let hash = Sha256::new().chain_update(purpose);
        hash.chain_update(self.ec.to_bytes()).finalize().into()
    }

    /// Everything that somebody who knows the public RSA key might sign with.
    pub(crate) fn public_as_secrets(&self) -> Result<Vec<(&'static str, Vec<u8>)>, KeyError> {
        let key = self.rsa.to_public_key();
        let spki = key
            .to_public_key_pem(LineEnding::LF)
            .map_err(KeyError::rsa)?;
        let crlf = key
            .to_public_key_pem(LineEnding::CRLF)
            .map_err(KeyError::rsa)?;
        let pkcs1 = key.to_pkcs1_pem(LineEnding::LF).map_err(KeyError::rsa)?;
        let modulus = key.n().to_bytes_be();
        let set = self.jwks();
        let jwk = set.pointer("/keys/0").cloned().unwrap_or_default();
        Ok(vec![
            ("its PEM", spki.clone().into_bytes()),
            (
                "its PEM without the last line break",
                spki.trim_end().into(),
            ),
            ("its PEM of Windows", crlf.into_bytes()),
            ("its PEM of PKCS #1", pkcs1.into_bytes()),
            (
                "its DER",
                key.to_public_key_der().map_err(KeyError::rsa)?.into_vec(),
            ),
            (
                "its DER of PKCS #1",
                key.to_pkcs1_der().map_err(KeyError::rsa)?.into_vec(),
            ),
            ("its modulus", modulus.clone()),
            (
                "its modulus in text",
                URL_SAFE_NO_PAD.encode(modulus).into_bytes(),
            ),
            ("its JWK", jwk.to_string().into_bytes()),
            ("its JWK Set", set.to_string().into_bytes()),
            ("nothing", Vec::new()),
            ("its id", Algorithm::Rs256.key_id().into()),
        ])
    }

    pub(crate) fn sign(&self, algorithm: Algorithm, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        match algorithm {
            Algorithm::Rs256 => {
                let hash = Sha256::digest(message);
                let scheme = Pkcs1v15Sign::new::<Sha256>();
                self.rsa.sign(scheme, &hash).map_err(KeyError::rsa)
            }
            Algorithm::Es256 => es256(&self.ec, message),
            Algorithm::Ps256 => {
                let key = rsa::pss::SigningKey::<Sha256>::new(self.rsa.clone());
                let signature = key.try_sign_with_rng(&mut FixedSalt, message);
                let signature = signature.map_err(KeyError::rsa)?;
                Ok(signature.to_bytes().into_vec())
            }
            Algorithm::EdDsa => Ok(self.ed25519().sign(message).to_bytes().to_vec()),
            Algorithm::Hs256 => {
                let mac = Hmac::<Sha256>::new_from_slice(&self.derived("HS256"));
                let mac = mac.map_err(KeyError::rsa)?.chain_update(message);
                Ok(mac.finalize().into_bytes().to_vec())
            }
        }
    }

    /// With a key that is nobody's, of ES256.
    pub(crate) fn sign_as_a_stranger(message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).map_err(KeyError::ec)?;
        es256(&key, message)
    }
}

fn es256(key: &p256::ecdsa::SigningKey, message: &[u8]) -> Result<Vec<u8>, KeyError> {
    let signature: p256::ecdsa::Signature = key.try_sign(message).map_err(KeyError::ec)?;
    Ok(signature.to_bytes().to_vec())
}

/// A salt that everybody knows, which is good enough for what nobody believes, and the same everywhere.
struct FixedSalt;

impl RngCore for FixedSalt {
    fn next_u32(&mut self) -> u32 {
        7
    }

    fn next_u64(&mut self) -> u64 {
        7
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        bytes.fill(7);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), rand_core::Error> {
        bytes.fill(7);
        Ok(())
    }
}

impl CryptoRng for FixedSalt {}

const RFC_7515: &str = include_str!("../../src/tests/data/rfc7515.json");
