//! A whole configuration of resources that refer to each other: a proxy that only validates fetches none.

use std::path::PathBuf;

use berth::xds::{ResourceType, Snapshot};
use envoy_types::pb::envoy::config::bootstrap::v3::{Bootstrap, bootstrap::StaticResources};
use envoy_types::pb::envoy::config::cluster::v3::{Cluster, cluster};
use envoy_types::pb::envoy::config::core::v3::{
    Address, DataSource, SocketAddress, TransportSocket, TypedExtensionConfig, address,
    async_data_source, data_source, socket_address, transport_socket,
};
use envoy_types::pb::envoy::config::endpoint::v3::ClusterLoadAssignment;
use envoy_types::pb::envoy::config::listener::v3::{Filter, FilterChain, Listener, filter};
use envoy_types::pb::envoy::config::route::v3::RouteConfiguration;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::{
    HttpConnectionManager, HttpFilter, http_connection_manager::RouteSpecifier, http_filter,
};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CommonTlsContext, DownstreamTlsContext, Secret, UpstreamTlsContext,
    common_tls_context::ValidationContextType, secret,
};
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config;
use envoy_types::pb::google::protobuf::Any;
use envoy_types::util::pack_any;
use prost::{Message, Name};

/// What the gateways only have words for.
pub(super) struct StandIns {
    pub(super) chain_pem: String,
    pub(super) private_key_pem: String,
    pub(super) ca_pem: String,
    pub(super) module: PathBuf,
}

/// The resources as a bootstrap, in the binary form that Envoy knows by the file's ending `.pb`.
pub(super) fn of(snapshot: &Snapshot, stand_ins: &StandIns) -> Vec<u8> {
    let mut listeners: Vec<Listener> = all(snapshot, ResourceType::Listener);
    let extension = extension(snapshot, stand_ins);
    if listeners.is_empty() {
        listeners.push(of_somebody_else(extension.clone()));
    }
    for listener in &mut listeners {
        for chain in &mut listener.filter_chains {
            complete_chain(chain, snapshot, &extension);
        }
    }
    let mut clusters: Vec<Cluster> = all(snapshot, ResourceType::Cluster);
    for cluster in &mut clusters {
        complete_cluster(cluster, snapshot);
    }
    let mut secrets: Vec<Secret> = all(snapshot, ResourceType::Secret);
    for secret in &mut secrets {
        fill_in(secret, stand_ins);
    }
    let bootstrap = Bootstrap {
        static_resources: Some(StaticResources {
            listeners,
            clusters,
            secrets,
        }),
        ..Bootstrap::default()
    };
    bootstrap.encode_to_vec()
}

fn all<M: Message + Default>(snapshot: &Snapshot, resource_type: ResourceType) -> Vec<M> {
    let resources = snapshot.of(resource_type).values();
    let decoded = resources.map(|resource| M::decode(resource.body().as_ref()).unwrap());
    decoded.collect()
}

fn one<M: Message + Default>(snapshot: &Snapshot, resource_type: ResourceType, name: &str) -> M {
    let resource = snapshot.find(resource_type, name).unwrap();
    M::decode(resource.body().as_ref()).unwrap()
}

/// The filter, with the module that there is.
fn extension(snapshot: &Snapshot, stand_ins: &StandIns) -> Any {
    let [extension] = all::<TypedExtensionConfig>(snapshot, ResourceType::Extension)
        .try_into()
        .unwrap();
    changed(extension.typed_config.unwrap(), |wasm: &mut Wasm| {
        let plugin = wasm.config.as_mut().unwrap();
        let Some(plugin_config::Vm::VmConfig(vm)) = &mut plugin.vm else {
            panic!("no VM");
        };
        let code = vm.code.as_mut().unwrap();
        let Some(async_data_source::Specifier::Local(code)) = &mut code.specifier else {
            panic!("no local module");
        };
        let path = stand_ins.module.to_str().unwrap().to_owned();
        code.specifier = Some(data_source::Specifier::Filename(path));
    })
}

fn complete_chain(chain: &mut FilterChain, snapshot: &Snapshot, extension: &Any) {
    for filter in &mut chain.filters {
        let Some(filter::ConfigType::TypedConfig(config)) = &mut filter.config_type else {
            panic!("a filter without a configuration");
        };
        *config = changed(config.clone(), |manager: &mut HttpConnectionManager| {
            if let Some(RouteSpecifier::Rds(rds)) = &manager.route_specifier {
                let routes: RouteConfiguration =
                    one(snapshot, ResourceType::Route, &rds.route_config_name);
                manager.route_specifier = Some(RouteSpecifier::RouteConfig(routes));
            }
            for filter in &mut manager.http_filters {
                if let Some(http_filter::ConfigType::ConfigDiscovery(_)) = filter.config_type {
                    filter.config_type =
                        Some(http_filter::ConfigType::TypedConfig(extension.clone()));
                }
            }
        });
    }
    if let Some(socket) = &mut chain.transport_socket {
        change_tls(socket, |context: &mut DownstreamTlsContext| {
            name_secrets(context.common_tls_context.as_mut().unwrap());
        });
    }
}

