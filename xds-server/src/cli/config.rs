//! The commands that read the configuration.

use std::{
    fmt::Write,
    io::{self, Write as _},
    iter,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    num::NonZeroU16,
    path::{Path, PathBuf},
    sync::Arc,
};

use clap::{Args, builder::NonEmptyStringValueParser};

use crate::{
    clock::{self, Clock},
    config::{Config, ConfigError, Pool, zone},
    filter, keys,
    placement::Zone,
    telemetry::{self, LogFormat, TelemetryError},
    xds::{
        BootstrapSpec, BootstrapTls, EndpointHealth, EndpointSpec, ListenerSpec, StaticSpec,
        Unspeakable, bootstrap_yaml, divide, static_yaml,
    },
};

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConfigCommandError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Telemetry(#[from] TelemetryError),
    #[error(
        "the control plane asks Envoys for certificates (`xds.tls`): say with --ca, --certificate, --private-key and --server-name what this one has and what it is to be shown"
    )]
    TlsOptions,
    #[error("the control plane has no `xds.tls`: leave out --ca and what goes with it, or set it")]
    NoTls,
    #[error("{}: {error}", path.display())]
    Path { path: PathBuf, error: io::Error },
    #[error(
        "the instances of the pool `{0}` are reached by TLS (`instance_tls`), which `--static` does not write: leave the pool out of `static_proxies`"
    )]
    StaticTls(String),
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
        for ending in config.tls.ending(clock::unix_seconds()) {
            let path = self.config.display();
            let _ = writeln!(io::stderr(), "{path}: warning: {ending}");
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
  berth bootstrap --node-id edge-4 --ca ca.pem --certificate edge-4.pem --private-key edge-4.key \
      --server-name berth.example.com --secrets-out secrets > edge-4.yaml
      if the configuration has `xds.tls`; the certificate has to name edge-4
  berth bootstrap --static --node-id edge-static > envoy.yaml
      all that an Envoy needs that takes nothing over xDS; `static_proxies` has to have it

Each Envoy needs a node id of its own.")]
pub(super) struct BootstrapCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// Names this Envoy to the control plane; unique among the running ones
    #[arg(long, value_name = "ID", default_value = "envoy", value_parser = NonEmptyStringValueParser::new())]
    node_id: String,
    /// Which group of Envoys it is of; `profiles` can ask for it
    #[arg(long, value_name = "NAME", default_value = "berth", value_parser = NonEmptyStringValueParser::new())]
    cluster: String,
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
    #[command(flatten)]
    tls: TlsOptions,
}

/// What an Envoy and a control plane with `xds.tls` show each other. Paths are Envoy's; relative ones begin here.
#[derive(Debug, Args)]
struct TlsOptions {
    /// Who signs the control plane's certificate, PEM, as Envoy sees it
    #[arg(long, value_name = "FILE", requires_all = ["certificate", "private_key", "server_name"])]
    ca: Option<PathBuf>,
    /// This Envoy's certificate chain, PEM, as Envoy sees it; one of its alternative names has to be the node id
    #[arg(long, value_name = "FILE", requires = "ca")]
    certificate: Option<PathBuf>,
    /// The key of that certificate, PEM, as Envoy sees it
    #[arg(long, value_name = "FILE", requires = "ca")]
    private_key: Option<PathBuf>,
    /// The name or IP address that the control plane's certificate has
    #[arg(long, value_name = "NAME", requires = "ca", value_parser = NonEmptyStringValueParser::new())]
    server_name: Option<String>,
    /// Also write two files into this folder, which have Envoy take other certificates without a restart; Envoy finds them there
    #[arg(long, value_name = "FOLDER", requires = "ca")]
    secrets_out: Option<PathBuf>,
}

impl BootstrapCommand {
    pub(super) fn execute(self) -> Result<String, ConfigCommandError> {
        let config = self.file.load()?;
        let tls = self.tls.read()?;
        match (&config.xds_tls, &tls) {
            (Some(_), None) => return Err(ConfigCommandError::TlsOptions),
            (None, Some(_)) => return Err(ConfigCommandError::NoTls),
            _ => {}
        }
        if let Some(tls) = &tls {
            write_secrets(tls)?;
        }
        let admin = |port: NonZeroU16| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port.get());
        let bootstrap = BootstrapSpec {
            node_id: self.node_id,
            cluster: self.cluster,
            zone: self.zone.map(|zone| zone.to_string()),
            admin: self.admin_port.map(admin),
            control_plane: self.control_plane.unwrap_or_else(|| reachable(config.xds)),
            tls,
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
    let files = &config.tls;
    let by_sni = files.by_sni.iter().map(|sni| &sni.loaded);
    let certificates = iter::once(&files.default).chain(by_sni);
    if let Some(pool) = pools.clone().find(|pool| pool.instance_tls.is_some()) {
        return Err(ConfigCommandError::StaticTls(pool.name.to_string()));
    }
    Ok(StaticSpec {
        bootstrap,
        listeners: listeners.collect(),
        certificates: certificates
            .map(|loaded| {
                let files = &loaded.files;
                (files.certificate_chain.clone(), files.private_key.clone())
            })
            .collect(),
        client_ca: files.client_ca.as_ref().map(|ca| ca.files.0.clone()),
        module: config.filter.module.clone(),
        configuration_json: filter_configuration(config)?,
        handshake_timeout: config.timing.handshake_timeout,
        clusters: pools
            .flat_map(|pool| divide(pool.name.as_str(), endpoints(pool)))
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

impl TlsOptions {
    /// All of them, or none.
    fn read(self) -> Result<Option<BootstrapTls>, ConfigCommandError> {
        let Self {
            ca: Some(ca),
            certificate: Some(certificate),
            private_key: Some(private_key),
            server_name: Some(server_name),
            secrets_out,
        } = self
        else {
            return Ok(None);
        };
        Ok(Some(BootstrapTls {
            ca: absolute(ca)?,
            certificate_chain: absolute(certificate)?,
            private_key: absolute(private_key)?,
            server_name,
            secrets_folder: secrets_out.map(absolute).transpose()?,
        }))
    }
}

/// Envoy watches folders, and runs in another one.
fn absolute(path: PathBuf) -> Result<PathBuf, ConfigCommandError> {
    std::path::absolute(&path).map_err(|error| ConfigCommandError::Path { path, error })
}

/// In place of those that are there: they are the same, or were for other paths.
fn write_secrets(tls: &BootstrapTls) -> Result<(), ConfigCommandError> {
    let Some(folder) = &tls.secrets_folder else {
        return Ok(());
    };
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |error| ConfigCommandError::Path { path, error }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    for (name, text) in tls.secrets() {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(failed(&path))?;
    }
    Ok(())
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
