//! `berth serve`: puts the parts together and runs them until it is told to stop.

mod health;
mod memory;
mod reflection;

use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_proto::session::v1::sessions_server::SessionsServer;
use futures_util::FutureExt;
use tokio::net::{TcpListener, TcpSocket};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tonic::transport::Server;
use tonic::transport::server::Router;
use tracing::{error, info};

use crate::admin::{self, KeysView};
use crate::admission::Admitter;
use crate::certificates;
use crate::clock::Clock;
use crate::config::{Config, Delivery};
use crate::controller::{self, Controller, Durability, Ended, InvalidStart, Parts};
use crate::filter::{self, longest_hold};
use crate::keys::{self, Current, Keys, Setup, StartError};
use crate::module;
use crate::placement::{LEARNING_QUEUE, Placement, Timing};
use crate::probes::{Probes, SetupError, Target};
use crate::sessions::SessionService;
use crate::static_proxies::{StaticProxies, StaticReach};
use crate::store::LoadError;
use crate::tls::{self, Denials, Incoming};
use crate::xds::{
    Certificates, FilterSpec, Gateway, Generator, InvalidGateway, ListenerSpec, Module, PoolSpec,
    StatusService, XdsServer,
};

use health::Health;
use memory::Memory;

/// Why the control plane could not run.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// Another process has the port, or the address is not this machine's.
    #[error("cannot listen on {address} (`{field}.listen`): {error}")]
    Bind {
        /// The configuration's section.
        field: &'static str,
        /// What was to be bound.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// The configuration says something that no proxy could be told.
    #[error(transparent)]
    Gateway(#[from] InvalidGateway),
    /// The same, of the instances.
    #[error(transparent)]
    Instances(#[from] InvalidStart),
    /// The probes cannot be set up.
    #[error(transparent)]
    Probes(#[from] SetupError),
    /// The xDS and session server broke.
    #[error("the xDS server failed: {0}")]
    Xds(#[from] tonic::transport::Error),
    /// What the xDS port is to show cannot be shown any more.
    #[error("{0} (`xds.tls`)")]
    XdsTls(#[from] certificates::CertificateError),
    /// The admin server broke, or signals cannot be had.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The task that places sessions broke: nothing can be placed any more.
    #[error("the controller ended: {0}")]
    Controller(#[from] tokio::task::JoinError),
    /// The filter's configuration cannot be written as JSON.
    #[error("the filter's configuration: {0}")]
    FilterConfiguration(#[from] serde_json::Error),
    /// The module, which is sent from here, cannot be read.
    #[error("cannot read {}: {error} (`filter.module`)", path.display())]
    Module {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// There is no way to get the issuers' keys.
    #[error(transparent)]
    Keys(#[from] StartError),
    /// What an earlier process left cannot be used.
    #[error("{0} (`store.path`)")]
    Store(#[from] LoadError),
    /// What reflection is to tell cannot be read.
    #[error("gRPC reflection: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
    /// There is no thread for the store.
    #[error("cannot start the store's writer: {0}")]
    Writer(io::Error),
    /// Nothing can be made durable any more, so nothing can be placed.
    #[error("the store's writer ended")]
    WriterGone,
}

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`].
pub async fn run(config: Config) -> Result<(), ServeError> {
    let xds_listener = bind("xds", config.xds)?;
    let admin_listener = bind("admin", config.admin)?;
    let clock = Clock::start();
    let denials = Denials::new(clock);
    let keys = keys(&config, clock).await?;
    let mut admission = keys.watch();
    let configuration = filter::configuration(&config, &admission.borrow_and_update().config)?;
    let (certificates, reloads) = certificates::watch(config.tls.clone());
    tokio::spawn(reloads);
    let module = module_for_proxies(&config)?;
    let gateway = gateway(&config, module.clone(), configuration);
    let generator = Generator::new(gateway, &config.profiles)?;
    let (sender, results) = mpsc::channel(RESULTS);
    let probes = Probes::start(Target::all(&config), &sender)?;
    let (xds, nodes) = XdsServer::new(config.profiles.clone(), config.max_streams);
    let discovery = xds.service();
    let node_streams = xds.streams();
    let families = config
        .pools
        .iter()
        .map(|pool| (pool.name.clone(), pool.family));
    let Memory {
        loaded,
        term,
        history,
        journal,
        progress,
        writer,
    } = Memory::open(&config.store, clock)?;
    let complete = loaded.leases.is_some();
    let streams = streams(&config);
    let mut fleet = config.fleet();
    let mut placement = placement(&config, clock, term);
    // What is granted from now on is durable after that.
    journal.submit(memory::restore(loaded, clock, &mut placement, &mut fleet));
    let (controller, task) = controller::run(Parts {
        certificates: certificates.statuses,
        clock,
        denials: denials.clone(),
        durability: Durability {
            journal,
            progress,
            complete,
        },
        fleet,
        families: families.collect(),
        generator,
        keys: keys.issuers(),
        nodes,
        placement,
        probes: results,
        static_proxies: static_proxies(&config),
        xds,
    })?;
    let admitter = Admitter::new(keys.clone(), clock, hash_seed());
    let (health, health_service) = Health::serving().await;
    let grpc = Server::builder()
        .max_concurrent_streams(streams)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .add_service(discovery)
        .add_service(StatusService::server(node_streams.clone()))
        .add_service(health_service)
        .add_service(reflection::v1()?)
        .add_service(reflection::v1alpha()?)
        .add_service(
            SessionsServer::new(SessionService::new(controller.clone(), admitter))
                .max_decoding_message_size(MAX_MESSAGE),
        );
    let xds_incoming = match config.xds_tls.clone() {
        Some(files) => tls::mutual(xds_listener, files, denials)?,
        None => tls::plain(xds_listener),
    };
    let known_keys = KeysView {
        issuers: keys.issuers(),
        clock,
    };
    let watched = config.pools.iter().filter_map(|pool| {
        let tls = pool.instance_tls.as_ref()?;
        Some((pool.name.clone(), tls.files.clone()))
    });
    let watching = tokio::spawn(tls::watch_instances(watched.collect(), controller.clone()));
    let admin = admin::router(controller.clone(), history, known_keys, node_streams);
    if let Module::Inline(first) = module {
        let path = config.filter.module.clone();
        tokio::spawn(module::watch(path, first, controller.clone()));
    }
    let told = async {
        tokio::try_join!(
            tell_filters(&config, admission, controller.clone()),
            tell_certificates(certificates.presented, controller).map(Ok),
        )
    };
    info!(xds = %config.xds, admin = %config.admin, "ready");
    let served = serve(
        (grpc, xds_incoming),
        (admin, admin_listener),
        tokio::spawn(task),
        health,
    );
    let served = tokio::select! {
        served = served => served,
        Err(error) = told => Err(error.into()),
    };
    watching.abort();
    drop(probes);
    if let Ok(Err(error)) = tokio::task::spawn_blocking(|| writer.stop()).await {
        error!(%error, "what the store has not got is lost");
    }
    served
}

async fn serve(
    (grpc, xds_incoming): (Router, Incoming),
    (admin, admin_listener): (axum::Router, TcpListener),
    task: JoinHandle<Ended>,
    health: Health,
) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let stopped = |mut stopping: watch::Receiver<bool>| async move {
        // An error means that the sender is gone, which is a stop too.
        let _ = stopping.wait_for(|stop| *stop).await;
    };
    let grpc = grpc.serve_with_incoming_shutdown(xds_incoming, stopped(stopping.clone()));
    let admin = axum::serve(admin_listener, admin).with_graceful_shutdown(stopped(stopping));

    let serving = async { tokio::try_join!(async { Ok(grpc.await?) }, async { Ok(admin.await?) }) };
    tokio::pin!(serving);
    tokio::select! {
        outcome = &mut serving => return outcome.map(|((), ())| ()),
        // It ends after the servers, unless it breaks: then a new process is better than this one.
        ended = task => return match ended? {
            Ended::Unused => Ok(()),
            Ended::WriterGone => Err(ServeError::WriterGone),
        },
        told = told_to_stop() => info!(signal = told?, "stopping; live sessions go on"),
    }
    health.stopping().await;
    stop.send_replace(true);
    // Streams of proxies never end by themselves: what is in flight is given a moment, no more.
    match tokio::time::timeout(GRACE, serving).await {
        Ok(outcome) => outcome.map(|((), ())| ()),
        Err(_) => Ok(()),
    }
}

fn bind(field: &'static str, address: SocketAddr) -> Result<TcpListener, ServeError> {
    let listen = || {
        let socket = match address {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        // A control plane that was restarted is not kept from its port by connections that linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        socket.listen(BACKLOG)
    };
    listen().map_err(|error| ServeError::Bind {
        field,
        address,
        error,
    })
}

async fn told_to_stop() -> io::Result<&'static str> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    })
}

fn placement(config: &Config, clock: Clock, term: u64) -> Placement {
    let tick = config.timing.tick;
    let hold = longest_hold(config);
    let timing = Timing {
        agent_within: AGENT_WITHIN,
        // A grant that was under way, a tick, and its Sync under way.
        learn_for: tick * 4,
        reserve_for: hold + config.timing.handshake_timeout + tick * 2,
        silent_after: tick * 3,
    };
    let now = clock.now();
    let mut placement = Placement::new(timing, term, hash_seed(), now);
    for pool in &config.pools {
        placement.set_pool(now, pool.name.clone(), pool.policy.clone());
        for instance in &pool.instances {
            placement.add_instance(now, instance.placed(&pool.name));
        }
    }
    placement
}

fn static_proxies(config: &Config) -> StaticProxies {
    let reaches = config.static_proxies.iter().map(|proxy| StaticReach {
        nodes: proxy.nodes.clone(),
        zone: proxy.zone.clone(),
        instances: config.instances_of(proxy),
    });
    StaticProxies::new(reaches.collect())
}

/// Another one for each process: nobody outside can know which names share a bucket.
fn hash_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// The issuers' keys. Those that nobody has told us yet are waited for, a while: sessions that are live do without.
async fn keys(config: &Config, clock: Clock) -> Result<Keys, ServeError> {
    let (keys, task) = keys::start(Setup {
        clock,
        policy: config.admission_policy(),
        sources: config.key_sources.clone(),
        store: config.store.place.file().map(Into::into),
    })?;
    tokio::spawn(task);
    keys.settled(KEYS_WAIT).await;
    Ok(keys)
}

/// Tells the proxies' filters of other keys, as long as there are any.
async fn tell_filters(
    config: &Config,
    mut admission: watch::Receiver<Current>,
    controller: Controller,
) -> Result<(), serde_json::Error> {
    while admission.changed().await.is_ok() {
        let policy = Arc::clone(&admission.borrow_and_update().config);
        let configuration = filter::configuration(config, &policy)?;
        if controller.configure_filters(configuration).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Tells the proxies of other certificates, as long as there are any.
async fn tell_certificates(
    mut presented: watch::Receiver<Arc<Certificates>>,
    controller: Controller,
) {
    while presented.changed().await.is_ok() {
        let certificates = Arc::clone(&presented.borrow_and_update());
        if controller.present(certificates).await.is_err() {
            break;
        }
    }
}

/// The module as proxies are told of it.
fn module_for_proxies(config: &Config) -> Result<Module, ServeError> {
    let path = config.filter.module.clone();
    match config.filter.delivery {
        Delivery::File => Ok(Module::File(path)),
        Delivery::Inline => match std::fs::read(&path) {
            Ok(content) => Ok(Module::Inline(content.into())),
            Err(error) => Err(ServeError::Module { path, error }),
        },
    }
}

fn gateway(config: &Config, module: Module, configuration_json: String) -> Gateway {
    let listeners = config.listeners.iter().map(|listener| ListenerSpec {
        name: listener.name.clone(),
        address: listener.address,
        port: listener.port.get(),
    });
    let pools = config.pools.iter().map(|pool| PoolSpec {
        name: pool.name.to_string(),
        connect_timeout: config.timing.handshake_timeout,
        tls: pool.instance_tls.as_ref().map(|tls| tls.tls.clone()),
    });
    Gateway {
        listeners: listeners.collect(),
        certificates: config.tls.presented(),
        filter: FilterSpec {
            module,
            vm_id: "berth".to_owned(),
            configuration_json,
        },
        handshake_timeout: config.timing.handshake_timeout,
        pools: pools.collect(),
    }
}

/// How many calls a connection may have under way. A proxy may be the one behind every request that is held; with this it
/// still has room for what is answered at once, first of all its Syncs. More wait on the proxy's side, where they cost
/// this process nothing.
fn streams(config: &Config) -> u32 {
    let held = config.pools.iter().map(|pool| {
        let queue = pool.policy.queue.max(LEARNING_QUEUE);
        // Each instance may have an heir who waits for it.
        queue.saturating_add(pool.instances.len())
    });
    let held = held.fold(0, usize::saturating_add);
    u32::try_from(held)
        .unwrap_or(u32::MAX)
        .saturating_add(PASSING)
}

/// How many connections may wait to be taken in: all proxies come at once when a control plane is back, and who finds no
/// place here tries again a second later.
const BACKLOG: u32 = 4_096;

/// How long an agent may take to do as it is told before the runtime is restarted.
const AGENT_WITHIN: Duration = Duration::from_secs(10);

/// A proxy that is gone without a word is noticed after the two together.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);

/// A start waits no longer for keys that are not known.
const KEYS_WAIT: Duration = Duration::from_secs(5);

/// What is in flight when the process is told to stop has this long.
const GRACE: Duration = Duration::from_secs(1);

/// Calls of one connection that are answered at once, at once.
const PASSING: u32 = 256;

/// Probe results that wait for the controller; more hold the probes back.
const RESULTS: usize = 256;

/// A Sync lists every session of a VM, some hundred bytes each: room for a hundred thousand.
const MAX_MESSAGE: usize = 64 << 20;
