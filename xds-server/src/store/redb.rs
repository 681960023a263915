//! A store in a file.
//!
//! A commit is one transaction and one fsync. What a crash tears of it is found by its checksums when the file is
//! opened again, and the commit taken back: nobody had been told that it was durable. A last commit that was whole,
//! and is damaged later, would look the same. So when no other follows for a moment the store seals the file
//! ([`Store::tend`]): an empty transaction with two fsyncs, by which the next process knows that nothing before it can
//! be torn, and that what does not fit is damaged. All checksums are verified whenever the file is opened.

mod tables;

use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redb::{Builder, Database, Error, ReadableDatabase, WriteTransaction};

use super::medium::{FileMedium, Found, Medium};
use super::{
    Batch, CommitError, Damage, History, HistoryError, HistoryLimits, HistoryQuery, LoadError,
    Loaded, PastRecord, SetAside, Stamp, Store, StoreFailure, UnixMillis, Unusable,
};
use tables::{
    create_tables, find_past, forget_leases, is_new, raise_term, read, trim_by_age, write_batch,
};

/// Keeps everything in a file.
#[derive(Debug)]
pub struct RedbStore {
    medium: Box<dyn Medium>,
    limits: HistoryLimits,
    database: Arc<Shared>,
    /// There are commits that the file has not been sealed behind.
    unsealed: bool,
}

impl RedbStore {
    /// The store in this file, which need not be there yet. Nothing is touched before [`Store::load`].
    pub fn new(path: PathBuf, limits: HistoryLimits) -> Self {
        Self::on(FileMedium::new(path), limits)
    }

    pub(super) fn on(medium: impl Medium + 'static, limits: HistoryLimits) -> Self {
        Self {
            medium: Box::new(medium),
            limits,
            database: Arc::default(),
            unsealed: false,
        }
    }

    fn io(&self, error: io::Error) -> LoadError {
        let path = self.medium.path().to_owned();
        LoadError::Io { path, error }
    }

    /// Reads what an earlier process left, all of it.
    fn open(&mut self, stamp: Stamp) -> Result<Loaded, Fault> {
        let (database, torn) = open(&*self.medium)?;
        if is_new(&database)? {
            self.begin(database)?;
            return Ok(Loaded::default());
        }
        let loaded = read(&database, stamp)?;
        if loaded.leases.is_none() {
            forget_leases(&database)?;
        }
        self.database.set(Some(database));
        Ok(Loaded { torn, ..loaded })
    }

    fn begin(&mut self, database: Database) -> Result<(), Fault> {
        let mut transaction = database.begin_write().map_err(Error::from)?;
        transaction.set_two_phase_commit(true);
        create_tables(&transaction)?;
        transaction.commit().map_err(Error::from)?;
        self.medium.keep().map_err(Fault::Io)?;
        self.database.set(Some(database));
        Ok(())
    }

    /// A transaction to write with. After a failure the database has been closed, and is opened again.
    fn begin_write(&mut self) -> Result<WriteTransaction, StoreFailure> {
        let mut database = self.database.lock();
        let open = match &mut *database {
            Some(open) => open,
            closed => match self.medium.found().map_err(Error::from)? {
                Found::Bytes => closed.insert(open(&*self.medium)?.0),
                Found::Empty => return Err(Unusable::Damaged(Damage::Empty).into()),
                Found::Nothing => return Err(Unusable::Damaged(Damage::Gone).into()),
            },
        };
        Ok(open.begin_write().map_err(Error::from)?)
    }

    /// A database that could not write refuses to do so again before it has been opened again.
    fn or_close<T>(&self, outcome: Result<T, CommitError>) -> Result<T, CommitError> {
        if let Err(CommitError::Failed(_)) = &outcome {
            self.database.set(None);
        }
        outcome
    }

    fn write(&mut self, batch: &Batch, term: u64) -> Result<(), CommitError> {
        let transaction = self.begin_write()?;
        let stored = raise_term(&transaction, term).map_err(StoreFailure::from)?;
        if stored > term {
            return Err(CommitError::Deposed { stored, term });
        }
        self.unsealed = true;
        write_batch(&transaction, batch, self.limits)
            .and_then(|()| Ok(transaction.commit()?))
            .map_err(StoreFailure::from)?;
        Ok(())
    }

    fn seal(&mut self, now: UnixMillis) -> Result<(), CommitError> {
        let mut transaction = self.begin_write()?;
        let expired = trim_by_age(&transaction, now.before(self.limits.max_age))
            .map_err(StoreFailure::from)?;
        if expired || self.unsealed {
            transaction.set_two_phase_commit(true);
            transaction
                .commit()
                .map_err(|error| StoreFailure::from(Error::from(error)))?;
            self.unsealed = false;
        }
        Ok(())
    }
}

