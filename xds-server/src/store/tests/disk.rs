//! A disk that can be full, lose what was not synced, and be looked at.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use ::redb::{Builder, Database, DatabaseError, StorageBackend};

use super::super::medium::{Found, Medium};
use super::super::{LoadError, UnixMillis, Unusable};

/// What was asked of a disk.
#[derive(Clone, Debug)]
pub(super) enum Call {
    Write(u64, Vec<u8>),
    SetLen(u64),
    Sync,
}

#[derive(Debug, Default)]
pub(super) struct State {
    /// As it is read.
    pub(super) bytes: Vec<u8>,
    pub(super) calls: Vec<Call>,
    /// Nothing can be written.
    pub(super) full: bool,
    pub(super) set_aside: Vec<Vec<u8>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Disk(Arc<Mutex<State>>);

impl Disk {
    pub(super) fn with(bytes: Vec<u8>) -> Self {
        Self(Arc::new(Mutex::new(State {
            bytes,
            ..State::default()
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn write(&self, call: Call) -> io::Result<()> {
        let mut state = self.state();
        if state.full {
            return Err(io::ErrorKind::StorageFull.into());
        }
        apply(&mut state.bytes, &call);
        state.calls.push(call);
        Ok(())
    }
}

/// What a disk holds after a crash: every call up to the last sync, and of those after it what `kept` says, in
/// sectors from the start of each.
pub(super) fn after_crash(calls: &[Call], mut kept: impl FnMut() -> Kept) -> Vec<u8> {
    let synced = calls.iter().rposition(|call| matches!(call, Call::Sync));
    let (synced, unsynced) = calls.split_at(synced.map_or(0, |last| last + 1));
    let mut bytes = Vec::new();
    for call in synced {
        apply(&mut bytes, call);
    }
    for call in unsynced {
        match (kept(), call) {
            (Kept::All, call) => apply(&mut bytes, call),
            (Kept::Sectors(sectors), Call::Write(offset, data)) => {
                let torn = data.len().min(sectors * SECTOR);
                apply(&mut bytes, &Call::Write(*offset, data[..torn].to_vec()));
            }
            (Kept::None | Kept::Sectors(_), _) => {}
        }
    }
    bytes
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    All,
    None,
    Sectors(usize),
}

const SECTOR: usize = 512;

fn apply(bytes: &mut Vec<u8>, call: &Call) {
    match call {
        Call::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            let end = start + data.len();
            bytes.resize(bytes.len().max(end), 0);
            bytes[start..end].copy_from_slice(data);
        }
        Call::SetLen(len) => bytes.resize(usize::try_from(*len).unwrap(), 0),
        Call::Sync => {}
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let start = usize::try_from(offset).unwrap();
        let state = self.state();
        let found = start
            .checked_add(out.len())
            .and_then(|end| state.bytes.get(start..end));
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.write(Call::SetLen(len))
    }

    fn sync_data(&self) -> io::Result<()> {
        self.write(Call::Sync)
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write(Call::Write(offset, data.to_vec()))
    }
}

impl Medium for Disk {
    fn hold(&mut self) -> Result<(), LoadError> {
        Ok(())
    }

    fn found(&self) -> io::Result<Found> {
        Ok(match self.state().bytes.len() {
            0 => Found::Nothing,
            _ => Found::Bytes,
        })
    }

    fn open(&self, builder: &Builder) -> Result<Database, DatabaseError> {
        builder.create_with_backend(self.clone())
    }

    fn keep(&self) -> io::Result<()> {
        Ok(())
    }

    fn set_aside(&self, _: &Unusable, _: UnixMillis) -> io::Result<PathBuf> {
        let mut state = self.state();
        let bytes = std::mem::take(&mut state.bytes);
        state.set_aside.push(bytes);
        Ok("aside".into())
    }

    fn path(&self) -> &Path {
        Path::new("disk")
    }
}
