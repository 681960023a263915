//! Where a store's database is kept.

use std::ffi::OsString;
use std::fmt;
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use ::redb::backends::FileBackend;
use ::redb::{Builder, Database, DatabaseError};

use super::{LoadError, UnixMillis, Unusable};

/// A place for one database.
pub(super) trait Medium: fmt::Debug + Send {
    /// Keeps other processes away until this one ends.
    fn hold(&mut self) -> Result<(), LoadError>;

    /// What is there.
    fn found(&self) -> io::Result<Found>;

    /// Opens what is there, or begins a new database.
    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError>;

    /// Makes sure that a database that has been begun is found again.
    fn keep(&self) -> io::Result<()>;

    /// Gives what is there another name.
    fn set_aside(&self, why: &Unusable, now: UnixMillis) -> io::Result<PathBuf>;

    /// Its name.
    fn path(&self) -> &Path;
}

/// What is in the place of a database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A file without a byte. Nobody leaves one but who was stopped between two calls, or a disk that lost something.
    Empty,
    Bytes,
}

/// A file.
#[derive(Debug)]
pub(super) struct FileMedium {
    path: PathBuf,
    /// The file beside it that is locked. The database's own lock is on a file that may be set aside, and is let go
    /// whenever it is opened again.
    lock: Option<File>,
}

impl FileMedium {
    pub(super) fn new(path: PathBuf) -> Self {
        Self { path, lock: None }
    }

    fn beside(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.path);
        name.push(suffix);
        name.into()
    }
}

impl Medium for FileMedium {
    fn hold(&mut self) -> Result<(), LoadError> {
        let path = self.beside(".lock");
        let file = private().create(true).truncate(false).open(&path);
        let locked = file.map(|file| (file.try_lock(), file));
        match locked {
            Ok((Ok(()), file)) => {
                self.lock = Some(file);
                Ok(())
            }
            Ok((Err(TryLockError::WouldBlock), _)) => Err(LoadError::InUse {
                path: self.path.clone(),
            }),
            Ok((Err(TryLockError::Error(error)), _)) | Err(error) => {
                Err(LoadError::Io { path, error })
            }
        }
    }

    fn found(&self) -> io::Result<Found> {
        match std::fs::metadata(&self.path) {
            Ok(metadata) if metadata.len() == 0 => Ok(Found::Empty),
            Ok(_) => Ok(Found::Bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        let file = private().create(true).truncate(false).open(&self.path)?;
        builder.create_with_backend(FileBackend::new(file)?)
    }

    fn keep(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }

    fn set_aside(&self, why: &Unusable, now: UnixMillis) -> io::Result<PathBuf> {
        let what = match why {
            Unusable::Damaged(_) => "damaged",
            Unusable::Newer { .. } => "newer",
        };
        let to = format!(".{what}-{}", now.0 / 1000);
        let mut name = self.beside(&to);
        // What was set aside before is kept as well.
        let mut number = 1;
        while name.try_exists()? {
            number += 1;
            name = self.beside(&format!("{to}-{number}"));
        }
        std::fs::rename(&self.path, &name)?;
        self.keep()?;
        Ok(name)
    }

    fn path(&self) -> &Path {
        &self.path
    }
}

/// Who uses which instance when is nobody else's business.
fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}
