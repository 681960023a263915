//! Durable grants: the control plane's task with a store in a file, beside one that keeps nothing, beside the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use berth::clock::{self, Clock};
use berth::controller::{self, Controller, Durability, Parts};
use berth::fleet::{self, Fleet};
use berth::placement::{
    Acquire, EndCause, InstanceSpec, Labels, Origin, Owner, Placement, PoolPolicy, Priority,
    ReportedEnd, Sync, Timing, User,
};
use berth::store::writer::Writer;
use berth::store::{HistoryLimits, MemoryStore, RedbStore, Stamp, Store};
use berth::xds::{Certificate, FilterSpec, Gateway, PoolSpec, XdsServer};
use berth_admission::Family;
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

use crate::BenchError;
use crate::figure::{Figure, percentile};

pub(crate) async fn run() -> Result<Vec<Figure>, BenchError> {
    // Where the build is: a temporary folder may be in memory.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = tempfile::tempdir_in(folder)?;
    let mut rounds: Vec<Vec<Round>> = AT_ONCE.iter().map(|_| Vec::new()).collect();
    for round in 0..ROUNDS {
        for (at_once, rounds) in AT_ONCE.iter().zip(&mut rounds) {
            let path = folder.path().join(format!("{round}-{at_once}"));
            rounds.push(Round::measure(*at_once, round % 2 == 0, &path).await?);
        }
    }
    let figures = AT_ONCE.iter().zip(&rounds);
    Ok(figures
        .flat_map(|(at_once, rounds)| of_rounds(*at_once, rounds))
        .collect())
}

/// All sides, one after the other.
struct Round {
    durable: Pace,
    forgetful: Pace,
    /// Appends of a page, each followed by an fdatasync, in a second.
    syncs: f64,
}

impl Round {
    async fn measure(at_once: u16, durable_first: bool, path: &Path) -> Result<Self, BenchError> {
        let file = || Box::new(RedbStore::new(path.with_extension("redb"), LIMITS));
        let memory = || Box::new(MemoryStore::new(LIMITS));
        let raw = path.with_extension("raw");
        let (durable, syncs, forgetful);
        if durable_first {
            durable = measure(at_once, file()).await?;
            syncs = measure_syncs(raw).await?;
            forgetful = measure(at_once, memory()).await?;
        } else {
            forgetful = measure(at_once, memory()).await?;
            syncs = measure_syncs(raw).await?;
            durable = measure(at_once, file()).await?;
        }
        Ok(Self {
            durable,
            forgetful,
            syncs,
        })
    }
}

fn of_rounds(at_once: u16, rounds: &[Round]) -> Vec<Figure> {
    let each = |value: &dyn Fn(&Round) -> f64| rounds.iter().map(value).collect::<Vec<_>>();
    let lower = |name: &str, unit, value: &dyn Fn(&Round) -> f64| {
        Figure::lower(format!("{name}, {at_once} at once"), unit, &each(value))
    };
    let higher = |name: &str, unit, value: &dyn Fn(&Round) -> f64| {
        Figure::higher(format!("{name}, {at_once} at once"), unit, &each(value))
    };
    vec![
        higher("durable grants and ends", "/s", &|round| round.durable.rate),
        higher("the same without a store", "/s", &|round| {
            round.forgetful.rate
        }),
        higher("the disk's fdatasyncs", "/s", &|round| round.syncs),
        higher("durable grants in an fdatasync", "", &|round| {
            round.durable.rate / round.syncs
        }),
        lower("durable grant, p50", " ms", &|round| round.durable.p50),
        lower("durable grant, p99", " ms", &|round| round.durable.p99),
        lower("grant without a store, p50", " ms", &|round| {
            round.forgetful.p50
        }),
        lower("grant without a store, p99", " ms", &|round| {
            round.forgetful.p99
        }),
        lower("durable grant, p50, in fdatasyncs", "x", &|round| {
            round.durable.p50 * round.syncs / 1000.0
        }),
    ]
}

/// How fast a side is: pairs a second, and how long a grant takes, in milliseconds.
struct Pace {
    rate: f64,
    p50: f64,
    p99: f64,
}

async fn measure(at_once: u16, store: Box<dyn Store>) -> Result<Pace, BenchError> {
    let side = Side::start(store)?;
    let began = clock_now();
    let mut callers = JoinSet::new();
    for caller in 0..at_once {
        callers.spawn(call(side.controller.clone(), caller, began));
    }
    let mut times = Vec::new();
    while let Some(done) = callers.join_next().await {
        times.extend(done.map_err(BenchError::Client)??);
    }
    let lasted = clock_now().duration_since(began).as_secs_f64();
    side.stop().await?;
    let rate = f64::from(u32::try_from(times.len()).unwrap_or(u32::MAX)) / lasted;
    times.sort_by(f64::total_cmp);
    Ok(Pace {
        rate,
        p50: percentile(&times, 50),
        p99: percentile(&times, 99),
    })
}

