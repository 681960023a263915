//! The bytes of a record: protobuf messages, so that a later version can add fields and still read what this one
//! wrote. What is one of several is stored by its label. A version that changes what a field means, or adds a label,
//! raises [`FORMAT`].

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;

use super::{PastRecord, Stamp, UnixMillis};
use crate::placement::{
    self, CloseReason, EndCause, InstanceName, LeaseRecord, RecordedState, RevocationId,
    RevocationNote, Revoked, SessionId, User,
};

/// The format that is written, and the newest that can be read.
///
/// 1: leases, marks and history. 2: revocations, and the ends that come with them.
pub(super) const FORMAT: u64 = 2;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// It is no such message.
    #[error("a record cannot be read: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A part that every record has is not there.
    #[error("a record has no {0}")]
    Missing(&'static str),
    /// Something has a label that there is not.
    #[error("a record's {field} is \"{label}\", which there is not")]
    Unknown {
        /// Of which part.
        field: &'static str,
        /// The label.
        label: String,
    },
}

/// A lease as it is stored, under its instance's name.
pub(super) fn encode_lease(stamp: Stamp, lease: &LeaseRecord) -> Vec<u8> {
    let to_unix = |time| stamp.to_unix(time).0;
    let (state, closing, until) = match lease.state {
        RecordedState::Held { closing } => (HELD, closing.map(CloseReason::label), None),
        RecordedState::Resumable { until } => (RESUMABLE, None, Some(to_unix(until))),
        RecordedState::Settling => (SETTLING, None, None),
    };
    Lease {
        fence: Some(lease.fence.into()),
        owner: Some((&lease.owner).into()),
        session: lease.session.to_string(),
        node: lease.node.to_string(),
        vm: lease.vm.to_string(),
        sequence: lease.sequence,
        client_address: lease.client_address.to_string(),
        granted_at: to_unix(lease.granted_at),
        pick: Some(lease.pick.into()),
        state: state.to_owned(),
        closing: closing.map(str::to_owned),
        resumable_until: until,
        window_until: lease.window_until.map(to_unix),
        written_at: stamp.unix.0,
        token_id: lease.token_id.as_deref().map(str::to_owned),
    }
    .encode_to_vec()
}

/// The lease that is stored under an instance's name, in the times of the machine that goes on with it.
pub(super) fn decode_lease(
    stamp: Stamp,
    instance: InstanceName,
    bytes: &[u8],
) -> Result<LeaseRecord, DecodeError> {
    let lease = Lease::decode(bytes)?;
    let written = UnixMillis(lease.written_at);
    let to_come = |until| stamp.to_come(UnixMillis(until), written);
    let state = match (lease.state.as_str(), lease.resumable_until) {
        (HELD, _) => RecordedState::Held {
            closing: lease
                .closing
                .map(|label| find("closing", &CloseReason::ALL, CloseReason::label, &label))
                .transpose()?,
        },
        (RESUMABLE, Some(until)) => RecordedState::Resumable {
            until: to_come(until),
        },
        (RESUMABLE, None) => return Err(DecodeError::Missing("window")),
        (SETTLING, _) => RecordedState::Settling,
        (label, _) => return Err(unknown("state", label)),
    };
    Ok(LeaseRecord {
        instance,
        fence: lease.fence.ok_or(DecodeError::Missing("fence"))?.into(),
        owner: lease.owner.ok_or(DecodeError::Missing("owner"))?.into(),
        session: lease.session.into(),
        node: lease.node.into(),
        vm: lease.vm.into(),
        sequence: lease.sequence,
        client_address: lease.client_address.into(),
        granted_at: stamp.past(UnixMillis(lease.granted_at)),
        pick: lease.pick.ok_or(DecodeError::Missing("pick"))?.try_into()?,
        state,
        window_until: lease.window_until.map(to_come),
        token_id: lease.token_id.map(Into::into),
    })
}

/// Where an instance was.
pub(super) fn decode_address(text: &str) -> Result<SocketAddr, DecodeError> {
    text.parse().map_err(|_| unknown("address", text))
}

/// A session as the history keeps it.
pub(super) fn encode_past(past: &PastRecord) -> Vec<u8> {
    let (end, label) = match past.end {
        placement::End::Ended(cause) => (ENDED, cause.label()),
        placement::End::Closed(reason) => (CLOSED, reason.label()),
        placement::End::GivenUp => (GIVEN_UP, ""),
    };
    Past {
        session: past.session.to_string(),
        pool: past.pool.to_string(),
        instance: past.instance.to_string(),
        fence: Some(past.fence.into()),
        owner: Some((&past.owner).into()),
        client_address: past.client_address.to_string(),
        node: past.node.to_string(),
        pick: Some(past.pick.into()),
        granted_at: past.granted_at.0,
        established_at: past.established_at.map(|at| at.0),
        ended_at: past.ended_at.0,
        end: end.to_owned(),
        cause: label.to_owned(),
        token_id: past.token_id.as_deref().map(str::to_owned),
    }
    .encode_to_vec()
}

