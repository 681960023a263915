mod read;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::json::Json;
use crate::jwk::is_secret;
use crate::matcher::Matcher;

/// What admission decides by, as it is written down: the `admission` member of the filter's
/// configuration.
///
/// A *claim* is named by its member of the claim set, or by a path of members with dots between them:
/// `realm_access.roles`. A member whose own name has dots in it (`https://example.com/roles`) is looked
/// for first.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    /// Who may sign tokens.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub issuers: Vec<IssuerConfig>,
    /// Keys that stand for a user by themselves.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub api_keys: Vec<ApiKeyConfig>,
    /// Which of the client certificates that the proxy has verified stand for a user; for a request without any other
    /// credential. Only with [`origins`](Self::origins): a browser shows its certificate whichever page asks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub client_certificates: Vec<ClientCertificateConfig>,
    /// Where a credential may be, in the order in which they are looked at. Empty: [`CarrierConfig::usual`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub carriers: Vec<CarrierConfig>,
    /// What can be asked for; at least one.
    pub pools: Vec<PoolConfig>,
    /// What chooses the pool, the first that says anything; without any, the path. A request for which none does gets
    /// the only pool of its family that its credential permits, or else the family's default.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pool_from: Vec<PoolSource>,
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
    /// The web pages that may open sessions: `https://app.example.com`, or `https://*.example.com` for any name below.
    /// Absent: any page may. A request without `Origin` comes from no page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub origins: Option<Vec<String>>,
    /// What others get to know of a session.
    #[serde(default, skip_serializing_if = "TagsConfig::is_default")]
    pub tags: TagsConfig,
    /// How often a client address may fail.
    #[serde(default, skip_serializing_if = "AttemptsConfig::is_default")]
    pub attempts: AttemptsConfig,
    /// How many tokens are remembered as verified.
    #[serde(default, skip_serializing_if = "TokenCacheConfig::is_default")]
    pub token_cache: TokenCacheConfig,
}

impl PolicyConfig {
    /// A policy of one issuer and one pool, to check the issuer with.
    pub fn of_issuer(issuer: IssuerConfig) -> Self {
        Self {
            issuers: vec![issuer],
            pools: vec![PoolConfig::open("any".to_owned(), Family::Web)],
            ..Self::default()
        }
    }

    /// The same, as it may be given to proxies: without the keys that are nothing but secret (`oct`, RFC 7518 §6.4). The
    /// tokens signed with those are [undecided](crate::Decision::Undecided) there.
    #[must_use]
    pub fn for_filters(&self) -> Self {
        let mut public = self.clone();
        for issuer in &mut public.issuers {
            if let Json::Object(set) = &mut issuer.jwks
                && let Some(Json::Array(keys)) = set.get_mut("keys")
            {
                keys.retain(|key| !is_secret(key));
            }
        }
        public
    }
}

/// One party whose tokens are accepted.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct IssuerConfig {
    /// The `iss` of its tokens, compared byte for byte.
    pub issuer: String,
    /// The `aud` values that are for us. Empty: `aud` is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Its JWK Set (RFC 7517 §5). One without keys is for an issuer whose keys are only known elsewhere, or not yet.
    pub jwks: Json,
    /// How far its clock and ours may be apart, in seconds; at most an hour.
    #[serde(default = "default_clock_skew_seconds")]
    pub clock_skew_seconds: u64,
    /// The `typ` values its tokens may have (RFC 7515 §4.1.9), whatever their case, `application/` left out. Empty: `typ`
    /// is not looked at.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub types: Vec<String>,
    /// The users it may speak for. Empty: any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subjects: Vec<Matcher>,
    /// What its tokens have to say.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub required_claims: Vec<ClaimConfig>,
    /// From `iat`, which has to be there then, to `exp`, in seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_lifetime_seconds: Option<u64>,
    /// Whether a session ends when its token does, rather than only be admitted by it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub close_when_expired: bool,
}

impl IssuerConfig {
    /// An issuer with these keys, of which nothing more is asked.
    pub fn new(issuer: String, jwks: impl Into<Json>) -> Self {
        Self {
            issuer,
            audiences: Vec::new(),
            jwks: jwks.into(),
            clock_skew_seconds: default_clock_skew_seconds(),
            types: Vec::new(),
            subjects: Vec::new(),
            required_claims: Vec::new(),
            max_lifetime_seconds: None,
            close_when_expired: false,
        }
    }
}

/// A key that stands for a user by itself. It comes by the same carriers as tokens, and is told apart by not having a
/// token's form.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyConfig {
    /// The subject of its sessions: 1 to 256 bytes, no control characters.
    pub subject: String,
    /// The SHA-256 of the key, in 64 hexadecimal digits. A key has to be random, 128 bits of it at least: a password's
    /// hash could be reversed by whoever reads the policy.
    pub sha256: String,
    /// The user's tenant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The pools that it permits. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
    /// How urgent its sessions are, from 0 to 9.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
}

/// Client certificates that stand for users.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClientCertificateConfig {
    /// Which of the certificate's names is the subject.
    pub name: CertificateName,
    /// What that name has to be.
    pub matches: Matcher,
    /// The users' tenant.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub tenant: String,
    /// The pools that they permit. Empty: all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pools: Vec<String>,
}

