//! How large the module is, what a worker's VM keeps in memory, and how long it all takes to be there.

use std::fs;
use std::path::Path;
use std::time::Duration;

use berth_client::Family;
use berth_tests::{Algorithm, Attempt, Scratch, SigningKeys, World, filter_module};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use super::load::{measure, status};
use super::site::{self, Site};
use super::tokens::{Claims, request, requests, valid};
use crate::BenchError;
use crate::figure::Figure;

pub(super) async fn run() -> Result<Vec<Figure>, BenchError> {
    println!(
        "admission, footprint: what is resident of Envoys with 1 and {WORKERS} workers, with Berth's filter and without,\n\
         after {WARM} requests;\n\
         from the start of an Envoy's process to the 101 of the first session, the control plane being there;\n\
         and from a new configuration (by ECDS from a file) to the first answer by it. {ROUNDS} rounds."
    );
    let size = fs::metadata(filter_module()?)?.len();
    let kilobytes = f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / 1000.0;
    let keys = SigningKeys::of_tests()?;
    Ok(vec![
        Figure::lower("module", " kB", &[kilobytes]).at_most(300.0),
        Figure::lower("a worker's VM", " MB", &memory(&keys).await?),
        Figure::lower("Envoy's start to the first 101", " ms", &ready().await?),
        Figure::lower("a new configuration answers", " ms", &updated(&keys).await?),
    ])
}

/// What a worker with the filter has more than one without, beyond what the first one brings along.
async fn memory(keys: &SigningKeys) -> Result<Vec<f64>, BenchError> {
    let requests = requests(keys, Algorithm::Rs256, Claims::Few)?;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let mut grown = Vec::new();
        for filters in [vec![site::berth(keys, 100)?], Vec::new()] {
            let mut resident = Vec::new();
            for workers in [1, WORKERS] {
                let site = Site::start(&[filters.clone()], workers).await?;
                // A VM has most of its memory once it was entered.
                for address in &site.addresses {
                    measure(&site.envoy, *address, &requests, WARM, FORBIDDEN).await?;
                }
                let memory = u32::try_from(site.envoy.memory()?.resident / 1024);
                resident.push(f64::from(memory.unwrap_or(u32::MAX)) * 1024.0 / 1e6);
            }
            grown.push(difference(&resident) / f64::from(WORKERS - 1));
        }
        values.push(-difference(&grown));
    }
    Ok(values)
}

/// The last of two less the first.
fn difference(values: &[f64]) -> f64 {
    match values {
        [first, last] => last - first,
        _ => f64::NAN,
    }
}

async fn ready() -> Result<Vec<f64>, BenchError> {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let pool = pool.instances(2).settle(Duration::ZERO);
            pool.resume_window(Duration::ZERO)
        })
        .envoy_workers(1)
        .start()
        .await?;
    let mut values = Vec::new();
    for _ in 0..ROUNDS {
        let envoy = world.envoy(0)?;
        envoy.kill().await?;
        let begun = Instant::now();
        // Looks every 20 ms whether it listens.
        envoy.restart().await?;
        loop {
            match world.client("web")?.attempt().await {
                Ok(Attempt::Admitted(session)) => {
                    values.push(milliseconds(begun));
                    session.close(NORMAL_CLOSURE, "").await?;
                    // Whoever is killed before the end was told leaves an orphan.
                    for instance in world.berth().instances().await? {
                        let free = world.berth().wait_until_free(&instance.name, SOON);
                        free.await?;
                    }
                    break;
                }
                Ok(Attempt::Refused(_)) | Err(_) if begun.elapsed() < SOON => {
                    sleep(BETWEEN_LOOKS).await;
                }
                Ok(Attempt::Refused(_)) => {
                    return Err(BenchError::Side("an Envoy that was started"));
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(values)
}

/// Says in turn that the pool is there and that it is not.
async fn updated(keys: &SigningKeys) -> Result<Vec<f64>, BenchError> {
    let scratch = Scratch::temporary()?;
    write(scratch.path(), &site::configuration(keys, 0, "web")?)?;
    let site = Site::start(&[vec![discovered(scratch.path())]], 1).await?;
    let first = site.addresses.first().copied();
    let address = first.ok_or(BenchError::Configuration("listener"))?;
    let token = valid(keys, Algorithm::Rs256, Claims::Few, 0);
    let request = request(&token.sign()?);
    let mut values = Vec::new();
    for round in 0..ROUNDS {
        let (pool, expected) = if round % 2 == 0 {
            ("later", NOT_FOUND)
        } else {
            ("web", FORBIDDEN)
        };
        let begun = Instant::now();
        write(scratch.path(), &site::configuration(keys, 0, pool)?)?;
        let answers = async {
            while status(address, &request).await? != expected {
                sleep(BETWEEN_LOOKS).await;
            }
            Ok::<_, BenchError>(())
        };
        timeout(SOON, answers)
            .await
            .map_err(|_| BenchError::Side("a filter that has a new configuration"))??;
        values.push(milliseconds(begun));
    }
    Ok(values)
}

/// The filter, by ECDS from a file in this folder.
fn discovered(folder: &Path) -> Value {
    json!({
        "name": NAME,
        "config_discovery": {
            "config_source": {
                "path_config_source": { "path": folder.join("ecds.json") },
                "resource_api_version": "V3",
            },
            "type_urls": ["type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm"],
        },
    })
}

/// By a rename: that is what Envoy watches for.
fn write(folder: &Path, configuration: &str) -> Result<(), BenchError> {
    let response = json!({ "resources": [{
        "@type": "type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig",
        "name": NAME,
        "typed_config": site::wasm(&filter_module()?, "discovered", configuration),
    }]});
    let new = folder.join("new.json");
    fs::write(&new, response.to_string())?;
    Ok(fs::rename(&new, folder.join("ecds.json"))?)
}

fn milliseconds(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

const NAME: &str = "berth.admission";
/// Many, for what Envoys of the same kind have resident differs by as much as a VM has.
const WORKERS: u16 = 16;
const WARM: u32 = 4_000;
const ROUNDS: usize = 10;
const SOON: Duration = Duration::from_secs(20);
const BETWEEN_LOOKS: Duration = Duration::from_millis(1);
const FORBIDDEN: u16 = 403;
const NOT_FOUND: u16 = 404;
/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;
