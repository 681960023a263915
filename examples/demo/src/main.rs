//! One session of each client family through a real Envoy, step by step, and some refusals.
//!
//! What it prints has happened: each line rests on what the client got, what the control plane's admin API
//! tells or what the emulated instance recorded, and is printed after that.

mod failure;
mod interrupt;
mod next;
mod refusals;
mod walk;

use std::fs::{self, File};
use std::io::{self, IsTerminal as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use berth_client::Family;
use berth_runtime_emulator::EmulatorConfig;
use berth_tests::World;
use clap::Parser;

use failure::{Failure, Problem};
use interrupt::Interrupt;

/// Starts three emulated CloudXR instances, the control plane and Envoy on loopback ports, and shows one
/// session of each client family and four refusals.
///
/// On a terminal everything then stays up until Ctrl-C. Exits with 0 when all of it happened, 1 when not (the
/// step that failed is on standard error), 130 when interrupted before.
#[derive(Parser)]
#[command(name = "berth-demo", version)]
struct Arguments {
    /// Where the development CA, the keys, the configuration and the logs are kept
    #[arg(long, default_value = ".demo")]
    folder: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments.folder).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Interrupted) => {
            eprintln!("berth-demo: interrupted");
            ExitCode::from(INTERRUPTED)
        }
        Err(failure) => {
            let logs = arguments.folder.display();
            eprintln!("berth-demo: failed: {failure}\nThe logs are in {logs}.");
            ExitCode::FAILURE
        }
    }
}

async fn run(folder: &Path) -> Result<(), Failure> {
    let mut interrupt = Interrupt::new().map_err(|error| Failure::at("signals", error))?;
    let _alone = claim(folder)?;
    let world = interrupt.or(start(folder)).await?;
    let mut outcome = interrupt.or(show(&world)).await;
    if outcome.is_ok() && io::stdout().is_terminal() {
        outcome = stay(&world, &mut interrupt).await;
    }
    stop(&world).await;
    outcome
}

/// Asks what the world consists of to end; whatever does not is killed with it.
async fn stop(world: &World) {
    if let Ok(envoy) = world.envoy(0) {
        let _killed_later = envoy.stop().await;
    }
    let _killed_later = world.berth().stop().await;
}

/// The right to a folder, until dropped: two demos would overwrite each other's files.
fn claim(folder: &Path) -> Result<File, Failure> {
    let failed = |error| Failure::at(format!("folder {}", folder.display()), error);
    fs::create_dir_all(folder).map_err(failed)?;
    let lock = File::create(folder.join("lock")).map_err(failed)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(fs::TryLockError::WouldBlock) => Err(failed(io::Error::other(
            "another demo is using it; name one of its own with --folder",
        ))),
        Err(fs::TryLockError::Error(error)) => Err(failed(error)),
    }
}

async fn start(folder: &Path) -> Result<World, Failure> {
    let step = "starting";
    let ca = folder.join("tls/ca.pem");
    let whose = if ca.exists() {
        "kept from an earlier run"
    } else {
        "made now"
    };
    println!("Starting three emulated instances, the control plane and Envoy.");
    println!("There is no GPU and no media here: an emulator stands in for the CloudXR Runtime.\n");
    let world = World::builder()
        .folder(folder)
        .pool("web", Family::Web, |pool| pool.instances(2).settle(SETTLE))
        .pool("native", Family::Native, |pool| {
            pool.instances(1).settle(SETTLE)
        })
        .emulators(|config| EmulatorConfig {
            heartbeat: HEARTBEAT,
            ..config
        })
        .start()
        .await
        .map_err(|error| Failure::at(step, error))?;
    println!(
        "  Envoy          wss on {} (web) and {} (native)",
        world.https(),
        world.native()
    );
    println!(
        "  control plane  admin API at {}",
        world.berth().admin_url()
    );
    for instance in world
        .berth()
        .instances()
        .await
        .map_err(|error| Failure::at(step, error))?
    {
        println!(
            "  {:<13}  {}, {}",
            instance.name, instance.address, instance.health
        );
    }
    println!("  development CA {}, {whose}", ca.display());
    Ok(world)
}

async fn show(world: &World) -> Result<(), Failure> {
    walk::walk(world, &walk::WEB).await?;
    walk::walk(world, &walk::NATIVE).await?;
    refusals::refusals(world).await?;
    println!("\nAll of it happened.");
    Ok(())
}

async fn stay(world: &World, interrupt: &mut Interrupt) -> Result<(), Failure> {
    next::say(world).map_err(|problem| Failure::at("what to try next", problem))?;
    match interrupt.or(still_running(world)).await {
        Err(Failure::Interrupted) => {
            println!(
                "\nStopping; the files stay in {}.",
                next::shown(world.folder())
            );
            Ok(())
        }
        outcome => outcome,
    }
}

/// Ends only when a program of the world does.
async fn still_running(world: &World) -> Result<(), Failure> {
    let look = || -> Result<(), Problem> {
        world.berth().check()?;
        Ok(world.envoy(0)?.check()?)
    };
    loop {
        look().map_err(|problem| Failure::at("staying up", problem))?;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

/// Much longer than any step takes, on a machine that is busy with other things.
const SOON: Duration = Duration::from_secs(15);
/// Berth's default, the pause between two sessions on one instance.
const SETTLE: Duration = Duration::from_millis(250);
/// Quicker than a runtime's five seconds, so that one is seen soon.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// As shells report a program that SIGINT ended.
const INTERRUPTED: u8 = 130;
