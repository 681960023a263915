use std::{collections::BTreeSet, time::Duration};

use super::{Check, DurationRule};
use crate::config::{
    error::Fault,
    field::FieldPath,
    raw::{RawAdmission, RawDefaultPools, RawPool, RawTokenCache},
};
use crate::keys::KeySource;
use berth_admission::{
    CarrierConfig, DefaultPools, Family, Policy, PolicyConfig, PolicyError, PolicyProblem,
    PoolConfig, TokenCacheConfig,
};

impl Check<'_> {
    pub(super) fn admission(
        &mut self,
        raw: RawAdmission,
        field: &FieldPath,
        pools: &[RawPool],
        has_tenants: bool,
    ) -> (PolicyConfig, Vec<KeySource>) {
        let somebody_else = !raw.api_keys.is_empty() || !raw.client_certificates.is_empty();
        let issuers = self.issuers(raw.issuers, &field.key("issuers"), somebody_else);
        let (issuers, key_sources) = issuers;
        let RawDefaultPools { native, web } = raw.default_pools.unwrap_or_default();
        let defaults = field.key("default_pools");
        self.default_pool(native.as_deref(), Family::Native, &defaults, pools);
        self.default_pool(web.as_deref(), Family::Web, &defaults, pools);
        let config = PolicyConfig {
            issuers,
            api_keys: raw.api_keys,
            client_certificates: raw.client_certificates,
            carriers: raw.carriers,
            pools: pools.iter().filter_map(policy_pool).collect(),
            pool_from: raw.pool_from,
            default_pools: DefaultPools { native, web },
            pools_claim: raw.pools_claim,
            tenant_claim: raw.tenant_claim,
            priority_claim: raw.priority_claim,
            labels: raw.labels,
            origins: raw.origins,
            tags: raw.tags.unwrap_or_default(),
            attempts: raw.attempts.unwrap_or_default(),
            token_cache: self.token_cache(raw.token_cache, &field.key("token_cache")),
        };
        self.allow(&config, pools, has_tenants);
        self.parts(&config, field, pools);
        (config, key_sources)
    }

    /// The policy's own check stops at the first fault, so it is asked about one part at a time, the others left out.
    fn parts(&mut self, config: &PolicyConfig, field: &FieldPath, pools: &[RawPool]) {
        for (index, pool) in pools.iter().enumerate() {
            let alone = PolicyConfig {
                pools: policy_pool(pool).into_iter().collect(),
                ..PolicyConfig::default()
            };
            // Its name and family are checked with the rest of it.
            if let Err(PolicyError { field: at, problem }) = Policy::compile(alone)
                && let Some(below) = at.strip_prefix("pools[0].").filter(|at| *at != "name")
            {
                let fault = if problem == PolicyProblem::Empty && is_rule(below) {
                    Fault::NoCondition
                } else {
                    Fault::Policy(problem)
                };
                let Ok(below) = below.parse();
                let pool = FieldPath::default().key("pools").index(index);
                self.fault(pool.join(&below), fault);
            }
        }
        let mut blank = PolicyConfig {
            pools: config.pools.iter().map(open).collect(),
            ..PolicyConfig::default()
        };
        if blank.pools.is_empty() {
            blank
                .pools
                .push(PoolConfig::open("any".to_owned(), Family::Web));
        }
        let mut reported = BTreeSet::new();
        let carriers = PolicyConfig {
            carriers: config.carriers.clone(),
            origins: config.origins.clone(),
            ..blank.clone()
        };
        // What else is there is held against the carriers, as long as these make sense.
        if self.part(carriers.clone(), field, &mut reported) {
            blank = carriers;
        } else {
            blank.carriers = vec![CarrierConfig::Authorization];
        }
        for take in PARTS {
            let mut part = blank.clone();
            take(&mut part, config);
            self.part(part, field, &mut reported);
        }
        // What does not go together is only found in the whole.
        if self.faults.is_empty() {
            self.part(config.clone(), field, &mut reported);
        }
    }

    /// Whether a part makes sense; what was said of a field already is not said again.
    fn part(
        &mut self,
        part: PolicyConfig,
        field: &FieldPath,
        reported: &mut BTreeSet<String>,
    ) -> bool {
        match Policy::compile(part) {
            // A part has no issuers, which is found last, and open pools.
            Err(PolicyError { field: at, problem })
                if !at.starts_with("issuers") && !at.starts_with("pools[") =>
            {
                if reported.insert(at.clone()) {
                    let Ok(below) = at.parse();
                    self.fault(field.join(&below), Fault::Policy(problem));
                }
                false
            }
            _ => true,
        }
    }

    /// What a pool's rules say has to be true of somebody.
    fn allow(&mut self, config: &PolicyConfig, pools: &[RawPool], has_tenants: bool) {
        let with_a_token = config.issuers.iter().map(|one| one.issuer.as_str());
        let without = [
            (API_KEY, config.api_keys.is_empty()),
            (CLIENT_CERTIFICATE, config.client_certificates.is_empty()),
        ];
        let without = without
            .iter()
            .filter_map(|(name, none)| (!none).then_some(*name));
        let issuers: Vec<&str> = with_a_token.chain(without).collect();
        for (index, pool) in pools.iter().enumerate() {
            let field = FieldPath::default().key("pools").index(index).key("allow");
            for (index, rule) in pool.allow.iter().enumerate() {
                let field = field.index(index);
                if let Some(issuer) = &rule.issuer
                    && !issuers.contains(&issuer.as_str())
                {
                    let fault = Fault::UnknownIssuer(issuer.clone());
                    self.fault(field.key("issuer"), fault);
                }
                if rule.tenant.is_some() && !has_tenants {
                    self.fault(field.key("tenant"), Fault::NoTenantClaim);
                }
            }
        }
    }

    fn token_cache(&mut self, raw: Option<RawTokenCache>, field: &FieldPath) -> TokenCacheConfig {
        let raw = raw.unwrap_or_default();
        let default = TokenCacheConfig::default();
        let entries = self.number(raw.entries, &field.key("entries"), 0..=100_000);
        let max_age =
            self.whole_seconds(raw.max_age.as_deref(), &field.key("max_age"), &CACHED_FOR);
        TokenCacheConfig {
            entries: entries.unwrap_or(default.entries),
            seconds: max_age.map_or(default.seconds, |seconds| {
                u32::try_from(seconds).unwrap_or(u32::MAX)
            }),
        }
    }

    pub(super) fn whole_seconds(
        &mut self,
        text: Option<&str>,
        field: &FieldPath,
        rule: &DurationRule,
    ) -> Option<u64> {
        let duration = self.duration(text, field, rule)?;
        if duration.subsec_nanos() != 0 {
            self.fault(field.clone(), Fault::NotWholeSeconds(duration));
            return None;
        }
        Some(duration.as_secs())
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

fn policy_pool(pool: &RawPool) -> Option<PoolConfig> {
    Some(PoolConfig {
        name: pool.name.clone(),
        family: pool.family.parse().ok()?,
        audiences: pool.audiences.clone(),
        allow: pool.allow.clone(),
    })
}

/// Whether this, below a pool, is a whole entry of `allow`.
fn is_rule(field: &str) -> bool {
    field.starts_with("allow[") && !field.contains('.')
}

fn open(pool: &PoolConfig) -> PoolConfig {
    PoolConfig::open(pool.name.clone(), pool.family)
}

/// What a policy consists of beside its issuers and pools, and can be looked at alone.
const PARTS: &[fn(&mut PolicyConfig, &PolicyConfig)] = &[
    |part, whole| part.labels.clone_from(&whole.labels),
    |part, whole| part.api_keys.clone_from(&whole.api_keys),
    |part, whole| {
        part.client_certificates
            .clone_from(&whole.client_certificates)
    },
    |part, whole| part.pool_from.clone_from(&whole.pool_from),
    |part, whole| part.tags.clone_from(&whole.tags),
    |part, whole| part.attempts = whole.attempts,
    |part, whole| part.pools_claim.clone_from(&whole.pools_claim),
    |part, whole| part.tenant_claim.clone_from(&whole.tenant_claim),
    |part, whole| part.priority_claim.clone_from(&whole.priority_claim),
];

/// What those have for an issuer who come without a token.
const API_KEY: &str = "api_key";
const CLIENT_CERTIFICATE: &str = "client_certificate";

const CACHED_FOR: DurationRule = DurationRule {
    default: Duration::from_mins(5),
    least: Duration::from_secs(1),
    most: Duration::from_hours(24),
};
