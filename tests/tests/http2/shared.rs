//! Several sessions on one connection.

use std::sync::Arc;
use std::time::Duration;

use berth_client::{Http2, Message, Session};
use berth_tests::{Family, World, unix_seconds};
use futures_util::future::join_all;
use serde_json::json;
use tokio::io::AsyncReadExt as _;
use tokio::time::timeout;

use crate::{SOON, Version, active, echo, lease_is};

/// A way for the session of `alice` to end.
#[derive(Clone, Copy, Debug)]
enum Way {
    SheCloses,
    SheResetsHerStream,
    HerInstanceCloses,
    HerInstanceResets,
    SheIsTerminated,
    SheIsRevoked,
    HerTokenEnds,
    SheTakesOver,
}

const WAYS: [Way; 8] = [
    Way::SheCloses,
    Way::SheResetsHerStream,
    Way::HerInstanceCloses,
    Way::HerInstanceResets,
    Way::SheIsTerminated,
    Way::SheIsRevoked,
    Way::HerTokenEnds,
    Way::SheTakesOver,
];

/// Where a user is, and as which session.
async fn of(world: &World, who: &str) -> (String, String) {
    let sessions = world.berth().sessions().await.unwrap();
    let session = sessions.into_iter().find(|session| session.subject == who);
    let session = session.unwrap();
    (session.instance.unwrap(), session.id)
}

async fn join(world: &World, connection: &Http2, who: &str) -> Session {
    let client = Version::Http2.client(world, "web", who);
    let session = client.connect_on(connection).await.unwrap();
    active(world, who).await;
    session
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_one_is_not_the_end_of_another() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(3).hold(Duration::from_secs(8))
        })
        .issuer(json!({ "close_when_expired": true, "clock_skew": "0s" }))
        .start()
        .await
        .unwrap();
    let connection = Version::Http2.client(&world, "web", "bob");
    let connection = connection.connection().await.unwrap();
    let mut bob = join(&world, &connection, "bob").await;
    let mut carol = join(&world, &connection, "carol").await;
    for (number, way) in WAYS.into_iter().enumerate() {
        eprintln!("{way:?}");
        let who = format!("alice-{number}");
        let mut client = Version::Http2.client(&world, "web", &who);
        if let Way::HerTokenEnds = way {
            let ends = unix_seconds() + 4;
            client = client.token(world.token().subject(&who).claim("exp", ends));
        }
        let mut alice = client.connect_on(&connection).await.unwrap();
        active(&world, &who).await;
        echo(&mut alice, Message::text("hello")).await;
        let (place, session) = of(&world, &who).await;
        let instance = world.instance(&place).unwrap();
        match way {
            Way::SheCloses => drop(alice.close(1000, "").await.unwrap()),
            Way::SheResetsHerStream => alice.abort(),
            Way::HerInstanceCloses => assert_eq!(instance.close_all(4001, ""), 1),
            Way::HerInstanceResets => assert_eq!(instance.reset_all(), 1),
            Way::SheIsTerminated => world.berth().terminate(&session).await.unwrap(),
            Way::SheIsRevoked => {
                let revoke = ["revoke", "--session", &session];
                drop(world.berth().command(&revoke).await.unwrap());
            }
            Way::HerTokenEnds => {}
            Way::SheTakesOver => {
                let mut heir = client.connect_on(&connection).await.unwrap();
                active(&world, &who).await;
                assert_eq!(of(&world, &who).await.0, place);
                echo(&mut heir, Message::text("hello")).await;
                heir.close(1000, "").await.unwrap();
            }
        }
        lease_is(&world, &place, None).await;
        for other in [&mut bob, &mut carol] {
            echo(other, Message::text("still here")).await;
        }
    }
    for instance in world.instances() {
        assert_eq!(instance.max_concurrent(), 1);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn with_the_connection_all_end_and_each_gets_its_own_instance_back() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(3).resume_window(Duration::from_secs(60))
        })
        .start()
        .await
        .unwrap();
    let users = ["alice", "bob", "carol"];
    let client = Version::Http2.client(&world, "web", "alice");
    let connection = client.connection().await.unwrap();
    let mut sessions = Vec::new();
    let mut places = Vec::new();
    for who in users {
        sessions.push(join(&world, &connection, who).await);
        places.push(of(&world, who).await.0);
    }
    connection.abort();
    for place in &places {
        lease_is(&world, place, Some("resumable")).await;
    }
    let connection = client.connection().await.unwrap();
    for (who, place) in users.iter().zip(&places) {
        sessions.push(join(&world, &connection, who).await);
        assert_eq!(of(&world, who).await.0, *place, "{who}");
    }
    // A stream that breaks off is come back to on the same connection.
    sessions.pop().unwrap().abort();
    lease_is(&world, &places[2], Some("resumable")).await;
    let mut carol = join(&world, &connection, "carol").await;
    assert_eq!(of(&world, "carol").await.0, places[2]);
    echo(&mut carol, Message::text("back")).await;
}

