//! Resources that real clients can use, with something in each that can differ.

use std::net::SocketAddr;

use berth::xds::{Resource, ResourceType};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::config_source::ConfigSourceSpecifier;
use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, DataSource, ExtensionConfigSource,
    SocketAddress, TransportSocket, TypedExtensionConfig, address, data_source, socket_address,
    transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::config::listener::v3::{
    ApiListener, Filter, FilterChain, Listener, filter,
};
use envoy_types::pb::envoy::config::route::v3::{
    Route, RouteAction, RouteConfiguration, RouteMatch, VirtualHost, route, route_action,
    route_match,
};
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::Buffer;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, Rds, http_connection_manager, http_filter,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, SdsSecretConfig, Secret, TlsCertificate, UpstreamTlsContext, secret,
};
use envoy_types::pb::google::protobuf::{Any, Duration, UInt32Value};
use envoy_types::util::pack_any;
use prost::{Message, Name};

/// A cluster whose endpoints come over the stream. Envoy takes none that does not say where its endpoints come from.
pub(crate) fn cluster(name: &str, connect_timeout: u32, says_whence: bool) -> Resource {
    let message = Cluster {
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds as i32,
        )),
        eds_cluster_config: says_whence.then(|| cluster::EdsClusterConfig {
            eds_config: Some(over_ads()),
            ..cluster::EdsClusterConfig::default()
        }),
        ..bare_cluster(name, connect_timeout)
    };
    encoded(name, &message).refers_to(ResourceType::Endpoint, name)
}

/// A cluster without endpoints that would present the secret of its name.
pub(crate) fn cluster_with_secret(name: &str) -> Resource {
    let context = UpstreamTlsContext {
        common_tls_context: Some(CommonTlsContext {
            tls_certificate_sds_secret_configs: vec![SdsSecretConfig {
                name: name.to_owned(),
                sds_config: Some(over_ads()),
            }],
            ..CommonTlsContext::default()
        }),
        ..UpstreamTlsContext::default()
    };
    let message = Cluster {
        transport_socket: Some(TransportSocket {
            name: "envoy.transport_sockets.tls".to_owned(),
            config_type: Some(transport_socket::ConfigType::TypedConfig(pack_any(context))),
        }),
        ..bare_cluster(name, 1)
    };
    encoded(name, &message)
}

fn bare_cluster(name: &str, connect_timeout: u32) -> Cluster {
    Cluster {
        name: name.to_owned(),
        connect_timeout: Some(Duration {
            seconds: connect_timeout.into(),
            nanos: 0,
        }),
        ..Cluster::default()
    }
}

/// One endpoint. Envoy takes no address that is not of numbers.
pub(crate) fn endpoints(cluster: &str, address: &str, port: u16, weight: u32) -> Resource {
    let endpoint = LbEndpoint {
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(socket(address, port)),
            ..Endpoint::default()
        })),
        load_balancing_weight: Some(UInt32Value { value: weight }),
        ..LbEndpoint::default()
    };
    let message = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            // gRPC takes no locality without.
            locality: Some(Default::default()),
            load_balancing_weight: Some(UInt32Value { value: 1 }),
            lb_endpoints: vec![endpoint],
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    encoded(cluster, &message)
}

