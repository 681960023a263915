use std::{fmt, num::NonZeroU32};

/// What is known of an instance's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Health {
    /// Neither a success nor enough failures yet. Given to nobody.
    Unknown,
    /// It answers its probes.
    Up,
    /// It does not. Given to nobody; a live session on it is left alone.
    Down,
}

impl Health {
    /// `unknown`, `up` or `down`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Up => "up",
            Self::Down => "down",
        }
    }
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many equal results in a row change an instance's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Thresholds {
    /// Successes that bring up an instance that is down.
    pub rise: NonZeroU32,
    /// Failures that take down an instance that is not.
    pub fall: NonZeroU32,
}

/// The health of one instance, from the results of its probes.
///
/// While nothing is known one success is enough: a control plane that starts must not turn
/// clients away for `rise` intervals from instances that are fine. An instance that has been
/// down has to show `rise` successes in a row, and only `fall` failures in a row take it down.
#[derive(Debug, Clone)]
pub(super) struct Monitor {
    thresholds: Thresholds,
    health: Health,
    /// Results in a row that speak against `health`.
    contrary: u32,
}

impl Monitor {
    pub(super) fn new(thresholds: Thresholds) -> Self {
        Self {
            thresholds,
            health: Health::Unknown,
            contrary: 0,
        }
    }

    pub(super) fn health(&self) -> Health {
        self.health
    }

    /// Takes in a result; the health before and after if it changed.
    pub(super) fn record(&mut self, ok: bool) -> Option<(Health, Health)> {
        let (to, needed) = match (self.health, ok) {
            (Health::Up, true) | (Health::Down, false) => {
                self.contrary = 0;
                return None;
            }
            (Health::Unknown, true) => (Health::Up, NonZeroU32::MIN),
            (Health::Down, true) => (Health::Up, self.thresholds.rise),
            (Health::Unknown | Health::Up, false) => (Health::Down, self.thresholds.fall),
        };
        self.contrary = self.contrary.saturating_add(1);
        if self.contrary < needed.get() {
            return None;
        }
        self.contrary = 0;
        let from = std::mem::replace(&mut self.health, to);
        Some((from, to))
    }
}
