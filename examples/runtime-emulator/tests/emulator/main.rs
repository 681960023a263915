//! The emulator and the client against each other, on loopback.

mod common;
mod echo;
mod faults;
mod readiness;
mod records;
mod signaling;
