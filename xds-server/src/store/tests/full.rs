//! A disk without room.

use std::io;
use std::process::Command;

use super::disk::Disk;
use super::*;

fn is_full(error: &CommitError) -> bool {
    let CommitError::Failed(StoreFailure::Database(error)) = error else {
        return false;
    };
    matches!(error, ::redb::Error::Io(error) if error.kind() == io::ErrorKind::StorageFull)
}

#[test]
fn what_found_no_room_is_written_when_there_is_some() {
    let disk = Disk::default();
    let mut store = RedbStore::on(disk.clone(), LIMITS);
    store.load(STAMP).unwrap();
    let history = store.history();
    let mut remembered = Remembered::default();
    for number in 0..30 {
        let batch = batch(number);
        let written = || Remembered::of(&reload(&disk), &*MemoryStore::new(LIMITS).history());
        if number % 3 == 1 {
            disk.state().full = true;
            for _ in 0..3 {
                let refused = store.commit(&batch, 1).unwrap_err();
                assert!(is_full(&refused), "{refused}");
                let away = history.query(&HistoryQuery::default());
                assert!(matches!(away, Err(HistoryError::Away)));
            }
            disk.state().full = false;
            let mut found = written();
            found.past.clone_from(&remembered.past);
            assert_eq!(found, remembered);
        }
        store.commit(&batch, 1).unwrap();
        remembered.apply(&batch, 1);
    }
    drop(store);
    let mut store = RedbStore::on(disk, LIMITS);
    let loaded = store.load(STAMP).unwrap();
    assert_eq!(Remembered::of(&loaded, &*store.history()), remembered);
}

/// What a process would find that started now, on a copy.
fn reload(disk: &Disk) -> Loaded {
    let copy = Disk::with(disk.state().bytes.clone());
    RedbStore::on(copy, LIMITS).load(STAMP).unwrap()
}

/// A file system of two megabytes, unmounted when it is dropped.
struct Small(tempfile::TempDir);

impl Small {
    /// `None` where the test may not mount anything.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=2m", "berth-test"]);
        let mounted = mount.arg(folder.path()).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        mounted.then_some(Self(folder))
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_file_system_loses_nothing() {
    let Some(small) = Small::mount() else {
        eprintln!("skipped: no right to mount a file system here");
        return;
    };
    let path = small.0.path().join("berth.redb");
    let ballast = small.0.path().join("ballast");
    let mut store = RedbStore::new(path.clone(), LIMITS);
    store.load(STAMP).unwrap();
    let mut remembered = Remembered::default();
    let mut refused = 0;
    for number in 0..200 {
        let mut batch = batch(number);
        for more in 0..20 {
            batch.past(STAMP, past(1000 + number * 20 + more));
        }
        if number == 20 {
            // All the room there is, but for less than a block.
            let mut file = std::fs::File::create(&ballast).unwrap();
            let error = io::copy(&mut io::repeat(7), &mut file).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        }
        while let Err(error) = store.commit(&batch, 1) {
            assert!(is_full(&error), "{error}");
            refused += 1;
            if refused == 3 {
                std::fs::remove_file(&ballast).unwrap();
            }
            assert!(refused <= 3, "{error}");
        }
        remembered.apply(&batch, 1);
        if refused == 3 {
            break;
        }
    }
    assert_eq!(refused, 3);
    drop(store);
    let mut store = RedbStore::new(path, LIMITS);
    let loaded = store.load(STAMP).unwrap();
    let mut found = Remembered::of(&loaded, &*store.history());
    // Part of the history was too old to be kept.
    found.past.clone_from(&remembered.past);
    assert_eq!(found, remembered);
}
