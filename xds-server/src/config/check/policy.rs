//! The rules of one pool's leases.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{Check, Common, DurationRule, Unique};
use crate::{
    config::{
        Timing,
        error::Fault,
        field::FieldPath,
        raw::{RawPool, RawTenant},
    },
    placement::{Choice, PoolPolicy, SecondDevice, TenantPolicy},
};

impl Check<'_> {
    pub(super) fn policy(
        &mut self,
        raw: &RawPool,
        field: &FieldPath,
        common: Common<'_>,
    ) -> Option<PoolPolicy> {
        let choice = self.choice(
            raw.choice.as_deref(),
            &field.key("choice"),
            &[
                ("least_recently_used", Choice::LeastRecentlyUsed),
                ("pack", Choice::Pack),
                ("spread", Choice::Spread),
            ],
            "least_recently_used, pack or spread",
        );
        let second_device = self.choice(
            raw.second_device.as_deref(),
            &field.key("second_device"),
            &[
                ("take_over", SecondDevice::TakeOver),
                ("refuse", SecondDevice::Refuse),
                ("allow", SecondDevice::Allow),
            ],
            "take_over, refuse or allow",
        );
        let mut duration = |text: &Option<String>, name, rule| {
            self.duration(text.as_deref(), &field.key(name), rule)
        };
        let resume_window = duration(&raw.resume_window, "resume_window", &RESUME_WINDOW);
        let settle = duration(&raw.settle, "settle", &SETTLE);
        let warm_up = duration(&raw.warm_up, "warm_up", &WARM_UP);
        let max_session_age = raw
            .max_session_age
            .is_some()
            .then(|| duration(&raw.max_session_age, "max_session_age", &MAX_SESSION_AGE));
        let hold = self.hold(raw.hold.as_deref(), &field.key("hold"), common.timing);
        let orphan_after = self.orphan_after(
            raw.orphan_after.as_deref(),
            &field.key("orphan_after"),
            common.timing,
        );
        let queue = self.number(raw.queue, &field.key("queue"), 0..=MAX_QUEUE);
        let mut cap = |number, name| self.number(number, &field.key(name), 1..=MAX_SESSIONS);
        let max_sessions = cap(raw.max_sessions, "max_sessions");
        let max_sessions_per_user = cap(raw.max_sessions_per_user, "max_sessions_per_user");
        let max_sessions_per_tenant = cap(raw.max_sessions_per_tenant, "max_sessions_per_tenant");
        if max_sessions_per_tenant.is_some() && !common.has_tenants {
            self.fault(field.key("max_sessions_per_tenant"), Fault::NoTenantClaim);
        }
        let tenants = self.tenants(&raw.tenants, &field.key("tenants"), common);
        self.reserved(raw, field, &tenants, max_sessions);
        Some(PoolPolicy {
            choice: choice?,
            hold: hold?,
            max_sessions,
            max_sessions_per_tenant,
            max_sessions_per_user,
            max_session_age: max_session_age.flatten(),
            orphan_after: orphan_after?,
            queue: queue.unwrap_or(DEFAULT_QUEUE) as usize,
            resume_window: resume_window?,
            second_device: second_device?,
            settle: settle?,
            tenants,
            warm_up: warm_up?,
        })
    }

    fn tenants(
        &mut self,
        raw: &[RawTenant],
        field: &FieldPath,
        common: Common<'_>,
    ) -> BTreeMap<Arc<str>, TenantPolicy> {
        if !raw.is_empty() && !common.has_tenants {
            self.fault(field.clone(), Fault::NoTenantClaim);
        }
        let mut names = Unique::new("give a tenant one entry");
        let mut tenants = BTreeMap::new();
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            if raw.name.is_empty() {
                let remedy = "write the tenant as tokens name it";
                self.fault(field.key("name"), Fault::Empty { remedy });
            }
            names.claim(self, &raw.name, &field.key("name"));
            let reserved = self.number(raw.reserved, &field.key("reserved"), 0..=MAX_SESSIONS);
            let most = field.key("max_sessions");
            let max_sessions = self.number(raw.max_sessions, &most, 1..=MAX_SESSIONS);
            let reserved = reserved.unwrap_or_default();
            if let Some(max_sessions) = max_sessions.filter(|most| *most < reserved) {
                let fault = Fault::UselessReserve {
                    reserved,
                    max_sessions,
                };
                self.fault(field.key("reserved"), fault);
            }
            let policy = TenantPolicy {
                max_sessions,
                reserved,
            };
            tenants.insert(raw.name.as_str().into(), policy);
        }
        tenants
    }

    /// What is reserved has to be there, and to be usable.
    fn reserved(
        &mut self,
        raw: &RawPool,
        field: &FieldPath,
        tenants: &BTreeMap<Arc<str>, TenantPolicy>,
        max_sessions: Option<u32>,
    ) {
        let reserved = tenants.values().map(|tenant| u64::from(tenant.reserved));
        let reserved = reserved.sum();
        let instances = u64::try_from(raw.instances.len()).unwrap_or(u64::MAX);
        let max_sessions = max_sessions.map_or(u64::MAX, u64::from);
        for (limit, available, remedy) in [
            (
                "the number of the pool's instances",
                instances,
                "reserve fewer or add instances",
            ),
            (
                "the pool's `max_sessions`",
                max_sessions,
                "reserve fewer or raise it",
            ),
        ] {
            if reserved > available {
                let fault = Fault::OverReserved {
                    reserved,
                    limit,
                    available,
                    remedy,
                };
                self.fault(field.key("tenants"), fault);
            }
        }
    }

    fn hold(
        &mut self,
        text: Option<&str>,
        field: &FieldPath,
        timing: Option<&Timing>,
    ) -> Option<Duration> {
        let hold = self.duration(text, field, &HOLD)?;
        if let Some(timing) = timing {
            let sum = hold
                .saturating_add(timing.handshake_timeout)
                .saturating_add(timing.tick);
            if sum >= CLIENT_PATIENCE {
                let limit = CLIENT_PATIENCE;
                self.fault(field.clone(), Fault::ClientGivesUp { sum, limit });
                return None;
            }
        }
        Some(hold)
    }

    /// A lease is orphaned after three silent ticks at the earliest, and given up after that.
    fn orphan_after(
        &mut self,
        text: Option<&str>,
        field: &FieldPath,
        timing: Option<&Timing>,
    ) -> Option<Duration> {
        let silence = timing.map_or(Duration::ZERO, |timing| timing.tick.saturating_mul(3));
        let rule = DurationRule {
            least: silence,
            ..ORPHAN_AFTER
        };
        self.duration(text, field, &rule)
    }
}

