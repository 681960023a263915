//! What a verified token says.

use crate::json::{Json, Object, WrongType, texts};
use crate::matcher::Matcher;
use crate::policy::Issuer;
use crate::{Reason, UnixSeconds};

/// The claims of a token whose signature is its issuer's.
#[derive(Debug)]
pub(crate) struct Claims(pub(crate) Object);

/// When a token is over.
#[derive(Clone, Copy)]
pub(crate) struct Expiry {
    /// Its `exp`.
    pub(crate) exp: UnixSeconds,
    /// The issuer's clock skew later: when it is no longer accepted.
    pub(crate) accepted_until: UnixSeconds,
}

impl Claims {
    /// Checks the token's time (RFC 7519 §4.1.4 to §4.1.6). Says when its time ends.
    pub(crate) fn time(&self, issuer: &Issuer, now: UnixSeconds) -> Result<Expiry, Reason> {
        let (UnixSeconds(now), skew) = (now, issuer.clock_skew_seconds);
        let exp = self.numeric_date("exp")?.ok_or(Reason::MalformedToken)?;
        let accepted_until = exp.saturating_add(skew);
        if now >= accepted_until {
            return Err(Reason::TokenExpired);
        }
        let is_future = |date: u64| now.saturating_add(skew) < date;
        if self.numeric_date("nbf")?.is_some_and(is_future) {
            return Err(Reason::TokenNotYetValid);
        }
        if let Some(max_lifetime) = issuer.max_lifetime_seconds {
            let issued_at = self.numeric_date("iat")?.ok_or(Reason::LifetimeTooLong)?;
            if is_future(issued_at) {
                return Err(Reason::TokenNotYetValid);
            }
            if exp.saturating_sub(issued_at) > max_lifetime {
                return Err(Reason::LifetimeTooLong);
            }
        }
        Ok(Expiry {
            exp: UnixSeconds(exp),
            accepted_until: UnixSeconds(accepted_until),
        })
    }

    /// Checks that the token is for one of `ours` (RFC 7519 §4.1.3); no `ours`, no check.
    pub(crate) fn audience(&self, ours: &[String]) -> Result<(), Reason> {
        if ours.is_empty() {
            return Ok(());
        }
        let audiences = self.0.texts("aud")?.unwrap_or_default();
        let is_ours = |audience: &&str| ours.iter().any(|ours| ours == audience);
        if audiences.iter().any(is_ours) {
            Ok(())
        } else {
            Err(Reason::WrongAudience)
        }
    }

    /// `sub`, which has to be there.
    pub(crate) fn subject(&self) -> Result<&str, Reason> {
        let subject = name(self.0.text("sub")?)?;
        subject
            .filter(|subject| !subject.is_empty())
            .ok_or(Reason::MalformedToken)
    }

    /// `jti`; empty if there is none.
    pub(crate) fn token_id(&self) -> Result<&str, Reason> {
        Ok(name(self.0.text("jti")?)?.unwrap_or_default())
    }

    /// A claim that names somebody or something: it goes into logs and metrics, so it is short and
    /// has no control characters.
    pub(crate) fn name(&self, claim: &str) -> Result<Option<&str>, Reason> {
        match self.get(claim) {
            None => Ok(None),
            Some(Json::Text(text)) => name(Some(text)),
            Some(_) => Err(Reason::MalformedToken),
        }
    }

    /// A claim that lists names: one as text, or any number as an array of texts.
    pub(crate) fn list(&self, claim: &str) -> Result<Option<Vec<&str>>, Reason> {
        Ok(self.get(claim).map(texts).transpose()?)
    }

    /// Whether a claim, or an element of it if it is an array, is as it has to be. What has no
    /// form as [text](Self::text) never is.
    pub(crate) fn matches(&self, claim: &str, matcher: &Matcher) -> bool {
        let is = |value: &Json| plain(value).is_some_and(|text| matcher.matches(&text));
        match self.get(claim) {
            Some(Json::Array(values)) => values.iter().any(is),
            Some(value) => is(value),
            None => false,
        }
    }

