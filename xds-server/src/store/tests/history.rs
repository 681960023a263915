use super::disk::Disk;
use super::*;

fn stores() -> [Box<dyn Store>; 2] {
    let limits = HistoryLimits {
        max_age: Duration::from_secs(100),
        max_sessions: 50,
    };
    let mut stores: [Box<dyn Store>; 2] = [
        Box::new(MemoryStore::new(limits)),
        Box::new(RedbStore::on(Disk::default(), limits)),
    ];
    for store in &mut stores {
        store.load(STAMP).unwrap();
    }
    stores
}

fn numbers(store: &dyn Store, query: &HistoryQuery) -> Vec<u64> {
    let found = store.history().query(query).unwrap();
    found.iter().map(|past| past.fence.sequence).collect()
}

/// Sessions that ended so many seconds ago, the oldest first, as they come.
fn add(store: &mut dyn Store, ended: impl DoubleEndedIterator<Item = u64>) {
    for number in ended.rev() {
        let mut batch = Batch::default();
        batch.past(STAMP, past(number));
        store.commit(&batch, 1).unwrap();
    }
}

#[test]
fn sessions_are_found_by_what_is_asked_for() {
    let all = HistoryQuery::default();
    let ended = |seconds| Some(STAMP.to_unix(ago(seconds)));
    let cases = [
        (all.clone(), (0..40).collect::<Vec<_>>()),
        (
            HistoryQuery {
                limit: Limit::new(3).unwrap(),
                ..all.clone()
            },
            vec![0, 1, 2],
        ),
        (
            HistoryQuery {
                session: Some("session-12".into()),
                ..all.clone()
            },
            vec![12],
        ),
        (
            HistoryQuery {
                subject: Some("user-30".into()),
                ..all.clone()
            },
            vec![30],
        ),
        (
            HistoryQuery {
                tenant: Some("tenant-1".into()),
                pool: Some("pool-0".into()),
                ..all.clone()
            },
            vec![4, 10, 16, 22, 28, 34],
        ),
        (
            HistoryQuery {
                instance: Some(name(2)),
                limit: Limit::new(2).unwrap(),
                ..all.clone()
            },
            vec![2, 7],
        ),
        (
            HistoryQuery {
                since: ended(7),
                until: ended(4),
                ..all.clone()
            },
            vec![5, 6, 7],
        ),
        (
            HistoryQuery {
                since: ended(4),
                until: ended(7),
                ..all.clone()
            },
            vec![],
        ),
        (
            HistoryQuery {
                tenant: Some("nobody".into()),
                ..all
            },
            vec![],
        ),
    ];
    for mut store in stores() {
        add(&mut *store, 0..40);
        for (query, expected) in &cases {
            assert_eq!(numbers(&*store, query), *expected, "{store:?} {query:?}");
        }
    }
}

#[test]
fn limits_are_within_bounds() {
    let limits = [0, 1, 10_000, 10_001].map(|limit| Limit::new(limit).map(Limit::get));
    assert_eq!(limits, [None, Some(1), Some(10_000), None]);
    assert_eq!(Limit::default().get(), 100);
}

#[test]
fn the_oldest_go_when_there_are_too_many_or_they_are_too_old() {
    let all = HistoryQuery::default();
    for mut store in stores() {
        add(&mut *store, 0..60);
        assert_eq!(numbers(&*store, &all), (0..50).collect::<Vec<_>>());
        store
            .tend(STAMP.unix.after(Duration::from_secs(70)))
            .unwrap();
        assert_eq!(numbers(&*store, &all), (0..=30).collect::<Vec<_>>());
        store
            .tend(STAMP.unix.after(Duration::from_secs(999)))
            .unwrap();
        assert!(numbers(&*store, &all).is_empty());
    }
}

/// A session that is written again, as after a failure that came too late, is one session.
#[test]
fn a_session_is_kept_once() {
    for mut store in stores() {
        add(&mut *store, 5..8);
        add(&mut *store, 5..8);
        assert_eq!(numbers(&*store, &HistoryQuery::default()), [5, 6, 7]);
    }
}

/// Who reads keeps what was there when the reading began, and holds up nobody who writes.
#[test]
fn reading_goes_on_beside_writing() {
    let [_, mut store] = stores();
    add(&mut *store, 0..20);
    let history = store.history();
    let reader = std::thread::spawn(move || {
        let query = HistoryQuery::default();
        (0..50)
            .map(|_| history.query(&query).unwrap().len())
            .collect::<Vec<_>>()
    });
    add(&mut *store, 20..40);
    let found = reader.join().unwrap();
    assert!(found.is_sorted() && found.iter().all(|found| (20..=40).contains(found)));
}
