use std::collections::VecDeque;

use super::{Cause, Fence, SessionId};

/// A session that is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) session: SessionId,
    /// `None` if it ended before it was known to be granted anything.
    pub(crate) fence: Option<Fence>,
    pub(crate) cause: Cause,
}

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
