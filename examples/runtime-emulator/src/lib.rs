//! Stands in for the NVIDIA CloudXR Runtime until one, and the GPU it needs, is at hand.
//!
//! It accepts signaling WebSockets of both client families, goes through the start of their signaling,
//! echoes everything else, keeps a [`Ledger`] of who was connected from when to when, and misbehaves on
//! request. It renders nothing and streams nothing. Several run in one process, each on ports of its own.

mod config;
mod control;
mod emulator;
mod ledger;
mod rtsp;
mod serve;
mod session;
mod shared;
mod signaling;
mod socket;
mod tls;
mod upgrade;

pub use berth_client::Family;
pub use config::{EmulatorConfig, EmulatorTls, Fault, ParseFaultError, SecondClient, Subprotocol};
pub use emulator::{Emulator, NotInTime};
pub use ledger::{End, How, Ledger, SessionRecord, Stage};
pub use tokio_tungstenite::tungstenite::Message;
