//! The writer, with a store that does what it is told.

use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use tokio::sync::watch;

use super::super::writer::{Failing, Health, Journal, Progress, StopError, Ticket, Writer};
use super::*;
use crate::clock::Clock;

/// Shows each batch that it is to commit, and waits to be told how that goes.
#[derive(Debug)]
struct Scripted {
    shown: Sender<(Batch, u64)>,
    outcomes: Receiver<Result<(), CommitError>>,
}

impl Store for Scripted {
    fn load(&mut self, _: Stamp) -> Result<Loaded, LoadError> {
        Ok(Loaded::default())
    }

    fn commit(&mut self, batch: &Batch, term: u64) -> Result<(), CommitError> {
        self.shown.send((batch.clone(), term)).unwrap();
        self.outcomes.recv().unwrap()
    }

    fn tend(&mut self, _: UnixMillis) -> Result<(), CommitError> {
        Ok(())
    }

    fn history(&self) -> Arc<dyn History> {
        MemoryStore::new(LIMITS).history()
    }
}

struct Scene {
    writer: Writer,
    journal: Journal,
    progress: watch::Receiver<Progress>,
    batches: Receiver<(Batch, u64)>,
    outcomes: Sender<Result<(), CommitError>>,
}

fn scene() -> Scene {
    let (shown, batches) = channel();
    let (outcomes, told) = channel();
    let store = Scripted {
        shown,
        outcomes: told,
    };
    let (writer, journal, progress) = Writer::start(Box::new(store), 9, Clock::start()).unwrap();
    Scene {
        writer,
        journal,
        progress,
        batches,
        outcomes,
    }
}

fn of_instance(instance: u64, number: u64) -> Batch {
    let mut batch = Batch::default();
    batch.lease(STAMP, name(instance), Some(lease(instance, number)));
    batch
}

fn leases(batch: &Batch) -> Vec<(String, u64)> {
    let leases = batch.leases.iter();
    let numbers = leases.map(|(name, lease)| {
        let (_, lease) = lease.as_ref().unwrap();
        (name.to_string(), lease.fence.sequence)
    });
    numbers.collect()
}

fn no_room() -> CommitError {
    let error = io::Error::from(io::ErrorKind::StorageFull);
    StoreFailure::Database(::redb::Error::Io(error)).into()
}

async fn wait(
    progress: &mut watch::Receiver<Progress>,
    what: impl FnMut(&Progress) -> bool,
) -> Progress {
    let waited = progress.wait_for(what);
    let waited = tokio::time::timeout(Duration::from_secs(30), waited).await;
    waited.unwrap().unwrap().clone()
}

#[tokio::test]
async fn what_comes_during_a_commit_goes_with_the_next() {
    let mut scene = scene();
    assert_eq!(scene.journal.submit(Batch::default()), Ticket(0));
    assert_eq!(scene.journal.submit(of_instance(1, 1)), Ticket(1));
    let (first, term) = scene.batches.recv().unwrap();
    assert_eq!(leases(&first), [("instance-1".to_owned(), 1)]);
    assert_eq!(term, 9);
    for number in 2..100 {
        let ticket = scene.journal.submit(of_instance(number % 2, number));
        assert_eq!(ticket, Ticket(number));
    }
    assert_eq!(scene.journal.submit(Batch::default()), Ticket(99));
    assert_eq!(scene.progress.borrow().durable, Ticket(0));
    scene.outcomes.send(Ok(())).unwrap();
    wait(&mut scene.progress, |progress| {
        progress.durable == Ticket(1)
    })
    .await;

    let (second, _) = scene.batches.recv().unwrap();
    let expected = [("instance-0".to_owned(), 98), ("instance-1".to_owned(), 99)];
    assert_eq!(leases(&second), expected);
    scene.outcomes.send(Ok(())).unwrap();
    let progress = wait(&mut scene.progress, |progress| {
        progress.durable == Ticket(99)
    });
    assert_eq!(progress.await.commits, 2);
    scene.writer.stop().unwrap();
}

