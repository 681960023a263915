//! A client that is gone without a word.

use std::time::Duration;

use berth_runtime_emulator::EmulatorConfig;
use berth_tests::netns::{self, Namespace};
use berth_tests::{Family, World};

use crate::{SOON, client, deserted, echo, lease_is, no_instance};

/// Its packets just stop: only the listener's TCP options can notice, some 8 s later.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_whose_cable_is_pulled_is_noticed_and_may_come_back() {
    if let Some(why) = netns::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    // With bytes on their way to the client, and with none.
    tokio::join!(
        vanishes(Duration::from_millis(200), &[]),
        vanishes(Duration::ZERO, &[]),
        vanishes(Duration::ZERO, &["--http2"]),
    );
}

async fn vanishes(heartbeat: Duration, more: &[&str]) {
    let namespace = Namespace::create().await.unwrap();
    let world = World::builder()
        .listen(namespace.host_address())
        .pool("web", Family::Web, |pool| {
            pool.resume_window(Duration::from_secs(60))
        })
        .emulators(move |config| EmulatorConfig {
            heartbeat,
            ..config
        })
        .start()
        .await
        .unwrap();
    let port = world.https().port();
    let mut headset = namespace
        .command(berth_tests::client().unwrap())
        .arg(format!("wss://localhost:{port}/web/sign_in"))
        .args(more)
        .args(["--connect-to", &world.https().to_string(), "--ca"])
        .arg(world.ca_file())
        .env(
            "BERTH_TOKEN",
            world.token().subject("alice").sign().unwrap(),
        )
        .spawn()
        .unwrap();
    let lease = lease_is(&world, "web-1", Some("active")).await.lease;
    assert_eq!(lease.unwrap().subject, "alice");
    let instance = world.instance("web-1").unwrap();
    instance
        .wait_for(SOON, |ledger| {
            let introduced = berth_runtime_emulator::Stage::Answered;
            ledger
                .records()
                .last()
                .is_some_and(|it| it.stage == introduced)
        })
        .await
        .unwrap();

    namespace.cut().await.unwrap();
    deserted(&world, "web-1").await;
    lease_is(&world, "web-1", Some("resumable")).await;
    let refusal = client(&world, "web", "bob").refusal().await.unwrap();
    no_instance(&refusal);
    let mut session = client(&world, "web", "alice").connect().await.unwrap();
    echo(&mut session, "back").await;
    headset.kill().await.unwrap();
}
