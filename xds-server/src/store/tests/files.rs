use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use ::redb::{Database, ReadableDatabase, TableDefinition};

use super::*;

fn open(path: &Path) -> (RedbStore, Loaded) {
    let mut store = RedbStore::new(path.to_owned(), LIMITS);
    let loaded = store.load(STAMP).unwrap();
    (store, loaded)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> = names.filter(|name| !name.ends_with(".lock")).collect();
    names.sort();
    names
}

#[test]
fn the_next_process_finds_what_was_committed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let mut remembered = Remembered::default();
    for process in 0..3 {
        let (mut store, loaded) = open(&path);
        assert!(loaded.set_aside.is_none() && !loaded.torn);
        assert_eq!(Remembered::of(&loaded, &*store.history()), remembered);
        for number in 0..5 {
            let batch = batch(process * 5 + number);
            remembered.apply(&batch, process + 1);
            store.commit(&batch, process + 1).unwrap();
        }
    }
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

/// A process that ended while it was still learning has not written all there is.
#[test]
fn leases_are_known_once_all_have_been_learnt() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let mut batch = batch(1);
    assert!(!batch.learnt);
    open(&path).0.commit(&batch, 5).unwrap();

    let (mut store, loaded) = open(&path);
    assert_eq!(loaded.leases, None);
    assert_eq!((loaded.term, loaded.quarantined.len()), (5, 0));
    assert!(loaded.drained.is_empty());
    let mut learnt = Batch::default();
    learnt.learnt();
    learnt.lease(STAMP, name(99), Some(lease(99, 4)));
    store.commit(&learnt, 6).unwrap();
    drop(store);

    let (mut store, loaded) = open(&path);
    assert_eq!(loaded.leases, Some(vec![lease(99, 4)]));
    batch.lease(STAMP, name(99), None);
    store.commit(&batch, 6).unwrap();
    drop(store);
    let leases = open(&path).1.leases.unwrap();
    assert!(leases.iter().all(|lease| lease.instance != name(99)));
}

#[test]
fn a_deposed_process_writes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let (mut store, _) = open(&path);
    store.commit(&batch(0), 8).unwrap();
    let refused = store.commit(&batch(1), 7);
    assert!(matches!(
        refused,
        Err(CommitError::Deposed { stored: 8, term: 7 })
    ));
    store.commit(&batch(2), 8).unwrap();
    drop(store);
    let (store, loaded) = open(&path);
    let mut remembered = Remembered::default();
    remembered.apply(&batch(0), 8);
    remembered.apply(&batch(2), 8);
    assert_eq!(Remembered::of(&loaded, &*store.history()), remembered);
}

#[test]
fn a_store_is_one_process_own() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let (first, _) = open(&path);
    let refused = RedbStore::new(path.clone(), LIMITS).load(STAMP);
    let Err(error @ LoadError::InUse { .. }) = refused else {
        panic!("{refused:?}");
    };
    assert!(error.to_string().contains("another berth"), "{error}");
    assert_eq!(names(folder.path()), ["berth.redb"]);
    drop(first);
    open(&path);
}

#[test]
fn a_file_of_the_first_format_goes_on_as_one_of_this() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let mut remembered = Remembered::default();
    let mut first = batch(0);
    first.revocations.clear();
    remembered.apply(&first, 1);
    open(&path).0.commit(&first, 1).unwrap();
    // As it was written then: without the table.
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let none: TableDefinition<(u64, u64), &[u8]> = TableDefinition::new("revocations");
    assert!(transaction.delete_table(none).unwrap());
    transaction
        .open_table(META)
        .unwrap()
        .insert("format", 1)
        .unwrap();
    transaction.commit().unwrap();
    drop(database);

    let (mut store, loaded) = open(&path);
    assert!(loaded.set_aside.is_none());
    assert_eq!(Remembered::of(&loaded, &*store.history()), remembered);
    let next = batch(1);
    remembered.apply(&next, 2);
    store.commit(&next, 2).unwrap();
    drop(store);
    let (store, loaded) = open(&path);
    assert_eq!(Remembered::of(&loaded, &*store.history()), remembered);
    assert!(!remembered.revocations.is_empty());
    drop(store);
    // An earlier version would not know what to make of it.
    let database = Database::open(&path).unwrap();
    let meta = database.begin_read().unwrap().open_table(META).unwrap();
    let format = meta.get("format").unwrap().unwrap().value();
    assert_eq!(format, format::FORMAT);
}

#[test]
fn what_cannot_be_used_is_set_aside() {
    const OTHER: TableDefinition<u64, u64> = TableDefinition::new("other");
    type Spoil = fn(&Path);
    let newer: Spoil = |path| {
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut meta = transaction.open_table(META).unwrap();
        meta.insert("format", format::FORMAT + 1).unwrap();
        drop(meta);
        transaction.commit().unwrap();
    };
    let foreign: Spoil = |path| {
        std::fs::remove_file(path).unwrap();
        let database = Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(OTHER).unwrap();
        transaction.commit().unwrap();
    };
    let record: Spoil = |path| {
        const LEASES: TableDefinition<&str, &[u8]> = TableDefinition::new("leases");
        let database = Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        let mut leases = transaction.open_table(LEASES).unwrap();
        leases.insert("instance-1", &b"\x52\x03odd"[..]).unwrap();
        drop(leases);
        transaction.commit().unwrap();
    };
    let cases: [(Spoil, &str, &str); 5] = [
        (
            |path| std::fs::write(path, "pools:\n").unwrap(),
            "damaged",
            "magic number",
        ),
        (|path| std::fs::write(path, "").unwrap(), "damaged", "empty"),
        (newer, "newer", "format 3"),
        (foreign, "damaged", "something else"),
        (record, "damaged", "state is \"odd\""),
    ];
    for (spoil, kind, said) in cases {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("berth.redb");
        open(&path).0.commit(&batch(0), 1).unwrap();
        spoil(&path);

        let (mut store, loaded) = open(&path);
        let aside = loaded.set_aside.as_ref().unwrap();
        let aside_name = format!("berth.redb.{kind}-1700000000");
        assert_eq!(names(folder.path()), ["berth.redb", &aside_name]);
        let text = aside.to_string();
        assert!(text.contains(said) && text.contains(&aside_name), "{text}");
        let kept = std::fs::read(&aside.to).unwrap();
        assert_eq!(
            Remembered::of(&loaded, &*store.history()),
            Remembered::default()
        );
        store.commit(&batch(0), 1).unwrap();
        drop(store);

        std::fs::write(&path, "once more").unwrap();
        open(&path);
        assert_eq!(names(folder.path()).len(), 3);
        assert_eq!(std::fs::read(&aside.to).unwrap(), kept);
    }
}

#[test]
fn the_system_refusing_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    for path in ["missing/berth.redb", "."] {
        let path = folder.path().join(path);
        let refused = RedbStore::new(path.clone(), LIMITS).load(STAMP);
        assert!(
            matches!(refused, Err(LoadError::Io { .. })),
            "{path:?} {refused:?}"
        );
    }
    assert_eq!(names(folder.path()), Vec::<String>::new());
}

const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