    /// A claim as text for logs and headers, if it has a form for that: a string, a truth value, a number that is whole
    /// (`7`, also if it was written `7.0`); of an array, its elements with commas between.
    pub(crate) fn text(&self, claim: &str) -> Option<String> {
        match self.get(claim)? {
            Json::Array(values) => {
                let mut text = String::new();
                for (index, value) in values.iter().enumerate() {
                    if index > 0 {
                        text.push(',');
                    }
                    text.push_str(&plain(value)?);
                }
                Some(text)
            }
            value => plain(value),
        }
    }

    /// A claim that says how urgent something is: a whole number up to [`MAX_PRIORITY`]. Not
    /// clamped: an issuer that says more means something that is not understood here.
    pub(crate) fn priority(&self, claim: &str) -> Result<Option<u8>, Reason> {
        let Some(value) = self.get(claim) else {
            return Ok(None);
        };
        match value {
            Json::Unsigned(priority) => u8::try_from(*priority)
                .ok()
                .filter(|priority| *priority <= MAX_PRIORITY)
                .ok_or(Reason::MalformedToken)
                .map(Some),
            _ => Err(Reason::MalformedToken),
        }
    }

    /// The claim of this name, or else at this path: see [`PolicyConfig`](crate::PolicyConfig).
    fn get(&self, claim: &str) -> Option<&Json> {
        if let Some(value) = self.0.get(claim) {
            return Some(value);
        }
        let mut members = claim.split('.');
        let first = self.0.get(members.next()?)?;
        members.try_fold(first, |value, member| value.get(member))
    }

    /// A NumericDate (RFC 7519 §2), rounded up to the next whole second, which for whole seconds of
    /// `now` changes neither whether it has passed nor whether it has come. Clamped to `u64`.
    fn numeric_date(&self, claim: &str) -> Result<Option<u64>, Reason> {
        match self.0.get(claim) {
            None => Ok(None),
            Some(Json::Unsigned(seconds)) => Ok(Some(*seconds)),
            Some(Json::Negative(_)) => Ok(Some(0)),
            // `as` from a float saturates, and makes 0 of what is negative.
            Some(Json::Float(seconds)) => Ok(Some(seconds.ceil() as u64)),
            Some(_) => Err(Reason::MalformedToken),
        }
    }
}

impl From<WrongType> for Reason {
    fn from(WrongType: WrongType) -> Self {
        Self::MalformedToken
    }
}

fn name(name: Option<&str>) -> Result<Option<&str>, Reason> {
    match name {
        Some(name) if !is_name(name) => Err(Reason::MalformedToken),
        name => Ok(name),
    }
}

/// Whether a text may name a user, a tenant or a token.
pub(crate) fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && !name.contains(char::is_control)
}

fn plain(value: &Json) -> Option<String> {
    match value {
        Json::Text(text) => Some(text.clone()),
        Json::Unsigned(number) => Some(number.to_string()),
        Json::Negative(number) => Some(number.to_string()),
        // To write others would take 20 kB of the module, and two issuers would not write them alike.
        Json::Float(number) if number.fract() == 0.0 && number.abs() <= MAX_WHOLE_FLOAT => {
            Some((*number as i64).to_string())
        }
        Json::Bool(true) => Some("true".to_owned()),
        Json::Bool(false) => Some("false".to_owned()),
        Json::Float(_) | Json::Null | Json::Array(_) | Json::Object(_) => None,
    }
}

/// Of a subject, a tenant or a token's id.
const MAX_NAME_BYTES: usize = 256;
/// Up to here a float that is a whole number is that number, and none of its neighbours (2^53).
const MAX_WHOLE_FLOAT: f64 = 9_007_199_254_740_992.0;
/// Of a priority.
pub(crate) const MAX_PRIORITY: u8 = 9;
