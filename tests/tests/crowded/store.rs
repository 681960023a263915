//! A store that cannot be written to, or cannot be used at all.

use std::fs;
use std::path::Path;
use std::time::Duration;

use berth_client::{Message, Session};
use berth_tests::disk::{self, Disk};
use berth_tests::vm::Vm;
use berth_tests::{ClientBuilder, Error, Family, Seen, World, wait_until};
use redb::{Database, ReadableDatabase, TableDefinition};
use tokio::time::timeout;

use crate::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_refuses_and_loses_nothing() {
    if let Some(why) = disk::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    let disk = Disk::mount(8).unwrap();
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.instances(4).hold(Duration::from_secs(5))
        })
        .store(&disk.path().join("berth.redb"))
        .start()
        .await
        .unwrap();
    let berth = world.berth();
    let mut alice = live(&world, "alice").await;
    let bob = live(&world, "bob").await;
    let bobs = instance_of(&world, "bob").await;

    disk.fill().unwrap();
    use_up_the_file(&world).await;
    let refusal = client(&world, "dave").refusal().await.unwrap();
    assert_eq!(
        (refusal.status, refusal.reason()),
        (503, Some("control_plane_away")),
        "{refusal:?}"
    );
    assert!(refusal.retry_after().is_some_and(|seconds| seconds >= 1));
    assert_eq!(berth.metric("berth_store_failing").await.unwrap(), 1.0);

    // Who is live stays so, an end is taken, and an order carried out though it cannot be written down.
    echo(&mut alice).await;
    bob.close(1000, "").await.unwrap();
    berth.wait_until_free(&bobs, SOON).await.unwrap();
    let refused = berth.drain(&bobs).await;
    assert!(
        matches!(refused, Err(Error::Status { status: 503, .. })),
        "{refused:?}"
    );
    assert!(berth.instance(&bobs).await.unwrap().draining);

    disk.relieve().unwrap();
    wait_until("the store to be written to", SOON, async || {
        let failing = berth.metric("berth_store_failing").await?;
        Ok(Seen::when(failing == 0.0, failing))
    })
    .await
    .unwrap();
    let failures = berth.log().matches("cannot be written to").count();
    assert_eq!(failures, 1, "{}", berth.log());
    let mut carol = live(&world, "carol").await;
    wait_until("nobody else to be there", SOON, async || {
        let left = users(berth.sessions().await?);
        Ok(Seen::when(left == ["alice", "carol"], format!("{left:?}")))
    })
    .await
    .unwrap();
    let before = berth.instances().await.unwrap();
    berth.kill().await.unwrap();
    berth.restart().await.unwrap();
    wait_until("all to be as it was", SOON, async || {
        let mut after = berth.instances().await?;
        for instance in &mut after {
            // Its probes have just begun.
            instance.health = "up".to_owned();
        }
        // That a 101 was seen, the first Sync tells.
        Ok(Seen::when(after == before, format!("{after:?}")))
    })
    .await
    .unwrap();
    let adopted = berth.metric("berth_leases_adopted_total").await;
    assert_eq!(adopted.unwrap(), 0.0);
    for session in [&mut alice, &mut carol] {
        echo(session).await;
    }
    let overlaps = berth.metric("berth_lease_overlaps_total").await;
    assert_eq!(overlaps.unwrap(), 0.0);
}

/// There may be some room in the store's file itself: sessions come and go until one of them cannot be written down.
async fn use_up_the_file(world: &World) {
    let vm = Vm::new(world, "busy").await.unwrap();
    // Fills the history quickly.
    let subject = "s".repeat(1000);
    for number in 0..5_000 {
        let session = format!("session-{number}");
        match vm
            .acquire(2 * number + 1, &session, &subject)
            .await
            .unwrap()
        {
            Ok(grant) => {
                let ended = vm.end(2 * number + 2, &session, Some(&grant)).await;
                ended.unwrap();
            }
            Err(refusal) => {
                assert_eq!(refusal.reason, "control_plane_away", "{refusal:?}");
                assert!(refusal.retry_after_seconds >= 1);
                return;
            }
        }
    }
    panic!("the disk is full and all was written");
}

fn users(sessions: Vec<berth_tests::Session>) -> Vec<String> {
    let mut users: Vec<_> = sessions.into_iter().map(|known| known.subject).collect();
    users.sort();
    users
}

fn client(world: &World, who: &str) -> ClientBuilder {
    world.client("web").unwrap().subject(who)
}

/// A session of `who`, once the control plane knows that it is established.
async fn live(world: &World, who: &str) -> Session {
    let session = client(world, who).connect().await.unwrap();
    wait_until(format!("{who} to be active"), SOON, async || {
        let sessions = world.berth().sessions().await?;
        let active = sessions
            .iter()
            .any(|known| known.subject == who && known.state == "active");
        Ok(Seen::when(active, format!("{sessions:?}")))
    })
    .await
    .unwrap();
    session
}

