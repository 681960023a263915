//! The session service: Acquire and Sync, from the wire to the controller and back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use berth_admission::{Admission, Reason, UnixSeconds};
use berth_proto::session::v1 as proto;
use proto::acquire_response::Outcome;
use proto::sessions_server::Sessions;
use tonic::{Request, Response, Status};

use crate::admission::{Admitter, Unverified};
use crate::controller::{Controller, Gone, NotPlaced, Placed};
use crate::peer::Peer;
use crate::placement::{
    Acquire, EndCause, Fence, Grant, Labels, Origin, Owner, Priority, Refusal, ReportedEnd,
    ReportedLease, ReportedSession, Sync, User,
};

/// The gRPC service.
#[derive(Clone, Debug)]
pub struct SessionService {
    controller: Controller,
    admitter: Admitter,
}

impl SessionService {
    /// A service that puts everything to the controller, once it is known who asks.
    pub const fn new(controller: Controller, admitter: Admitter) -> Self {
        Self {
            controller,
            admitter,
        }
    }

    /// The request with what the filter could not find out, and that to be told with the answer.
    async fn admitted(
        &self,
        mut request: proto::AcquireRequest,
    ) -> Result<(proto::AcquireRequest, Option<proto::Admitted>), Reason> {
        let Some(unverified) = request.unverified.take() else {
            return Ok((request, None));
        };
        let headers = unverified.headers.into_iter();
        let admission = self.admitter.admit(Unverified {
            path: unverified.path,
            headers: headers.map(|header| (header.name, header.value)).collect(),
            client: request.client_address.parse().ok(),
            revocations: self.controller.revocations_seen(),
        });
        let admitted = found(admission.await?);
        let request = proto::AcquireRequest {
            pool: admitted.pool.clone(),
            owner: admitted.owner.clone(),
            priority: admitted.priority,
            labels: admitted.labels.clone(),
            token_id: admitted.token_id.clone(),
            ..request
        };
        Ok((request, Some(admitted)))
    }
}

impl SessionService {
    async fn place(
        &self,
        request: proto::AcquireRequest,
        admitted: Option<proto::Admitted>,
    ) -> Result<Outcome, Status> {
        let check_only = request.check_only;
        let acquire = acquire(request)?;
        let outcome = if check_only {
            let available = self.controller.check(acquire).await?;
            available.map(|()| Outcome::Available(proto::Available { admitted }))
        } else {
            let placed = self.controller.acquire(acquire).await?;
            placed.map(|placed| {
                Outcome::Grant(proto::Grant {
                    admitted,
                    ..grant(placed)
                })
            })
        };
        Ok(outcome.unwrap_or_else(|not_placed| {
            let (reason, retry_after) = reason(not_placed);
            refusal(reason, retry_after)
        }))
    }
}

#[tonic::async_trait]
impl Sessions for SessionService {
    async fn acquire(
        &self,
        request: Request<proto::AcquireRequest>,
    ) -> Result<Response<proto::AcquireResponse>, Status> {
        check_node(&request, request.get_ref().vm.as_ref())?;
        let outcome = match self.admitted(request.into_inner()).await {
            Ok((request, admitted)) => self.place(request, admitted).await?,
            Err(reason) => refusal(reason, self.admitter.retry_after_seconds(reason)),
        };
        Ok(Response::new(proto::AcquireResponse {
            outcome: Some(outcome),
            revocations: self.controller.revocations_seen(),
        }))
    }

    async fn sync(
        &self,
        request: Request<proto::SyncRequest>,
    ) -> Result<Response<proto::SyncResponse>, Status> {
        check_node(&request, request.get_ref().vm.as_ref())?;
        let close = self
            .controller
            .sync(sync(request.into_inner())?)
            .await?
            .into_iter()
            .map(|close| proto::Close {
                session: close.session.to_string(),
                reason: close.reason.label().to_owned(),
            })
            .collect();
        Ok(Response::new(proto::SyncResponse {
            close,
            revocations: self.controller.revocations_seen(),
        }))
    }
}

/// Whose leases these are is for the proxy's own certificate to say, where there is one.
fn check_node<T>(request: &Request<T>, vm: Option<&proto::Vm>) -> Result<(), Status> {
    // One without a node is refused for that.
    let Some(vm) = vm else { return Ok(()) };
    Ok(Peer::of(request.extensions()).check(&vm.node)?)
}

impl From<Gone> for Status {
    fn from(Gone: Gone) -> Self {
        Self::unavailable("the control plane is stopping")
    }
}