/// A session of the history.
pub(super) fn decode_past(bytes: &[u8]) -> Result<PastRecord, DecodeError> {
    let past = Past::decode(bytes)?;
    let end = match past.end.as_str() {
        ENDED => find("cause", &EndCause::ALL, EndCause::label, &past.cause)
            .map(placement::End::Ended)?,
        CLOSED => find("cause", &CloseReason::ALL, CloseReason::label, &past.cause)
            .map(placement::End::Closed)?,
        GIVEN_UP => placement::End::GivenUp,
        label => return Err(unknown("end", label)),
    };
    Ok(PastRecord {
        session: past.session.into(),
        pool: past.pool.into(),
        instance: past.instance.into(),
        fence: past.fence.ok_or(DecodeError::Missing("fence"))?.into(),
        owner: past.owner.ok_or(DecodeError::Missing("owner"))?.into(),
        client_address: past.client_address.into(),
        node: past.node.into(),
        pick: past.pick.ok_or(DecodeError::Missing("pick"))?.try_into()?,
        granted_at: UnixMillis(past.granted_at),
        established_at: past.established_at.map(UnixMillis),
        ended_at: UnixMillis(past.ended_at),
        end,
        token_id: past.token_id.map(Into::into),
    })
}

/// A revocation as it is stored, under its id.
pub(super) fn encode_revocation(stamp: Stamp, revocation: &placement::Revocation) -> Vec<u8> {
    let some = |text: &Arc<str>| Some(text.to_string());
    let (issuer, name) = match &revocation.what {
        Revoked::Session(session) => (None, session.to_string()),
        Revoked::Subject { issuer, subject } => {
            (issuer.as_ref().and_then(some), subject.to_string())
        }
        Revoked::Token { issuer, id } => (issuer.as_ref().and_then(some), id.to_string()),
    };
    let note = revocation.note.as_ref();
    Revocation {
        what: revocation.what.label().to_owned(),
        issuer,
        name,
        since: stamp.to_unix(revocation.since).0,
        until: stamp.to_unix(revocation.until).0,
        note: note.map(|note| note.as_str().to_owned()),
        written_at: stamp.unix.0,
    }
    .encode_to_vec()
}

/// The revocation that is stored under an id, in the times of the machine that goes on with it.
pub(super) fn decode_revocation(
    stamp: Stamp,
    id: RevocationId,
    bytes: &[u8],
) -> Result<placement::Revocation, DecodeError> {
    let revocation = Revocation::decode(bytes)?;
    let issuer = revocation.issuer.map(Arc::from);
    let name: Arc<str> = revocation.name.into();
    let what = match revocation.what.as_str() {
        SESSION => Revoked::Session(SessionId::from(&*name)),
        SUBJECT => Revoked::Subject {
            issuer,
            subject: name,
        },
        TOKEN => Revoked::Token { issuer, id: name },
        label => return Err(unknown("kind", label)),
    };
    let note = |text: String| RevocationNote::new(&text).ok_or_else(|| unknown("reason", &text));
    let written = UnixMillis(revocation.written_at);
    Ok(placement::Revocation {
        id,
        what,
        since: stamp.past(UnixMillis(revocation.since)),
        until: stamp.to_come(UnixMillis(revocation.until), written),
        note: revocation.note.map(note).transpose()?,
    })
}

