//! SDS: what a listener and its clients present to each other. All that may change of it is here and nothing of it in
//! the listener, which knows the names only.

use std::iter;

use envoy_types::pb::envoy::config::core::v3::{DataSource, data_source};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, TlsCertificate, secret,
};

use super::super::gateway::{Certificate, Certificates};
use super::super::resource::Resource;
use super::encoded;

pub(super) fn secrets(certificates: &Certificates) -> impl Iterator<Item = Resource> {
    let by_sni = certificates.by_sni.iter().map(|sni| &sni.certificate);
    let all = iter::once(&certificates.default).chain(by_sni);
    let ca = client_ca(certificates).zip(certificates.client_ca_pem.as_deref());
    presented(certificates)
        .zip(all)
        .map(|(name, certificate)| key_pair(name, certificate))
        .chain(ca.map(|(name, pem)| authorities(name, pem)))
}

/// The secret that is the certificate of this name, beside the default one.
pub fn sni_secret(name: &str) -> String {
    format!("{DEFAULT_SECRET}/{name}")
}

/// The names of what is presented to clients, the default one first.
pub(super) fn presented(certificates: &Certificates) -> impl Iterator<Item = String> {
    let by_sni = certificates.by_sni.iter();
    iter::once(DEFAULT_SECRET.to_owned()).chain(by_sni.map(|sni| sni_secret(&sni.name)))
}

/// The name of what clients' certificates are checked with, if they are asked for one.
pub(super) fn client_ca(certificates: &Certificates) -> Option<String> {
    certificates
        .client_ca_pem
        .as_ref()
        .map(|_| CLIENT_CA_SECRET.to_owned())
}

fn key_pair(name: String, certificate: &Certificate) -> Resource {
    let r#type = secret::Type::TlsCertificate(TlsCertificate {
        certificate_chain: inline(&certificate.chain_pem),
        private_key: inline(&certificate.private_key_pem),
        ..TlsCertificate::default()
    });
    secret(name, r#type)
}

fn authorities(name: String, pem: &str) -> Resource {
    let r#type = secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: inline(pem),
        ..CertificateValidationContext::default()
    });
    secret(name, r#type)
}

fn secret(name: String, r#type: secret::Type) -> Resource {
    let message = Secret {
        name,
        r#type: Some(r#type),
    };
    encoded(&message.name, &message)
}

fn inline(pem: &str) -> Option<DataSource> {
    Some(DataSource {
        specifier: Some(data_source::Specifier::InlineString(pem.to_owned())),
        ..DataSource::default()
    })
}

/// The secret that is the default certificate.
pub const DEFAULT_SECRET: &str = "berth";
/// The secret that clients' certificates are checked with.
pub const CLIENT_CA_SECRET: &str = "berth_client_ca";
