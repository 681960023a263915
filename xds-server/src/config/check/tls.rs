use std::path::Path;

use super::{Check, Unique};
use crate::certificates::{
    AuthoritiesFile, CertificateError, CertificateFiles, Files, ListenerTls, Loaded, SniCertificate,
};
use crate::config::{
    error::Fault,
    field::FieldPath,
    name,
    raw::{RawSniCertificate, RawTls},
};

impl Check<'_> {
    pub(super) fn tls(&mut self, raw: &RawTls, field: &FieldPath) -> Option<ListenerTls> {
        let default = self.key_pair(&raw.certificate_chain, &raw.private_key, field);
        let by_sni = self.by_sni(&raw.by_sni, &field.key("by_sni"));
        let client_ca = match &raw.client_ca {
            Some(path) => Some(self.authorities(path, &field.key("client_ca"))?),
            None => None,
        };
        Some(ListenerTls {
            default: default?,
            by_sni,
            client_ca,
        })
    }

    fn by_sni(&mut self, raw: &[RawSniCertificate], field: &FieldPath) -> Vec<SniCertificate> {
        let mut names = Unique::new("give every certificate a name of its own");
        let mut certificates = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            names.claim(self, &raw.name, &field.key("name"));
            let name = self.name(&raw.name, &field.key("name"), name::certificate_name);
            let loaded = self.key_pair(&raw.certificate_chain, &raw.private_key, &field);
            if let (Some(name), Some(loaded)) = (name, loaded) {
                certificates.push(SniCertificate { name, loaded });
            }
        }
        certificates
    }

    /// Reads the pair that the `certificate_chain` and the `private_key` of `field` name.
    pub(super) fn key_pair(
        &mut self,
        chain: &Path,
        private_key: &Path,
        field: &FieldPath,
    ) -> Option<Loaded<CertificateFiles>> {
        let (chain_field, key_field) = (field.key("certificate_chain"), field.key("private_key"));
        let files = CertificateFiles {
            certificate_chain: self.absolute(chain),
            private_key: self.absolute(private_key),
        };
        let content = (
            self.file(chain, &chain_field),
            self.file(private_key, &key_field),
        );
        match files.parse(&(Ok(content.0?), Ok(content.1?))) {
            Ok(held) => Some(Loaded { files, held }),
            Err(error) => {
                let is_of_key = matches!(
                    error,
                    CertificateError::KeyMismatch { .. } | CertificateError::NoPrivateKey(_)
                );
                let field = if is_of_key { key_field } else { chain_field };
                self.fault(field, Fault::Certificate(error));
                None
            }
        }
    }

    /// Reads the authorities in this file.
    pub(super) fn authorities(
        &mut self,
        path: &Path,
        field: &FieldPath,
    ) -> Option<Loaded<AuthoritiesFile>> {
        let files = AuthoritiesFile(self.absolute(path));
        let content = self.file(path, field)?;
        match files.parse(&Ok(content)) {
            Ok(held) => Some(Loaded { files, held }),
            Err(error) => {
                self.fault(field.clone(), Fault::Certificate(error));
                None
            }
        }
    }
}