#[derive(Clone, PartialEq, Message)]
struct Lease {
    #[prost(message, optional, tag = "1")]
    fence: Option<Fence>,
    #[prost(message, optional, tag = "2")]
    owner: Option<Owner>,
    #[prost(string, tag = "3")]
    session: String,
    #[prost(string, tag = "4")]
    node: String,
    #[prost(string, tag = "5")]
    vm: String,
    #[prost(uint64, tag = "6")]
    sequence: u64,
    #[prost(string, tag = "7")]
    client_address: String,
    #[prost(uint64, tag = "8")]
    granted_at: u64,
    #[prost(message, optional, tag = "9")]
    pick: Option<Pick>,
    #[prost(string, tag = "10")]
    state: String,
    #[prost(string, optional, tag = "11")]
    closing: Option<String>,
    #[prost(uint64, optional, tag = "12")]
    resumable_until: Option<u64>,
    #[prost(uint64, optional, tag = "13")]
    window_until: Option<u64>,
    /// What is to come is measured from here.
    #[prost(uint64, tag = "14")]
    written_at: u64,
    #[prost(string, optional, tag = "15")]
    token_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Past {
    #[prost(string, tag = "1")]
    session: String,
    #[prost(string, tag = "2")]
    pool: String,
    #[prost(string, tag = "3")]
    instance: String,
    #[prost(message, optional, tag = "4")]
    fence: Option<Fence>,
    #[prost(message, optional, tag = "5")]
    owner: Option<Owner>,
    #[prost(string, tag = "6")]
    client_address: String,
    #[prost(string, tag = "7")]
    node: String,
    #[prost(message, optional, tag = "8")]
    pick: Option<Pick>,
    #[prost(uint64, tag = "9")]
    granted_at: u64,
    #[prost(uint64, optional, tag = "10")]
    established_at: Option<u64>,
    #[prost(uint64, tag = "11")]
    ended_at: u64,
    #[prost(string, tag = "12")]
    end: String,
    #[prost(string, tag = "13")]
    cause: String,
    #[prost(string, optional, tag = "14")]
    token_id: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
struct Revocation {
    #[prost(string, tag = "1")]
    what: String,
    #[prost(string, optional, tag = "2")]
    issuer: Option<String>,
    /// The session's id, the token's `sub`, or its `jti`.
    #[prost(string, tag = "3")]
    name: String,
    #[prost(uint64, tag = "4")]
    since: u64,
    #[prost(uint64, tag = "5")]
    until: u64,
    #[prost(string, optional, tag = "6")]
    note: Option<String>,
    #[prost(uint64, tag = "7")]
    written_at: u64,
}

#[derive(Clone, PartialEq, Message)]
struct Fence {
    #[prost(uint64, tag = "1")]
    term: u64,
    #[prost(uint64, tag = "2")]
    sequence: u64,
}

impl From<placement::Fence> for Fence {
    fn from(placement::Fence { term, sequence }: placement::Fence) -> Self {
        Self { term, sequence }
    }
}

impl From<Fence> for placement::Fence {
    fn from(Fence { term, sequence }: Fence) -> Self {
        Self { term, sequence }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Owner {
    #[prost(string, tag = "1")]
    issuer: String,
    #[prost(string, tag = "2")]
    subject: String,
    #[prost(string, tag = "3")]
    tenant: String,
    #[prost(string, optional, tag = "4")]
    resume_key: Option<String>,
}

impl From<&placement::Owner> for Owner {
    fn from(owner: &placement::Owner) -> Self {
        Self {
            issuer: owner.user.issuer.to_string(),
            subject: owner.user.subject.to_string(),
            tenant: owner.tenant.to_string(),
            resume_key: owner.resume_key.as_ref().map(ToString::to_string),
        }
    }
}

impl From<Owner> for placement::Owner {
    fn from(owner: Owner) -> Self {
        Self {
            user: User {
                issuer: owner.issuer.into(),
                subject: owner.subject.into(),
            },
            tenant: owner.tenant.into(),
            resume_key: owner.resume_key.map(Into::into),
        }
    }
}

#[derive(Clone, PartialEq, Message)]
struct Pick {
    #[prost(string, tag = "1")]
    why: String,
    #[prost(uint32, tag = "2")]
    free: u32,
    #[prost(bool, tag = "3")]
    same_zone: bool,
    #[prost(uint64, tag = "4")]
    waited_ms: u64,
}

impl From<placement::Pick> for Pick {
    fn from(pick: placement::Pick) -> Self {
        Self {
            why: pick.why.label().to_owned(),
            free: pick.free,
            same_zone: pick.same_zone,
            waited_ms: u64::try_from(pick.waited.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl TryFrom<Pick> for placement::Pick {
    type Error = DecodeError;

    fn try_from(pick: Pick) -> Result<Self, DecodeError> {
        use placement::Why;
        Ok(Self {
            why: find("pick", &Why::ALL, Why::label, &pick.why)?,
            free: pick.free,
            same_zone: pick.same_zone,
            waited: Duration::from_millis(pick.waited_ms),
        })
    }
}

fn find<T: Copy>(
    field: &'static str,
    all: &[T],
    label_of: impl Fn(T) -> &'static str,
    label: &str,
) -> Result<T, DecodeError> {
    let mut all = all.iter().copied();
    all.find(|one| label_of(*one) == label)
        .ok_or_else(|| unknown(field, label))
}

fn unknown(field: &'static str, label: &str) -> DecodeError {
    DecodeError::Unknown {
        field,
        label: label.to_owned(),
    }
}

const HELD: &str = "held";
const RESUMABLE: &str = "resumable";
const SETTLING: &str = "settling";

const SESSION: &str = "session";
const SUBJECT: &str = "subject";
const TOKEN: &str = "token_id";

const ENDED: &str = "ended";
const CLOSED: &str = "closed";
const GIVEN_UP: &str = "given_up";
