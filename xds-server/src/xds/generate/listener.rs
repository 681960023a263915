//! LDS: where clients arrive.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::{HeaderMutation, header_mutation};
use envoy_types::pb::envoy::config::core::v3::{
    ExtensionConfigSource, Http2ProtocolOptions, HttpProtocolOptions, KeepaliveSettings,
    SocketOption, TransportSocket, TypedExtensionConfig, socket_option, transport_socket,
};
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3 as mutate;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSession;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager as hcm, http_filter,
};
use envoy_types::pb::envoy::extensions::http::early_header_mutation::header_mutation::v3 as early;
use envoy_types::pb::envoy::extensions::http::stateful_session::header::v3::HeaderBasedSessionState;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, SdsSecretConfig, TlsParameters, common_tls_context,
    tls_parameters,
};
use envoy_types::pb::envoy::r#type::matcher::v3::{StringMatcher, string_matcher};
use envoy_types::pb::google::protobuf::{BoolValue, UInt32Value};
use envoy_types::util::pack_any;
use prost::Name;

use super::super::gateway::{Certificates, ListenerSpec};
use super::super::resource::{Resource, ResourceType};
use super::{
    CLUSTER_HEADER, ENDPOINT_HEADER, EXTENSION, HEADER_PREFIX, ROUTES, duration, encoded,
    filter as admission, local_reply, over_ads, secret, tcp_address,
};

pub(super) fn listener(spec: &ListenerSpec, certificates: &Certificates) -> Resource {
    let message = Listener {
        name: spec.name.clone(),
        address: Some(tcp_address(SocketAddr::new(spec.address, spec.port))),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "envoy.filters.network.http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack_any(
                    connection_manager(),
                ))),
            }],
            transport_socket: Some(tls(certificates)),
            transport_socket_connect_timeout: Some(duration(HANDSHAKE)),
            ..FilterChain::default()
        }],
        socket_options: SOCKET_OPTIONS.iter().map(socket_option).collect(),
        ..Listener::default()
    };
    let listener = encoded(&spec.name, &message)
        .refers_to(ResourceType::Route, ROUTES)
        .refers_to(ResourceType::Extension, EXTENSION);
    let secrets = secret::presented(certificates).chain(secret::client_ca(certificates));
    secrets.fold(listener, |listener, name| {
        listener.refers_to(ResourceType::Secret, name)
    })
}

fn connection_manager() -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: "berth".to_owned(),
        // By ALPN; a client that names nothing is taken for what its first bytes are.
        codec_type: hcm::CodecType::Auto as i32,
        http2_protocol_options: Some(http2()),
        // An instance says in it what it runs.
        server_header_transformation: hcm::ServerHeaderTransformation::Overwrite as i32,
        server_name: "berth".to_owned(),
        upgrade_configs: vec![hcm::UpgradeConfig {
            upgrade_type: "websocket".to_owned(),
            ..hcm::UpgradeConfig::default()
        }],
        common_http_protocol_options: Some(HttpProtocolOptions {
            idle_timeout: Some(duration(Duration::from_mins(1))),
            ..HttpProtocolOptions::default()
        }),
        request_headers_timeout: Some(duration(HANDSHAKE)),
        stream_idle_timeout: Some(duration(Duration::from_mins(5))),
        // Less would cut off the end of what the instance sent before it closed.
        delayed_close_timeout: Some(duration(Duration::from_secs(1))),
        // Whoever connects is the client, and no client is trusted to say otherwise, wherever it comes from.
        use_remote_address: Some(BoolValue { value: true }),
        internal_address_config: Some(hcm::InternalAddressConfig::default()),
        normalize_path: Some(BoolValue { value: true }),
        merge_slashes: true,
        path_with_escaped_slashes_action: hcm::PathWithEscapedSlashesAction::KeepUnchanged as i32,
        early_header_mutation_extensions: vec![TypedExtensionConfig {
            name: "envoy.http.early_header_mutation.header_mutation".to_owned(),
            typed_config: Some(pack_any(early::HeaderMutation {
                mutations: vec![remove_prefix(HEADER_PREFIX)],
            })),
        }],
        local_reply_config: Some(local_reply::config()),
        route_specifier: Some(hcm::RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads()),
            route_config_name: ROUTES.to_owned(),
        })),
        http_filters: http_filters(),
        ..HttpConnectionManager::default()
    }
}

/// Sessions over HTTP/2 share a connection, so none of them may be able to hold up or end the others.
fn http2() -> Http2ProtocolOptions {
    let number = |value| Some(UInt32Value { value });
    Http2ProtocolOptions {
        // RFC 8441.
        allow_connect: true,
        max_concurrent_streams: number(MAX_STREAMS),
        initial_stream_window_size: number(STREAM_WINDOW),
        initial_connection_window_size: number(MAX_STREAMS * STREAM_WINDOW),
        // A request that breaks the rules ends its own stream only.
        override_stream_error_on_invalid_http_message: Some(BoolValue { value: true }),
        connection_keepalive: Some(KeepaliveSettings {
            interval: Some(duration(PING)),
            timeout: Some(duration(PING)),
            ..KeepaliveSettings::default()
        }),
        ..Http2ProtocolOptions::default()
    }
}

