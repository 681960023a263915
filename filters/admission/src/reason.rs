use std::fmt;

/// Why a request was not let through, by whichever part of the proxy refused it.
///
/// The one place where a refusal gets its label (of metrics, JSON and the header `x-berth-reason`)
/// and its status.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// The resume key or a label is too long, has other characters than it may have, or comes in two
    /// versions.
    BadRequest,
    /// The token's signature is not its issuer's.
    BadSignature,
    /// The client had gone before it was answered, or the operator ended its request.
    Cancelled,
    /// No control plane answered in time.
    ControlPlaneAway,
    /// The request's headers are over the proxy's limit.
    HeadersTooLarge,
    /// The instance was lost while the session was being set up.
    InstanceLost,
    /// The instance did not answer the handshake in time.
    InstanceTimeout,
    /// The proxy could not connect to the instance.
    InstanceUnreachable,
    /// The proxy could not do its own part.
    Internal,
    /// The token is good for longer than its issuer may say.
    LifetimeTooLong,
    /// The token cannot be read, or says something a token must not say.
    MalformedToken,
    /// Signaling is opened with GET.
    MethodNotAllowed,
    /// No instance became free in time.
    NoInstance,
    /// The path, or the family's default, names no pool of this family.
    NoSuchPool,
    /// The request carries no token.
    NoToken,
    /// No signaling is served at this path.
    NotFound,
    /// The web page that asks may not.
    OriginForbidden,
    /// The token does not permit this pool.
    PoolForbidden,
    /// So many requests wait for an instance that this one may not.
    QueueFull,
    /// The client did not finish its request in time.
    RequestTimeout,
    /// The operator revoked the user, the token or the session.
    Revoked,
    /// The policy gives a user one session, and there is one.
    SessionExists,
    /// A newer request of the same user took this one's place.
    Superseded,
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token's `nbf` has not come.
    TokenNotYetValid,
    /// Over a rate or a cap of the proxy's.
    TooMany,
    /// The client's address has presented too many credentials that were not accepted.
    TooManyAttempts,
    /// The user or the tenant has as many sessions as they may.
    TooManySessions,
    /// The API key is not one of the policy's.
    UnknownApiKey,
    /// The issuer has no key that the token could have been signed with.
    UnknownKey,
    /// The token's algorithm, or a `crit` extension of it, is not one that is checked here.
    UnsupportedAlgorithm,
    /// The token is good, but its user or what it says of them is not let in.
    UserForbidden,
    /// The token is for another audience.
    WrongAudience,
    /// The token's issuer is not one of the policy's.
    WrongIssuer,
    /// The token is of another kind: its `typ` is not one that is accepted.
    WrongType,
}

impl Reason {
    /// Every reason, in the order of their statuses.
    pub const ALL: &[Self] = &[
        Self::BadRequest,
        Self::NoToken,
        Self::MalformedToken,
        Self::UnsupportedAlgorithm,
        Self::WrongIssuer,
        Self::UnknownKey,
        Self::BadSignature,
        Self::TokenExpired,
        Self::TokenNotYetValid,
        Self::WrongAudience,
        Self::UnknownApiKey,
        Self::WrongType,
        Self::LifetimeTooLong,
        Self::Revoked,
        Self::PoolForbidden,
        Self::UserForbidden,
        Self::OriginForbidden,
        Self::NotFound,
        Self::NoSuchPool,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::SessionExists,
        Self::Superseded,
        Self::TooMany,
        Self::TooManyAttempts,
        Self::TooManySessions,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::NoInstance,
        Self::QueueFull,
        Self::ControlPlaneAway,
        Self::InstanceLost,
        Self::InstanceUnreachable,
        Self::Cancelled,
        Self::InstanceTimeout,
    ];

