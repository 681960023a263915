use std::time::Duration;

use super::set::KeySet;
use crate::placement::Time;

/// When an issuer's keys are fetched, and which are used meanwhile. Pure: times come in, and what is to be done comes out.
#[derive(Clone, Debug)]
pub struct Source {
    rules: Rules,
    held: Option<Held>,
    /// In a row, up to now.
    failures: u32,
    step: Step,
    /// No fetch because of an unknown key before this.
    refetch_from: Time,
}

/// How often is often enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long a set is used before it is fetched again.
    pub refresh: Duration,
    /// From one fetch because of an unknown key to the next.
    pub min_refetch: Duration,
}

/// A set that is used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Held {
    /// The keys.
    pub set: KeySet,
    /// When they were last known to be the issuer's.
    pub fetched_at: Time,
}

/// What a fetch has led to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// There are other keys now.
    Changed,
    /// Nothing came; the keys stay as they were.
    Failed,
    /// There are the same keys.
    Unchanged,
}

/// What becomes of a wish for newer keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refetch {
    /// They are as new as they can be: there was such a wish a short while ago.
    TooSoon,
    /// A fetch is due or under way.
    UnderWay,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Fetching,
    /// The next fetch is at this time.
    Waiting(Time),
}

impl Source {
    /// A source of which nothing is known; to be fetched at once.
    pub const fn new(rules: Rules, now: Time) -> Self {
        Self {
            rules,
            held: None,
            failures: 0,
            step: Step::Waiting(now),
            refetch_from: now,
        }
    }

    /// Uses a set from before until there is a newer one.
    pub fn restore(&mut self, set: KeySet, fetched_at: Time) {
        self.held = Some(Held { set, fetched_at });
    }

    /// The set that is used.
    pub const fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// When the next fetch is due; nothing while one is under way.
    pub const fn due(&self) -> Option<Time> {
        match self.step {
            Step::Fetching => None,
            Step::Waiting(until) => Some(until),
        }
    }

    /// Whether a fetch has to begin now. It is then under way, until [`fetched`](Self::fetched).
    pub fn begin(&mut self, now: Time) -> bool {
        let due = self.due().is_some_and(|due| due <= now);
        if due {
            self.step = Step::Fetching;
        }
        due
    }

    /// Takes what a fetch brought: keys, or nothing. `jitter` says by how much the next one is earlier than it has to be,
    /// 255 being a quarter: sources that were fetched together are not for ever.
    pub fn fetched(&mut self, now: Time, jitter: u8, set: Option<KeySet>) -> Outcome {
        let Some(set) = set else {
            let pause = backoff(self.failures).min(self.rules.refresh);
            self.failures = self.failures.saturating_add(1);
            self.step = Step::Waiting(now.after(shortened(pause, jitter)));
            return Outcome::Failed;
        };
        self.failures = 0;
        self.step = Step::Waiting(now.after(shortened(self.rules.refresh, jitter)));
        let before = self.held.replace(Held {
            set,
            fetched_at: now,
        });
        let same = match (&before, &self.held) {
            (Some(before), Some(held)) => before.set == held.set,
            _ => false,
        };
        if same {
            Outcome::Unchanged
        } else {
            Outcome::Changed
        }
    }

    /// Somebody has met a key that is not in the set. Whether a fetch then helps or not, the next wish waits: whoever makes
    /// up key ids must not make us ask the issuer as often.
    pub fn refetch(&mut self, now: Time) -> Refetch {
        if self.step == Step::Fetching {
            return Refetch::UnderWay;
        }
        if now < self.refetch_from {
            return Refetch::TooSoon;
        }
        self.refetch_from = now.after(self.rules.min_refetch);
        self.step = Step::Waiting(now);
        Refetch::UnderWay
    }
}

/// 1 s after the first failure, then twice as long each time, to a minute.
fn backoff(failures: u32) -> Duration {
    let factor = 1_u32.checked_shl(failures).unwrap_or(u32::MAX);
    LEAST_BACKOFF.saturating_mul(factor).min(MOST_BACKOFF)
}

fn shortened(span: Duration, jitter: u8) -> Duration {
    // 4 × 255.
    span.saturating_sub(span.saturating_mul(u32::from(jitter)) / 1020)
}

const LEAST_BACKOFF: Duration = Duration::from_secs(1);
const MOST_BACKOFF: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