/// One filter VM that has a session granted and ended, again and again. How long each grant took.
async fn call(controller: Controller, caller: u16, began: Instant) -> Result<Vec<f64>, BenchError> {
    let mut times = Vec::new();
    let mut sequence = 0;
    while clock_now().duration_since(began) < LASTS {
        let mut origin = || {
            sequence += 1;
            Origin {
                node: NODE.into(),
                vm: format!("vm-{caller}").into(),
                sequence,
            }
        };
        let acquire = Acquire {
            origin: origin(),
            session: format!("session-{caller}-{}", times.len()).into(),
            pool: POOL.into(),
            owner: Owner {
                user: User {
                    issuer: "https://login.example".into(),
                    subject: format!("user-{caller}").into(),
                },
                tenant: "".into(),
                resume_key: None,
            },
            client_address: "192.0.2.7".into(),
            priority: Priority::default(),
            labels: Labels::default(),
        };
        let session = acquire.session.clone();
        let asked = clock_now();
        let placed = controller.acquire(acquire).await?;
        times.push(clock_now().duration_since(asked).as_secs_f64() * 1000.0);
        let placed = placed.map_err(|_| BenchError::Side("the control plane"))?;
        let ended = Sync {
            origin: origin(),
            sessions: Some(Vec::new()),
            ended: vec![ReportedEnd {
                session,
                fence: Some(placed.grant.fence),
                cause: EndCause::Instance,
            }],
        };
        controller.sync(ended).await?;
    }
    Ok(times)
}

/// A control plane's task with its store, without anything around it.
struct Side {
    controller: Controller,
    task: JoinHandle<controller::Ended>,
    writer: Writer,
}

impl Side {
    fn start(mut store: Box<dyn Store>) -> Result<Self, BenchError> {
        let clock = Clock::start();
        store.load(Stamp {
            now: clock.now(),
            unix: clock::unix_millis(),
        })?;
        let (writer, journal, progress) = Writer::start(store, 1, clock)?;
        let (xds, nodes) = XdsServer::new();
        // There are no probes: its instances are up from the start.
        let (_, probes) = mpsc::channel(1);
        let (controller, task) = controller::run(Parts {
            clock,
            durability: Durability {
                journal,
                progress,
                complete: true,
            },
            fleet: fleet(),
            families: [(POOL.into(), Family::Web)].into(),
            gateway: gateway(),
            nodes,
            placement: placement(clock),
            probes,
            xds,
        })?;
        Ok(Self {
            controller,
            task: tokio::spawn(task),
            writer,
        })
    }

    async fn stop(self) -> Result<(), BenchError> {
        drop(self.controller);
        self.task.await.map_err(BenchError::Client)?;
        let stopped = tokio::task::spawn_blocking(|| self.writer.stop()).await;
        Ok(stopped.map_err(BenchError::Client)??)
    }
}

fn names() -> impl Iterator<Item = String> {
    (0..INSTANCES).map(|number| format!("instance-{number}"))
}

fn placement(clock: Clock) -> Placement {
    let now = clock.now();
    let timing = Timing {
        agent_within: Duration::from_secs(10),
        learn_for: Duration::ZERO,
        reserve_for: Duration::from_secs(60),
        silent_after: Duration::from_secs(60),
    };
    let mut placement = Placement::new(timing, 1, 1, now);
    let policy = PoolPolicy {
        resume_window: Duration::ZERO,
        settle: Duration::ZERO,
        ..PoolPolicy::default()
    };
    placement.set_pool(now, POOL.into(), policy);
    for name in names() {
        let spec = InstanceSpec {
            name: name.as_str().into(),
            pool: POOL.into(),
            host: name.as_str().into(),
            zone: None,
            labels: Labels::default(),
            agent: false,
        };
        placement.add_instance(now, spec);
        placement.set_up(now, &name.into(), true);
    }
    let all = names().map(Into::into).collect();
    placement.set_reach(now, NODE.into(), all);
    placement.advance(now);
    placement
}

fn fleet() -> Fleet {
    let instances = (1..).zip(names()).map(|(port, name)| fleet::InstanceSpec {
        name: name.into(),
        pool: POOL.into(),
        address: ([192, 0, 2, 1], port).into(),
        thresholds: fleet::Thresholds {
            rise: std::num::NonZero::<u32>::MIN,
            fall: std::num::NonZero::<u32>::MIN,
        },
    });
    Fleet::new(instances)
}

fn gateway() -> Gateway {
    Gateway {
        listeners: Vec::new(),
        certificate: Certificate {
            chain_pem: String::new(),
            private_key_pem: String::new(),
        },
        filter: FilterSpec {
            module_path: "/berth_filter.wasm".into(),
            vm_id: "berth".to_owned(),
            configuration_json: "{}".to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![PoolSpec {
            name: POOL.to_owned(),
            connect_timeout: Duration::from_secs(5),
            clusters: Vec::new(),
        }],
    }
}

async fn measure_syncs(path: PathBuf) -> Result<f64, BenchError> {
    let syncing = tokio::task::spawn_blocking(move || append(&path));
    Ok(syncing.await.map_err(BenchError::Client)??)
}

fn append(path: &Path) -> std::io::Result<f64> {
    let file = File::create(path)?;
    let began = clock_now();
    let mut pages = 0_u32;
    while clock_now().duration_since(began) < LASTS {
        file.write_all_at(&[7; PAGE], u64::from(pages) * PAGE as u64)?;
        file.sync_data()?;
        pages += 1;
    }
    Ok(f64::from(pages) / clock_now().duration_since(began).as_secs_f64())
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn clock_now() -> Instant {
    Instant::now()
}

const AT_ONCE: [u16; 3] = [1, 8, 64];
const ROUNDS: usize = 5;
/// Of one side in one round.
const LASTS: Duration = Duration::from_secs(2);
const INSTANCES: u16 = 256;
const LIMITS: HistoryLimits = HistoryLimits::DEFAULT;
const NODE: &str = "edge-1";
const POOL: &str = "web";
const PAGE: usize = 4096;
