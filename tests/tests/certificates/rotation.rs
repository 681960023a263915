use std::os::unix::fs::symlink;
use std::path::Path;

use berth_tests::{ClientAuthority, Issued, KeyKind, Scratch, Seen, World, raw, wait_until};
use futures_util::future::join_all;

use crate::{Files, SOON, echo, is_shown, listeners_are_untouched, with_names};

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_do_not_notice() {
    let folder = Scratch::temporary().unwrap();
    let names = ["a.example"];
    let builder = World::builder().web_instances(LIVE + 2);
    let (builder, [named]) = with_names(builder, &folder, [("a", KeyKind::EcdsaP256, &names)]);
    let world = builder.start().await.unwrap();
    let live = (0..LIVE).map(|_| async { world.client("web").unwrap().connect().await.unwrap() });
    let mut live = join_all(live).await;

    let issue = |names: &[&str]| {
        world
            .certificates()
            .issue(KeyKind::EcdsaP256, names)
            .unwrap()
    };
    let default = Files {
        chain: world.certificates().chain.clone(),
        private_key: world.certificates().private_key.clone(),
    };
    let mut last = None;
    // As a person with an editor does it, as a careful program does it, and as Kubernetes mounts secrets.
    for put in [Files::write, renamed_over, swapped] {
        let (next, other) = (issue(&["localhost"]), issue(&names));
        put(&default, &next);
        is_shown(&world, Some("localhost"), &next).await;
        put(&named.files, &other);
        is_shown(&world, Some("a.example"), &other).await;
        is_shown(&world, None, &next).await;
        last = Some((next, other));
    }

    join_all(live.iter_mut().map(echo)).await;
    let mut new = world.client("web").unwrap().connect().await.unwrap();
    echo(&mut new).await;
    listeners_are_untouched(world.envoy(0).unwrap()).await;
    for secret in ["berth", "berth/a"] {
        let series = |outcome| {
            format!("berth_certificate_reloads_total{{secret=\"{secret}\",outcome=\"{outcome}\"}}")
        };
        for (outcome, expected) in [("changed", 3.0), ("failed", 0.0)] {
            let found = world.berth().metric(&series(outcome)).await.unwrap();
            assert_eq!(found, expected, "{secret} {outcome}");
        }
    }

    // What a start reads is what there is.
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    let (next, other) = last.unwrap();
    is_shown(&world, Some("localhost"), &next).await;
    is_shown(&world, Some("a.example"), &other).await;
    join_all(live.iter_mut().map(echo)).await;
    listeners_are_untouched(world.envoy(0).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_do_those_who_sign_clients_certificates() {
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("clients.pem");
    let (before, after) = (
        ClientAuthority::new().unwrap(),
        ClientAuthority::new().unwrap(),
    );
    std::fs::write(&ca, before.pem()).unwrap();
    let world = World::builder()
        .web_instances(2)
        .client_ca(&ca)
        .start()
        .await
        .unwrap();
    let mut live = world.client("web").unwrap().connect().await.unwrap();
    let identity = |authority: &ClientAuthority| {
        authority
            .identity("robot", "spiffe://lab.example/robot", "robot.example")
            .unwrap()
    };
    let (old, new) = (identity(&before), identity(&after));
    assert!(is_let_in(&world, &old).await && !is_let_in(&world, &new).await);
    std::fs::write(&ca, after.pem()).unwrap();
    wait_until("the new authority to be trusted", SOON, async || {
        let (old, new) = (is_let_in(&world, &old).await, is_let_in(&world, &new).await);
        Ok(Seen::when(new && !old, format!("old {old}, new {new}")))
    })
    .await
    .unwrap();
    echo(&mut live).await;
    listeners_are_untouched(world.envoy(0).unwrap()).await;
}

/// Whether a client with this certificate gets an answer. In TLS 1.3 its handshake is over before it is looked at.
async fn is_let_in(world: &World, identity: &berth_tests::Identity) -> bool {
    let dial = world.dial().identity(identity);
    let Ok(mut connection) = dial.open(SOON).await else {
        return false;
    };
    let request = raw::upgrade_request(b"/sign_in", &[]);
    connection.write(&request).await.is_ok() && connection.answer(SOON).await.is_ok()
}

fn renamed_over(files: &Files, issued: &Issued) {
    for (path, content) in [
        (&files.private_key, &issued.private_key),
        (&files.chain, &issued.chain),
    ] {
        let new = path.with_extension("new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(new, path).unwrap();
    }
}

/// The files are links through one that is replaced.
fn swapped(files: &Files, issued: &Issued) {
    let folder = files.chain.with_extension("d");
    let version = folder.join("..v2");
    std::fs::create_dir_all(&version).unwrap();
    let data = folder.join("..data");
    symlink(&version, &data).unwrap();
    for (path, content) in [
        (&files.private_key, &issued.private_key),
        (&files.chain, &issued.chain),
    ] {
        let name = Path::new(path.file_name().unwrap());
        // What is there goes along, so that the link itself changes nothing.
        std::fs::copy(path, version.join(name)).unwrap();
        let link = path.with_extension("link");
        symlink(data.join(name), &link).unwrap();
        std::fs::rename(link, path).unwrap();
        let next = folder.join("..v3");
        std::fs::create_dir_all(&next).unwrap();
        std::fs::write(next.join(name), content).unwrap();
    }
    let new = folder.join("..data_tmp");
    symlink(folder.join("..v3"), &new).unwrap();
    std::fs::rename(new, data).unwrap();
}

const LIVE: u16 = 20;
