//! Durable grants: the control plane's task with a store in a file, beside one that keeps nothing, beside the disk.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use berth::clock::{self, Clock};
use berth::controller::{self, Controller, Durability, Parts};
use berth::fleet::{self, Fleet};
use berth::placement::{
    Acquire, EndCause, InstanceSpec, Labels, Origin, Owner, Placement, PoolPolicy, Priority,
    ReportedEnd, Sync, Timing, User,
};
use berth::store::writer::{Progress, Writer};
use berth::store::{HistoryLimits, MemoryStore, RedbStore, Stamp, Store};
use berth::tls::Denials;
use berth::xds::{
    Certificate, Certificates, FilterSpec, Gateway, Generator, Module, PoolSpec, Profiles,
    XdsServer,
};
use berth_admission::Family;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

use crate::BenchError;
use crate::figure::{Figure, percentile};

pub(crate) async fn run() -> Result<Vec<Figure>, BenchError> {
    // Where the build is: a temporary folder may be in memory.
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target");
    let folder = tempfile::tempdir_in(folder)?;
    let mut figures = Vec::new();
    for at_once in AT_ONCE {
        let mut rounds = Vec::new();
        for round in 0..ROUNDS {
            let path = folder.path().join(format!("{at_once}-{round}"));
            rounds.push(Round::measure(at_once, &path).await?);
        }
        figures.extend(of_rounds(at_once, &rounds));
    }
    Ok(figures)
}

struct Round {
    durable: Pace,
    forgetful: Pace,
    /// Of a page at the end of a file, which the file system has to note as well.
    append: Pace,
    /// Of a page that is there already: the least there is.
    overwrite: Pace,
    /// Commits for one grant and its end.
    commits: f64,
}

