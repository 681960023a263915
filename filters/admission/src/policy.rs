//! What admission decides by, checked.

mod error;
mod issuer;
mod names;
mod parts;

use crate::Reason;
use crate::carrier::{AUTHORIZATION, COOKIE, SUBPROTOCOL};
use crate::config::{
    AttemptsConfig, CarrierConfig, DefaultPools, Family, PolicyConfig, PoolSource, TokenCacheConfig,
};
use crate::cors::{ORIGIN, Origins, REQUEST_METHOD, REQUEST_PRIVATE_NETWORK};
use crate::credential::RESUME_KEY_HEADER;
use crate::label::{Label, compile_labels};
use crate::tags::Tags;
use crate::user::{ApiKey, ClientCertificate};

pub use error::{PolicyError, PolicyProblem};
pub(crate) use issuer::Issuer;
pub(crate) use names::{is_header, is_query_parameter};
pub(crate) use parts::Pool;

use names::check_claim;

/// A policy that is known to make sense.
#[derive(Clone, Debug)]
pub struct Policy {
    issuers: Vec<Issuer>,
    api_keys: Vec<ApiKey>,
    client_certificates: Vec<ClientCertificate>,
    /// Never empty.
    carriers: Vec<CarrierConfig>,
    pools: Vec<Pool>,
    /// Never empty.
    pool_from: Vec<PoolSource>,
    default_pools: DefaultPools,
    pools_claim: Option<String>,
    tenant_claim: Option<String>,
    priority_claim: Option<String>,
    labels: Vec<Label>,
    origins: Origins,
    tags: Tags,
    /// The names of the headers that tags are in.
    tag_headers: Vec<String>,
    attempts: AttemptsConfig,
    token_cache: TokenCacheConfig,
    /// The names of the headers that decide.
    reads: Vec<String>,
    ignored_keys: Vec<PolicyError>,
}

/// The first thing that is wrong. It is kept and not returned at once: to drop, at each place that can return, what there
/// is by then would be 5 kB of the module.
#[derive(Default)]
struct FirstError(Option<PolicyError>);

impl FirstError {
    /// What was made, or nothing in its place.
    fn of<T: Default>(&mut self, made: Result<T, PolicyError>) -> T {
        match made {
            Ok(made) => made,
            Err(error) => {
                self.0.get_or_insert(error);
                T::default()
            }
        }
    }
}

impl Policy {
    /// Checks a configuration and makes it ready to decide by.
    ///
    /// A key that cannot be used is ignored, as RFC 7517 §5 has it, and listed by
    /// [`ignored_keys`](Self::ignored_keys); an issuer whose keys are all like that is an error.
    ///
    /// # Errors
    /// The first field that makes no sense.
    pub fn compile(config: PolicyConfig) -> Result<Self, PolicyError> {
        let mut first = FirstError::default();
        for (name, claim) in [
            ("pools_claim", &config.pools_claim),
            ("tenant_claim", &config.tenant_claim),
            ("priority_claim", &config.priority_claim),
        ] {
            if let Some(claim) = claim {
                first.of(check_claim(claim, || name.to_owned()));
            }
        }
        let has_origins = config.origins.is_some();
        let carriers = first.of(parts::carriers(config.carriers, has_origins));
        let pools = first.of(parts::pools(config.pools));
        let default_pools = first.of(parts::defaults(config.default_pools, &pools));
        let pool_from = first.of(parts::pool_from(config.pool_from));
        let labels = first.of(compile_labels(config.labels, &carriers));
        let origins = first.of(parts::origins(config.origins));
        let tag_headers = config.tags.headers.iter();
        let tag_headers = tag_headers.map(|header| header.name.clone()).collect();
        let tags = first.of(parts::tags(config.tags));
        first.of(parts::attempts(config.attempts));
        let api_keys = first.of(parts::api_keys(config.api_keys, &pools));
        let client_certificates =
            parts::client_certificates(config.client_certificates, &pools, has_origins);
        let client_certificates = first.of(client_certificates);
        let mut ignored_keys = Vec::new();
        let issuers = first.of(issuer::compile(config.issuers, &mut ignored_keys));
        if issuers.is_empty() && api_keys.is_empty() && client_certificates.is_empty() {
            first.of(Err(PolicyError::new(
                "issuers",
                PolicyProblem::NobodyCanCome,
            )))
        }
        let mut policy = Self {
            issuers,
            api_keys,
            client_certificates,
            carriers,
            pools,
            pool_from,
            default_pools,
            pools_claim: config.pools_claim,
            tenant_claim: config.tenant_claim,
            priority_claim: config.priority_claim,
            labels,
            origins,
            tags,
            tag_headers,
            attempts: config.attempts,
            token_cache: config.token_cache,
            reads: Vec::new(),
            ignored_keys,
        };
        policy.reads = policy.names_of_headers_read();
        match first.0 {
            None => Ok(policy),
            Some(error) => Err(error),
        }
    }

    /// The keys of the issuers' sets that are not used, and why: worth a warning to the operator.
    pub fn ignored_keys(&self) -> &[PolicyError] {
        &self.ignored_keys
    }

