use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use crate::json::{Object, WrongType};
use crate::jwk::Key;
use crate::policy::Issuer;
use crate::signature::{Algorithm, VerifyError, VerifySignature};
use crate::{Reason, UnixSeconds};

/// A token that can be read, and of which nothing may be believed yet.
pub(crate) struct Token<'a> {
    algorithm: Algorithm,
    key_id: Option<String>,
    claims: Object,
    signed: &'a [u8],
    signature: Vec<u8>,
}

impl<'a> Token<'a> {
    /// Reads a compact JWS (RFC 7515 §7.1) whose payload is a claim set.
    pub(crate) fn parse(token: &'a [u8]) -> Result<Self, Reason> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(Reason::MalformedToken);
        }
        let mut parts = token.split(|byte| *byte == b'.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(Reason::MalformedToken);
        };
        let (algorithm, key_id) = read_header(&decode_object(header)?)?;
        let claims = decode_object(payload)?;
        let signature = decode(signature)?;
        let signed = token
            .get(..header.len() + 1 + payload.len())
            .ok_or(Reason::MalformedToken)?;
        Ok(Self {
            algorithm,
            key_id,
            claims,
            signed,
            signature,
        })
    }

    /// Who the token says signed it: what tells which keys to check it with, and no more.
    pub(crate) fn claimed_issuer(&self) -> Result<&str, Reason> {
        self.claims.text("iss")?.ok_or(Reason::WrongIssuer)
    }

    /// Checks the signature with the issuer's keys; only then the claims can be read.
    pub(crate) fn verify(
        self,
        issuer: &Issuer,
        verifier: &impl VerifySignature,
    ) -> Result<Claims, Reason> {
        let mut outcome = Err(Reason::UnknownKey);
        for key in issuer
            .keys
            .iter()
            .filter(|key| self.may_be_signed_with(key))
            .take(MAX_KEYS_TRIED)
        {
            match verifier.verify(self.algorithm, &key.material, self.signed, &self.signature) {
                Ok(true) => return Ok(Claims(self.claims)),
                Ok(false) | Err(VerifyError::KeyRefused) => outcome = Err(Reason::BadSignature),
                // No fault of the token's: to call it bad would send its user for a new one.
                Err(VerifyError::NotHere) => return Err(Reason::UnsupportedAlgorithm),
                Err(VerifyError::Unavailable) => return Err(Reason::Internal),
            }
        }
        outcome
    }

    /// A token that names a key means that key; one that names none may mean any.
    fn may_be_signed_with(&self, key: &Key) -> bool {
        key.may_check(self.algorithm) && (self.key_id.is_none() || self.key_id == key.id)
    }
}

/// The claims of a token whose signature is its issuer's.
pub(crate) struct Claims(Object);

impl Claims {
    /// Checks the token's time and audience (RFC 7519 §4.1.3 to §4.1.5). Says when its time ends.
    pub(crate) fn check(&self, issuer: &Issuer, now: UnixSeconds) -> Result<UnixSeconds, Reason> {
        let (UnixSeconds(now), skew) = (now, issuer.clock_skew_seconds);
        let expires_at = self
            .numeric_date("exp")?
            .ok_or(Reason::MalformedToken)?
            .saturating_add(skew);
        if now >= expires_at {
            return Err(Reason::TokenExpired);
        }
        if self
            .numeric_date("nbf")?
            .is_some_and(|not_before| now.saturating_add(skew) < not_before)
        {
            return Err(Reason::TokenNotYetValid);
        }
        if !issuer.audiences.is_empty() {
            let audiences = self.0.texts("aud")?.unwrap_or_default();
            if !audiences
                .iter()
                .any(|audience| issuer.audiences.iter().any(|ours| ours == audience))
            {
                return Err(Reason::WrongAudience);
            }
        }
        Ok(UnixSeconds(expires_at))
    }

    /// `sub`, which has to be there.
    pub(crate) fn subject(&self) -> Result<&str, Reason> {
        self.name("sub")?
            .filter(|subject| !subject.is_empty())
            .ok_or(Reason::MalformedToken)
    }

    /// A claim that names somebody or something: it goes into logs and metrics, so it is short and
    /// has no control characters.
    pub(crate) fn name(&self, claim: &str) -> Result<Option<&str>, Reason> {
        let name = self.0.text(claim)?;
        if name.is_some_and(|name| name.len() > MAX_NAME_BYTES || name.contains(char::is_control)) {
            return Err(Reason::MalformedToken);
        }
        Ok(name)
    }

    /// A claim that lists names: one as text, or any number as an array of texts.
    pub(crate) fn list(&self, claim: &str) -> Result<Option<Vec<&str>>, Reason> {
        Ok(self.0.texts(claim)?)
    }

    /// A claim that says how urgent something is: a whole number up to [`MAX_PRIORITY`]. Not
    /// clamped: an issuer that says more means something that is not understood here.
    pub(crate) fn priority(&self, claim: &str) -> Result<Option<u8>, Reason> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        value
            .as_u64()
            .and_then(|priority| u8::try_from(priority).ok())
            .filter(|priority| *priority <= MAX_PRIORITY)
            .ok_or(Reason::MalformedToken)
            .map(Some)
    }

    /// A NumericDate (RFC 7519 §2), rounded up to the next whole second, which for whole seconds of
    /// `now` changes neither whether it has passed nor whether it has come. Clamped to `u64`.
    fn numeric_date(&self, claim: &str) -> Result<Option<u64>, Reason> {
        let Some(value) = self.0.get(claim) else {
            return Ok(None);
        };
        let Value::Number(number) = value else {
            return Err(Reason::MalformedToken);
        };
        let seconds = number.as_u64().or_else(|| {
            // `as` from a float saturates, and makes 0 of what is negative.
            number.as_f64().map(|seconds| seconds.ceil() as u64)
        });
        seconds.ok_or(Reason::MalformedToken).map(Some)
    }
}

impl From<WrongType> for Reason {
    fn from(WrongType: WrongType) -> Self {
        Self::MalformedToken
    }
}

/// What of a JOSE header (RFC 7515 §4.1) decides: never a key that it brings along or points to.
fn read_header(header: &Object) -> Result<(Algorithm, Option<String>), Reason> {
    let name = header.text("alg")?.ok_or(Reason::MalformedToken)?;
    let algorithm = Algorithm::from_name(name).ok_or(Reason::UnsupportedAlgorithm)?;
    if header.contains("crit") {
        // It lists extensions that have to be understood (RFC 7515 §4.1.11), and none is.
        return Err(Reason::UnsupportedAlgorithm);
    }
    Ok((algorithm, header.text("kid")?.map(str::to_owned)))
}

fn decode_object(part: &[u8]) -> Result<Object, Reason> {
    Object::parse(&decode(part)?).ok_or(Reason::MalformedToken)
}

/// RFC 7515 §2: no padding, no line breaks; and no stray bits at the end, so that a token has one
/// form.
fn decode(part: &[u8]) -> Result<Vec<u8>, Reason> {
    URL_SAFE_NO_PAD
        .decode(part)
        .map_err(|_| Reason::MalformedToken)
}

/// Real tokens have a few kilobytes; this bounds what reading one can cost.
const MAX_TOKEN_BYTES: usize = 16 * 1024;
/// How many keys are tried for a token that names none.
const MAX_KEYS_TRIED: usize = 4;
/// Of a subject or a tenant.
const MAX_NAME_BYTES: usize = 256;
/// Of a priority claim.
const MAX_PRIORITY: u8 = 9;