impl Store for RedbStore {
    fn load(&mut self, stamp: Stamp) -> Result<Loaded, LoadError> {
        self.medium.hold()?;
        let found = self.medium.found().map_err(|error| self.io(error))?;
        let opened = match found {
            Found::Nothing | Found::Bytes => self.open(stamp),
            Found::Empty => Err(Unusable::Damaged(Damage::Empty).into()),
        };
        let why = match opened {
            Ok(loaded) => return Ok(loaded),
            Err(Fault::InUse) => {
                let path = self.medium.path().to_owned();
                return Err(LoadError::InUse { path });
            }
            Err(Fault::Io(error)) => return Err(self.io(error)),
            Err(Fault::Unusable(why)) => why,
        };
        let path = self.medium.path().to_owned();
        let to = self.medium.set_aside(&why, stamp.unix);
        let to = to.map_err(|error| self.io(error))?;
        let set_aside = Some(SetAside { path, to, why });
        let loaded = self.open(stamp).map_err(|fault| match fault {
            Fault::InUse => LoadError::InUse {
                path: self.medium.path().to_owned(),
            },
            Fault::Io(error) => self.io(error),
            Fault::Unusable(why) => self.io(io::Error::other(why)),
        })?;
        Ok(Loaded {
            set_aside,
            ..loaded
        })
    }

    fn commit(&mut self, batch: &Batch, term: u64) -> Result<(), CommitError> {
        let outcome = self.write(batch, term);
        self.or_close(outcome)
    }

    fn tend(&mut self, now: UnixMillis) -> Result<(), CommitError> {
        let outcome = self.seal(now);
        self.or_close(outcome)
    }

    fn history(&self) -> Arc<dyn History> {
        Arc::clone(&self.database) as Arc<dyn History>
    }
}

/// The database, for the one who writes and those who read. It is locked to begin a transaction, not while one runs.
#[derive(Debug, Default)]
struct Shared(Mutex<Option<Database>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Database>> {
        // An option is whole between any two of its calls.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, database: Option<Database>) {
        *self.lock() = database;
    }
}

impl History for Shared {
    fn query(&self, query: &HistoryQuery) -> Result<Vec<PastRecord>, HistoryError> {
        let transaction = match &*self.lock() {
            Some(database) => database.begin_read(),
            None => return Err(HistoryError::Away),
        };
        let transaction = transaction.map_err(|error| Damage::from(Error::from(error)))?;
        Ok(find_past(&transaction, query)?)
    }
}

/// Why a database that is there has not been opened.
#[derive(Debug)]
enum Fault {
    InUse,
    Io(io::Error),
    Unusable(Unusable),
}

impl From<Unusable> for Fault {
    fn from(why: Unusable) -> Self {
        Self::Unusable(why)
    }
}

impl From<Damage> for Fault {
    fn from(damage: Damage) -> Self {
        Self::Unusable(Unusable::Damaged(damage))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        match error {
            Error::DatabaseAlreadyOpen | Error::LockProtocolMismatch => Self::InUse,
            // These two are about what is in the file; any other word of the system's is about the system.
            Error::Io(error)
                if !matches!(
                    error.kind(),
                    io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
                ) =>
            {
                Self::Io(error)
            }
            error => Damage::Database(error).into(),
        }
    }
}

impl From<Fault> for StoreFailure {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::InUse => Self::Database(Error::DatabaseAlreadyOpen),
            Fault::Io(error) => Self::Database(Error::Io(error)),
            Fault::Unusable(why) => Self::Unusable(why),
        }
    }
}

/// Opens a database, and tells whether its last commit was torn.
fn open(medium: &dyn Medium) -> Result<(Database, bool), Fault> {
    let torn = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&torn);
    let mut builder = Builder::new();
    builder
        .set_cache_size(CACHE)
        .set_check_integrity_on_open(true)
        .set_repair_callback(move |repair| {
            // The second of its stages, which it comes to only if the last commit is not whole.
            if (0.1..0.5).contains(&repair.progress()) {
                seen.store(true, Ordering::Relaxed);
            }
        });
    // It says of most damage that it is damage, and promises it of none.
    let opened = catch_unwind(AssertUnwindSafe(|| medium.open(&builder)));
    let database = match opened {
        Ok(database) => database.map_err(Error::from)?,
        Err(_) => return Err(Damage::Panicked.into()),
    };
    Ok((database, torn.load(Ordering::Relaxed)))
}

/// Pages that are kept in memory, in bytes.
const CACHE: usize = 16 << 20;
