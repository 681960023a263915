//! The one place that reads a clock.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use crate::placement::Time;

/// Turns the machine's monotonic clock into the cores' times.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    epoch: Instant,
}

impl Clock {
    /// A clock whose time is zero now.
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    pub fn start() -> Self {
        Self {
            epoch: Instant::now(),
        }
    }

    /// The time since the start.
    pub fn now(&self) -> Time {
        Time(self.epoch.elapsed())
    }

    /// A core's time as the runtime's.
    pub fn at(&self, time: Time) -> Instant {
        self.epoch.checked_add(time.0).unwrap_or(self.epoch)
    }
}

/// Seconds since 1970; zero on a machine whose clock is older.
#[expect(clippy::disallowed_methods, reason = "this is the edge")]
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
