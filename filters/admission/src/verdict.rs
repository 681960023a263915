use std::fmt;

use serde::Serialize;

use crate::{Family, Reason, UnixSeconds};

/// The answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// Let it in, as said.
    Admit(Box<Admission>),
    /// Answer it with this reason.
    Refuse(Reason),
}

/// Who was let in, to what, and how their request changes on its way.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admission {
    /// What the client wants with the verdict.
    pub kind: Kind,
    /// Which family of clients the request is of.
    pub family: Family,
    /// The pool to lease an instance from: one of the policy's, of this family.
    pub pool: String,
    /// Whose the session is.
    pub owner: Owner,
    /// How urgent it is, from 0 to 9; the greater goes first.
    pub priority: u8,
    /// What the instance has to have: names of the policy's labels, each at most once, and values of
    /// 1 to 63 of `A-Z`, `a-z`, `0-9`, `-`, `.` and `_`.
    pub labels: Vec<(String, String)>,
    /// When the token is no longer accepted, the issuer's clock skew included; saturates.
    pub expires_at: Option<UnixSeconds>,
    /// How the request changes before it goes to the instance.
    pub upstream: UpstreamEdits,
    /// The first protocol the client offered that is not a credential: what to put into the 101 if
    /// the instance selected none, because a browser that offered some fails the connection if it
    /// gets none. A `token` of RFC 9110 §5.6.2.
    pub answer_subprotocol: Option<String>,
}

/// What a client wants with the verdict.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Kind {
    /// To read it: browsers cannot read a refused upgrade, so a plain GET of the same URL answers.
    Check,
    /// A WebSocket.
    Upgrade,
}

/// Whose a session is.
#[derive(Clone, Eq, PartialEq)]
pub struct Owner {
    /// The token's issuer; with the subject, the user.
    pub issuer: String,
    /// The token's subject: 1 to 256 bytes, no control characters.
    pub subject: String,
    /// The token's tenant; empty if none.
    pub tenant: String,
    /// The key the client chose to resume its session with: at most 128 visible ASCII characters;
    /// empty if none.
    pub resume_key: String,
}

/// Leaves the resume key out: with the user's token, it takes over their session.
impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner")
            .field("issuer", &self.issuer)
            .field("subject", &self.subject)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// How the request changes before it goes to the instance.
///
/// Besides, the headers `authorization` and `berth-resume-key` are always removed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct UpstreamEdits {
    /// The new `:path`: `/sign_in` or `/rtsp` with every query parameter that is not ours, byte for
    /// byte and in order.
    pub path: Vec<u8>,
    /// What to do with `sec-websocket-protocol`. `None`: leave it. `Some(None)`: remove it.
    /// `Some(Some(value))`: replace it.
    pub sec_websocket_protocol: Option<Option<Vec<u8>>>,
}

/// The JSON body of a refusal. The wait is left out unless the reason
/// [allows it](Reason::allows_retry_after).
pub fn refusal_body(reason: Reason, retry_after_seconds: Option<u32>) -> String {
    to_json(&Refused {
        verdict: "refused",
        reason: reason.label(),
        status: reason.status(),
        message: reason.message(),
        retry_after_seconds: retry_after_seconds.filter(|_| reason.allows_retry_after()),
    })
}

/// The JSON body that answers a [`Kind::Check`] which would have been let in.
pub fn admitted_body(admission: &Admission) -> String {
    let owner = &admission.owner;
    to_json(&Admitted {
        verdict: "admitted",
        family: admission.family,
        pool: &admission.pool,
        issuer: &owner.issuer,
        subject: &owner.subject,
        tenant: Some(owner.tenant.as_str()).filter(|tenant| !tenant.is_empty()),
        expires_at: admission.expires_at.map(|UnixSeconds(seconds)| seconds),
    })
}

#[derive(Serialize)]
struct Refused<'a> {
    verdict: &'a str,
    reason: &'a str,
    status: u16,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_seconds: Option<u32>,
}

#[derive(Serialize)]
struct Admitted<'a> {
    verdict: &'a str,
    family: Family,
    pool: &'a str,
    issuer: &'a str,
    subject: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<u64>,
}

/// Strings and numbers under fixed names always have a JSON form, so the default is never taken.
fn to_json(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap_or_default()
}