fn complete_cluster(cluster: &mut Cluster, snapshot: &Snapshot) {
    let endpoints: ClusterLoadAssignment = one(snapshot, ResourceType::Endpoint, &cluster.name);
    let fixed = cluster::DiscoveryType::Static as i32;
    cluster.cluster_discovery_type = Some(cluster::ClusterDiscoveryType::Type(fixed));
    cluster.eds_cluster_config = None;
    cluster.load_assignment = Some(endpoints);
    if let Some(socket) = &mut cluster.transport_socket {
        change_tls(socket, |context: &mut UpstreamTlsContext| {
            name_secrets(context.common_tls_context.as_mut().unwrap());
        });
    }
}

/// Without a source, a secret's name is that of one in the bootstrap.
fn name_secrets(context: &mut CommonTlsContext) {
    for secret in &mut context.tls_certificate_sds_secret_configs {
        secret.sds_config = None;
    }
    match &mut context.validation_context_type {
        Some(ValidationContextType::ValidationContextSdsSecretConfig(secret)) => {
            secret.sds_config = None;
        }
        Some(ValidationContextType::CombinedValidationContext(combined)) => {
            if let Some(secret) = &mut combined.validation_context_sds_secret_config {
                secret.sds_config = None;
            }
        }
        _ => {}
    }
}

/// Certificates that there are, for those in parentheses.
fn fill_in(secret: &mut Secret, stand_ins: &StandIns) {
    let put = |source: &mut Option<DataSource>, pem: &str| {
        if let Some(DataSource {
            specifier: Some(data_source::Specifier::InlineString(text)),
            ..
        }) = source
            && text.starts_with('(')
        {
            pem.clone_into(text);
        }
    };
    match secret.r#type.as_mut().unwrap() {
        secret::Type::TlsCertificate(certificate) => {
            put(&mut certificate.certificate_chain, &stand_ins.chain_pem);
            put(&mut certificate.private_key, &stand_ins.private_key_pem);
        }
        secret::Type::ValidationContext(context) => {
            put(&mut context.trusted_ca, &stand_ins.ca_pem);
        }
        other => panic!("{other:?}"),
    }
}

/// A listener that is not Berth's, with Berth's filter.
fn of_somebody_else(extension: Any) -> Listener {
    let filter = |name: &str, config| HttpFilter {
        name: name.to_owned(),
        config_type: Some(http_filter::ConfigType::TypedConfig(config)),
        ..HttpFilter::default()
    };
    let manager = HttpConnectionManager {
        stat_prefix: "other".to_owned(),
        route_specifier: Some(RouteSpecifier::RouteConfig(RouteConfiguration::default())),
        http_filters: vec![
            filter("berth", extension),
            filter("router", pack_any(Router::default())),
        ],
        ..HttpConnectionManager::default()
    };
    Listener {
        name: "other".to_owned(),
        address: Some(Address {
            address: Some(address::Address::SocketAddress(SocketAddress {
                address: "127.0.0.1".to_owned(),
                port_specifier: Some(socket_address::PortSpecifier::PortValue(443)),
                ..SocketAddress::default()
            })),
        }),
        filter_chains: vec![FilterChain {
            filters: vec![Filter {
                name: "http_connection_manager".to_owned(),
                config_type: Some(filter::ConfigType::TypedConfig(pack_any(manager))),
            }],
            ..FilterChain::default()
        }],
        ..Listener::default()
    }
}

fn change_tls<M: Message + Name + Default>(
    socket: &mut TransportSocket,
    change: impl FnOnce(&mut M),
) {
    let Some(transport_socket::ConfigType::TypedConfig(config)) = &mut socket.config_type else {
        panic!("TLS without a configuration");
    };
    *config = changed(config.clone(), change);
}

fn changed<M: Message + Name + Default>(config: Any, change: impl FnOnce(&mut M)) -> Any {
    assert_eq!(config.type_url, M::type_url());
    let mut message = M::decode(config.value.as_slice()).unwrap();
    change(&mut message);
    pack_any(message)
}
