//! Judges a soak by its records. Pure.
//!
//! Two sessions at once on an instance are a violation, unless the Envoy of the earlier one was stopped for longer than
//! `orphan_after` meanwhile: without an agent on the instance nobody can know that it still has its session. A session
//! that its client did not end was cut; that needs an Envoy or an instance that ended, or another device of the same
//! user. A request without an answer needs an Envoy that was away.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;

use super::evidence::{Evidence, Happening, Moment, Outcome, Parting, Upgrade, Visit};
use super::plan::{Part, Way};

/// What became of a soak, as far as Berth is answerable for it.
#[derive(Debug, Default)]
pub struct Verdict {
    /// How often two sessions were on one instance, and why nobody is to blame.
    pub overlaps_excused: usize,
    /// How many sessions were cut, by what.
    pub cuts: HashMap<Cut, usize>,
    /// How many requests met an Envoy that was away.
    pub unanswered_excused: usize,
    /// What ought not to have been.
    pub faults: Vec<Fault>,
}

/// What cut a session that had to be cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cut {
    /// Its Envoy was killed or restarted.
    EnvoyEnded,
    /// Its instance ended it.
    InstanceEnded,
    /// Its user's other device.
    TakenOver,
}

/// What ought not to have been.
#[derive(Debug, Clone, PartialEq)]
pub struct Fault {
    /// What kind it is.
    pub kind: FaultKind,
    /// When it began.
    pub at: Moment,
    /// What the records say.
    pub what: String,
}

/// The kinds of what ought not to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FaultKind {
    /// Two sessions at once on an instance.
    Overlap,
    /// A session was cut for no reason.
    Cut,
    /// A client was admitted, and no instance, or more than one, knows of it.
    Misplaced,
    /// A request had no answer.
    Unanswered,
    /// An instance was not free in the end.
    Left,
}

impl Cut {
    /// In a few words.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::EnvoyEnded => "by the end of their Envoy",
            Self::InstanceEnded => "by their instance",
            Self::TakenOver => "by the user's other device",
        }
    }
}

impl FaultKind {
    /// In a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overlap => "overlap",
            Self::Cut => "cut",
            Self::Misplaced => "misplaced",
            Self::Unanswered => "unanswered",
            Self::Left => "left",
        }
    }
}

/// Judges. `orphan_after` is that of the pools.
#[must_use]
pub fn judge(evidence: &Evidence, orphan_after: Duration) -> Verdict {
    let records = Records::new(evidence, orphan_after);
    let mut verdict = Verdict::default();
    records.judge_overlaps(&mut verdict);
    for upgrade in &evidence.upgrades {
        records.judge_upgrade(upgrade, &mut verdict);
    }
    let end = evidence
        .happenings
        .iter()
        .map(|happening| happening.until)
        .max();
    let left = evidence.left.iter().map(|what| Fault {
        kind: FaultKind::Left,
        at: end.unwrap_or_default(),
        what: what.clone(),
    });
    verdict.faults.extend(left);
    verdict.faults.sort_by_key(|fault| fault.at);
    verdict
}

/// The evidence, in the orders that are asked for.
struct Records<'a> {
    evidence: &'a Evidence,
    orphan_after: Duration,
    upgrades: HashMap<u64, &'a Upgrade>,
    of_user: HashMap<u32, Vec<&'a Upgrade>>,
    visits: HashMap<u64, Vec<&'a Visit>>,
}

impl<'a> Records<'a> {
    fn new(evidence: &'a Evidence, orphan_after: Duration) -> Self {
        let mut records = Self {
            evidence,
            orphan_after,
            upgrades: HashMap::new(),
            of_user: HashMap::new(),
            visits: HashMap::new(),
        };
        for upgrade in &evidence.upgrades {
            records.upgrades.insert(upgrade.number, upgrade);
            records
                .of_user
                .entry(upgrade.user)
                .or_default()
                .push(upgrade);
        }
        for visit in &evidence.visits {
            if let Some(number) = visit.upgrade {
                records.visits.entry(number).or_default().push(visit);
            }
        }
        records
    }

    fn judge_overlaps(&self, verdict: &mut Verdict) {
        let mut by_instance: HashMap<&str, Vec<&Visit>> = HashMap::new();
        for visit in &self.evidence.visits {
            by_instance.entry(&visit.instance).or_default().push(visit);
        }
        for visits in by_instance.values_mut() {
            visits.sort_by_key(|visit| visit.from);
            // The one of the earlier sessions that ends last.
            let mut longest: Option<&Visit> = None;
            for visit in visits.iter().copied() {
                if let Some(earlier) = longest
                    && ends(earlier) > visit.from
                {
                    self.judge_overlap(earlier, visit, verdict);
                }
                if longest.is_none_or(|longest| ends(longest) <= ends(visit)) {
                    longest = Some(visit);
                }
            }
        }
    }

