//! Durable grants: the control plane's task with a store in a file, beside one that keeps nothing, beside the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
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

/// All sides, one after the other: a disk that others use too is not the same for long.
struct Round {
    durable: Pace,
    forgetful: Pace,
    /// Of a page at the end of a file, which the file system has to note as well.
    append: Pace,
    /// Of a page that is there already: the least there is.
    overwrite: Pace,
}

impl Round {
    async fn measure(at_once: u16, durable_first: bool, path: &Path) -> Result<Self, BenchError> {
        let file = || Box::new(RedbStore::new(path.with_extension("redb"), LIMITS));
        let memory = || Box::new(MemoryStore::new(LIMITS));
        let disk = async |pages: u64| {
            let path = path.with_extension("pages");
            let syncing = tokio::task::spawn_blocking(move || sync_pages(&path, pages));
            syncing
                .await
                .map_err(BenchError::Client)?
                .map_err(BenchError::File)
        };
        let (durable, overwrite, append, forgetful);
        if durable_first {
            durable = measure(at_once, file()).await?;
            overwrite = disk(OVERWRITTEN).await?;
            append = disk(u64::MAX).await?;
            forgetful = measure(at_once, memory()).await?;
        } else {
            forgetful = measure(at_once, memory()).await?;
            append = disk(u64::MAX).await?;
            overwrite = disk(OVERWRITTEN).await?;
            durable = measure(at_once, file()).await?;
        }
        Ok(Self {
            durable,
            forgetful,
            append,
            overwrite,
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
    let mut figures = vec![
        higher("durable grants and ends", "/s", &|it| it.durable.rate),
        higher("without a store", "/s", &|it| it.forgetful.rate),
        higher("grants and ends to fdatasyncs", "x", &|it| {
            it.durable.rate / it.overwrite.rate
        }),
        lower("durable grant, p50", " ms", &|it| it.durable.p50),
        lower("durable grant, p99", " ms", &|it| it.durable.p99),
        lower("without a store, p50", " ms", &|it| it.forgetful.p50),
        lower("without a store, p99", " ms", &|it| it.forgetful.p99),
        lower("durable grant to fdatasync, p50", "x", &|it| {
            it.durable.p50 / it.overwrite.p50
        }),
    ];
    if at_once == 1 {
        let disk = |name: &str, unit, value: &dyn Fn(&Round) -> f64| {
            Figure::higher(format!("fdatasync of {name}"), unit, &each(value))
        };
        figures.extend([
            disk("a page", "/s", &|it| it.overwrite.rate),
            disk("an appended page", "/s", &|it| it.append.rate),
            Figure::lower(
                "fdatasync of a page, p50",
                " ms",
                &each(&|it| it.overwrite.p50),
            ),
            Figure::lower(
                "fdatasync of a page, p99",
                " ms",
                &each(&|it| it.overwrite.p99),
            ),
        ]);
    }
    figures
}

/// How fast a side is: how many in a second, and how long one takes, in milliseconds.
struct Pace {
    rate: f64,
    p50: f64,
    p99: f64,
}

impl Pace {
    fn new(mut times: Vec<f64>, lasted: Duration) -> Self {
        times.sort_by(f64::total_cmp);
        let count = u32::try_from(times.len()).unwrap_or(u32::MAX);
        Self {
            rate: f64::from(count) / lasted.as_secs_f64(),
            p50: percentile(&times, 50),
            p99: percentile(&times, 99),
        }
    }
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
    let lasted = clock_now().duration_since(began);
    side.stop().await?;
    Ok(Pace::new(times, lasted))
}

/// One filter VM that has a session granted and ended, again and again. How long each grant took.
async fn call(controller: Controller, caller: u16, began: Instant) -> Result<Vec<f64>, BenchError> {
    let mut times = Vec::new();
    let mut sequence = 0;
    while clock_now().duration_since(began) < LASTS {
        sequence += 2;
        let acquire = acquire(caller, sequence);
        let (session, mut origin) = (acquire.session.clone(), acquire.origin.clone());
        let asked = clock_now();
        let placed = controller.acquire(acquire).await?;
        times.push(milliseconds(asked));
        let placed = placed.map_err(|_| BenchError::Side("the control plane"))?;
        origin.sequence += 1;
        let ended = Sync {
            origin,
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

fn acquire(caller: u16, sequence: u64) -> Acquire {
    Acquire {
        origin: Origin {
            node: NODE.into(),
            vm: format!("vm-{caller}").into(),
            sequence,
        },
        session: format!("session-{caller}-{sequence}").into(),
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
    }
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

/// Writes one page after the other, beginning again after so many, and has each on the disk before the next.
fn sync_pages(path: &Path, pages: u64) -> std::io::Result<Pace> {
    let file = File::create(path)?;
    if pages == OVERWRITTEN {
        file.write_all_at(&[0; PAGE * OVERWRITTEN as usize], 0)?;
        file.sync_all()?;
    }
    let (began, mut times) = (clock_now(), Vec::new());
    for page in 0.. {
        if clock_now().duration_since(began) >= LASTS {
            break;
        }
        let asked = clock_now();
        file.write_all_at(&[7; PAGE], page % pages * PAGE as u64)?;
        file.sync_data()?;
        times.push(milliseconds(asked));
    }
    Ok(Pace::new(times, clock_now().duration_since(began)))
}

fn milliseconds(since: Instant) -> f64 {
    clock_now().duration_since(since).as_secs_f64() * 1000.0
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn clock_now() -> Instant {
    Instant::now()
}

const AT_ONCE: [u16; 3] = [1, 8, 64];
const ROUNDS: usize = 15;
/// Of one side in one round.
const LASTS: Duration = Duration::from_millis(400);
const INSTANCES: u16 = 256;
const LIMITS: HistoryLimits = HistoryLimits::DEFAULT;
const NODE: &str = "edge-1";
const POOL: &str = "web";
const PAGE: usize = 4096;
const OVERWRITTEN: u64 = 64;
