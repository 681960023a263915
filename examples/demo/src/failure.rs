use std::fmt;
use std::io;

use berth_client::{ConnectError, SessionError, SignalingError, TargetError};
use berth_runtime_emulator::NotInTime;

/// Why the demonstration ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// Somebody pressed Ctrl-C, or the system asked for the end.
    #[error("interrupted")]
    Interrupted,
    /// A step did not happen as it should.
    #[error("{step}: {problem}")]
    Step { step: String, problem: Problem },
}

/// What was wrong with a step.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    #[error(transparent)]
    World(#[from] berth_tests::Error),
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error(transparent)]
    Connect(#[from] Box<ConnectError>),
    #[error(transparent)]
    Signaling(#[from] SignalingError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("the instance's record: {0}")]
    Record(#[from] NotInTime),
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Something happened, but not that.
    #[error("expected {expected}, saw {seen}")]
    Unexpected { expected: String, seen: String },
}

impl Failure {
    pub(crate) fn at(step: impl fmt::Display, problem: impl Into<Problem>) -> Self {
        Self::Step {
            step: step.to_string(),
            problem: problem.into(),
        }
    }
}

impl From<ConnectError> for Problem {
    fn from(error: ConnectError) -> Self {
        Self::Connect(Box::new(error))
    }
}

/// `Ok` if what was seen is what was expected.
pub(crate) fn expect<T: PartialEq + fmt::Debug>(
    what: &str,
    seen: &T,
    expected: &T,
) -> Result<(), Problem> {
    if seen == expected {
        Ok(())
    } else {
        Err(Problem::Unexpected {
            expected: format!("{what} {expected:?}"),
            seen: format!("{seen:?}"),
        })
    }
}
