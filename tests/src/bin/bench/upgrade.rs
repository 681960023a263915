//! What admission and placement add to an upgrade.

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use berth_client::{ConnectError, Family, Target, connect};
use berth_tests::{Ports, World};
use tokio::time::Instant;

use crate::BenchError;
use crate::beside::{self, Filters};
use crate::figure::{Figure, percentile};

/// The times of one side, in milliseconds: of each round, in the order in which they were taken.
pub(crate) struct Side {
    pub(crate) name: &'static str,
    proxy: SocketAddr,
    /// Whether it looks at tokens.
    guarded: bool,
    rounds: Vec<Vec<f64>>,
}

pub(crate) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!("upgrade: {}", how());
    let world = world().await?;
    let mut ports = Ports::new();
    let kinds = [Filters::Bare, Filters::JwtAuthn];
    let [bare, jwt_authn] = beside::add(&world, &mut ports, kinds).await?;
    let mut all = Vec::new();
    for (when, pause) in PAUSES {
        let mut sides = [
            Side::new("Berth", world.https(), true),
            Side::new("bare Envoy", bare, false),
            Side::new("jwt_authn", jwt_authn, true),
        ];
        measure(&world, &mut sides, pause).await?;
        let [berth, bare, jwt_authn] = &sides;
        all.extend(figures(berth, bare, jwt_authn, when));
    }
    Ok(all)
}

/// How [`measure`] goes about it in a [`world`].
pub(crate) fn how() -> String {
    format!(
        "from TCP connect to the parsed 101, a TLS connection of its own each, one after another.\n\
         {ROUNDS} rounds of {UPGRADES} upgrades a side, sides in turn; one Envoy with --concurrency {WORKERS};\n\
         first each at the end of the one before, then {PAUSE:?} later;\n\
         {INSTANCES} emulated instances; settle 0, resume window 0; RS256; p99 over every {BLOCK} rounds."
    )
}

/// In which nobody waits for an instance.
pub(crate) async fn world() -> Result<World, BenchError> {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            // No pause between sessions, no window. Probes are rare: they are not what is measured.
            let pool = pool
                .instances(INSTANCES)
                .settle(Duration::ZERO)
                .resume_window(Duration::ZERO);
            pool.probe(Duration::from_secs(30), 1, 3)
        })
        .envoy_workers(WORKERS)
        .envoy_log_level("warning")
        .start();
    Ok(world.await?)
}

/// Fills the sides' rounds, once each is what it says.
pub(crate) async fn measure(
    world: &World,
    sides: &mut [Side],
    pause: Duration,
) -> Result<(), BenchError> {
    for side in &*sides {
        side.check(world).await?;
    }
    for round in 0..=ROUNDS {
        // Every upgrade is another user's: none of them is somebody's second device.
        let requests =
            (0..UPGRADES).map(|number| request(world, &format!("user-{round}-{number}")));
        let requests = requests.collect::<Result<Vec<_>, _>>()?;
        // Each side comes first as often as the others.
        let (last, first) = sides.split_at_mut(round % sides.len());
        for side in first.iter_mut().chain(last) {
            let mut times = Vec::new();
            for request in &requests {
                times.push(upgrade(&request.clone().connect_to(side.proxy)).await?);
                tokio::time::sleep(pause).await;
            }
            // The first round warms everything up.
            if round > 0 {
                side.rounds.push(times);
            }
        }
    }
    Ok(())
}

fn request(world: &World, subject: &str) -> Result<Target, BenchError> {
    let client = world.client("web")?.subject(subject).path(PATH);
    Ok(client.target()?)
}

/// Milliseconds from the TCP connection's beginning to the parsed 101.
async fn upgrade(target: &Target) -> Result<f64, BenchError> {
    let start = Instant::now();
    let session = connect(target).await.map_err(Box::new)?;
    let took = start.elapsed();
    session.close(NORMAL_CLOSURE, "").await?;
    Ok(took.as_secs_f64() * 1000.0)
}

fn figures(berth: &Side, bare: &Side, jwt_authn: &Side, when: &str) -> Vec<Figure> {
    let ratio = |over: &Side, percent, block| {
        let (ours, theirs) = (
            berth.percentiles(percent, block),
            over.percentiles(percent, block),
        );
        let ratios: Vec<f64> = iter::zip(ours, theirs)
            .map(|(ours, theirs)| ours / theirs)
            .collect();
        Figure::lower(
            format!("p{percent}, Berth to {}{when}", over.name),
            "x",
            &ratios,
        )
    };
    let mut figures = vec![
        ratio(bare, 50, 1).at_most(TARGET),
        ratio(bare, 99, BLOCK),
        ratio(jwt_authn, 50, 1),
        ratio(jwt_authn, 99, BLOCK),
    ];
    for side in [berth, bare, jwt_authn] {
        for (percent, block) in [(50, 1), (99, BLOCK)] {
            let name = format!("p{percent}, {}{when}", side.name);
            figures.push(Figure::lower(
                name,
                " ms",
                &side.percentiles(percent, block),
            ));
        }
    }
    figures
}

impl Side {
    pub(crate) fn new(name: &'static str, proxy: SocketAddr, guarded: bool) -> Self {
        Self {
            name,
            proxy,
            guarded,
            rounds: Vec::new(),
        }
    }

    /// Whether it is what it says: a client without a token is let in or not.
    async fn check(&self, world: &World) -> Result<(), BenchError> {
        let client = world.client("web")?.without_token().path(PATH);
        let seen = match connect(&client.target()?.connect_to(self.proxy)).await {
            Ok(session) => session.close(NORMAL_CLOSURE, "").await.map(|_| false)?,
            // Not 401 alone: what Berth's listener makes of another filter's refusal is 400.
            Err(ConnectError::Refused {
                status: 400..=499, ..
            }) => true,
            Err(error) => return Err(Box::new(error).into()),
        };
        if seen == self.guarded {
            Ok(())
        } else {
            Err(BenchError::Side(self.name))
        }
    }

    /// The percentile of every `block` rounds taken together.
    pub(crate) fn percentiles(&self, percent: usize, block: usize) -> Vec<f64> {
        let blocks = self.rounds.chunks(block).map(|rounds| {
            let mut times = rounds.concat();
            times.sort_by(f64::total_cmp);
            percentile(&times, percent)
        });
        blocks.collect()
    }
}

/// Long enough for the proxy to be done with the end of one upgrade before the next; without it that is in the way,
/// and belongs to what many clients at once meet.
const PAUSE: Duration = Duration::from_millis(3);

/// What is said of each figure, and how long after the end of the upgrade before the next one begins.
pub(crate) const PAUSES: [(&str, Duration); 2] =
    [("", Duration::ZERO), (" (on an idle proxy)", PAUSE)];

const ROUNDS: usize = 60;
const UPGRADES: usize = 40;
/// Rounds whose samples make one p99: of 40 it would be their maximum.
pub(crate) const BLOCK: usize = 10;
/// Enough that nobody ever waits for one.
const INSTANCES: u16 = 64;
const WORKERS: u16 = 1;
/// What an upgrade through Berth may cost, as a multiple of the bare Envoy's.
const TARGET: f64 = 1.5;
/// Of every side: Berth's default pool of the family, and what an instance is asked for.
const PATH: &str = "/sign_in";
/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