/// Each is given all that Envoy and the kernels take for an instance that does not read.
#[tokio::test(flavor = "multi_thread")]
async fn sessions_whose_instances_do_not_read_hold_up_no_other() {
    // More than have room in a connection's window of 1 MiB, which is what Envoy is often advised to have.
    const STUCK: u16 = 18;
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.instances(STUCK + 1))
        .start()
        .await
        .unwrap();
    let client = Version::Http2.client(&world, "web", "alice");
    let connection = Arc::new(client.connection().await.unwrap());
    let mut alice = join(&world, &connection, "alice").await;
    let alices = of(&world, "alice").await.0;
    let mut stuck = Vec::new();
    for number in 1..=STUCK + 1 {
        let name = format!("web-{number}");
        if name != alices {
            stuck.push(world.script_instance(&name).await.unwrap());
        }
    }
    // Whoever is asked answers, and reads nothing more.
    let answers = stuck.iter().map(|instance| async move {
        let stream = instance.answer(SWITCHING_PROTOCOLS, SOON).await.unwrap();
        (instance, stream)
    });
    let clients = (0..STUCK).map(|number| {
        let client = Version::Http2.client(&world, "web", &format!("bob-{number}"));
        let connection = Arc::clone(&connection);
        async move { client.connect_on(&connection).await.unwrap() }
    });
    let (mut streams, mut sessions) = tokio::join!(join_all(answers), join_all(clients));
    let filled = sessions.iter_mut().map(|session| async {
        let message = Message::binary(vec![7; 1 << 20]);
        while let Ok(sent) = timeout(STALLED, session.send(message.clone())).await {
            sent.unwrap();
        }
    });
    join_all(filled).await;
    for _ in 0..10 {
        echo(&mut alice, Message::binary(vec![1; 100_000])).await;
    }
    // They were not stuck for good.
    let (_, stream) = streams.first_mut().unwrap();
    let mut read = vec![0; 1 << 20];
    let read = timeout(SOON, stream.read_exact(&mut read)).await;
    read.unwrap().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_on_one_connection_and_the_next_one_waits() {
    const ALL: u16 = 100;
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.instances(ALL + 1))
        .start()
        .await
        .unwrap();
    let client = Version::Http2.client(&world, "web", "alice");
    let connection = client.connection().await.unwrap();
    let clients = (0..ALL).map(|number| {
        let client = Version::Http2.client(&world, "web", &format!("alice-{number}"));
        let connection = &connection;
        async move { client.connect_on(connection).await.unwrap() }
    });
    let mut sessions = join_all(clients).await;
    let echoes = sessions.iter_mut().enumerate().map(|(number, session)| {
        let message = Message::text(format!("I am {number}"));
        async move { echo(session, message).await }
    });
    join_all(echoes).await;
    let live = |world: &World| world.instances().iter().filter(|it| it.live() == 1).count();
    assert_eq!(live(&world), usize::from(ALL));

    let last = tokio::spawn({
        let (client, connection) = (client.clone(), connection.clone());
        async move { client.connect_on(&connection).await }
    });
    // Another connection has room at once.
    let other = Version::Http2.client(&world, "web", "bob");
    other
        .connect()
        .await
        .unwrap()
        .close(1000, "")
        .await
        .unwrap();
    assert!(!last.is_finished());
    sessions.pop().unwrap().abort();
    let mut last = timeout(SOON, last).await.unwrap().unwrap().unwrap();
    echo(&mut last, Message::text("at last")).await;
}

/// Nothing more is taken for so long once all windows are full.
const STALLED: Duration = Duration::from_millis(700);

const SWITCHING_PROTOCOLS: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
      sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";
