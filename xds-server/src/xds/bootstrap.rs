//! The bootstrap of an Envoy that takes everything from Berth.

use std::net::SocketAddr;

/// What an Envoy has to know to ask for the rest.
#[derive(Clone, Debug)]
pub struct BootstrapSpec {
    /// Names this Envoy to the control plane; unique among the running ones.
    pub node_id: String,
    /// Names the group of Envoys it belongs to.
    pub cluster: String,
    /// Where Envoy's admin interface listens, if it does.
    pub admin: Option<SocketAddr>,
    /// Where the control plane serves xDS and sessions.
    pub control_plane: SocketAddr,
}

/// The bootstrap as YAML.
pub fn bootstrap_yaml(spec: &BootstrapSpec) -> String {
    format!("node: {{ id: {:?} }}\n", spec.node_id)
}
