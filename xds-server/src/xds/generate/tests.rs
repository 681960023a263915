use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config;

use super::super::gateway::{
    Certificate, ClusterSpec, EndpointHealth, EndpointSpec, FilterSpec, ListenerSpec, Module,
    PoolSpec,
};
use super::super::snapshot::Inconsistent;
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
    for pool in &mut shuffled.pools {
        pool.clusters.reverse();
        for cluster in &mut pool.clusters {
            cluster.endpoints.reverse();
        }
    }
    assert_eq!(generate(&shuffled).unwrap(), first);
}

#[test]
fn a_change_changes_what_it_is_about_and_nothing_else() {
    use ResourceType::{Cluster, Endpoint, Extension, Listener, Route, Secret};

    type Change = fn(&mut Gateway);
    type Changed = &'static [(ResourceType, &'static str)];
    let cases: &[(&str, Change, Changed)] = &[
        (
            "health",
            |gateway| endpoint(gateway).health = EndpointHealth::Unhealthy,
            &[(Endpoint, "quest/0")],
        ),
        (
            "address",
            |gateway| endpoint(gateway).address.set_port(1),
            &[(Endpoint, "quest/0")],
        ),
        (
            "instance",
            |gateway| endpoint(gateway).instance = "other".to_owned(),
            &[(Endpoint, "quest/0")],
        ),
        (
            "fewer endpoints",
            |gateway| drop(gateway.pools[0].clusters[0].endpoints.pop()),
            &[(Endpoint, "quest/0")],
        ),
        (
            "another cluster",
            |gateway| {
                gateway.pools[1].clusters.push(ClusterSpec {
                    name: "new".to_owned(),
                    endpoints: Vec::new(),
                })
            },
            &[(Cluster, "new"), (Endpoint, "new")],
        ),
        (
            "connect timeout",
            |gateway| gateway.pools[0].connect_timeout = Duration::from_secs(9),
            &[(Cluster, "quest/0"), (Cluster, "quest/1")],
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
            |gateway| gateway.filter.module = Module::File("/x.wasm".into()),
            &[(Extension, "berth.admission")],
        ),
        (
            "module that is sent",
            |gateway| gateway.filter.module = Module::Inline(b"\0asm".as_slice().into()),
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
            |gateway| gateway.pools[1].clusters[0].name = "quest/1".to_owned(),
            twice(ResourceType::Cluster, "quest/1"),
        ),
        (
            |gateway| endpoint(gateway).address = "10.0.0.2:49100".parse().unwrap(),
            InvalidGateway::DuplicateEndpoint {
                cluster: "quest/0".to_owned(),
                address: "10.0.0.2:49100".parse().unwrap(),
            },
        ),
    ];
    for (change, expected) in cases {
        let mut gateway = gateway();
        change(&mut gateway);
        assert_eq!(generate(&gateway).as_ref(), Err(expected));
    }
}

#[cfg(unix)]
#[test]
fn a_path_that_is_not_text_is_refused() {
    use std::os::unix::ffi::OsStrExt as _;

    let mut gateway = gateway();
    gateway.filter.module = Module::File(std::ffi::OsStr::from_bytes(b"/lib/\xff.wasm").into());
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
    assert_eq!(counts, [3, 3, 0, 0, 0, 1]);
}

#[test]
fn endpoints_say_which_instances_they_are() {
    let snapshot = generate(&gateway()).unwrap();
    let instances: Vec<_> = snapshot
        .find(ResourceType::Endpoint, "quest/0")
        .unwrap()
        .endpoints()
        .iter()
        .map(|endpoint| (endpoint.instance.as_str(), endpoint.health))
        .collect();
    assert_eq!(
        instances,
        [
            ("gpu-1", EndpointHealth::Healthy),
            ("gpu-2", EndpointHealth::Draining)
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

fn endpoint(gateway: &mut Gateway) -> &mut EndpointSpec {
    &mut gateway.pools[0].clusters[0].endpoints[0]
}

fn gateway() -> Gateway {
    let listener = |name: &str, port| ListenerSpec {
        name: name.to_owned(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        port,
    };
    let endpoint = |instance: &str, host, port, health| EndpointSpec {
        instance: instance.to_owned(),
        address: SocketAddr::new(IpAddr::from([10, 0, 0, host]), port),
        health,
    };
    let cluster = |name: &str, endpoints| ClusterSpec {
        name: name.to_owned(),
        endpoints,
    };
    Gateway {
        listeners: vec![listener("https", 443), listener("cloudxr", 48_322)],
        certificate: Certificate {
            chain_pem: "(a certificate)".to_owned(),
            private_key_pem: "(a private key)".to_owned(),
        },
        client_ca_pem: None,
        filter: FilterSpec {
            module: Module::File("/usr/lib/berth/filter.wasm".into()),
            vm_id: "berth".to_owned(),
            configuration_json: r#"{"issuers":[]}"#.to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![
            PoolSpec {
                name: "quest".to_owned(),
                connect_timeout: Duration::from_millis(1_500),
                clusters: vec![
                    cluster(
                        "quest/0",
                        vec![
                            endpoint("gpu-1", 1, 49_100, EndpointHealth::Healthy),
                            endpoint("gpu-2", 2, 49_100, EndpointHealth::Draining),
                        ],
                    ),
                    cluster(
                        "quest/1",
                        vec![endpoint("gpu-3", 3, 49_100, EndpointHealth::Unhealthy)],
                    ),
                ],
            },
            PoolSpec {
                name: "vision".to_owned(),
                connect_timeout: Duration::from_secs(2),
                clusters: vec![cluster(
                    "vision",
                    vec![endpoint("gpu-4", 4, 48_010, EndpointHealth::Healthy)],
                )],
            },
        ],
    }
}
