//! Placement in a simulated world: proxies and their filter VMs, instances, agents, the control plane with its journal,
//! and a network that loses, delays and reorders, all by one seed and in virtual time. After every step the invariants
//! that ARCHITECTURE.md names are checked against what is true at the instances.
//!
//! The machine is compiled here by itself: it depends on nothing else of ours.

mod coverage;
#[path = "../../../xds-server/src/placement/mod.rs"]
pub mod placement;
mod random;
mod schedule;
mod shrink;
mod world;

pub use coverage::{Coverage, EXPECTED};
pub use schedule::{Action, Agents, Memory, Schedule, Severity, Step, Target};
pub use shrink::shrink;
pub use world::{Run, Violation, run};
