//! The emulator and the client against each other, on loopback.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here is a test"
)]

mod common;
mod echo;
mod faults;
mod readiness;
mod records;
mod signaling;
