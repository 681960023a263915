use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Reason;
use crate::claims::Claims;
use crate::json::Object;
use crate::jwk::Key;
use crate::policy::Issuer;
use crate::signature::{Algorithm, VerifyError, VerifySignature};

/// A token that can be read, and of which nothing may be believed yet.
pub(crate) struct Token<'a> {
    pub(crate) algorithm: Algorithm,
    /// `kid`.
    pub(crate) key_id: Option<String>,
    /// `typ`.
    pub(crate) typ: Option<String>,
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
        let Header {
            algorithm,
            key_id,
            typ,
        } = Header::read(&decode_object(header)?)?;
        let claims = decode_object(payload)?;
        let signature = decode(signature)?;
        let signed = token
            .get(..header.len() + 1 + payload.len())
            .ok_or(Reason::MalformedToken)?;
        Ok(Self {
            algorithm,
            key_id,
            typ,
            claims,
            signed,
            signature,
        })
    }

    /// Who the token says signed it: what tells which keys to check it with, and no more.
    pub(crate) fn claimed_issuer(&self) -> Result<&str, Reason> {
        self.claims.text("iss")?.ok_or(Reason::WrongIssuer)
    }

    /// Checks `typ` (RFC 7515 §4.1.9), which tells a token of one kind from one of another of the same issuer's
    /// (RFC 8725 §3.11).
    pub(crate) fn check_type(&self, issuer: &Issuer) -> Result<(), Reason> {
        if issuer.types.is_empty() {
            return Ok(());
        }
        let typ = self.typ.as_deref().map(short_type);
        let is_typ =
            |ours: &String| typ.is_some_and(|typ| typ.eq_ignore_ascii_case(short_type(ours)));
        if issuer.types.iter().any(is_typ) {
            Ok(())
        } else {
            Err(Reason::WrongType)
        }
    }

    /// Checks the signature with the issuer's keys; only then the claims can be read.
    pub(crate) fn verify(
        self,
        issuer: &Issuer,
        verifier: &impl VerifySignature,
    ) -> Result<Claims, Unverified> {
        let mut outcome = Unverified::Undecided(Reason::UnknownKey);
        for key in issuer
            .keys
            .iter()
            .filter(|key| self.may_be_signed_with(key))
            .take(MAX_KEYS_TRIED)
        {
            match verifier.verify(self.algorithm, &key.material, self.signed, &self.signature) {
                Ok(true) => return Ok(Claims(self.claims)),
                // One that names no key may be signed with one that is not known here.
                Ok(false) | Err(VerifyError::KeyRefused) if self.key_id.is_none() => {
                    outcome = Unverified::Undecided(Reason::BadSignature);
                }
                Ok(false) | Err(VerifyError::KeyRefused) => {
                    outcome = Unverified::Refused(Reason::BadSignature);
                }
                // No fault of the token's: to call it bad would send its user for a new one.
                // Whoever can compute it has to be asked.
                Err(VerifyError::NotHere) => {
                    return Err(Unverified::Undecided(Reason::UnsupportedAlgorithm));
                }
                Err(VerifyError::Unavailable) => {
                    return Err(Unverified::Refused(Reason::Internal));
                }
            }
        }
        Err(outcome)
    }

    /// A token that names a key means that key; one that names none may mean any.
    fn may_be_signed_with(&self, key: &Key) -> bool {
        key.may_check(self.algorithm) && (self.key_id.is_none() || self.key_id == key.id)
    }
}

/// Why a token is not verified.
pub(crate) enum Unverified {
    /// It is not to be believed.
    Refused(Reason),
    /// It may be signed with a key that is not known here, or in a way that is not computed here.
    Undecided(Reason),
}

/// What of a JOSE header (RFC 7515 §4.1) decides: never a key that it brings along or points to.
struct Header {
    algorithm: Algorithm,
    key_id: Option<String>,
    pub(crate) typ: Option<String>,
}

impl Header {
    fn read(header: &Object) -> Result<Self, Reason> {
        let name = header.text("alg")?.ok_or(Reason::MalformedToken)?;
        let algorithm = Algorithm::from_name(name).ok_or(Reason::UnsupportedAlgorithm)?;
        if header.get("crit").is_some() {
            // It lists extensions that have to be understood (RFC 7515 §4.1.11), and none is.
            return Err(Reason::UnsupportedAlgorithm);
        }
        Ok(Self {
            algorithm,
            key_id: header.text("kid")?.map(str::to_owned),
            typ: header.text("typ")?.map(str::to_owned),
        })
    }
}

/// A media type with its `application/` left out, as RFC 7515 §4.1.9 recommends.
fn short_type(typ: &str) -> &str {
    match typ.split_at_checked(PREFIX.len()) {
        Some((start, rest)) if start.eq_ignore_ascii_case(PREFIX) => rest,
        _ => typ,
    }
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
const PREFIX: &str = "application/";
