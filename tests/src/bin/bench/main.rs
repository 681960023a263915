//! Measures what Berth costs: `bench [SUITE...] [OPTIONS]`, every suite by default.
//!
//! A figure is a ratio, or an absolute value beside it, of one run in which all sides were measured in turn,
//! round by round. It is printed, and written to `target/bench/<suite>.json`.

mod admission;
mod beside;
mod figure;
mod placement;
mod upgrade;
mod xds;

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use berth::controller::{Gone, InvalidStart};
use berth::store::LoadError;
use berth::store::writer::StopError;
use berth::xds::InvalidGateway;
use berth_admission_cases::KeyError;
use berth_client::{ConnectError, SessionError};
use berth_runtime_emulator::NotInTime;
use berth_tests::Error;
use clap::{Parser, ValueEnum};

use tokio::task::JoinError;

use figure::Figure;

#[derive(Parser)]
#[command(about = "Measures what Berth costs")]
struct Arguments {
    /// What to measure; everything if nothing is named
    suites: Vec<Suite>,
    #[command(flatten)]
    xds: xds::Options,
}

/// What can be measured.
#[derive(Clone, Copy, ValueEnum)]
enum Suite {
    Admission,
    Placement,
    Upgrade,
    Xds,
}

impl Suite {
    const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Placement => "placement",
            Self::Upgrade => "upgrade",
            Self::Xds => "xds",
        }
    }

    async fn run(self, arguments: &Arguments) -> Result<Vec<Figure>, BenchError> {
        match self {
            Self::Admission => admission::run().await,
            Self::Placement => placement::run().await,
            Self::Upgrade => upgrade::run().await,
            Self::Xds => xds::run(&arguments.xds).await,
        }
    }
}

/// Why there are no figures.
#[derive(Debug, thiserror::Error)]
enum BenchError {
    #[error(transparent)]
    World(#[from] Error),
    #[error("a session that was to be measured: {0}")]
    Connect(#[from] Box<ConnectError>),
    #[error("a session that was measured: {0}")]
    Session(#[from] SessionError),
    #[error("{0} lets in, or refuses, whom it should not")]
    Side(&'static str),
    #[error("{0} is not how that should be answered")]
    Status(u16),
    #[error("Envoy's configuration has no {0}")]
    Configuration(&'static str),
    #[error("an instance: {0}")]
    Instance(#[from] NotInTime),
    #[error(transparent)]
    Key(#[from] KeyError),
    #[error("a client: {0}")]
    Client(JoinError),
    #[error("the store: {0}")]
    Store(#[from] LoadError),
    #[error(transparent)]
    Unwritten(#[from] StopError),
    #[error(transparent)]
    Gateway(#[from] InvalidGateway),
    #[error(transparent)]
    Start(#[from] InvalidStart),
    #[error(transparent)]
    Gone(#[from] Gone),
    #[error("a node's stream: {0}")]
    Stream(#[from] xds::StreamError),
    #[error("news came to {arrived} of {of} nodes within {within:?}; --nodes has fewer of them")]
    Nodes {
        arrived: usize,
        of: usize,
        within: Duration,
    },
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("files: {0}")]
    File(#[from] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let chosen = match arguments.suites.as_slice() {
        [] => Suite::value_variants(),
        named => named,
    };
    for suite in chosen.iter().copied() {
        let measured = suite.run(&arguments).await.and_then(|figures| {
            figure::print(&figures);
            write(suite, &figures)
        });
        if let Err(error) = measured {
            eprintln!("{}: {error}", suite.name());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(suite: Suite, figures: &[Figure]) -> Result<(), BenchError> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/bench");
    fs::create_dir_all(&folder)?;
    let json = serde_json::to_string_pretty(figures)?;
    Ok(fs::write(
        folder.join(format!("{}.json", suite.name())),
        json + "\n",
    )?)
}
