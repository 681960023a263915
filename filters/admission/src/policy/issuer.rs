use crate::Reason;
use crate::claims::Claims;
use crate::config::{ClaimConfig, IssuerConfig};
use crate::json::Json;
use crate::jwk::{Key, KeyProblem};
use crate::matcher::Matcher;
use crate::user::{API_KEY, CLIENT_CERTIFICATE};

use super::{PolicyError, PolicyProblem};

/// One party whose tokens are accepted.
#[derive(Clone, Debug)]
pub(crate) struct Issuer {
    pub(crate) name: String,
    /// Empty: any audience.
    pub(crate) audiences: Vec<String>,
    pub(crate) clock_skew_seconds: u64,
    pub(crate) keys: Vec<Key>,
    /// Empty: any `typ`.
    pub(crate) types: Vec<String>,
    pub(crate) max_lifetime_seconds: Option<u64>,
    pub(crate) close_when_expired: bool,
    pub(crate) subjects: Vec<Matcher>,
    pub(crate) required_claims: Vec<ClaimConfig>,
}

impl Issuer {
    pub(crate) fn subjects(&self) -> &[Matcher] {
        &self.subjects
    }

    pub(crate) fn required_claims(&self) -> &[ClaimConfig] {
        &self.required_claims
    }

    /// Whether a user of this issuer's, with these claims, is let in at all.
    pub(crate) fn lets_in(&self, subject: &str, claims: &Claims) -> Result<(), Reason> {
        let by_name =
            self.subjects.is_empty() || self.subjects.iter().any(|one| one.matches(subject));
        let says = |one: &ClaimConfig| claims.matches(&one.claim, &one.matches);
        if by_name && self.required_claims.iter().all(says) {
            Ok(())
        } else {
            Err(Reason::UserForbidden)
        }
    }
}

pub(super) fn compile(
    configs: Vec<IssuerConfig>,
    ignored_keys: &mut Vec<PolicyError>,
) -> Result<Vec<Issuer>, PolicyError> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for (index, config) in configs.into_iter().enumerate() {
        let field = format!("issuers[{index}]");
        let keys = match problem(&config, &issuers) {
            None => compile_keys(&format!("{field}.jwks"), &config.jwks, ignored_keys)?,
            Some((member, problem)) => {
                return Err(PolicyError::new(format!("{field}.{member}"), problem));
            }
        };
        issuers.push(issuer(config, keys));
    }
    Ok(issuers)
}

/// What is wrong with an issuer beside those before it, but for its keys, and in which member.
fn problem(config: &IssuerConfig, earlier: &[Issuer]) -> Option<(String, PolicyProblem)> {
    let name = &config.issuer;
    let problem = if name.is_empty() {
        Some(PolicyProblem::Empty)
    } else if [API_KEY, CLIENT_CERTIFICATE].contains(&name.as_str()) {
        Some(PolicyProblem::ReservedIssuer(name.clone()))
    } else if earlier.iter().any(|earlier| earlier.name == *name) {
        Some(PolicyProblem::Duplicate(name.clone()))
    } else {
        None
    };
    if let Some(problem) = problem {
        return Some(("issuer".to_owned(), problem));
    }
    for (member, texts) in [("audiences", &config.audiences), ("types", &config.types)] {
        if let Some(index) = texts.iter().position(String::is_empty) {
            return Some((format!("{member}[{index}]"), PolicyProblem::Empty));
        }
    }
    if config.clock_skew_seconds > MAX_CLOCK_SKEW_SECONDS {
        return Some(("clock_skew_seconds".to_owned(), PolicyProblem::ClockSkew));
    }
    let mut claims = config.required_claims.iter();
    let index = claims.position(|rule| rule.claim.is_empty())?;
    Some((
        format!("required_claims[{index}].claim"),
        PolicyProblem::Empty,
    ))
}

fn issuer(config: IssuerConfig, keys: Vec<Key>) -> Issuer {
    Issuer {
        keys,
        name: config.issuer,
        audiences: config.audiences,
        clock_skew_seconds: config.clock_skew_seconds,
        types: config.types,
        max_lifetime_seconds: config.max_lifetime_seconds,
        close_when_expired: config.close_when_expired,
        subjects: config.subjects,
        required_claims: config.required_claims,
    }
}

fn compile_keys(
    field: &str,
    jwks: &Json,
    ignored_keys: &mut Vec<PolicyError>,
) -> Result<Vec<Key>, PolicyError> {
    let Some(jwks) = jwks.get("keys").and_then(Json::as_array) else {
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
    if keys.is_empty() && !jwks.is_empty() {
        // A broken key tells more about what was meant than one of a type that is not for us.
        let foreign =
            |error: &PolicyError| error.problem == PolicyProblem::Key(KeyProblem::KeyType);
        let telling = ignored
            .iter()
            .position(|error| !foreign(error))
            .unwrap_or_default();
        let error = ignored.into_iter().nth(telling);
        return Err(error
            .unwrap_or_else(|| PolicyError::new(format!("{field}.keys"), PolicyProblem::Empty)));
    }
    ignored_keys.append(&mut ignored);
    Ok(keys)
}

pub(super) const MAX_CLOCK_SKEW_SECONDS: u64 = 3600;
