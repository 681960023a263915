//! The commands that read the configuration.

use std::{
    fmt::Write,
    io::{self, Write as _},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::{
    clock::Clock,
    config::{Config, ConfigError, Pool, zone},
    filter, keys,
    placement::Zone,
    telemetry::{self, LogFormat, TelemetryError},
    xds::{
        BootstrapSpec, EndpointHealth, EndpointSpec, ListenerSpec, StaticSpec, Unspeakable,
        assign_clusters, bootstrap_yaml, static_yaml,
    },
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error("no entry of `static_proxies` has the node `{0}`: it would be granted nothing")]
    NotStatic(String),
    #[error(transparent)]
    Keys(#[from] keys::StartError),
    #[error("the filter's configuration: {0}")]
    Filter(#[from] serde_json::Error),
    #[error(transparent)]
    Unspeakable(#[from] Unspeakable),
}

#[derive(Debug, Args)]
pub(super) struct ConfigFile {
    /// The configuration; berth.example.yaml explains every field
    #[arg(
        long,
        short,
        value_name = "FILE",
        env = "BERTH_CONFIG",
        default_value = "berth.yaml"
    )]
    config: PathBuf,
}

impl ConfigFile {
    /// Reads it, and warns of what has no effect.
    pub(super) fn load(&self) -> Result<Config, ConfigError> {
        let config = Config::load(&self.config)?;
        for key in config.ignored_keys() {
            // A warning that nobody can read is no reason to stop.
            let _ = writeln!(
                io::stderr(),
                "{}: warning: admission.{key}; this key is not used",
                self.config.display()
            );
        }
        if config.asks_for_no_certificate() {
            let _ = writeln!(
                io::stderr(),
                "{}: warning: admission.client_certificates: the listeners ask no client for a certificate; name who signs them as `tls.client_ca`",
                self.config.display()
            );
        }
        Ok(config)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth serve --config berth.yaml
  berth serve --log-filter info,berth::sessions=debug --log-format json

SIGTERM or Ctrl-C stops it; live sessions go on without it.")]
pub(super) struct ServeCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// How log lines are written [default: text on a terminal, json elsewhere]
    #[arg(long, value_enum, env = "BERTH_LOG_FORMAT")]
    log_format: Option<LogFormat>,
    /// What is logged: a level, or levels by module such as `info,berth::probes=debug`
    #[arg(
        long,
        value_name = "FILTER",
        env = "RUST_LOG",
        default_value = "info",
        value_parser = NonEmptyStringValueParser::new()
    )]
    log_filter: String,
}