    /// The reason with this label, if there is one.
    pub fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .copied()
            .find(|reason| reason.label() == label)
    }

    /// The name of this reason in metrics, headers and JSON: lower case and `_`.
    pub const fn label(self) -> &'static str {
        match self {
            Self::BadRequest => "bad_request",
            Self::NoToken => "no_token",
            Self::MalformedToken => "malformed_token",
            Self::UnsupportedAlgorithm => "unsupported_algorithm",
            Self::WrongIssuer => "wrong_issuer",
            Self::UnknownKey => "unknown_key",
            Self::BadSignature => "bad_signature",
            Self::TokenExpired => "token_expired",
            Self::TokenNotYetValid => "token_not_yet_valid",
            Self::WrongAudience => "wrong_audience",
            Self::UnknownApiKey => "unknown_api_key",
            Self::WrongType => "wrong_type",
            Self::LifetimeTooLong => "lifetime_too_long",
            Self::Revoked => "revoked",
            Self::PoolForbidden => "pool_forbidden",
            Self::UserForbidden => "user_forbidden",
            Self::OriginForbidden => "origin_forbidden",
            Self::NotFound => "not_found",
            Self::NoSuchPool => "no_such_pool",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::RequestTimeout => "request_timeout",
            Self::SessionExists => "session_exists",
            Self::Superseded => "superseded",
            Self::TooMany => "too_many",
            Self::TooManyAttempts => "too_many_attempts",
            Self::TooManySessions => "too_many_sessions",
            Self::HeadersTooLarge => "headers_too_large",
            Self::Internal => "internal",
            Self::NoInstance => "no_instance",
            Self::QueueFull => "queue_full",
            Self::ControlPlaneAway => "control_plane_away",
            Self::InstanceLost => "instance_lost",
            Self::InstanceUnreachable => "instance_unreachable",
            Self::Cancelled => "cancelled",
            Self::InstanceTimeout => "instance_timeout",
        }
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        match self {
            Self::BadRequest => 400,
            Self::NoToken
            | Self::MalformedToken
            | Self::UnsupportedAlgorithm
            | Self::WrongIssuer
            | Self::UnknownKey
            | Self::BadSignature
            | Self::TokenExpired
            | Self::TokenNotYetValid
            | Self::WrongAudience
            | Self::WrongType
            | Self::LifetimeTooLong
            | Self::UnknownApiKey
            | Self::Revoked => 401,
            Self::PoolForbidden | Self::OriginForbidden | Self::UserForbidden => 403,
            Self::NotFound | Self::NoSuchPool => 404,
            Self::MethodNotAllowed => 405,
            Self::RequestTimeout => 408,
            Self::SessionExists | Self::Superseded => 409,
            Self::TooMany | Self::TooManyAttempts | Self::TooManySessions => 429,
            Self::HeadersTooLarge => 431,
            Self::Internal => 500,
            Self::NoInstance
            | Self::QueueFull
            | Self::ControlPlaneAway
            | Self::InstanceLost
            | Self::InstanceUnreachable
            | Self::Cancelled => 503,
            Self::InstanceTimeout => 504,
        }
    }

    /// One sentence for the person who reads the answer.
    pub const fn message(self) -> &'static str {
        match self {
            Self::BadRequest => "The resume key, or a label that is asked for, cannot be used.",
            Self::NoToken => "The request carries no token.",
            Self::MalformedToken => "The token cannot be read.",
            Self::UnsupportedAlgorithm => "The token is signed in a way that is not accepted here.",
            Self::WrongIssuer => "The token's issuer is not trusted here.",
            Self::UnknownKey => "The token's issuer is not known to have the key it names.",
            Self::BadSignature => "The token's signature is wrong.",
            Self::TokenExpired => "The token has expired.",
            Self::TokenNotYetValid => "The token is not valid yet.",
            Self::WrongAudience => "The token is meant for another service.",
            Self::UnknownApiKey => "The API key is not known here.",
            Self::WrongType => "The token is of a kind that is not accepted here.",
            Self::LifetimeTooLong => "The token is good for longer than is accepted here.",
            Self::Revoked => "The credential, or its user, was revoked.",
            Self::PoolForbidden => "The token does not permit this pool.",
            Self::UserForbidden => "This user is not let in here.",
            Self::OriginForbidden => "The web page that asks may not open sessions here.",
            Self::NotFound => "No signaling is served at this path.",
            Self::NoSuchPool => "The request names no pool that serves this kind of client.",
            Self::MethodNotAllowed => "Signaling is opened with GET.",
            Self::RequestTimeout => "The request was not finished in time.",
            Self::SessionExists => "This user already has a session.",
            Self::Superseded => "A newer request of the same user took this one's place.",
            Self::TooMany => "There are too many requests.",
            Self::TooManyAttempts => "Too many credentials from this address were not accepted.",
            Self::TooManySessions => "This user or tenant has as many sessions as it may.",
            Self::HeadersTooLarge => "The request's headers are too large.",
            Self::Internal => "The proxy failed to handle the request.",
            Self::NoInstance => "No instance is free.",
            Self::QueueFull => "Too many requests wait for an instance.",
            Self::ControlPlaneAway => "Sessions cannot be placed at the moment.",
            Self::InstanceLost => "The instance was lost while the session was set up.",
            Self::InstanceUnreachable => "The instance could not be reached.",
            Self::Cancelled => "The request was called off before an instance was free.",
            Self::InstanceTimeout => "The instance did not answer in time.",
        }
    }

    /// Whether an answer with this reason may carry `Retry-After`: waiting helps.
    pub const fn allows_retry_after(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// The `WWW-Authenticate` challenge that a 401 has to carry (RFC 9110 §11.6.1), with the error
    /// code of RFC 6750 §3.1 except where the request had no credential at all.
    pub const fn www_authenticate(self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some(r#"Bearer realm="berth""#),
            _ if self.status() == 401 => Some(r#"Bearer realm="berth", error="invalid_token""#),
            _ => None,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}
