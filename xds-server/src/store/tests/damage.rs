use proptest::prelude::*;

use super::disk::Disk;
use super::*;

/// A disk as it is when a process has been killed a moment after its last commit, or has ended properly.
fn written(sealed: bool, closed: bool) -> (Vec<u8>, Remembered) {
    let disk = Disk::default();
    let mut store = RedbStore::on(disk.clone(), LIMITS);
    store.load(STAMP).unwrap();
    let mut remembered = Remembered::default();
    for number in 0..30 {
        let batch = batch(number);
        remembered.apply(&batch, 3);
        store.commit(&batch, 3).unwrap();
    }
    if sealed {
        store.tend(STAMP.unix).unwrap();
    }
    if closed {
        drop(store);
    }
    let bytes = disk.state().bytes.clone();
    (bytes, remembered)
}

#[derive(Debug, PartialEq)]
enum Found {
    /// What was written.
    Same,
    /// Nothing, and that the file is damaged.
    SetAside,
    /// That the last commit was torn.
    Torn,
}

fn load(bytes: &[u8], remembered: &Remembered) -> Found {
    let disk = Disk::with(bytes.to_vec());
    let mut store = RedbStore::on(disk.clone(), LIMITS);
    let loaded = store.load(STAMP).unwrap();
    let found = Remembered::of(&loaded, &*store.history());
    if loaded.set_aside.is_some() {
        assert_eq!(found, Remembered::default());
        assert_eq!(disk.state().set_aside.len(), 1);
        Found::SetAside
    } else if loaded.torn {
        Found::Torn
    } else {
        assert_eq!(found, *remembered);
        Found::Same
    }
}

#[test]
fn a_changed_byte_is_found_or_makes_no_difference() {
    // The header ends there.
    let pages = 320;
    for closed in [false, true] {
        let (bytes, remembered) = written(true, closed);
        assert_eq!(load(&bytes, &remembered), Found::Same);
        let header = (0..pages).map(|at| (at, 1 << (at % 8)));
        // Its flags are in one byte.
        let flags = (0..8).map(|bit| (9, 1 << bit));
        let elsewhere = (pages..bytes.len()).step_by(1531).map(|at| (at, 0x41));
        let written = elsewhere.filter(|(at, _)| {
            let around = &bytes[at - at % 64..];
            around.iter().take(64).any(|byte| *byte != 0)
        });
        let mut damaged = 0;
        for (at, mask) in header.chain(flags).chain(written) {
            let mut changed = bytes.clone();
            changed[at] ^= mask;
            let found = load(&changed, &remembered);
            assert_ne!(found, Found::Torn, "{at} {mask}");
            damaged += u32::from(found == Found::SetAside);
        }
        assert!(damaged > 50, "{damaged}");
    }
}

/// Before the file is sealed, a damaged commit looks like one that was torn.
#[test]
fn a_torn_commit_is_told() {
    let (bytes, remembered) = written(false, false);
    let (sealed, _) = written(true, false);
    assert_eq!(load(&bytes, &remembered), Found::Same);
    let torn = (4096..bytes.len().min(sealed.len()))
        .step_by(512)
        .any(|at| {
            let mut changed = bytes.clone();
            changed[at] ^= 0x41;
            let disk = Disk::with(changed);
            let loaded = RedbStore::on(disk, LIMITS).load(STAMP).unwrap();
            loaded.torn && loaded.set_aside.is_none()
        });
    assert!(torn);
}

#[test]
fn a_file_that_ends_early_is_found() {
    for closed in [false, true] {
        let (bytes, remembered) = written(true, closed);
        for len in (1..bytes.len()).step_by(9973).chain([1, 9, 10, 320, 4096]) {
            assert_eq!(load(&bytes[..len], &remembered), Found::SetAside, "{len}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_bytes_are_found_to_be_no_store(bytes in prop::collection::vec(any::<u8>(), 1..20_000)) {
        prop_assert_eq!(load(&bytes, &Remembered::default()), Found::SetAside);
    }

    #[test]
    fn a_stretch_of_another_file_is_found_or_makes_no_difference(
        at in any::<prop::sample::Index>(),
        stretch in prop::collection::vec(any::<u8>(), 1..9000),
        zeros in any::<bool>(),
    ) {
        let (mut bytes, remembered) = written(true, false);
        let at = at.index(bytes.len());
        for (byte, other) in bytes[at..].iter_mut().zip(stretch) {
            *byte = if zeros { 0 } else { other };
        }
        prop_assert_ne!(load(&bytes, &remembered), Found::Torn);
    }
}
