//! What is asked of the machine, and what it says.

use std::sync::Arc;
use std::time::Duration;

use super::{
    AgentOrder, Fence, InstanceName, Labels, NodeId, Owner, PastSession, PoolName, Priority,
    RevocationId, SessionId, VmId,
};

/// Where a message of a filter VM comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The proxy.
    pub node: NodeId,
    /// The VM.
    pub vm: VmId,
    /// The message's number; greater than that of all earlier messages of this VM.
    pub sequence: u64,
}

/// A request for an instance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Acquire {
    /// Who asks.
    pub origin: Origin,
    /// For which session.
    pub session: SessionId,
    /// From which pool.
    pub pool: PoolName,
    /// For whom.
    pub owner: Owner,
    /// The client's address, as the proxy trusts it.
    pub client_address: Arc<str>,
    /// How urgent it is.
    pub priority: Priority,
    /// What the instance has to have.
    pub labels: Labels,
    /// The `jti` of the token it came with.
    pub token_id: Option<Arc<str>>,
}

/// Names one Acquire call to its caller, who gets exactly one [`Effect::Answer`] for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// The answer to an Acquire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The instance is the session's.
    Granted(Grant),
    /// Nothing is.
    Refused(Refusal),
}

/// An instance given to a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Of the lease.
    pub fence: Fence,
    /// Which instance.
    pub instance: InstanceName,
}

/// Why an Acquire got nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// The client had gone before the Acquire was answered.
    Cancelled,
    /// The session id is another VM's.
    IdInUse,
    /// This control plane has just started and does not know yet what is live.
    Learning,
    /// No instance is free, healthy and reachable for the asking proxy.
    NoInstance {
        /// When to ask again.
        retry_after: Duration,
    },
    /// There is no such pool.
    NoSuchPool,
    /// So many requests wait already that this one does not.
    QueueFull {
        /// When to ask again.
        retry_after: Duration,
    },
    /// Its user, its token or the session itself is revoked.
    Revoked,
    /// The user has a session and the pool's policy is to refuse a second device.
    SessionExists,
    /// A later request of the same user took this one's place.
    Superseded,
    /// The session was terminated by the operator.
    Terminated,
    /// The tenant has as many sessions as it may.
    TooManyOfTenant {
        /// When to ask again.
        retry_after: Duration,
    },
    /// The user has as many sessions as they may.
    TooManyOfUser {
        /// When to ask again.
        retry_after: Duration,
    },
}

/// What one VM says of its sessions.
#[derive(Clone, Debug)]
pub struct Sync {
    /// Who says it.
    pub origin: Origin,
    /// What is pending and live, all of it; `None` in a hint, which speaks of ends only.
    pub sessions: Option<Vec<ReportedSession>>,
    /// What has ended.
    pub ended: Vec<ReportedEnd>,
}

/// A session that is pending or live in a VM.
#[derive(Clone, Debug)]
pub struct ReportedSession {
    /// Its id.
    pub session: SessionId,
    /// What it has; `None` while its Acquire is pending, for whom and from which pool only that says.
    pub lease: Option<ReportedLease>,
}

/// What a session has that a VM reports.
#[derive(Clone, Debug)]
pub struct ReportedLease {
    /// What it was granted.
    pub grant: Grant,
    /// Its pool.
    pub pool: PoolName,
    /// Its owner.
    pub owner: Owner,
    /// The client's address.
    pub client_address: Arc<str>,
    /// The `jti` of its token.
    pub token_id: Option<Arc<str>>,
    /// The 101 was seen.
    pub established: bool,
}

/// A session that has ended.
#[derive(Clone, Debug)]
pub struct ReportedEnd {
    /// Its id.
    pub session: SessionId,
    /// Of what it was granted, if anything.
    pub fence: Option<Fence>,
    /// How it ended.
    pub cause: EndCause,
}

/// How a session ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EndCause {
    /// Berth had it closed.
    Berth,
    /// The client closed, aborted or vanished.
    Client,
    /// The instance closed or was lost.
    Instance,
    /// Its proxy closed it: it was as old as a session may be.
    MaxAge,
    /// There never was a 101.
    NotEstablished,
    /// Its proxy closed it: its token had ended.
    TokenExpired,
    /// Its VM no longer lists it, and said no more.
    Unlisted,
}

impl EndCause {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Berth,
        Self::Client,
        Self::Instance,
        Self::MaxAge,
        Self::NotEstablished,
        Self::TokenExpired,
        Self::Unlisted,
    ];

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Berth => "berth",
            Self::Client => "client",
            Self::Instance => "instance",
            Self::MaxAge => "max_age",
            Self::NotEstablished => "not_established",
            Self::TokenExpired => "token_expired",
            Self::Unlisted => "unlisted",
        }
    }
}

/// Why the machine wants a session closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// It is older than a session may be, and its proxy has not closed it by itself.
    Expired,
    /// Its lease is not what the machine knows of that instance.
    Fenced,
    /// Its own client came back by a new connection.
    Resumed,
    /// Its user, its token or the session itself was revoked.
    Revoked,
    /// Its user came with another device.
    TakenOver,
    /// The operator said so.
    Terminated,
    /// The proxy did not get its upgrade done in time.
    TooSlow,
}

impl CloseReason {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Expired,
        Self::Fenced,
        Self::Resumed,
        Self::Revoked,
        Self::TakenOver,
        Self::Terminated,
        Self::TooSlow,
    ];

    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Fenced => "fenced",
            Self::Resumed => "resumed",
            Self::Revoked => "revoked",
            Self::TakenOver => "taken_over",
            Self::Terminated => "terminated",
            Self::TooSlow => "too_slow",
        }
    }
}

/// A session for the VM to close.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Close {
    /// Which.
    pub session: SessionId,
    /// Why.
    pub reason: CloseReason,
}

/// What the machine wants done or known.
///
/// Their order counts: what comes after a [`Effect::Commit`] or a [`Effect::CommitRevocation`] must not be done before
/// what that covers is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Answer this request.
    Answer {
        /// Which.
        request: RequestId,
        /// For which session.
        session: SessionId,
        /// With what.
        outcome: Outcome,
    },
    /// Tell the instance's agent. A later order replaces an earlier one.
    Agent {
        /// Of which instance.
        instance: InstanceName,
        /// How it has to be.
        order: AgentOrder,
    },
    /// Write down what [`Placement::lease_record`](super::Placement::lease_record) says of this instance, now or
    /// later: only the latest counts.
    Commit(InstanceName),
    /// Write down what [`Placement::revocation`](super::Placement::revocation) says of it, now or later; `None` takes
    /// what was written back.
    CommitRevocation(RevocationId),
    /// Tell: a lease has changed.
    Changed {
        /// Of which instance.
        instance: InstanceName,
        /// By or for which session.
        session: SessionId,
        /// The lease's.
        fence: Fence,
        /// How.
        change: Change,
    },
    /// Remember: a session is over.
    Over(Box<PastSession>),
}

/// How a lease has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// The upgrade is through.
    Activated,
    /// Learnt from a Sync rather than granted here.
    Adopted,
    /// Its session has ended; kept for its client when `resumable`.
    Ended {
        /// How.
        cause: EndCause,
        /// The client may come back to it.
        resumable: bool,
    },
    /// Free for anyone.
    Freed,
    /// Its VM is silent.
    Orphaned,
    /// Its VM is no longer silent.
    Reclaimed,
    /// Given up without a word from its VM: whether its session still runs cannot be known.
    ReleasedOrphan,
    /// Granted, to be activated by a 101.
    Reserved,
}