impl Round {
    /// A disk that others use too is many times as fast in one moment as in the next. So its sides take short turns,
    /// each comes after each other one equally often, and before each the disk has had the same rest, in which the
    /// store has done what it leaves for later.
    async fn measure(at_once: u16, path: &Path) -> Result<Self, BenchError> {
        let store = RedbStore::new(path.with_extension("redb"), LIMITS);
        let durable = Side::start(Box::new(store))?;
        let mut grants = Taken::default();
        let mut overwrite = Pages::new(&path.with_extension("overwritten"), OVERWRITTEN)?;
        let mut append = Pages::new(&path.with_extension("appended"), u64::MAX)?;
        for turn in 0..TURNS {
            for place in 0..3 {
                tokio::time::sleep(REST).await;
                // Forwards and backwards in turn, each time from another one on.
                let at = if turn % 2 == 0 { place } else { 2 - place };
                match (at + turn / 2) % 3 {
                    0 => grants.add(durable.turn(at_once, turn, TURN).await?),
                    1 => overwrite = overwrite.turn().await?,
                    _ => append = append.turn().await?,
                }
            }
        }
        let commits = durable.progress.borrow().commits;
        durable.stop().await?;
        let commits = count(commits) / count(grants.times.len());
        // A lone caller's grant and its end cannot share a commit: fewer than two, and one was not waited for.
        if at_once == 1 && commits < 2.0 {
            return Err(BenchError::Side("a store that had not written it"));
        }
        let forgetful = Side::start(Box::new(MemoryStore::new(LIMITS)))?;
        let without = forgetful.turn(at_once, 0, TURN * TURNS).await?;
        forgetful.stop().await?;
        Ok(Self {
            durable: grants.pace(),
            forgetful: without.pace(),
            append: append.taken.pace(),
            overwrite: overwrite.taken.pace(),
            commits,
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
    let ratio = higher("grants and ends to fdatasyncs", "x", &|it| {
        it.durable.rate / it.overwrite.rate
    });
    // A lone caller's pair is two commits of an fdatasync each. Where more than half a pair fits into one, the machine
    // was too busy to compare the two, and only the number of commits says something.
    let ratio = if at_once == 1 {
        ratio.at_most(0.5)
    } else {
        ratio
    };
    vec![
        higher("durable grants and ends", "/s", &|it| it.durable.rate),
        higher("without a store", "/s", &|it| it.forgetful.rate),
        higher("fdatasyncs beside", "/s", &|it| it.overwrite.rate),
        higher("fdatasyncs of an append beside", "/s", &|it| it.append.rate),
        ratio,
        lower("commits for a grant and its end", "", &|it| it.commits),
        lower("durable grant, p50", " ms", &|it| it.durable.p50),
        lower("durable grant, p99", " ms", &|it| it.durable.p99),
        lower("without a store, p50", " ms", &|it| it.forgetful.p50),
        lower("without a store, p99", " ms", &|it| it.forgetful.p99),
        lower("fdatasync beside, p50", " ms", &|it| it.overwrite.p50),
        lower("fdatasync beside, p99", " ms", &|it| it.overwrite.p99),
    ]
}

/// How fast a side is: how many in a second, and how long one takes, in milliseconds.
struct Pace {
    rate: f64,
    p50: f64,
    p99: f64,
}

/// How long each took, in milliseconds, and all of them.
#[derive(Default)]
struct Taken {
    times: Vec<f64>,
    lasted: Duration,
}

impl Taken {
    fn add(&mut self, more: Self) {
        self.times.extend(more.times);
        self.lasted += more.lasted;
    }

    fn pace(mut self) -> Pace {
        self.times.sort_by(f64::total_cmp);
        Pace {
            rate: count(self.times.len()) / self.lasted.as_secs_f64(),
            p50: percentile(&self.times, 50),
            p99: percentile(&self.times, 99),
        }
    }
}

fn count(number: impl TryInto<u32>) -> f64 {
    number.try_into().map_or(f64::NAN, f64::from)
}

/// One filter VM that has a session granted and ended, again and again. How long each grant took.
async fn call(
    controller: Controller,
    caller: u16,
    mut sequence: u64,
    until: Instant,
) -> Result<Vec<f64>, BenchError> {
    let mut times = Vec::new();
    while clock_now() < until {
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
        token_id: None,
    }
}

/// A control plane's task with its store, without anything around it.
struct Side {
    controller: Controller,
    task: JoinHandle<controller::Ended>,
    writer: Writer,
    progress: watch::Receiver<Progress>,
}

impl Side {
    fn start(mut store: Box<dyn Store>) -> Result<Self, BenchError> {
        let clock = Clock::start();
        store.load(Stamp {
            now: clock.now(),
            unix: clock::unix_millis(),
        })?;
        let (writer, journal, progress) = Writer::start(store, 1, clock)?;
        let (xds, nodes) = XdsServer::new(Profiles::default(), 8);
        // There are no probes: its instances are up from the start.
        let (_, probes) = mpsc::channel(1);
        let (controller, task) = controller::run(Parts {
            certificates: watch::channel(Arc::default()).1,
            clock,
            denials: Denials::new(clock),
            durability: Durability {
                journal,
                progress: progress.clone(),
                complete: true,
            },
            fleet: fleet(),
            families: [(POOL.into(), Family::Web)].into(),
            generator: Generator::new(gateway(), &Profiles::default())?,
            keys: watch::channel(Arc::default()).1,
            nodes,
            placement: placement(clock),
            probes,
            static_proxies: Default::default(),
            xds,
        })?;
        Ok(Self {
            controller,
            task: tokio::spawn(task),
            writer,
            progress,
        })
    }

    /// So many callers at once, for so long.
    async fn turn(&self, at_once: u16, turn: u32, length: Duration) -> Result<Taken, BenchError> {
        let began = clock_now();
        // A VM's numbers grow from one turn to the next.
        let sequence = u64::from(turn) << 32;
        let mut callers = JoinSet::new();
        for caller in 0..at_once {
            let controller = self.controller.clone();
            callers.spawn(call(controller, caller, sequence, began + length));
        }
        let mut times = Vec::new();
        while let Some(done) = callers.join_next().await {
            times.extend(done.map_err(BenchError::Client)??);
        }
        let lasted = clock_now().duration_since(began);
        Ok(Taken { times, lasted })
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
    let all: Vec<_> = names().map(Into::into).collect();
    placement.change_reach(now, &NODE.into(), &all, &[]);
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
        certificates: Certificates {
            default: Certificate {
                chain_pem: String::new(),
                private_key_pem: String::new(),
            },
            by_sni: Vec::new(),
            client_ca_pem: None,
        },
        filter: FilterSpec {
            module: Module::File("/berth_filter.wasm".into()),
            vm_id: "berth".to_owned(),
            configuration_json: "{}".to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![PoolSpec {
            name: POOL.to_owned(),
            connect_timeout: Duration::from_secs(5),
            tls: None,
        }],
    }
}

/// A file whose pages are written one after the other, each on the disk before the next.
struct Pages {
    file: File,
    /// After so many it begins again.
    pages: u64,
    next: u64,
    taken: Taken,
}

impl Pages {
    fn new(path: &Path, pages: u64) -> Result<Self, BenchError> {
        let file = File::create(path)?;
        if pages == OVERWRITTEN {
            for page in 0..pages {
                file.write_all_at(&[0; PAGE], page * PAGE as u64)?;
            }
            file.sync_all()?;
        }
        Ok(Self {
            file,
            pages,
            next: 0,
            taken: Taken::default(),
        })
    }

    async fn turn(mut self) -> Result<Self, BenchError> {
        let writing = tokio::task::spawn_blocking(move || {
            let began = clock_now();
            while clock_now().duration_since(began) < TURN {
                let asked = clock_now();
                let at = self.next % self.pages * PAGE as u64;
                self.file.write_all_at(&[7; PAGE], at)?;
                self.file.sync_data()?;
                self.taken.times.push(milliseconds(asked));
                self.next += 1;
            }
            self.taken.lasted += clock_now().duration_since(began);
            Ok(self)
        });
        writing.await.map_err(BenchError::Client)?
    }
}

fn milliseconds(since: Instant) -> f64 {
    clock_now().duration_since(since).as_secs_f64() * 1000.0
}

#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
fn clock_now() -> Instant {
    Instant::now()
}

const AT_ONCE: [u16; 3] = [1, 8, 64];
const ROUNDS: u32 = 8;
/// Of each side that uses the disk, in a round: as often in each place.
const TURNS: u32 = 12;
const TURN: Duration = Duration::from_millis(40);
/// Longer than it takes a store to find that nothing happens, and to seal its file.
const REST: Duration = Duration::from_millis(100);
const INSTANCES: u16 = 256;
const LIMITS: HistoryLimits = HistoryLimits::DEFAULT;
const NODE: &str = "edge-1";
const POOL: &str = "web";
const PAGE: usize = 4096;
const OVERWRITTEN: u64 = 64;
