use proptest::prelude::*;

use super::disk::{Disk, Kept, after_crash};
use super::*;

/// What a process does with its store, and when it and its machine end.
#[derive(Clone, Debug)]
enum Step {
    Commit(u64),
    Tend,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0..60u64).prop_map(Step::Commit),
        1 => Just(Step::Tend),
    ];
    prop::collection::vec(step, 1..12)
}

fn kept() -> impl Strategy<Value = Kept> {
    prop_oneof![
        Just(Kept::All),
        Just(Kept::None),
        (0..8usize).prop_map(Kept::Sectors),
    ]
}

/// What had been done when the disk had been called so often.
struct Seen {
    calls: usize,
    remembered: Remembered,
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn a_crash_loses_nothing_that_was_durable(
        steps in steps(),
        learnt in any::<bool>(),
        at in any::<prop::sample::Index>(),
        kept in prop::collection::vec(kept(), 64),
    ) {
        let disk = Disk::default();
        let mut store = RedbStore::on(disk.clone(), LIMITS);
        store.load(STAMP).unwrap();
        let ready = disk.state().calls.len();
        let mut remembered = Remembered::default();
        // When each commit was begun, and what is to be found from when it has returned.
        let mut begun = vec![Seen { calls: 0, remembered: remembered.clone() }];
        let mut durable = vec![Seen { calls: 0, remembered: remembered.clone() }];
        for step in steps {
            let calls = disk.state().calls.len();
            match step {
                Step::Commit(number) => {
                    let mut batch = batch(number);
                    batch.learnt = learnt;
                    remembered.apply(&batch, number + 1);
                    store.commit(&batch, remembered.term).unwrap();
                    begun.push(Seen { calls, remembered: remembered.clone() });
                    durable.push(Seen {
                        calls: disk.state().calls.len(),
                        remembered: remembered.clone(),
                    });
                }
                Step::Tend => store.tend(STAMP.unix).unwrap(),
            }
        }
        let calls = std::mem::take(&mut disk.state().calls);
        let crash = at.index(calls.len() + 1);
        let mut choices = kept.iter().copied().cycle();
        let bytes = after_crash(&calls[..crash], || choices.next().unwrap());

        let disk = Disk::with(bytes);
        let mut store = RedbStore::on(disk.clone(), LIMITS);
        let loaded = store.load(STAMP).unwrap();
        let first = durable.iter().filter(|seen| seen.calls <= crash).count() - 1;
        let last = begun.iter().filter(|seen| seen.calls == 0 || seen.calls < crash).count() - 1;
        if let Some(aside) = &loaded.set_aside {
            // Nothing was in it yet.
            prop_assert!(crash < ready, "{}", aside);
        }
        let found = Remembered::of(&loaded, &*store.history());
        let possible: Vec<_> = begun[first..=last.max(first)]
            .iter()
            .map(|seen| seen.remembered.clone().found())
            .collect();
        prop_assert!(possible.contains(&found), "found {:?}\nof {:?}", found, possible);
    }
}
