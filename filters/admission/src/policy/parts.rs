//! The parts of a policy but its issuers and labels, checked one by one.

use crate::claims::{MAX_PRIORITY, is_name};
use crate::config::{
    AllowConfig, ApiKeyConfig, AttemptsConfig, CarrierConfig, ClaimConfig, ClientCertificateConfig,
    DefaultPools, Family, PoolConfig, PoolSource, Tag, TagsConfig,
};
use crate::cors::{Origin, Origins};
use crate::matcher::Matcher;
use crate::tags::Tags;
use crate::user::{ApiKey, ClientCertificate, User};

use super::names::{check_claim, is_header, is_query_parameter, is_token};
use super::{PolicyError, PolicyProblem};

/// A pool that can be asked for.
#[derive(Clone, Debug)]
pub(crate) struct Pool {
    pub(crate) name: String,
    pub(crate) family: Family,
    /// Empty: as for the issuer.
    pub(crate) audiences: Vec<String>,
    /// Empty: everybody.
    pub(crate) allow: Vec<Allow>,
}

/// Some of the users.
#[derive(Clone, Debug)]
pub(crate) struct Allow {
    issuer: Option<String>,
    subject: Option<Matcher>,
    tenant: Option<Matcher>,
    claims: Vec<ClaimConfig>,
}

impl Allow {
    pub(crate) fn fits(&self, user: &User<'_>) -> bool {
        let is = |matcher: &Option<Matcher>, text: &str| {
            matcher.as_ref().is_none_or(|matcher| matcher.matches(text))
        };
        let says = |one: &ClaimConfig| {
            let token = user.token.as_ref();
            token.is_some_and(|token| token.claims.matches(&one.claim, &one.matches))
        };
        self.issuer
            .as_ref()
            .is_none_or(|issuer| issuer == user.issuer)
            && is(&self.subject, &user.subject)
            && is(&self.tenant, &user.tenant)
            && self.claims.iter().all(says)
    }
}

pub(super) fn carriers(
    mut carriers: Vec<CarrierConfig>,
    has_origins: bool,
) -> Result<Vec<CarrierConfig>, PolicyError> {
    if carriers.is_empty() {
        carriers = CarrierConfig::usual();
    }
    for (index, carrier) in carriers.iter().enumerate() {
        let problem = match carrier {
            CarrierConfig::Header(header) if !is_header(&header.name) => PolicyProblem::Header,
            CarrierConfig::Query(name) if !is_query_parameter(name) => {
                PolicyProblem::QueryParameter
            }
            CarrierConfig::Cookie(name) if !is_token(name) => PolicyProblem::CookieName,
            CarrierConfig::Cookie(_) if !has_origins => PolicyProblem::CookieWithoutOrigins,
            CarrierConfig::Subprotocol(prefix) | CarrierConfig::SubprotocolBase64url(prefix)
                if !is_token(prefix) =>
            {
                PolicyProblem::Subprotocol
            }
            _ if carriers
                .iter()
                .take(index)
                .any(|earlier| earlier == carrier) =>
            {
                PolicyProblem::Duplicate(what(carrier).to_owned())
            }
            _ => continue,
        };
        return Err(PolicyError::new(format!("carriers[{index}]"), problem));
    }
    Ok(carriers)
}

/// What makes a carrier differ from the others of its kind.
fn what(carrier: &CarrierConfig) -> &str {
    match carrier {
        CarrierConfig::Authorization => "authorization",
        CarrierConfig::Header(header) => &header.name,
        CarrierConfig::Query(name)
        | CarrierConfig::Cookie(name)
        | CarrierConfig::Subprotocol(name)
        | CarrierConfig::SubprotocolBase64url(name) => name,
    }
}

