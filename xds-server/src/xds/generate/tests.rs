use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config;

use super::super::gateway::{
    Certificate, EndpointHealth, EndpointSpec, FilterSpec, ListenerSpec, PoolSpec,
};
use super::super::profile::Profiles;
use super::super::snapshot::{Inconsistent, Snapshot};
use super::*;

mod golden;
mod reasons;

#[test]
fn equal_input_gives_equal_bytes() {
    let first = generate(&gateway()).unwrap();
    for _ in 0..20 {
        assert_eq!(generate(&gateway()).unwrap(), first);
    }
    let mut shuffled = gateway();
    shuffled.listeners.reverse();
    shuffled.pools.reverse();
    let mut generator = Generator::new(shuffled, &Profiles::default()).unwrap();
    for (pool, endpoint) in instances().into_iter().rev() {
        generator.set_instance(pool, endpoint).unwrap();
    }
    assert_eq!(published(generator), first);
}

#[test]
fn a_change_changes_what_it_is_about_and_nothing_else() {
    use ResourceType::{Cluster, Extension, Listener, Route, Secret};

    type Change = fn(&mut Gateway);
    type Changed = &'static [(ResourceType, &'static str)];
    let cases: &[(&str, Change, Changed)] = &[
        (
            "connect timeout",
            |gateway| gateway.pools[0].connect_timeout = Duration::from_secs(9),
            &[(Cluster, "quest")],
        ),
        (
            "certificate",
            |gateway| gateway.certificate.chain_pem.push('x'),
            &[(Secret, "berth")],
        ),
        (
            "key",
            |gateway| gateway.certificate.private_key_pem.push('x'),
            &[(Secret, "berth")],
        ),
        (
            "handshake",
            |gateway| gateway.handshake_timeout = Duration::from_secs(6),
            &[(Route, "berth")],
        ),
        (
            "policy",
            |gateway| gateway.filter.configuration_json.push('x'),
            &[(Extension, "berth.admission")],
        ),
        (
            "module",
            |gateway| gateway.filter.module_path.push("x"),
            &[(Extension, "berth.admission")],
        ),
        (
            "port",
            |gateway| gateway.listeners[0].port = 444,
            &[(Listener, "https")],
        ),
    ];
    let before = generate(&gateway()).unwrap();
    for (title, change, expected) in cases {
        let mut gateway = gateway();
        change(&mut gateway);
        let after = generate(&gateway).unwrap();
        let changed: Vec<_> = ResourceType::ALL
            .into_iter()
            .flat_map(|kind| {
                let names: BTreeSet<_> = before
                    .of(kind)
                    .keys()
                    .chain(after.of(kind).keys())
                    .collect();
                names
                    .into_iter()
                    .map(move |name| (kind, &**name))
                    .collect::<Vec<_>>()
            })
            .filter(|(kind, name)| {
                let version = |snapshot: &Snapshot| {
                    snapshot
                        .find(*kind, name)
                        .map(|resource| resource.version())
                };
                version(&before) != version(&after)
            })
            .collect();
        assert_eq!(changed, *expected, "{title}");
    }
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    type Change = fn(&mut Gateway);
    let twice = |resource_type, name: &str| {
        InvalidGateway::Inconsistent(Inconsistent::Twice {
            resource_type,
            name: name.to_owned(),
        })
    };
    let cases: &[(Change, InvalidGateway)] = &[
        (
            |gateway| gateway.listeners[1].name = "https".to_owned(),
            twice(ResourceType::Listener, "https"),
        ),
        (
            |gateway| gateway.pools[1].name = "quest".to_owned(),
            twice(ResourceType::Cluster, "quest"),
        ),
        (
            |gateway| gateway.pools[1].name = "quest/0".to_owned(),
            InvalidGateway::PoolName("quest/0".to_owned()),
        ),
    ];
    for (change, expected) in cases {
        let mut gateway = gateway();
        change(&mut gateway);
        assert_eq!(generate(&gateway).as_ref().err(), Some(expected));
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;

    let mut gateway = gateway();
    gateway.filter.module_path = std::ffi::OsStr::from_bytes(b"/lib/\xff.wasm").into();
    assert!(matches!(
        generate(&gateway),
        Err(InvalidGateway::ModulePathNotUtf8(_))
    ));
}