/// The reason a client is told, and when to come back.
pub(crate) fn reason(refusal: NotPlaced) -> (Reason, Option<u32>) {
    let refusal = match refusal {
        NotPlaced::NotStored => return (Reason::ControlPlaneAway, Some(STORE_RETRY)),
        NotPlaced::Refused(refusal) => refusal,
    };
    match refusal {
        Refusal::Cancelled => (Reason::Cancelled, None),
        Refusal::IdInUse => (Reason::BadRequest, None),
        Refusal::Learning => (Reason::ControlPlaneAway, Some(1)),
        Refusal::NoInstance { retry_after } => (Reason::NoInstance, seconds(retry_after)),
        Refusal::NoSuchPool => (Reason::NoSuchPool, None),
        Refusal::QueueFull { retry_after } => (Reason::QueueFull, seconds(retry_after)),
        Refusal::Revoked => (Reason::Revoked, None),
        Refusal::SessionExists => (Reason::SessionExists, None),
        Refusal::Superseded => (Reason::Superseded, None),
        Refusal::Terminated => (Reason::Cancelled, None),
        Refusal::TooManyOfTenant { retry_after } | Refusal::TooManyOfUser { retry_after } => {
            (Reason::TooManySessions, seconds(retry_after))
        }
    }
}

/// For `Retry-After`, which knows whole seconds (RFC 9110 §10.2.3): who comes back earlier than said
/// comes in vain.
fn seconds(retry_after: Duration) -> Option<u32> {
    let seconds = retry_after.as_millis().div_ceil(1000).clamp(1, 3600);
    u32::try_from(seconds).ok()
}

fn refusal(reason: Reason, retry_after: Option<u32>) -> Outcome {
    Outcome::Refusal(proto::Refusal {
        reason: reason.label().to_owned(),
        retry_after_seconds: retry_after.unwrap_or(0),
    })
}

fn found(admission: Admission) -> proto::Admitted {
    let owner = admission.owner;
    let headers = |texts: Vec<(String, String)>| {
        let headers = texts.into_iter().map(|(name, text)| proto::Header {
            name,
            value: text.into_bytes(),
        });
        headers.collect()
    };
    let moment = |moment: Option<UnixSeconds>| moment.map_or(0, |UnixSeconds(seconds)| seconds);
    proto::Admitted {
        pool: admission.pool,
        owner: Some(proto::Owner {
            issuer: owner.issuer,
            subject: owner.subject,
            tenant: owner.tenant,
            resume_key: owner.resume_key,
        }),
        priority: admission.priority.into(),
        labels: admission.labels.into_iter().collect(),
        token_id: admission.token_id,
        expires_at: moment(admission.expires_at),
        closes_at: moment(admission.closes_at),
        tags: headers(admission.tags),
        headers: headers(admission.headers),
    }
}

fn grant(placed: Placed) -> proto::Grant {
    proto::Grant {
        fence: Some(proto::Fence {
            term: placed.grant.fence.term,
            sequence: placed.grant.fence.sequence,
        }),
        instance: placed.grant.instance.to_string(),
        cluster: placed.cluster.to_string(),
        endpoint: placed.endpoint.to_string(),
        max_age_ms: placed.age_left.map_or(0, max_age),
        ..proto::Grant::default()
    }
}

/// In milliseconds. Zero says for ever, so that who has none left is given the least there is.
fn max_age(age_left: Duration) -> u64 {
    u64::try_from(age_left.as_millis())
        .unwrap_or(u64::MAX)
        .max(1)
}

fn acquire(request: proto::AcquireRequest) -> Result<Acquire, Status> {
    let origin = origin(request.vm)?;
    let session = bounded(request.session, "session")?;
    Ok(Acquire {
        origin,
        session: session.into(),
        pool: bounded(request.pool, "pool")?.into(),
        owner: owner(request.owner)?,
        client_address: bounded(request.client_address, "client_address")?.into(),
        priority: priority(request.priority)?,
        labels: labels(request.labels)?,
        token_id: token_id(request.token_id)?,
    })
}

fn token_id(id: String) -> Result<Option<Arc<str>>, Status> {
    let id = bounded(id, "token_id")?;
    Ok((!id.is_empty()).then(|| id.into()))
}

fn priority(priority: u32) -> Result<Priority, Status> {
    match u8::try_from(priority) {
        Ok(priority) if priority <= MAX_PRIORITY => Ok(Priority(priority)),
        _ => {
            let message = format!("priority is not from 0 to {MAX_PRIORITY}");
            Err(Status::invalid_argument(message))
        }
    }
}