    fn judge_overlap(&self, earlier: &Visit, later: &Visit, verdict: &mut Verdict) {
        let until = ends(earlier).min(ends(later));
        let envoy = self.upgrade_of(earlier).map(|upgrade| upgrade.envoy);
        let out_of_touch = self.evidence.happenings.iter().any(|happening| {
            let Part::Envoy(stopped) = happening.trouble.part else {
                return false;
            };
            happening.trouble.way == Way::Stopped
                && Some(stopped) == envoy
                && happening.until.saturating_sub(happening.from) > self.orphan_after
                && meet((happening.from, happening.until), (earlier.from, until))
        });
        if out_of_touch {
            verdict.overlaps_excused += 1;
            return;
        }
        let lasted = until.saturating_sub(later.from);
        verdict.faults.push(Fault {
            kind: FaultKind::Overlap,
            at: later.from,
            what: format!(
                "{} had {} and {} at once for {lasted:?}",
                later.instance,
                self.named(earlier),
                self.named(later)
            ),
        });
    }

    fn judge_upgrade(&self, upgrade: &Upgrade, verdict: &mut Verdict) {
        match &upgrade.outcome {
            Outcome::Admitted { at, over, by } => {
                let visits = self.visits.get(&upgrade.number).map_or(0, Vec::len);
                if visits != 1 {
                    verdict.faults.push(Fault {
                        kind: FaultKind::Misplaced,
                        at: *at,
                        what: format!("{} is known to {visits} instances", told(upgrade)),
                    });
                }
                if let Parting::Cut(how) = by {
                    self.judge_cut(upgrade, *over, how, verdict);
                }
            }
            Outcome::Unanswered { at, how } => {
                if self.envoy_was_away(upgrade.envoy, upgrade.began, *at) {
                    verdict.unanswered_excused += 1;
                } else {
                    verdict.faults.push(Fault {
                        kind: FaultKind::Unanswered,
                        at: *at,
                        what: format!(
                            "{}, which began at {:.3} s: {how}",
                            told(upgrade),
                            upgrade.began.as_secs_f64()
                        ),
                    });
                }
            }
            Outcome::Refused { .. } | Outcome::Abandoned { .. } => {}
        }
    }

    fn judge_cut(&self, upgrade: &Upgrade, at: Moment, how: &str, verdict: &mut Verdict) {
        match self.cause(upgrade, at) {
            Some(cut) => *verdict.cuts.entry(cut).or_default() += 1,
            None => {
                let visits = self.visits.get(&upgrade.number).into_iter().flatten();
                let visits: Vec<String> = visits.map(|visit| self.named(visit)).collect();
                verdict.faults.push(Fault {
                    kind: FaultKind::Cut,
                    at,
                    what: format!("{} was cut ({how}): {}", told(upgrade), visits.join(", ")),
                });
            }
        }
    }

    fn cause(&self, upgrade: &Upgrade, at: Moment) -> Option<Cut> {
        let mut visits = self.visits.get(&upgrade.number).into_iter().flatten();
        if visits.any(|visit| visit.ended_by_instance) {
            return Some(Cut::InstanceEnded);
        }
        let ended = |happening: &Happening| {
            happening.trouble.ends_envoy(upgrade.envoy)
                && happening.from <= at
                && at < happening.gone + NOTICED_WITHIN
        };
        if self.evidence.happenings.iter().any(ended) {
            return Some(Cut::EnvoyEnded);
        }
        let others = self.of_user.get(&upgrade.user).into_iter().flatten();
        let asked_meanwhile = |other: &&&Upgrade| {
            other.number != upgrade.number
                && other.began <= at
                && other.outcome.at() + CLOSED_WITHIN >= at
                && other.outcome.at() + CLOSED_WITHIN >= upgrade.began
        };
        let rival = others
            .filter(|_| upgrade.may_be_taken_over)
            .find(asked_meanwhile);
        rival.map(|_| Cut::TakenOver)
    }

    fn envoy_was_away(&self, envoy: usize, from: Moment, until: Moment) -> bool {
        self.evidence.happenings.iter().any(|happening| {
            happening.trouble.part == Part::Envoy(envoy)
                && meet(
                    (happening.from, happening.until + NOTICED_WITHIN),
                    (from, until),
                )
        })
    }

    fn upgrade_of(&self, visit: &Visit) -> Option<&'a Upgrade> {
        self.upgrades.get(&visit.upgrade?).copied()
    }

    /// A session for the eyes of whoever looks into it.
    fn named(&self, visit: &Visit) -> String {
        let from = visit.from.as_secs_f64();
        let until = match visit.until {
            Some(until) => format!("{:.3} s", until.as_secs_f64()),
            None => "the end".to_owned(),
        };
        let whose = match self.upgrade_of(visit) {
            Some(upgrade) => told(upgrade),
            None => "somebody else".to_owned(),
        };
        format!("{whose} ({} from {from:.3} s to {until})", visit.instance)
    }
}

fn told(upgrade: &Upgrade) -> String {
    let Upgrade {
        number,
        user,
        envoy,
        ..
    } = upgrade;
    format!("upgrade {number} of user-{user} by envoy-{envoy}")
}

fn ends(visit: &Visit) -> Moment {
    visit.until.unwrap_or(Moment::MAX)
}

fn meet((from, until): (Moment, Moment), (other_from, other_until): (Moment, Moment)) -> bool {
    from <= other_until && other_from <= until
}

/// How long, on a busy machine, a client may take to notice that its connection has ended.
const NOTICED_WITHIN: Duration = Duration::from_secs(3);
/// How long it takes, at most, until a session that was taken over is closed: its Envoy may be standing still.
const CLOSED_WITHIN: Duration = Duration::from_secs(8);

#[cfg(test)]
mod tests;
