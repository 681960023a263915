use std::fmt;

use serde::Serialize;

use crate::{Family, Reason, UnixSeconds};

/// The answer to a request.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// Whether it is let in.
    pub decision: Decision,
    /// What to change in the request before anybody else reads it, the access log included: whatever the decision.
    pub edits: Edits,
    /// What to add to an answer of the proxy's own, so that the web page that asked may read it (Fetch standard, "CORS
    /// protocol"): names and values.
    pub cors: Vec<(&'static str, String)>,
    /// Whether the token was remembered as verified; `None` if it did not come to that.
    pub remembered: Option<bool>,
}

/// Whether a request is let in.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Decision {
    /// Let it in, as said.
    Admit(Wish, Box<Admission>),
    /// Somebody who has more keys, or can compute more, has to be asked.
    Undecided(Wish, Box<Undecided>),
    /// Answer it with this reason.
    Refuse(Reason),
    /// Answer 204: a browser asks whether a page may ask.
    Preflight,
}

/// Who was let in, and to what.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Admission {
    /// The pool to lease an instance from: one of the policy's, of this family.
    pub pool: String,
    /// Whose the session is.
    pub owner: Owner,
    /// How urgent it is, from 0 to 9; the greater goes first.
    pub priority: u8,
    /// What the instance has to have: names of the policy's labels, each at most once, and values of
    /// 1 to 63 of `A-Z`, `a-z`, `0-9`, `-`, `.` and `_`.
    pub labels: Vec<(String, String)>,
    /// The token's `jti`, up to 256 bytes; empty if it has none, or there is no token.
    pub token_id: String,
    /// When the token is no longer accepted, the issuer's clock skew included; saturates.
    pub expires_at: Option<UnixSeconds>,
    /// When its session is to be closed because the token has ended; `None` if it is not to be.
    pub closes_at: Option<UnixSeconds>,
    /// What the access log may know, by name: printable ASCII, up to 256 bytes each.
    pub tags: Vec<(String, String)>,
    /// The headers that the instance gets: as safe as the tags.
    pub headers: Vec<(String, String)>,
}

/// What a client wants.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Wish {
    /// What it wants with the verdict.
    pub kind: Kind,
    /// Which family of clients the request is of.
    pub family: Family,
    /// The first protocol the client offered that is not a credential: what to put into the 101 if
    /// the instance selected none, because a browser that offered some fails the connection if it
    /// gets none. A `token` of RFC 9110 §5.6.2.
    pub answer_subprotocol: Option<String>,
}

/// A request that cannot be decided here: there is no key here that its token could have been signed with, or nothing to
/// compute its signature with.
#[derive(Clone, Eq, PartialEq)]
pub struct Undecided {
    /// Who the token says signed it: one of the policy's issuers.
    pub issuer: String,
    /// Why it is refused if nobody knows more.
    pub reason: Reason,
    /// The `:path` as it came. It may hold the credential.
    pub path: Vec<u8>,
    /// The headers that admission reads, as they came. They may hold the credential.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl fmt::Debug for Undecided {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Undecided")
            .field("issuer", &self.issuer)
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
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

/// Changes of a request's headers, `:path` among them.
///
/// What takes out of it whatever is between the client and Berth: credentials, the resume key, and headers that only
/// Berth sets.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edits(Vec<(String, Option<Vec<u8>>)>);

impl Edits {
    /// Each header that changes, once, with its new value; `None`: it is removed.
    pub fn iter(&self) -> impl Iterator<Item = (&str, Option<&[u8]>)> {
        self.0
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_deref()))
    }

    pub(crate) fn set(&mut self, name: &str, value: Vec<u8>) {
        self.push(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.push(name, None);
    }

    fn push(&mut self, name: &str, value: Option<Vec<u8>>) {
        self.0.retain(|(earlier, _)| earlier != name);
        self.0.push((name.to_owned(), value));
    }
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
pub fn admitted_body(family: Family, admission: &Admission) -> String {
    let owner = &admission.owner;
    to_json(&Admitted {
        verdict: "admitted",
        family,
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
