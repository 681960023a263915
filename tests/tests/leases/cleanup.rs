//! When either side goes away the other is closed, and the instance can be leased again.

use std::time::Duration;

use berth_client::{Departure, Message, Session, SessionError};
use berth_runtime_emulator::{Emulator, How};
use berth_tests::{Error, Family, Seen, World, wait_until};
use tokio::time::{Instant, timeout};

use crate::{SOON, client, deserted, echo, established, lease_is, live};

/// One way for a session to end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    ClientCloses,
    ClientEnds,
    ClientAborts,
    InstanceCloses,
    InstanceEnds,
    InstanceResets,
    InstanceIsKilled,
}

const ENDINGS: [Ending; 7] = [
    Ending::ClientCloses,
    Ending::ClientEnds,
    Ending::ClientAborts,
    Ending::InstanceCloses,
    Ending::InstanceEnds,
    Ending::InstanceResets,
    Ending::InstanceIsKilled,
];

impl Ending {
    /// What breaks off on the client's side may be come back to; a goodbye, and all that the instance ends, may not.
    fn is_resumable(self) -> bool {
        matches!(self, Self::ClientEnds | Self::ClientAborts)
    }

    /// Brings it about, and waits until the other side has noticed. Answers how long that took.
    async fn happen(self, session: Session, instance: &Emulator) -> Duration {
        let start = Instant::now();
        match self {
            Self::ClientCloses | Self::ClientEnds | Self::ClientAborts => {
                let farewell = self.client_leaves(session);
                // At the same time: a client that waits for an answer must not hide when the instance noticed.
                let (took, ()) = tokio::join!(self.noticed(instance, start), farewell);
                took
            }
            _ => self.instance_leaves(session, instance, start).await,
        }
    }

    async fn client_leaves(self, session: Session) {
        match self {
            Self::ClientCloses => drop(session.close(4000, "done").await.unwrap()),
            Self::ClientEnds => drop(session.finish().await.unwrap()),
            _ => session.abort(),
        }
    }

    async fn noticed(self, instance: &Emulator, start: Instant) -> Duration {
        let over = instance.wait_for(SOON, |ledger| ledger.live() == 0);
        over.await.unwrap();
        let took = start.elapsed();
        let records = instance.records();
        let how = records.last().unwrap().how().unwrap();
        let as_it_should = match self {
            Self::ClientCloses => {
                *how == How::ClientClose {
                    code: Some(4000),
                    reason: "done".to_owned(),
                }
            }
            _ => matches!(how, How::ClientFin | How::ClientReset),
        };
        assert!(as_it_should, "{self:?}: {how:?}");
        took
    }

