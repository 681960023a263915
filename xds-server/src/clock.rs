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
/// their silence when it goes on. Its owner looks at it at least every [`ATTENTION`].
#[derive(Clone, Copy, Debug)]
pub struct AttendedClock {
    clock: Clock,
    unattended: Duration,
    /// The latest time it told.
    told: Time,
}

impl AttendedClock {
    /// `clock` as its owner, who runs now, sees it.
    pub fn new(clock: Clock) -> Self {
        Self {
            clock,
            unattended: Duration::ZERO,
            told: clock.now(),
        }
    }

    /// The time, to an owner who had something to do at `due`: one who comes much later than that did not run.
    pub fn now(&mut self, due: Option<Time>) -> Time {
        self.attend(self.clock.now(), due)
    }

    /// When the owner has to look at the clock again, as the runtime's, if it has something to do at `due`.
    pub fn wake_at(&self, due: Option<Time>) -> Instant {
        let again = self.told.after(ATTENTION);
        let due = due.map_or(again, |due| due.min(again));
        self.clock.at(due.after(self.unattended))
    }

    fn attend(&mut self, now: Time, due: Option<Time>) -> Time {
        let now = Time(now.0.saturating_sub(self.unattended));
        // What is long due, as a session that was too old when it was learnt, is no sign of anything.
        let due = due.unwrap_or(Time::NEVER);
        let due = due.clamp(self.told, self.told.after(ATTENTION));
        if now.since(due) > BUSY {
            self.unattended += now.since(due);
            self.told = due;
        } else {
            self.told = self.told.max(now);
        }
        self.told
    }
}

/// How late one may be who runs, on a machine that has much to do.
const BUSY: Duration = Duration::from_millis(100);

/// Time in which the owner was stopped counts for no more than this: less than what makes anybody silent.
const ATTENTION: Duration = Duration::from_millis(250);

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

    /// One that has just told the time zero.
    fn attended() -> AttendedClock {
        let clock = Clock {
            started_at: Time::default(),
            ..Clock::start()
        };
        AttendedClock {
            clock,
            unattended: Duration::ZERO,
            told: Time::default(),
        }
    }

    fn time(millis: u64) -> Time {
        Time(Duration::from_millis(millis))
    }

    #[test]
    fn time_in_which_nobody_looked_does_not_count() {
        let mut clock = attended();
        // What the machine's clock says, what was due when, and what time it is then.
        let cases = [
            (200, None, 200),
            (400, Some(500), 400),
            (560, Some(500), 560),
            // Stopped for long, with something due soon, late and not at all.
            (9_000, Some(600), 600),
            (9_100, Some(4_000), 700),
            (20_000, Some(4_000), 950),
            (30_000, None, 1_200),
            (30_100, None, 1_300),
        ];
        for (machine, due, expected) in cases {
            let now = clock.attend(time(machine), due.map(time));
            assert_eq!(now, time(expected), "{machine} {due:?}");
        }
        let wakes = [
            (Some(1_000), 29_800),
            (Some(1_400), 30_200),
            (Some(9_000), 30_350),
            (None, 30_350),
        ];
        for (due, machine) in wakes {
            let expected = clock.clock.at(time(machine));
            assert_eq!(clock.wake_at(due.map(time)), expected, "{due:?}");
        }
    }

    #[test]
    fn what_was_due_before_it_was_known_does_not_turn_it_back() {
        let mut clock = attended();
        assert_eq!(clock.attend(time(100), None), time(100));
        assert_eq!(clock.attend(time(101), Some(time(20))), time(101));
        assert_eq!(clock.attend(time(300), Some(time(20))), time(101));
        assert_eq!(clock.attend(time(310), None), time(111));
    }
}
