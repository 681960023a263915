//! Which instance a session gets.

use std::time::Duration;

use berth_client::Session;
use berth_tests::{Choice, Family, World};

use crate::{client, deserted, echo, established, lease_is, live, no_instance, visits};

const ALL: [&str; 3] = ["web-1", "web-2", "web-3"];

/// Three instances: the second is in Europe, the third in the Envoy's zone.
async fn three_instances() -> World {
    World::builder()
        .zone("rack-7")
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(3).choice(Choice::Spread);
            let pool = pool.resume_window(Duration::from_secs(60));
            pool.label(2, "region", "eu").zone(3, "rack-7")
        })
        .start()
        .await
        .unwrap()
}

/// Where `who` was last.
fn place(world: &World, who: &str) -> String {
    visits(world, &ALL, who).pop().unwrap().0
}

#[tokio::test(flavor = "multi_thread")]
async fn labels_zones_and_quarantine_decide() {
    let world = three_instances().await;
    a_zone_comes_first(&world).await;
    a_label_has_to_be_there(&world).await;
    quarantine_is_for_everybody(&world).await;
}

async fn a_zone_comes_first(world: &World) {
    let near = live(world, "web", "near").await;
    assert_eq!(place(world, "near"), "web-3");
    let sessions = world.berth().sessions().await.unwrap();
    let [session] = sessions.as_slice() else {
        panic!("{sessions:?}");
    };
    let show = ["sessions", "show", session.id.as_str()];
    let shown = world.berth().command(&show).await.unwrap();
    assert!(
        shown.contains("spread, one of 3 free, in its zone"),
        "{shown}"
    );
    leave(world, near, "web-3").await;
}

async fn a_label_has_to_be_there(world: &World) {
    let asking = |who: &str, region: &str| client(world, "web", who).query("region", region);
    let by_header = client(world, "web", "header").header("x-region", "eu");
    for (who, client) in [("query", asking("query", "eu")), ("header", by_header)] {
        let session = established(world, &client, who).await;
        assert_eq!(place(world, who), "web-2");
        // What was asked for stays in what the instance sees.
        let (_, record) = visits(world, &ALL, who).pop().unwrap();
        let asked =
            record.path_and_query.contains("region=eu") || record.header("x-region").is_some();
        assert!(asked, "{record:?}");
        no_instance(&asking("late", "eu").refusal().await.unwrap());
        leave(world, session, "web-2").await;
    }
    no_instance(&asking("nobody", "mars").refusal().await.unwrap());
}

async fn quarantine_is_for_everybody(world: &World) {
    let mut alice = live(world, "web", "alice").await;
    assert_eq!(place(world, "alice"), "web-3");
    order(world, "quarantine").await;
    assert!(world.berth().instance("web-3").await.unwrap().quarantined);
    echo(&mut alice, "still here").await;
    alice.abort();
    // It was kept for her, but it is closed to her too.
    lease_is(world, "web-3", Some("resumable")).await;
    let alice = live(world, "web", "alice").await;
    assert_ne!(place(world, "alice"), "web-3");
    let instance = place(world, "alice");
    leave(world, alice, &instance).await;
    order(world, "unquarantine").await;
    let instance = world.berth().instance("web-3").await.unwrap();
    assert!(!instance.quarantined);
}

async fn order(world: &World, verb: &str) {
    let told = world.berth().command(&["instances", verb, "web-3"]).await;
    assert!(told.unwrap().contains("web-3"));
}

async fn leave(world: &World, session: Session, instance: &str) {
    session.close(1000, "").await.unwrap();
    lease_is(world, instance, None).await;
    deserted(world, instance).await;
}
