//! The one place that reads a clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::placement::Time;
use crate::store::UnixMillis;

/// Turns the machine's monotonic clock into the cores' times. They count from 1970, so that what an earlier process
/// did has a time as well, but go on evenly: setting the machine's clock does not move them.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    start: Instant,
    /// What the machine's clock said then.
    started_at: Time,
}

impl Clock {
    /// A clock that goes on from what the machine's says now.
    #[expect(clippy::disallowed_methods, reason = "this is the edge")]
    pub fn start() -> Self {
        Self {
            start: Instant::now(),
            started_at: Time(since_1970()),
        }
    }

    /// The time.
    pub fn now(&self) -> Time {
        self.started_at.after(self.start.elapsed())
    }

    /// A core's time as the runtime's; the start, if it lies before that.
    pub fn at(&self, time: Time) -> Instant {
        let since_start = time.since(self.started_at);
        self.start.checked_add(since_start).unwrap_or(self.start)
    }
}

/// A clock that stands still while its owner does not run: whoever is stopped hears nobody, and must not take that for
/// their silence when it goes on.
#[derive(Clone, Copy, Debug)]
pub struct AttendedClock {
    clock: Clock,
    unattended: Duration,
}

impl AttendedClock {
    /// `clock` as its owner, who runs now, sees it.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            unattended: Duration::ZERO,
        }
    }

    /// The time, to an owner who had something to do at `due`: one who comes much later than that did not run.
    pub fn now(&mut self, due: Option<Time>) -> Time {
        self.attend(self.clock.now(), due)
    }

    /// An owner's time as the runtime's.
    pub fn at(&self, time: Time) -> Instant {
        self.clock.at(time.after(self.unattended))
    }

    fn attend(&mut self, now: Time, due: Option<Time>) -> Time {
        let now = Time(now.0.saturating_sub(self.unattended));
        match due {
            Some(due) if now.since(due) > BUSY => {
                self.unattended += now.since(due);
                due
            }
            _ => now,
        }
    }
}

/// How late one may be who runs, on a machine that has much to do.
const BUSY: Duration = Duration::from_millis(100);

/// Seconds since 1970; zero on a machine whose clock is older.
pub fn unix_seconds() -> u64 {
    since_1970().as_secs()
}

/// Milliseconds since 1970; zero on a machine whose clock is older.
pub fn unix_millis() -> UnixMillis {
    UnixMillis(u64::try_from(since_1970().as_millis()).unwrap_or(u64::MAX))
}

#[expect(clippy::disallowed_methods, reason = "this is the edge")]
fn since_1970() -> Duration {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_nobody_did_what_was_due_does_not_count() {
        let time = |millis| Time(Duration::from_millis(millis));
        let clock = Clock {
            started_at: Time::default(),
            ..Clock::start()
        };
        let mut clock = AttendedClock::new(clock);
        // What the machine's clock says, what was due when, and what time it is then.
        let cases = [
            (1_000, None, 1_000),
            (2_000, Some(2_500), 2_000),
            (2_600, Some(2_500), 2_600),
            (9_000, Some(3_000), 3_000),
            (9_500, Some(4_000), 3_500),
            (20_000, None, 14_000),
            (20_500, Some(14_200), 14_200),
        ];
        for (machine, due, expected) in cases {
            let now = clock.attend(time(machine), due.map(time));
            assert_eq!(now, time(expected), "{machine} {due:?}");
        }
        let (epoch, later) = (clock.at(Time::default()), clock.at(time(10)));
        assert_eq!(later - epoch, Duration::from_millis(10));
        assert_eq!(epoch, clock.clock.at(time(6_300)));
    }
}
