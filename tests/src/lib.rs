//! The harness: real Envoys, real control planes and emulated instances, built for one test and gone after it.
//!
//! [`World`] is where to start. Its builder says what there is, `start` waits until all of it answers, and the
//! world's methods reach every part. Parts are stopped, paused, killed and restarted through them; what a test
//! leaves running ends with the world, also when the test panics, and the logs are then kept and shown.
//!
//! Nothing sleeps for a fixed time: [`wait_until`] looks at a condition and tells its last state when time is up.

mod authority;
pub mod browser;
pub mod cases;
mod certificates;
mod claims;
mod client;
mod clock;
mod control_plane;
pub mod disk;
mod envoy;
mod error;
mod haproxy;
mod http;
mod keys;
pub mod netns;
mod ports;
mod process;
mod programs;
pub mod raw;
mod scratch;
mod scripted;
mod settings;
pub mod soak;
mod token;
pub mod vm;
mod wait;
mod world;

pub use authority::{Authority, IdentityFiles};
pub use berth_admission_cases::{Algorithm, Token};
pub use certificates::{Certificates, ClientAuthority, Identity, Issued, KeyKind};
pub use client::{Attempt, ClientBuilder};
pub use clock::unix_seconds;
pub use control_plane::{ControlPlane, Instance, Lease, Session};
pub use envoy::{Envoy, EnvoySpec};
pub use error::Error;
pub use haproxy::HaProxy;
pub use keys::SigningKeys;
pub use ports::Ports;
pub use process::{Memory, processor_time};
pub use programs::{berth, client, envoy, filter_module, go_control_plane, haproxy, xds_alone};
pub use scratch::Scratch;
pub use scripted::ScriptedInstance;
pub use settings::{AUDIENCE, Choice, Family, ISSUER, MIN_REFETCH, Pool, SecondDevice, WhenAway};

pub use token::token;
pub use wait::{Seen, wait_until};
pub use world::{World, WorldBuilder, XdsTls, join_template};
