//! Prometheus metrics.

use std::collections::BTreeMap;
use std::time::Duration;

use berth_admission::Reason;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;

use crate::controller::InstanceStatus;
use crate::keys::IssuerKeys;
use crate::placement::{Counts, PoolName, Time};
use crate::store::writer::Progress;
use crate::xds::ResourceType;

/// What is counted at the edge; the cores count the rest themselves.
#[derive(Debug)]
pub struct Metrics {
    acquires: Family<OutcomeLabel, Histogram, fn() -> Histogram>,
    refused_resources: Family<TypeLabel, Counter>,
    refused_sessions: Family<ReasonLabel, Counter>,
    publishes: Counter,
    published_resources: Counter,
}

/// What the rest of a scrape is made of.
#[derive(Debug)]
pub struct Scrape<'a> {
    /// Placement's counts.
    pub counts: &'a Counts,
    /// All instances.
    pub instances: Vec<InstanceStatus>,
    /// The keys that admission uses.
    pub keys: &'a [IssuerKeys],
    /// The time, as they have it.
    pub now: Time,
    /// Nothing is granted yet.
    pub learning: bool,
    /// Proxies with an open stream.
    pub nodes: usize,
    /// What the operator has revoked.
    pub revocations: usize,
    /// How far the store is.
    pub store: Progress,
    /// Nothing can be written to it.
    pub store_failing: bool,
    /// Sessions that wait for an instance, by pool.
    pub waiting: BTreeMap<PoolName, usize>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct IssuerLabel {
    issuer: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FetchLabels {
    issuer: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PoolLabel {
    pool: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TypeLabel {
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CauseLabel {
    cause: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LeaseLabels {
    pool: String,
    state: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct HealthLabels {
    pool: String,
    health: &'static str,
    draining: &'static str,
    quarantined: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        // From a millisecond to 16 s, which is longer than any hold.
        let times: fn() -> Histogram = || Histogram::new(exponential_buckets(0.001, 2.0, 15));
        Self {
            acquires: Family::new_with_constructor(times),
            refused_resources: Family::default(),
            refused_sessions: Family::default(),
            publishes: Counter::default(),
            published_resources: Counter::default(),
        }
    }
}

impl Metrics {
    /// Takes the time from a request for an instance to its answer.
    pub fn answered(&self, outcome: &'static str, held: Duration) {
        let label = OutcomeLabel { outcome };
        let times = self.acquires.get_or_create(&label);
        times.observe(held.as_secs_f64());
    }

    /// Counts a refused session.
    pub fn refused_session(&self, reason: Reason) {
        let label = ReasonLabel {
            reason: reason.label(),
        };
        self.refused_sessions.get_or_create(&label).inc();
    }

    /// Counts a response that a proxy refused.
    pub fn refused_resources(&self, resource_type: ResourceType) {
        let label = TypeLabel {
            r#type: resource_type.type_url(),
        };
        self.refused_resources.get_or_create(&label).inc();
    }

    /// Counts that proxies were told of so many changed resources.
    pub fn published(&self, resources: usize) {
        self.publishes.inc();
        self.published_resources
            .inc_by(u64::try_from(resources).unwrap_or(u64::MAX));
    }

    /// Everything, in Prometheus' text format.
    pub fn render(&self, scrape: &Scrape<'_>) -> String {
        let mut registry = Registry::with_prefix("berth");
        registry.register(
            "acquire_seconds",
            "From a request for an instance to its answer, by outcome",
            self.acquires.clone(),
        );
        registry.register(
            "sessions_refused",
            "Sessions refused by placement, by reason",
            self.refused_sessions.clone(),
        );
        registry.register(
            "xds_publishes",
            "Times that proxies were told of changes, those of 50 ms together",
            self.publishes.clone(),
        );
        registry.register(
            "xds_resources_changed",
            "Resources made for proxies, and taken away",
            self.published_resources.clone(),
        );
        registry.register(
            "xds_refused",
            "Responses refused by proxies, by resource type",
            self.refused_resources.clone(),
        );
        counters(&mut registry, scrape.counts);
        plain_counters(
            &mut registry,
            [
                (
                    "store_commits",
                    "Transactions that the store has made durable",
                    scrape.store.commits,
                ),
                (
                    "history_dropped",
                    "Sessions missing from the history, because too many waited for the store",
                    scrape.store.past_dropped,
                ),
            ],
        );
        gauges(&mut registry, scrape);
        keys(&mut registry, scrape);
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &registry);
        text
    }
}

fn counters(registry: &mut Registry, counts: &Counts) {
    let plain = [
        ("sessions_granted", "Instances leased", counts.granted),
        (
            "leases_adopted",
            "Leases learnt from a proxy's Sync",
            counts.adopted,
        ),
        (
            "leases_orphaned",
            "Leases whose proxy fell silent",
            counts.orphaned,
        ),
        (
            "leases_reclaimed",
            "Orphaned leases whose proxy came back",
            counts.reclaimed,
        ),
        (
            "orphans_released",
            "Orphaned leases given up without a word from their proxy",
            counts.orphans_released,
        ),
        (
            "lease_overlaps",
            "Sessions found live on an instance that had been given to another",
            counts.overlaps,
        ),
    ];
    plain_counters(registry, plain);
    let ignored = Family::<KindLabel, Counter>::default();
    for (kind, value) in &counts.ignored {
        let kind = kind.label();
        ignored.get_or_create(&KindLabel { kind }).inc_by(*value);
    }
    registry.register(
        "messages_ignored",
        "Words about sessions that changed nothing, by kind",
        ignored,
    );
    let ended = Family::<CauseLabel, Counter>::default();
    for (cause, value) in &counts.ended {
        let cause = cause.label();
        ended.get_or_create(&CauseLabel { cause }).inc_by(*value);
    }
    registry.register("sessions_ended", "Sessions ended, by cause", ended);
}

fn plain_counters<const N: usize>(
    registry: &mut Registry,
    counters: [(&'static str, &'static str, u64); N],
) {
    for (name, help, value) in counters {
        let counter = Counter::<u64>::default();
        counter.inc_by(value);
        registry.register(name, help, counter);
    }
}

fn gauges(registry: &mut Registry, scrape: &Scrape<'_>) {
    let leases = Family::<LeaseLabels, Gauge>::default();
    let instances = Family::<HealthLabels, Gauge>::default();
    for instance in &scrape.instances {
        let pool = instance.view.pool.to_string();
        let lease = instance.view.lease.as_ref();
        let state = lease.map_or("free", |lease| lease.state.label());
        let labels = LeaseLabels {
            pool: pool.clone(),
            state,
        };
        leases.get_or_create(&labels).inc();
        let labels = HealthLabels {
            pool,
            health: instance.health.as_str(),
            draining: truth(instance.view.draining),
            quarantined: truth(instance.view.quarantined),
        };
        instances.get_or_create(&labels).inc();
    }
    registry.register("leases", "Instances by the state of their lease", leases);
    registry.register("instances", "Instances by health", instances);
    let waiting = Family::<PoolLabel, Gauge>::default();
    for (pool, count) in &scrape.waiting {
        let pool = pool.to_string();
        let gauge = waiting.get_or_create(&PoolLabel { pool });
        gauge.set(i64::try_from(*count).unwrap_or(i64::MAX));
    }
    registry.register("sessions_waiting", "Requests held for an instance", waiting);
    let plain = [
        ("xds_nodes", "Proxies with an open stream", scrape.nodes),
        (
            "revocations",
            "Users, tokens and sessions that are revoked",
            scrape.revocations,
        ),
        (
            "learning",
            "1 while nothing is granted after a start",
            usize::from(scrape.learning),
        ),
        (
            "store_failing",
            "1 while nothing can be made durable, and nobody is admitted",
            usize::from(scrape.store_failing),
        ),
    ];
    for (name, help, value) in plain {
        let gauge = Gauge::<i64>::default();
        gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        registry.register(name, help, gauge);
    }
}

fn keys(registry: &mut Registry, scrape: &Scrape<'_>) {
    let fetches = Family::<FetchLabels, Counter>::default();
    let ages = Family::<IssuerLabel, Gauge>::default();
    let used = Family::<IssuerLabel, Gauge>::default();
    let ignored = Family::<IssuerLabel, Gauge>::default();
    for keys in scrape.keys {
        let label = IssuerLabel {
            issuer: keys.issuer.clone(),
        };
        for (outcome, count) in [
            ("changed", keys.fetches.changed),
            ("failed", keys.fetches.failed),
            ("unchanged", keys.fetches.unchanged),
        ] {
            let issuer = keys.issuer.clone();
            let labels = FetchLabels { issuer, outcome };
            fetches.get_or_create(&labels).inc_by(count);
        }
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let held = keys.held.as_ref();
        let in_use = held.map_or(0, |held| held.set.len());
        used.get_or_create(&label).set(count(in_use));
        ignored.get_or_create(&label).set(count(keys.ignored.len()));
        if let Some(held) = held {
            let age = scrape.now.since(held.fetched_at).as_secs();
            let age = i64::try_from(age).unwrap_or(i64::MAX);
            ages.get_or_create(&label).set(age);
        }
    }
    registry.register(
        "key_fetches",
        "Fetches of an issuer's keys, by what they led to",
        fetches,
    );
    registry.register(
        "keys_age_seconds",
        "Since an issuer's keys were last fetched",
        ages,
    );
    registry.register("keys", "Keys of an issuer that are used", used);
    registry.register(
        "keys_ignored",
        "Keys of an issuer that cannot be used",
        ignored,
    );
}

const fn truth(is: bool) -> &'static str {
    if is { "true" } else { "false" }
}

#[cfg(test)]
mod tests {
    use berth_admission::Family;

    use super::*;
    use crate::fleet::Health;
    use crate::keys::{Fetches, Held, KeySet, Place};
    use crate::placement::{EndCause, Ignored, InstanceView};

    #[test]
    fn the_readme_lists_every_metric() {
        let readme = include_str!("../README.md");
        let metrics = Metrics::default();
        metrics.answered("granted", Duration::from_millis(3));
        metrics.refused_session(Reason::NoInstance);
        metrics.refused_resources(ResourceType::Cluster);
        let mut counts = Counts::default();
        counts.ended.insert(EndCause::Client, 1);
        counts.ignored.insert(Ignored::LateSync, 1);
        let instance = InstanceStatus {
            view: InstanceView {
                name: "web-1".into(),
                pool: "web".into(),
                up: true,
                warm: true,
                draining: false,
                quarantined: false,
                lease: None,
            },
            address: "192.0.2.1:49100".parse().unwrap(),
            health: Health::Up,
            family: Family::Web,
        };
        let issuer = IssuerKeys {
            issuer: "https://a.example".to_owned(),
            place: Place::File("keys.json".into()),
            held: Some(Held {
                set: KeySet::default(),
                fetched_at: Time::default(),
            }),
            ignored: Vec::new(),
            next: None,
            error: None,
            fetches: Fetches::default(),
        };
        let text = metrics.render(&Scrape {
            keys: &[issuer],
            now: Time(Duration::from_secs(7)),
            counts: &counts,
            instances: vec![instance],
            learning: false,
            nodes: 0,
            revocations: 0,
            store: Progress::default(),
            store_failing: false,
            waiting: BTreeMap::from([("web".into(), 1)]),
        });
        let names: Vec<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, kind)| match kind {
                "counter" => format!("{name}_total"),
                _ => name.to_owned(),
            })
            .collect();
        assert!(
            text.contains("berth_keys_age_seconds{issuer=\"https://a.example\"} 7\n"),
            "{text}"
        );
        assert_eq!(names.len(), 26, "{text}");
        for name in names {
            assert!(readme.contains(&name), "{name}");
        }
    }
}
