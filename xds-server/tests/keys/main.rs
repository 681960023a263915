//! Issuers' keys, from files and from an identity provider that is not always well.
#![cfg(test)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use berth::clock::Clock;
use berth::keys::{self, IssuerKeys, KeySource, Keys, Place, Setup, WebPlace, WebUrl};
use berth_admission::PolicyConfig;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use provider::{Answer, Provider};

mod provider;

const ISSUER: &str = "robots";

fn jwks(ids: &[&str]) -> String {
    let keys = ids.iter().map(|id| {
        json!({
            "kid": id, "kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
        })
    });
    json!({"keys": keys.collect::<Vec<_>>()}).to_string()
}

fn web(url: &str) -> WebPlace {
    WebPlace {
        url: WebUrl::parse(url, false).unwrap(),
        discovery: false,
        refresh: Duration::from_secs(3600),
        min_refetch: Duration::from_secs(3600),
        ca_pem: None,
    }
}

fn of_provider(provider: &Provider) -> WebPlace {
    WebPlace {
        ca_pem: Some(provider.ca_pem.clone()),
        ..web(&format!("{}/keys", provider.url))
    }
}

/// Keys of one issuer, from there.
struct Scene {
    keys: Keys,
    task: tokio::task::JoinHandle<()>,
}

impl Scene {
    fn new(issuer: &str, place: Place, store: Option<PathBuf>) -> Self {
        let known = match &place {
            Place::File(path) => serde_json::from_slice(&fs::read(path).unwrap()).unwrap(),
            Place::Web(_) => json!({"keys": []}),
        };
        let policy: PolicyConfig = serde_json::from_value(json!({
            "issuers": [{"issuer": issuer, "jwks": known}],
            "pools": [{"name": "web", "family": "web"}],
        }))
        .unwrap();
        let (keys, task) = keys::start(Setup {
            clock: Clock::start(),
            policy,
            sources: vec![KeySource {
                issuer: issuer.to_owned(),
                place,
            }],
            store,
        })
        .unwrap();
        let task = tokio::spawn(task);
        Self { keys, task }
    }

    fn web(place: WebPlace) -> Self {
        Self::new(ISSUER, Place::Web(place), None)
    }

    /// Waits until this is so.
    async fn until(&self, what: &str, is: impl Fn(&IssuerKeys) -> bool) -> IssuerKeys {
        let mut issuers = self.keys.issuers();
        let found = timeout(PATIENCE, issuers.wait_for(|issuers| is(&issuers[0]))).await;
        match found {
            Ok(found) => found.unwrap()[0].clone(),
            Err(_) => panic!("not {what}: {:?}", self.keys.issuers().borrow()),
        }
    }

    async fn until_keys(&self, ids: &[&str]) {
        self.until(&format!("{ids:?}"), |issuer| names(issuer) == ids)
            .await;
        // The policy is never older than what is shown.
        assert_eq!(self.in_policy(), ids);
    }

