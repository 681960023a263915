use std::fmt;

use berth_admission::{IssuerConfig, Policy, PolicyConfig, PolicyError, PolicyProblem};
use serde_json::{Map, Value, json};

/// The keys of an issuer that are used. Sets of the same keys are equal, and written as the same bytes, however the issuer
/// wrote them: what is no part of a key is left out, none is there twice, and they are in order.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct KeySet {
    keys: Vec<Value>,
}

/// A set, and what was not taken into it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reading {
    /// Never empty.
    pub set: KeySet,
    /// In the order of what was read.
    pub ignored: Vec<IgnoredKey>,
}

/// A key that is not used (RFC 7517, section 5, has such keys ignored).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IgnoredKey {
    /// Its place among the `keys`, from 0.
    pub index: usize,
    /// Its name, if it has one.
    pub id: Option<String>,
    /// Why.
    pub reason: IgnoredReason,
}

/// Why a key is not used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IgnoredReason {
    /// It is secret, and was there for all to fetch: anybody could have signed with it.
    Published,
    /// Admission cannot check signatures with it.
    Unusable {
        /// The member that is to blame, if one is.
        member: Option<String>,
        /// What is wrong with it.
        problem: PolicyProblem,
    },
}

/// Why something is no key set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It has another form.
    #[error("is no JWK Set, `{{\"keys\": [...]}}` (RFC 7517)")]
    NotAKeySet,
    /// Whoever reads it can sign tokens.
    #[error(
        "`keys[{index}]` is a private key: replace it, and give only the public half of the new one"
    )]
    Private {
        /// Which key of the set.
        index: usize,
    },
    /// Nothing can be checked with it.
    #[error("has no key that can be used{}", because(.0.as_deref()))]
    NoUsableKey(Option<Box<IgnoredKey>>),
}

/// Who can read what a set was read from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Audience {
    /// We, and whom the operator lets: keys that are nothing but secret (`oct`) may be there.
    Operator,
    /// Everybody.
    Public,
}

/// What a key is called, and what it is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyName<'a> {
    /// `kid`.
    pub id: Option<&'a str>,
    /// `alg`, or else `crv`, or else `kty`.
    pub kind: &'a str,
}

impl KeySet {
    /// Takes the keys that can be used out of a JWK Set.
    ///
    /// # Errors
    /// [`KeySetError`].
    pub fn read(jwks: &Value, audience: Audience) -> Result<Reading, KeySetError> {
        let keys = jwks.get("keys").and_then(Value::as_array);
        let mut taken = Vec::new();
        let mut ignored = Vec::new();
        for (index, key) in keys.ok_or(KeySetError::NotAKeySet)?.iter().enumerate() {
            match (refusal(key, audience), audience) {
                (None, _) => taken.push(normal(key)),
                (Some(Refusal::Private), Audience::Operator) => {
                    return Err(KeySetError::Private { index });
                }
                (Some(Refusal::Private), Audience::Public) => {
                    ignored.push(IgnoredKey::new(index, key, IgnoredReason::Published));
                }
                (Some(Refusal::Unusable(reason)), _) => {
                    ignored.push(IgnoredKey::new(index, key, reason));
                }
            }
        }
        if taken.is_empty() {
            let first = ignored.into_iter().next().map(Box::new);
            return Err(KeySetError::NoUsableKey(first));
        }
        taken.sort_by_cached_key(Value::to_string);
        taken.dedup();
        let set = Self { keys: taken };
        Ok(Reading { set, ignored })
    }

    /// As a JWK Set.
    pub fn to_jwks(&self) -> Value {
        json!({"keys": self.keys})
    }

    /// What its keys are called.
    pub fn names(&self) -> impl Iterator<Item = KeyName<'_>> {
        self.keys.iter().map(|key| {
            let member = |name| key.get(name).and_then(Value::as_str);
            KeyName {
                id: member("kid"),
                kind: member("alg")
                    .or_else(|| member("crv"))
                    .or_else(|| member("kty"))
                    .unwrap_or_default(),
            }
        })
    }

    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }
}

/// Names only: a set from a file may have secrets in it.
impl fmt::Debug for KeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

impl IgnoredKey {
    fn new(index: usize, key: &Value, reason: IgnoredReason) -> Self {
        let id = key.get("kid").and_then(Value::as_str).map(str::to_owned);
        Self { index, id, reason }
    }
}

impl fmt::Display for IgnoredKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`keys[{}]`", self.index)?;
        if let Some(id) = &self.id {
            write!(f, " ({id:?})")?;
        }
        match &self.reason {
            IgnoredReason::Published => f.write_str(
                ": it is secret and was published, so anybody may have it: its issuer has to replace it",
            ),
            IgnoredReason::Unusable {
                member: Some(member),
                problem,
            } => write!(f, ": `{member}` {problem}"),
            IgnoredReason::Unusable {
                member: None,
                problem,
            } => write!(f, ": {problem}"),
        }
    }
}

fn because(ignored: Option<&IgnoredKey>) -> String {
    ignored.map_or_else(String::new, |ignored| format!(": {ignored}"))
}

enum Refusal {
    Private,
    Unusable(IgnoredReason),
}

fn refusal(key: &Value, audience: Audience) -> Option<Refusal> {
    // `d` is the private half of every asymmetric type (RFC 7518, section 6; RFC 8037, section 2).
    let secret = key.get("kty").and_then(Value::as_str) == Some("oct");
    if key.get("d").is_some() || (secret && audience == Audience::Public) {
        return Some(Refusal::Private);
    }
    let PolicyError { field, problem } = fault(key)?;
    let (_, member) = field.split_once(".keys[0]").unwrap_or_default();
    let member = member.strip_prefix('.').map(str::to_owned);
    Some(Refusal::Unusable(IgnoredReason::Unusable {
        member,
        problem,
    }))
}

/// What admission itself says against a key: it is who has to work with it.
fn fault(key: &Value) -> Option<PolicyError> {
    let issuer = IssuerConfig::new("any".to_owned(), json!({"keys": [key]}));
    match Policy::compile(PolicyConfig::of_issuer(issuer)) {
        Ok(policy) => policy.ignored_keys().first().cloned(),
        Err(error) => Some(error),
    }
}

/// The members that make a key, and the name it goes by; that it may be used for signatures is known by now.
fn normal(key: &Value) -> Value {
    let members = MEMBERS.iter().filter_map(|name| {
        let value = key.get(name)?;
        Some(((*name).to_owned(), value.clone()))
    });
    Value::Object(members.collect::<Map<_, _>>())
}

/// RFC 7517, section 4, RFC 7518, section 6, and RFC 8037, section 2.
const MEMBERS: [&str; 9] = ["alg", "crv", "e", "k", "kid", "kty", "n", "x", "y"];

#[cfg(test)]
mod tests;
