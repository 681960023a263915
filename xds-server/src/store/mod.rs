//! What outlives the process: leases, the operator's words and the history of sessions.
//!
//! A [`Store`] is written by one thread, the [`writer`]'s, which gathers what comes while a commit is under way into
//! the next one. Whoever asks for a change holds a [`writer::Ticket`] and must not act on the change before that is
//! durable. [`RedbStore`] keeps a file; [`MemoryStore`] keeps nothing beyond the process, which therefore has to learn
//! what is live before it grants.

mod batch;
mod format;
mod history;
mod medium;
mod memory;
mod redb;
mod stamp;
pub mod writer;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use crate::placement::{InstanceName, LeaseRecord, Revocation};

pub use batch::Batch;
pub use format::DecodeError;
pub use history::{History, HistoryError, HistoryLimits, HistoryQuery, Limit, PastRecord};
pub use memory::MemoryStore;
pub use redb::RedbStore;
pub use stamp::{Stamp, UnixMillis};

/// Keeps what a control plane must not forget.
pub trait Store: Send + fmt::Debug {
    /// What an earlier process left, with its times as this process' machine counts them. To be called once, before
    /// anything else.
    ///
    /// # Errors
    /// [`LoadError`]: this process must not go on with this store.
    fn load(&mut self, stamp: Stamp) -> Result<Loaded, LoadError>;

    /// Makes all of a batch durable, or none of it. After an error the same batch may be tried again, also where it
    /// has become durable in spite of the error: a batch states how things are.
    ///
    /// # Errors
    /// [`CommitError`].
    fn commit(&mut self, batch: &Batch, term: u64) -> Result<(), CommitError>;

    /// Does what can wait: called when nothing has been committed for a moment, and now and then.
    ///
    /// # Errors
    /// [`CommitError::Failed`].
    fn tend(&mut self, now: UnixMillis) -> Result<(), CommitError>;

    /// Answers who asks for sessions that are over, beside the one who writes.
    fn history(&self) -> Arc<dyn History>;
}

/// What a store remembers of an earlier process.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The greatest term that was ever written; 0 if none was.
    pub term: u64,
    /// Every lease there was; `None` if that is not known and has to be learnt from the proxies.
    pub leases: Option<Vec<LeaseRecord>>,
    /// Where the instances were.
    pub addresses: BTreeMap<InstanceName, SocketAddr>,
    /// Draining instances.
    pub drained: BTreeSet<InstanceName>,
    /// Quarantined instances.
    pub quarantined: BTreeSet<InstanceName>,
    /// What the operator has revoked; those that are over may be among them.
    pub revocations: Vec<Revocation>,
    /// What was there and could not be used.
    pub set_aside: Option<SetAside>,
    /// The last commit was not whole and has been taken back: it was under way when the process or the machine was
    /// stopped, and nobody had been told that it was durable.
    pub torn: bool,
}

/// A file that was there and could not be used. It has been renamed; nothing of it was taken over.
#[derive(Debug)]
pub struct SetAside {
    /// Where it was.
    pub path: PathBuf,
    /// Where it is now.
    pub to: PathBuf,
    /// What was wrong with it.
    pub why: Unusable,
}

impl fmt::Display for SetAside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, to, why } = self;
        let (path, to) = (path.display(), to.display());
        write!(
            f,
            "the store {path} cannot be used: {why}. It is now {to}, and a new one has been begun: its history is \
            empty, drained and quarantined instances have to be named again, and what was revoked is not any more. "
        )?;
        match why {
            Unusable::Damaged(_) => f.write_str("Check the disk it is on"),
            Unusable::Newer { .. } => {
                write!(
                    f,
                    "To go on with it, stop berth, rename {to} back and start the newer version"
                )
            }
        }
    }
}

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum Unusable {
    /// Its bytes are not what was written, or were never a store's.
    #[error("it is damaged ({0})")]
    Damaged(Damage),
    /// A later version of Berth wrote it.
    #[error("it has format {found}, of a newer version; this one knows {known}")]
    Newer {
        /// Its format.
        found: u64,
        /// The newest that this version can read.
        known: u64,
    },
}

/// How it shows that a file is damaged.
#[derive(Debug, thiserror::Error)]
pub enum Damage {
    /// There is no byte in it.
    #[error("it is empty")]
    Empty,
    /// It is not there any more.
    #[error("it is gone")]
    Gone,
    /// The database says so.
    #[error(transparent)]
    Database(#[from] ::redb::Error),
    /// The database could not cope with it.
    #[error("reading it failed badly")]
    Panicked,
    /// It is a database, but not a store of Berth's.
    #[error("it is a database of something else")]
    Foreign,
    /// A record cannot be read.
    #[error("{0}")]
    Record(#[from] DecodeError),
}

/// Why this process cannot use the store.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Another process has it.
    #[error(
        "the store {} is in use: another berth is running with it; stop that one, or give this one a file of its own",
        .path.display()
    )]
    InUse {
        /// The store.
        path: PathBuf,
    },
    /// The system refuses to open, create, read or write it.
    #[error(
        "cannot use {}: {error}; the store has to be a file that berth may write to, in a folder that is there and that \
        it may write to as well",
        .path.display()
    )]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
}

/// Why a batch is not durable.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Another process has taken over: this one must not decide anything any more.
    #[error("term {stored} has been written, this process has {term}")]
    Deposed {
        /// The greatest term written.
        stored: u64,
        /// This process' term.
        term: u64,
    },
    /// The disk is full or broken; to be tried again.
    #[error(transparent)]
    Failed(#[from] StoreFailure),
}

/// What keeps a store from writing.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailure {
    /// The database, or the disk below it.
    #[error(transparent)]
    Database(#[from] ::redb::Error),
    /// It is not what this process has written.
    #[error(transparent)]
    Unusable(#[from] Unusable),
}
