use std::net::Ipv4Addr;

use serde_json::Value;

use super::*;
use crate::xds::EndpointHealth;

fn spec() -> StaticSpec {
    let endpoint = |instance: &str, address: &str| EndpointSpec {
        instance: instance.to_owned(),
        address: address.parse().unwrap(),
        health: EndpointHealth::Healthy,
    };
    let listener = |name: &str, port| ListenerSpec {
        name: name.to_owned(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        port,
    };
    StaticSpec {
        bootstrap: BootstrapSpec {
            node_id: "edge ${NAME}".to_owned(),
            cluster: "berth".to_owned(),
            zone: None,
            admin: None,
            control_plane: "10.0.0.5:18000".parse().unwrap(),
            tls: None,
        },
        listeners: vec![listener("https", 443), listener("native", 48322)],
        certificates: vec![
            ("/etc/${MODULE}.pem".into(), "/etc/key\"1\".pem".into()),
            ("/etc/other.pem".into(), "/etc/other-key.pem".into()),
        ],
        client_ca: Some("/etc/ca.pem".into()),
        module: "/lib/berth: filter.wasm".into(),
        configuration_json: "{\"a\":{\"b: ${x}\":\"c\\n # d\"}}".to_owned(),
        handshake_timeout: Duration::from_millis(2500),
        clusters: vec![
            ClusterSpec {
                name: "web/0".into(),
                endpoints: vec![
                    endpoint("web-1", "10.0.0.1:49100"),
                    endpoint("web-2", "[fd00::1]:49100"),
                ],
            },
            ClusterSpec {
                name: "web/1".into(),
                endpoints: Vec::new(),
            },
        ],
    }
}

fn parsed(spec: &StaticSpec) -> Value {
    serde_saphyr::from_str(&static_yaml(spec).unwrap()).unwrap()
}

#[test]
fn it_is_yaml_that_says_what_was_asked() {
    let parsed = parsed(&spec());
    let clients = "/static_resources/listeners/0/filter_chains/0";
    let tls = format!("{clients}/transport_socket/typed_config/common_tls_context");
    let manager = format!("{clients}/filters/0/typed_config");
    let wasm = format!("{manager}/http_filters/1/typed_config/config");
    let clusters = "/static_resources/clusters";
    for (at, expected) in [
        ("/node/id".to_owned(), "edge ${NAME}".into()),
        (
            "/static_resources/listeners/1/name".to_owned(),
            "native".into(),
        ),
        (
            format!("{tls}/tls_certificates/0/certificate_chain/filename"),
            "/etc/${MODULE}.pem".into(),
        ),
        (
            format!("{tls}/tls_certificates/0/private_key/filename"),
            "/etc/key\"1\".pem".into(),
        ),
        (
            format!("{tls}/validation_context/trusted_ca/filename"),
            "/etc/ca.pem".into(),
        ),
        (
            format!("{manager}/route_config/virtual_hosts/0/routes/1/route/timeout"),
            "2.5s".into(),
        ),
        (
            format!("{wasm}/vm_config/code/local/filename"),
            "/lib/berth: filter.wasm".into(),
        ),
        (format!("{clusters}/0/name"), "berth".into()),
        (format!("{clusters}/1/connect_timeout"), "2.5s".into()),
        (
            format!("{clusters}/2/load_assignment/cluster_name"),
            "web/1".into(),
        ),
        (
            format!("{clusters}/2/load_assignment/endpoints/0/lb_endpoints"),
            Value::Array(Vec::new()),
        ),
    ] {
        assert_eq!(parsed.pointer(&at), Some(&expected), "{at}");
    }
    let same = |field: &str| {
        let of =
            |number: u8| parsed.pointer(&format!("/static_resources/listeners/{number}/{field}"));
        assert!(of(0).is_some() && of(0) == of(1), "{field}");
    };
    same("filter_chains");
    same("socket_options");

    let configuration = parsed
        .pointer(&format!("{wasm}/configuration/value"))
        .unwrap();
    let configuration: Value = serde_json::from_str(configuration.as_str().unwrap()).unwrap();
    let expected: Value = serde_json::from_str(&spec().configuration_json).unwrap();
    assert_eq!(configuration, expected);

    let capabilities =
        format!("{wasm}/vm_config/capability_restriction_config/allowed_capabilities");
    let capabilities = parsed.pointer(&capabilities).unwrap().as_object().unwrap();
    assert_eq!(capabilities.len(), CAPABILITIES.lines().count());

    let endpoints = parsed.pointer(&format!(
        "{clusters}/1/load_assignment/endpoints/0/lb_endpoints"
    ));
    let endpoints: Vec<String> = endpoints
        .and_then(Value::as_array)
        .unwrap()
        .iter()
        .map(|endpoint| {
            let at = |pointer: &str| endpoint.pointer(pointer).unwrap();
            let socket = |field: &str| at(&format!("/endpoint/address/socket_address/{field}"));
            format!(
                "{} {} {}",
                at("/endpoint/hostname"),
                socket("address"),
                socket("port_value")
            )
        })
        .collect();
    assert_eq!(
        endpoints,
        [
            "\"web-1\" \"10.0.0.1\" 49100",
            "\"web-2\" \"fd00::1\" 49100"
        ]
    );
}

#[test]
fn nobody_is_asked_for_a_certificate_unless_somebody_signs_them() {
    let asks = |spec: &StaticSpec| static_yaml(spec).unwrap().contains("validation_context");
    assert!(asks(&spec()));
    assert!(!asks(&StaticSpec {
        client_ca: None,
        ..spec()
    }));
}

#[test]
fn what_is_no_text_is_refused() {
    let configuration_json = "{".to_owned();
    let refused = static_yaml(&StaticSpec {
        configuration_json,
        ..spec()
    });
    assert!(
        matches!(refused, Err(Unspeakable::Configuration(_))),
        "{refused:?}"
    );
}
