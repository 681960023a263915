//! Two clocks read at once. The machine's times count from an epoch of their own, and stand still while its process
//! is stopped; what is stored has to mean something to another process.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::placement::Time;

/// Milliseconds since 1970.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

impl UnixMillis {
    /// So much earlier; 1970 at the earliest.
    #[must_use]
    pub fn before(self, earlier: Duration) -> Self {
        Self(self.0.saturating_sub(millis(earlier)))
    }

    /// So much later.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(millis(later)))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }

    /// The same for the standard library; `None` if that cannot tell such a time.
    pub fn to_system_time(self) -> Option<SystemTime> {
        UNIX_EPOCH.checked_add(Duration::from_millis(self.0))
    }
}

impl fmt::Display for UnixMillis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One moment on both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// The machine's.
    pub now: Time,
    /// The world's.
    pub unix: UnixMillis,
}

impl Stamp {
    /// A time of the machine's as the world's. Past ones are exact on a clock that runs evenly; one that has been set
    /// meanwhile moves all of them alike.
    pub(crate) fn to_unix(self, time: Time) -> UnixMillis {
        if time < self.now {
            self.unix.before(self.now.since(time))
        } else {
            self.unix.after(time.since(self.now))
        }
    }

    /// A time in the past as the machine's; now, if the world's clock has been set back behind it.
    pub(super) fn past(self, then: UnixMillis) -> Time {
        Time(self.now.0.saturating_sub(self.unix.since(then)))
    }

    /// A time to come that was written at `written`. It is never further away than it was then, however the world's
    /// clock has been set, and now if it is over.
    pub(super) fn to_come(self, until: UnixMillis, written: UnixMillis) -> Time {
        let length = until.since(written);
        self.now.after(until.since(self.unix).min(length))
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
