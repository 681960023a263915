use crate::{Policy, Reason, Request, UnixSeconds, Verdict, VerifySignature};

/// Decides whether `request` may open a session.
pub fn admit(
    _policy: &Policy,
    _request: &Request<'_>,
    _now: UnixSeconds,
    _verifier: &impl VerifySignature,
) -> Verdict {
    Verdict::Refuse(Reason::Internal)
}
