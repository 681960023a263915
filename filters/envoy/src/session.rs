//! The words for a session, from the admitted request to its end.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use berth_admission::{Family, Owner, Reason, UnixSeconds};

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
    /// Without the port; empty if the proxy does not know it.
    pub(crate) client_address: String,
    pub(crate) who: Who,
}

/// Who is behind a session.
#[derive(Clone, Debug)]
pub(crate) enum Who {
    Admitted(Box<Admitted>),
    /// To be found out by the control plane, which tells it with its grant.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "admission decides all there is to decide")
    )]
    Unverified(Unverified),
}

/// Who was let in, for what and for how long.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Admitted {
    pub(crate) pool: String,
    pub(crate) owner: Owner,
    /// From 0 to 9; the greater goes first.
    pub(crate) priority: u8,
    /// What the instance has to have: names and values.
    pub(crate) labels: Vec<(String, String)>,
    /// The token's `jti`; empty if it has none.
    pub(crate) token_id: String,
    /// When the credential is no longer accepted; `None`: never.
    pub(crate) expires_at: Option<UnixSeconds>,
    /// When the session is to be closed, because its token has ended; `None`: it is not to be.
    pub(crate) closes_at: Option<UnixSeconds>,
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
    pub(crate) fn admitted(&self) -> Option<&Admitted> {
        match &self.who {
            Who::Admitted(admitted) => Some(admitted),
            Who::Unverified(_) => None,
        }
    }

    /// Takes the control plane's word for who is behind it, if nobody knew. False if still nobody does.
    pub(crate) fn learn(&mut self, found: Option<Box<Admitted>>) -> bool {
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

/// Where an instance is reached, and what its request gets on the way that it has not got yet.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Placement {
    pub(crate) cluster: String,
    pub(crate) endpoint: SocketAddr,
    /// What the access log may know, by name.
    pub(crate) tags: Vec<(String, Vec<u8>)>,
    /// What the instance gets to know.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

/// An instance, for a session.
#[derive(Clone, Debug)]
pub(crate) struct Grant {
    pub(crate) lease: Lease,
    pub(crate) placement: Placement,
    /// To an [`Unverified`] request.
    pub(crate) admitted: Option<Box<Admitted>>,
}

/// How an Acquire came out.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// To a check: an instance could be had. And by whom, if it was [`Unverified`].
    Available(Option<Box<Admitted>>),
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