pub(super) fn pools(configs: Vec<PoolConfig>) -> Result<Vec<Pool>, PolicyError> {
    let mut pools: Vec<Pool> = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let field = format!("pools[{index}]");
        let name = config.name;
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(fits) {
            let problem = PolicyProblem::PoolName(name);
            return Err(PolicyError::new(format!("{field}.name"), problem));
        }
        if pools.iter().any(|earlier| earlier.name == name) {
            let problem = PolicyProblem::Duplicate(name);
            return Err(PolicyError::new(format!("{field}.name"), problem));
        }
        if let Some(index) = config.audiences.iter().position(String::is_empty) {
            let field = format!("{field}.audiences[{index}]");
            return Err(PolicyError::new(field, PolicyProblem::Empty));
        }
        pools.push(Pool {
            name,
            family: config.family,
            audiences: config.audiences,
            allow: allow(config.allow, &field)?,
        });
    }
    if pools.is_empty() {
        return Err(PolicyError::new("pools", PolicyProblem::Empty));
    }
    Ok(pools)
}

fn allow(configs: Vec<AllowConfig>, field: &str) -> Result<Vec<Allow>, PolicyError> {
    let mut rules = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let field = format!("{field}.allow[{index}]");
        if config == AllowConfig::default() {
            // It would let in everybody, which is what is written by writing nothing.
            return Err(PolicyError::new(field, PolicyProblem::Empty));
        }
        for (index, rule) in config.claims.iter().enumerate() {
            check_claim(&rule.claim, || format!("{field}.claims[{index}].claim"))?;
        }
        rules.push(Allow {
            issuer: config.issuer,
            subject: config.subject,
            tenant: config.tenant,
            claims: config.claims,
        });
    }
    Ok(rules)
}

/// The defaults, checked; a family's only pool is its default even if nobody says so.
pub(super) fn defaults(config: DefaultPools, pools: &[Pool]) -> Result<DefaultPools, PolicyError> {
    let of_family = |family, chosen: Option<String>| {
        let mut names = pools
            .iter()
            .filter(|pool| pool.family == family)
            .map(|pool| &pool.name);
        match chosen {
            Some(name) if names.any(|known| *known == name) => Ok(Some(name)),
            Some(name) => {
                let field = format!("default_pools.{family}");
                Err(PolicyError::new(
                    field,
                    PolicyProblem::NotAPool { name, family },
                ))
            }
            None => Ok(names.next().filter(|_| names.next().is_none()).cloned()),
        }
    };
    Ok(DefaultPools {
        native: of_family(Family::Native, config.native)?,
        web: of_family(Family::Web, config.web)?,
    })
}

pub(super) fn pool_from(sources: Vec<PoolSource>) -> Result<Vec<PoolSource>, PolicyError> {
    if sources.is_empty() {
        return Ok(vec![PoolSource::Path]);
    }
    for (index, source) in sources.iter().enumerate() {
        let field = format!("pool_from[{index}]");
        match source {
            PoolSource::Header(name) if !is_header(name) => {
                return Err(PolicyError::new(field, PolicyProblem::Header));
            }
            PoolSource::Claim(claim) => check_claim(claim, || field)?,
            PoolSource::Header(_) | PoolSource::Path => {}
        }
    }
    Ok(sources)
}

pub(super) fn origins(origins: Option<Vec<String>>) -> Result<Origins, PolicyError> {
    let Some(origins) = origins else {
        return Ok(Origins::Any);
    };
    let mut these = Vec::with_capacity(origins.len());
    for (index, text) in origins.into_iter().enumerate() {
        let Some(origin) = Origin::parse(&text) else {
            let problem = PolicyProblem::Origin(text);
            return Err(PolicyError::new(format!("origins[{index}]"), problem));
        };
        these.push(origin);
    }
    Ok(Origins::These(these))
}

pub(super) fn tags(config: TagsConfig) -> Result<Tags, PolicyError> {
    for (member, length) in [
        ("claims", config.claims.len()),
        ("headers", config.headers.len()),
    ] {
        if length > MAX_TAGS {
            let problem = PolicyProblem::TooManyTags;
            return Err(PolicyError::new(format!("tags.{member}"), problem));
        }
    }
    for (index, claim) in config.claims.iter().enumerate() {
        check_claim(claim, || format!("tags.claims[{index}]"))?;
    }
    let mut names: Vec<String> = Vec::new();
    let mut tags = Tags {
        claims: config.claims,
        ..Tags::default()
    };
    for (index, header) in config.headers.into_iter().enumerate() {
        let field = format!("tags.headers[{index}]");
        let problem = if !is_header(&header.name) {
            Some(PolicyProblem::Header)
        } else if names.contains(&header.name) {
            Some(PolicyProblem::Duplicate(header.name.clone()))
        } else {
            None
        };
        names.push(header.name.clone());
        if let Some(problem) = problem {
            return Err(PolicyError::new(format!("{field}.name"), problem));
        }
        match &header.value {
            Tag::Session => tags.session_headers.push(header.name),
            Tag::Claim(claim) => {
                check_claim(claim, || format!("{field}.value"))?;
                tags.headers.push(header);
            }
            Tag::Issuer | Tag::Subject | Tag::Tenant | Tag::Pool => tags.headers.push(header),
        }
    }
    Ok(tags)
}

