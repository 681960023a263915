//! Soaks Berth for some minutes: sessions by the thousand while Envoys, the control plane and instances are killed,
//! stopped and restarted. Says in the end whether two sessions met on an instance, one was cut for no reason, or
//! something is not free. The report is also in `target/soak/`.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use berth_tests::soak::{self, Progress, Report, Settings};
use clap::Parser;

/// Soaks Berth: sessions come and go while everything under them is killed, stopped and restarted.
#[derive(Parser)]
struct Arguments {
    /// For how many minutes there is trouble.
    #[arg(default_value_t = 10.0, value_parser = minutes)]
    minutes: f64,
    /// Repeats the plan of an earlier soak; drawn if it is not given.
    #[arg(long)]
    seed: Option<u64>,
    /// How many users there are.
    #[arg(long, default_value_t = 60)]
    users: u32,
}

#[derive(Debug, thiserror::Error)]
enum SoakError {
    #[error(transparent)]
    World(#[from] berth_tests::Error),
    #[error("{what}: {source}")]
    File { what: String, source: io::Error },
    #[error("the report: {0}")]
    Json(#[from] serde_json::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    match soak(&Arguments::parse()).await {
        Ok(report) if report.violations.is_empty() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("the soak could not be carried out: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn soak(arguments: &Arguments) -> Result<Report, SoakError> {
    let seed = arguments.seed.unwrap_or_else(|| fastrand::u64(..));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/soak");
    let world = folder.join("world");
    // What an earlier soak left there, its journal above all, is not of this world.
    match fs::remove_dir_all(&world) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            return Err(file(&world)(source));
        }
        _ => {}
    }
    println!("seed {seed}");
    let settings = Settings {
        users: arguments.users,
        folder: Some(world),
        ..Settings::new(seed, Duration::from_secs_f64(arguments.minutes * 60.0))
    };
    let report = soak::run(&settings, tell).await?;
    print!("{report}");
    write(folder.join("report.txt"), &report.to_string())?;
    write(
        folder.join("report.json"),
        &(serde_json::to_string_pretty(&report)? + "\n"),
    )?;
    Ok(report)
}

fn tell(progress: Progress) {
    let Progress {
        elapsed,
        tried,
        admitted,
        troubles,
    } = progress;
    println!(
        "{:>6.0} s: {tried} upgrades, {admitted} sessions, {troubles} troubles",
        elapsed.as_secs_f64()
    );
}

fn write(path: PathBuf, text: &str) -> Result<(), SoakError> {
    fs::write(&path, text).map_err(file(&path))
}

fn file(path: &Path) -> impl FnOnce(io::Error) -> SoakError {
    let what = path.display().to_string();
    move |source| SoakError::File { what, source }
}

fn minutes(text: &str) -> Result<f64, String> {
    let minutes: f64 = text.parse().map_err(|_| "not a number".to_owned())?;
    if minutes > 0.0 && minutes <= A_WEEK {
        Ok(minutes)
    } else {
        Err(format!("from above 0 to {A_WEEK}"))
    }
}

const A_WEEK: f64 = 7.0 * 24.0 * 60.0;
