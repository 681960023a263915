//! The pure machine: what a grant and its end cost, beside an insert and a remove in a map of as many entries as there
//! are instances, and how much memory it keeps.

mod map;
mod memory;
mod pairs;

use map::Map;
use pairs::Pairs;

use crate::BenchError;
use crate::figure::Figure;

/// Measures memory first: what others have freed would be used again and not be seen.
pub(crate) fn run() -> Result<Vec<Figure>, BenchError> {
    let mut figures = memory::run();
    let mut sides: Vec<Side> = SIZES.iter().map(|size| Side::new(*size)).collect();
    let mut rounds: Vec<Vec<Cost>> = SIZES.iter().map(|_| Vec::new()).collect();
    for round in 0..=ROUNDS {
        let order: &mut dyn Iterator<Item = usize> = if round % 2 == 0 {
            &mut (0..sides.len())
        } else {
            &mut (0..sides.len()).rev()
        };
        for at in order {
            let Some((side, costs)) = sides.get_mut(at).zip(rounds.get_mut(at)) else {
                continue;
            };
            let cost = side
                .measure(round % 2 == 0)
                .ok_or(BenchError::Side("the machine"))?;
            // The first one warms up.
            if round > 0 {
                costs.push(cost);
            }
        }
    }
    for (size, costs) in SIZES.iter().zip(&rounds) {
        figures.extend(of_size(*size, costs));
    }
    if let [small, .., large] = rounds.as_slice() {
        figures.push(growth(small, large));
    }
    Ok(figures)
}

/// Nanoseconds for one of each.
#[derive(Clone, Copy)]
struct Cost {
    pair: f64,
    map: f64,
}

struct Side {
    pairs: Pairs,
    map: Map,
}

impl Side {
    fn new(instances: usize) -> Self {
        Self {
            pairs: Pairs::new(instances),
            map: Map::new(instances),
        }
    }

    fn measure(&mut self, machine_first: bool) -> Option<Cost> {
        if machine_first {
            let pair = self.pairs.measure(PAIRS)?;
            let map = self.map.measure(PAIRS);
            Some(Cost { pair, map })
        } else {
            let map = self.map.measure(PAIRS);
            let pair = self.pairs.measure(PAIRS)?;
            Some(Cost { pair, map })
        }
    }
}

fn of_size(instances: usize, costs: &[Cost]) -> [Figure; 2] {
    let each = |value: fn(&Cost) -> f64| costs.iter().map(value).collect::<Vec<_>>();
    [
        Figure::lower(
            format!("grant and end, to a map's pair, {instances}"),
            "x",
            &each(|cost| cost.pair / cost.map),
        )
        .at_most(10.0),
        Figure::lower(
            format!("grant and end, {instances} instances"),
            " ns",
            &each(|cost| cost.pair),
        ),
    ]
}

fn growth(small: &[Cost], large: &[Cost]) -> Figure {
    let growth =
        |(small, large): (&Cost, &Cost)| (large.pair / small.pair) / (large.map / small.map);
    let values: Vec<f64> = small.iter().zip(large).map(growth).collect();
    Figure::lower("growth to the largest, to the map's growth", "x", &values).at_most(1.0)
}

const SIZES: [usize; 3] = [1_000, 10_000, 100_000];
/// In one measurement; some milliseconds.
const PAIRS: usize = 20_000;
const ROUNDS: usize = 15;