fn labels(labels: BTreeMap<String, String>) -> Result<Labels, Status> {
    if labels.len() > MAX_LABELS {
        let message = format!("labels has more than {MAX_LABELS} entries");
        return Err(Status::invalid_argument(message));
    }
    labels
        .into_iter()
        .map(|(name, value)| Ok((bounded(name, "labels")?, bounded(value, "labels")?)))
        .collect()
}

fn sync(request: proto::SyncRequest) -> Result<Sync, Status> {
    let sessions = request
        .full
        .then(|| request.sessions.into_iter().map(session).collect())
        .transpose()?;
    let ended = request
        .ended
        .into_iter()
        .map(|ended| {
            let cause = match ended.cause() {
                proto::EndCause::Unspecified => EndCause::Unlisted,
                proto::EndCause::Client => EndCause::Client,
                proto::EndCause::Instance => EndCause::Instance,
                proto::EndCause::Berth => EndCause::Berth,
                proto::EndCause::NotEstablished => EndCause::NotEstablished,
                proto::EndCause::TokenExpired => EndCause::TokenExpired,
                proto::EndCause::MaxAge => EndCause::MaxAge,
            };
            Ok(ReportedEnd {
                session: bounded(ended.session, "ended.session")?.into(),
                fence: ended.fence.map(fence),
                cause,
            })
        })
        .collect::<Result<_, Status>>()?;
    Ok(Sync {
        origin: origin(request.vm)?,
        sessions,
        ended,
    })
}

fn session(session: proto::Session) -> Result<ReportedSession, Status> {
    let id = bounded(session.session, "sessions.session")?.into();
    let Some(reported) = session.fence else {
        // What is pending may not be known to its own filter yet, whose it is and from which pool: its Acquire says so.
        return Ok(ReportedSession {
            session: id,
            lease: None,
        });
    };
    let lease = ReportedLease {
        grant: Grant {
            fence: fence(reported),
            instance: bounded(session.instance, "sessions.instance")?.into(),
        },
        pool: bounded(session.pool, "sessions.pool")?.into(),
        owner: owner(session.owner)?,
        client_address: bounded(session.client_address, "sessions.client_address")?.into(),
        token_id: token_id(session.token_id)?,
        established: session.established,
    };
    Ok(ReportedSession {
        session: id,
        lease: Some(lease),
    })
}

fn origin(vm: Option<proto::Vm>) -> Result<Origin, Status> {
    let vm = vm.ok_or_else(|| Status::invalid_argument("vm is missing"))?;
    Ok(Origin {
        node: bounded(vm.node, "vm.node")?.into(),
        vm: bounded(vm.id, "vm.id")?.into(),
        sequence: vm.sequence,
    })
}

fn owner(owner: Option<proto::Owner>) -> Result<Owner, Status> {
    let owner = owner.ok_or_else(|| Status::invalid_argument("owner is missing"))?;
    let resume_key: Arc<str> = bounded(owner.resume_key, "owner.resume_key")?.into();
    Ok(Owner {
        user: User {
            issuer: bounded(owner.issuer, "owner.issuer")?.into(),
            subject: bounded(owner.subject, "owner.subject")?.into(),
        },
        tenant: bounded(owner.tenant, "owner.tenant")?.into(),
        resume_key: (!resume_key.is_empty()).then_some(resume_key),
    })
}

fn fence(fence: proto::Fence) -> Fence {
    Fence {
        term: fence.term,
        sequence: fence.sequence,
    }
}

fn bounded(text: String, field: &str) -> Result<String, Status> {
    if text.len() > MAX_TEXT {
        let message = format!("{field} has more than {MAX_TEXT} bytes");
        return Err(Status::invalid_argument(message));
    }
    Ok(text)
}

/// In seconds: a disk that has no room or does not answer is seldom well again at once.
const STORE_RETRY: u32 = 5;

