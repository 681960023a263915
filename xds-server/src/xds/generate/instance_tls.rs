//! TLS from a proxy to instances: who an instance is, is for a private CA to say.

use envoy_types::pb::envoy::config::core::v3::{
    DataSource, TransportSocket, data_source, transport_socket,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, CommonTlsContext, SdsSecretConfig, Secret, TlsCertificate,
    TlsParameters, UpstreamTlsContext, common_tls_context, secret, tls_parameters,
};
use envoy_types::pb::google::protobuf::UInt32Value;
use envoy_types::util::pack_any;

use super::super::gateway::InstanceTls;
use super::super::resource::Resource;
use super::{encoded, over_ads};

/// Has Envoy shake hands with a pool's instances. An instance's certificate has to have the name that Envoy asks for,
/// and by default that is the instance's own, which its endpoint carries: one instance's key does not do for another.
pub(super) fn transport_socket(pool: &str, tls: &InstanceTls) -> TransportSocket {
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: tls_parameters::TlsProtocol::TlSv12 as i32,
                // As a client Envoy would go no further than 1.2 unless told.
                tls_maximum_protocol_version: tls_parameters::TlsProtocol::TlSv13 as i32,
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: tls
                .certificate
                .iter()
                .map(|_| over_sds(certificate_name(pool)))
                .collect(),
            // A WebSocket of HTTP/1.1 is what runtimes know.
            alpn_protocols: vec!["http/1.1".to_owned()],
            validation_context_type: Some(
                common_tls_context::ValidationContextType::ValidationContextSdsSecretConfig(
                    over_sds(ca_name(pool)),
                ),
            ),
            ..CommonTlsContext::default()
        }),
        sni: tls.server_name.clone().unwrap_or_default(),
        auto_host_sni: tls.server_name.is_none(),
        auto_sni_san_validation: true,
        // A handshake that is taken up again shows no certificate.
        max_session_keys: Some(UInt32Value { value: 0 }),
        ..UpstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
    }
}

/// What the transport socket refers to. Apart from it, so that other certificates leave the cluster and its sessions be.
pub(super) fn secrets<'a>(
    pool: &'a str,
    tls: &'a InstanceTls,
) -> impl Iterator<Item = Resource> + 'a {
    let ca = secret::Type::ValidationContext(CertificateValidationContext {
        trusted_ca: inline(&tls.ca_pem),
        ..CertificateValidationContext::default()
    });
    let certificate = tls.certificate.iter().map(move |certificate| {
        let pair = secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(&certificate.chain_pem),
            private_key: inline(&certificate.private_key_pem),
            ..TlsCertificate::default()
        });
        secret(certificate_name(pool), pair)
    });
    std::iter::once(secret(ca_name(pool), ca)).chain(certificate)
}

/// The names of those secrets.
pub(super) fn secret_names<'a>(
    pool: &'a str,
    tls: &'a InstanceTls,
) -> impl Iterator<Item = String> + 'a {
    let certificate = tls.certificate.iter().map(|_| certificate_name(pool));
    std::iter::once(ca_name(pool)).chain(certificate)
}

fn ca_name(pool: &str) -> String {
    format!("berth_instance_ca/{pool}")
}

fn certificate_name(pool: &str) -> String {
    format!("berth_instance_certificate/{pool}")
}

fn over_sds(name: String) -> SdsSecretConfig {
    SdsSecretConfig {
        name,
        sds_config: Some(over_ads()),
    }
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
