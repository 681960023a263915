//! The whole configuration of an Envoy that takes nothing over xDS, as YAML: what Berth places sessions by is all in it.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bootstrap::{
    BootstrapSpec, OVERLOAD_PART, control_plane_cluster, head, quoted, socket_address,
};
use super::gateway::{EndpointSpec, ListenerSpec};
use super::generate::{CAPABILITIES, ClusterSpec};

/// What such an Envoy is told. All paths are on its own host.
#[derive(Clone, Debug)]
pub struct StaticSpec {
    /// Who it is, and where the control plane is that its filter asks.
    pub bootstrap: BootstrapSpec,
    /// Where clients arrive.
    pub listeners: Vec<ListenerSpec>,
    /// What the listeners present, PEM: chains and their keys, the default one first.
    pub certificates: Vec<(PathBuf, PathBuf)>,
    /// Who may have signed the certificates that clients present, PEM. `None`: clients are not asked for one.
    pub client_ca: Option<PathBuf>,
    /// The filter's module.
    pub module: PathBuf,
    /// Handed to the module as it is; JSON.
    pub configuration_json: String,
    /// Bounds the wait for an instance's 101, and the TCP connect before it.
    pub handshake_timeout: Duration,
    /// The instances, in the clusters that grants name.
    pub clusters: Vec<ClusterSpec>,
}

/// What Envoy cannot be told in YAML.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unspeakable {
    /// YAML is text.
    #[error("the path `{}` is not UTF-8", .0.display())]
    Path(PathBuf),
    /// The filter would refuse it too.
    #[error("the filter's configuration is not JSON: {0}")]
    Configuration(String),
}

/// The configuration as YAML, with the reasons in comments.
///
/// # Errors
/// [`Unspeakable`].
pub fn static_yaml(spec: &StaticSpec) -> Result<String, Unspeakable> {
    let mut yaml = head(&spec.bootstrap) + "\n";
    for (number, listener) in spec.listeners.iter().enumerate() {
        yaml += &match number {
            0 => first_listener(spec, listener)?,
            _ => next_listener(listener),
        };
    }
    yaml += "\n  clusters:\n";
    yaml += &control_plane_cluster(&spec.bootstrap);
    for (number, cluster) in spec.clusters.iter().enumerate() {
        let template = match number {
            0 => FIRST_CLUSTER,
            _ => NEXT_CLUSTER,
        };
        yaml += &self::cluster(template, cluster, spec.handshake_timeout);
    }
    Ok(yaml + OVERLOAD_PART)
}

fn first_listener(spec: &StaticSpec, listener: &ListenerSpec) -> Result<String, Unspeakable> {
    let client_ca = match &spec.client_ca {
        Some(path) => format!(
            "            # Asks clients for a certificate; who has none is let in as far as the filter.\n            \
             validation_context: {{ trusted_ca: {{ filename: {} }} }}\n",
            quoted_path(path)?
        ),
        None => String::new(),
    };
    let mut capabilities = String::new();
    for name in CAPABILITIES.lines() {
        // Formatting into a string does not fail.
        let _ = writeln!(capabilities, "                      {name}: {{}}");
    }
    Ok(filled_in(
        LISTENER,
        &[
            ("NAME", &quoted(&listener.name)),
            ("ADDRESS", &socket_address(address(listener))),
            ("CERTIFICATES", &certificates(&spec.certificates)?),
            ("CLIENT_CA", &client_ca),
            ("HANDSHAKE_TIMEOUT", &seconds(spec.handshake_timeout)),
            ("MODULE", &quoted_path(&spec.module)?),
            ("CAPABILITIES", &capabilities),
            ("CONFIGURATION", &configuration(&spec.configuration_json)?),
        ],
    ))
}

fn certificates(files: &[(PathBuf, PathBuf)]) -> Result<String, Unspeakable> {
    let mut list = String::new();
    for (chain, key) in files {
        let (chain, key) = (quoted_path(chain)?, quoted_path(key)?);
        let _ = writeln!(
            list,
            "            - certificate_chain: {{ filename: {chain} }}\n              private_key: {{ filename: {key} }}"
        );
    }
    Ok(list)
}

/// The same, at another address.
fn next_listener(listener: &ListenerSpec) -> String {
    format!(
        "  - name: {}\n    address: {{ {} }}\n    socket_options: *noticed\n    filter_chains: *clients\n",
        quoted(&listener.name),
        socket_address(address(listener))
    )
}

const fn address(listener: &ListenerSpec) -> SocketAddr {
    SocketAddr::new(listener.address, listener.port)
}

/// Laid out for people, in the block that stands there.
fn configuration(json: &str) -> Result<String, Unspeakable> {
    let unspeakable = |error: serde_json::Error| Unspeakable::Configuration(error.to_string());
    let value: serde_json::Value = serde_json::from_str(json).map_err(unspeakable)?;
    let mut block = String::new();
    for line in format!("{value:#}").lines() {
        let _ = writeln!(block, "                    {line}");
    }
    Ok(block)
}

fn cluster(template: &str, cluster: &ClusterSpec, connect_timeout: Duration) -> String {
    let name = quoted(&cluster.name);
    let timeout = seconds(connect_timeout);
    let mut yaml = filled_in(template, &[("NAME", &name), ("CONNECT_TIMEOUT", &timeout)]);
    let _ = write!(
        yaml,
        "    load_assignment:\n      cluster_name: {name}\n      endpoints:\n      - lb_endpoints:"
    );
    if cluster.endpoints.is_empty() {
        yaml += " []";
    }
    yaml += "\n";
    for EndpointSpec {
        instance, address, ..
    } in &cluster.endpoints
    {
        let (instance, address) = (quoted(instance), socket_address(*address));
        let _ = writeln!(
            yaml,
            "        - endpoint: {{ hostname: {instance}, address: {{ {address} }} }}"
        );
    }
    yaml
}

/// As protobuf writes durations in JSON.
fn seconds(duration: Duration) -> String {
    format!("{}s", duration.as_secs_f64())
}

fn quoted_path(path: &Path) -> Result<String, Unspeakable> {
    let text = path.to_str().map(quoted);
    text.ok_or_else(|| Unspeakable::Path(path.to_owned()))
}

/// The template with its `${BLANKS}` filled in. What is filled in may have any text in it.
fn filled_in(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split("${");
    let mut text = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once('}').unwrap_or((part, ""));
        let value = values.iter().find(|(blank, _)| *blank == name);
        text += value.map_or("", |(_, value)| value);
        text += rest;
    }
    text
}

const LISTENER: &str = include_str!("static_config/listener.yaml");
const FIRST_CLUSTER: &str = include_str!("static_config/cluster.yaml");
const NEXT_CLUSTER: &str = include_str!("static_config/next_cluster.yaml");

#[cfg(test)]
mod tests;