/// No id, name or address that a filter sends is longer; what is kept per session stays small.
const MAX_TEXT: usize = 1024;
/// As many as admission lets a client ask for.
const MAX_LABELS: usize = 16;
/// The greatest that admission lets a token say.
const MAX_PRIORITY: u8 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_reason_and_says_when_to_come_back() {
        let retry_after = Duration::from_millis(1_001);
        for (refusal, expected) in [
            (Refusal::Cancelled, (Reason::Cancelled, None)),
            (Refusal::IdInUse, (Reason::BadRequest, None)),
            (Refusal::Learning, (Reason::ControlPlaneAway, Some(1))),
            (
                Refusal::NoInstance { retry_after },
                (Reason::NoInstance, Some(2)),
            ),
            (Refusal::NoSuchPool, (Reason::NoSuchPool, None)),
            (
                Refusal::QueueFull { retry_after },
                (Reason::QueueFull, Some(2)),
            ),
            (Refusal::Revoked, (Reason::Revoked, None)),
            (Refusal::SessionExists, (Reason::SessionExists, None)),
            (Refusal::Superseded, (Reason::Superseded, None)),
            (Refusal::Terminated, (Reason::Cancelled, None)),
            (
                Refusal::TooManyOfTenant { retry_after },
                (Reason::TooManySessions, Some(2)),
            ),
            (
                Refusal::TooManyOfUser { retry_after },
                (Reason::TooManySessions, Some(2)),
            ),
        ] {
            assert_eq!(reason(refusal.into()), expected, "{refusal:?}");
        }
        let not_stored = (Reason::ControlPlaneAway, Some(5));
        assert_eq!(reason(NotPlaced::NotStored), not_stored);
        for (millis, expected) in [(0, 1), (1_000, 1), (u64::MAX, 3_600)] {
            let said = seconds(Duration::from_millis(millis));
            assert_eq!(said, Some(expected), "{millis}");
        }
    }

    #[test]
    fn zero_is_not_said_of_what_has_no_time_left() {
        for (left, said) in [(0, 1), (1, 1), (1_500, 1_500)] {
            assert_eq!(max_age(Duration::from_millis(left)), said);
        }
        assert_eq!(max_age(Duration::MAX), u64::MAX);
    }

    fn held() -> proto::Session {
        proto::Session {
            session: "s".to_owned(),
            pool: "web".to_owned(),
            owner: Some(proto::Owner::default()),
            fence: Some(proto::Fence::default()),
            instance: "gpu-1".to_owned(),
            established: true,
            token_id: "jti".to_owned(),
            ..proto::Session::default()
        }
    }

    #[test]
    fn what_is_pending_may_be_nobodys_yet() {
        let lease = session(held()).unwrap().lease.unwrap();
        assert_eq!(lease.token_id.as_deref(), Some("jti"));
        assert!(lease.established);
        let nobodys = proto::Session {
            session: "s".to_owned(),
            ..proto::Session::default()
        };
        for pending in [
            nobodys,
            proto::Session {
                fence: None,
                ..held()
            },
        ] {
            let reported = session(pending).unwrap();
            assert_eq!(reported.session.as_str(), "s");
            assert!(reported.lease.is_none());
        }
        let ownerless = proto::Session {
            owner: None,
            ..held()
        };
        assert!(session(ownerless).is_err(), "what is held is somebody's");
    }

    #[test]
    fn each_cause_of_an_end_is_known() {
        use proto::EndCause as Wire;
        for (wire, cause) in [
            (Wire::Unspecified, EndCause::Unlisted),
            (Wire::Client, EndCause::Client),
            (Wire::Instance, EndCause::Instance),
            (Wire::Berth, EndCause::Berth),
            (Wire::NotEstablished, EndCause::NotEstablished),
            (Wire::TokenExpired, EndCause::TokenExpired),
            (Wire::MaxAge, EndCause::MaxAge),
        ] {
            let ended = proto::Ended {
                session: "s".to_owned(),
                fence: None,
                cause: wire.into(),
            };
            let request = proto::SyncRequest {
                vm: Some(proto::Vm::default()),
                ended: vec![ended],
                ..proto::SyncRequest::default()
            };
            let found = sync(request).unwrap().ended.first().unwrap().cause;
            assert_eq!(found, cause, "{wire:?}");
        }
    }

    #[test]
    fn what_no_filter_says_is_refused() {
        let pairs = |count: usize, length: usize| {
            let names = (0..count).map(|n| (n.to_string(), "v".repeat(length)));
            labels(names.collect())
        };
        assert_eq!(priority(9).unwrap(), Priority(9));
        assert_eq!(pairs(16, 1024).unwrap().iter().count(), 16);
        for refused in [
            priority(10).map(|_| ()),
            priority(256).map(|_| ()),
            pairs(17, 1).map(|_| ()),
            pairs(1, 1025).map(|_| ()),
            token_id("j".repeat(1025)).map(|_| ()),
        ] {
            let status = refused.unwrap_err();
            assert_eq!(status.code(), tonic::Code::InvalidArgument, "{status}");
        }
    }
}
