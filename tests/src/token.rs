//! Tokens of the test issuer, and every way in which one can be wrong.

use std::sync::Arc;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use jsonwebtoken::EncodingKey;
use serde_json::{Map, Value};

use crate::keys::{Algorithm, SigningKeys, unpublished_key};
use crate::{Error, clock};

/// A JWT in the making: valid for ten minutes and signed with RS256 until told otherwise.
#[derive(Clone)]
pub struct Token {
    keys: Arc<SigningKeys>,
    header: Map<String, Value>,
    claims: Map<String, Value>,
    header_text: Option<Vec<u8>>,
    claims_text: Option<Vec<u8>>,
    signature: Signature,
}

#[derive(Clone, Copy)]
enum Signature {
    Of(Algorithm),
    Altered(Algorithm),
    Unpublished,
    Symmetric,
    Absent,
}

impl Token {
    /// A token that `issuer` gives for `audience`, in the name of `development`.
    #[must_use]
    pub fn new(keys: Arc<SigningKeys>, issuer: &str, audience: &str) -> Self {
        let now = clock::unix_seconds();
        let token = Self {
            keys,
            header: Map::new(),
            claims: Map::new(),
            header_text: None,
            claims_text: None,
            signature: Signature::Absent,
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

    /// The claims as they would be signed.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// Ends `seconds` from now; negative ones have passed. Verifiers allow for clocks that differ by a minute.
    #[must_use]
    pub fn expires_in(self, seconds: i64) -> Self {
        self.claim("exp", clock::unix_seconds() + seconds)
    }

    /// Ended an hour ago.
    #[must_use]
    pub fn expired(self) -> Self {
        self.expires_in(-3600)
    }

    /// Begins in an hour, and would last one.
    #[must_use]
    pub fn not_yet_valid(self) -> Self {
        self.expires_in(2 * 3600)
            .claim("nbf", clock::unix_seconds() + 3600)
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
    pub fn symmetric(mut self) -> Self {
        self.signature = Signature::Symmetric;
        self.header("alg", "HS256")
    }

    /// With `alg: none` and no signature.
    #[must_use]
    pub fn unsigned(mut self) -> Self {
        self.signature = Signature::Absent;
        self.header("alg", "none")
    }

    /// The compact serialisation (RFC 7515 §3.1).
    ///
    /// # Errors
    /// [`Error::Crypto`] when signing fails.
    pub fn sign(&self) -> Result<String, Error> {
        let part = |members: &Map<String, Value>, text: &Option<Vec<u8>>| match text {
            Some(text) => BASE64_URL_SAFE_NO_PAD.encode(text),
            None => BASE64_URL_SAFE_NO_PAD.encode(Value::Object(members.clone()).to_string()),
        };
        let header = part(&self.header, &self.header_text);
        let claims = part(&self.claims, &self.claims_text);
        let message = format!("{header}.{claims}");
        let signature = match self.signature {
            Signature::Of(algorithm) => {
                sign(&message, self.keys.key(algorithm), algorithm.of_jose())?
            }
            Signature::Altered(algorithm) => altered(&sign(
                &message,
                self.keys.key(algorithm),
                algorithm.of_jose(),
            )?),
            Signature::Unpublished => sign(
                &message,
                &unpublished_key()?,
                jsonwebtoken::Algorithm::ES256,
            )?,
            Signature::Symmetric => {
                let secret = self.keys.jwks()?.to_string();
                let secret = EncodingKey::from_secret(secret.as_bytes());
                sign(&message, &secret, jsonwebtoken::Algorithm::HS256)?
            }
            Signature::Absent => String::new(),
        };
        Ok(format!("{message}.{signature}"))
    }
}

fn sign(
    message: &str,
    key: &EncodingKey,
    algorithm: jsonwebtoken::Algorithm,
) -> Result<String, Error> {
    jsonwebtoken::crypto::sign(message.as_bytes(), key, algorithm)
        .map_err(Error::crypto("a signature"))
}

/// The same signature with its first character exchanged, which alone changes bits that count.
fn altered(signature: &str) -> String {
    let mut characters = signature.chars();
    let first = if characters.next() == Some('A') {
        'B'
    } else {
        'A'
    };
    std::iter::once(first).chain(characters).collect()
}

const LIFETIME_SECONDS: i64 = 600;

#[cfg(test)]
mod tests {
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
    use serde_json::json;

    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn token() -> Token {
        let keys = SigningKeys::of_tests().unwrap();
        Token::new(Arc::new(keys), ISSUER, "berth")
    }

    /// What a verifier that knows the published keys says.
    fn verify(token: &Token) -> Result<Value, jsonwebtoken::errors::ErrorKind> {
        let mut jwks = token.keys.jwks().unwrap();
        for algorithm in Algorithm::UNDECIDED {
            let key = token.keys.jwk(algorithm).unwrap();
            jwks["keys"].as_array_mut().unwrap().push(key);
        }
        let jwks: JwkSet = serde_json::from_value(jwks).unwrap();
        let jwt = token.sign().unwrap();
        let kind = |error: jsonwebtoken::errors::Error| error.into_kind();
        let header = decode_header(&jwt).map_err(kind)?;
        let key = jwks.find(&header.kid.unwrap()).unwrap();
        let mut validation = Validation::new(header.alg);
        validation.set_issuer(&[ISSUER]);
        validation.set_audience(&["berth"]);
        validation.validate_nbf = true;
        decode::<Value>(jwt, &DecodingKey::from_jwk(key).unwrap(), &validation)
            .map(|data| data.claims)
            .map_err(kind)
    }

    #[test]
    fn is_what_a_verifier_accepts() {
        let checked = [Algorithm::Rs256, Algorithm::Es256];
        for algorithm in checked.into_iter().chain(Algorithm::UNDECIDED) {
            let token = token().algorithm(algorithm).subject("alice").pools(["web"]);
            let claims = verify(&token).unwrap();
            assert_eq!(claims.get("sub"), Some(&json!("alice")), "{algorithm:?}");
            assert_eq!(claims.get("pools"), Some(&json!(["web"])), "{algorithm:?}");
        }
    }

    #[test]
    fn is_wrong_where_told_and_nowhere_else() {
        use jsonwebtoken::errors::ErrorKind::{
            ExpiredSignature, ImmatureSignature, InvalidAudience, InvalidIssuer, InvalidSignature,
        };
        let cases = [
            (token().expired(), ExpiredSignature),
            (token().not_yet_valid(), ImmatureSignature),
            (token().claim("iss", "https://else.example"), InvalidIssuer),
            (token().claim("aud", "else"), InvalidAudience),
            (token().altered(), InvalidSignature),
            (token().signed_by_a_stranger(), InvalidSignature),
        ];
        for (token, expected) in cases {
            assert_eq!(verify(&token), Err(expected));
        }
    }

    #[test]
    fn an_unsigned_token_has_an_empty_third_part() {
        let jwt = token().unsigned().sign().unwrap();
        assert_eq!(
            jwt.split('.').map(str::is_empty).collect::<Vec<_>>(),
            [false, false, true]
        );
    }
}
