//! From a [`Gateway`] to the resources Envoy is sent.
//!
//! Protobuf messages with a map of more than one entry are kept out: their entries are encoded in any order, and
//! equal input has to give equal bytes. An unchanged listener that only looks changed is replaced, and Envoy ends
//! the sessions on the one before it when its drain time is up. For the same reason all that may change while
//! sessions live is outside the listener: routes in RDS, the certificate in SDS, the filter in ECDS.

use std::net::SocketAddr;
use std::time::Duration;

use envoy_types::pb::envoy::config::core::v3::{
    Address, AggregatedConfigSource, ApiVersion, ConfigSource, SocketAddress, address,
    config_source, socket_address,
};
use envoy_types::pb::google::protobuf;
use prost::Message;

use super::gateway::{Gateway, InvalidGateway};
use super::resource::{Resource, ResourceType};

pub use division::{ClusterSpec, divide};
pub use generator::{Generator, Published};

pub use secret::{CLIENT_CA_SECRET, DEFAULT_SECRET, sni_secret};

pub(super) use filter::CAPABILITIES;

mod cluster;
mod division;
mod filter;
mod generator;
mod instance_tls;
mod listener;
mod local_reply;
mod route;
mod secret;
#[cfg(test)]
mod tests;

/// All that does not come with the instances. Equal input gives equal bytes.
fn fixed(gateway: &Gateway) -> Result<Vec<(ResourceType, Resource)>, InvalidGateway> {
    let mut resources = vec![(ResourceType::Extension, filter::extension(&gateway.filter)?)];
    for pool in &gateway.pools {
        if let Some(tls) = &pool.tls {
            let secrets = instance_tls::secrets(&pool.name, tls);
            resources.extend(secrets.map(|secret| (ResourceType::Secret, secret)));
        }
    }
    if !gateway.listeners.is_empty() {
        resources.push((
            ResourceType::Route,
            route::routes(gateway.handshake_timeout),
        ));
        let secrets = secret::secrets(&gateway.certificates);
        resources.extend(secrets.map(|secret| (ResourceType::Secret, secret)));
    }
    resources.extend(
        gateway
            .listeners
            .iter()
            .map(|spec| listener::listener(spec, &gateway.certificates))
            .map(|listener| (ResourceType::Listener, listener)),
    );
    Ok(resources)
}

fn encoded(name: &str, message: &impl Message) -> Resource {
    Resource::new(name, message.encode_to_vec())
}

/// Where every resource that another refers to comes from: the stream the other came by.
const fn over_ads() -> ConfigSource {
    ConfigSource {
        authorities: Vec::new(),
        initial_fetch_timeout: None,
        resource_api_version: ApiVersion::V3 as i32,
        config_source_specifier: Some(config_source::ConfigSourceSpecifier::Ads(
            AggregatedConfigSource {},
        )),
    }
}

fn tcp_address(address: SocketAddr) -> Address {
    Address {
        address: Some(address::Address::SocketAddress(SocketAddress {
            address: address.ip().to_string(),
            port_specifier: Some(socket_address::PortSpecifier::PortValue(
                address.port().into(),
            )),
            ..SocketAddress::default()
        })),
    }
}

fn duration(duration: Duration) -> protobuf::Duration {
    protobuf::Duration {
        seconds: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(duration.subsec_nanos()).unwrap_or_default(),
    }
}

/// The one RDS resource.
const ROUTES: &str = "berth";
/// The ECDS resource, which is also the filter's name in a proxy that has listeners of its own.
const EXTENSION: &str = "berth.admission";

/// What the filter sets on an admitted request for Envoy to act on: which cluster, and base64 of which `ip:port`.
const CLUSTER_HEADER: &str = "x-berth-cluster";
const ENDPOINT_HEADER: &str = "x-berth-endpoint";
/// On every refusal, the filter's and Envoy's own.
const REASON_HEADER: &str = "x-berth-reason";
/// Names that only the filter may use on a request.
const HEADER_PREFIX: &str = "x-berth-";
