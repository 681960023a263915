use crate::Family;
use crate::credential::RESUME_KEY_PARAMETER;
use crate::jwk::KeyProblem;
use crate::label::MAX_LABELS;

use super::issuer::MAX_CLOCK_SKEW_SECONDS;
use super::parts::{MAX_API_KEYS, MAX_TAGS};

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyError {
    /// The field, as a path: `issuers[0].jwks.keys[2].n`.
    pub field: String,
    /// What is wrong with it.
    pub problem: PolicyProblem,
}

impl PolicyError {
    pub(crate) fn new(field: impl Into<String>, problem: PolicyProblem) -> Self {
        Self {
            field: field.into(),
            problem,
        }
    }
}

/// What can be wrong with a field of a policy; each says what it should have been.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyProblem {
    /// The same entry stands earlier in the list.
    #[error("is there already")]
    Again,
    /// A limit under which who has failed often enough once could never try again.
    #[error("must be at least 1 where there is a `burst`")]
    AttemptsNeverReturn,
    /// More clock skew than clocks can be apart: such a token would hardly ever expire.
    #[error("must be at most {MAX_CLOCK_SKEW_SECONDS} seconds")]
    ClockSkew,
    /// A browser shows its certificate whichever page asks, if its user has let it once.
    #[error("needs `origins`: a browser shows its certificate whichever web page asks")]
    CertificateWithoutOrigins,
    /// A browser sends cookies whichever page asks.
    #[error("needs `origins`: a browser sends its cookies whichever web page asks")]
    CookieWithoutOrigins,
    /// A cookie's name is not one.
    #[error("must be 1 to 64 of the characters of a token (RFC 9110 §5.6.2)")]
    CookieName,
    /// The same value stands earlier in the list.
    #[error("`{0}` is there already")]
    Duplicate(String),
    /// Nothing where something has to be.
    #[error("must not be empty")]
    Empty,
    /// A hash is not one.
    #[error("must be the SHA-256 of the key: 64 hexadecimal digits")]
    Hash,
    /// A header's name is not one, or is taken.
    #[error(
        "must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads"
    )]
    Header,
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// A label's name has characters that it may not have.
    #[error("`{0}` is not 1 to 63 of a-z, 0-9, `-`, `.` and `_`")]
    LabelName(String),
    /// A name that could not be a subject's or a tenant's.
    #[error("must be at most 256 bytes without control characters")]
    Name,
    /// Nothing in the policy says who anybody is.
    #[error("must not be empty unless there are `api_keys` or `client_certificates`")]
    NobodyCanCome,
    /// The key set is not one.
    #[error("must be a JWK Set: an object with an array `keys` (RFC 7517 §5)")]
    NotAKeySet,
    /// The default is not a pool of the family.
    #[error("`{name}` is not the name of a pool of the family `{family}`")]
    NotAPool {
        /// The name that was given.
        name: String,
        /// The family whose default it was to be.
        family: Family,
    },
    /// An origin is not one.
    #[error(
        "`{0}` is not an origin: `https://app.example.com` or `https://*.example.com`, lower case, without a path and without the scheme's own port"
    )]
    Origin(String),
    /// A pool's name would not do as a path segment.
    #[error("`{0}` is not 1 to 63 of a-z, 0-9 and -")]
    PoolName(String),
    /// A label that no client could ask for.
    #[error("needs a `query_parameter`, a `header` or both")]
    NoPlace,
    /// A priority that no session can have.
    #[error("must be from 0 to 9")]
    Priority,
    /// A query parameter's name would need encoding, or is taken.
    #[error(
        "must be 1 to 64 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`, and not `{RESUME_KEY_PARAMETER}`"
    )]
    QueryParameter,
    /// The issuer of those who have none.
    #[error("`{0}` is what those have for an issuer who come without a token")]
    ReservedIssuer(String),
    /// A subprotocol that could not be offered.
    #[error("must be 1 to 64 of the characters of a token (RFC 9110 §5.6.2)")]
    Subprotocol,
    /// More than a request should have to be compared with.
    #[error("must have at most {MAX_API_KEYS} entries")]
    TooManyApiKeys,
    /// More than a request should have to be searched for.
    #[error("must have at most {MAX_LABELS} entries")]
    TooManyLabels,
    /// More than a log line should have to hold.
    #[error("must have at most {MAX_TAGS} entries")]
    TooManyTags,
    /// A pool that there is not.
    #[error("`{0}` is not the name of a pool")]
    UnknownPool(String),
}
