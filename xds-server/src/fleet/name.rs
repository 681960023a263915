use std::{fmt, str::FromStr, sync::Arc};

/// A pool's name: 1 to 63 of `a-z`, `0-9` and `-`, and not `rtsp`.
///
/// It is the first segment of a web client's path, so it must need no percent-encoding there and
/// must not be mistaken for the native clients' `/rtsp`; the web clients' `sign_in` cannot be one
/// because of its underscore. 63 bytes is a DNS label (RFC 1035, section 2.3.4).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(Arc<str>);

/// An instance's name: 1 to 63 of `a-z`, `A-Z`, `0-9`, `.`, `_` and `-`, and neither `.` nor `..`.
///
/// It is a segment of the admin API's paths and a metric label: nothing in it needs escaping.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InstanceName(Arc<str>);

/// Why a name is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing there.
    #[error("a name must not be empty")]
    Empty,
    /// More than 63 bytes.
    #[error("a name has at most {MAX_LEN} characters")]
    TooLong,
    /// A character that this kind of name must not have.
    #[error("`{found}` must not be in it: {allowed} may")]
    Character {
        /// The first such character.
        found: char,
        /// The characters that may be in it.
        allowed: &'static str,
    },
    /// Means something else where the name is used.
    #[error("this name is taken: in a path it means something else")]
    Reserved,
}

impl PoolName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl InstanceName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        check(text, allowed, "a-z, 0-9 and -", &["rtsp"])?;
        Ok(Self(text.into()))
    }
}

impl FromStr for InstanceName {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, NameError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        check(text, allowed, "a-z, A-Z, 0-9, ., _ and -", &[".", ".."])?;
        Ok(Self(text.into()))
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for InstanceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
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