#[test]
fn a_proxy_with_listeners_of_its_own_gets_instances_and_the_filter() {
    let mut gateway = gateway();
    gateway.listeners.clear();
    let snapshot = generate(&gateway).unwrap();
    let counts = ResourceType::ALL.map(|kind| snapshot.of(kind).len());
    assert_eq!(counts, [2, 2, 0, 0, 0, 1]);
}

#[test]
fn endpoints_say_which_instances_they_are() {
    let snapshot = generate(&gateway()).unwrap();
    let instances: Vec<_> = snapshot
        .find(ResourceType::Endpoint, "quest")
        .unwrap()
        .endpoints()
        .iter()
        .map(|endpoint| (endpoint.instance.as_str(), endpoint.health))
        .collect();
    assert_eq!(
        instances,
        [
            ("gpu-1", EndpointHealth::Healthy),
            ("gpu-2", EndpointHealth::Draining),
            ("gpu-3", EndpointHealth::Unhealthy),
        ]
    );
}

#[test]
fn the_filter_may_do_what_it_does_and_sees_no_relayed_bytes() {
    let snapshot = generate(&gateway()).unwrap();
    let resource = snapshot.find(ResourceType::Extension, EXTENSION).unwrap();
    let extension = TypedExtensionConfig::decode(resource.body().as_ref()).unwrap();
    let wasm = Wasm::decode(extension.typed_config.unwrap().value.as_slice()).unwrap();
    let plugin = wasm.config.unwrap();
    let Some(plugin_config::Vm::VmConfig(vm)) = plugin.vm else {
        panic!("no VM")
    };
    assert_eq!(
        (plugin.name.as_str(), vm.vm_id.as_str()),
        ("berth.admission", "berth"),
        "both parts are read as one"
    );
    let allowed: BTreeSet<_> = vm
        .capability_restriction_config
        .unwrap()
        .allowed_capabilities
        .into_keys()
        .collect();
    assert!(allowed.contains("proxy_on_request_headers") && allowed.contains("proxy_grpc_call"));
    assert!(
        !allowed.iter().any(|name| name.contains("body")),
        "{allowed:?}"
    );
}

/// What proxies are told of the gateway and [`instances`], as far as it has their pools.
fn generate(gateway: &Gateway) -> Result<Arc<Snapshot>, InvalidGateway> {
    let mut generator = Generator::new(gateway.clone(), &Profiles::default())?;
    for (pool, endpoint) in instances() {
        if gateway.pools.iter().any(|one| one.name == pool) {
            generator.set_instance(pool, endpoint).unwrap();
        }
    }
    Ok(published(generator))
}

fn published(mut generator: Generator) -> Arc<Snapshot> {
    let (_, view) = generator.publish().unwrap().views.pop_first().unwrap();
    view
}

fn instances() -> Vec<(&'static str, EndpointSpec)> {
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

fn gateway() -> Gateway {
    let listener = |name: &str, port| ListenerSpec {
        name: name.to_owned(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        port,
    };
    let pool = |name: &str, connect_timeout| PoolSpec {
        name: name.to_owned(),
        connect_timeout: Duration::from_millis(connect_timeout),
    };
    Gateway {
        listeners: vec![listener("https", 443), listener("cloudxr", 48_322)],
        certificate: Certificate {
            chain_pem: "(a certificate)".to_owned(),
            private_key_pem: "(a private key)".to_owned(),
        },
        client_ca_pem: None,
        filter: FilterSpec {
            module_path: "/usr/lib/berth/filter.wasm".into(),
            vm_id: "berth".to_owned(),
            configuration_json: r#"{"issuers":[]}"#.to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![pool("quest", 1_500), pool("vision", 2_000)],
    }
}
