//! Names that a policy may use.

use crate::carrier::{AUTHORIZATION, COOKIE};
use crate::credential::{RESUME_KEY_HEADER, RESUME_KEY_PARAMETER};
use crate::subprotocol::is_token_byte;

use super::{PolicyError, PolicyProblem};

/// Whether a parameter of this name can be found by comparing, and is not the resume key's.
pub(crate) fn is_query_parameter(name: &str) -> bool {
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (1..=64).contains(&name.len()) && name.bytes().all(unreserved) && name != RESUME_KEY_PARAMETER
}

/// A header that a client may send, or an instance get, for a purpose of its own.
pub(crate) fn is_header(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=63).contains(&name.len())
        && name.bytes().all(fits)
        && !TAKEN.contains(&name)
        && !TAKEN_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Whether a cookie, or a subprotocol's beginning, may be called so.
pub(super) fn is_token(name: &str) -> bool {
    (1..=64).contains(&name.len()) && name.bytes().all(|byte| is_token_byte(&byte))
}

/// A claim has a name.
pub(super) fn check_claim(claim: &str, field: impl FnOnce() -> String) -> Result<(), PolicyError> {
    if claim.is_empty() {
        return Err(PolicyError::new(field(), PolicyProblem::Empty));
    }
    Ok(())
}

/// Credentials, what makes a request an upgrade, and what says how long it is and of which hop (RFC 9110 §7.6.1).
const TAKEN: [&str; 15] = [
    AUTHORIZATION,
    RESUME_KEY_HEADER,
    "connection",
    "content-length",
    COOKIE,
    "expect",
    "host",
    "keep-alive",
    "origin",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
];
/// Envoy's own (`x-envoy-`) say where a request goes and how long that may take.
const TAKEN_FAMILIES: [&str; 4] = ["access-control-", "sec-", "x-berth-", "x-envoy-"];
