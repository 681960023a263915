use std::{collections::BTreeMap, net::SocketAddr, num::NonZeroU32, time::Duration};

use super::{Check, Common, DurationRule, Unique};
use crate::{
    config::{
        Instance, Pool, Probe, ProbeKind,
        error::Fault,
        field::FieldPath,
        name::{instance_name, label_name, label_value, pool_name, zone},
        raw::{RawHttpProbe, RawInstance, RawPool, RawProbe},
    },
    fleet::Thresholds,
    placement::Labels,
};

impl Check<'_> {
    pub(super) fn pools(
        &mut self,
        raw: &[RawPool],
        field: &FieldPath,
        common: Common<'_>,
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
            pools.extend(self.pool(raw, &field.index(index), common, &mut unique));
        }
        pools
    }

    fn pool(
        &mut self,
        raw: &RawPool,
        field: &FieldPath,
        common: Common<'_>,
        unique: &mut UniqueInPools,
    ) -> Option<Pool> {
        let name = self.name(&raw.name, &field.key("name"), pool_name);
        unique.pools.claim(self, &raw.name, &field.key("name"));
        let family = self.family(&raw.family, &field.key("family"));
        let instances = self.instances(&raw.instances, &field.key("instances"), unique);
        let probe = self.probe(raw.probe.as_ref(), &field.key("probe"));
        let policy = self.policy(raw, field, common);
        let tls_field = field.key("instance_tls");
        let instance_tls = raw.instance_tls.as_ref();
        let instance_tls = instance_tls.map(|raw| self.instance_tls(raw, &tls_field));
        Some(Pool {
            name: name?,
            family: family?,
            instances,
            probe: probe?,
            policy: policy?,
            // One that is broken must not pass for none.
            instance_tls: instance_tls.map_or(Some(None), |tls| tls.map(Some))?,
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
            let in_zone = raw.zone.as_deref();
            let in_zone = in_zone.and_then(|text| self.name(text, &field.key("zone"), zone));
            let labels = self.labels(&raw.labels, &field.key("labels"));
            instances.extend(name.zip(address).map(|(name, address)| Instance {
                name,
                address,
                zone: in_zone,
                labels,
            }));
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

    fn labels(&mut self, raw: &BTreeMap<String, String>, field: &FieldPath) -> Labels {
        if raw.len() > MAX_LABELS {
            let (count, most) = (raw.len(), MAX_LABELS);
            self.fault(field.clone(), Fault::TooMany { count, most });
        }
        let labels = raw.iter().filter_map(|(name, value)| {
            let field = field.key(name);
            let name = self.name(name, &field, label_name);
            let value = self.name(value, &field, label_value);
            name.zip(value)
        });
        labels.collect()
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
}

struct UniqueInPools {
    pools: Unique,
    instances: Unique,
    addresses: Unique,
}

/// As many as admission lets a client ask for.
const MAX_LABELS: usize = 16;
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
