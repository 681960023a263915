use std::future::Future;
use std::io;

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::failure::Failure;

/// Being told to end: Ctrl-C, a terminal that closes, or SIGTERM.
pub(crate) struct Interrupt {
    interrupt: Signal,
    hangup: Signal,
    terminate: Signal,
}

impl Interrupt {
    pub(crate) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Does the work unless told to end first. Work that is dropped takes with it the programs it started.
    pub(crate) async fn or<T>(
        &mut self,
        work: impl Future<Output = Result<T, Failure>>,
    ) -> Result<T, Failure> {
        tokio::select! {
            biased;
            _ = self.interrupt.recv() => Err(Failure::Interrupted),
            _ = self.hangup.recv() => Err(Failure::Interrupted),
            _ = self.terminate.recv() => Err(Failure::Interrupted),
            outcome = work => outcome,
        }
    }
}
