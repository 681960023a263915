use std::{path::PathBuf, time::Duration};

use berth_admission::{
    DefaultPools, Family, IssuerConfig, LabelConfig, Policy, PolicyConfig, PolicyError, PoolConfig,
};
use serde_json::Value;

use super::{Check, DurationRule, Unique};
use crate::config::{
    error::Fault,
    field::FieldPath,
    raw::{RawAdmission, RawDefaultPools, RawIssuer, RawLabel, RawPool},
};

impl Check<'_> {
    pub(super) fn admission(
        &mut self,
        raw: RawAdmission,
        field: &FieldPath,
        pools: &[RawPool],
    ) -> PolicyConfig {
        let issuers = self.issuers(raw.issuers, &field.key("issuers"));
        let RawDefaultPools { native, web } = raw.default_pools.unwrap_or_default();
        let defaults = field.key("default_pools");
        self.default_pool(native.as_deref(), Family::Native, &defaults, pools);
        self.default_pool(web.as_deref(), Family::Web, &defaults, pools);
        let config = PolicyConfig {
            issuers,
            query_parameter: raw
                .query_parameter
                .unwrap_or_else(|| DEFAULT_QUERY_PARAMETER.to_owned()),
            pools: pools.iter().filter_map(policy_pool).collect(),
            default_pools: DefaultPools { native, web },
            pools_claim: raw.pools_claim,
            tenant_claim: raw.tenant_claim,
            priority_claim: raw.priority_claim,
            labels: raw.labels.into_iter().map(label).collect(),
        };
        // The policy's own check stops at the first fault, so it is asked about one part at a
        // time, the others replaced by what it has nothing to say of.
        let fields = PolicyConfig {
            issuers: Vec::new(),
            query_parameter: config.query_parameter.clone(),
            pools_claim: config.pools_claim.clone(),
            tenant_claim: config.tenant_claim.clone(),
            priority_claim: config.priority_claim.clone(),
            labels: config.labels.clone(),
            ..blank_policy()
        };
        let whole = self.faults.is_empty().then(|| config.clone());
        for part in std::iter::once(fields).chain(whole) {
            if let Err(PolicyError { field: at, problem }) = Policy::compile(part)
                && at != "issuers"
            {
                let Ok(below) = at.parse();
                self.fault(field.join(&below), Fault::Policy(problem));
                break;
            }
        }
        config
    }

    fn issuers(&mut self, raw: Vec<RawIssuer>, field: &FieldPath) -> Vec<IssuerConfig> {
        if raw.is_empty() {
            let remedy = "without an issuer nobody can be admitted; `berth token --new-key ES256` makes a key set for trials";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut names = Unique::new("give an issuer one entry, with all its keys in one file");
        let mut issuers = Vec::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let field = field.index(index);
            names.claim(self, &raw.issuer, &field.key("issuer"));
            let jwks = self.jwks(&raw, &field.key("jwks_file"));
            let skew = self.clock_skew(raw.clock_skew.as_deref(), &field.key("clock_skew"));
            let (Some(jwks), Some(clock_skew_seconds)) = (jwks, skew) else {
                continue;
            };
            let path = self.absolute(&raw.jwks_file);
            let issuer = IssuerConfig {
                issuer: raw.issuer,
                audiences: raw.audiences,
                jwks,
                clock_skew_seconds,
            };
            let alone = PolicyConfig {
                issuers: vec![issuer.clone()],
                ..blank_policy()
            };
            if let Err(error) = Policy::compile(alone) {
                self.issuer_fault(error, &field, path);
            }
            issuers.push(issuer);
        }
        issuers
    }

    fn jwks(&mut self, raw: &RawIssuer, field: &FieldPath) -> Option<Value> {
        let content = self.file(&raw.jwks_file, field)?;
        let path = self.absolute(&raw.jwks_file);
        match serde_json::from_slice(&content) {
            Ok(jwks) => match secret_key(&jwks) {
                None => return Some(jwks),
                Some(index) => self.fault(field.clone(), Fault::SecretKey { path, index }),
            },
            Err(error) => self.fault(field.clone(), Fault::Json { path, error }),
        }
        None
    }

    fn clock_skew(&mut self, text: Option<&str>, field: &FieldPath) -> Option<u64> {
        let skew = self.duration(text, field, &CLOCK_SKEW)?;
        if skew.subsec_nanos() != 0 {
            self.fault(field.clone(), Fault::NotWholeSeconds(skew));
            return None;
        }
        Some(skew.as_secs())
    }

    fn default_pool(
        &mut self,
        name: Option<&str>,
        family: Family,
        field: &FieldPath,
        pools: &[RawPool],
    ) {
        let Some(name) = name else { return };
        // By the names as they are written: a pool with a fault of its own is there all the same.
        let fault = match pools.iter().find(|pool| pool.name == name) {
            None => Fault::UnknownPool(name.to_owned()),
            Some(pool) => match pool.family.parse() {
                Ok(other) if other != family => Fault::WrongFamily {
                    pool: name.to_owned(),
                    family: other,
                },
                _ => return,
            },
        };
        self.fault(field.key(family.as_str()), fault);
    }

    /// Says what the policy's own check found wrong with an issuer, in the words of the file: there
    /// a key set is a file of its own, and a path into it ends at the field that names the file.
    fn issuer_fault(&mut self, error: PolicyError, issuer: &FieldPath, jwks_file: PathBuf) {
        let PolicyError { field, problem } = error;
        let below = field.strip_prefix("issuers[0].").unwrap_or(&field);
        if below.starts_with("jwks") {
            let fault = Fault::Jwks {
                path: jwks_file,
                member: below.to_owned(),
                problem,
            };
            self.fault(issuer.key("jwks_file"), fault);
        } else {
            let Ok(below) = below.parse();
            self.fault(issuer.join(&below), Fault::Policy(problem));
        }
    }
}

/// A policy without issuers and otherwise without faults.
fn blank_policy() -> PolicyConfig {
    PolicyConfig {
        issuers: Vec::new(),
        query_parameter: DEFAULT_QUERY_PARAMETER.to_owned(),
        pools: vec![PoolConfig {
            name: "any".to_owned(),
            family: Family::Web,
        }],
        default_pools: DefaultPools::default(),
        pools_claim: None,
        tenant_claim: None,
        priority_claim: None,
        labels: Vec::new(),
    }
}

fn label(raw: RawLabel) -> LabelConfig {
    let RawLabel {
        label,
        query_parameter,
        header,
    } = raw;
    LabelConfig {
        label,
        query_parameter,
        header,
    }
}

/// The first key of a set that holds more than a public key: `d` is the private half of every
/// asymmetric type (RFC 7518, section 6; RFC 8037, section 2), and a key of type `oct` is nothing
/// but secret. Admission ignores some of them, but every Envoy is sent the whole set.
fn secret_key(jwks: &Value) -> Option<usize> {
    let keys = jwks.get("keys")?.as_array()?;
    keys.iter().position(|key| {
        key.get("d").is_some() || key.get("kty").and_then(Value::as_str) == Some("oct")
    })
}

fn policy_pool(pool: &RawPool) -> Option<PoolConfig> {
    Some(PoolConfig {
        name: pool.name.clone(),
        family: pool.family.parse().ok()?,
    })
}

const DEFAULT_QUERY_PARAMETER: &str = "token";

const CLOCK_SKEW: DurationRule = DurationRule {
    default: Duration::from_secs(60),
    least: Duration::ZERO,
    most: Duration::from_secs(3600),
};
