//! The messages between a VM and the control plane, on the wire.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use berth_admission::{Admission, Owner, Reason, UnixSeconds};
use berth_proto::session::v1 as proto;
use prost::Message;

use crate::session::{
    Answer, Cause, Close, Closed, Ended, Fence, Found, Grant, Lease, Placement, SessionId, Who,
};
use crate::vm::{Acquire, Identity, Report, Standing};

/// The service that places sessions.
pub(crate) const SERVICE: &str = "berth.session.v1.Sessions";

/// The encoded `AcquireRequest`.
pub(crate) fn acquire_request(acquire: &Acquire<'_>) -> Vec<u8> {
    let session = acquire.session;
    let request = proto::AcquireRequest {
        vm: Some(vm(acquire.vm, acquire.sequence)),
        session: session.id.0.clone(),
        client_address: address(session.client),
        check_only: acquire.check_only,
        ..proto::AcquireRequest::default()
    };
    let request = match &session.who {
        Who::Admitted(admitted) => proto::AcquireRequest {
            pool: admitted.pool.clone(),
            owner: Some(owner(&admitted.owner)),
            priority: admitted.priority.into(),
            labels: labels(&admitted.labels),
            token_id: admitted.token_id.clone(),
            ..request
        },
        Who::Unverified(unverified) => proto::AcquireRequest {
            unverified: Some(proto::Unverified {
                path: unverified.path.clone(),
                headers: unverified.headers.iter().map(header).collect(),
            }),
            ..request
        },
    };
    request.encode_to_vec()
}

/// The encoded `SyncRequest`.
pub(crate) fn sync_request(report: &Report<'_>) -> Vec<u8> {
    proto::SyncRequest {
        vm: Some(vm(report.vm, report.sequence)),
        full: report.sessions.is_some(),
        sessions: report.sessions.iter().flatten().map(session).collect(),
        ended: report.ended.iter().copied().map(ended).collect(),
    }
    .encode_to_vec()
}

/// What an `AcquireResponse` answers.
pub(crate) fn acquire_response(bytes: &[u8]) -> Answered<Answer> {
    use proto::acquire_response::Outcome;

    let Ok(response) = proto::AcquireResponse::decode(bytes) else {
        return Answered {
            answer: Answer::Unreadable,
            revocations: None,
        };
    };
    let answer = match response.outcome {
        Some(Outcome::Grant(grant)) => granted(grant),
        Some(Outcome::Refusal(refusal)) => Some(Answer::Refused {
            // A label that this filter is too old to know: what is sure is that there is no instance.
            reason: Reason::from_label(&refusal.reason).unwrap_or(Reason::NoInstance),
            retry_after_seconds: Some(refusal.retry_after_seconds).filter(|seconds| *seconds > 0),
        }),
        Some(Outcome::Available(available)) => match available.admitted.map(admitted) {
            Some(None) => None,
            found => Some(Answer::Available(found.flatten().map(Box::new))),
        },
        None => None,
    };
    Answered {
        answer: answer.unwrap_or(Answer::Unreadable),
        revocations: Some(response.revocations),
    }
}

/// What a `SyncResponse` orders; nothing if it cannot be read.
pub(crate) fn sync_response(bytes: &[u8]) -> Answered<Option<Vec<Close>>> {
    let Ok(response) = proto::SyncResponse::decode(bytes) else {
        return Answered {
            answer: None,
            revocations: None,
        };
    };
    let closes = response.close.into_iter().map(|close| Close {
        session: SessionId(close.session),
        reason: close.reason,
    });
    Answered {
        answer: Some(closes.collect()),
        revocations: Some(response.revocations),
    }
}

/// What the control plane answered.
#[derive(Debug)]
pub(crate) struct Answered<T> {
    pub(crate) answer: T,
    /// How many revocations it counts; `None` if it cannot be read.
    pub(crate) revocations: Option<u64>,
}

