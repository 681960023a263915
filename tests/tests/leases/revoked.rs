//! What the operator revokes: users, tokens and sessions.

use std::time::Duration;

use berth_client::{Departure, Response, Session};
use berth_tests::{ClientBuilder, Family, World};
use tokio::time::timeout;

use crate::{PROMPTLY, SOON, client, deserted, echo, established, lease_is, live};

const INSTANCES: [&str; 4] = ["web-1", "web-2", "web-3", "web-4"];

/// Four instances, each kept for its client for a minute.
async fn four_instances() -> World {
    World::builder()
        .pool("web", Family::Web, |pool| {
            // After a restart, instances are up again once they have been probed.
            let pool = pool.instances(4).hold(Duration::from_secs(5));
            pool.resume_window(Duration::from_secs(60))
        })
        .start()
        .await
        .unwrap()
}

/// A client of `who` with a token of that id.
fn with_token(world: &World, who: &str, id: &str) -> ClientBuilder {
    let token = world.token().subject(who).claim("jti", id);
    client(world, "web", who).token(token)
}

/// Where `who` is, and as which session.
async fn of(world: &World, who: &str) -> (String, String) {
    let sessions = world.berth().sessions().await.unwrap();
    let mut sessions = sessions.into_iter();
    let session = sessions.find(|session| session.subject == who).unwrap();
    (session.instance.unwrap(), session.id)
}

async fn revoke(world: &World, what: &[&str]) -> String {
    let arguments = [&["revoke"], what].concat();
    world.berth().command(&arguments).await.unwrap()
}

async fn is_closed(session: &mut Session, within: Duration) {
    let departure = timeout(within, session.departure()).await;
    let departure = departure.unwrap().unwrap();
    assert!(
        matches!(departure, Departure::Fin | Departure::Reset),
        "{departure:?}"
    );
}

fn is_revoked(refusal: &Response) {
    let found = (refusal.status, refusal.reason());
    assert_eq!(found, (401, Some("revoked")), "{refusal:?}");
    assert_eq!(refusal.retry_after(), None, "{refusal:?}");
}

/// The id at the beginning of what the command line says.
fn id_of(said: &str) -> &str {
    let said = said.strip_prefix("revoked as ").unwrap();
    said.split(';').next().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_revoked_is_closed_and_stays_out() {
    let world = four_instances().await;
    let bob = with_token(&world, "bob", "token-1");
    let mut alices = live(&world, "web", "alice").await;
    let mut bobs = established(&world, &bob, "bob").await;
    let mut carols = live(&world, "web", "carol").await;
    let mut daves = established(&world, &with_token(&world, "dave", "token-2"), "dave").await;

    let (place, _) = of(&world, "alice").await;
    let said = revoke(&world, &["--subject", "alice", "--reason", "lost laptop"]).await;
    assert!(said.contains("being closed: 1,"), "{said}");
    is_closed(&mut alices, PROMPTLY).await;
    // Nothing is kept for her.
    lease_is(&world, &place, None).await;
    let alice = client(&world, "web", "alice");
    is_revoked(&alice.refusal().await.unwrap());
    is_revoked(&alice.verdict().await.unwrap());
    let alices_revocation = id_of(&said).to_owned();

    let (place, _) = of(&world, "bob").await;
    let said = revoke(&world, &["--token-id", "token-1", "--for", "1h"]).await;
    assert!(said.contains("being closed: 1,"), "{said}");
    is_closed(&mut bobs, PROMPTLY).await;
    lease_is(&world, &place, None).await;
    is_revoked(&bob.refusal().await.unwrap());
    // With another token he may.
    let mut bobs = established(&world, &with_token(&world, "bob", "token-3"), "bob").await;

    let (place, session) = of(&world, "carol").await;
    let said = revoke(&world, &["--session", &session]).await;
    assert!(said.contains("being closed: 1,"), "{said}");
    is_closed(&mut carols, PROMPTLY).await;
    lease_is(&world, &place, None).await;
    // She may come again, for that is another session.
    let mut carols = live(&world, "web", "carol").await;

    for session in [&mut bobs, &mut carols, &mut daves] {
        echo(session, "hello").await;
    }
    let listed = world.berth().command(&["revocations"]).await.unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    assert!(listed.contains("lost laptop"), "{listed}");
    let lift = ["revocations", "lift", &alices_revocation];
    world.berth().command(&lift).await.unwrap();
    let mut alices = live(&world, "web", "alice").await;
    echo(&mut alices, "again").await;
    let history = world.berth().command(&["history"]).await.unwrap();
    assert_eq!(history.matches("  revoked  ").count(), 3, "{history}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_in_between_forgets_no_revocation() {
    let world = four_instances().await;
    let bob = with_token(&world, "bob", "token-1");
    let mut alices = live(&world, "web", "alice").await;
    let mut bobs = established(&world, &bob, "bob").await;
    let mut carols = live(&world, "web", "carol").await;
    let mut daves = live(&world, "web", "dave").await;
    let (_, carols_session) = of(&world, "carol").await;

    // Stopped for less than it takes to be thought silent, the proxy can be told by the next process only.
    let envoy = world.envoy(0).unwrap();
    envoy.pause().unwrap();
    for what in [
        ["--subject", "alice"],
        ["--token-id", "token-1"],
        ["--session", &carols_session],
    ] {
        let said = revoke(&world, &what).await;
        assert!(said.contains("being closed: 1,"), "{said}");
    }
    world.berth().kill().await.unwrap();
    world.berth().restart().await.unwrap();
    envoy.resume().unwrap();
    for session in [&mut alices, &mut bobs, &mut carols] {
        is_closed(session, SOON).await;
    }
    let listed = world.berth().command(&["revocations"]).await.unwrap();
    assert_eq!(listed.lines().count(), 4, "{listed}");
    is_revoked(&client(&world, "web", "alice").refusal().await.unwrap());
    is_revoked(&bob.refusal().await.unwrap());
    echo(&mut daves, "still here").await;
    let mut carols = live(&world, "web", "carol").await;
    echo(&mut carols, "another session").await;
    for session in [daves, carols] {
        session.close(1000, "").await.unwrap();
    }
    for instance in INSTANCES {
        deserted(&world, instance).await;
    }
}
