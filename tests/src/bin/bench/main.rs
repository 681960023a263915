//! Measures what Berth costs: `bench [SUITE...]`, every suite by default.
//!
//! A figure is a ratio, or an absolute value beside it, of one run in which all sides were measured in turn,
//! round by round. It is printed, and written to `target/bench/<suite>.json`.

mod admission;
mod beside;
mod figure;
mod placement;
mod upgrade;

use std::env;
use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use berth::controller::{Gone, InvalidStart};
use berth::store::LoadError;
use berth::store::writer::StopError;
use berth::xds::InvalidGateway;
use berth_admission_cases::KeyError;
use berth_client::{ConnectError, SessionError};
use berth_runtime_emulator::NotInTime;
use berth_tests::Error;

use tokio::task::JoinError;

use figure::Figure;

/// What can be measured.
#[derive(Clone, Copy)]
enum Suite {
    Admission,
    Placement,
    Upgrade,
}

impl Suite {
    const ALL: &[Self] = &[Self::Admission, Self::Placement, Self::Upgrade];

    const fn name(self) -> &'static str {
        match self {
            Self::Admission => "admission",
            Self::Placement => "placement",
            Self::Upgrade => "upgrade",
        }
    }

    async fn run(self) -> Result<Vec<Figure>, BenchError> {
        match self {
            Self::Admission => admission::run().await,
            Self::Placement => placement::run().await,
            Self::Upgrade => upgrade::run().await,
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
    #[error("JSON: {0}")]
    Json(#[from] serde_json::Error),
    #[error("files: {0}")]
    File(#[from] io::Error),
}

#[tokio::main]
async fn main() -> ExitCode {
    let chosen = match chosen() {
        Ok(chosen) => chosen,
        Err(unknown) => {
            let names: Vec<&str> = Suite::ALL.iter().map(|suite| suite.name()).collect();
            eprintln!(
                "there is no suite `{unknown}`; there is {}",
                names.join(", ")
            );
            return ExitCode::from(USAGE);
        }
    };
    for suite in chosen {
        let measured = suite.run().await.and_then(|figures| {
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

/// The suites that the arguments name; an unknown name is the error.
fn chosen() -> Result<Vec<Suite>, String> {
    let named = |name: String| {
        let suite = Suite::ALL.iter().find(|suite| suite.name() == name);
        suite.copied().ok_or(name)
    };
    let chosen = env::args()
        .skip(1)
        .map(named)
        .collect::<Result<Vec<_>, _>>()?;
    Ok(if chosen.is_empty() {
        Suite::ALL.to_vec()
    } else {
        chosen
    })
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

const USAGE: u8 = 2;
