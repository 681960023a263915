use super::Check;
use crate::{
    certificates::CertificateError,
    config::{InstanceTls, error::Fault, field::FieldPath, name::server_name, raw::RawInstanceTls},
    tls::{InstanceContents, InstanceFiles, PairFiles},
};

impl Check<'_> {
    /// What a pool's instances and their proxies show each other.
    pub(super) fn instance_tls(
        &mut self,
        raw: &RawInstanceTls,
        field: &FieldPath,
    ) -> Option<InstanceTls> {
        let fields = ["ca", "certificate_chain", "private_key"].map(|name| field.key(name));
        let [ca_field, chain_field, key_field] = &fields;
        let name = raw.server_name.as_deref();
        let name = name.map(|text| self.name(text, &field.key("server_name"), server_name));
        let ca = self.file(&raw.ca, ca_field);
        let pair = match (&raw.certificate_chain, &raw.private_key) {
            (Some(chain), Some(key)) => {
                let files = PairFiles {
                    certificate_chain: self.absolute(chain),
                    private_key: self.absolute(key),
                };
                let (chain, key) = (self.file(chain, chain_field), self.file(key, key_field));
                Some((files, (chain?, key?)))
            }
            (None, None) => None,
            (chain, _) => {
                let missing = if chain.is_some() {
                    key_field
                } else {
                    chain_field
                };
                self.fault(missing.clone(), Fault::MissingField);
                return None;
            }
        };
        let (certificate, pair_contents) = pair.unzip();
        let files = InstanceFiles {
            ca: self.absolute(&raw.ca),
            certificate,
            server_name: name.map_or(Some(None), |name| name.map(Some))?,
        };
        let contents = InstanceContents {
            ca: ca?,
            certificate: pair_contents,
        };
        let error = match files.instance_tls(&contents) {
            Ok(tls) => return Some(InstanceTls { files, tls }),
            Err(error) => error,
        };
        let field = match &error {
            CertificateError::NoAuthority(_) => ca_field,
            CertificateError::KeyMismatch { .. } | CertificateError::NoPrivateKey(_) => key_field,
            CertificateError::NoCertificate(_) | CertificateError::Unreadable { .. } => chain_field,
        };
        self.fault(field.clone(), Fault::Certificate(error));
        None
    }
}