/// `None` if there is no use for it.
fn granted(grant: proto::Grant) -> Option<Answer> {
    let fence = grant.fence?;
    let endpoint: SocketAddr = grant.endpoint.parse().ok()?;
    if grant.cluster.is_empty() {
        return None;
    }
    let lease = Lease {
        fence: Fence {
            term: fence.term,
            sequence: fence.sequence,
        },
        instance: grant.instance,
        max_age: Some(grant.max_age_ms)
            .filter(|millis| *millis > 0)
            .map(Duration::from_millis),
    };
    let mut admitted = match grant.admitted {
        Some(found) => Some(Box::new(admitted(found)?)),
        None => None,
    };
    let found = admitted.as_mut().map(|admission| Found {
        tags: std::mem::take(&mut admission.tags),
        headers: std::mem::take(&mut admission.headers),
    });
    let placement = Placement {
        cluster: grant.cluster,
        endpoint,
        found: found.unwrap_or_default(),
    };
    Some(Answer::Granted(Box::new(Grant {
        lease,
        placement,
        admitted,
    })))
}

/// `None` if it does not say whose the session is, or for which pool.
fn admitted(found: proto::Admitted) -> Option<Admission> {
    let owner = found.owner?;
    if found.pool.is_empty() || owner.subject.is_empty() {
        return None;
    }
    let moment = |seconds: u64| {
        Some(seconds)
            .filter(|seconds| *seconds > 0)
            .map(UnixSeconds)
    };
    Some(Admission {
        pool: found.pool,
        owner: Owner {
            issuer: owner.issuer,
            subject: owner.subject,
            tenant: owner.tenant,
            resume_key: owner.resume_key,
        },
        priority: u8::try_from(found.priority).ok()?,
        labels: found.labels.into_iter().collect(),
        token_id: found.token_id,
        expires_at: moment(found.expires_at),
        closes_at: moment(found.closes_at),
        tags: texts(found.tags)?,
        headers: texts(found.headers)?,
    })
}

/// Without a port; empty if it is not known.
fn address(client: Option<IpAddr>) -> String {
    client.map(|client| client.to_string()).unwrap_or_default()
}

fn texts(headers: Vec<proto::Header>) -> Option<Vec<(String, String)>> {
    let headers = headers.into_iter();
    headers
        .map(|header| Some((header.name, String::from_utf8(header.value).ok()?)))
        .collect()
}

fn header((name, value): &(String, Vec<u8>)) -> proto::Header {
    proto::Header {
        name: name.clone(),
        value: value.clone(),
    }
}

fn labels(labels: &[(String, String)]) -> BTreeMap<String, String> {
    // To collect them would sort them first, and what sorts is 8 kB of the module.
    let mut map = BTreeMap::new();
    map.extend(labels.iter().cloned());
    map
}

fn vm(identity: &Identity, sequence: u64) -> proto::Vm {
    proto::Vm {
        node: identity.node.clone(),
        id: identity.id.clone(),
        sequence,
    }
}

fn owner(owner: &Owner) -> proto::Owner {
    proto::Owner {
        issuer: owner.issuer.clone(),
        subject: owner.subject.clone(),
        tenant: owner.tenant.clone(),
        resume_key: owner.resume_key.clone(),
    }
}

fn session(standing: &Standing<'_>) -> proto::Session {
    let session = standing.session;
    let admitted = session.admitted();
    proto::Session {
        session: session.id.0.clone(),
        pool: admitted
            .map(|admitted| admitted.pool.clone())
            .unwrap_or_default(),
        owner: Some(
            admitted
                .map(|admitted| owner(&admitted.owner))
                .unwrap_or_default(),
        ),
        client_address: address(session.client),
        fence: standing.lease.map(|lease| fence(lease.fence)),
        instance: standing
            .lease
            .map(|lease| lease.instance.clone())
            .unwrap_or_default(),
        established: standing.established,
        token_id: admitted
            .map(|admitted| admitted.token_id.clone())
            .unwrap_or_default(),
    }
}

fn ended(ended: &Ended) -> proto::Ended {
    proto::Ended {
        session: ended.session.0.clone(),
        fence: ended.fence.map(fence),
        cause: cause(ended.cause).into(),
    }
}

const fn fence(fence: Fence) -> proto::Fence {
    proto::Fence {
        term: fence.term,
        sequence: fence.sequence,
    }
}

const fn cause(cause: Cause) -> proto::EndCause {
    match cause {
        Cause::Client => proto::EndCause::Client,
        Cause::Instance => proto::EndCause::Instance,
        Cause::NotEstablished => proto::EndCause::NotEstablished,
        Cause::Closed(Closed::Berth) => proto::EndCause::Berth,
        Cause::Closed(Closed::MaxAge) => proto::EndCause::MaxAge,
        Cause::Closed(Closed::TokenExpired) => proto::EndCause::TokenExpired,
    }
}