async fn instance_of(world: &World, who: &str) -> String {
    let sessions = world.berth().sessions().await.unwrap();
    let theirs = sessions.into_iter().find(|known| known.subject == who);
    theirs.and_then(|known| known.instance).unwrap()
}

async fn echo(session: &mut Session) {
    session.send(Message::text("still here")).await.unwrap();
    let echoed = timeout(SOON, session.receive_data()).await;
    assert_eq!(echoed.unwrap().unwrap(), Message::text("still here"));
}

/// What was done to a store before a start, and what the start says of it.
struct Unusable {
    name: &'static str,
    spoil: fn(&Path),
    says: &'static [&'static str],
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_cannot_be_used_is_named_with_a_remedy() {
    for Unusable { name, spoil, says } in [
        Unusable {
            name: "a folder that is not there",
            spoil: |folder| fs::rename(folder, folder.with_extension("gone")).unwrap(),
            says: &[
                "berth.redb",
                "No such file",
                "in a folder that is there",
                "`store.path`",
            ],
        },
        Unusable {
            name: "a folder in its place",
            spoil: |folder| {
                let store = folder.join("berth.redb");
                fs::remove_file(&store).unwrap();
                fs::create_dir(store).unwrap();
            },
            says: &[
                "berth.redb",
                "Is a directory",
                "has to be a file",
                "`store.path`",
            ],
        },
    ] {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("state");
        fs::create_dir(&place).unwrap();
        let world = stored(&place.join("berth.redb")).await;
        world.berth().kill().await.unwrap();
        spoil(&place);
        refuses(&world, name, says).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_on_a_read_only_disk_is_named_with_a_remedy() {
    if let Some(why) = disk::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    let disk = Disk::mount(8).unwrap();
    let world = stored(&disk.path().join("berth.redb")).await;
    world.berth().kill().await.unwrap();
    disk.make_read_only().unwrap();
    let says = [
        "berth.redb",
        "Read-only file system",
        "may write to",
        "`store.path`",
    ];
    refuses(&world, "a read-only disk", &says).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_has_one_berth() {
    let folder = tempfile::tempdir().unwrap();
    let [path, other] = ["berth.redb", "other.redb"].map(|name| folder.path().join(name));
    let (world, second) = (stored(&path).await, stored(&other).await);
    let config = second.folder().join("berth.yaml");
    let text = fs::read_to_string(&config).unwrap();
    let (same, different) = (path.display().to_string(), other.display().to_string());
    fs::write(&config, text.replace(&different, &same)).unwrap();
    let words = [
        "berth.redb is in use: another berth is running with it; stop that one",
        "`store.path`",
    ];
    refuses(&second, "another berth", &words).await;
    world.berth().check().unwrap();
    world.berth().instances().await.unwrap();
}

/// The start goes on without it, for a control plane that is away helps nobody; the file is kept, and named.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_version_is_set_aside() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.redb");
    let world = stored(&path).await;
    world.berth().kill().await.unwrap();
    let database = Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let mut meta = transaction.open_table(META).unwrap();
    meta.insert("format", 1_000).unwrap();
    drop(meta);
    transaction.commit().unwrap();
    drop(database);
    world.berth().restart().await.unwrap();
    let names = fs::read_dir(folder.path()).unwrap();
    let mut names = names.map(|entry| entry.unwrap().path());
    let aside = names.find(|path| path.to_string_lossy().contains(".newer-"));
    let aside = aside.unwrap();
    let database = Database::open(&aside).unwrap();
    let kept = database.begin_read().unwrap();
    let format = kept.open_table(META).unwrap().get("format").unwrap();
    assert_eq!(format.unwrap().value(), 1_000);
    let log = world.berth().log();
    let name = aside.display().to_string();
    for said in [name.as_str(), "format 1000", "start the newer version"] {
        assert!(log.contains(said), "{said}: {log}");
    }
}

/// A control plane that has made its store.
async fn stored(path: &Path) -> World {
    let world = World::builder().web_instances(1).envoys(0).store(path);
    world.start().await.unwrap()
}

/// Started again, it ends with 1, and its last words have all of this.
async fn refuses(world: &World, name: &str, said: &[&str]) {
    let ended = world.berth().restart().await;
    let Err(Error::Ended { status, log, .. }) = ended else {
        panic!("{name}: {ended:?}");
    };
    assert_eq!(status.code(), Some(1), "{name}");
    for words in said {
        assert!(log.contains(words), "{name}: {words}: {log}");
    }
}

const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