    /// What admission goes by.
    fn in_policy(&self) -> Vec<String> {
        let jwks = serde_json::to_value(&self.keys.watch().borrow().config.issuers[0].jwks);
        let keys = jwks.unwrap()["keys"].clone();
        let keys = keys.as_array().unwrap().iter();
        keys.map(|key| key["kid"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Ends, as a process does.
    async fn stop(self) {
        drop(self.keys);
        timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

fn names(issuer: &IssuerKeys) -> Vec<String> {
    let held = issuer.held.iter().flat_map(|held| held.set.names());
    held.map(|name| name.id.unwrap().to_owned()).collect()
}

fn error(issuer: &IssuerKeys) -> String {
    issuer.error.as_ref().unwrap().to_string()
}

#[tokio::test]
async fn what_comes_is_used_or_it_is_said_why_not() {
    let provider = Provider::encrypted().await;
    let other = Provider::plain().await;
    let url = |path: &str| format!("{}{path}", provider.url);
    provider.set("/moved", Answer::Text(jwks(&["moved"])));
    other.set("/keys", Answer::Text(jwks(&["not-encrypted"])));
    provider.set("/again", Answer::Redirect(url("/again")));
    provider.set("/hop", Answer::Redirect(url("/moved")));
    let secret = r#"{"keys": [{"kty": "oct", "kid": "s", "k": "c2VjcmV0"}]}"#;
    for (answer, expected) in [
        (Answer::Text(jwks(&["b", "a"])), Ok(&["a", "b"][..])),
        (Answer::Redirect(url("/hop")), Ok(&["moved"])),
        (
            Answer::Redirect(format!("{}/keys", other.url)),
            Err("it redirects to a URL that leads from https to http"),
        ),
        (
            Answer::Redirect(url("/again")),
            Err("it redirects more than 3 times"),
        ),
        (
            Answer::Status(500),
            Err("/keys was answered 500 Internal Server Error"),
        ),
        (
            Answer::Status(204),
            Err("/keys was answered 204 No Content"),
        ),
        (
            Answer::Large((256 << 10) + 1),
            Err("/keys is larger than 262144 bytes"),
        ),
        (
            Answer::Large(256 << 10),
            Err("/keys is not JSON: EOF while parsing a value at line 1 column 262144"),
        ),
        (
            Answer::Text("{}".to_owned()),
            Err("/keys is no JWK Set, `{\"keys\": [...]}` (RFC 7517)"),
        ),
        (
            Answer::Text(secret.to_owned()),
            Err(
                "/keys has no key that can be used: `keys[0]` (\"s\"): it is secret and was published, so anybody may have it: its issuer has to replace it",
            ),
        ),
        (Answer::Never, Err("/keys: nothing complete came within 5s")),
    ] {
        provider.set("/keys", answer.clone());
        let scene = Scene::web(of_provider(&provider));
        let tried = scene.until("tried", |issuer| {
            issuer.next.is_some() && (issuer.held.is_some() || issuer.error.is_some())
        });
        let tried = tried.await;
        match expected {
            Ok(expected) => assert_eq!(names(&tried), expected, "{answer:?}"),
            Err(expected) => {
                let error = error(&tried);
                assert!(error.ends_with(expected), "{answer:?}: {error}");
                assert_eq!(names(&tried), Vec::<String>::new());
            }
        }
        scene.stop().await;
    }
    assert_eq!(other.asked(), Vec::<String>::new());
}

#[tokio::test]
async fn only_whom_the_configuration_trusts_is_believed() {
    let (provider, stranger) = (Provider::encrypted().await, Provider::encrypted().await);
    provider.set("/keys", Answer::Text(jwks(&["a"])));
    // A private authority that was not named, as good as none, and the right one.
    for ca_pem in [None, Some(stranger.ca_pem.clone())] {
        let place = WebPlace {
            ca_pem,
            ..of_provider(&provider)
        };
        let scene = Scene::web(place);
        let refused = scene
            .until("refused", |issuer| issuer.error.is_some())
            .await;
        assert!(error(&refused).contains("certificate"), "{refused:?}");
        assert_eq!(provider.asked(), Vec::<String>::new());
    }
    let scene = Scene::web(of_provider(&provider));
    scene.until_keys(&["a"]).await;
}

#[tokio::test]
async fn a_provider_says_itself_where_its_keys_are() {
    let provider = Provider::encrypted().await;
    let issuer = format!("{}/realms/xr", provider.url);
    let well_known = "/realms/xr/.well-known/openid-configuration";
    provider.set("/certs", Answer::Text(jwks(&["a"])));
    let certs = format!("{}/certs", provider.url);
    let plain = certs.replace("https", "http");
    for (document, expected) in [
        (
            json!({"issuer": issuer, "jwks_uri": certs, "more": [1]}),
            Ok(()),
        ),
        (
            json!({"issuer": format!("{issuer}/"), "jwks_uri": certs}),
            Err("`issuer` has to be the same there and here, to the last character"),
        ),
        (
            json!({"issuer": issuer, "jwks_uri": plain}),
            Err("leads from https to http"),
        ),
        (
            json!({"issuer": issuer, "jwks_uri": "/certs"}),
            Err("its `jwks_uri` \"/certs\" is not a URL"),
        ),
        (json!({"issuer": issuer}), Err("missing field `jwks_uri`")),
        (json!({"jwks_uri": certs}), Err("missing field `issuer`")),
    ] {
        provider.set(well_known, Answer::Text(document.to_string()));
        let place = WebPlace {
            url: WebUrl::discovery(&issuer, false).unwrap(),
            discovery: true,
            ..of_provider(&provider)
        };
        let scene = Scene::new(&issuer, Place::Web(place), None);
        match expected {
            Ok(()) => scene.until_keys(&["a"]).await,
            Err(expected) => {
                let refused = scene
                    .until("refused", |issuer| issuer.error.is_some())
                    .await;
                assert!(error(&refused).contains(expected), "{}", error(&refused));
            }
        }
    }
    let certs = provider.asked().into_iter().filter(|path| path == "/certs");
    assert_eq!(certs.count(), 1, "only the first was believed");
}

#[tokio::test]
async fn other_keys_are_used_without_a_restart() {
    let provider = Provider::plain().await;
    provider.set("/keys", Answer::Text(jwks(&["a"])));
    let place = WebPlace {
        refresh: Duration::from_millis(20),
        ..web(&format!("{}/keys", provider.url))
    };
    let scene = Scene::web(place);
    scene.until_keys(&["a"]).await;
    let mut policy = scene.keys.watch();
    policy.mark_unchanged();
    // The same keys in other words are nothing new.
    provider.set("/keys", Answer::Text(jwks(&["a", "a"])));
    let before = scene.until("fetched", |_| true).await.fetches.unchanged;
    scene
        .until("fetched again", |issuer| {
            issuer.fetches.unchanged > before + 1
        })
        .await;
    assert!(!policy.has_changed().unwrap());
    provider.set("/keys", Answer::Text(jwks(&["b", "c"])));
    scene.until_keys(&["b", "c"]).await;
    assert!(policy.has_changed().unwrap());
    // While it is broken, what is known stays.
    provider.set("/keys", Answer::Status(503));
    scene
        .until("failed", |issuer| issuer.fetches.failed > 1)
        .await;
    assert_eq!(scene.in_policy(), ["b", "c"]);
    provider.set("/keys", Answer::Text(jwks(&["c"])));
    scene.until_keys(&["c"]).await;
    let well = scene.until("well", |issuer| issuer.error.is_none()).await;
    assert_eq!(well.fetches.changed, 3);
}

#[tokio::test]
async fn a_file_is_read_again_when_it_changes() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("jwks.json");
    fs::write(&path, jwks(&["a"])).unwrap();
    let scene = Scene::new(ISSUER, Place::File(path.clone()), None);
    // Nobody waits for what is known.
    assert_eq!(scene.in_policy(), ["a"]);
    for (content, expected) in [
        ("{\"keys\": [", "is not JSON"),
        ("{\"keys\": []}", "has no key that can be used"),
        (
            r#"{"keys": [{"kty": "EC", "d": "AA"}]}"#,
            "is a private key",
        ),
    ] {
        fs::write(&path, content).unwrap();
        let broken = scene.until(expected, |issuer| {
            let error = issuer.error.as_ref().map(ToString::to_string);
            error.is_some_and(|error| error.contains(expected))
        });
        assert_eq!(names(&broken.await), ["a"]);
    }
    fs::remove_file(&path).unwrap();
    let gone = |issuer: &IssuerKeys| {
        let error = issuer.error.as_ref().map(ToString::to_string);
        error.is_some_and(|error| error.contains("cannot read"))
    };
    scene.until("gone", gone).await;
    // However often it is looked at, it is one failure.
    let mut looks = scene.keys.issuers();
    for _ in 0..3 {
        timeout(PATIENCE, looks.changed()).await.unwrap().unwrap();
    }
    // The way of those who want nobody to see half a file.
    let other = folder.path().join("new.json");
    fs::write(&other, jwks(&["b"])).unwrap();
    fs::rename(other, &path).unwrap();
    scene.until_keys(&["b"]).await;
    let seen = scene.until("well", |issuer| issuer.error.is_none()).await;
    assert_eq!((seen.fetches.failed, seen.fetches.changed), (4, 1));
}

#[tokio::test]
async fn a_start_goes_on_with_what_was_fetched_before() {
    let folder = TempDir::new().unwrap();
    let store = folder.path().join("berth.redb");
    let provider = Provider::encrypted().await;
    provider.set("/keys", Answer::Text(jwks(&["a"])));
    let start = |place: WebPlace| Scene::new(ISSUER, Place::Web(place), Some(store.clone()));
    let scene = start(of_provider(&provider));
    scene.until_keys(&["a"]).await;
    scene.stop().await;
    let file = folder.path().join("berth.redb.keys.json");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    provider.set("/keys", Answer::Status(500));
    let scene = start(of_provider(&provider));
    assert_eq!(scene.in_policy(), ["a"]);
    scene.until("tried", |issuer| issuer.error.is_some()).await;
    assert_eq!(scene.in_policy(), ["a"]);
    scene.stop().await;
    // What another place said is not for this one.
    let elsewhere = web(&format!("{}/elsewhere", provider.url));
    assert_eq!(start(elsewhere).in_policy(), Vec::<String>::new());
    // What cannot be read is not there; what is too old neither.
    for content in ["?".to_owned(), old(&file)] {
        fs::write(&file, content).unwrap();
        let scene = start(of_provider(&provider));
        assert_eq!(scene.in_policy(), Vec::<String>::new());
    }
}

/// What is in the file, as if it had been fetched in 1970.
fn old(file: &Path) -> String {
    let mut content: Value = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    content["key_sets_v1"][0]["fetched_at"] = json!(7);
    content.to_string()
}

#[tokio::test]
async fn many_unknown_keys_are_one_fetch() {
    let provider = Provider::plain().await;
    provider.set("/keys", Answer::Text(jwks(&["a"])));
    let scene = Scene::web(web(&format!("{}/keys", provider.url)));
    scene.until_keys(&["a"]).await;
    assert_eq!(provider.asked().len(), 1);
    provider.set("/keys", Answer::Text(jwks(&["a", "b"])));
    let keys = Arc::new(scene.keys.clone());
    let refetches = (0..200).map(|_| {
        let keys = Arc::clone(&keys);
        tokio::spawn(async move { keys.refetch(ISSUER).await })
    });
    for refetch in refetches.collect::<Vec<_>>() {
        timeout(PATIENCE, refetch).await.unwrap().unwrap();
    }
    // Who has waited finds the new key.
    assert_eq!(scene.in_policy(), ["a", "b"]);
    assert_eq!(provider.asked().len(), 2);
    // Nor is there a fetch for an issuer that nobody knows.
    keys.refetch(ISSUER).await;
    keys.refetch("https://stranger.example").await;
    assert_eq!(provider.asked().len(), 2);
}

#[tokio::test]
async fn nobody_waits_long_for_a_provider_that_hangs() {
    let provider = Provider::plain().await;
    provider.set("/keys", Answer::Never);
    let scene = Scene::web(web(&format!("{}/keys", provider.url)));
    // Well before the fetch itself gives up.
    let refetch = scene.keys.refetch(ISSUER);
    timeout(Duration::from_secs(4), refetch).await.unwrap();
    let start = scene.keys.settled(Duration::from_millis(50));
    timeout(Duration::from_secs(1), start).await.unwrap();
    let issuers = scene.keys.issuers();
    assert!(issuers.borrow()[0].error.is_none(), "still under way");
}

/// Longer than anything here takes.
const PATIENCE: Duration = Duration::from_secs(30);
