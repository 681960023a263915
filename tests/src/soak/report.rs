//! What a soak came to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Serialize;

use super::Settings;
use super::evidence::{Evidence, Leave, Moment, Outcome, Parting};
use super::ledger::{FaultKind, Verdict};

/// Everything that is told of a soak. What counts is in `violations`: empty, all is well.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// With which it can be repeated.
    pub seed: u64,
    /// For how long there was trouble.
    pub seconds: f64,
    /// Users, and instances they had to share.
    pub users: u32,
    /// In both pools together.
    pub instances: u32,
    /// How requests for a session ended.
    pub upgrades: Upgrades,
    /// Sessions by who ended them.
    pub ended: Ended,
    /// Two sessions at once on an instance.
    pub overlaps: Overlaps,
    /// From the connection's beginning to the 101.
    pub admission: Latency,
    /// How long it took for every instance to be free when everybody had gone.
    pub until_free: Milliseconds,
    /// Troubles by kind, such as `envoy killed`.
    pub troubles: BTreeMap<String, usize>,
    /// What ought not to have been, in the order of time.
    pub violations: Vec<Violation>,
}

/// How requests for a session ended.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Upgrades {
    /// All of them.
    pub tried: usize,
    /// Sessions.
    pub admitted: usize,
    /// By status and reason.
    pub refused: BTreeMap<String, usize>,
    /// Clients that did not wait for the answer.
    pub abandoned: usize,
    /// Requests that met an Envoy that was away.
    pub unanswered: usize,
}

/// Sessions by who ended them.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Ended {
    /// The client, by how.
    pub by_client: BTreeMap<String, usize>,
    /// Cut as they had to be: an Envoy that ended, an instance that did, the user's other device.
    pub cut: BTreeMap<String, usize>,
}

/// Two sessions at once on an instance.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub struct Overlaps {
    /// After a stop of an Envoy for longer than `orphan_after`.
    pub excused: usize,
    /// Violations.
    pub unexcused: usize,
}

/// Nearest ranks, in ms.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// The median.
    pub p50: Milliseconds,
    /// What one in a hundred exceeds.
    pub p99: Milliseconds,
}

/// A time in ms.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Milliseconds(pub f64);

/// What ought not to have been.
#[derive(Debug, Clone, Serialize)]
pub struct Violation {
    /// What kind it is.
    pub kind: FaultKind,
    /// When it began, in seconds from the start.
    pub at: f64,
    /// What the records say.
    pub what: String,
    /// Troubles of that moment and of a little before.
    pub during: Vec<String>,
}

impl Report {
    pub(super) fn new(settings: &Settings, evidence: &Evidence, verdict: Verdict) -> Self {
        let (mut upgrades, ended, mut waits) = tally(evidence);
        upgrades.unanswered = verdict.unanswered_excused;
        waits.sort();
        let cut = verdict.cuts.iter();
        let cut = cut.map(|(cut, count)| (cut.as_str().to_owned(), *count));
        let unexcused = verdict.faults.iter();
        let unexcused = unexcused.filter(|fault| fault.kind == FaultKind::Overlap);
        let mut troubles = BTreeMap::new();
        for happening in &evidence.happenings {
            let (part, way) = happening.trouble.kind();
            *troubles.entry(format!("{part} {way}")).or_default() += 1;
        }
        Self {
            seed: settings.seed,
            seconds: settings.lasts.as_secs_f64(),
            users: settings.users,
            instances: u32::from(settings.instances) * 2,
            upgrades,
            ended: Ended {
                cut: cut.collect(),
                ..ended
            },
            overlaps: Overlaps {
                excused: verdict.overlaps_excused,
                unexcused: unexcused.count(),
            },
            admission: Latency {
                p50: nearest_rank(&waits, 50),
                p99: nearest_rank(&waits, 99),
            },
            until_free: Milliseconds::from(evidence.until_free),
            troubles,
            violations: verdict
                .faults
                .into_iter()
                .map(|fault| Violation {
                    kind: fault.kind,
                    at: fault.at.as_secs_f64(),
                    what: fault.what,
                    during: during(evidence, fault.at),
                })
                .collect(),
        }
    }
}

