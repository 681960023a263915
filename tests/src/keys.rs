//! The keys of the test issuer, one for each algorithm the filter checks.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use berth_admission_cases::{Algorithm, Keys};
use rsa::RsaPrivateKey;
use rsa::pkcs8::{EncodePrivateKey, LineEnding};
use serde_json::Value;

use crate::{Error, programs};

/// The test issuer's private keys. They sign nothing that anyone else believes.
pub struct SigningKeys(Arc<Keys>);

impl SigningKeys {
    /// The keys that all tests of a build share.
    ///
    /// # Errors
    /// Those of [`load_or_create`](Self::load_or_create).
    pub fn of_tests() -> Result<Self, Error> {
        Self::load_or_create(&programs::build_folder()?.join(OF_TESTS))
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
        let rs256 = load_or_create(&folder.join(RS256), new_rsa)?;
        let es256 = load_or_create(&folder.join("es256.pem"), new_ec)?;
        Ok(Self(Arc::new(Keys::from_pem(&rs256, &es256)?)))
    }

    /// The RSA key that all tests of a build share, in PEM.
    ///
    /// # Errors
    /// Those of [`load_or_create`](Self::load_or_create).
    pub(crate) fn rsa_of_tests() -> Result<String, Error> {
        Self::of_tests()?;
        let path = programs::build_folder()?.join(OF_TESTS).join(RS256);
        fs::read_to_string(&path).map_err(Error::io(path.display()))
    }

    /// The public halves, as an RFC 7517 set.
    #[must_use]
    pub fn jwks(&self) -> Value {
        self.0.jwks()
    }

    /// A key as its issuer would publish it, for [`more_keys`](crate::WorldBuilder::more_keys): the public half, or
    /// for HS256 the secret.
    #[must_use]
    pub fn jwk(&self, algorithm: Algorithm) -> Value {
        self.0.jwk(algorithm)
    }

    /// The keys as the cases of admission take them.
    #[must_use]
    pub const fn of_cases(&self) -> &Arc<Keys> {
        &self.0
    }
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

/// Among a build's programs.
const OF_TESTS: &str = "berth-tests-keys";
const RS256: &str = "rs256.pem";

/// The least that the filter accepts, and the quickest to find.
const RSA_BITS: usize = 2048;
