use std::path::Path;

use rustls::{
    Error, InconsistentKeys,
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject},
    sign::CertifiedKey,
};

use super::Check;
use crate::config::{Tls, TlsFiles, error::Fault, field::FieldPath, raw::RawTls};

impl Check<'_> {
    /// Reads the pair, and has the TLS library say whether the two belong to each other: Envoy
    /// would refuse them too, but only once it is told, in its own log.
    pub(super) fn tls(&mut self, raw: &RawTls, field: &FieldPath) -> Option<Tls> {
        let chain_field = field.key("certificate_chain");
        let key_field = field.key("private_key");
        let chain_path = self.absolute(&raw.certificate_chain);
        let key_path = self.absolute(&raw.private_key);
        let chain = self.pem(&raw.certificate_chain, &chain_field, Fault::NoCertificate);
        let key = self.pem(&raw.private_key, &key_field, Fault::NoPrivateKey);
        let client_ca_pem = match &raw.client_ca {
            Some(path) => Some(self.ca_file(path, &field.key("client_ca"))?),
            None => None,
        };
        let (chain, key) = (chain?, key?);
        match pair(&chain, &key, &ring::default_provider()) {
            Ok(()) => Some(Tls {
                files: TlsFiles {
                    certificate_chain: chain_path,
                    private_key: key_path,
                    client_ca: raw.client_ca.as_deref().map(|path| self.absolute(path)),
                },
                certificate_chain_pem: chain,
                private_key_pem: key,
                client_ca_pem,
            }),
            Err(Mismatch::Certificate) => {
                self.fault(chain_field, Fault::NoCertificate(chain_path));
                None
            }
            Err(Mismatch::Key) => {
                self.fault(key_field, Fault::NoPrivateKey(key_path));
                None
            }
            Err(Mismatch::Pair) => {
                let (key, chain) = (key_path, chain_path);
                self.fault(key_field, Fault::KeyMismatch { key, chain });
                None
            }
        }
    }

    fn pem(
        &mut self,
        path: &Path,
        field: &FieldPath,
        not_text: fn(std::path::PathBuf) -> Fault,
    ) -> Option<String> {
        let content = self.file(path, field)?;
        if let Ok(text) = String::from_utf8(content) {
            return Some(text);
        }
        let fault = not_text(self.absolute(path));
        self.fault(field.clone(), fault);
        None
    }
}

enum Mismatch {
    Certificate,
    Key,
    Pair,
}

fn pair(chain: &str, key: &str, provider: &CryptoProvider) -> Result<(), Mismatch> {
    let chain: Vec<_> = CertificateDer::pem_slice_iter(chain.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|_| Mismatch::Certificate)?;
    if chain.is_empty() {
        return Err(Mismatch::Certificate);
    }
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).map_err(|_| Mismatch::Key)?;
    let key = provider
        .key_provider
        .load_private_key(key)
        .map_err(|_| Mismatch::Key)?;
    match CertifiedKey::new(chain, key).keys_match() {
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(()),
        Err(Error::InconsistentKeys(_)) => Err(Mismatch::Pair),
        Err(_) => Err(Mismatch::Certificate),
    }
}