    async fn instance_leaves(
        self,
        mut session: Session,
        instance: &Emulator,
        start: Instant,
    ) -> Duration {
        match self {
            Self::InstanceCloses => assert_eq!(instance.close_all(4001, "moved"), 1),
            Self::InstanceEnds => assert_eq!(instance.finish_tcp_all(), 1),
            Self::InstanceResets => assert_eq!(instance.reset_all(), 1),
            _ => instance.kill().await,
        }
        let departure = timeout(SOON, session.departure()).await.unwrap().unwrap();
        let took = start.elapsed();
        let as_it_should = match self {
            Self::InstanceCloses => {
                departure
                    == Departure::Close {
                        code: Some(4001),
                        reason: "moved".to_owned(),
                    }
            }
            Self::InstanceEnds => departure == Departure::Fin,
            _ => matches!(departure, Departure::Fin | Departure::Reset),
        };
        assert!(as_it_should, "{self:?}: {departure:?}");
        // Whoever is sent a Close frame answers it, and leaves it to the server to close the connection (RFC 6455 §7.1.1).
        timeout(SOON, session.departure()).await.unwrap().unwrap();
        took
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_is_closed_and_the_instance_leased_again() {
    each_ending_in_turn(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_breaks_off_on_the_clients_side_is_kept_for_the_client() {
    each_ending_in_turn(Duration::from_secs(60)).await;
}

async fn each_ending_in_turn(resume_window: Duration) {
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.resume_window(resume_window))
        .pool("native", Family::Native, |pool| {
            pool.resume_window(resume_window)
        })
        .start()
        .await
        .unwrap();
    for pool in ["web", "native"] {
        let name = format!("{pool}-1");
        for ending in ENDINGS {
            eprintln!("{pool}: {ending:?}");
            let mut session = live(&world, pool, "alice").await;
            echo(&mut session, "hello").await;
            ending
                .happen(session, &world.instance(&name).unwrap())
                .await;
            deserted(&world, &name).await;

            if ending.is_resumable() && !resume_window.is_zero() {
                let kept = lease_is(&world, &name, Some("resumable")).await;
                assert_eq!(kept.lease.unwrap().subject, "alice");
                let session = live(&world, pool, "alice").await;
                session.close(1000, "").await.unwrap();
            }
            lease_is(&world, &name, None).await;
            if ending == Ending::InstanceIsKilled {
                world.restart_instance(&name).await.unwrap();
                world.settled().await.unwrap();
            }
        }
        // The last one that comes is a stranger: nothing is left of anybody.
        let mut bob = live(&world, pool, "bob").await;
        echo(&mut bob, "hello").await;
        bob.close(1000, "").await.unwrap();
    }
}

/// A Close frame is relayed bytes; what has none ends with Envoy's `delayed_close_timeout` of 1 s at the latest. The
/// quickest of a few counts: what waits for a timer always does, and what only meets a busy machine does not.
#[tokio::test(flavor = "multi_thread")]
async fn the_other_side_learns_of_the_end_in_time() {
    let at_once = Duration::from_millis(500);
    let delayed = Duration::from_secs(2);
    let world = World::builder().web_instances(1).start().await.unwrap();
    let instance = world.instance("web-1").unwrap();
    for (ending, limit) in [
        (Ending::ClientCloses, at_once),
        (Ending::ClientEnds, at_once),
        (Ending::ClientAborts, at_once),
        (Ending::InstanceCloses, at_once),
        (Ending::InstanceEnds, delayed),
        (Ending::InstanceResets, delayed),
    ] {
        let mut times = Vec::new();
        for _ in 0..3 {
            let session = live(&world, "web", "alice").await;
            times.push(ending.happen(session, &instance).await);
            lease_is(&world, "web-1", None).await;
        }
        let quickest = times.iter().min().unwrap();
        assert!(*quickest < limit, "{ending:?}: {times:?}");
    }
}

/// The instance says much and leaves; its client reads when all of that is over, and may itself be talking.
#[tokio::test(flavor = "multi_thread")]
async fn nothing_that_the_client_has_not_read_is_cut_off() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let instance = world.instance("web-1").unwrap();
    let last_words = Message::binary(
        (0..300_000_u32)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    for (ending, talks) in [
        (Ending::InstanceCloses, false),
        (Ending::InstanceCloses, true),
        (Ending::InstanceEnds, false),
        (Ending::InstanceEnds, true),
    ] {
        for round in 0..5 {
            let case = format!("{ending:?}, the client talks: {talks}, round {round}");
            let client = client(&world, "web", "alice");
            let mut session = established(&world, &client, "alice").await;
            assert_eq!(instance.send_all(&last_words), 1, "{case}");
            match ending {
                Ending::InstanceCloses => assert_eq!(instance.close_all(4001, ""), 1, "{case}"),
                _ => assert_eq!(instance.finish_tcp_all(), 1, "{case}"),
            }
            // The instance waits for the answer to its Close frame, but not for anything after its FIN.
            wait_until("the instance to have left", SOON, async || {
                if talks {
                    // It may not go through any more.
                    let _unless_over = session.send(Message::text("still here")).await;
                }
                let lease = world.berth().instance("web-1").await?.lease;
                let left = instance.live() == 0;
                let over = ending == Ending::InstanceCloses || lease.is_none();
                Ok(Seen::when(left && over, format!("{lease:?}")))
            })
            .await
            .unwrap();

            let heard = hear_out(&mut session).await.unwrap();
            let whole = heard.iter().filter(|message| **message == last_words);
            assert_eq!(whole.count(), 1, "{case}: {} messages", heard.len());
            drop(session);
            lease_is(&world, "web-1", None).await;
        }
    }
}

/// Everything that is still to be read.
async fn hear_out(session: &mut Session) -> Result<Vec<Message>, Error> {
    let mut heard = Vec::new();
    loop {
        match timeout(SOON, session.receive_data()).await {
            Ok(Ok(message)) => heard.push(message),
            Ok(Err(SessionError::Ended(_))) => return Ok(heard),
            Ok(Err(error)) => return Err(Error::Impossible(error.to_string())),
            Err(_) => return Err(Error::Impossible("no end came".to_owned())),
        }
    }
}
