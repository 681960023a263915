use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use serde_json::{Map, Value};
use sha2::{Sha256, Sha384, Sha512};

use crate::{Algorithm, KeyError, Keys};

/// A JWT in the making: valid for ten minutes and signed with RS256 until told otherwise.
#[derive(Clone)]
pub struct Token {
    keys: Arc<Keys>,
    now: i64,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    header_text: Option<Vec<u8>>,
    claims_text: Option<Vec<u8>>,
    signature: Signature,
}

#[derive(Clone)]
enum Signature {
    Of(Algorithm),
    Altered(Algorithm),
    Unpublished,
    Hmac(Hash, Vec<u8>),
    These(Vec<u8>),
}

#[derive(Clone, Copy)]
enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Token {
    /// A token that `issuer` gives for `audience` at `now`, in Unix seconds, in the name of `development`.
    #[must_use]
    pub fn new(keys: Arc<Keys>, issuer: &str, audience: &str, now: i64) -> Self {
        let token = Self {
            keys,
            now,
            header: Map::new(),
            claims: Map::new(),
            header_text: None,
            claims_text: None,
            signature: Signature::These(Vec::new()),
        };
        token
            .header("typ", "JWT")
            .algorithm(Algorithm::Rs256)
            .claim("iss", issuer)
            .claim("aud", audience)
            .claim("sub", "development")
            .claim("iat", now)
            .claim("exp", now + LIFETIME_SECONDS)
    }

    /// Signs with this algorithm, and names the issuer's key for it.
    #[must_use]
    pub fn algorithm(mut self, algorithm: Algorithm) -> Self {
        self.signature = Signature::Of(algorithm);
        self.header("alg", algorithm.name())
            .header("kid", algorithm.key_id())
    }

    /// In the name of `subject`.
    #[must_use]
    pub fn subject(self, subject: &str) -> Self {
        self.claim("sub", subject)
    }

    /// For these pools, in the claim `pools`.
    #[must_use]
    pub fn pools<'a>(self, pools: impl IntoIterator<Item = &'a str>) -> Self {
        self.claim("pools", pools.into_iter().collect::<Vec<_>>())
    }

    /// Sets a claim.
    #[must_use]
    pub fn claim(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.claims.insert(name.to_owned(), value.into());
        self
    }

    /// The claims, unless other bytes are in their place.
    #[must_use]
    pub const fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Leaves a claim out.
    #[must_use]
    pub fn without_claim(mut self, name: &str) -> Self {
        self.claims.remove(name);
        self
    }

    /// Sets a member of the JOSE header.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.header.insert(name.to_owned(), value.into());
        self
    }

    /// Leaves a member of the JOSE header out.
    #[must_use]
    pub fn without_header(mut self, name: &str) -> Self {
        self.header.remove(name);
        self
    }

    /// With these bytes in place of the JOSE header, whatever they are.
    #[must_use]
    pub fn header_text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.header_text = Some(text.into());
        self
    }

    /// With these bytes in place of the claims, whatever they are. The signature is good.
    #[must_use]
    pub fn claims_text(mut self, text: impl Into<Vec<u8>>) -> Self {
        self.claims_text = Some(text.into());
        self
    }

    /// With one more member in the JOSE header, written as these bytes.
    #[must_use]
    pub fn header_member(self, member: impl AsRef<[u8]>) -> Self {
        let text = with_member(&self.header, member.as_ref());
        self.header_text(text)
    }

    /// With one more claim, written as these bytes. The signature is good.
    #[must_use]
    pub fn claims_member(self, member: impl AsRef<[u8]>) -> Self {
        let text = with_member(&self.claims, member.as_ref());
        self.claims_text(text)
    }

    /// Ends `seconds` from now; negative ones have passed. Verifiers allow for clocks that differ by a minute.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        let end = self.now + seconds;
        self.claim("exp", end)
    }

    /// Ended an hour ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.expires_in(-3600)
    }

    /// Begins in an hour, and would last one.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        let begin = self.now + 3600;
        self.expires_in(2 * 3600).claim("nbf", begin)
    }

    /// With a signature that was right before one of its bits changed.
    #[must_use]
    pub fn altered(mut self) -> Self {
        if let Signature::Of(algorithm) = self.signature {
            self.signature = Signature::Altered(algorithm);
        }
        self
    }

    /// Signed with a key of nobody's, under the name of the issuer's ES256 key.
    #[must_use]
    pub fn signed_by_a_stranger(self) -> Self {
        let mut token = self.algorithm(Algorithm::Es256);
        token.signature = Signature::Unpublished;
        token
    }

    /// Authenticated with HS256, the issuer's public key set being the secret: the classic confusion.
    #[must_use]
    pub fn symmetric(self) -> Self {
        let secret = self.keys.jwks().to_string();
        self.authenticated("HS256", secret.as_bytes())
    }

    /// Authenticated with this secret; what is none of the three algorithms, as if it were HS256.
    #[must_use]
    pub fn authenticated(mut self, algorithm: &str, secret: &[u8]) -> Self {
        let hash = match algorithm {
            "HS384" => Hash::Sha384,
            "HS512" => Hash::Sha512,
            _ => Hash::Sha256,
        };
        self.signature = Signature::Hmac(hash, secret.to_vec());
        self.header("alg", algorithm)
    }

    /// With `alg: none` and no signature.
    #[must_use]
    pub fn unsigned(self) -> Self {
        self.with_signature([]).header("alg", "none")
    }

    /// With these bytes for a signature.
    #[must_use]
    pub fn with_signature(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.signature = Signature::These(bytes.into());
        self
    }

    /// The signature that it has, in bytes.
    ///
    /// # Errors
    /// When signing fails.
    pub fn signature(&self) -> Result<Vec<u8>, KeyError> {
        let message = self.message();
        let message = message.as_bytes();
        match &self.signature {
            Signature::Of(algorithm) => self.keys.sign(*algorithm, message),
            Signature::Altered(algorithm) => {
                let mut bytes = self.keys.sign(*algorithm, message)?;
                if let Some(first) = bytes.first_mut() {
                    *first ^= 1;
                }
                Ok(bytes)
            }
            Signature::Unpublished => Keys::sign_as_a_stranger(message),
            Signature::Hmac(hash, secret) => Ok(match hash {
                Hash::Sha256 => authenticate::<Hmac<Sha256>>(secret, message),
                Hash::Sha384 => authenticate::<Hmac<Sha384>>(secret, message),
                Hash::Sha512 => authenticate::<Hmac<Sha512>>(secret, message),
            }),
            Signature::These(bytes) => Ok(bytes.clone()),
        }
    }

    /// The compact serialisation (RFC 7515 §3.1).
    ///
    /// # Errors
    /// When signing fails.
    pub fn sign(&self) -> Result<String, KeyError> {
        let signature = URL_SAFE_NO_PAD.encode(self.signature()?);
        Ok(format!("{}.{signature}", self.message()))
    }

    /// What is signed: header and claims, encoded.
    pub(crate) fn message(&self) -> String {
        let part = |members: &Map<String, Value>, text: &Option<Vec<u8>>| match text {
            Some(text) => URL_SAFE_NO_PAD.encode(text),
            None => URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string()),
        };
        let header = part(&self.header, &self.header_text);
        let claims = part(&self.claims, &self.claims_text);
        format!("{header}.{claims}")
    }
}

/// An object's text with one more member.
fn with_member(members: &Map<String, Value>, member: &[u8]) -> Vec<u8> {
    let mut text = Value::Object(members.clone()).to_string().into_bytes();
    text.pop();
    text.push(b',');
    text.extend(member);
    text.push(b'}');
    text
}

fn authenticate<H: Mac + hmac::digest::KeyInit>(secret: &[u8], message: &[u8]) -> Vec<u8> {
    // A key of any length will do for HMAC.
    let Ok(hmac) = <H as hmac::digest::KeyInit>::new_from_slice(secret) else {
        return Vec::new();
    };
    hmac.chain_update(message).finalize().into_bytes().to_vec()
}

const LIFETIME_SECONDS: i64 = 600;
