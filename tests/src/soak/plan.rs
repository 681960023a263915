//! Which trouble comes when. Pure: equal seeds give equal plans.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use super::evidence::Moment;
use super::random;

/// Something that is under the sessions.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Part {
    /// By its index.
    Envoy(usize),
    /// `berth`.
    ControlPlane,
    /// By its name.
    Instance(String),
}

/// What is done to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Way {
    /// Ended without being asked, and started again.
    Killed,
    /// Made to stand still with its sockets open, and to go on.
    Stopped,
    /// Asked to end, and started again.
    Restarted,
}

/// One part's trouble.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Whose.
    pub part: Part,
    /// Which.
    pub way: Way,
    /// How long the part is away; starting takes its time besides.
    pub lasts: Duration,
}

/// Trouble and its time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Planned {
    /// Not before.
    pub at: Moment,
    /// What.
    pub trouble: Trouble,
}

/// The troubles of a soak that lasts so long, in the order of their times; the last, when time is up, is an Envoy that is
/// killed, so that the sessions it had are orphans in the end. None
/// comes up more often than the deck has it before every other has come up, too.
#[must_use]
pub fn plan(seed: u64, lasts: Duration, envoys: usize, instances: &[String]) -> Vec<Planned> {
    let mut random = random(seed, 0);
    let (mut plan, mut deck) = (Vec::new(), Vec::new());
    let mut at = Duration::from_millis(random.u64(GAP));
    while at < lasts {
        if deck.is_empty() {
            let dealt = |(kind, way, count)| std::iter::repeat_n((kind, way), count);
            deck.extend(DECK.into_iter().flat_map(dealt));
            random.shuffle(&mut deck);
        }
        if let Some((kind, way)) = deck.pop() {
            let trouble = trouble(&mut random, kind, way, envoys, instances);
            plan.extend(trouble.map(|trouble| Planned { at, trouble }));
        }
        at += Duration::from_millis(random.u64(GAP));
    }
    let end = trouble(&mut random, Kind::Envoy, Way::Killed, envoys, instances);
    plan.extend(end.map(|trouble| Planned { at: lasts, trouble }));
    plan
}

/// Trouble of a kind, for any part that can have it.
fn trouble(
    random: &mut fastrand::Rng,
    kind: Kind,
    way: Way,
    envoys: usize,
    instances: &[String],
) -> Option<Trouble> {
    let part = match kind {
        Kind::Envoy => Part::Envoy(random.choice(0..envoys)?),
        Kind::ControlPlane => Part::ControlPlane,
        Kind::Instance => Part::Instance(random.choice(instances)?.clone()),
    };
    let milliseconds = match way {
        Way::Killed | Way::Restarted => random.u64(AWAY),
        Way::Stopped => random.u64(STOPPED),
    };
    let lasts = Duration::from_millis(milliseconds);
    Some(Trouble { part, way, lasts })
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Envoy,
    ControlPlane,
    Instance,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Envoy(index) => write!(f, "envoy-{index}"),
            Self::ControlPlane => f.write_str("berth"),
            Self::Instance(name) => f.write_str(name),
        }
    }
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Killed => "killed",
            Self::Stopped => "stopped",
            Self::Restarted => "restarted",
        })
    }
}

impl Trouble {
    /// What it is, whoever has it.
    #[must_use]
    pub const fn kind(&self) -> (&'static str, Way) {
        let part = match self.part {
            Part::Envoy(_) => "envoy",
            Part::ControlPlane => "berth",
            Part::Instance(_) => "instance",
        };
        (part, self.way)
    }

    /// Whether it ends the process of the Envoy of this index.
    pub(super) fn ends_envoy(&self, envoy: usize) -> bool {
        self.part == Part::Envoy(envoy) && self.way != Way::Stopped
    }
}

/// What is dealt before it is shuffled anew: each kind of trouble, and how often. An Envoy that ends leaves its instances
/// to nobody for `orphan_after`; with more of these there would be few left to fight over.
const DECK: [(Kind, Way, usize); 9] = [
    (Kind::Envoy, Way::Killed, 1),
    (Kind::Envoy, Way::Stopped, 3),
    (Kind::Envoy, Way::Restarted, 1),
    (Kind::ControlPlane, Way::Killed, 1),
    (Kind::ControlPlane, Way::Stopped, 2),
    (Kind::ControlPlane, Way::Restarted, 1),
    (Kind::Instance, Way::Killed, 5),
    (Kind::Instance, Way::Stopped, 4),
    (Kind::Instance, Way::Restarted, 3),
];

/// From one trouble to the next, in ms: shorter than most last, so that they meet.
const GAP: Range<u64> = 300..2200;
/// How long what was ended is away, in ms.
const AWAY: Range<u64> = 0..1500;
/// How long something stands still, in ms: well below `orphan_after`.
const STOPPED: Range<u64> = 300..4000;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn instances() -> Vec<String> {
        (1..=20).map(|number| format!("web-{number}")).collect()
    }

    #[test]
    fn a_seed_decides_the_plan() {
        let minute = Duration::from_secs(60);
        let of = |seed| plan(seed, minute, 2, &instances());
        assert_eq!(of(7), of(7));
        assert_ne!(of(7), of(8));
        assert!(of(7).is_sorted_by_key(|planned| planned.at));
        let last = of(7).pop().unwrap();
        let end = (last.at, last.trouble.kind());
        assert_eq!(end, (minute, ("envoy", Way::Killed)));
    }

    #[test]
    fn a_short_soak_has_every_kind_of_trouble() {
        for seed in 0..200 {
            let plan = plan(seed, Duration::from_secs(40), 2, &instances());
            let kinds: HashSet<_> = plan.iter().map(|planned| planned.trouble.kind()).collect();
            assert_eq!(kinds.len(), 9, "seed {seed}");
        }
    }

    #[test]
    fn nothing_stands_still_for_as_long_as_an_orphan_is_kept() {
        let plan = plan(1, Duration::from_secs(36_000), 2, &instances());
        let longest = plan.iter().map(|planned| planned.trouble.lasts).max();
        assert!(2 * longest.unwrap() < super::super::ORPHAN_AFTER);
    }
}
