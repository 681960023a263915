//! What a session costs once it is let in: nothing in the VM, and what of Envoy's time.

use std::iter;
use std::net::SocketAddr;
use std::time::Duration;

use berth_client::{Family, Message, Session, connect};
use berth_tests::{Envoy, Ports, World};

use crate::BenchError;
use crate::beside::{self, Filters};
use crate::figure::Figure;

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "admission, relay: a message of {SIZE} bytes to the instance and the same back, one after another over TLS, by one\n\
         worker. {ROUNDS} rounds of {MESSAGES} messages a side, in turn; each round a session of its own.\n\
         Entries: what Envoy's trace of its VMs shows of entries while {TRACED} messages pass, but for the ticks and the\n\
         answers to their Syncs. With the body callbacks: the module as it was built, before the callbacks are taken out,\n\
         and with the capability to be called for them."
    );
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(2).settle(Duration::ZERO);
            let pool = pool.resume_window(Duration::ZERO);
            pool.probe(Duration::from_secs(30), 1, 3)
        })
        .envoy_workers(1)
        .start()
        .await?;
    let mut ports = Ports::new();
    let kinds = [Filters::Bare, Filters::WithBodies];
    let [bare, bodies] = beside::add(&world, &mut ports, kinds).await?;
    let sides = [world.https(), bare, bodies];
    let envoy = world.envoy(0)?;

    let mut costs: [Vec<f64>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let mut turns: Vec<_> = sides.iter().zip(&mut costs).collect();
        turns.rotate_left(round % sides.len());
        for (address, costs) in turns {
            let cost = cost(&world, envoy, *address).await?;
            // The first round warms everything up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    let mut entries = Vec::new();
    for address in [world.https(), bodies] {
        entries.push(traced(&world, envoy, address).await?);
    }

    let [berth, bare, bodies] = &costs;
    let ratios = |ours: &[f64]| {
        let pairs = iter::zip(ours, bare);
        pairs.map(|(ours, bare)| ours / bare).collect::<Vec<_>>()
    };
    let mut figures = Vec::new();
    for (name, entries) in iter::zip(["Berth", "Berth with body callbacks"], entries) {
        let figure = Figure::lower(format!("entries a message, {name}"), "", &[entries]);
        figures.push(if name == "Berth" {
            figure.never_above(0.0)
        } else {
            figure
        });
    }
    figures.extend([
        Figure::lower("worker's CPU a message, Berth to bare", "x", &ratios(berth)),
        Figure::lower("the same with body callbacks", "x", &ratios(bodies)),
        Figure::lower("worker's CPU a message, Berth", " us", berth),
        Figure::lower("worker's CPU a message, bare Envoy", " us", bare),
    ]);
    Ok(figures)
}

/// Microseconds of the worker for each message.
async fn cost(world: &World, envoy: &Envoy, address: SocketAddr) -> Result<f64, BenchError> {
    let mut session = open(world, address).await?;
    exchange(&mut session, WARM).await?;
    let before = envoy.worker_time()?;
    exchange(&mut session, MESSAGES).await?;
    let time = envoy.worker_time()?.saturating_sub(before);
    session.close(NORMAL_CLOSURE, "").await?;
    Ok(time.as_secs_f64() * 1e6 / f64::from(MESSAGES))
}

/// Entries into VMs for each message.
async fn traced(world: &World, envoy: &Envoy, address: SocketAddr) -> Result<f64, BenchError> {
    let mut session = open(world, address).await?;
    exchange(&mut session, WARM).await?;
    envoy.set_log_level("wasm", "trace").await?;
    let before = envoy.log().len();
    exchange(&mut session, TRACED).await?;
    let log = envoy.log().split_off(before);
    envoy.set_log_level("wasm", "info").await?;
    session.close(NORMAL_CLOSURE, "").await?;
    let entries = log
        .lines()
        .filter_map(|line| line.split_once("[host->vm] "));
    let of_its_own = |(_, entry): &(&str, &str)| !OTHERS.iter().any(|it| entry.starts_with(it));
    let count = u32::try_from(entries.filter(of_its_own).count()).unwrap_or(u32::MAX);
    Ok(f64::from(count) / f64::from(TRACED))
}

async fn open(world: &World, address: SocketAddr) -> Result<Session, BenchError> {
    let client = world.client("web")?.path("/sign_in");
    let target = client.target()?.connect_to(address);
    Ok(connect(&target).await.map_err(Box::new)?)
}

/// So many messages, half of them the client's.
async fn exchange(session: &mut Session, messages: u32) -> Result<(), BenchError> {
    let message = Message::text("m".repeat(SIZE));
    for _ in 0..messages / 2 {
        session.send(message.clone()).await?;
        session.receive_data().await?;
    }
    Ok(())
}

const SIZE: usize = 64;
const ROUNDS: usize = 12;
const MESSAGES: u32 = 6_000;
const TRACED: u32 = 400;
const WARM: u32 = 200;
/// Entries that have nothing to do with what is relayed: a tick, and the answer to the Sync that it sends, for which
/// memory is taken.
const OTHERS: [&str; 6] = [
    "proxy_on_tick",
    "proxy_on_grpc_receive",
    "proxy_on_grpc_close",
    "proxy_on_memory_allocate",
    "malloc",
    "free",
];
/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
