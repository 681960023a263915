//! What can go wrong in the harness itself.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use berth_admission_cases::KeyError;
use berth_client::{ConnectError, TargetError};

/// Why the harness could not do what it was asked.
#[derive(thiserror::Error)]
pub enum Error {
    /// A program or module was never built or fetched: do what `remedy` says.
    #[error("no {what} at {path}: {remedy}")]
    Missing {
        /// What was looked for.
        what: &'static str,
        /// Where.
        path: PathBuf,
        /// What brings it there.
        remedy: &'static str,
    },
    /// A program that should be running has ended: its log says why.
    #[error("{program} ended ({status}); its log ends with\n{log}")]
    Ended {
        /// Its name in this world, such as `envoy-0`.
        program: String,
        /// How it ended.
        status: ExitStatus,
        /// The end of its log.
        log: String,
    },
    /// A program ran to its end and failed.
    #[error("`{command}` failed ({status}): {stderr}")]
    Failed {
        /// The command line.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// What it said.
        stderr: String,
    },
    /// A condition did not come about in time.
    #[error("waited {within:?} for {what}; last seen: {last}")]
    Timeout {
        /// The condition.
        what: String,
        /// How long it was waited for.
        within: Duration,
        /// What was seen instead when time was up.
        last: String,
    },
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// An admin interface could not be asked.
    #[error("{url}: {source}")]
    Http {
        /// What was asked for.
        url: String,
        /// Why there is no answer.
        source: reqwest::Error,
    },
    /// An admin interface answered something else than 2xx.
    #[error("{url} answered {status}: {body}")]
    Status {
        /// What was asked for.
        url: String,
        /// The status.
        status: u16,
        /// The body.
        body: String,
    },
    /// A server answered with something that is not what it should be.
    #[error("{what} cannot be read: {why}")]
    Unreadable {
        /// What.
        what: String,
        /// Why.
        why: String,
    },
    /// A key, token or certificate could not be made.
    #[error("{what}: {why}")]
    Crypto {
        /// What was being made.
        what: &'static str,
        /// Why not.
        why: String,
    },
    /// A token could not be signed, or its key not be read.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// A client could not be told what to do.
    #[error("no such client: {0}")]
    Target(#[from] TargetError),
    /// A client has no session, or no answer; the refusals among these are what many tests are about.
    #[error("the client: {0}")]
    Connect(#[from] Box<ConnectError>),
    /// A call to the control plane has no answer.
    #[error("a call to the control plane: {0}")]
    Call(Box<tonic::Status>),
    /// The builder was told something that makes no world.
    #[error("no such world: {0}")]
    Impossible(String),
    /// Something that the harness does beside others was not carried through.
    #[error("{what}: {why}")]
    Task {
        /// What was being done.
        what: &'static str,
        /// Why it ended.
        why: String,
    },
    /// Every port block, or subnet, of this machine is taken by tests that are running.
    #[error("all {count} {kind} are taken")]
    Exhausted {
        /// What ran out.
        kind: &'static str,
        /// How many there are.
        count: u16,
    },
}

impl Error {
    /// For `map_err` on I/O: says what was being done.
    pub(crate) fn io(what: impl fmt::Display) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io {
            what: what.to_string(),
            source,
        }
    }

    /// For `map_err` on gRPC calls.
    pub(crate) fn call(status: tonic::Status) -> Self {
        Self::Call(Box::new(status))
    }

    /// For `map_err` on tasks: says what was being done.
    pub(crate) fn task(what: &'static str, error: &tokio::task::JoinError) -> Self {
        Self::Task {
            what,
            why: error.to_string(),
        }
    }

    /// For `map_err` on whatever makes keys, tokens and certificates.
    pub(crate) fn crypto<E: fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Self {
        move |error| Self::Crypto {
            what,
            why: error.to_string(),
        }
    }
}

/// `unwrap` in a test prints this: the sentence, with its line breaks, is what a reader of the failure needs.
impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
