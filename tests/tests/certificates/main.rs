//! What an Envoy shows its clients: by the name they ask for, and from files that change while sessions are live.
#![cfg(test)]

mod broken;
mod hello;
mod names;
mod parameters;
mod rotation;
mod shown;

use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_client::{Message, Session};
use berth_tests::{
    Certificates, Envoy, Issued, KeyKind, Scratch, Seen, World, WorldBuilder, wait_until,
};

/// For what takes as long as it takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

/// Where a certificate and its key are.
struct Files {
    chain: PathBuf,
    private_key: PathBuf,
}

impl Files {
    fn new(folder: &Path, name: &str) -> Self {
        Self {
            chain: folder.join(format!("{name}.pem")),
            private_key: folder.join(format!("{name}-key.pem")),
        }
    }

    fn write(&self, issued: &Issued) {
        std::fs::write(&self.private_key, &issued.private_key).unwrap();
        std::fs::write(&self.chain, &issued.chain).unwrap();
    }
}

/// A certificate beside the default one.
struct Named {
    files: Files,
    issued: Issued,
}

/// Adds certificates to a world: each its name and what it is for, in a folder that has to outlive the world.
fn with_names<const N: usize>(
    mut builder: WorldBuilder,
    folder: &Scratch,
    wanted: [(&str, KeyKind, &[&str]); N],
) -> (WorldBuilder, [Named; N]) {
    let authority = Certificates::load_or_create(&folder.path().join("names")).unwrap();
    let named = wanted.map(|(name, kind, names)| Named {
        files: Files::new(folder.path(), name),
        issued: authority.issue(kind, names).unwrap(),
    });
    for (named, (name, _, _)) in named.iter().zip(wanted) {
        named.files.write(&named.issued);
        builder = builder.by_sni(name, &named.files.chain, &named.files.private_key);
    }
    (builder, named)
}

/// What a new connection is shown that asks for this name becomes this, in no more time than is promised.
async fn is_shown(world: &World, name: Option<&str>, expected: &Issued) {
    let expected = shown::der(&expected.chain);
    wait_until("the new certificate to be shown", PROMPTLY, async || {
        let found = shown::to(world.https(), name).await;
        Ok(Seen::when(found == expected, "another is"))
    })
    .await
    .unwrap();
}

/// Envoy has been sent its listeners once, and drains none.
async fn listeners_are_untouched(envoy: &Envoy) {
    for (stat, expected) in [
        ("listener_manager.lds.update_success", 1),
        ("listener_manager.listener_added", 2),
        ("listener_manager.listener_modified", 0),
        ("listener_manager.listener_in_place_updated", 0),
        ("listener_manager.total_listeners_draining", 0),
    ] {
        assert_eq!(envoy.stat(stat).await.unwrap(), Some(expected), "{stat}");
    }
}

async fn echo(session: &mut Session) {
    session.send(Message::text("hello")).await.unwrap();
    session.receive_data().await.unwrap();
}

/// From a change of a file to the first connection that sees it.
const PROMPTLY: Duration = Duration::from_secs(3);
