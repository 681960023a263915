use std::{net::SocketAddr, num::NonZeroU32, time::Duration};

use super::{Check, DurationRule, Unique};
use crate::{
    config::{
        Instance, Pool, Probe, ProbeKind, Timing,
        error::Fault,
        field::FieldPath,
        name::{instance_name, pool_name},
        raw::{RawHttpProbe, RawInstance, RawPool, RawProbe},
    },
    fleet::Thresholds,
    placement::{PoolPolicy, SecondDevice},
};

impl Check<'_> {
    pub(super) fn pools(
        &mut self,
        raw: &[RawPool],
        field: &FieldPath,
        timing: Option<&Timing>,
    ) -> Vec<Pool> {
        if raw.is_empty() {
            let remedy = "give at least one pool of instances";
            self.fault(field.clone(), Fault::Empty { remedy });
        }
        let mut unique = UniqueInPools {
            pools: Unique::new("give every pool a name of its own"),
            instances: Unique::new("give every instance a name of its own, across all pools"),
            addresses: Unique::new(
                "a runtime serves one session at a time, so it can be only one instance, in one pool",
            ),
        };
        let mut pools = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            pools.extend(self.pool(raw, &field.index(index), timing, &mut unique));
        }
        pools
    }

    fn pool(
        &mut self,
        raw: &RawPool,
        field: &FieldPath,
        timing: Option<&Timing>,
        unique: &mut UniqueInPools,
    ) -> Option<Pool> {
        let name = self.name(&raw.name, &field.key("name"), pool_name);
        unique.pools.claim(self, &raw.name, &field.key("name"));
        let family = self.family(&raw.family, &field.key("family"));
        let instances = self.instances(&raw.instances, &field.key("instances"), unique);
        let probe = self.probe(raw.probe.as_ref(), &field.key("probe"));
        let policy = self.policy(raw, field, timing);
        Some(Pool {
            name: name?,
            family: family?,
            instances,
            probe: probe?,
            policy: policy?,
        })
    }

    fn policy(
        &mut self,
        raw: &RawPool,
        field: &FieldPath,
        timing: Option<&Timing>,
    ) -> Option<PoolPolicy> {
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
        let resume_window = self.duration(
            raw.resume_window.as_deref(),
            &field.key("resume_window"),
            &RESUME_WINDOW,
        );
        let settle = self.duration(raw.settle.as_deref(), &field.key("settle"), &SETTLE);
        let hold = self.hold(raw.hold.as_deref(), &field.key("hold"), timing);
        let orphan_after = self.orphan_after(
            raw.orphan_after.as_deref(),
            &field.key("orphan_after"),
            timing,
        );
        Some(PoolPolicy {
            hold: hold?,
            orphan_after: orphan_after?,
            resume_window: resume_window?,
            second_device: second_device?,
            settle: settle?,
            ..PoolPolicy::default()
        })
    }

    fn family(&mut self, text: &str, field: &FieldPath) -> Option<berth_admission::Family> {
        let family = text.parse().ok();
        if family.is_none() {
            let value = text.to_owned();
            let choices = "web (CloudXR.js) or native (CloudXR Framework, Foveated Streaming)";
            self.fault(field.clone(), Fault::Choice { value, choices });
        }
        family
    }

    fn instances(
        &mut self,
        raw: &[RawInstance],
        field: &FieldPath,
        unique: &mut UniqueInPools,
    ) -> Vec<Instance> {
        let mut instances = Vec::with_capacity(raw.len());
        for (index, raw) in raw.iter().enumerate() {
            let field = field.index(index);
            let name_field = field.key("name");
            let address_field = field.key("address");
            let name = self.name(&raw.name, &name_field, instance_name);
            unique.instances.claim(self, &raw.name, &name_field);
            let address = self.instance_address(&raw.address, &address_field);
            if let Some(address) = address {
                let value = address.to_string();
                unique.addresses.claim(self, &value, &address_field);
            }
            instances.extend(
                name.zip(address)
                    .map(|(name, address)| Instance { name, address }),
            );
        }
        instances
    }

    fn instance_address(&mut self, text: &str, field: &FieldPath) -> Option<SocketAddr> {
        let address = self.socket_address(text, field)?;
        // `::ffff:10.0.0.1` is 10.0.0.1, and must not pass for another instance.
        let ip = address.ip().to_canonical();
        let is_broadcast = matches!(ip, std::net::IpAddr::V4(ip) if ip.is_broadcast());
        if ip.is_unspecified() || ip.is_multicast() || is_broadcast {
            self.fault(field.clone(), Fault::NotOneHost(ip));
            return None;
        }
        Some(SocketAddr::new(ip, address.port()))
    }

    fn probe(&mut self, raw: Option<&RawProbe>, field: &FieldPath) -> Option<Probe> {
        let unset = RawProbe::default();
        let raw = raw.unwrap_or(&unset);
        if raw.tcp.is_some() && raw.http.is_some() {
            self.fault(field.clone(), Fault::TwoProbes);
        }
        let kind = match &raw.http {
            Some(http) => self.http_probe(http, &field.key("http")),
            None => Some(ProbeKind::Tcp),
        };
        let interval = self.duration(raw.interval.as_deref(), &field.key("interval"), &INTERVAL);
        // A probe that outlives its interval would have company.
        let timeout_rule = DurationRule {
            default: TIMEOUT.default.min(interval.unwrap_or(TIMEOUT.default)),
            least: TIMEOUT.least,
            most: interval.unwrap_or(TIMEOUT.most),
        };
        let timeout = self.duration(raw.timeout.as_deref(), &field.key("timeout"), &timeout_rule);
        let rise = self.count(raw.rise, DEFAULT_RISE, &field.key("rise"));
        let fall = self.count(raw.fall, DEFAULT_FALL, &field.key("fall"));
        Some(Probe {
            kind: kind?,
            interval: interval?,
            timeout: timeout?,
            thresholds: Thresholds {
                rise: rise?,
                fall: fall?,
            },
        })
    }

    fn http_probe(&mut self, raw: &RawHttpProbe, field: &FieldPath) -> Option<ProbeKind> {
        let port = self.port(raw.port, &field.key("port"));
        let path = &raw.path;
        let is_path = path.starts_with('/')
            && path
                .bytes()
                .all(|byte| byte.is_ascii_graphic() && byte != b'#');
        if !is_path {
            self.fault(field.key("path"), Fault::HttpPath(path.clone()));
            return None;
        }
        let path = path.clone();
        Some(ProbeKind::Http { port: port?, path })
    }

    fn count(
        &mut self,
        number: Option<i64>,
        default: NonZeroU32,
        field: &FieldPath,
    ) -> Option<NonZeroU32> {
        let Some(number) = number else {
            return Some(default);
        };
        let count = u32::try_from(number).ok().and_then(NonZeroU32::new);
        if count.is_none() {
            self.fault(field.clone(), Fault::ProbeCount(number));
        }
        count
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

struct UniqueInPools {
    pools: Unique,
    instances: Unique,
    addresses: Unique,
}

/// Native clients report a failed connection about this long after they began (error 0x800B1004).
const CLIENT_PATIENCE: Duration = Duration::from_secs(20);

const DEFAULT_RISE: NonZeroU32 = NonZeroU32::MIN.saturating_add(1);
const DEFAULT_FALL: NonZeroU32 = NonZeroU32::MIN.saturating_add(2);

const INTERVAL: DurationRule = DurationRule {
    default: Duration::from_secs(2),
    least: Duration::from_millis(100),
    most: Duration::from_secs(3600),
};
const TIMEOUT: DurationRule = DurationRule {
    default: Duration::from_secs(1),
    least: Duration::from_millis(10),
    most: Duration::from_secs(3600),
};
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
