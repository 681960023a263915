//! What was measured, as figures.

use super::bed::{Bed, Cost};
use super::scan::Protocol;
use super::server::Side;
use crate::BenchError;
use crate::figure::Figure;

/// A value of each round.
type Rounds = Vec<f64>;

pub(super) fn figures(
    beds: &[Bed],
    instances: usize,
    protocol: Protocol,
) -> Result<Vec<Figure>, BenchError> {
    let of = match protocol {
        Protocol::Delta => "delta",
        Protocol::Sotw => "SotW",
    };
    let mut figures = Vec::new();
    for (measure, unit, target) in MEASURES {
        let target = target.filter(|_| instances == JUDGED);
        let mut rounds = Vec::new();
        for bed in beds {
            rounds.push((bed.side, measure.of(bed)?));
        }
        let name = |side: Side| format!("{instances} {of}, {}, {}", measure.name(), side.name());
        for (side, values) in &rounds {
            figures.push(Figure::lower(name(*side), unit, values));
        }
        let peer = rounds
            .iter()
            .find(|(side, _)| *side == Side::GoControlPlane);
        let Some((_, peer)) = peer.filter(|_| measure.has_ratio()) else {
            continue;
        };
        for (side, values) in &rounds {
            if *side == Side::GoControlPlane {
                continue;
            }
            let ratios: Rounds = values
                .iter()
                .zip(peer)
                .map(|(ours, theirs)| ours / theirs)
                .collect();
            let ratio = Figure::lower(format!("{} to go-control-plane", name(*side)), "x", &ratios);
            figures.push(match target {
                Some(target) => ratio.at_most(target),
                None => ratio,
            });
        }
    }
    Ok(figures)
}

#[derive(Clone, Copy)]
enum Measure {
    Change(Aspect),
    Reconnect(Aspect),
    Peak,
    PeakOfAll,
    Resent,
    RefusalProcessor,
}

#[derive(Clone, Copy)]
enum Aspect {
    Took,
    Sent,
    Processor,
}

impl Measure {
    const fn name(self) -> &'static str {
        match self {
            Self::Change(Aspect::Took) => "change: the last node has it",
            Self::Change(Aspect::Sent) => "change: sent",
            Self::Change(Aspect::Processor) => "change: CPU",
            Self::Reconnect(Aspect::Took) => "reconnect: the last node has all",
            Self::Reconnect(Aspect::Sent) => "reconnect: sent",
            Self::Reconnect(Aspect::Processor) => "reconnect: CPU",
            Self::Peak => "peak memory, changes",
            Self::PeakOfAll => "peak memory, storms too",
            Self::Resent => "refused: sent again in 2 s",
            Self::RefusalProcessor => "refused: CPU in 2 s",
        }
    }

    fn of(self, bed: &Bed) -> Result<Rounds, BenchError> {
        Ok(match self {
            Self::Change(aspect) => aspect.of(&bed.changes),
            Self::Reconnect(aspect) => aspect.of(&bed.reconnects),
            Self::Peak => vec![bed.peak],
            Self::PeakOfAll => vec![bed.peak_by_now()?],
            Self::Resent => bed.refusals.iter().map(|it| it.responses).collect(),
            Self::RefusalProcessor => bed.refusals.iter().map(|it| it.processor).collect(),
        })
    }

    /// What one side may have none of has no ratio.
    const fn has_ratio(self) -> bool {
        !matches!(self, Self::Resent)
    }
}

impl Aspect {
    fn of(self, costs: &[Cost]) -> Rounds {
        let value = |cost: &Cost| match self {
            Self::Took => cost.took,
            Self::Sent => cost.sent,
            Self::Processor => cost.processor,
        };
        costs.iter().map(value).collect()
    }
}

/// Each with its unit and what its ratio has to be.
const MEASURES: [(Measure, &str, Option<f64>); 10] = [
    (Measure::Change(Aspect::Took), " ms", None),
    (Measure::Change(Aspect::Sent), " MB", Some(0.1)),
    (Measure::Change(Aspect::Processor), " ms", Some(0.5)),
    (Measure::Peak, " MB", None),
    (Measure::Reconnect(Aspect::Took), " ms", None),
    (Measure::Reconnect(Aspect::Sent), " MB", None),
    (Measure::Reconnect(Aspect::Processor), " ms", None),
    (Measure::Resent, "", None),
    (Measure::RefusalProcessor, " ms", None),
    (Measure::PeakOfAll, " MB", None),
];
/// The size of pool that the targets are for.
const JUDGED: usize = 10_000;
