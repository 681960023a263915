use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::config::{DefaultPools, Family, IssuerConfig, PolicyConfig, PoolConfig};
use crate::credential::RESUME_KEY_PARAMETER;
use crate::jwk::{Key, KeyProblem};
use crate::label::{Label, MAX_LABELS, compile_labels};

/// A policy that is known to make sense.
#[derive(Clone, Debug)]
pub struct Policy {
    issuers: Vec<Issuer>,
    query_parameter: String,
    pools: BTreeMap<String, Family>,
    default_pools: DefaultPools,
    pools_claim: Option<String>,
    tenant_claim: Option<String>,
    priority_claim: Option<String>,
    labels: Vec<Label>,
    ignored_keys: Vec<PolicyError>,
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
        let PolicyConfig {
            issuers,
            query_parameter,
            pools,
            default_pools,
            pools_claim,
            tenant_claim,
            priority_claim,
            labels,
        } = config;
        check_query_parameter(&query_parameter)?;
        let pools = compile_pools(pools)?;
        let default_pools = compile_defaults(default_pools, &pools)?;
        for (name, claim) in [
            ("pools_claim", &pools_claim),
            ("tenant_claim", &tenant_claim),
            ("priority_claim", &priority_claim),
        ] {
            if claim.as_deref() == Some("") {
                return Err(PolicyError::new(name, PolicyProblem::Empty));
            }
        }
        let labels = compile_labels(labels, &query_parameter)?;
        let mut ignored_keys = Vec::new();
        let issuers = compile_issuers(issuers, &mut ignored_keys)?;
        Ok(Self {
            issuers,
            query_parameter,
            pools,
            default_pools,
            pools_claim,
            tenant_claim,
            priority_claim,
            labels,
            ignored_keys,
        })
    }

    /// The keys of the issuers' sets that are not used, and why: worth a warning to the operator.
    pub fn ignored_keys(&self) -> &[PolicyError] {
        &self.ignored_keys
    }

    /// The headers in which labels are asked for, in lower case: what goes into
    /// [`Request::labels`](crate::Request::labels).
    pub fn label_headers(&self) -> impl Iterator<Item = &str> {
        self.labels.iter().filter_map(|label| label.header())
    }

    pub(crate) fn issuer(&self, name: &str) -> Option<&Issuer> {
        self.issuers.iter().find(|issuer| issuer.name == name)
    }

    pub(crate) fn query_parameter(&self) -> &str {
        &self.query_parameter
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

    /// The pool of this name, if it serves this family.
    pub(crate) fn pool(&self, family: Family, name: &str) -> Option<&str> {
        let (name, serves) = self.pools.get_key_value(name)?;
        (*serves == family).then_some(name)
    }

    /// The pool of clients of this family that name none.
    pub(crate) fn default_pool(&self, family: Family) -> Option<&str> {
        match family {
            Family::Native => self.default_pools.native.as_deref(),
            Family::Web => self.default_pools.web.as_deref(),
        }
    }
}

/// One party whose tokens are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    /// Empty: any audience.
    pub(crate) audiences: Vec<String>,
    pub(crate) clock_skew_seconds: u64,
    /// None while they are not known.
    pub(crate) keys: Vec<Key>,
}

/// What is wrong with a policy, and where.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{field}: {problem}")]
pub struct PolicyError {
    /// The field, as a path: `issuers[0].jwks.keys[2].n`.
    pub field: String,
    /// What is wrong with it.
    pub problem: PolicyProblem,
}

impl PolicyError {
    pub(crate) fn new(field: impl Into<String>, problem: PolicyProblem) -> Self {
        Self {
            field: field.into(),
            problem,
        }
    }
}

/// What can be wrong with a field of a policy; each says what it should have been.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PolicyProblem {
    /// More clock skew than clocks can be apart: such a token would hardly ever expire.
    #[error("must be at most {MAX_CLOCK_SKEW_SECONDS} seconds")]
    ClockSkew,
    /// The same value stands earlier in the list.
    #[error("`{0}` is there already")]
    Duplicate(String),
    /// Nothing where something has to be.
    #[error("must not be empty")]
    Empty,
    /// A header's name is not one, or is taken.
    #[error(
        "must be 1 to 63 of a-z, 0-9 and `-`, not `x-berth-…`, and not a header that the handshake or Berth reads"
    )]
    Header,
    /// A key cannot be used.
    #[error(transparent)]
    Key(#[from] KeyProblem),
    /// A label's name has characters that it may not have.
    #[error("`{0}` is not 1 to 63 of a-z, 0-9, `-`, `.` and `_`")]
    LabelName(String),
    /// The key set is not one.
    #[error("must be a JWK Set: an object with an array `keys` (RFC 7517 §5)")]
    NotAKeySet,
    /// The default is not a pool of the family.
    #[error("`{name}` is not the name of a pool of the family `{family}`")]
    NotAPool {
        /// The name that was given.
        name: String,
        /// The family whose default it was to be.
        family: Family,
    },
    /// A pool's name would not do as a path segment.
    #[error("`{0}` is not 1 to 63 of a-z, 0-9 and -")]
    PoolName(String),
    /// A label that no client could ask for.
    #[error("needs a `query_parameter`, a `header` or both")]
    NoPlace,
    /// A query parameter's name would need encoding, or is taken.
    #[error(
        "must be 1 to 64 of A-Z, a-z, 0-9, `-`, `.`, `_` and `~`, and not `{RESUME_KEY_PARAMETER}`"
    )]
    QueryParameter,
    /// More than a request should have to be searched for.
    #[error("must have at most {MAX_LABELS} entries")]
    TooManyLabels,
}

