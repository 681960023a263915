//! The filter's configuration comes by ECDS; one that cannot be used is refused, and the last good one stays.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use berth_client::Message;
use berth_tests::{Envoy, Seen, SigningKeys, World, wait_until};
use serde_json::{Value, json};
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn modules_that_cannot_be_used_are_refused_and_the_last_good_one_stays() {
    let world = World::builder().web_instances(2).start().await.unwrap();
    let mut session = world.client("web").unwrap().connect().await.unwrap();
    let garbage = world.folder().join("garbage.wasm");
    fs::write(&garbage, "no module").unwrap();
    let empty = world.folder().join("empty.wasm");
    // A module, by its first eight bytes, with nothing in it: no filter.
    fs::write(&empty, b"\0asm\x01\0\0\0").unwrap();

    for module in [Path::new("missing.wasm"), &garbage, &empty] {
        let case = module.display();
        let refused = rejections(world.envoy(0).unwrap()).await;
        set_module(&world, module);
        world.berth().restart().await.unwrap();
        wait_until("the filter to be refused", SOON, async || {
            let now = rejections(world.envoy(0)?).await;
            let told = world.berth().metric(REFUSED).await?;
            let state =
                format!("Envoy refused {now}, after {refused}; the control plane heard of {told}");
            Ok(Seen::when(now > refused && told >= 1.0, state))
        })
        .await
        .unwrap_or_else(|error| panic!("{case}: {error}"));

        session.send(Message::text("still here")).await.unwrap();
        assert_eq!(
            session.receive_data().await.unwrap(),
            Message::text("still here"),
            "{case}"
        );
        world.settled().await.unwrap();
        let another = world.client("web").unwrap().connect().await.unwrap();
        another.close(1000, "").await.unwrap();
    }

    // What starts with nothing good to keep lets nobody in, and says whose fault it is. A session that it had would
    // keep its instance until its silence has lasted for long enough.
    session.close(1000, "").await.unwrap();
    world.berth().wait_until_free("web-1", SOON).await.unwrap();
    world.envoy(0).unwrap().restart().await.unwrap();
    let refusal = world.client("web").unwrap().refusal().await.unwrap();
    assert_eq!((refusal.status, refusal.reason()), (500, Some("internal")));
    let body: Value = serde_json::from_str(&refusal.body).unwrap();
    assert_eq!(body.get("reason"), Some(&"internal".into()), "{body}");

    set_module(&world, &berth_tests::filter_module().unwrap());
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn configurations_that_make_no_sense_are_refused_and_the_last_good_one_stays() {
    let file = EcdsFile::new();
    let good = good_configuration();
    file.write(&good.to_string());
    let world = World::builder()
        .web_instances(1)
        .bootstrap(&file.bootstrap())
        .start()
        .await
        .unwrap();
    let envoy = world.envoy(0).unwrap();
    let mut session = world.client("web").unwrap().connect().await.unwrap();
    let asked = world.client("web").unwrap().path("/later/sign_in");

    for (case, configuration, named) in senseless(&good) {
        let before = rejections(envoy).await;
        let log_before = envoy.log().len();
        file.write(&configuration);
        wait_until("the configuration to be refused", SOON, async || {
            let now = rejections(envoy).await;
            Ok(Seen::when(now > before, now))
        })
        .await
        .unwrap_or_else(|error| panic!("{case}: {error}"));
        let log = envoy.log().split_off(log_before);
        let told = |line: &str| line.contains("configuration refused") && line.contains(named);
        assert!(
            log.lines().any(told),
            "{case}: nothing names `{named}`: {log}"
        );
        let verdict = asked.verdict().await.unwrap();
        assert_eq!(verdict.reason(), Some("no_such_pool"), "{case}");
    }

    // The next good one is taken, and the session that began with another goes on.
    let mut later = good;
    later["admission"]["pools"] = json!([web_pool(), { "name": "later", "family": "web" }]);
    file.write(&later.to_string());
    wait_until("the good configuration", SOON, async || {
        let verdict = asked.verdict().await?;
        let reason = verdict.reason();
        Ok(Seen::when(
            reason == Some("pool_forbidden"),
            format!("{reason:?}"),
        ))
    })
    .await
    .unwrap();
    session.send(Message::text("still here")).await.unwrap();
    assert_eq!(
        session.receive_data().await.unwrap(),
        Message::text("still here")
    );
}

/// Configurations, and what the refusal has to name.
#[rustfmt::skip] // one case a line
fn senseless(good: &Value) -> Vec<(&'static str, String, &'static str)> {
    let with = |pointer: &str, value: Value| {
        let mut config = good.clone();
        *config.pointer_mut(pointer).unwrap() = value;
        config.to_string()
    };
    let mut unknown = good.clone();
    unknown["admission"]["isuers"] = json!([]);
    let mut missing = good.clone();
    missing.as_object_mut().unwrap().remove("control_plane");
    vec![
        ("nothing", String::new(), "EOF"),
        ("half an object", "{".to_owned(), "EOF"),
        ("an array", "[]".to_owned(), ""),
        ("an unknown field", unknown.to_string(), "isuers"),
        ("a missing field", missing.to_string(), "control_plane"),
        ("no issuers", with("/admission/issuers", json!([])), "admission.issuers"),
        ("a key set that is none", with("/admission/issuers/0/jwks", json!([])), "admission.issuers[0].jwks"),
        ("two pools of a name", with("/admission/pools", json!([web_pool(), web_pool()])), "admission.pools"),
        ("an address for a pool's name", with("/admission/pools/0/name", json!("127.0.0.1")), "admission.pools[0].name"),
        ("a tick of no time", with("/control_plane/tick_ms", json!(0)), "control_plane.tick_ms"),
        ("a negative hold", with("/control_plane/hold_ms", json!(-1)), "control_plane.hold_ms"),
        ("no cluster", with("/control_plane/cluster", json!("")), "control_plane.cluster"),
        ("a policy nobody knows", with("/control_plane/when_away", json!("place")), "control_plane.when_away"),
    ]
}

fn web_pool() -> Value {
    json!({ "name": "web", "family": "web" })
}

fn good_configuration() -> Value {
    let keys = SigningKeys::of_tests().unwrap().jwks();
    json!({
        "admission": {
            "issuers": [{ "issuer": "https://login.berth.example", "audiences": ["berth"], "jwks": keys }],
            "pools": [web_pool()],
            "pools_claim": "pools",
        },
        "control_plane": { "cluster": "berth", "when_away": "wait", "hold_ms": 1000, "tick_ms": 1000 },
    })
}

/// A file that an Envoy takes its filter from, as one does that has a control plane of its own.
struct EcdsFile {
    folder: TempDir,
}

impl EcdsFile {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("ecds.json")
    }

    /// Replaces the filter's configuration. By a rename: that is what Envoy watches for.
    fn write(&self, configuration: &str) {
        let module = berth_tests::filter_module().unwrap();
        let response = json!({
            "resources": [{
                "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
                "name": "berth.admission",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
                    "config": {
                        "name": "berth.admission",
                        "failure_policy": "FAIL_RELOAD",
                        "vm_config": {
                            "vm_id": "berth",
                            "runtime": "envoy.wasm.runtime.v8",
                            "code": { "local": { "filename": module } },
                        },
                        "configuration": {
                            "@type": "type.googleapis.com/google.protobuf.StringValue",
                            "value": configuration,
                        },
                    },
                },
            }],
        });
        let new = self.folder.path().join("new.json");
        fs::write(&new, response.to_string()).unwrap();
        fs::rename(&new, self.path()).unwrap();
    }

    /// An Envoy's that takes the filter from here, and instances from the control plane.
    fn bootstrap(&self) -> String {
        let template = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/listeners/envoy.yaml");
        let template = fs::read_to_string(template).unwrap();
        let ads = "config_source: { ads: {}, resource_api_version: V3, initial_fetch_timeout: 2s }";
        assert_eq!(template.matches(ads).count(), 1, "the template has changed");
        let path = self.path();
        let file = format!(
            "config_source: {{ path_config_source: {{ path: \"{}\" }}, resource_api_version: V3 }}",
            path.display()
        );
        template.replace(ads, &file)
    }
}

/// How often an Envoy has refused a configuration of the filter.
async fn rejections(envoy: &Envoy) -> u64 {
    let stat = envoy.stat(REJECTIONS).await.unwrap();
    stat.unwrap_or_default()
}

/// Writes another module into the control plane's file.
fn set_module(world: &World, module: &Path) {
    let file = world.folder().join("berth.yaml");
    let text = fs::read_to_string(&file).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let line = lines
        .iter_mut()
        .find(|line| line.trim_start().starts_with("module:"));
    *line.unwrap() = format!("  module: \"{}\"", module.display());
    fs::write(&file, lines.join("\n")).unwrap();
}

const REJECTIONS: &str = "extension_config_discovery.http_filter.berth.admission.config_fail";
const REFUSED: &str = "berth_xds_refused_total{type=\"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\"}";
