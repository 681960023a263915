use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What admission decides by, as it is written down: the `admission` member of the filter's
/// configuration.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Who may sign tokens; at least one.
    pub issuers: Vec<IssuerConfig>,
    /// The query parameter that may carry the token.
    #[serde(default = "default_query_parameter")]
    pub query_parameter: String,
    /// What can be asked for; at least one.
    pub pools: Vec<PoolConfig>,
    /// The pools of clients that name none.
    #[serde(default)]
    pub default_pools: DefaultPools,
    /// The claim that lists the pools a token permits: a string, or an array of strings. Without
    /// it, a token permits every pool.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pools_claim: Option<String>,
    /// The claim that names the user's tenant (a string).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant_claim: Option<String>,
    /// The claim that says how urgent the user's sessions are: a whole number from 0, which it is
    /// without the claim, to 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority_claim: Option<String>,
    /// What a client may ask for in an instance; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<LabelConfig>,
}

impl PolicyConfig {
    /// The same, as it may be given to proxies: without the keys that are nothing but secret (`oct`, RFC 7518 §6.4).
    #[must_use]
    pub fn for_filters(&self) -> Self {
        let mut public = self.clone();
        for issuer in &mut public.issuers {
            if let Some(keys) = issuer.jwks.get_mut("keys").and_then(Value::as_array_mut) {
                keys.retain(|key| key.get("kty").and_then(Value::as_str) != Some("oct"));
            }
        }
        public
    }
}

/// One label that a client may ask for, and where it does.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct LabelConfig {
    /// The label's name, as instances have it: 1 to 63 of `a-z`, `0-9`, `-`, `.` and `_`.
    pub label: String,
    /// The query parameter that holds the value asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub query_parameter: Option<String>,
    /// The header that does, in lower case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub header: Option<String>,
}

/// One party whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens, compared byte for byte.
    pub issuer: String,
    /// The `aud` values that are for us. Empty: `aud` is not looked at.
    #[serde(default)]
    pub audiences: Vec<String>,
    /// Its JWK Set (RFC 7517 §5).
    pub jwks: Value,
    /// How far its clock and ours may be apart, in seconds; at most an hour.
    #[serde(default = "default_clock_skew_seconds")]
    pub clock_skew_seconds: u64,
}

/// One pool that can be asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Its name, 1 to 63 of `a-z`, `0-9` and `-`: a path segment that needs no encoding.
    pub name: String,
    /// The family of clients its instances serve.
    pub family: Family,
}

/// For each family the pool of clients that name none.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultPools {
    /// For native clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub native: Option<String>,
    /// For web clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub web: Option<String>,
}

/// The two families of CloudXR clients. A runtime serves one of them.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// CloudXR Framework and Apple's Foveated Streaming: RTSP over a WebSocket at `/rtsp`.
    Native,
    /// CloudXR.js: a WebSocket at `…/sign_in`.
    Web,
}

impl Family {
    /// `native` or `web`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Web => "web",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(name: &str) -> Result<Self, UnknownFamily> {
        match name {
            "native" => Ok(Self::Native),
            "web" => Ok(Self::Web),
            _ => Err(UnknownFamily),
        }
    }
}

/// A word that is neither `native` nor `web`.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a client family is `native` or `web`")]
pub struct UnknownFamily;

fn default_query_parameter() -> String {
    "token".to_owned()
}

const fn default_clock_skew_seconds() -> u64 {
    60
}
