//! Tokens that are decided upon in the proxy: Berth's filter beside `jwt_authn`, with and without their caches.

use std::iter;
use std::net::SocketAddr;
use std::sync::Arc;

use berth_tests::{Algorithm, SigningKeys};

use super::load::{Cost, measure, status};
use super::site::{self, Site};
use super::tokens::{Claims, request, requests, valid};
use crate::BenchError;
use crate::figure::Figure;

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "admission, in the proxy: a GET with a good token that does not permit the pool, answered 403 by both sides with the\n\
         same headers and body: by Berth's filter, and by the route's direct response after jwt_authn.\n\
         {ROUNDS} rounds of {REQUESTS} requests a side, sides in turn; one Envoy with one worker, plain HTTP/1.1 over\n\
         connections that stay, by one thread; tokens of 64 users in turn. Both refuse a token whose signature was altered,\n\
         before the rounds and after them.\n\
         CPU: processor time of the worker for a request, which says less of what else the machine does."
    );
    let keys = SigningKeys::of_tests()?;
    let mut all = Vec::new();
    for (what, remembered, target) in [("not cached", 0, 1.3), ("cached", 100, 1.0)] {
        let filters = [
            vec![site::berth(&keys, remembered)?],
            vec![site::jwt_authn(&keys, remembered)],
            Vec::new(),
        ];
        let site = Site::start(&filters, 1).await?;
        let [berth, native, bare] = site.addresses.as_slice() else {
            return Err(BenchError::Configuration("three listeners"));
        };
        let guarded = [*berth, *native];
        verified(&keys, &guarded).await?;
        for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
            for claims in Claims::ALL {
                let requests = requests(&keys, algorithm, claims)?;
                let costs = rounds(&site, [*berth, *native, *bare], &requests).await?;
                let what = format!("{what}, {}, {}", algorithm.name(), claims.name());
                all.extend(figures(&what, &costs, target));
            }
        }
        verified(&keys, &guarded).await?;
    }
    Ok(all)
}

/// Whether these look at signatures.
async fn verified(keys: &SigningKeys, guarded: &[SocketAddr]) -> Result<(), BenchError> {
    for algorithm in [Algorithm::Rs256, Algorithm::Es256] {
        let token = valid(keys, algorithm, Claims::Few, 0);
        for (token, expected) in [(token.clone(), FORBIDDEN), (token.altered(), UNAUTHORIZED)] {
            let request = request(&token.sign()?);
            for address in guarded {
                let seen = status(*address, &request).await?;
                if seen != expected {
                    return Err(BenchError::Status(seen));
                }
            }
        }
    }
    Ok(())
}

/// What Berth, the native filter and no filter take, in each round.
async fn rounds(
    site: &Site,
    sides: [SocketAddr; 3],
    requests: &Arc<[Vec<u8>]>,
) -> Result<[Vec<Cost>; 3], BenchError> {
    let mut costs: [Vec<Cost>; 3] = Default::default();
    for round in 0..=ROUNDS {
        let mut turns: Vec<_> = sides.iter().zip(&mut costs).collect();
        if round % 2 == 1 {
            turns.reverse();
        }
        for (address, costs) in turns {
            let cost = measure(&site.envoy, *address, requests, REQUESTS, FORBIDDEN).await?;
            // The first round warms everything up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    Ok(costs)
}

fn figures(what: &str, [berth, native, bare]: &[Vec<Cost>; 3], target: f64) -> Vec<Figure> {
    let ratios = |of: fn(&Cost) -> f64| {
        let pairs = iter::zip(berth, native);
        pairs
            .map(|(berth, native)| of(berth) / of(native))
            .collect::<Vec<_>>()
    };
    let name = |name: &str| format!("{what}: {name}");
    let mut figures = vec![
        Figure::higher(name("Berth to jwt_authn"), "x", &ratios(per_second)).at_least(target),
        Figure::lower(name("the same, CPU"), "x", &ratios(worker)),
    ];
    for (side, costs) in [("Berth", berth), ("jwt_authn", native), ("no filter", bare)] {
        let (rates, times): (Vec<f64>, Vec<f64>) = costs
            .iter()
            .map(|cost| (per_second(cost), worker(cost)))
            .unzip();
        figures.push(Figure::higher(name(side), "/s", &rates));
        figures.push(Figure::lower(name(&format!("{side}, CPU")), " us", &times));
    }
    figures
}

fn per_second(cost: &Cost) -> f64 {
    cost.per_second
}

fn worker(cost: &Cost) -> f64 {
    cost.worker
}

const ROUNDS: usize = 12;
/// Of each side in a round; some tenths of a second.
const REQUESTS: u32 = 4_000;
const FORBIDDEN: u16 = 403;
const UNAUTHORIZED: u16 = 401;
