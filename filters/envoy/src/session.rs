//! The words for a session, from the admitted request to its end.

use std::net::SocketAddr;
use std::time::Duration;

use berth_admission::{Owner, Reason};

/// Time since a fixed moment, which never goes back.
pub(crate) type Uptime = Duration;

/// A context of the proxy: a root or a stream. Never used again for another one within a VM.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct ContextId(pub(crate) u32);

/// What the proxy calls a gRPC call that is under way.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(crate) struct Token(pub(crate) u32);

/// 128 random bits in lower-case hexadecimal.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) struct SessionId(pub(crate) String);

/// Orders leases.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Fence {
    pub(crate) term: u64,
    pub(crate) sequence: u64,
}

/// The right to an instance, as it was granted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Lease {
    pub(crate) fence: Fence,
    pub(crate) instance: String,
}

/// What is known of a session before it is placed, and does not change.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) pool: String,
    pub(crate) owner: Owner,
    /// Without the port; empty if the proxy does not know it.
    pub(crate) client_address: String,
    /// From 0 to 9; the greater goes first.
    pub(crate) priority: u8,
    /// What the instance has to have: names and values.
    pub(crate) labels: Vec<(String, String)>,
}

/// What an admitted request wants.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// Only to know whether it would be placed; this body says so.
    Check { admitted_body: String },
    /// A session.
    Upgrade {
        /// What to select if the instance selects no subprotocol.
        answer_subprotocol: Option<String>,
    },
}

/// What becomes of a request while the control plane does not answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum WhenAway {
    /// It is asked for again at each tick, for as long as the control plane could have held it.
    Wait,
    /// It is refused.
    Refuse,
}

/// An admitted request.
#[derive(Clone, Debug)]
pub(crate) struct Opening {
    pub(crate) session: Session,
    pub(crate) purpose: Purpose,
    pub(crate) when_away: WhenAway,
    /// How long the control plane may hold it.
    pub(crate) hold: Duration,
}

/// Where an instance is reached.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Placement {
    pub(crate) cluster: String,
    pub(crate) endpoint: SocketAddr,
}

/// How an Acquire came out.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// To a check: an instance could be had.
    Available,
    Granted(Lease, Placement),
    Refused {
        reason: Reason,
        retry_after_seconds: Option<u32>,
    },
    /// Nobody answered, or it could not be sent.
    Away,
    /// What was answered cannot be read; there may be a lease.
    Unreadable,
}

/// Who ended a session, or that it never began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    Client,
    Instance,
    Berth,
    NotEstablished,
}

/// Why a request is refused, and when it is worth trying again.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Refusal {
    pub(crate) reason: Reason,
    pub(crate) retry_after_seconds: Option<u32>,
}

/// An order of the control plane to end a session.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Close {
    pub(crate) session: SessionId,
    pub(crate) reason: String,
}

/// A session that is over.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Ended {
    pub(crate) session: SessionId,
    /// `None` if it ended before it was known to be granted anything.
    pub(crate) fence: Option<Fence>,
    pub(crate) cause: Cause,
}
