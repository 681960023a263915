use super::Check;
use crate::config::{
    error::Fault,
    field::FieldPath,
    raw::{RawAdmission, RawDefaultPools, RawLabel, RawPool},
};
use crate::keys::KeySource;
use berth_admission::{
    DefaultPools, Family, LabelConfig, Policy, PolicyConfig, PolicyError, PoolConfig,
};

impl Check<'_> {
    pub(super) fn admission(
        &mut self,
        raw: RawAdmission,
        field: &FieldPath,
        pools: &[RawPool],
    ) -> (PolicyConfig, Vec<KeySource>) {
        let (issuers, key_sources) = self.issuers(raw.issuers, &field.key("issuers"));
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
        (config, key_sources)
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
}

/// A policy without issuers and otherwise without faults.
pub(crate) fn blank_policy() -> PolicyConfig {
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

fn policy_pool(pool: &RawPool) -> Option<PoolConfig> {
    Some(PoolConfig {
        name: pool.name.clone(),
        family: pool.family.parse().ok()?,
    })
}

const DEFAULT_QUERY_PARAMETER: &str = "token";
