//! The keys of the test issuer, one for each algorithm the filter checks.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use jsonwebtoken::EncodingKey;
use jsonwebtoken::jwk::Jwk;
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::{Value, json};

use crate::{Error, programs};

/// A JWS algorithm that the filter checks in the proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256, a 2048-bit key.
    Rs256,
    /// ECDSA with P-256 and SHA-256.
    Es256,
}

impl Algorithm {
    /// Its name in a JOSE header.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Rs256 => "RS256",
            Self::Es256 => "ES256",
        }
    }

    /// The `kid` of the test issuer's key.
    #[must_use]
    pub fn key_id(self) -> &'static str {
        match self {
            Self::Rs256 => "development-rs256",
            Self::Es256 => "development-es256",
        }
    }

    pub(crate) fn of_jose(self) -> jsonwebtoken::Algorithm {
        match self {
            Self::Rs256 => jsonwebtoken::Algorithm::RS256,
            Self::Es256 => jsonwebtoken::Algorithm::ES256,
        }
    }
}

/// The test issuer's private keys. They sign nothing that anyone else believes.
pub struct SigningKeys {
    rs256: EncodingKey,
    es256: EncodingKey,
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
        let rs256 = load_or_create(&folder.join("rs256.pem"), new_rsa)?;
        let es256 = load_or_create(&folder.join("es256.pem"), new_ec)?;
        Ok(Self {
            rs256: EncodingKey::from_rsa_pem(rs256.as_bytes())
                .map_err(Error::crypto("the RSA key"))?,
            es256: EncodingKey::from_ec_pem(es256.as_bytes())
                .map_err(Error::crypto("the EC key"))?,
        })
    }

    /// The public halves, as an RFC 7517 set.
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
            Algorithm::Rs256 => &self.rs256,
            Algorithm::Es256 => &self.es256,
        }
    }

    fn jwk(&self, algorithm: Algorithm) -> Result<Jwk, Error> {
        let mut jwk = Jwk::from_encoding_key(self.key(algorithm), algorithm.of_jose())
            .map_err(Error::crypto("a JWK"))?;
        jwk.common.key_id = Some(algorithm.key_id().to_owned());
        Ok(jwk)
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
    let key = RsaPrivateKey::new(&mut rsa::rand_core::OsRng, RSA_BITS)
        .map_err(Error::crypto("an RSA key"))?;
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

/// The least that the filter accepts, and the quickest to find.
const RSA_BITS: usize = 2048;