fn check_query_parameter(name: &str) -> Result<(), PolicyError> {
    if is_query_parameter(name) {
        Ok(())
    } else {
        Err(PolicyError::new(
            "query_parameter",
            PolicyProblem::QueryParameter,
        ))
    }
}

/// Whether a parameter of this name can be found by comparing, and is not the resume key's.
pub(crate) fn is_query_parameter(name: &str) -> bool {
    let unreserved =
        |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    (1..=64).contains(&name.len()) && name.bytes().all(unreserved) && name != RESUME_KEY_PARAMETER
}

fn compile_pools(configs: Vec<PoolConfig>) -> Result<BTreeMap<String, Family>, PolicyError> {
    let mut pools = BTreeMap::new();
    for (index, PoolConfig { name, family }) in configs.into_iter().enumerate() {
        let error = |problem: fn(String) -> PolicyProblem, name| {
            Err(PolicyError::new(
                format!("pools[{index}].name"),
                problem(name),
            ))
        };
        let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if !(1..=63).contains(&name.len()) || !name.bytes().all(fits) {
            return error(PolicyProblem::PoolName, name);
        }
        if pools.contains_key(&name) {
            return error(PolicyProblem::Duplicate, name);
        }
        pools.insert(name, family);
    }
    if pools.is_empty() {
        return Err(PolicyError::new("pools", PolicyProblem::Empty));
    }
    Ok(pools)
}

/// The defaults, checked; a family's only pool is its default even if nobody says so.
fn compile_defaults(
    config: DefaultPools,
    pools: &BTreeMap<String, Family>,
) -> Result<DefaultPools, PolicyError> {
    let of_family = |family, chosen: Option<String>| {
        let mut names = pools
            .iter()
            .filter(|(_, serves)| **serves == family)
            .map(|(name, _)| name);
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

fn compile_issuers(
    configs: Vec<IssuerConfig>,
    ignored_keys: &mut Vec<PolicyError>,
) -> Result<Vec<Issuer>, PolicyError> {
    if configs.is_empty() {
        return Err(PolicyError::new("issuers", PolicyProblem::Empty));
    }
    let mut names = BTreeSet::new();
    let mut issuers = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        if !names.insert(config.issuer.clone()) {
            return Err(PolicyError::new(
                format!("issuers[{index}].issuer"),
                PolicyProblem::Duplicate(config.issuer),
            ));
        }
        issuers.push(compile_issuer(
            &format!("issuers[{index}]"),
            config,
            ignored_keys,
        )?);
    }
    Ok(issuers)
}

fn compile_issuer(
    field: &str,
    config: IssuerConfig,
    ignored_keys: &mut Vec<PolicyError>,
) -> Result<Issuer, PolicyError> {
    let IssuerConfig {
        issuer,
        audiences,
        jwks,
        clock_skew_seconds,
    } = config;
    if issuer.is_empty() {
        return Err(PolicyError::new(
            format!("{field}.issuer"),
            PolicyProblem::Empty,
        ));
    }
    if let Some(index) = audiences.iter().position(String::is_empty) {
        return Err(PolicyError::new(
            format!("{field}.audiences[{index}]"),
            PolicyProblem::Empty,
        ));
    }
    if clock_skew_seconds > MAX_CLOCK_SKEW_SECONDS {
        return Err(PolicyError::new(
            format!("{field}.clock_skew_seconds"),
            PolicyProblem::ClockSkew,
        ));
    }
    let keys = compile_keys(&format!("{field}.jwks"), &jwks, ignored_keys)?;
    Ok(Issuer {
        name: issuer,
        audiences,
        clock_skew_seconds,
        keys,
    })
}

fn compile_keys(
    field: &str,
    jwks: &Value,
    ignored_keys: &mut Vec<PolicyError>,
) -> Result<Vec<Key>, PolicyError> {
    let Some(jwks) = jwks.get("keys").and_then(Value::as_array) else {
        return Err(PolicyError::new(field, PolicyProblem::NotAKeySet));
    };
    let mut keys = Vec::new();
    let mut ignored = Vec::new();
    for (index, jwk) in jwks.iter().enumerate() {
        match Key::from_jwk(jwk) {
            Ok(key) => keys.push(key),
            Err(refused) => {
                let field = match refused.member {
                    Some(member) => format!("{field}.keys[{index}].{member}"),
                    None => format!("{field}.keys[{index}]"),
                };
                let error = PolicyError::new(field, refused.problem.into());
                // Whoever reads the policy could sign tokens: worse than a key that does nothing.
                if error.problem == PolicyProblem::Key(KeyProblem::Private) {
                    return Err(error);
                }
                ignored.push(error);
            }
        }
    }
    // Of an issuer without any key nothing is known yet; one with none but broken ones is a mistake.
    if keys.is_empty() && !jwks.is_empty() {
        // A broken key tells more about what was meant than one of a type that is not for us.
        let foreign =
            |error: &PolicyError| error.problem == PolicyProblem::Key(KeyProblem::KeyType);
        let telling = ignored
            .iter()
            .position(|error| !foreign(error))
            .unwrap_or_default();
        if let Some(error) = ignored.into_iter().nth(telling) {
            return Err(error);
        }
        return Ok(keys);
    }
    ignored_keys.append(&mut ignored);
    Ok(keys)
}

const MAX_CLOCK_SKEW_SECONDS: u64 = 3600;
