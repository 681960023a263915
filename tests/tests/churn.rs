//! Whatever changes around them, sessions that are live do not notice.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use berth_client::{Message, Session};
use berth_tests::{Envoy, KeyKind, Seen, World, wait_until};
use futures_util::future::{join_all, try_join_all};
use serde_json::Value;

const SOON: Duration = Duration::from_secs(30);

/// Sessions, and the instances that nobody is on.
const LIVE: u16 = 300;
const SPARE: u16 = 20;

#[tokio::test(flavor = "multi_thread")]
async fn three_hundred_sessions_outlive_ten_changes_a_second() {
    let world = World::builder()
        .web_instances(LIVE + SPARE)
        .start()
        .await
        .unwrap();
    let mut live = Vec::new();
    // Some at a time: an instance's listener takes no more at once than one of its own would.
    for _ in 0..LIVE / 20 {
        let some = (0..20).map(|_| async { world.client("web")?.connect().await });
        live.extend(try_join_all(some).await.unwrap());
    }
    let spare = spare(&world).await;
    let envoy = world.envoy(0).unwrap();

    changes(&world, &spare, 30).await;
    echo(&mut live).await;

    // Other keys for the filter, and another certificate, while instances change.
    let reloads = stat(envoy, FILTER_RELOADS).await;
    let issued = world
        .certificates()
        .issue(KeyKind::EcdsaP256, &["localhost"])
        .unwrap();
    let rotations = stat(envoy, CERTIFICATE_ROTATIONS).await;
    tokio::join!(changes(&world, &spare, 30), async {
        publish_another_key(&world.folder().join("jwks.json"));
        fs::write(&world.certificates().private_key, &issued.private_key).unwrap();
        fs::write(&world.certificates().chain, &issued.chain).unwrap();
    });
    until_more(envoy, FILTER_RELOADS, reloads).await;
    until_more(envoy, CERTIFICATE_ROTATIONS, rotations).await;
    echo(&mut live).await;

    // A control plane that is gone and comes back with the same, and files that are written anew with what they had.
    world.berth().restart().await.unwrap();
    rewrite(&world.certificates().chain);
    rewrite(&world.folder().join("jwks.json"));
    world.settled().await.unwrap();
    changes(&world, &spare, 30).await;
    echo(&mut live).await;

    for (name, expected) in [
        ("listener_manager.lds.update_success", 1),
        ("listener_manager.listener_modified", 0),
        ("listener_manager.listener_in_place_updated", 0),
        ("listener_manager.total_listeners_draining", 0),
    ] {
        assert_eq!(stat(envoy, name).await, expected, "{name}");
    }
    assert_eq!(
        world.berth().sessions().await.unwrap().len(),
        usize::from(LIVE)
    );
    join_all(live.into_iter().map(|session| async move {
        session.close(1000, "").await.unwrap();
    }))
    .await;
}

/// Each of them hears what it says.
async fn echo(live: &mut [Session]) {
    let heard = live.iter_mut().map(|session| async {
        session.send(Message::text("still here")).await?;
        session.receive_data().await
    });
    for heard in try_join_all(heard).await.unwrap() {
        assert_eq!(heard, Message::text("still here"));
    }
}

/// Instances without a session, by name.
async fn spare(world: &World) -> Vec<String> {
    let sessions = world.berth().sessions().await.unwrap();
    let taken = |name: &str| {
        let mut taken = sessions
            .iter()
            .filter_map(|session| session.instance.as_deref());
        taken.any(|instance| instance == name)
    };
    let instances = world.berth().instances().await.unwrap();
    let names = instances.into_iter().map(|instance| instance.name);
    let spare: Vec<_> = names.filter(|name| !taken(name)).collect();
    assert_eq!(spare.len(), usize::from(SPARE));
    spare
}

/// So many changes of instances, ten a second, all of which the Envoy is told.
async fn changes(world: &World, spare: &[String], count: usize) {
    let envoy = world.envoy(0).unwrap();
    let before = stat(envoy, ENDPOINT_UPDATES).await;
    let mut ticks = tokio::time::interval(Duration::from_millis(100));
    for (number, name) in spare.iter().cycle().take(count).enumerate() {
        ticks.tick().await;
        if (number / spare.len()).is_multiple_of(2) {
            world.berth().drain(name).await.unwrap();
        } else {
            world.berth().undrain(name).await.unwrap();
        }
    }
    for name in spare {
        world.berth().undrain(name).await.unwrap();
    }
    until_more(envoy, ENDPOINT_UPDATES, before + count as u64 / 2).await;
}

/// Adds a key to a set, as an issuer does that is about to change keys.
fn publish_another_key(path: &Path) {
    let mut set: Value = serde_json::from_slice(&fs::read(path).unwrap()).unwrap();
    let keys = set["keys"].as_array_mut().unwrap();
    let mut next = keys[0].clone();
    next["kid"] = "next".into();
    keys.push(next);
    fs::write(path, set.to_string()).unwrap();
}

fn rewrite(path: &Path) {
    let content = fs::read(path).unwrap();
    fs::write(path, content).unwrap();
}

async fn stat(envoy: &Envoy, name: &str) -> u64 {
    envoy.stat(name).await.unwrap().unwrap_or_default()
}

async fn until_more(envoy: &Envoy, name: &str, before: u64) {
    wait_until(name, SOON, async || {
        let now = stat(envoy, name).await;
        Ok(Seen::when(now > before, format!("{now} after {before}")))
    })
    .await
    .unwrap();
}

const FILTER_RELOADS: &str = "extension_config_discovery.http_filter.berth.admission.config_reload";
const CERTIFICATE_ROTATIONS: &str = "sds.berth.update_success";
const ENDPOINT_UPDATES: &str = "cluster.web.update_success";
