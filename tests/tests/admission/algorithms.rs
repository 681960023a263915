//! Signatures of every algorithm that a proxy can check, made by `berth token` and checked by a real Envoy.

use std::path::Path;
use std::process::Command;

use berth_tests::{AUDIENCE, ISSUER, World};
use serde_json::Value;

#[tokio::test(flavor = "multi_thread")]
async fn what_envoy_computes_is_decided_in_the_proxy() {
    let folder = tempfile::tempdir().unwrap();
    let keys = CHECKED_BY_ENVOY.map(|algorithm| new_key(folder.path(), algorithm));
    let world = World::builder()
        .web_instances(1)
        .more_keys(keys)
        .start()
        .await
        .unwrap();
    let verdict = async |token: &str| {
        let client = world.client("web").unwrap().credential(token);
        let response = client.verdict().await.unwrap();
        match response.status {
            200 => "admitted".to_owned(),
            _ => response.reason().unwrap_or_default().to_owned(),
        }
    };
    for algorithm in CHECKED_BY_ENVOY {
        let good = token(folder.path(), algorithm, "alice");
        assert_eq!(verdict(&good).await, "admitted", "{algorithm}");
        // A good signature of something else.
        let other = token(folder.path(), algorithm, "mallory");
        let (message, _) = other.rsplit_once('.').unwrap();
        let (_, signature) = good.rsplit_once('.').unwrap();
        let forged = format!("{message}.{signature}");
        assert_eq!(verdict(&forged).await, "bad_signature", "{algorithm}");
        let empty = format!("{message}.");
        assert_eq!(verdict(&empty).await, "bad_signature", "{algorithm}");
    }
}

const CHECKED_BY_ENVOY: [&str; 6] = ["RS256", "RS384", "RS512", "ES256", "ES384", "ES512"];

/// Makes a key of this algorithm's name, and says what the issuer publishes of it.
fn new_key(folder: &Path, algorithm: &str) -> Value {
    let (key, set) = (format!("{algorithm}.key"), format!("{algorithm}.json"));
    let files = ["--key-out", &key, "--jwks-out", &set];
    let make = ["--new-key", algorithm, "--kid", algorithm];
    berth_token(folder, &[&make[..], &files].concat());
    let set = std::fs::read(folder.join(set)).unwrap();
    let mut set: Value = serde_json::from_slice(&set).unwrap();
    set["keys"][0].take()
}

fn token(folder: &Path, algorithm: &str, subject: &str) -> String {
    let key = format!("{algorithm}.key");
    let how = ["--key", &key, "--algorithm", algorithm, "--kid", algorithm];
    let who = [
        "--issuer",
        ISSUER,
        "--audience",
        AUDIENCE,
        "--subject",
        subject,
    ];
    let what = ["--claim", r#"pools=["web"]"#];
    let token = berth_token(folder, &[&how[..], &who, &what].concat());
    token.trim_end().to_owned()
}

fn berth_token(folder: &Path, arguments: &[&str]) -> String {
    let berth = berth_tests::berth().unwrap();
    let output = Command::new(berth)
        .arg("token")
        .args(arguments)
        .current_dir(folder)
        .output()
        .unwrap();
    assert!(output.status.success(), "{arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}
