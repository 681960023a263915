//! What pools, instances and what they have may be called.

use std::sync::Arc;

use crate::placement::{InstanceName, PoolName, Zone};
use crate::xds::ProfileName;

/// Why a name is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// More than 63 bytes.
    #[error("it has more than {MAX_LEN} characters")]
    TooLong,
    /// A character that this kind of name must not have.
    #[error("only {allowed} may be in it, not `{found}`")]
    Character {
        /// The first such character.
        found: char,
        /// The characters that may be in it.
        allowed: &'static str,
    },
    /// Means something else where the name is used.
    #[error("in a path this means something else")]
    Reserved,
}

/// A pool's name: 1 to 63 of `a-z`, `0-9` and `-`, and not `rtsp`.
///
/// It is the first segment of a web client's path, so it must need no percent-encoding there and
/// must not be mistaken for the native clients' `/rtsp`; the web clients' `sign_in` cannot be one
/// because of its underscore. 63 bytes is a DNS label (RFC 1035, section 2.3.4).
pub(super) fn pool_name(text: &str) -> Result<PoolName, NameError> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    check(text, allowed, "a-z, 0-9 and -", &["rtsp"])?;
    Ok(text.into())
}

/// An instance's name: 1 to 63 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, and neither `.` nor `..`.
///
/// It is a segment of the admin API's paths and a metric label: nothing in it needs escaping.
pub(super) fn instance_name(text: &str) -> Result<InstanceName, NameError> {
    check(text, is_plain, "a-z, A-Z, 0-9, ., _ and -", &[".", ".."])?;
    Ok(text.into())
}

/// A zone's name: 1 to 63 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
pub(crate) fn zone(text: &str) -> Result<Zone, NameError> {
    check(text, is_plain, "a-z, A-Z, 0-9, ., _ and -", &[])?;
    Ok(text.into())
}

/// A profile's name: 1 to 63 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
pub(super) fn profile_name(text: &str) -> Result<ProfileName, NameError> {
    check(text, is_plain, "a-z, A-Z, 0-9, ., _ and -", &[])?;
    Ok(text.into())
}

/// A label's name, as admission takes it: 1 to 63 of `a-z`, `0-9`, `.`, `_` and `-`.
pub(super) fn label_name(text: &str) -> Result<Arc<str>, NameError> {
    let allowed = |c: char| is_plain(c) && !c.is_ascii_uppercase();
    check(text, allowed, "a-z, 0-9, ., _ and -", &[])?;
    Ok(text.into())
}

/// A label's value, as admission takes it: 1 to 63 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`.
pub(super) fn label_value(text: &str) -> Result<Arc<str>, NameError> {
    check(text, is_plain, "a-z, A-Z, 0-9, ., _ and -", &[])?;
    Ok(text.into())
}

fn is_plain(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-')
}

fn check(
    text: &str,
    is_allowed: impl Fn(char) -> bool,
    allowed: &'static str,
    reserved: &[&str],
) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if let Some(found) = text.chars().find(|c| !is_allowed(*c)) {
        return Err(NameError::Character { found, allowed });
    }
    if text.len() > MAX_LEN {
        return Err(NameError::TooLong);
    }
    if reserved.contains(&text) {
        return Err(NameError::Reserved);
    }
    Ok(())
}

const MAX_LEN: usize = 63;
