//! What is said to and by an agent: the program on an instance's host that keeps its firewall.
//!
//! Both sides state all they know, again and again, so that a lost or late message costs nothing but time.

use std::sync::Arc;

use super::Fence;

/// Orders what an agent is told. An agent ignores what is older than what it has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision {
    /// The machine's term.
    pub term: u64,
    /// Grows with every change in a term.
    pub sequence: u64,
}

/// How an instance has to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentOrder {
    /// Of this order.
    pub revision: Revision,
    /// Who may come through the firewall; nobody else may, and who else is connected is cut off.
    pub open: Option<Access>,
    /// Restart the runtime: it has not come free by itself.
    pub recycle: bool,
}

/// One client's way to an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Of the lease.
    pub fence: Fence,
    /// The client's address.
    pub client_address: Arc<str>,
}

/// What an agent says, each tick and whenever something has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentReport {
    /// Random, new whenever the agent starts.
    pub incarnation: u64,
    /// Greater than that of every earlier report of this incarnation.
    pub sequence: u64,
    /// The latest order it has carried out.
    pub revision: Revision,
    /// The runtime has a client.
    pub in_session: bool,
    /// The latest lease whose session has begun and ended at the runtime.
    pub over: Option<Fence>,
}
