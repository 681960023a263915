//! The keys of the test issuer, one for each algorithm that tests sign with.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use base64::Engine as _;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use rsa::rand_core::{OsRng, RngCore as _};
use serde_json::{Value, json};

use crate::{Error, programs};

/// A JWS algorithm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, a 2048-bit key. A filter checks it.
    Rs256,
    /// ECDSA with P-256 and SHA-256. A filter checks it.
    Es256,
    /// RSASSA-PSS with SHA-256. Only the control plane checks it.
    Ps256,
    /// Ed25519. Only the control plane checks it.
    EdDsa,
    /// HMAC with SHA-256. Only the control plane has the key.
    Hs256,
}

impl Algorithm {
    /// Those that a filter leaves to the control plane.
    pub const UNDECIDED: [Self; 3] = [Self::Ps256, Self::EdDsa, Self::Hs256];

    /// Its name in a JOSE header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
            Self::Ps256 => "PS256",
            Self::EdDsa => "EdDSA",
            Self::Hs256 => "HS256",
        }
    }

    /// The `kid` of the test issuer's key.
    #[must_use]
    pub fn key_id(self) -> &'static str {
        match self {
            Self::Rs256 => "development-rs256",
            Self::Es256 => "development-es256",
            Self::Ps256 => "development-ps256",
            Self::EdDsa => "development-eddsa",
            Self::Hs256 => "development-hs256",
        }
    }

    pub(crate) fn of_jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
            Self::Ps256 => jsonwebtoken::Algorithm::PS256,
            Self::EdDsa => jsonwebtoken::Algorithm::EdDSA,
            Self::Hs256 => jsonwebtoken::Algorithm::HS256,
        }
    }
}

/// The test issuer's private keys. They sign nothing that anyone else believes.
pub struct SigningKeys {
    /// For PS256 too, under another id.
    rsa: EncodingKey,
    es256: EncodingKey,
    ed_dsa: EncodingKey,
    hs256: EncodingKey,
}

impl SigningKeys {
    /// The keys that all tests of a build share.
    ///
    /// # Errors
    /// Those of [`load_or_create`](Self::load_or_create).
    pub fn of_tests() -> Result<Self, Error> {
        Self::load_or_create(&programs::build_folder()?.join("berth-tests-keys"))
    }

    /// Reads the keys kept in `folder`, which is created with new ones where there are none: an RSA key takes
    /// seconds to find in a development build.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Crypto`] when a file there is no key.
    pub fn load_or_create(folder: &Path) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
        let lock = folder.join("lock");
        let lock = File::create(&lock).map_err(Error::io(lock.display()))?;
        // One test process makes the keys, the others wait for it here.
        lock.lock().map_err(Error::io("locking the keys"))?;
        let rsa = load_or_create(&folder.join("rs256.pem"), new_rsa)?;
        let es256 = load_or_create(&folder.join("es256.pem"), new_ec)?;
        let ed_dsa = load_or_create(&folder.join("eddsa.pem"), || Ok(new_ed()))?;
        let hs256 = load_or_create(&folder.join("hs256.txt"), || Ok(new_secret()))?;
        let hs256 = BASE64_URL_SAFE_NO_PAD.decode(hs256);
        Ok(Self {
            rsa: EncodingKey::from_rsa_pem(rsa.as_bytes()).map_err(Error::crypto("the RSA key"))?,
            es256: EncodingKey::from_ec_pem(es256.as_bytes())
                .map_err(Error::crypto("the EC key"))?,
            ed_dsa: EncodingKey::from_ed_pem(ed_dsa.as_bytes())
                .map_err(Error::crypto("the Ed25519 key"))?,
            hs256: EncodingKey::from_secret(&hs256.map_err(Error::crypto("the secret"))?),
        })
    }

    /// The public halves of those that a filter can check with, as an RFC 7517 set: what a world's issuer publishes.
    ///
    /// # Errors
    /// [`Error::Crypto`] when a key cannot be written as a JWK.
    pub fn jwks(&self) -> Result<Value, Error> {
        let keys = [Algorithm::Rs256, Algorithm::Es256]
            .into_iter()
            .map(|algorithm| self.jwk(algorithm))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(json!({ "keys": keys }))
    }

    pub(crate) fn key(&self, algorithm: Algorithm) -> &EncodingKey {
        match algorithm {
            Algorithm::Rs256 | Algorithm::Ps256 => &self.rsa,
            Algorithm::Es256 => &self.es256,
            Algorithm::EdDsa => &self.ed_dsa,
            Algorithm::Hs256 => &self.hs256,
        }
    }

    /// A key as its issuer would publish it, for [`more_keys`](crate::WorldBuilder::more_keys): the public half, or
    /// for HS256 the secret.
    ///
    /// # Errors
    /// [`Error::Crypto`] when it cannot be written as a JWK.
    pub fn jwk(&self, algorithm: Algorithm) -> Result<Value, Error> {
        let mut jwk = Jwk::from_encoding_key(self.key(algorithm), algorithm.of_jose())
            .map_err(Error::crypto("a JWK"))?;
        jwk.common.key_id = Some(algorithm.key_id().to_owned());
        serde_json::to_value(jwk).map_err(Error::crypto("a JWK"))
    }
}

/// A P-256 key that no issuer publishes.
pub(crate) fn unpublished_key() -> Result<EncodingKey, Error> {
    EncodingKey::from_ec_pem(new_ec()?.as_bytes()).map_err(Error::crypto("an EC key"))
}

fn load_or_create(
    path: &Path,
    new: impl FnOnce() -> Result<String, Error>,
) -> Result<String, Error> {
    if path.exists() {
        return fs::read_to_string(path).map_err(Error::io(path.display()));
    }
    let pem = new()?;
    fs::write(path, &pem).map_err(Error::io(path.display()))?;
    fs::set_permissions(path, Permissions::from_mode(0o600)).map_err(Error::io(path.display()))?;
    Ok(pem)
}

fn new_rsa() -> Result<String, Error> {
    let key = RsaPrivateKey::new(&mut OsRng, RSA_BITS).map_err(Error::crypto("an RSA key"))?;
    let pem = key
        .to_pkcs8_pem(LineEnding::LF)
        .map_err(Error::crypto("an RSA key"))?;
    Ok(pem.as_str().to_owned())
}

fn new_ec() -> Result<String, Error> {
    let key = rcgen::KeyPair::generate_for(&rcgen::PKCS_ECDSA_P256_SHA256)
        .map_err(Error::crypto("an EC key"))?;
    Ok(key.serialize_pem())
}

/// In the first form of RFC 8410 §7, without the public half: what jsonwebtoken takes.
fn new_ed() -> String {
    let der = [ED25519_HEADER, &random()].concat();
    let text = BASE64_STANDARD.encode(der);
    format!("-----BEGIN PRIVATE KEY-----\n{text}\n-----END PRIVATE KEY-----\n")
}

fn new_secret() -> String {
    BASE64_URL_SAFE_NO_PAD.encode(random())
}

fn random() -> [u8; 32] {
    let mut bytes = [0; 32];
    OsRng.fill_bytes(&mut bytes);
    bytes
}

/// What stands before the 32 bytes of the key: a PrivateKeyInfo of version 0 with the algorithm 1.3.101.112, and an
/// OCTET STRING in an OCTET STRING.
const ED25519_HEADER: &[u8] = b"\x30\x2e\x02\x01\0\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20";

/// The least that the filter accepts, and the quickest to find.
const RSA_BITS: usize = 2048;
