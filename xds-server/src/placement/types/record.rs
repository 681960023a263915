//! What outlives a machine: leases for the next one, sessions for whoever asks later.

use std::sync::Arc;
use std::time::Duration;

use super::{
    Acquire, CloseReason, EndCause, Fence, InstanceName, NodeId, Owner, SessionId, Time, VmId,
};

/// A lease, as the next machine has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseRecord {
    /// Of which instance.
    pub instance: InstanceName,
    /// The lease's.
    pub fence: Fence,
    /// Whose it is.
    pub owner: Owner,
    /// The session it was granted to.
    pub session: SessionId,
    /// The proxy that carries the session.
    pub node: NodeId,
    /// The proxy's VM.
    pub vm: VmId,
    /// The number of the VM's message that asked for it.
    pub sequence: u64,
    /// The client's address.
    pub client_address: Arc<str>,
    /// When it was granted.
    pub granted_at: Time,
    /// Why this instance.
    pub pick: Pick,
    /// Where it is in its life.
    pub state: RecordedState,
    /// It was granted to a client that came back, whose window ends then.
    pub window_until: Option<Time>,
    /// The `jti` of the session's token.
    pub token_id: Option<Arc<str>>,
}

/// As much of a lease's state as cannot be learnt from its VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordedState {
    /// A session has it, or is about to.
    Held {
        /// The session is to be closed.
        closing: Option<CloseReason>,
    },
    /// Its session has ended and its client may come back.
    Resumable {
        /// Until then.
        until: Time,
    },
    /// Its session has ended, and nobody comes back.
    Settling,
}

/// Why a session has the instance it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pick {
    /// What decided.
    pub why: Why,
    /// How many instances of the pool were free then, this one included.
    pub free: u32,
    /// The instance is in the proxy's zone.
    pub same_zone: bool,
    /// How long the session had waited.
    pub waited: Duration,
}

/// What decided for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// A proxy reported the session there; this machine did not choose.
    Adopted,
    /// It had been free for longest.
    LeastRecentlyUsed,
    /// Its host had the most sessions.
    Packed,
    /// It was kept for this client.
    Resumed,
    /// Its host had the fewest sessions.
    Spread,
    /// The same user's session was on it.
    TookOver,
}

impl Why {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Adopted,
        Self::LeastRecentlyUsed,
        Self::Packed,
        Self::Resumed,
        Self::Spread,
        Self::TookOver,
    ];

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Adopted => "adopted",
            Self::LeastRecentlyUsed => "least_recently_used",
            Self::Packed => "packed",
            Self::Resumed => "resumed",
            Self::Spread => "spread",
            Self::TookOver => "took_over",
        }
    }
}

/// A session that is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PastSession {
    /// What it had asked for.
    pub acquire: Arc<Acquire>,
    /// Its instance.
    pub instance: InstanceName,
    /// Its lease's.
    pub fence: Fence,
    /// Why this instance.
    pub pick: Pick,
    /// When the instance was leased to it.
    pub granted_at: Time,
    /// When its 101 was reported; `None` if it never was.
    pub established_at: Option<Time>,
    /// When its end was known.
    pub ended_at: Time,
    /// How it ended.
    pub end: End,
}

/// How a session ended, and on whose wish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// By itself.
    Ended(EndCause),
    /// The machine wanted it closed.
    Closed(CloseReason),
    /// Its proxy was silent for too long: whether it still runs cannot be known.
    GivenUp,
}

impl End {
    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Ended(cause) => cause.label(),
            Self::Closed(reason) => reason.label(),
            Self::GivenUp => "given_up",
        }
    }
}
