//! Others, who keep asking.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use berth_client::{Response, Session};
use berth_tests::{Attempt, ClientBuilder, Error, Seen, World, wait_until};
use tokio::task::JoinSet;

use crate::{SOON, client};

/// Users `other-0` and so on, who ask for a session again and again, and keep the one they get.
pub(crate) struct Crowd {
    shared: Arc<Shared>,
    members: JoinSet<()>,
}

#[derive(Default)]
struct Shared {
    dispersing: AtomicBool,
    refused: AtomicUsize,
    admitted: Mutex<Vec<Session>>,
}

impl Crowd {
    /// So many of them, who expect every refusal to pass `check`.
    pub(crate) fn gather(world: &World, pool: &str, count: usize, check: fn(&Response)) -> Self {
        let shared = Arc::new(Shared::default());
        let mut members = JoinSet::new();
        for number in 0..count {
            let member = client(world, pool, &format!("other-{number}"));
            members.spawn(ask(member, Arc::clone(&shared), check));
        }
        Self { shared, members }
    }

    /// Waits until they have been refused so many more times: whatever happened before has been there for each to see.
    pub(crate) async fn refused_again(&self, times: usize) {
        let before = self.refused();
        wait_until(format!("{times} more refusals"), SOON, async || {
            let refused = self.refused();
            let state = format!("{} more, {} admitted", refused - before, self.admitted());
            Ok(Seen::when(refused >= before + times, state))
        })
        .await
        .unwrap();
    }

    /// Waits until so many of them have a session.
    pub(crate) async fn admitted_are(&self, count: usize) {
        wait_until(format!("{count} of the crowd to be in"), SOON, async || {
            let admitted = self.admitted();
            Ok(Seen::when(admitted == count, admitted))
        })
        .await
        .unwrap();
    }

    /// How many of them have a session.
    pub(crate) fn admitted(&self) -> usize {
        self.shared.admitted.lock().unwrap().len()
    }

    /// They stop asking. Answers with the sessions they have.
    pub(crate) async fn disperse(self) -> Vec<Session> {
        self.shared.dispersing.store(true, Ordering::Relaxed);
        self.members.join_all().await;
        std::mem::take(&mut self.shared.admitted.lock().unwrap())
    }

    fn refused(&self) -> usize {
        self.shared.refused.load(Ordering::Relaxed)
    }
}

async fn ask(member: ClientBuilder, shared: Arc<Shared>, check: fn(&Response)) {
    while !shared.dispersing.load(Ordering::Relaxed) {
        match member.attempt().await {
            Ok(Attempt::Admitted(session)) => {
                shared.admitted.lock().unwrap().push(*session);
                return;
            }
            Ok(Attempt::Refused(refusal)) => {
                check(&refusal);
                shared.refused.fetch_add(1, Ordering::Relaxed);
            }
            // A proxy that is killed answers nobody. Who waits for refusals notices if nobody is answered.
            Err(Error::Connect(_)) => {}
            Err(error) => panic!("{error}"),
        }
    }
}
