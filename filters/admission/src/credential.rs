use std::borrow::Cow;

use crate::Reason;

/// What several places say that have to say the same. An empty value says nothing.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Agreed<'a> {
    Nothing,
    One(Cow<'a, [u8]>),
    Disagreed,
}

impl<'a> Agreed<'a> {
    pub(crate) fn add(&mut self, value: Cow<'a, [u8]>) {
        if value.is_empty() {
            return;
        }
        match self {
            Self::Nothing => *self = Self::One(value),
            Self::One(earlier) if *earlier == value => {}
            Self::One(_) | Self::Disagreed => *self = Self::Disagreed,
        }
    }
}

/// The resume key: at most 128 visible ASCII characters; empty if there is none.
pub(crate) fn resume_key(said: Agreed<'_>) -> Result<String, Reason> {
    match said {
        Agreed::Nothing => Ok(String::new()),
        Agreed::One(key)
            if key.len() <= MAX_RESUME_KEY_BYTES && key.iter().all(u8::is_ascii_graphic) =>
        {
            String::from_utf8(key.into_owned()).map_err(|_| Reason::BadRequest)
        }
        Agreed::One(_) | Agreed::Disagreed => Err(Reason::BadRequest),
    }
}

const MAX_RESUME_KEY_BYTES: usize = 128;
/// The header that may carry the resume key.
pub(crate) const RESUME_KEY_HEADER: &str = "berth-resume-key";
/// The query parameter that may.
pub(crate) const RESUME_KEY_PARAMETER: &str = "berth_resume_key";
