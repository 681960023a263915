use std::net::SocketAddr;

use super::{Check, DEFAULT_XDS};
use crate::{
    certificates::CertificateError,
    config::{
        error::Fault,
        field::FieldPath,
        raw::{RawEndpoint, RawXds, RawXdsTls},
    },
    tls::{Contents, TlsFiles},
};

impl Check<'_> {
    /// Where proxies ask, and what both sides show each other there, if anything.
    pub(super) fn xds(
        &mut self,
        raw: Option<RawXds>,
        field: &FieldPath,
    ) -> (Option<SocketAddr>, Option<TlsFiles>) {
        let RawXds {
            listen,
            allow_plaintext,
            tls,
            max_streams: _,
        } = raw.unwrap_or_default();
        if tls.is_some() && allow_plaintext {
            self.fault(field.key("allow_plaintext"), Fault::PlaintextBesideTls);
        }
        let endpoint = RawEndpoint {
            listen,
            allow_plaintext: allow_plaintext || tls.is_some(),
        };
        let listen = self.endpoint(Some(endpoint), field, DEFAULT_XDS);
        (
            listen,
            tls.and_then(|tls| self.xds_tls(tls, &field.key("tls"))),
        )
    }

    fn xds_tls(&mut self, raw: RawXdsTls, field: &FieldPath) -> Option<TlsFiles> {
        let fields = ["certificate_chain", "private_key", "client_ca"].map(|name| field.key(name));
        let [chain_field, key_field, ca_field] = &fields;
        // All are read before any is missed, so that each that is not there is named.
        let chain = self.file(&raw.certificate_chain, chain_field);
        let key = self.file(&raw.private_key, key_field);
        let ca = self.file(&raw.client_ca, ca_field);
        let contents = Contents {
            certificate_chain: chain?,
            private_key: key?,
            client_ca: ca?,
        };
        let files = TlsFiles {
            certificate_chain: self.absolute(&raw.certificate_chain),
            private_key: self.absolute(&raw.private_key),
            client_ca: self.absolute(&raw.client_ca),
        };
        let Err(error) = files.server_config(&contents) else {
            return Some(files);
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
