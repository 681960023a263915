//! The module sent with its configuration: rolled out, and back, under live sessions.
#![cfg(test)]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use berth_client::{Message, Session};
use berth_tests::{Envoy, Error, Seen, World, WorldBuilder, wait_until};
use serde_json::Value;
use tempfile::TempDir;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn another_module_is_rolled_out_and_back_and_no_session_ends() {
    let file = ModuleFile::new();
    let world = world(&file).web_instances(3).start().await.unwrap();
    let envoy = world.envoy(0).unwrap();
    let vms = active(envoy).await.unwrap();
    let mut first = world.client("web").unwrap().connect().await.unwrap();

    let other = with_custom_section(&file.usual, b"two");
    file.replace(&other);
    runs_on(envoy, &other).await;
    let mut second = world.client("web").unwrap().connect().await.unwrap();
    let both = active(envoy).await.unwrap();
    assert!(both > vms, "{both} VMs, and {vms} before");

    file.replace(&file.usual);
    runs_on(envoy, &file.usual).await;
    let mut third = world.client("web").unwrap().connect().await.unwrap();
    for session in [&mut first, &mut second, &mut third] {
        echoes(session).await;
    }
    let refusal = world.client("web").unwrap().refusal().await.unwrap();
    assert_eq!(refusal.reason(), Some("no_instance"));

    // The VM that a session began in still says what is live in it, and does as it is told.
    for _ in 0..3 {
        let sessions = world.berth().sessions().await.unwrap();
        let session = sessions.first().unwrap();
        world.berth().terminate(&session.id).await.unwrap();
        let instance = session.instance.clone().unwrap();
        world
            .berth()
            .wait_until_free(&instance, SOON)
            .await
            .unwrap();
    }
    for session in [&mut first, &mut second, &mut third] {
        assert!(session.receive_data().await.is_err());
    }
    let orphaned = world.berth().metric("berth_leases_orphaned_total").await;
    assert_eq!(orphaned.unwrap(), 0.0);
    wait_until("VMs without sessions to be gone", SOON, async || {
        let now = active(envoy).await?;
        Ok(Seen::when(now == vms, format!("{now} of {vms}")))
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_module_is_not_sent_and_what_envoy_refuses_changes_nothing() {
    let file = ModuleFile::new();
    let world = world(&file).web_instances(2).start().await.unwrap();
    let envoy = world.envoy(0).unwrap();
    let mut session = world.client("web").unwrap().connect().await.unwrap();

    file.replace(b"no module");
    wait_until("the control plane to say so", SOON, async || {
        let log = world.berth().log();
        Ok(Seen::when(log.contains("no module: proxies keep"), log))
    })
    .await
    .unwrap();
    let refused = rejections(envoy).await.unwrap();
    assert_eq!(refused, 0);
    runs_on(envoy, &file.usual).await;

    // It begins as a module does, and ends too soon.
    let (half, _) = file.usual.split_at(file.usual.len() / 2);
    file.replace(half);
    wait_until("Envoy to refuse it", SOON, async || {
        let told = world.berth().metric(REFUSED).await?;
        let now = rejections(envoy).await?;
        let state = format!("Envoy refused {now}, the control plane heard of {told}");
        Ok(Seen::when(now > refused && told >= 1.0, state))
    })
    .await
    .unwrap();
    echoes(&mut session).await;
    let another = world.client("web").unwrap().connect().await.unwrap();
    another.close(1000, "").await.unwrap();

    let repaired = with_custom_section(&file.usual, b"repaired");
    file.replace(&repaired);
    runs_on(envoy, &repaired).await;
    echoes(&mut session).await;
    world.settled().await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

fn world(file: &ModuleFile) -> WorldBuilder {
    // One worker, so that the number of VMs tells of how many modules there are.
    World::builder().envoy_workers(1).module_sent(&file.path())
}

/// The file that the control plane sends.
struct ModuleFile {
    folder: TempDir,
    usual: Vec<u8>,
}

impl ModuleFile {
    fn new() -> Self {
        let usual = fs::read(berth_tests::filter_module().unwrap()).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = Self { folder, usual };
        file.replace(&file.usual);
        file
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("filter.wasm")
    }

    fn replace(&self, module: &[u8]) {
        let path: &Path = &self.path();
        fs::write(path, module).unwrap();
    }
}

/// The same module by other bytes: with a section that means nothing to who runs it.
fn with_custom_section(module: &[u8], content: &[u8]) -> Vec<u8> {
    let name = b"build";
    let length = u8::try_from(1 + name.len() + content.len()).unwrap();
    assert!(length < 0x80, "its LEB128 is one byte");
    let name_length = u8::try_from(name.len()).unwrap();
    [module, &[0, length, name_length], name, content].concat()
}

async fn echoes(session: &mut Session) {
    session.send(Message::text("still here")).await.unwrap();
    let echo = session.receive_data().await.unwrap();
    assert_eq!(echo, Message::text("still here"));
}

/// Waits until an Envoy has taken this module.
async fn runs_on(envoy: &Envoy, module: &[u8]) {
    let expected = STANDARD.encode(module);
    wait_until("Envoy to have the module", SOON, async || {
        let dump = envoy.config_dump().await?;
        let module = inline(&dump).unwrap_or_default();
        Ok(Seen::when(
            module == expected,
            format!("{} characters", module.len()),
        ))
    })
    .await
    .unwrap();
}

/// The module in the dump of an Envoy's configuration, in Base64.
fn inline(tree: &Value) -> Option<&str> {
    match tree {
        Value::Array(values) => values.iter().find_map(inline),
        Value::Object(members) => match members.get("inline_bytes") {
            Some(module) => module.as_str(),
            None => members.values().find_map(inline),
        },
        _ => None,
    }
}

/// How many VMs there are: one for each module and worker, and one more for each module.
async fn active(envoy: &Envoy) -> Result<u64, Error> {
    let active = envoy.stat("wasm.envoy.wasm.runtime.v8.active").await?;
    Ok(active.unwrap_or_default())
}

/// How often an Envoy has refused a configuration of the filter.
async fn rejections(envoy: &Envoy) -> Result<u64, Error> {
    let refused = envoy.stat(REJECTIONS).await?;
    Ok(refused.unwrap_or_default())
}

const REJECTIONS: &str = "extension_config_discovery.http_filter.berth.admission.config_fail";
const REFUSED: &str = "berth_xds_refused_total{type=\"type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig\"}";
