//! The bootstrap of an Envoy that takes everything from Berth.

use std::fmt::Write as _;
use std::net::SocketAddr;

mod tls;

pub use tls::BootstrapTls;

/// What an Envoy has to know to ask for the rest.
#[derive(Clone, Debug)]
pub struct BootstrapSpec {
    /// Names this Envoy to the control plane; unique among those that run.
    pub node_id: String,
    /// Names the group of Envoys it belongs to.
    pub cluster: String,
    /// Where it is: its sessions get instances of this zone first.
    pub zone: Option<String>,
    /// Where Envoy's admin interface listens, if it does. Whoever reaches it can stop Envoy.
    pub admin: Option<SocketAddr>,
    /// Where the control plane serves xDS and sessions.
    pub control_plane: SocketAddr,
    /// What both show each other; `None`: nothing, and the connection is plain.
    pub tls: Option<BootstrapTls>,
}

/// The bootstrap as YAML, with the reasons in comments.
pub fn bootstrap_yaml(spec: &BootstrapSpec) -> String {
    let clusters = control_plane_cluster(spec);
    head(spec) + DYNAMIC_PART + "\nstatic_resources:\n  clusters:\n" + &clusters + OVERLOAD_PART
}

/// Who it is, and its admin interface if it has one.
pub(super) fn head(spec: &BootstrapSpec) -> String {
    let BootstrapSpec {
        node_id,
        cluster,
        zone,
        admin,
        ..
    } = spec;
    let locality = zone.as_ref().map_or_else(String::new, |zone| {
        format!(", locality: {{ zone: {} }}", quoted(zone))
    });
    let mut yaml = format!(
        "node: {{ id: {}, cluster: {}{locality} }}\n",
        quoted(node_id),
        quoted(cluster)
    );
    if let Some(admin) = admin {
        // Formatting into a string does not fail.
        let _ = write!(
            yaml,
            "\nadmin:\n  address:\n    {}\n",
            socket_address(*admin)
        );
    }
    yaml
}

/// The element of `static_resources.clusters` that is the control plane.
pub(super) fn control_plane_cluster(spec: &BootstrapSpec) -> String {
    let transport_socket = spec.tls.as_ref().map(BootstrapTls::transport_socket);
    CONTROL_PLANE_PART
        .replace("CONTROL_PLANE", &socket_address(spec.control_plane))
        .replace(
            "    TRANSPORT_SOCKET\n",
            &transport_socket.unwrap_or_default(),
        )
}

pub(super) fn socket_address(address: SocketAddr) -> String {
    format!(
        "socket_address: {{ address: {}, port_value: {} }}",
        quoted(&address.ip().to_string()),
        address.port()
    )
}

/// JSON's strings are YAML's too, whatever is in them.
pub(super) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

const DYNAMIC_PART: &str = r#"
# Everything else comes from the control plane, in one ordered stream.
dynamic_resources:
  ads_config:
    api_type: DELTA_GRPC
    transport_api_version: V3
    set_node_on_first_message_only: true
    grpc_services:
    - envoy_grpc:
        cluster_name: berth
        # A control plane that restarts is found again within seconds.
        retry_policy: { retry_back_off: { base_interval: 0.2s, max_interval: 2s } }
  cds_config: { ads: {}, resource_api_version: V3 }
  lds_config: { ads: {}, resource_api_version: V3 }
"#;

const CONTROL_PLANE_PART: &str = r#"  # The control plane: xDS, and the filter's questions about sessions.
  - name: berth
    type: STATIC
    connect_timeout: 1s
    # A question waits at the server while no instance is free; the default of 1,024 would cap how many may.
    circuit_breakers:
      thresholds:
      - { max_connections: 100000, max_pending_requests: 100000, max_requests: 100000 }
    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          # The keepalive notices a control plane that is gone without a word.
          http2_protocol_options: { connection_keepalive: { interval: 5s, timeout: 3s } }
    load_assignment:
      cluster_name: berth
      endpoints:
      - lb_endpoints:
        - endpoint:
            address:
              CONTROL_PLANE
    TRANSPORT_SOCKET
"#;

pub(super) const OVERLOAD_PART: &str = r#"
# More connections than this are refused at accept, before they cost memory.
overload_manager:
  resource_monitors:
  - name: envoy.resource_monitors.global_downstream_max_connections
    typed_config:
      "@type": type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3.DownstreamConnectionsConfig
      max_active_downstream_connections: 50000
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bootstrap_is_yaml_that_says_what_was_asked() {
        let spec = BootstrapSpec {
            node_id: "edge \"1\": #x\n".to_owned(),
            cluster: "edge".to_owned(),
            zone: Some("eu: 1".to_owned()),
            admin: Some("[::1]:9901".parse().unwrap()),
            control_plane: "10.0.0.5:18000".parse().unwrap(),
            tls: None,
        };
        let parsed: serde_json::Value = serde_saphyr::from_str(&bootstrap_yaml(&spec)).unwrap();
        let at = |pointer: &str| parsed.pointer(pointer).unwrap();
        let address = "/static_resources/clusters/0/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address/socket_address";
        assert_eq!(at("/node/id"), "edge \"1\": #x\n");
        assert_eq!(at("/node/cluster"), "edge");
        assert_eq!(at("/admin/address/socket_address/address"), "::1");
        assert_eq!(at("/admin/address/socket_address/port_value"), 9901);
        assert_eq!(at(&format!("{address}/address")), "10.0.0.5");
        assert_eq!(at(&format!("{address}/port_value")), 18_000);
        assert_eq!(at("/dynamic_resources/ads_config/api_type"), "DELTA_GRPC");

        assert_eq!(at("/node/locality/zone"), "eu: 1");

        let closed = BootstrapSpec {
            admin: None,
            zone: None,
            ..spec
        };
        let closed = bootstrap_yaml(&closed);
        assert!(!closed.contains("admin") && !closed.contains("locality"));
        assert!(!closed.to_lowercase().contains("transport_socket"));
    }
}