/// A listener with the routes of its name and a filter whose configuration comes over the stream. Envoy takes no empty
/// prefix for the statistics of HTTP.
pub(crate) fn listener(
    name: &str,
    address: SocketAddr,
    [stat_prefix, http_stat_prefix]: [&str; 2],
    extension: &str,
) -> Resource {
    let discovered = HttpFilter {
        name: extension.to_owned(),
        config_type: Some(http_filter::ConfigType::ConfigDiscovery(
            ExtensionConfigSource {
                config_source: Some(over_ads()),
                type_urls: vec![Buffer::type_url()],
                ..ExtensionConfigSource::default()
            },
        )),
        ..HttpFilter::default()
    };
    let manager = connection_manager(name, http_stat_prefix, vec![discovered, router()]);
    let message = Listener {
        name: name.to_owned(),
        stat_prefix: stat_prefix.to_owned(),
        address: Some(socket(&address.ip().to_string(), address.port())),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "http".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack_any(manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    };
    encoded(name, &message).refers_to(ResourceType::Route, name)
}

/// What a gRPC client asks for in place of a listener, with the routes of its name.
pub(crate) fn api_listener(name: &str) -> Resource {
    let manager = connection_manager(name, "", vec![router()]);
    let message = Listener {
        name: name.to_owned(),
        api_listener: Some(ApiListener {
            api_listener: Some(pack_any(manager)),
        }),
        ..Listener::default()
    };
    encoded(name, &message).refers_to(ResourceType::Route, name)
}

fn connection_manager(
    routes: &str,
    stat_prefix: &str,
    http_filters: Vec<HttpFilter>,
) -> HttpConnectionManager {
    HttpConnectionManager {
        stat_prefix: stat_prefix.to_owned(),
        route_specifier: Some(http_connection_manager::RouteSpecifier::Rds(Rds {
            config_source: Some(over_ads()),
            route_config_name: routes.to_owned(),
        })),
        http_filters,
        ..HttpConnectionManager::default()
    }
}

fn router() -> HttpFilter {
    HttpFilter {
        name: "envoy.filters.http.router".to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(pack_any(
            Router::default(),
        ))),
        ..HttpFilter::default()
    }
}

/// Everything goes to one cluster. Envoy takes no two virtual hosts of one domain.
pub(crate) fn routes(name: &str, cluster: &str, virtual_hosts: &[&str]) -> Resource {
    let route = Route {
        r#match: Some(RouteMatch {
            path_specifier: Some(route_match::PathSpecifier::Prefix(String::new())),
            ..RouteMatch::default()
        }),
        action: Some(route::Action::Route(RouteAction {
            cluster_specifier: Some(route_action::ClusterSpecifier::Cluster(cluster.to_owned())),
            ..RouteAction::default()
        })),
        ..Route::default()
    };
    let virtual_host = |name: &&str| VirtualHost {
        name: (*name).to_owned(),
        domains: vec!["*".to_owned()],
        routes: vec![route.clone()],
        ..VirtualHost::default()
    };
    let message = RouteConfiguration {
        name: name.to_owned(),
        virtual_hosts: virtual_hosts.iter().map(virtual_host).collect(),
        ..RouteConfiguration::default()
    };
    encoded(name, &message)
}

/// A certificate and its key. Envoy takes no others than PEM.
pub(crate) fn secret(name: &str, chain: &str, key: &str) -> Resource {
    let inline = |text: &str| {
        Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text.to_owned())),
            ..DataSource::default()
        })
    };
    let message = Secret {
        name: name.to_owned(),
        r#type: Some(secret::Type::TlsCertificate(TlsCertificate {
            certificate_chain: inline(chain),
            private_key: inline(key),
            ..TlsCertificate::default()
        })),
    };
    encoded(name, &message)
}

/// The configuration of a filter that limits bodies. Envoy takes none without a limit.
pub(crate) fn extension(name: &str, limit: Option<u32>) -> Resource {
    let buffer = Buffer {
        max_request_bytes: limit.map(|value| UInt32Value { value }),
    };
    let message = TypedExtensionConfig {
        name: name.to_owned(),
        typed_config: Some(Any {
            type_url: Buffer::type_url(),
            value: buffer.encode_to_vec(),
        }),
    };
    encoded(name, &message)
}

fn over_ads() -> ConfigSource {
    ConfigSource {
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(ConfigSourceSpecifier::Ads(AggregatedConfigSource {})),
        ..ConfigSource::default()
    }
}

fn socket(address: &str, port: u16) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.to_owned(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(port.into())),
            ..SocketAddress::default()
        })),
    }
}

fn encoded(name: &str, message: &impl Message) -> Resource {
    Resource::new(name, message.encode_to_vec())
}