fn tally(evidence: &Evidence) -> (Upgrades, Ended, Vec<Duration>) {
    let (mut upgrades, mut ended) = (Upgrades::default(), Ended::default());
    let mut waits = Vec::new();
    for upgrade in &evidence.upgrades {
        upgrades.tried += 1;
        match &upgrade.outcome {
            Outcome::Admitted { at, by, .. } => {
                upgrades.admitted += 1;
                waits.push(at.saturating_sub(upgrade.began));
                if let Parting::Left(how) = by {
                    *ended.by_client.entry(how.as_str().to_owned()).or_default() += 1;
                }
            }
            Outcome::Refused { reason, .. } => {
                *upgrades.refused.entry(reason.clone()).or_default() += 1;
            }
            Outcome::Abandoned { .. } => upgrades.abandoned += 1,
            Outcome::Unanswered { .. } => {}
        }
    }
    (upgrades, ended, waits)
}

/// The troubles of a moment, and of a little before.
fn during(evidence: &Evidence, at: Moment) -> Vec<String> {
    let happenings = evidence.happenings.iter();
    let mut met: Vec<_> = happenings
        .filter(|happening| happening.from <= at + BEFORE && happening.until + BEFORE >= at)
        .collect();
    met.sort_by_key(|happening| happening.from);
    let told = met.iter().map(|happening| {
        let (from, until) = (happening.from.as_secs_f64(), happening.until.as_secs_f64());
        let trouble = &happening.trouble;
        format!(
            "{} {} from {from:.3} s to {until:.3} s",
            trouble.part, trouble.way
        )
    });
    told.collect()
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            upgrades,
            ended,
            overlaps,
            admission,
            ..
        } = self;
        writeln!(
            f,
            "seed {}, {:.0} s of trouble, {} users, {} instances",
            self.seed, self.seconds, self.users, self.instances
        )?;
        writeln!(
            f,
            "upgrades   {} tried: {} admitted, {} abandoned, {} met an Envoy that was away",
            upgrades.tried, upgrades.admitted, upgrades.abandoned, upgrades.unanswered
        )?;
        writeln!(f, "refused    {}", listed(&upgrades.refused))?;
        writeln!(f, "left       {}", listed(&ended.by_client))?;
        writeln!(f, "cut        {}", listed(&ended.cut))?;
        writeln!(f, "admission  p50 {}, p99 {}", admission.p50, admission.p99)?;
        writeln!(
            f,
            "overlaps   {} excused, {} not",
            overlaps.excused, overlaps.unexcused
        )?;
        writeln!(f, "all free   after {}", self.until_free)?;
        writeln!(f, "troubles   {}", listed(&self.troubles))?;
        writeln!(f, "violations {}", self.violations.len())?;
        for violation in &self.violations {
            let Violation {
                kind,
                at,
                what,
                during,
            } = violation;
            writeln!(f, "- at {at:.3} s, {}: {what}", kind.as_str())?;
            for trouble in during {
                writeln!(f, "    {trouble}")?;
            }
        }
        Ok(())
    }
}

fn listed(counts: &BTreeMap<String, usize>) -> String {
    let told: Vec<String> = counts
        .iter()
        .map(|(what, count)| format!("{count} {what}"))
        .collect();
    if told.is_empty() {
        "none".to_owned()
    } else {
        told.join(", ")
    }
}

impl From<Duration> for Milliseconds {
    fn from(duration: Duration) -> Self {
        Self(duration.as_secs_f64() * 1000.0)
    }
}

impl fmt::Display for Milliseconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.1} ms", self.0)
    }
}

impl Leave {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Close => "by a Close frame",
            Self::Finish => "by a FIN",
            Self::Abort => "by a reset",
            Self::Drop => "without a word",
        }
    }
}

/// Of sorted values; 0 of none.
fn nearest_rank(sorted: &[Duration], percent: usize) -> Milliseconds {
    let rank = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(rank).copied().unwrap_or_default().into()
}

/// How long before something its cause may have been.
const BEFORE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_are_by_nearest_rank() {
        let hundred: Vec<Duration> = (1..=100).map(Duration::from_millis).collect();
        let cases = [
            (hundred.as_slice(), 50, 50.0),
            (&hundred, 99, 99.0),
            (&hundred[..2], 50, 1.0),
            (&hundred[..1], 99, 1.0),
            (&[], 50, 0.0),
        ];
        for (sorted, percent, expected) in cases {
            let rank = nearest_rank(sorted, percent);
            assert_eq!(
                rank,
                Milliseconds(expected),
                "{percent} of {}",
                sorted.len()
            );
        }
    }
}
