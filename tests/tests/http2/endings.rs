//! Who ended a session decides whether anything is kept for its client, whatever it came by.

use std::time::Duration;

use berth_client::{Departure, Http2, Message, Session, SessionError};
use berth_runtime_emulator::Emulator;
use berth_tests::{Family, World};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::{Instant, timeout};

use crate::{SOON, VERSIONS, Version, active, echo, lease_is};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Ending {
    ClientCloses,
    /// FIN or END_STREAM.
    ClientEnds,
    /// RST or RST_STREAM.
    ClientAborts,
    /// It is gone with its connection.
    ConnectionBreaks,
    InstanceCloses,
    InstanceEnds,
    InstanceResets,
}

const ENDINGS: [Ending; 7] = [
    Ending::ClientCloses,
    Ending::ClientEnds,
    Ending::ClientAborts,
    Ending::ConnectionBreaks,
    Ending::InstanceCloses,
    Ending::InstanceEnds,
    Ending::InstanceResets,
];

impl Ending {
    fn is_resumable(self) -> bool {
        matches!(
            self,
            Self::ClientEnds | Self::ClientAborts | Self::ConnectionBreaks
        )
    }

    async fn happen(self, mut session: Session, connection: Option<Http2>, instance: &Emulator) {
        match self {
            Self::ClientCloses => drop(session.close(4000, "").await.unwrap()),
            Self::ClientEnds => drop(session.finish().await.unwrap()),
            Self::ClientAborts => session.abort(),
            Self::ConnectionBreaks => match connection {
                Some(connection) => connection.abort(),
                None => session.abort(),
            },
            Self::InstanceCloses => {
                assert_eq!(instance.close_all(4001, "moved"), 1);
                let closed = Departure::Close {
                    code: Some(4001),
                    reason: "moved".to_owned(),
                };
                assert_eq!(departure(&mut session).await, closed);
                // What is sent back goes with the stream's end.
                departure(&mut session).await;
            }
            Self::InstanceEnds | Self::InstanceResets => {
                let ended = match self {
                    Self::InstanceEnds => instance.finish_tcp_all(),
                    _ => instance.reset_all(),
                };
                assert_eq!(ended, 1);
                let departure = departure(&mut session).await;
                let over = matches!(departure, Departure::Fin | Departure::Reset);
                assert!(over, "{self:?}: {departure:?}");
            }
        }
    }
}

async fn departure(session: &mut Session) -> Departure {
    timeout(SOON, session.departure()).await.unwrap().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_breaks_off_on_the_clients_side_is_kept_for_the_client() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.resume_window(Duration::from_secs(60))
        })
        // An END_STREAM in the middle of a session is noticed when this is over.
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let instance = world.instance("web-1").unwrap();
    for ending in ENDINGS {
        for version in VERSIONS {
            eprintln!("{version:?}: {ending:?}");
            let client = version.client(&world, "web", "alice");
            let connection = match version {
                Version::Http1 => None,
                Version::Http2 => Some(client.connection().await.unwrap()),
            };
            let mut session = match &connection {
                Some(connection) => client.connect_on(connection).await.unwrap(),
                None => client.connect().await.unwrap(),
            };
            active(&world, "alice").await;
            echo(&mut session, Message::text("hello")).await;
            ending.happen(session, connection, &instance).await;
            let left = instance.wait_for(SOON, |ledger| ledger.live() == 0);
            left.await.unwrap();
            if ending.is_resumable() {
                lease_is(&world, "web-1", Some("resumable")).await;
                // She comes back by the other version: it is no part of who she is.
                let other = match version {
                    Version::Http1 => Version::Http2,
                    Version::Http2 => Version::Http1,
                };
                let back = other
                    .client(&world, "web", "alice")
                    .connect()
                    .await
                    .unwrap();
                back.close(1000, "").await.unwrap();
            }
            lease_is(&world, "web-1", None).await;
        }
    }
    assert_eq!(instance.max_concurrent(), 1);
}

/// It waits for the answer to its Close frame. One that ends its connection without has no such promise over HTTP/2, where
/// Envoy resets the stream at once.
#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_says_before_it_closes_is_heard() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let instance = world.instance("web-1").unwrap();
    let last_words = Message::binary(
        (0..300_000_u32)
            .map(|n| (n % 251) as u8)
            .collect::<Vec<_>>(),
    );
    for version in VERSIONS {
        for round in 0..5 {
            let client = version.client(&world, "web", "alice");
            let mut session = client.connect().await.unwrap();
            active(&world, "alice").await;
            assert_eq!(instance.send_all(&last_words), 1);
            assert_eq!(instance.close_all(4001, ""), 1);
            let mut heard = Vec::new();
            let end = loop {
                match timeout(SOON, session.receive_data()).await.unwrap() {
                    Ok(message) => heard.push(message),
                    Err(end) => break end,
                }
            };
            assert!(
                matches!(
                    &end,
                    SessionError::Ended(Departure::Close {
                        code: Some(4001),
                        ..
                    })
                ),
                "{version:?}, round {round}: {end:?}"
            );
            assert!(heard.contains(&last_words), "{version:?}, round {round}");
            drop(session);
            lease_is(&world, "web-1", None).await;
        }
    }
}

/// Its machine answers for it, so that TCP does not notice.
#[tokio::test(flavor = "multi_thread")]
async fn a_program_that_does_not_run_any_more_is_noticed() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.resume_window(Duration::from_secs(60))
        })
        .start()
        .await
        .unwrap();
    let token = world.token().subject("alice").sign().unwrap();
    let url = format!("wss://localhost:{}/web/sign_in", world.https().port());
    let mut client = Command::new(berth_tests::client().unwrap())
        .args([&url, "--http2", "--ca"])
        .arg(world.ca_file())
        .args(["--connect-to", &world.https().to_string()])
        .env("BERTH_TOKEN", token)
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    active(&world, "alice").await;
    let process = Pid::from_raw(client.id().unwrap().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    let stopped = Instant::now();
    let instance = world.instance("web-1").unwrap();
    let left = instance.wait_for(PINGED, |ledger| ledger.live() == 0);
    left.await.unwrap();
    eprintln!("noticed after {:?}", stopped.elapsed());
    lease_is(&world, "web-1", Some("resumable")).await;
    client.kill().await.unwrap();
}

/// Ten seconds to the next ping, 15 % more at random, ten for its answer, and some for a busy machine.
const PINGED: Duration = Duration::from_secs(40);