impl ServeCommand {
    /// The configuration; from here on events are logged.
    pub(super) fn prepare(self) -> Result<Config, ConfigCommandError> {
        let config = self.file.load()?;
        let format = self.log_format.unwrap_or_else(LogFormat::detect);
        telemetry::init(format, &self.log_filter)?;
        Ok(config)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Each line is FILE:LINE:COLUMN: FIELD: what is wrong: what to do. The files that the configuration
names are read too: certificate, key and key sets. `berth serve` refuses to start on the same.")]
pub(super) struct CheckCommand {
    #[command(flatten)]
    file: ConfigFile,
}

impl CheckCommand {
    pub(super) fn execute(self) -> Result<String, ConfigCommandError> {
        let config = self.file.load()?;
        let mut answer = format!("{}: nothing wrong\n", self.file.config.display());
        for pool in &config.pools {
            let (name, family) = (&pool.name, pool.family);
            let instances = pool.instances.len();
            // Writing to a string cannot fail.
            let _ = writeln!(answer, "  pool {name} ({family}), instances: {instances}");
        }
        Ok(answer)
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth bootstrap --config berth.yaml > envoy.yaml && envoy -c envoy.yaml
  berth bootstrap --node-id edge-2 --admin-port 9901 > edge-2.yaml
  berth bootstrap --node-id edge-3 --control-plane 10.0.0.5:18000 --zone eu-1a > edge-3.yaml
      for an Envoy on another host
  berth bootstrap --static --node-id edge-static > envoy.yaml
      all that an Envoy needs that takes nothing over xDS; `static_proxies` has to have it

Each Envoy needs a node id of its own.")]
pub(super) struct BootstrapCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Names this Envoy to the control plane; unique among the running ones
    #[arg(long, value_name = "ID", default_value = "envoy", value_parser = NonEmptyStringValueParser::new())]
    node_id: String,
    /// Print the whole configuration instead, listeners and instances included, of an Envoy that takes nothing over xDS
    #[arg(long = "static", conflicts_with = "zone")]
    is_static: bool,
    /// Where this Envoy is: its sessions get instances of this `zone` if one is free
    #[arg(long, value_name = "ZONE", value_parser = zone)]
    zone: Option<Zone>,
    /// The port of Envoy's own admin interface, on 127.0.0.1 [default: it has none]
    #[arg(long, value_name = "PORT")]
    admin_port: Option<NonZeroU16>,
    /// Where this Envoy reaches the control plane [default: `xds.listen`, or this host if that is every address]
    #[arg(long, value_name = "IP:PORT")]
    control_plane: Option<SocketAddr>,
}

impl BootstrapCommand {
    pub(super) fn execute(self) -> Result<String, ConfigCommandError> {
        let config = self.file.load()?;
        let admin = |port: NonZeroU16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.get());
        let bootstrap = BootstrapSpec {
            node_id: self.node_id,
            cluster: CLUSTER.to_owned(),
            zone: self.zone.map(|zone| zone.to_string()),
            admin: self.admin_port.map(admin),
            control_plane: self.control_plane.unwrap_or_else(|| reachable(config.xds)),
        };
        if self.is_static {
            return Ok(static_yaml(&static_spec(&config, bootstrap)?)?);
        }
        Ok(bootstrap_yaml(&bootstrap))
    }
}

fn static_spec(
    config: &Config,
    bootstrap: BootstrapSpec,
) -> Result<StaticSpec, ConfigCommandError> {
    let node = bootstrap.node_id.as_str().into();
    let mut proxies = config.static_proxies.iter();
    let Some(proxy) = proxies.find(|proxy| proxy.nodes.fits(&node)) else {
        return Err(ConfigCommandError::NotStatic(bootstrap.node_id));
    };
    let pools = config.pools.iter();
    let pools = pools.filter(|pool| proxy.pools.contains(&pool.name));
    let listeners = config.listeners.iter().map(|listener| ListenerSpec {
        name: listener.name.clone(),
        address: listener.address,
        port: listener.port.get(),
    });
    let files = config.tls.files.clone();
    Ok(StaticSpec {
        bootstrap,
        listeners: listeners.collect(),
        certificate_chain: files.certificate_chain,
        private_key: files.private_key,
        client_ca: files.client_ca,
        module: config.filter.module.clone(),
        configuration_json: filter_configuration(config)?,
        handshake_timeout: config.timing.handshake_timeout,
        clusters: pools
            .flat_map(|pool| assign_clusters(&pool.name.to_string(), endpoints(pool)))
            .collect(),
    })
}

/// With the keys that are known without asking anybody: tokens of others are checked by the control plane.
fn filter_configuration(config: &Config) -> Result<String, ConfigCommandError> {
    let (keys, _) = keys::look(keys::Setup {
        clock: Clock::start(),
        policy: config.admission_policy(),
        sources: config.key_sources.clone(),
        store: config.store.place.file().map(Path::to_owned),
    })?;
    let policy = Arc::clone(&keys.watch().borrow().config);
    Ok(filter::configuration(config, &policy)?)
}

fn endpoints(pool: &Pool) -> Vec<EndpointSpec> {
    let instances = pool.instances.iter();
    instances
        .map(|instance| EndpointSpec {
            instance: instance.name.to_string(),
            address: instance.address,
            // Such an Envoy does not hear of it: what is down is granted to nobody.
            health: EndpointHealth::Healthy,
        })
        .collect()
}

/// "Every address" is where one listens, not where one connects to.
fn reachable(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, listen.port())
}

/// The group of Envoys that one control plane configures: all the same, so one name does.
const CLUSTER: &str = "berth";
