//! When proxies are told of what has changed: of the first change at once, of those that come shortly after it together.
//! Pure.

use std::time::Duration;

use crate::placement::Time;

/// Joins changes that come within a short time.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// When proxies may next be told.
    closes: Time,
    changed: bool,
}

impl Window {
    /// Something has changed that proxies have to be told.
    pub(super) fn change(&mut self) {
        self.changed = true;
    }

    /// Whether proxies are to be told now. Who asks does so then, and is told so once.
    pub(super) fn is_due(&mut self, now: Time) -> bool {
        if !self.changed || now < self.closes {
            return false;
        }
        self.changed = false;
        self.closes = now.after(WINDOW);
        true
    }

    /// When [`Self::is_due`] has to be asked, if nothing happens before.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        self.changed.then_some(self.closes)
    }
}

/// Twenty times a second is as often as proxies are told. Nobody waits for it: what must not be granted any more is not
/// granted from the moment it is known.
const WINDOW: Duration = Duration::from_millis(50);

#[cfg(test)]
mod tests {
    use super::*;

    fn time(millis: u64) -> Time {
        Time(Duration::from_hours(1) + Duration::from_millis(millis))
    }

    /// When proxies are told, if there are changes at these times and nothing else wakes whoever asks.
    fn told(changes: &[u64]) -> Vec<u64> {
        let mut window = Window::default();
        let mut changes = changes.iter().copied().peekable();
        let mut told = Vec::new();
        loop {
            let due = window.next_timeout();
            let due = due.map(|due| u64::try_from(due.since(time(0)).as_millis()).unwrap());
            let now = match (due, changes.peek().copied()) {
                (None, None) => return told,
                (Some(due), Some(change)) if due < change => due,
                (Some(due), None) => due,
                (_, Some(change)) => {
                    changes.next();
                    window.change();
                    change
                }
            };
            if window.is_due(time(now)) {
                told.push(now);
            }
            assert!(!window.is_due(time(now)), "said once");
        }
    }

    #[test]
    fn changes_are_joined() {
        // (changes, when they are told)
        let cases: &[(&[u64], &[u64])] = &[
            (&[], &[]),
            (&[5], &[5]),
            (&[5, 6, 54], &[5, 55]),
            (&[5, 55], &[5, 55]),
            (&[5, 6, 56], &[5, 55, 105]),
            (&[5, 200], &[5, 200]),
            (&[5, 5, 5, 200, 201, 260], &[5, 55, 200, 250, 300]),
        ];
        for (changes, expected) in cases {
            assert_eq!(told(changes), *expected, "{changes:?}");
        }
    }

    #[test]
    fn a_storm_is_told_in_tens() {
        let storm: Vec<_> = (0..10_000).map(|number| number / 10).collect();
        let told = told(&storm);
        assert_eq!((told.first(), told.last()), (Some(&0), Some(&1_000)));
        assert_eq!(told.len(), 21);
        let apart = told.windows(2).all(|pair| pair[1] - pair[0] >= 50);
        assert!(apart, "{told:?}");
    }
}