/// In the order in which a request meets them; a response meets them from the last to the first.
fn http_filters() -> Vec<HttpFilter> {
    vec![
        http_filter(
            "envoy.filters.http.header_mutation",
            keep_placement_private(),
        ),
        // Without a default, a request that comes before the configuration is refused.
        HttpFilter {
            name: EXTENSION.to_owned(),
            config_type: Some(http_filter::ConfigType::ConfigDiscovery(
                ExtensionConfigSource {
                    config_source: Some(over_ads()),
                    type_urls: vec![admission::type_url()],
                    ..ExtensionConfigSource::default()
                },
            )),
            ..HttpFilter::default()
        },
        http_filter("envoy.filters.http.stateful_session", override_host()),
        http_filter(
            "envoy.filters.http.router",
            Router {
                suppress_envoy_headers: true,
                ..Router::default()
            },
        ),
    ]
}

fn http_filter<M: Name>(name: &str, config: M) -> HttpFilter {
    HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(config))),
        ..HttpFilter::default()
    }
}

/// The session state that the next filter but one keeps is the instance's address: it tells the client, should
/// the instance be another than the header said.
fn keep_placement_private() -> mutate::HeaderMutation {
    mutate::HeaderMutation {
        mutations: Some(mutate::Mutations {
            response_mutations: vec![
                remove(ENDPOINT_HEADER),
                remove(CLUSTER_HEADER),
                remove_prefix("x-envoy-"),
            ],
            ..mutate::Mutations::default()
        }),
        ..mutate::HeaderMutation::default()
    }
}

/// Sends a request to the endpoint that its header names, if the cluster has it, and nowhere else.
fn override_host() -> StatefulSession {
    StatefulSession {
        session_state: Some(TypedExtensionConfig {
            name: "envoy.http.stateful_session.header".to_owned(),
            typed_config: Some(pack_any(HeaderBasedSessionState {
                name: ENDPOINT_HEADER.to_owned(),
            })),
        }),
        strict: true,
        ..StatefulSession::default()
    }
}

fn remove(name: &str) -> HeaderMutation {
    HeaderMutation {
        action: Some(header_mutation::Action::Remove(name.to_owned())),
    }
}

fn remove_prefix(prefix: &str) -> HeaderMutation {
    HeaderMutation {
        action: Some(header_mutation::Action::RemoveOnMatch(
            header_mutation::RemoveOnMatch {
                key_matcher: Some(StringMatcher {
                    match_pattern: Some(string_matcher::MatchPattern::Prefix(prefix.to_owned())),
                    ..StringMatcher::default()
                }),
            },
        )),
    }
}

/// Envoy shows each client the first of the certificates that has the name it asks for, and the first of all if none
/// has. It lets in who presents no certificate of its own, and nobody whose certificate `client_ca` has not signed.
fn tls(certificates: &Certificates) -> TransportSocket {
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let context = DownstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_params: Some(TlsParameters {
                tls_minimum_protocol_version: tls_parameters::TlsProtocol::TlSv12 as i32,
                tls_maximum_protocol_version: tls_parameters::TlsProtocol::TlSv13 as i32,
                cipher_suites: owned(CIPHER_SUITES),
                ecdh_curves: owned(CURVES),
                ..TlsParameters::default()
            }),
            tls_certificate_sds_secret_configs: secret::presented(certificates)
                .map(secret_over_ads)
                .collect(),
            validation_context_type: secret::client_ca(certificates)
                .map(secret_over_ads)
                .map(common_tls_context::ValidationContextType::ValidationContextSdsSecretConfig),
            // The native client speaks HTTP/1.1 alone.
            alpn_protocols: owned(&["h2", "http/1.1"]),
            ..CommonTlsContext::default()
        }),
        ..DownstreamTlsContext::default()
    };
    TransportSocket {
        name: "envoy.transport_sockets.tls".to_owned(),
        config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
    }
}

fn secret_over_ads(name: String) -> SdsSecretConfig {
    SdsSecretConfig {
        name,
        sds_config: Some(over_ads()),
    }
}

fn socket_option((description, level, name, value): &(&str, i64, i64, i64)) -> SocketOption {
    SocketOption {
        description: (*description).to_owned(),
        level: *level,
        name: *name,
        state: socket_option::SocketState::StatePrebind as i32,
        value: Some(socket_option::Value::IntValue(*value)),
        ..SocketOption::default()
    }
}

/// Bounds the TLS handshake, and then the time a request's headers may take.
const HANDSHAKE: Duration = Duration::from_secs(10);

/// Notices a client that is gone without a word: within 8 s while bytes are on their way to it, and by five
/// seconds of silence and three probes when none are. Linux numbers; accepted sockets inherit them.
const SOCKET_OPTIONS: &[(&str, i64, i64, i64)] = &[
    ("TCP_USER_TIMEOUT, ms", 6, 18, 8_000),
    ("SO_KEEPALIVE", 1, 9, 1),
    ("TCP_KEEPIDLE, s", 6, 4, 5),
    ("TCP_KEEPINTVL, s", 6, 5, 1),
    ("TCP_KEEPCNT", 6, 6, 3),
];

/// Bounds what one connection may ask for at a time. Whoever wants more opens another.
const MAX_STREAMS: u32 = 100;

/// In bytes: what of a session may wait in Envoy for an instance that does not read; the least there is (RFC 9113 §6.9.2).
/// The connection's window is that of all its streams, so that the one that waits takes nothing from the others: at most
/// 6.6 MB a connection.
const STREAM_WINDOW: u32 = 65_535;

/// How often a client is asked over HTTP/2 whether it is there, and how long it may say nothing at all then. The socket
/// options notice a machine that is gone; this, a program that does not run any more.
const PING: Duration = Duration::from_secs(10);

/// Mozilla's intermediate configuration, guidelines 6.0: these, and the curves below. Those of TLS 1.3 are not chosen.
const CIPHER_SUITES: &[&str] = &[
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
];
const CURVES: &[&str] = &["X25519MLKEM768", "X25519", "P-256", "P-384"];
