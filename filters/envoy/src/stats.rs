//! What Envoy counts of Berth.

use std::time::Duration;

use berth_admission::{Algorithm, KeyMaterial, Reason, VerifyError, VerifySignature};
use proxy_wasm::types::MetricType;

use crate::host::{Host, MetricId};
use crate::session::Closed;

/// Where one VM's statistics are. What is added to them is added to those of the whole proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    allowed: Option<MetricId>,
    refused: Vec<(Reason, Option<MetricId>)>,
    undecided: Option<MetricId>,
    cache_hit: Option<MetricId>,
    cache_miss: Option<MetricId>,
    limited: Option<MetricId>,
    closed_by_berth: Option<MetricId>,
    closed_for_age: Option<MetricId>,
    closed_with_token: Option<MetricId>,
    verify: Option<MetricId>,
    decide: Option<MetricId>,
}

impl Metrics {
    /// Makes all of them, so that each is there, as 0, before something is counted: what appears with its first count was
    /// not seen to grow.
    pub(crate) fn define<H: Host>(host: &H) -> Self {
        let counter = |name: &str| host.define_metric(MetricType::Counter, name);
        let histogram = |name: &str| host.define_metric(MetricType::Histogram, name);
        let refused = |reason: &Reason| {
            let name = format!("berth.admission.refused.{}", reason.label());
            (*reason, counter(&name))
        };
        Self {
            allowed: counter("berth.admission.allowed"),
            refused: Reason::ALL.iter().map(refused).collect(),
            undecided: counter("berth.admission.undecided"),
            cache_hit: counter("berth.token_cache.hit"),
            cache_miss: counter("berth.token_cache.miss"),
            limited: counter("berth.attempts.limited"),
            closed_by_berth: counter("berth.session.closed.berth"),
            closed_for_age: counter("berth.session.closed.max_age"),
            closed_with_token: counter("berth.session.closed.token_expired"),
            verify: histogram("berth.admission.verify_us"),
            decide: histogram("berth.admission.decide_us"),
        }
    }
}

/// Counts. Does nothing in a VM that is not configured.
#[derive(Debug)]
pub(crate) struct Stats<'a, H> {
    host: &'a H,
    metrics: Option<&'a Metrics>,
}

impl<H> Clone for Stats<'_, H> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<H> Copy for Stats<'_, H> {}

impl<'a, H: Host> Stats<'a, H> {
    pub(crate) const fn new(host: &'a H, metrics: Option<&'a Metrics>) -> Self {
        Self { host, metrics }
    }

    /// A credential was accepted, here or by the control plane.
    pub(crate) fn allowed(self) {
        self.count(|metrics| metrics.allowed);
    }

    /// A request was refused, by whomever.
    pub(crate) fn refused(self, reason: Reason) {
        self.count(|metrics| {
            let mut refused = metrics.refused.iter();
            refused.find(|(counted, _)| *counted == reason)?.1
        });
    }

    /// A credential was left to the control plane.
    pub(crate) fn undecided(self) {
        self.count(|metrics| metrics.undecided);
    }

    /// A token was looked up in the cache.
    pub(crate) fn cache(self, hit: bool) {
        self.count(|metrics| match hit {
            true => metrics.cache_hit,
            false => metrics.cache_miss,
        });
    }

    /// A client's attempt was over its limit.
    pub(crate) fn limited(self) {
        self.count(|metrics| metrics.limited);
    }

    /// A live session was closed.
    pub(crate) fn closed(self, why: Closed) {
        self.count(|metrics| match why {
            Closed::Berth => metrics.closed_by_berth,
            Closed::MaxAge => metrics.closed_for_age,
            Closed::TokenExpired => metrics.closed_with_token,
        });
    }

    /// A signature was checked in this time.
    pub(crate) fn verified(self, took: Duration) {
        self.record(took, |metrics| metrics.verify);
    }

    /// A request was decided upon in this time, its signature included.
    pub(crate) fn decided(self, took: Duration) {
        self.record(took, |metrics| metrics.decide);
    }

    fn count(self, which: impl FnOnce(&Metrics) -> Option<MetricId>) {
        if let Some(counter) = self.metrics.and_then(which) {
            self.host.increment(counter, 1);
        }
    }

    fn record(self, took: Duration, which: impl FnOnce(&Metrics) -> Option<MetricId>) {
        if let Some(histogram) = self.metrics.and_then(which) {
            let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
            self.host.record(histogram, micros);
        }
    }
}

/// Records how long each signature takes.
#[derive(Debug)]
pub(crate) struct Timed<'a, H, V> {
    pub(crate) verifier: V,
    pub(crate) stats: Stats<'a, H>,
}

impl<H: Host, V: VerifySignature> VerifySignature for Timed<'_, H, V> {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        let host = self.stats.host;
        let began = host.uptime();
        let verified = self.verifier.verify(algorithm, key, message, signature);
        self.stats.verified(host.uptime().saturating_sub(began));
        verified
    }
}
