//! What goes into the placement machine and what comes out of it.

mod agent;
mod message;
mod names;
mod policy;
mod record;
mod revocation;

pub use agent::*;
pub use message::*;
pub use names::*;
pub use policy::*;
pub use record::*;
pub use revocation::*;
