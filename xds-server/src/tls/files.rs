use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{Error, InconsistentKeys, RootCertStore, ServerConfig};

use crate::certificates::CertificateError;

/// The files of a server that asks its clients for certificates; absolute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// What it shows, PEM, leaf first.
    pub certificate_chain: PathBuf,
    /// The leaf's key, PEM.
    pub private_key: PathBuf,
    /// Who signs clients' certificates, PEM.
    pub client_ca: PathBuf,
}

/// What was read of them.
#[derive(Clone, PartialEq, Eq)]
pub struct Contents {
    /// Of the chain's file.
    pub certificate_chain: Vec<u8>,
    /// Of the key's.
    pub private_key: Vec<u8>,
    /// Of the authorities'.
    pub client_ca: Vec<u8>,
}

impl TlsFiles {
    /// Reads all of them.
    ///
    /// # Errors
    /// [`CertificateError::Unreadable`].
    pub fn read(
        &self,
        read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
    ) -> Result<Contents, CertificateError> {
        Ok(Contents {
            certificate_chain: read_file(&self.certificate_chain, read)?,
            private_key: read_file(&self.private_key, read)?,
            client_ca: read_file(&self.client_ca, read)?,
        })
    }

    /// TLS 1.2 or 1.3 with HTTP/2 inside, for clients whose certificates `client_ca` has signed and nobody else.
    ///
    /// # Errors
    /// [`CertificateError`], of the first file that is wrong.
    pub fn server_config(
        &self,
        contents: &Contents,
    ) -> Result<Arc<ServerConfig>, CertificateError> {
        let provider = Arc::new(ring::default_provider());
        let certified = certified(
            (&self.certificate_chain, &contents.certificate_chain),
            (&self.private_key, &contents.private_key),
            &provider,
        )?;
        let no_ca = || CertificateError::NoAuthority(self.client_ca.clone());
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&contents.client_ca).ok_or_else(no_ca)? {
            roots.add(certificate).map_err(|_| no_ca())?;
        }
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            // Of ring's suites there are some for each version, so this is not about versions.
            .map_err(|_| CertificateError::NoPrivateKey(self.private_key.clone()))?
            .with_client_cert_verifier(verifier.build().map_err(|_| no_ca())?)
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(certified)));
        config.alpn_protocols = vec![b"h2".to_vec()];
        // A session that is resumed has its certificate checked no more, as when it has expired meanwhile. A proxy
        // connects once and stays, so there is nothing to be saved.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }
}

impl fmt::Debug for Contents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Contents").finish_non_exhaustive()
    }
}

pub(super) fn read_file(
    path: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Vec<u8>, CertificateError> {
    read(path).map_err(|error| CertificateError::Unreadable {
        path: path.to_owned(),
        kind: error.kind(),
    })
}

/// A chain and the key of its leaf, each with its path.
pub(super) fn certified(
    (chain_path, chain): (&Path, &[u8]),
    (key_path, key): (&Path, &[u8]),
    provider: &CryptoProvider,
) -> Result<CertifiedKey, CertificateError> {
    let no_certificate = || CertificateError::NoCertificate(chain_path.to_owned());
    let no_private_key = || CertificateError::NoPrivateKey(key_path.to_owned());
    let chain = certificates(chain).ok_or_else(no_certificate)?;
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| no_private_key())?;
    let key = provider.key_provider.load_private_key(key);
    let certified = CertifiedKey::new(chain, key.map_err(|_| no_private_key())?);
    match certified.keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(_)) => Err(CertificateError::KeyMismatch {
            key: key_path.to_owned(),
            chain: chain_path.to_owned(),
        }),
        Err(_) => Err(no_certificate()),
    }
}

/// At least one, and nothing beside that is cut off.
pub(super) fn certificates(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let certificates = CertificateDer::pem_slice_iter(pem);
    let certificates: Vec<_> = certificates.collect::<Result<_, _>>().ok()?;
    (!certificates.is_empty()).then_some(certificates)
}

#[cfg(test)]
pub(super) mod tests;
