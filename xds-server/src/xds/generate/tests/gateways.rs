//! The gateways of `envoy/golden`. A test of the project's, which asks an Envoy of them, has this file too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::xds::{
    Certificate, Certificates, EndpointHealth, EndpointSpec, FilterSpec, Gateway, Generator,
    InstanceTls, InvalidGateway, ListenerSpec, Module, PoolSpec, Profiles, ResourceType, Snapshot,
    SniCertificate,
};

/// A file's name without its ending, the gateway whose resources it shows, and of which types they are: the others are
/// like those of another file.
pub(super) type Golden = (&'static str, Gateway, &'static [ResourceType]);

pub(super) fn golden() -> Vec<Golden> {
    const ALL: &[ResourceType] = &ResourceType::ALL;
    const TLS: &[ResourceType] = &[ResourceType::Listener, ResourceType::Secret];
    const INSTANCES: &[ResourceType] = &[ResourceType::Cluster, ResourceType::Secret];
    let mut whole = gateway();
    whole.listeners.truncate(1);
    whole.pools.truncate(1);
    let mut joined = gateway();
    joined.listeners.clear();
    joined.pools.drain(..1);
    let certificates = whole.clone();
    whole.certificates.by_sni.clear();
    whole.certificates.client_ca_pem = None;
    let mut instance_tls = gateway();
    instance_tls.listeners.clear();
    let names = [(None, true), (Some("runtime.example"), false)];
    for (pool, (server_name, certificate)) in instance_tls.pools.iter_mut().zip(names) {
        pool.tls = Some(tls(server_name, certificate));
    }
    vec![
        ("gateway", whole, ALL),
        ("joined", joined, ALL),
        ("certificates", certificates, TLS),
        ("instance_tls", instance_tls, INSTANCES),
    ]
}

/// What proxies are told of the gateway and [`instances`], as far as it has their pools.
pub(super) fn generate(gateway: &Gateway) -> Result<Arc<Snapshot>, InvalidGateway> {
    let mut generator = Generator::new(gateway.clone(), &Profiles::default())?;
    for (pool, endpoint) in instances() {
        if gateway.pools.iter().any(|one| one.name == pool) {
            generator.set_instance(pool, endpoint).unwrap();
        }
    }
    Ok(published(generator))
}

pub(super) fn published(mut generator: Generator) -> Arc<Snapshot> {
    let (_, view) = generator.publish().unwrap().views.pop_first().unwrap();
    view
}

pub(super) fn instances() -> Vec<(&'static str, EndpointSpec)> {
    let instance = |pool, instance: &str, host, port, health| {
        let endpoint = EndpointSpec {
            instance: instance.to_owned(),
            address: SocketAddr::new(IpAddr::from([10, 0, 0, host]), port),
            health,
        };
        (pool, endpoint)
    };
    vec![
        instance("quest", "gpu-1", 1, 49_100, EndpointHealth::Healthy),
        instance("quest", "gpu-2", 2, 49_100, EndpointHealth::Draining),
        instance("quest", "gpu-3", 3, 49_100, EndpointHealth::Unhealthy),
        instance("vision", "gpu-4", 4, 48_010, EndpointHealth::Healthy),
    ]
}

pub(super) fn tls(server_name: Option<&str>, certificate: bool) -> InstanceTls {
    InstanceTls {
        ca_pem: "(who signs instances' certificates)".to_owned(),
        certificate: certificate.then(|| Certificate {
            chain_pem: "(a proxy's certificate)".to_owned(),
            private_key_pem: "(its key)".to_owned(),
        }),
        server_name: server_name.map(str::to_owned),
    }
}

pub(super) fn gateway() -> Gateway {
    let listener = |name: &str, port| ListenerSpec {
        name: name.to_owned(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        port,
    };
    let pool = |name: &str, connect_timeout| PoolSpec {
        name: name.to_owned(),
        connect_timeout: Duration::from_millis(connect_timeout),
        tls: None,
    };
    let certificate = |of: &str| Certificate {
        chain_pem: format!("(a certificate{of})"),
        private_key_pem: format!("(a private key{of})"),
    };
    Gateway {
        listeners: vec![listener("https", 443), listener("cloudxr", 48_322)],
        certificates: Certificates {
            default: certificate(""),
            by_sni: vec![SniCertificate {
                name: "example-org".to_owned(),
                certificate: certificate(" of example.org"),
            }],
            client_ca_pem: Some("(who signs clients' certificates)".to_owned()),
        },
        filter: FilterSpec {
            module: Module::File("/usr/lib/berth/filter.wasm".into()),
            vm_id: "berth".to_owned(),
            configuration_json: CONFIGURATION.to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![pool("quest", 1_500), pool("vision", 2_000)],
    }
}

/// One that the module takes.
const CONFIGURATION: &str = concat!(
    r#"{"admission":{"api_keys":[{"subject":"kiosk-7","#,
    r#""sha256":"acad8eebea9b536d9277728bb7d9cf8525a154ef51ede1ac2e9c32194d882e0a"}],"#,
    r#""pools":[{"name":"quest","family":"web"},{"name":"vision","family":"native"}]},"#,
    r#""control_plane":{"cluster":"berth","when_away":"wait","hold_ms":8000,"tick_ms":1000}}"#,
);