    /// Whether a header of this name, in lower case, decides anything.
    pub fn reads(&self, name: &str) -> bool {
        self.reads.iter().any(|read| read == name)
    }

    /// When it is worth asking again after a refusal for this reason, in seconds, as far as the policy says.
    pub fn retry_after_seconds(&self, reason: Reason) -> Option<u32> {
        // An attempt returns each time.
        let returns = || 60_u32.div_ceil(self.attempts.per_minute.max(1));
        (reason == Reason::TooManyAttempts).then(returns)
    }

    /// The headers in which the instance gets the session's id, which whoever mints it sets.
    pub fn session_headers(&self) -> &[String] {
        &self.tags.session_headers
    }

    /// Whether a client certificate says who somebody is, so that it has to be looked at.
    pub fn reads_certificates(&self) -> bool {
        !self.client_certificates.is_empty()
    }

    pub(crate) fn reads_cookies(&self) -> bool {
        let is_cookie = |carrier: &CarrierConfig| matches!(carrier, CarrierConfig::Cookie(_));
        self.carriers.iter().any(is_cookie)
    }

    /// The headers that only Berth may send to an instance.
    pub(crate) fn tag_headers(&self) -> impl Iterator<Item = &str> {
        self.tag_headers.iter().map(String::as_str)
    }

    pub(crate) fn label_headers(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(Label::header)
    }

    /// The headers that a page's script may want to send to have a verdict: those that decide, and that scripts can set.
    pub(crate) fn sent_by_pages(&self) -> Vec<&str> {
        let by_browsers = [COOKIE, ORIGIN, SUBPROTOCOL, "upgrade"];
        let names = self.reads.iter().map(String::as_str);
        names
            .filter(|name| !by_browsers.contains(name) && !name.starts_with("access-control-"))
            .collect()
    }

    fn names_of_headers_read(&self) -> Vec<String> {
        let always = [
            AUTHORIZATION,
            ORIGIN,
            REQUEST_METHOD,
            REQUEST_PRIVATE_NETWORK,
            RESUME_KEY_HEADER,
            SUBPROTOCOL,
            "upgrade",
        ];
        let carriers = self.carriers.iter().filter_map(|carrier| match carrier {
            CarrierConfig::Header(header) => Some(header.name.as_str()),
            CarrierConfig::Cookie(_) => Some(COOKIE),
            _ => None,
        });
        let pools = self.pool_from.iter().filter_map(|source| match source {
            PoolSource::Header(name) => Some(name.as_str()),
            PoolSource::Path | PoolSource::Claim(_) => None,
        });
        let mut names: Vec<String> = Vec::new();
        let all = always.into_iter().chain(carriers).chain(pools);
        for name in all.chain(self.label_headers()) {
            if !names.iter().any(|earlier| earlier == name) {
                names.push(name.to_owned());
            }
        }
        names
    }

    /// The issuer of this name, and its index.
    pub(crate) fn issuer(&self, name: &str) -> Option<(usize, &Issuer)> {
        let mut issuers = self.issuers.iter().enumerate();
        issuers.find(|(_, issuer)| issuer.name == name)
    }

    pub(crate) fn issuers(&self) -> &[Issuer] {
        &self.issuers
    }

    pub(crate) fn api_keys(&self) -> &[ApiKey] {
        &self.api_keys
    }

    pub(crate) fn client_certificates(&self) -> &[ClientCertificate] {
        &self.client_certificates
    }

    pub(crate) fn carriers(&self) -> &[CarrierConfig] {
        &self.carriers
    }

    pub(crate) fn pool_from(&self) -> &[PoolSource] {
        &self.pool_from
    }

    pub(crate) fn pools_claim(&self) -> Option<&str> {
        self.pools_claim.as_deref()
    }

    pub(crate) fn tenant_claim(&self) -> Option<&str> {
        self.tenant_claim.as_deref()
    }

    pub(crate) fn priority_claim(&self) -> Option<&str> {
        self.priority_claim.as_deref()
    }

    pub(crate) fn labels(&self) -> &[Label] {
        &self.labels
    }

    pub(crate) const fn origins(&self) -> &Origins {
        &self.origins
    }

    pub(crate) const fn tags(&self) -> &Tags {
        &self.tags
    }

    pub(crate) const fn attempts(&self) -> AttemptsConfig {
        self.attempts
    }

    pub(crate) const fn token_cache(&self) -> TokenCacheConfig {
        self.token_cache
    }

    /// The pool of this name, if it serves this family.
    pub(crate) fn pool(&self, family: Family, name: &str) -> Option<&Pool> {
        let fits = |pool: &&Pool| pool.name == name && pool.family == family;
        self.pools.iter().find(fits)
    }

    /// The pool of clients of this family that name none.
    pub(crate) fn default_pool(&self, family: Family) -> Option<&Pool> {
        let name = match family {
            Family::Native => self.default_pools.native.as_deref(),
            Family::Web => self.default_pools.web.as_deref(),
        };
        self.pool(family, name?)
    }
}
