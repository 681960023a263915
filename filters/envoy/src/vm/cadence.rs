//! How often a VM looks, and how often it speaks.

use std::time::Duration;

/// A full Sync is due every period; what a clock alone ends is looked for twice a second or more often.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Cadence {
    sync: Duration,
    timer: Duration,
}

impl Cadence {
    /// A Sync every `sync`, which is not zero.
    pub(crate) fn new(sync: Duration) -> Self {
        let looks = sync.as_nanos().div_ceil(LOOK.as_nanos()).max(1);
        Self {
            sync,
            timer: sync / u32::try_from(looks).unwrap_or(u32::MAX),
        }
    }

    /// How often a full Sync is due.
    pub(crate) const fn sync(self) -> Duration {
        self.sync
    }

    /// How often the root ticks: a whole number of times in each period, so that the last tick of a period is where the
    /// next one begins.
    pub(crate) const fn timer(self) -> Duration {
        self.timer
    }

    /// Several roots may tick, and timers are not exact: so long after a Sync the next one is due.
    pub(super) fn until_sync(self) -> Duration {
        self.sync.saturating_sub(self.timer / 4)
    }

    /// So long after an Acquire that nobody answered it is due again.
    pub(super) fn until_acquire(self) -> Duration {
        self.sync.min(RETRY).saturating_sub(self.timer / 4)
    }
}

/// An end by the clock has to reach the client within two seconds, and Envoy lets up to one pass
/// (`delayed_close_timeout`).
const LOOK: Duration = Duration::from_millis(500);

/// A request is not held up for longer by a slow Sync.
const RETRY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_timer_is_quick_enough_and_meets_every_period(
            millis in 50..=60_000u64, late in 0..4u32, phase in 0..1000u32
        ) {
            let sync = Duration::from_millis(millis);
            let cadence = Cadence::new(sync);
            prop_assert!(cadence.timer() <= LOOK);
            prop_assert!(cadence.timer() >= LOOK.min(sync) / 2);
            // The host counts whole milliseconds, and is a little late each time.
            let tick = Duration::from_millis(u64::try_from(cadence.timer().as_millis()).unwrap())
                + Duration::from_micros(250) * late;
            let start = tick * phase;
            let next = (phase..).map(|n| tick * n).find(|at| *at >= start + cadence.until_sync());
            let waited = next.unwrap() - start;
            prop_assert!(waited <= sync + cadence.timer() / 4, "{waited:?} {sync:?}");
            prop_assert!(waited >= sync - cadence.timer() / 4, "{waited:?} {sync:?}");
        }
    }
}