pub(super) fn attempts(config: AttemptsConfig) -> Result<(), PolicyError> {
    if config.burst > 0 && config.per_minute == 0 {
        let problem = PolicyProblem::AttemptsNeverReturn;
        return Err(PolicyError::new("attempts.per_minute", problem));
    }
    Ok(())
}

pub(super) fn api_keys(
    configs: Vec<ApiKeyConfig>,
    known: &[Pool],
) -> Result<Vec<ApiKey>, PolicyError> {
    if configs.len() > MAX_API_KEYS {
        return Err(PolicyError::new("api_keys", PolicyProblem::TooManyApiKeys));
    }
    let mut keys: Vec<ApiKey> = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let field = format!("api_keys[{index}]");
        let error =
            |member: &str, problem| Err(PolicyError::new(format!("{field}.{member}"), problem));
        let Some(sha256) = hash(&config.sha256) else {
            return error("sha256", PolicyProblem::Hash);
        };
        if keys.iter().any(|earlier| earlier.sha256 == sha256) {
            return error("sha256", PolicyProblem::Duplicate(config.sha256));
        }
        if config.subject.is_empty() {
            return error("subject", PolicyProblem::Empty);
        }
        for (member, name) in [("subject", &config.subject), ("tenant", &config.tenant)] {
            if !is_name(name) {
                return error(member, PolicyProblem::Name);
            }
        }
        if config.priority > MAX_PRIORITY {
            return error("priority", PolicyProblem::Priority);
        }
        check_pools(&config.pools, known, &field)?;
        keys.push(ApiKey {
            sha256,
            subject: config.subject,
            tenant: config.tenant,
            priority: config.priority,
            pools: config.pools,
        });
    }
    Ok(keys)
}

pub(super) fn client_certificates(
    configs: Vec<ClientCertificateConfig>,
    known: &[Pool],
) -> Result<Vec<ClientCertificate>, PolicyError> {
    let mut rules = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let field = format!("client_certificates[{index}]");
        if !is_name(&config.tenant) {
            return Err(PolicyError::new(
                format!("{field}.tenant"),
                PolicyProblem::Name,
            ));
        }
        check_pools(&config.pools, known, &field)?;
        rules.push(ClientCertificate {
            name: config.name,
            matches: config.matches,
            tenant: config.tenant,
            pools: config.pools,
        });
    }
    Ok(rules)
}

fn check_pools(names: &[String], known: &[Pool], field: &str) -> Result<(), PolicyError> {
    match names
        .iter()
        .position(|name| !known.iter().any(|pool| pool.name == *name))
    {
        None => Ok(()),
        Some(index) => {
            let name = names.get(index).cloned().unwrap_or_default();
            let field = format!("{field}.pools[{index}]");
            Err(PolicyError::new(field, PolicyProblem::UnknownPool(name)))
        }
    }
}

fn hash(hexadecimal: &str) -> Option<[u8; 32]> {
    let digits = hexadecimal.as_bytes();
    let mut hash = [0; 32];
    if digits.len() != 2 * hash.len() {
        return None;
    }
    let value = |digit: u8| {
        char::from(digit)
            .to_digit(16)
            .and_then(|value| u8::try_from(value).ok())
    };
    for (byte, pair) in hash.iter_mut().zip(digits.chunks_exact(2)) {
        let [high, low] = pair else { return None };
        *byte = value(*high)? << 4 | value(*low)?;
    }
    Some(hash)
}

/// Each presented key is compared with all of them.
pub(super) const MAX_API_KEYS: usize = 1000;
/// Claims that are logged, and headers that are sent.
pub(super) const MAX_TAGS: usize = 16;
