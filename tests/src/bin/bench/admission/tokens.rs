//! What is presented to every side.

use std::sync::Arc;

use berth_tests::{AUDIENCE, Algorithm, ISSUER, SigningKeys, Token, token};
use serde_json::json;

use crate::BenchError;

/// How much a token says.
#[derive(Clone, Copy)]
pub(super) enum Claims {
    /// Who, for whom, until when, and the pools: what Berth needs.
    Few,
    /// What an identity provider puts into an access token besides.
    Many,
}

impl Claims {
    pub(super) const ALL: [Self; 2] = [Self::Few, Self::Many];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Few => "few claims",
            Self::Many => "many claims",
        }
    }
}

/// A valid token of a user, for a pool that is not the one asked for.
pub(super) fn valid(keys: &SigningKeys, algorithm: Algorithm, claims: Claims, user: u32) -> Token {
    let few = token(keys, ISSUER, AUDIENCE)
        .algorithm(algorithm)
        .expires_in(LIFETIME_SECONDS)
        .subject(&format!("user-{user}"))
        .pools(["other"]);
    match claims {
        Claims::Few => few,
        Claims::Many => few
            .claim("acr", "1")
            .claim("allowed-origins", json!(["https://xr.example.com"]))
            .claim("auth_time", 1_790_000_000)
            .claim("azp", "xr-portal")
            .claim("email", format!("user-{user}@example.com"))
            .claim("email_verified", true)
            .claim("family_name", "Example")
            .claim("given_name", "Robin")
            .claim("jti", format!("5f4d1c9a-9a53-4f5c-8b9c-{user:012x}"))
            .claim("name", "Robin Example")
            .claim("preferred_username", format!("user-{user}"))
            .claim(
                "realm_access",
                json!({ "roles": ["offline_access", "default-roles-xr", "uma_authorization"] }),
            )
            .claim(
                "resource_access",
                json!({ "account": { "roles": ["manage-account", "view-profile"] } }),
            )
            .claim("scope", "openid email profile")
            .claim("sid", format!("3c0f3f5e-7b0a-4b1e-9a58-{user:012x}"))
            .claim("typ", "Bearer"),
    }
}

/// Requests of as many users.
pub(super) fn requests(
    keys: &SigningKeys,
    algorithm: Algorithm,
    claims: Claims,
) -> Result<Arc<[Vec<u8>]>, BenchError> {
    let request = |user| Ok(request(&valid(keys, algorithm, claims, user).sign()?));
    (0..USERS).map(request).collect()
}

/// For a verdict upon this token.
pub(super) fn request(token: &str) -> Vec<u8> {
    format!(
        "GET /web/sign_in HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {token}\r\n\
         user-agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36\r\naccept: */*\r\n\r\n"
    )
    .into_bytes()
}

/// Fewer than either cache holds.
const USERS: u32 = 64;
/// Longer than any run.
const LIFETIME_SECONDS: i64 = 12 * 3600;
