//! Too much of something, or something that cannot be: a clear refusal, bounded memory, nothing lost.
#![cfg(test)]

mod burst;
mod crowd;
mod store;
mod twice;

use std::time::Duration;

/// Much longer than anything here takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(30);
