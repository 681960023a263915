//! What is said to others waits until what it rests on is durable.
//!
//! Words are said in their order, each once everything is durable that was handed in before it or
//! with it. A store that fails, or is stuck, holds nobody up: words go out with the mark that they
//! are not durable, and whoever says them knows what that means for them.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::watch;
use tracing::error;

use super::{NotStored, OrderError, Reply, RevokeError};
use crate::placement::{Close, Outcome, RequestId, RevocationEffect, SessionId, Time};
use crate::store::Batch;
use crate::store::writer::{Health, Journal, Progress, Ticket};

/// Something to say.
#[derive(Debug)]
pub(super) enum Word {
    /// To who asked for an instance.
    Answer {
        request: RequestId,
        session: SessionId,
        outcome: Outcome,
    },
    /// To the operator, about a revocation that was to be lifted.
    Lifted(Reply<Result<bool, NotStored>>, bool),
    /// To the operator, about an instance.
    Ordered(Reply<Result<(), OrderError>>, Result<(), OrderError>),
    /// To the operator, about what was to be revoked.
    Revoked(
        Reply<Result<RevocationEffect, RevokeError>>,
        Result<RevocationEffect, RevokeError>,
    ),
    /// To a VM.
    Synced(Reply<Vec<Close>>, Vec<Close>),
    /// To the operator, about a session.
    Terminated(Reply<Result<bool, NotStored>>, bool),
}

/// The writer's thread has ended: nothing can be made durable any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WriterGone;

/// Words, and what has to be durable before they are said.
#[derive(Debug)]
pub(super) struct Outbox {
    journal: Journal,
    progress: watch::Receiver<Progress>,
    /// Of the turn that is under way.
    batch: Batch,
    words: Vec<Word>,
    /// Of earlier turns, with the time at which they were handed in.
    held: VecDeque<(Ticket, Time, Word)>,
    /// The store is stuck until this is durable.
    stuck_at: Option<Ticket>,
}

impl Outbox {
    pub(super) fn new(journal: Journal, progress: watch::Receiver<Progress>) -> Self {
        Self {
            journal,
            progress,
            batch: Batch::default(),
            words: Vec::new(),
            held: VecDeque::new(),
            stuck_at: None,
        }
    }

    /// What this turn changes.
    pub(super) fn batch(&mut self) -> &mut Batch {
        &mut self.batch
    }

    /// What this turn has to say.
    pub(super) fn say(&mut self, word: Word) {
        self.words.push(word);
    }

    /// Ends a turn.
    pub(super) fn hand_in(&mut self, now: Time) {
        let ticket = self.journal.submit(std::mem::take(&mut self.batch));
        let words = self.words.drain(..);
        self.held.extend(words.map(|word| (ticket, now, word)));
    }

    /// The next word that may be said, and whether what it rests on is durable.
    pub(super) fn next(&mut self, now: Time) -> Option<(Word, bool)> {
        let (ticket, since) = self.held.front().map(|(ticket, at, _)| (*ticket, *at))?;
        let durable = ticket <= self.progress.borrow().durable;
        if !durable && now.since(since) >= STUCK && !self.is_failing() {
            error!(
                "the store has taken nothing for {STUCK:?}; nobody new is admitted until it does"
            );
            self.stuck_at = Some(ticket);
        }
        if durable || self.is_failing() {
            return self.held.pop_front().map(|(_, _, word)| (word, durable));
        }
        None
    }

    /// When [`Self::next`] has to be asked, if nothing happens before.
    pub(super) fn next_timeout(&self) -> Option<Time> {
        let (_, since, _) = self.held.front()?;
        Some(since.after(STUCK))
    }

    /// Nothing becomes durable.
    pub(super) fn is_failing(&self) -> bool {
        let progress = self.progress.borrow();
        let stuck = self.stuck_at.is_some_and(|stuck| progress.durable < stuck);
        stuck || !matches!(progress.health, Health::Well)
    }

    /// How far the writer is.
    pub(super) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    /// Waits until the writer has come further.
    pub(super) async fn changed(&mut self) -> Result<(), WriterGone> {
        self.progress.changed().await.map_err(|_| WriterGone)
    }
}

/// A store that takes longer than this takes too long: a VM that hears nothing for three ticks
/// thinks that the control plane is away.
const STUCK: Duration = Duration::from_secs(2);
