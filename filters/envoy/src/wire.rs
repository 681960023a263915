//! The messages between a VM and the control plane, on the wire.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use berth_admission::{Owner, Reason};
use berth_proto::session::v1 as proto;
use prost::Message;

use crate::session::{Answer, Cause, Close, Ended, Fence, Lease, Placement, SessionId};
use crate::vm::{Acquire, Identity, Report, Standing};

/// The service that places sessions.
pub(crate) const SERVICE: &str = "berth.session.v1.Sessions";

/// The encoded `AcquireRequest`.
pub(crate) fn acquire_request(acquire: &Acquire<'_>) -> Vec<u8> {
    let session = acquire.session;
    proto::AcquireRequest {
        vm: Some(vm(acquire.vm, acquire.sequence)),
        session: session.id.0.clone(),
        pool: session.pool.clone(),
        owner: Some(owner(&session.owner)),
        client_address: session.client_address.clone(),
        check_only: acquire.check_only,
        priority: session.priority.into(),
        labels: labels(&session.labels),
        ..proto::AcquireRequest::default()
    }
    .encode_to_vec()
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
pub(crate) fn acquire_response(bytes: &[u8]) -> Answer {
    use proto::acquire_response::Outcome;

    let outcome = proto::AcquireResponse::decode(bytes)
        .ok()
        .and_then(|response| response.outcome);
    match outcome {
        Some(Outcome::Grant(grant)) => granted(grant).unwrap_or(Answer::Unreadable),
        Some(Outcome::Refusal(refusal)) => Answer::Refused {
            // A label that this filter is too old to know: what is sure is that there is no instance.
            reason: Reason::from_label(&refusal.reason).unwrap_or(Reason::NoInstance),
            retry_after_seconds: Some(refusal.retry_after_seconds).filter(|seconds| *seconds > 0),
        },
        Some(Outcome::Available(_)) => Answer::Available,
        None => Answer::Unreadable,
    }
}

/// What a `SyncResponse` orders. `None` if it cannot be read.
pub(crate) fn sync_response(bytes: &[u8]) -> Option<Vec<Close>> {
    let response = proto::SyncResponse::decode(bytes).ok()?;
    let closes = response.close.into_iter().map(|close| Close {
        session: SessionId(close.session),
        reason: close.reason,
    });
    Some(closes.collect())
}

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
    };
    let placement = Placement {
        cluster: grant.cluster,
        endpoint,
    };
    Some(Answer::Granted(lease, placement))
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
    proto::Session {
        session: session.id.0.clone(),
        pool: session.pool.clone(),
        owner: Some(owner(&session.owner)),
        client_address: session.client_address.clone(),
        fence: standing.lease.map(|lease| fence(lease.fence)),
        instance: standing
            .lease
            .map(|lease| lease.instance.clone())
            .unwrap_or_default(),
        established: standing.established,
        ..proto::Session::default()
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
        Cause::Berth => proto::EndCause::Berth,
        Cause::NotEstablished => proto::EndCause::NotEstablished,
    }
}
