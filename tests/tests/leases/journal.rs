//! A control plane that is killed and started again remembers.

use std::time::Duration;

use berth_tests::{Family, Seen, World, wait_until};
use serde_json::Value;

use crate::{
    SOON, client, echo, established, lease_is, live, never_two_at_once, no_instance, visits,
};

const INSTANCES: [&str; 5] = ["web-1", "web-2", "web-3", "web-4", "web-5"];

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_loses_nothing() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            // After a restart, instances are up again once they have been probed.
            let pool = pool.instances(5).hold(Duration::from_secs(5));
            pool.resume_window(Duration::from_secs(300))
        })
        .start()
        .await
        .unwrap();
    let berth = world.berth();

    // Live, gone for a while, gone for good, drained, quarantined.
    let mut alice = live(&world, "web", "alice").await;
    let bob = live(&world, "web", "bob").await;
    let bobs = of(&world, "bob");
    bob.abort();
    lease_is(&world, &bobs, Some("resumable")).await;
    let carol = live(&world, "web", "carol").await;
    let carols = of(&world, "carol");
    carol.close(1000, "").await.unwrap();
    lease_is(&world, &carols, None).await;
    let alices = of(&world, "alice");
    let mut free = INSTANCES
        .into_iter()
        .filter(|name| ![alices.as_str(), bobs.as_str()].contains(name));
    let (drained, quarantined) = (free.next().unwrap(), free.next().unwrap());
    berth.drain(drained).await.unwrap();
    berth
        .command(&["instances", "quarantine", quarantined])
        .await
        .unwrap();
    let before = berth.instances().await.unwrap();
    let past = history(&world, &[]).await;

    berth.kill().await.unwrap();
    berth.restart().await.unwrap();

    // Not learnt, known.
    let metric = async |name| berth.metric(name).await.unwrap();
    assert_eq!(metric("berth_leases_adopted_total").await, 0.0);
    echo(&mut alice, "still here").await;
    lease_is(&world, &alices, Some("active")).await;
    let mut after = berth.instances().await.unwrap();
    for instance in &mut after {
        // Its probes have just begun.
        instance.health = "up".to_owned();
    }
    assert_eq!(before, after);
    assert_eq!(history(&world, &[]).await, past);

    // One is free for others, and bob's is not.
    let dave = live(&world, "web", "dave").await;
    no_instance(&client(&world, "web", "mallory").refusal().await.unwrap());
    let bob = established(&world, &client(&world, "web", "bob"), "bob").await;
    assert_eq!(of(&world, "bob"), bobs);

    // What the operator ends stays ended, though nobody hears of it before the control plane is gone.
    let dave_is = berth.instance(&of(&world, "dave")).await.unwrap();
    let daves = dave_is.lease.unwrap().session;
    berth.terminate(&daves).await.unwrap();
    berth.kill().await.unwrap();
    berth.restart().await.unwrap();
    lease_is(&world, &dave_is.name, None).await;
    drop(dave);
    wait_until("it to be history", SOON, async || {
        let ended = history(&world, &["--session", &daves]).await;
        let how = ended.first().map(|ended| &ended["end"]);
        Ok(Seen::when(
            how == Some(&"terminated".into()),
            format!("{ended:?}"),
        ))
    })
    .await
    .unwrap();

    for session in [alice, bob] {
        session.close(1000, "").await.unwrap();
    }
    for name in INSTANCES {
        lease_is(&world, name, None).await;
    }
    never_two_at_once(&world);
    assert_eq!(metric("berth_lease_overlaps_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_damaged_store_is_set_aside_and_what_is_live_is_learnt() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(2).hold(Duration::from_secs(10))
        })
        .start()
        .await
        .unwrap();
    let berth = world.berth();
    let mut alice = live(&world, "web", "alice").await;
    berth.kill().await.unwrap();
    let store = world.folder().join("berth.redb");
    let mut bytes = std::fs::read(&store).unwrap();
    for byte in bytes.iter_mut().skip(4096) {
        *byte ^= 0x55;
    }
    std::fs::write(&store, &bytes).unwrap();
    berth.restart().await.unwrap();
    let _bob = live(&world, "web", "bob").await;
    echo(&mut alice, "learnt").await;
    never_two_at_once(&world);
    assert_eq!(
        berth.metric("berth_leases_adopted_total").await.unwrap(),
        1.0
    );
    let names = std::fs::read_dir(world.folder()).unwrap();
    let aside = names
        .map(|entry| entry.unwrap().path())
        .find(|path| path.to_string_lossy().contains("berth.redb.damaged-"));
    let aside = aside.unwrap();
    assert_eq!(std::fs::read(&aside).unwrap().len(), bytes.len());
    let log = berth.log();
    assert!(log.contains(&aside.display().to_string()), "{log}");
}

/// Where a session of `who` is or was last.
fn of(world: &World, who: &str) -> String {
    visits(world, &INSTANCES, who).pop().unwrap().0
}

async fn history(world: &World, arguments: &[&str]) -> Vec<Value> {
    let command = [&["history", "--json"], arguments].concat();
    let printed = world.berth().command(&command).await.unwrap();
    serde_json::from_str(&printed).unwrap()
}
