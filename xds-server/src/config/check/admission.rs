use std::path::PathBuf;

use berth_admission::{
    DefaultPools, Family, IssuerConfig, Policy, PolicyConfig, PolicyError, PoolConfig,
};
use serde_json::Value;

use super::{Check, DurationRule, Unique};
use crate::config::{
    Pool,
    error::Fault,
    field::FieldPath,
    raw::{RawAdmission, RawIssuer},
};
use std::time::Duration;

impl Check<'_> {
    pub(super) fn admission(
        &mut self,
        raw: RawAdmission,
        field: &FieldPath,
        pools: &[Pool],
    ) -> Option<PolicyConfig> {
        let jwks_files: Vec<PathBuf> = raw
            .issuers
            .iter()
            .map(|issuer| self.absolute(&issuer.jwks_file))
            .collect();
        let issuers = self.issuers(raw.issuers, &field.key("issuers"));
        let native = raw.default_pools.native;
        let web = raw.default_pools.web;
        let defaults = field.key("default_pools");
        self.default_pool(native.as_deref(), Family::Native, &defaults, pools);
        self.default_pool(web.as_deref(), Family::Web, &defaults, pools);
        let config = PolicyConfig {
            issuers: issuers?,
            query_parameter: raw.query_parameter.unwrap_or_else(|| "token".to_owned()),
            pools: pools.iter().map(policy_pool).collect(),
            default_pools: DefaultPools { native, web },
            pools_claim: raw.pools_claim,
            tenant_claim: raw.tenant_claim,
        };
        // Broken pools have been reported where they are; without them the policy would only
        // complain of what follows from that.
        if self.faults.is_empty()
            && let Err(error) = Policy::compile(config.clone())
        {
            self.policy_fault(error, field, &jwks_files);
        }
        Some(config)
    }

    fn issuers(&mut self, raw: Vec<RawIssuer>, field: &FieldPath) -> Option<Vec<IssuerConfig>> {
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
            issuers.push(IssuerConfig {
                issuer: raw.issuer,
                audiences: raw.audiences,
                jwks,
                clock_skew_seconds,
            });
        }
        Some(issuers)
    }

    fn jwks(&mut self, raw: &RawIssuer, field: &FieldPath) -> Option<Value> {
        let content = self.file(&raw.jwks_file, field)?;
        match serde_json::from_slice(&content) {
            Ok(jwks) => Some(jwks),
            Err(error) => {
                let path = self.absolute(&raw.jwks_file);
                self.fault(field.clone(), Fault::Json { path, error });
                None
            }
        }
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
        pools: &[Pool],
    ) {
        let Some(name) = name else { return };
        let fault = match pools.iter().find(|pool| pool.name.as_str() == name) {
            Some(pool) if pool.family == family => return,
            Some(pool) => Fault::WrongFamily {
                pool: name.to_owned(),
                family: pool.family,
            },
            None => Fault::UnknownPool(name.to_owned()),
        };
        self.fault(field.key(family.as_str()), fault);
    }

    /// Says what the policy's own check found, in the words of the file: there a key set is a
    /// file of its own, and a path into it ends at the field that names the file.
    fn policy_fault(&mut self, error: PolicyError, admission: &FieldPath, jwks_files: &[PathBuf]) {
        let PolicyError { field, problem } = error;
        let in_jwks = jwks_files.iter().enumerate().find_map(|(index, path)| {
            let issuer = format!("issuers[{index}].");
            let member = field.strip_prefix(&issuer)?;
            member.starts_with("jwks").then_some((index, path, member))
        });
        if let Some((index, path, member)) = in_jwks {
            let field = admission.key("issuers").index(index).key("jwks_file");
            let fault = Fault::Jwks {
                path: path.clone(),
                member: member.to_owned(),
                problem,
            };
            self.fault(field, fault);
        } else {
            let Ok(below) = field.parse();
            self.fault(admission.join(&below), Fault::Policy(problem));
        }
    }
}

fn policy_pool(pool: &Pool) -> PoolConfig {
    PoolConfig {
        name: pool.name.to_string(),
        family: pool.family,
    }
}

const CLOCK_SKEW: DurationRule = DurationRule {
    default: Duration::from_secs(60),
    least: Duration::ZERO,
    most: Duration::from_secs(3600),
};