/// Native clients report a failed connection about this long after they began (error 0x800B1004).
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);

/// Requests are held at most `hold`: more of them than this would not be served in time anyway.
const MAX_QUEUE: u32 = 10_000;
const DEFAULT_QUEUE: u32 = 1_000;
/// More sessions than any pool has instances.
const MAX_SESSIONS: u32 = 1_000_000;

const RESUME_WINDOW: DurationRule = DurationRule {
    default: Duration::from_secs(30),
    least: Duration::ZERO,
    most: Duration::from_secs(24 * 3600),
};
const SETTLE: DurationRule = DurationRule {
    default: Duration::from_millis(250),
    least: Duration::ZERO,
    most: Duration::from_secs(600),
};
const WARM_UP: DurationRule = DurationRule {
    default: Duration::ZERO,
    least: Duration::ZERO,
    most: Duration::from_secs(3600),
};
const MAX_SESSION_AGE: DurationRule = DurationRule {
    default: Duration::MAX,
    least: Duration::from_secs(1),
    most: Duration::from_secs(30 * 24 * 3600),
};
const HOLD: DurationRule = DurationRule {
    default: Duration::from_secs(8),
    least: Duration::ZERO,
    most: CLIENT_PATIENCE,
};
const ORPHAN_AFTER: DurationRule = DurationRule {
    default: Duration::from_secs(300),
    least: Duration::ZERO,
    most: Duration::from_secs(24 * 3600),
};