/// A name in a certificate.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CertificateName {
    /// The first subject alternative name that is a DNS name.
    DnsSan,
    /// The subject, as RFC 2253 writes it.
    Subject,
    /// The first subject alternative name that is a URI, such as a SPIFFE ID.
    UriSan,
}

/// A place in a request that may carry a credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CarrierConfig {
    /// `Authorization: Bearer <credential>` (RFC 6750 §2.1).
    Authorization,
    /// A header of its own.
    Header(HeaderCarrierConfig),
    /// A query parameter.
    Query(String),
    /// A cookie. Only with [`origins`](PolicyConfig::origins): a browser sends cookies whichever page asks.
    Cookie(String),
    /// An entry of `Sec-WebSocket-Protocol` that begins like this; what follows is the credential.
    Subprotocol(String),
    /// An entry of `Sec-WebSocket-Protocol` that begins like this; what follows its last dot is the credential in
    /// base64url, as Kubernetes' API server takes it.
    SubprotocolBase64url(String),
}

impl CarrierConfig {
    /// The carriers of a policy that names none: `Authorization`, the query parameter `token`, and the three forms in
    /// which a `Sec-WebSocket-Protocol` is known to carry one.
    pub fn usual() -> Vec<Self> {
        vec![
            Self::Authorization,
            Self::Query("token".to_owned()),
            Self::Subprotocol("authorization.bearer.".to_owned()),
            Self::Subprotocol("authorization.".to_owned()),
            Self::SubprotocolBase64url("base64url.bearer.authorization.".to_owned()),
        ]
    }
}

/// A header that carries a credential.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderCarrierConfig {
    /// Its name, in lower case.
    pub name: String,
    /// What stands before the credential. A value that begins otherwise carries none.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prefix: String,
}

/// What may choose the pool.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum PoolSource {
    /// The path's first segment: `/<pool>/sign_in`.
    Path,
    /// A header.
    Header(String),
    /// A claim (a string).
    Claim(String),
}

/// One pool that can be asked for.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PoolConfig {
    /// Its name, 1 to 63 of `a-z`, `0-9` and `-`: a path segment that needs no encoding.
    pub name: String,
    /// The family of clients its instances serve.
    pub family: Family,
    /// The `aud` values that are for this pool, beside what the issuer asks for. Empty: as for the issuer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub audiences: Vec<String>,
    /// Who may use it: whoever one of these fits. Empty: everybody admitted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allow: Vec<AllowConfig>,
}

impl PoolConfig {
    /// A pool that everybody may use.
    pub const fn open(name: String, family: Family) -> Self {
        Self {
            name,
            family,
            audiences: Vec::new(),
            allow: Vec::new(),
        }
    }
}

/// Fits those for whom everything in it is true.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowConfig {
    /// The issuer of their tokens; `api_key` and `client_certificate` for those who come with these.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub issuer: Option<String>,
    /// Their name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<Matcher>,
    /// Their tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tenant: Option<Matcher>,
    /// What their token says.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<ClaimConfig>,
}

/// What a claim, or one element of it if it is an array, has to be.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimConfig {
    /// Which.
    pub claim: String,
    /// As text: a whole number in digits, a truth value as `true` or `false`. Other numbers fit nothing.
    pub matches: Matcher,
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

/// What others get to know of a session, beside its id, its user, tenant and pool.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TagsConfig {
    /// The claims that go into the access log, as `claim.<claim>`; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub claims: Vec<String>,
    /// The headers that the instance gets; at most 16. A client's own of these names never reach it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub headers: Vec<TagHeaderConfig>,
}

impl TagsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A header that the instance gets.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TagHeaderConfig {
    /// Its name, in lower case.
    pub name: String,
    /// What it says.
    pub value: Tag,
}

/// Something to know of a session.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tag {
    /// Its id.
    Session,
    /// Who says who its user is.
    Issuer,
    /// Its user.
    Subject,
    /// Its user's tenant.
    Tenant,
    /// Its pool.
    Pool,
    /// A claim of its token.
    Claim(String),
}

/// How often a client address may present a credential that is not accepted, before any signature is computed. Of IPv6,
/// a /64 is one address (RFC 4291 §2.5.4).
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AttemptsConfig {
    /// At once; 0: however often.
    pub burst: u32,
    /// And then each minute.
    pub per_minute: u32,
}

impl AttemptsConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for AttemptsConfig {
    fn default() -> Self {
        Self {
            burst: 30,
            per_minute: 30,
        }
    }
}

/// What is remembered of tokens whose signature was right.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenCacheConfig {
    /// How many, in each worker; 0: none. A token of more than 4 KiB is not remembered.
    pub entries: u32,
    /// For how long at most.
    pub seconds: u32,
}

impl TokenCacheConfig {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

impl Default for TokenCacheConfig {
    fn default() -> Self {
        Self {
            entries: 512,
            seconds: 300,
        }
    }
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

const fn default_clock_skew_seconds() -> u64 {
    60
}

// Serde hands references to these.
const fn is_false(value: &bool) -> bool {
    !*value
}

const fn is_zero(value: &u8) -> bool {
    *value == 0
}
