//! CDS and EDS: the instances, reachable for whoever was told which one, and for nobody else.

use std::collections::HashMap;
use std::time::Duration;

use envoy_types::pb::envoy::config::cluster::v3::{
    CircuitBreakers, Cluster, LoadBalancingPolicy, UpstreamConnectionOptions, circuit_breakers,
    cluster, load_balancing_policy,
};
use envoy_types::pb::envoy::config::core::v3::{
    HealthStatus, HealthStatusSet, Http1ProtocolOptions,
    HttpProtocolOptions as CommonHttpProtocolOptions, TcpKeepalive, TypedExtensionConfig,
};
use envoy_types::pb::envoy::config::endpoint::v3::{
    ClusterLoadAssignment, Endpoint, LbEndpoint, LocalityLbEndpoints, lb_endpoint,
};
use envoy_types::pb::envoy::extensions::load_balancing_policies::{random, subset};
use envoy_types::pb::envoy::extensions::upstreams::http::v3::{
    HttpProtocolOptions, http_protocol_options,
};
use envoy_types::pb::envoy::r#type::v3::Percent;
use envoy_types::pb::google::protobuf::UInt32Value;
use envoy_types::util::pack_any;
use prost::Name;

use super::super::gateway::{EndpointHealth, EndpointSpec, PoolSpec};
use super::super::resource::{Resource, ResourceType};
use super::{duration, encoded, over_ads, tcp_address};

/// `name`: of one of the clusters that the pool is divided into.
pub(super) fn cluster(name: &str, pool: &PoolSpec) -> Resource {
    let message = Cluster {
        name: name.to_owned(),
        cluster_discovery_type: Some(cluster::ClusterDiscoveryType::Type(
            cluster::DiscoveryType::Eds as i32,
        )),
        eds_cluster_config: Some(cluster::EdsClusterConfig {
            eds_config: Some(over_ads()),
            service_name: String::new(),
        }),
        connect_timeout: Some(duration(pool.connect_timeout)),
        load_balancing_policy: Some(refuse_everything()),
        common_lb_config: Some(cluster::CommonLbConfig {
            healthy_panic_threshold: Some(Percent { value: 0.0 }),
            // A change of health counts at once: the lease's grant relies on it.
            update_merge_window: Some(duration(Duration::ZERO)),
            // Who is sent back to a draining instance holds its lease.
            override_host_status: Some(HealthStatusSet {
                statuses: vec![
                    HealthStatus::Unknown as i32,
                    HealthStatus::Healthy as i32,
                    HealthStatus::Degraded as i32,
                    HealthStatus::Draining as i32,
                ],
            }),
            ..cluster::CommonLbConfig::default()
        }),
        ignore_health_on_host_removal: true,
        circuit_breakers: Some(CircuitBreakers {
            thresholds: vec![thresholds()],
            ..CircuitBreakers::default()
        }),
        typed_extension_protocol_options: HashMap::from([(
            HttpProtocolOptions::full_name(),
            pack_any(http_protocol_options()),
        )]),
        upstream_connection_options: Some(UpstreamConnectionOptions {
            tcp_keepalive: Some(TcpKeepalive {
                keepalive_time: Some(UInt32Value { value: 10 }),
                keepalive_interval: Some(UInt32Value { value: 5 }),
                keepalive_probes: Some(UInt32Value { value: 3 }),
            }),
            ..UpstreamConnectionOptions::default()
        }),
        ..Cluster::default()
    };
    encoded(name, &message).refers_to(ResourceType::Endpoint, name)
}

/// `endpoints`: the cluster's, in the order of their instances' names.
pub(super) fn endpoints(cluster: &str, endpoints: Vec<EndpointSpec>) -> Resource {
    let message = ClusterLoadAssignment {
        cluster_name: cluster.to_owned(),
        endpoints: vec![LocalityLbEndpoints {
            lb_endpoints: endpoints.iter().map(endpoint).collect(),
            ..LocalityLbEndpoints::default()
        }],
        ..ClusterLoadAssignment::default()
    };
    encoded(cluster, &message).with_endpoints(endpoints)
}

fn endpoint(spec: &EndpointSpec) -> LbEndpoint {
    let health = match spec.health {
        EndpointHealth::Draining => HealthStatus::Draining,
        EndpointHealth::Healthy => HealthStatus::Healthy,
        EndpointHealth::Unhealthy => HealthStatus::Unhealthy,
    };
    LbEndpoint {
        health_status: health as i32,
        host_identifier: Some(lb_endpoint::HostIdentifier::Endpoint(Endpoint {
            address: Some(tcp_address(spec.address)),
            // Envoy shows it beside the address; and an instance that takes over an address is a change.
            hostname: spec.instance.clone(),
            ..Endpoint::default()
        })),
        ..LbEndpoint::default()
    }
}

/// A policy that never finds a host, so that a request arrives where its override says, or nowhere. No endpoint
/// has the metadata it looks for, and it may not fall back. A policy of the kind `override_host` would ignore
/// health, and crashes Envoy with some fallbacks.
fn refuse_everything() -> LoadBalancingPolicy {
    let random = policy(
        "envoy.load_balancing_policies.random",
        random::v3::Random::default(),
    );
    policy(
        "envoy.load_balancing_policies.subset",
        subset::v3::Subset {
            fallback_policy: subset::v3::subset::LbSubsetFallbackPolicy::NoFallback as i32,
            subset_selectors: vec![subset::v3::subset::LbSubsetSelector {
                keys: vec!["never".to_owned()],
                ..subset::v3::subset::LbSubsetSelector::default()
            }],
            subset_lb_policy: Some(random),
            ..subset::v3::Subset::default()
        },
    )
}

fn policy<M: Name>(name: &str, config: M) -> LoadBalancingPolicy {
    LoadBalancingPolicy {
        policies: vec![load_balancing_policy::Policy {
            typed_extension_config: Some(TypedExtensionConfig {
                name: name.to_owned(),
                typed_config: Some(pack_any(config)),
            }),
        }],
    }
}

/// A session holds a connection and a request for as long as it lives; the default of 1,024 would be a cap on
/// sessions. A retry would have no override, so there is none.
fn thresholds() -> circuit_breakers::Thresholds {
    const NO_CAP: UInt32Value = UInt32Value { value: 100_000 };
    circuit_breakers::Thresholds {
        max_connections: Some(NO_CAP),
        max_pending_requests: Some(NO_CAP),
        max_requests: Some(NO_CAP),
        max_retries: Some(UInt32Value { value: 0 }),
        ..circuit_breakers::Thresholds::default()
    }
}

fn http_protocol_options() -> HttpProtocolOptions {
    use http_protocol_options::explicit_http_config::ProtocolConfig;
    use http_protocol_options::{ExplicitHttpConfig, UpstreamProtocolOptions};

    HttpProtocolOptions {
        common_http_protocol_options: Some(CommonHttpProtocolOptions {
            // A runtime takes one client; a connection kept for the next would be one.
            max_requests_per_connection: Some(UInt32Value { value: 1 }),
            ..CommonHttpProtocolOptions::default()
        }),
        upstream_protocol_options: Some(UpstreamProtocolOptions::ExplicitHttpConfig(
            ExplicitHttpConfig {
                protocol_config: Some(ProtocolConfig::HttpProtocolOptions(
                    Http1ProtocolOptions::default(),
                )),
            },
        )),
        ..HttpProtocolOptions::default()
    }
}
