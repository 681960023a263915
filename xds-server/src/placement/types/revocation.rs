//! What the operator has called back: a user, a session or a token.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use super::{Acquire, SessionId, Time};

/// Names a revocation. A later one has a greater id, after a restart as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RevocationId {
    /// Grows with every control plane that takes over.
    pub term: u64,
    /// Grows with every revocation of a term.
    pub sequence: u64,
}

impl fmt::Display for RevocationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// The text is not two numbers with a dot between them, and names no revocation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoRevocationId;

impl FromStr for RevocationId {
    type Err = NoRevocationId;

    fn from_str(text: &str) -> Result<Self, NoRevocationId> {
        let number = |text: &str| text.parse().map_err(|_| NoRevocationId);
        let (term, sequence) = text.split_once('.').ok_or(NoRevocationId)?;
        Ok(Self {
            term: number(term)?,
            sequence: number(sequence)?,
        })
    }
}

/// Whom or what a revocation is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Revoked {
    /// One session.
    Session(SessionId),
    /// A user.
    Subject {
        /// The token's `iss`; whoever issued it without one.
        issuer: Option<Arc<str>>,
        /// The token's `sub`.
        subject: Arc<str>,
    },
    /// One token.
    Token {
        /// The token's `iss`; whoever issued it without one.
        issuer: Option<Arc<str>>,
        /// The token's `jti`.
        id: Arc<str>,
    },
}

impl Revoked {
    /// Whether a request, or the session that came of it, is meant.
    pub fn includes(&self, acquire: &Acquire) -> bool {
        let user = &acquire.owner.user;
        let of =
            |issuer: &Option<Arc<str>>| issuer.as_ref().is_none_or(|issuer| *issuer == user.issuer);
        match self {
            Self::Session(session) => *session == acquire.session,
            Self::Subject { issuer, subject } => of(issuer) && *subject == user.subject,
            Self::Token { issuer, id } => of(issuer) && acquire.token_id.as_ref() == Some(id),
        }
    }

    /// As a label.
    pub fn label(&self) -> &'static str {
        match self {
            Self::Session(_) => "session",
            Self::Subject { .. } => "subject",
            Self::Token { .. } => "token_id",
        }
    }
}

/// How long a revocation holds: from a second to 30 days, a day if nothing is said. What is revoked for longer is better
/// not issued any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RevocationSpan(Duration);

impl RevocationSpan {
    /// `None` if it is out of bounds.
    pub fn new(span: Duration) -> Option<Self> {
        (Self::MIN..=Self::MAX)
            .contains(&span)
            .then_some(Self(span))
    }

    /// The time.
    pub fn get(self) -> Duration {
        self.0
    }

    /// The shortest.
    pub const MIN: Duration = Duration::from_secs(1);
    /// The longest.
    pub const MAX: Duration = Duration::from_secs(30 * 24 * 60 * 60);
}

impl Default for RevocationSpan {
    fn default() -> Self {
        Self(Duration::from_secs(24 * 60 * 60))
    }
}

/// Why something was revoked, in the operator's words: 1 to 200 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RevocationNote(Arc<str>);

impl RevocationNote {
    /// `None` if it is empty or too long.
    pub fn new(text: &str) -> Option<Self> {
        let fits = (1..=Self::MAX).contains(&text.len());
        fits.then(|| Self(text.into()))
    }

    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// In bytes.
    pub const MAX: usize = 200;
}

/// What is to be revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revoke {
    /// Whom or what.
    pub what: Revoked,
    /// For how long.
    pub span: RevocationSpan,
    /// Why.
    pub note: Option<RevocationNote>,
}

/// Something that is revoked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revocation {
    /// Its name.
    pub id: RevocationId,
    /// Whom or what.
    pub what: Revoked,
    /// Since when.
    pub since: Time,
    /// Until when; it is forgotten then.
    pub until: Time,
    /// Why.
    pub note: Option<RevocationNote>,
}

/// What a revocation has done at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationEffect {
    /// The revocation.
    pub id: RevocationId,
    /// So many sessions are closed by their proxies, at their next words.
    pub closing: usize,
    /// So many requests that waited for an instance have been refused.
    pub refused: usize,
}

/// There are [`MAX_REVOCATIONS`] already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevocationsFull;

/// How many revocations there may be at once. Each is a few hundred bytes.
pub const MAX_REVOCATIONS: usize = 100_000;
