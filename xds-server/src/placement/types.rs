//! What goes into the placement machine and what comes out of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An instance, by the name the configuration gives it.
    InstanceName
);
name!(
    /// A pool of interchangeable instances.
    PoolName
);
name!(
    /// One admitted upgrade; minted by the filter.
    SessionId
);
name!(
    /// A proxy, by the node id of its xDS stream.
    NodeId
);
name!(
    /// One incarnation of one filter VM.
    VmId
);

/// A moment, as the time since an epoch that the caller keeps for the machine's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

impl Time {
    /// The moment `later` after this one.
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Orders leases: of two leases of one instance the later has the greater fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Grows with every control plane that takes over.
    pub term: u64,
    /// Grows with every lease of a term.
    pub sequence: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// A user: the token's issuer and subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The token's `iss`.
    pub issuer: Arc<str>,
    /// The token's `sub`.
    pub subject: Arc<str>,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: User,
    /// Empty where the policy names no tenant.
    pub tenant: Arc<str>,
    /// Chosen by the client; means something only together with the user.
    pub resume_key: Option<Arc<str>>,
}

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
#[derive(Clone, Debug)]
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
    /// The user has a session and the pool's policy is to refuse a second device.
    SessionExists,
    /// A later request of the same user took this one's place.
    Superseded,
    /// The session was terminated by the operator.
    Terminated,
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
    /// Its pool.
    pub pool: PoolName,
    /// Its owner.
    pub owner: Owner,
    /// The client's address.
    pub client_address: Arc<str>,
    /// What it was granted; `None` while its Acquire is pending.
    pub grant: Option<Grant>,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndCause {
    /// Berth had it closed.
    Berth,
    /// The client closed, aborted or vanished.
    Client,
    /// The instance closed or was lost.
    Instance,
    /// There never was a 101.
    NotEstablished,
    /// Its VM no longer lists it, and said no more.
    Unlisted,
}

/// Why the machine wants a session closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// Its lease is not what the machine knows of that instance.
    Fenced,
    /// Its own client came back by a new connection.
    Resumed,
    /// Its user came with another device.
    TakenOver,
    /// The operator said so.
    Terminated,
    /// The proxy did not get its upgrade done in time.
    TooSlow,
}

impl CloseReason {
    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Fenced => "fenced",
            Self::Resumed => "resumed",
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

/// What a second device of a user meets while the first has a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondDevice {
    /// It gets an instance of its own.
    Allow,
    /// It is refused.
    Refuse,
    /// The first session is closed and its instance handed over.
    #[default]
    TakeOver,
}

/// The rules of one pool.
#[derive(Clone, Debug)]
pub struct PoolPolicy {
    /// How long an Acquire may be held until what it waits for is free.
    pub hold: Duration,
    /// How long a lease outlives the silence of its VM.
    pub orphan_after: Duration,
    /// How long an instance is kept for a client that went away.
    pub resume_window: Duration,
    /// What a second device of the same user meets.
    pub second_device: SecondDevice,
    /// Between the end of a session and the next grant of its instance.
    pub settle: Duration,
}

/// The machine's own times.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long the machine listens after a start without a journal before it grants anything.
    pub learn_for: Duration,
    /// How long a granted session may take to be established; outlives hold, handshake and a tick.
    pub reserve_for: Duration,
    /// A VM unheard for this long is silent: three ticks.
    pub silent_after: Duration,
}
