//! Tokens of the test issuer, and every way in which one can be wrong.

use std::sync::Arc;

use berth_admission_cases::Token;

use crate::{SigningKeys, clock};

/// A token that `issuer` gives for `audience` now, in the name of `development`.
#[must_use]
pub fn token(keys: &SigningKeys, issuer: &str, audience: &str) -> Token {
    let keys = Arc::clone(keys.of_cases());
    Token::new(keys, issuer, audience, clock::unix_seconds())
}

#[cfg(test)]
mod tests {
    use berth_admission_cases::Algorithm;
    use jsonwebtoken::jwk::JwkSet;
    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};
    use serde_json::{Value, json};

    use super::*;

    const ISSUER: &str = "https://login.example.com";

    fn token() -> Token {
        super::token(&SigningKeys::of_tests().unwrap(), ISSUER, "berth")
    }

    /// What a verifier that knows the published keys says.
    fn verify(token: &Token) -> Result<Value, jsonwebtoken::errors::ErrorKind> {
        let keys = SigningKeys::of_tests().unwrap();
        let mut jwks = keys.jwks();
        let undecided = Algorithm::UNDECIDED.map(|algorithm| keys.jwk(algorithm));
        jwks["keys"].as_array_mut().unwrap().extend(undecided);
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
