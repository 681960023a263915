//! Logs: text for people, JSON for machines.

use std::io::{self, IsTerminal};

use clap::ValueEnum;
use tracing_subscriber::{EnvFilter, filter::ParseError, fmt, util::SubscriberInitExt};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people: what happened, then `key=value`.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

impl LogFormat {
    /// Text if there is a terminal to read it on, JSON if not.
    pub fn detect() -> Self {
        if io::stderr().is_terminal() {
            Self::Text
        } else {
            Self::Json
        }
    }
}

/// Why there are no logs.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter cannot be read.
    #[error(
        "`{filter}` is not a log filter: {error}; write a level, or directives such as `info,berth::probes=debug`"
    )]
    Filter {
        /// What was given.
        filter: String,
        /// What is wrong with it.
        error: ParseError,
    },
    /// Somebody was here before.
    #[error("logging is set up already: {0}")]
    Twice(#[from] tracing_subscriber::util::TryInitError),
}

/// Sends this process's events to standard error. `filter` is a level or a list of directives
/// (see [`EnvFilter`]).
///
/// # Errors
/// [`TelemetryError`]: the filter is none, or this is not the first call.
pub fn init(format: LogFormat, filter: &str) -> Result<(), TelemetryError> {
    let directives = EnvFilter::try_new(filter).map_err(|error| TelemetryError::Filter {
        filter: filter.to_owned(),
        error,
    })?;
    let subscriber = fmt()
        .with_env_filter(directives)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    match format {
        LogFormat::Text => subscriber.finish().try_init()?,
        LogFormat::Json => subscriber.json().flatten_event(true).finish().try_init()?,
    }
    Ok(())
}
