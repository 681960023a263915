//! The words for a session, from the admitted request to its end.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use berth_admission::{Admission, Family, Reason, UnixSeconds};

/// Time since a fixed moment, which never goes back.
pub(crate) type Uptime = Duration;

/// One moment by both clocks: what a token says goes by the wall clock, which may be set, and how long something lasts
/// by the other.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Now {
    pub(crate) uptime: Uptime,
    pub(crate) unix: UnixSeconds,
}

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
    /// How long its session may live after its 101; `None`: for ever.
    pub(crate) max_age: Option<Duration>,
}

/// What is known of a session.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    /// The client's address; `None` if the proxy does not know it.
    pub(crate) client: Option<IpAddr>,
    pub(crate) who: Who,
}

/// Who is behind a session.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Admitted(Box<Admission>),
    /// To be found out by the control plane, which tells it with its grant.
    Unverified(Unverified),
}

/// A request whose credential cannot be checked here, as the control plane needs it to do so.
#[derive(Clone, Eq, PartialEq)]
pub(crate) struct Unverified {
    /// With its query, as the client sent it.
    pub(crate) path: Vec<u8>,
    /// The headers that admission reads: names in lower case, and values.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// Says nothing of what the client sent: it holds the credential.
impl fmt::Debug for Unverified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unverified").finish_non_exhaustive()
    }
}

impl Session {
    /// `None` while it is not known.
    pub(crate) fn admitted(&self) -> Option<&Admission> {
        match &self.who {
            Who::Admitted(admitted) => Some(admitted),
            Who::Unverified(_) => None,
        }
    }

    /// Takes the control plane's word for who is behind it, if nobody knew. False if still nobody does.
    pub(crate) fn learn(&mut self, found: Option<Box<Admission>>) -> bool {
        if let Who::Unverified(_) = self.who {
            let Some(found) = found else {
                return false;
            };
            self.who = Who::Admitted(found);
        }
        true
    }
}

/// What an admitted request wants.
#[derive(Clone, Debug)]
pub(crate) enum Purpose {
    /// Only to know whether it would be placed.
    Check { family: Family },
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

/// A request to place.
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
    /// What its request has to be told on the way, where only the control plane knew.
    pub(crate) found: Found,
}

/// What was found out of a request that was [`Unverified`].
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Found {
    /// What the access log may know, by name.
    pub(crate) tags: Vec<(String, String)>,
    /// What the instance gets to know.
    pub(crate) headers: Vec<(String, String)>,
}

/// An instance, for a session.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) lease: Lease,
    pub(crate) placement: Placement,
    /// To an [`Unverified`] request.
    pub(crate) admitted: Option<Box<Admission>>,
}

/// How an Acquire came out.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// To a check: an instance could be had. And by whom, if it was [`Unverified`].
    Available(Option<Box<Admission>>),
    Granted(Box<Grant>),
    Refused {
        reason: Reason,
        retry_after_seconds: Option<u32>,
    },
    /// Nobody answered, or it could not be sent.
    Away,
    /// What was answered cannot be read; there may be a lease.
    Unreadable,
}

/// Somebody presented a credential that the control plane did not accept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FailedAttempt {
    pub(crate) client: Option<IpAddr>,
}

/// Who ended a session, or that it never began.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Cause {
    Client,
    Instance,
    NotEstablished,
    /// We did.
    Closed(Closed),
}

/// Why we end a session.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Closed {
    /// The control plane wants it.
    Berth,
    /// It is as old as it may be.
    MaxAge,
    /// Its token has ended, and the policy has that end the session.
    TokenExpired,
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
