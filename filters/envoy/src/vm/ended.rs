use std::collections::VecDeque;

use crate::session::Ended;

/// The ends that the control plane has not yet answered for, oldest first. Each has a number, one more than the one
/// before it.
#[derive(Debug, Default)]
pub(super) struct EndedLog {
    entries: VecDeque<Ended>,
    /// The number of the oldest entry.
    first: u64,
}

impl EndedLog {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Adds an end. Where there are too many the oldest goes: a full Sync tells by silence that a session has ended, only
    /// without the cause.
    pub(super) fn push(&mut self, ended: Ended) -> &Ended {
        if self.entries.len() >= KEPT {
            self.entries.pop_front();
            self.first += 1;
        }
        self.entries.push_back_mut(ended)
    }

    /// As many of the oldest as go into one message, and the number that follows theirs.
    pub(super) fn oldest(&self) -> (Vec<&Ended>, u64) {
        let oldest: Vec<&Ended> = self.entries.iter().take(IN_ONE_MESSAGE).collect();
        let below = self.first + oldest.len() as u64;
        (oldest, below)
    }

    /// The control plane has answered for every end with a number below this one.
    pub(super) fn told(&mut self, below: u64) {
        while self.first < below && self.entries.pop_front().is_some() {
            self.first += 1;
        }
    }
}

/// At some 150 bytes each, 15 MB: hours without a control plane.
const KEPT: usize = 100_000;

/// At some 70 bytes each on the wire, well below the 4 MiB that gRPC servers accept by default.
const IN_ONE_MESSAGE: usize = 10_000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::{Cause, SessionId};

    fn ended(number: usize) -> Ended {
        Ended {
            session: SessionId(number.to_string()),
            fence: None,
            cause: Cause::Client,
        }
    }

    #[test]
    fn the_oldest_goes_first_and_one_message_takes_only_so_many() {
        let mut log = EndedLog::default();
        for number in 0..KEPT + 5 {
            log.push(ended(number));
        }
        assert_eq!(log.entries.len(), KEPT);
        let (oldest, below) = log.oldest();
        assert_eq!(oldest.first(), Some(&&ended(5)));
        assert_eq!(oldest.len(), IN_ONE_MESSAGE);

        log.told(below);
        let (oldest, _) = log.oldest();
        assert_eq!(oldest.first(), Some(&&ended(5 + IN_ONE_MESSAGE)));
    }

    #[test]
    fn what_was_dropped_in_between_is_not_taken_for_what_was_told() {
        let mut log = EndedLog::default();
        log.push(ended(0));
        let (_, below) = log.oldest();
        for number in 1..=KEPT {
            log.push(ended(number));
        }
        log.told(below);
        assert_eq!(log.oldest().0.first(), Some(&&ended(1)));
        log.told(u64::MAX);
        assert!(log.is_empty());
    }
}
