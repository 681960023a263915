use std::collections::BTreeSet;

use envoy_types::pb::envoy::config::core::v3::TypedExtensionConfig;
use envoy_types::pb::envoy::extensions::filters::http::wasm::v3::Wasm;
use envoy_types::pb::envoy::extensions::wasm::v3::plugin_config;

use super::super::gateway::{EndpointHealth, InstanceTls, Module};
use super::super::profile::Profiles;
use super::super::snapshot::{Inconsistent, Snapshot};
use super::*;
use crate::xds;

use gateways::{gateway, generate, instances, published, tls};

mod gateways;
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
            |gateway| gateway.certificates.default.chain_pem.push('x'),
            &[(Secret, "berth")],
        ),
        (
            "key",
            |gateway| gateway.certificates.default.private_key_pem.push('x'),
            &[(Secret, "berth")],
        ),
        (
            "certificate of a name",
            |gateway| {
                let sni = &mut gateway.certificates.by_sni[0];
                sni.certificate.chain_pem.push('x');
            },
            &[(Secret, "berth/example-org")],
        ),
        (
            "authorities",
            |gateway| {
                let ca = &mut gateway.certificates.client_ca_pem;
                ca.as_mut().unwrap().push('x');
            },
            &[(Secret, "berth_client_ca")],
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

#[test]
fn other_certificates_leave_clusters_and_what_lives_on_them_alone() {
    use ResourceType::Secret;

    type Change = fn(&mut InstanceTls);
    let cases: &[(Change, &[&str])] = &[
        (|tls| tls.ca_pem.push('x'), &["berth_instance_ca/quest"]),
        (
            |tls| tls.certificate.as_mut().unwrap().chain_pem.push('x'),
            &["berth_instance_certificate/quest"],
        ),
    ];
    let mut gateway = gateway();
    gateway.pools[0].tls = Some(tls(None, true));
    let before = generate(&gateway).unwrap();
    for (change, expected) in cases {
        let mut gateway = gateway.clone();
        change(gateway.pools[0].tls.as_mut().unwrap());
        let after = generate(&gateway).unwrap();
        for kind in ResourceType::ALL {
            let changed: Vec<_> = after
                .of(kind)
                .iter()
                .filter(|(name, resource)| {
                    let before = before.find(kind, name).unwrap();
                    before.version() != resource.version()
                })
                .map(|(name, _)| &**name)
                .collect();
            let expected = if kind == Secret { *expected } else { &[] };
            assert_eq!(changed, expected, "{kind:?}");
        }
    }
}