#[tokio::test]
async fn a_batch_that_failed_is_tried_again_with_what_has_come_since() {
    let mut scene = scene();
    let mut complete = of_instance(1, 1);
    complete.learnt();
    scene.journal.submit(complete);
    scene.batches.recv().unwrap();
    scene.journal.submit(of_instance(1, 2));
    scene.journal.submit(of_instance(2, 3));
    scene.outcomes.send(Err(no_room())).unwrap();
    let failing = |progress: &Progress| matches!(progress.health, Health::Failing(_));
    let first = wait(&mut scene.progress, failing).await;
    assert_eq!(first.durable, Ticket(0));

    let (again, _) = scene.batches.recv().unwrap();
    let both = [("instance-1".to_owned(), 2), ("instance-2".to_owned(), 3)];
    assert_eq!(leases(&again), both);
    assert!(again.is_complete());
    scene.progress.mark_unchanged();
    scene.outcomes.send(Err(no_room())).unwrap();
    scene.progress.changed().await.unwrap();
    let second = scene.progress.borrow_and_update().clone();
    let since = |progress: &Progress| match &progress.health {
        Health::Failing(Failing { since, .. }) => *since,
        health => panic!("{health:?}"),
    };
    assert_eq!(since(&first), since(&second));

    assert_eq!(leases(&scene.batches.recv().unwrap().0), both);
    scene.outcomes.send(Ok(())).unwrap();
    let well = wait(&mut scene.progress, |progress| {
        progress.durable == Ticket(3)
    });
    assert!(matches!(well.await.health, Health::Well));
    scene.writer.stop().unwrap();
}

#[tokio::test]
async fn history_that_waits_is_bounded() {
    let mut scene = scene();
    scene.journal.submit(of_instance(1, 1));
    scene.batches.recv().unwrap();
    for number in 0..10_050 {
        let mut batch = Batch::default();
        batch.past(STAMP, past(number % 1000));
        scene.journal.submit(batch);
    }
    scene.outcomes.send(Ok(())).unwrap();
    let (second, _) = scene.batches.recv().unwrap();
    assert_eq!(second.past.len(), 10_000);
    assert_eq!(second.past.front().unwrap().1, past(50));
    scene.outcomes.send(Ok(())).unwrap();
    let progress = wait(&mut scene.progress, |progress| {
        progress.durable == Ticket(10_051)
    });
    assert_eq!(progress.await.past_dropped, 50);
    scene.writer.stop().unwrap();
}

#[tokio::test]
async fn a_stop_writes_what_is_left() {
    let scene = scene();
    scene.journal.submit(of_instance(1, 1));
    scene.batches.recv().unwrap();
    scene.journal.submit(of_instance(2, 2));
    let writer = scene.writer;
    let stopped = std::thread::spawn(move || writer.stop());
    scene.outcomes.send(Ok(())).unwrap();
    let (last, _) = scene.batches.recv().unwrap();
    assert_eq!(leases(&last), [("instance-2".to_owned(), 2)]);
    scene.outcomes.send(Ok(())).unwrap();
    stopped.join().unwrap().unwrap();
    assert_eq!(scene.progress.borrow().durable, Ticket(2));
    assert!(scene.progress.has_changed().is_err());
}

#[tokio::test]
async fn a_stop_says_what_could_not_be_written() {
    let scene = scene();
    scene.journal.submit(of_instance(1, 1));
    scene.batches.recv().unwrap();
    scene.outcomes.send(Err(no_room())).unwrap();
    let writer = scene.writer;
    let stopped = std::thread::spawn(move || writer.stop());
    // It may have been tried again before the stop was noticed.
    while scene.batches.recv().is_ok() {
        scene.outcomes.send(Err(no_room())).unwrap();
    }
    let stopped = stopped.join().unwrap();
    assert!(matches!(stopped, Err(StopError::Unwritten(_))));
}

#[tokio::test]
async fn a_deposed_writer_ends() {
    let mut scene = scene();
    scene.journal.submit(of_instance(1, 1));
    scene.batches.recv().unwrap();
    let deposed = CommitError::Deposed {
        stored: 10,
        term: 9,
    };
    scene.outcomes.send(Err(deposed)).unwrap();
    // The sender is gone with the thread, but what it said last is not.
    while scene.progress.changed().await.is_ok() {}
    assert!(matches!(scene.progress.borrow().health, Health::Deposed));
    assert!(matches!(scene.writer.stop(), Err(StopError::Unwritten(_))));
}

/// Sixteen callers, each of which waits for its own batch, as grants do.
#[tokio::test]
async fn callers_share_commits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let mut store = RedbStore::new(path.clone(), LIMITS);
    store.load(STAMP).unwrap();
    let (writer, journal, progress) = Writer::start(Box::new(store), 9, Clock::start()).unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let callers = (0..16u64).map(|caller| {
        let (journal, mut progress) = (journal.clone(), progress.clone());
        let order = Arc::clone(&order);
        tokio::spawn(async move {
            for number in 0..10 {
                let ticket = journal.submit(of_instance(caller, number));
                wait(&mut progress, |progress| progress.durable >= ticket).await;
                order.lock().unwrap().push((caller, number));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(order.lock().unwrap().len(), 160);
    let commits = progress.borrow().commits;
    assert!((10..160).contains(&commits), "{commits}");
    writer.stop().unwrap();
    let loaded = RedbStore::new(path, LIMITS).load(STAMP).unwrap();
    assert!(loaded.leases.is_none(), "nobody said that all was learnt");
    assert_eq!(loaded.term, 9);
}
