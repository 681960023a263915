//! Forty clients at once for two instances: how long until all were served, in what order, and whether alone.

mod crowd;
mod order;
mod sides;

use std::iter;

use berth_tests::HaProxy;

use crate::BenchError;
use crate::figure::Figure;
use crowd::{CLIENTS, KEPT, STAGGER, Visit};
use sides::{INSTANCES, SETTLE, Side, Sides, THREADS};

/// What one burst came to.
struct Burst {
    /// Milliseconds from the first request to the last client's goodbye answered.
    wall: f64,
    /// By how many of those who came later a client was overtaken, at most.
    overtaken: f64,
    /// Sessions at once on one instance, at most.
    at_once: f64,
    /// Sessions that began while another was live on the same instance.
    overlaps: f64,
}

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "placement, burst: {CLIENTS} users for {INSTANCES} emulated instances; each keeps its session for {KEPT:?}, then\n\
         closes it (RFC 6455 Close, which is its end: nothing to resume). {ROUNDS} rounds, sides in turn and back.\n\
         TLS on every side with the same certificate, its handshakes done before the clock starts; requests at least {STAGGER:?}\n\
         apart, in the order that admission is held against; from the first request to the last goodbye answered.\n\
         HAProxy {} with `maxconn 1` a server and no authentication; Envoy with Berth's filter: {THREADS} threads each.\n\
         Settle 0, and once its default of {SETTLE:?}. Two proxies share a port: the kernel deals the connections out.\n\
         Overtaken: by how many who had asked later, at most. Overlaps: by the instances' own records.",
        HaProxy::version().await?
    );
    let sides = Sides::start().await?;
    let mut rounds = Side::ALL.map(|_| Vec::new());
    for round in 0..=ROUNDS {
        let mut due: Vec<_> = iter::zip(Side::ALL, &mut rounds)
            .filter(|(side, _)| round % rounds_to_one(*side) == 0)
            .collect();
        // There and back: whatever the machine is busy with meets neighbours alike.
        if round % 2 == 1 {
            due.reverse();
        }
        for (side, bursts) in due {
            let burst = burst(&sides, side).await?;
            // The first round warms everything up.
            if round > 0 {
                bursts.push(burst);
            }
        }
    }
    Ok(figures(&rounds))
}

/// Pauses between sessions make a burst long.
const fn rounds_to_one(side: Side) -> usize {
    match side {
        Side::TwoEnvoysSettling => 4,
        _ => 1,
    }
}

async fn burst(sides: &Sides, side: Side) -> Result<Burst, BenchError> {
    let instances = sides.instances(side)?;
    let before: Vec<usize> = instances
        .iter()
        .map(|instance| instance.records().len())
        .collect();
    let visits = crowd::come(&sides.targets(side)?).await?;
    sides.quiet().await?;

    let (mut at_once, mut overlaps) = (0, 0);
    for (instance, before) in iter::zip(&instances, before) {
        let sessions = instance.records().into_iter().skip(before);
        let spans: Vec<_> = sessions
            .filter_map(|record| Some((record.from, record.end?.at)))
            .collect();
        at_once = at_once.max(order::most_at_once(&spans));
        overlaps += order::overlaps(&spans);
    }
    Ok(Burst {
        wall: crowd::wall(&visits).as_secs_f64() * 1000.0,
        overtaken: count(order::greatest_inversion(&arrivals(&visits))),
        at_once: count(at_once),
        overlaps: count(overlaps),
    })
}

fn arrivals(visits: &[Visit]) -> Vec<(tokio::time::Instant, tokio::time::Instant)> {
    let times = |visit: &Visit| (visit.asked, visit.admitted);
    visits.iter().map(times).collect()
}

/// Of clients: few enough for any number type.
fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

fn figures(rounds: &[Vec<Burst>; Side::ALL.len()]) -> Vec<Figure> {
    let [haproxy, berth, ..] = rounds;
    let paired = |figure: fn(&Burst, &Burst) -> f64| -> Vec<f64> {
        iter::zip(berth, haproxy)
            .map(|(berth, haproxy)| figure(berth, haproxy))
            .collect()
    };
    let mut figures = vec![
        Figure::lower(
            "burst, wall time, Berth to HAProxy",
            "x",
            &paired(|berth, haproxy| berth.wall / haproxy.wall),
        )
        .at_most(TARGET),
        Figure::lower(
            "burst, overtaken, Berth less HAProxy",
            "",
            &paired(|berth, haproxy| berth.overtaken - haproxy.overtaken),
        )
        .at_most(0.0),
    ];
    for (side, bursts) in iter::zip(Side::ALL, rounds) {
        let of = |what, unit, value: fn(&Burst) -> f64| {
            let values: Vec<f64> = bursts.iter().map(value).collect();
            Figure::lower(format!("burst, {what}, {}", side.name()), unit, &values)
        };
        let at_once = of("at once", "", |burst| burst.at_once);
        let overlaps = of("overlaps", "", |burst| burst.overlaps);
        figures.extend([
            of("wall time", " ms", |burst| burst.wall),
            of("overtaken", "", |burst| burst.overtaken),
        ]);
        figures.extend(if side.is_berth() {
            [at_once.never_above(1.0), overlaps.never_above(0.0)]
        } else {
            [at_once, overlaps]
        });
    }
    figures
}

const ROUNDS: usize = 20;
/// What Berth's wall time may be, as a multiple of HAProxy's.
const TARGET: f64 = 1.10;
/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
