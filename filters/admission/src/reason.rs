use std::fmt;

/// Why a request was not let through, by whichever part of the proxy refused it.
///
/// The one place where a refusal gets its label (metric label, `x-berth-reason` header, JSON) and its status.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Reason {
    /// Something in the request, other than its token, cannot be read.
    BadRequest,
    /// The token's signature is not its issuer's.
    BadSignature,
    /// The client had gone before it was answered.
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
    /// The token does not permit this pool.
    PoolForbidden,
    /// The client did not finish its request in time.
    RequestTimeout,
    /// The policy gives a user one session, and there is one.
    SessionExists,
    /// A newer request of the same user took this one's place.
    Superseded,
    /// The token's `exp` has passed.
    TokenExpired,
    /// The token's `nbf` has not come.
    TokenNotYetValid,
    /// Over a rate or a cap.
    TooMany,
    /// The issuer has no key that the token could have been signed with.
    UnknownKey,
    /// The token's algorithm, or a `crit` extension of it, is not one that is checked here.
    UnsupportedAlgorithm,
    /// The token is for another audience.
    WrongAudience,
    /// The token's issuer is not one of the policy's.
    WrongIssuer,
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
        Self::PoolForbidden,
        Self::NotFound,
        Self::NoSuchPool,
        Self::MethodNotAllowed,
        Self::RequestTimeout,
        Self::SessionExists,
        Self::Superseded,
        Self::TooMany,
        Self::HeadersTooLarge,
        Self::Internal,
        Self::NoInstance,
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
        self.row().label
    }

    /// The HTTP status of the answer.
    pub const fn status(self) -> u16 {
        self.row().status
    }

    /// One sentence for the person who reads the answer.
    pub const fn message(self) -> &'static str {
        self.row().message
    }

    /// Whether an answer with this reason may carry `Retry-After`: waiting helps.
    pub const fn allows_retry_after(self) -> bool {
        matches!(self.status(), 429 | 503)
    }

    /// The `WWW-Authenticate` challenge that a 401 has to carry (RFC 9110 §11.6.1), with the error code of RFC 6750 §3.1
    /// except where the request had no credential at all.
    pub const fn www_authenticate(self) -> Option<&'static str> {
        match self {
            Self::NoToken => Some(r#"Bearer realm="berth""#),
            _ if self.status() == 401 => Some(r#"Bearer realm="berth", error="invalid_token""#),
            _ => None,
        }
    }

    const fn row(self) -> Row {
        match self {
            Self::BadRequest => Row::new(
                "bad_request",
                400,
                "The resume key is not one that can be used.",
            ),
            Self::NoToken => Row::new("no_token", 401, "The request carries no token."),
            Self::MalformedToken => Row::new("malformed_token", 401, "The token cannot be read."),
            Self::UnsupportedAlgorithm => Row::new(
                "unsupported_algorithm",
                401,
                "The token is signed in a way that is not accepted here.",
            ),
            Self::WrongIssuer => Row::new(
                "wrong_issuer",
                401,
                "The token's issuer is not trusted here.",
            ),
            Self::UnknownKey => Row::new(
                "unknown_key",
                401,
                "The token is signed with a key its issuer is not known to have.",
            ),
            Self::BadSignature => Row::new("bad_signature", 401, "The token's signature is wrong."),
            Self::TokenExpired => Row::new("token_expired", 401, "The token has expired."),
            Self::TokenNotYetValid => {
                Row::new("token_not_yet_valid", 401, "The token is not valid yet.")
            }
            Self::WrongAudience => Row::new(
                "wrong_audience",
                401,
                "The token is meant for another service.",
            ),
            Self::PoolForbidden => Row::new(
                "pool_forbidden",
                403,
                "The token does not permit this pool.",
            ),
            Self::NotFound => Row::new("not_found", 404, "No signaling is served at this path."),
            Self::NoSuchPool => Row::new(
                "no_such_pool",
                404,
                "There is no such pool for this kind of client.",
            ),
            Self::MethodNotAllowed => {
                Row::new("method_not_allowed", 405, "Signaling is opened with GET.")
            }
            Self::RequestTimeout => Row::new(
                "request_timeout",
                408,
                "The request was not finished in time.",
            ),
            Self::SessionExists => {
                Row::new("session_exists", 409, "This user already has a session.")
            }
            Self::Superseded => Row::new(
                "superseded",
                409,
                "A newer request of the same user took this one's place.",
            ),
            Self::TooMany => Row::new("too_many", 429, "There are too many requests."),
            Self::HeadersTooLarge => Row::new(
                "headers_too_large",
                431,
                "The request's headers are too large.",
            ),
            Self::Internal => Row::new("internal", 500, "The proxy failed to handle the request."),
            Self::NoInstance => Row::new("no_instance", 503, "No instance is free."),
            Self::ControlPlaneAway => Row::new(
                "control_plane_away",
                503,
                "Sessions cannot be placed at the moment.",
            ),
            Self::InstanceLost => Row::new(
                "instance_lost",
                503,
                "The instance was lost while the session was set up.",
            ),
            Self::InstanceUnreachable => Row::new(
                "instance_unreachable",
                503,
                "The instance could not be reached.",
            ),
            Self::Cancelled => Row::new("cancelled", 503, "The client had gone."),
            Self::InstanceTimeout => Row::new(
                "instance_timeout",
                504,
                "The instance did not answer in time.",
            ),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

struct Row {
    label: &'static str,
    status: u16,
    message: &'static str,
}

impl Row {
    const fn new(label: &'static str, status: u16, message: &'static str) -> Self {
        Self {
            label,
            status,
            message,
        }
    }
}
