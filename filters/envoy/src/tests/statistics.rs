use berth_admission::Reason;

use super::*;
use crate::session::Closed;

impl Proxy {
    /// How often something was counted, or recorded.
    pub(super) fn counted(&self, name: &str) -> usize {
        let values = self
            .worker
            .host
            .with(|state| state.metrics.get(name).cloned());
        values.unwrap_or_else(|| panic!("no {name}")).len()
    }

    /// What was counted at all.
    fn all_counted(&self) -> Vec<String> {
        let metrics = self.worker.host.with(|state| state.metrics.clone());
        let counted = metrics.into_iter().filter(|(_, values)| !values.is_empty());
        counted.map(|(name, _)| name).collect()
    }
}

#[test]
fn every_statistic_is_there_from_the_start_and_once_a_vm() {
    let proxy = Proxy::start();
    // The fake panics at a name that is defined twice.
    assert!(Root::new(Rc::clone(&proxy.worker), ROOT).on_configure(0));
    let metrics = proxy.worker.host.with(|state| state.metrics.clone());
    assert_eq!(metrics.len(), Reason::ALL.len() + 10);
    let readme = include_str!("../../README.md");
    for name in metrics.keys() {
        let name = match name.strip_prefix("berth.admission.refused.") {
            Some(_) => "berth.admission.refused.<reason>",
            None => name,
        };
        assert!(readme.contains(&format!("`{name}`")), "{name}");
    }
}

#[test]
fn each_is_counted_under_its_own_name() {
    type Count = fn(&Proxy);
    let cases: [(Count, &str); 11] = [
        (
            |proxy| proxy.worker.stats().allowed(),
            "berth.admission.allowed",
        ),
        (
            |proxy| proxy.worker.stats().refused(Reason::NoToken),
            "berth.admission.refused.no_token",
        ),
        (
            |proxy| proxy.worker.stats().undecided(),
            "berth.admission.undecided",
        ),
        (
            |proxy| proxy.worker.stats().cache(true),
            "berth.token_cache.hit",
        ),
        (
            |proxy| proxy.worker.stats().cache(false),
            "berth.token_cache.miss",
        ),
        (
            |proxy| proxy.worker.stats().limited(),
            "berth.attempts.limited",
        ),
        (
            |proxy| proxy.worker.stats().closed(Closed::Berth),
            "berth.session.closed.berth",
        ),
        (
            |proxy| proxy.worker.stats().closed(Closed::MaxAge),
            "berth.session.closed.max_age",
        ),
        (
            |proxy| proxy.worker.stats().closed(Closed::TokenExpired),
            "berth.session.closed.token_expired",
        ),
        (
            |proxy| proxy.worker.stats().verified(Duration::from_micros(7)),
            "berth.admission.verify_us",
        ),
        (
            |proxy| proxy.worker.stats().decided(Duration::MAX),
            "berth.admission.decide_us",
        ),
    ];
    for (count, name) in cases {
        let proxy = Proxy::start();
        count(&proxy);
        assert_eq!(proxy.all_counted(), [name]);
        // And in a VM that is not configured, nothing.
        let unconfigured = Proxy {
            worker: Rc::new(Worker::new(Fake::new("{}"))),
            ..proxy
        };
        count(&unconfigured);
    }
}

#[test]
fn a_request_is_counted_as_what_became_of_it() {
    let admission = |proxy: &Proxy| {
        let names = proxy.all_counted().into_iter();
        let names =
            names.filter_map(|name| Some(name.strip_prefix("berth.admission.")?.to_owned()));
        names
            .filter(|name| !name.ends_with("_us"))
            .collect::<Vec<_>>()
    };
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "other", authorized("/sign_in"));
    assert!(proxy.all_counted().is_empty());

    let mut proxy = Proxy::start();
    proxy.live(STREAM);
    assert_eq!(admission(&proxy), ["allowed"]);

    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", upgrade("/sign_in", &[]));
    assert_eq!(admission(&proxy), ["refused.no_token"]);

    // Who was let in may yet be refused for want of an instance.
    let mut proxy = Proxy::start();
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let refusal = proto::Refusal {
        reason: "no_instance".to_owned(),
        retry_after_seconds: 1,
    };
    proxy.answer_acquire(Outcome::Refusal(refusal));
    assert_eq!(admission(&proxy), ["allowed", "refused.no_instance"]);

    let mut proxy = Proxy::start();
    proxy.live(STREAM);
    let other = ContextId(3);
    proxy.placed(other);
    let action = proxy.response(other, "via_upstream", &[(":status", "403")]);
    assert_eq!(action, Action::Pause);
    assert_eq!(admission(&proxy), ["allowed", "refused.instance_lost"]);
    assert_eq!(proxy.counted("berth.admission.allowed"), 2);
}

#[test]
fn a_decision_takes_longer_than_its_signature() {
    let mut proxy = Proxy::start();
    let step = Duration::from_micros(10);
    proxy.worker.host.with(|state| state.time_goes_on = step);
    proxy.request(STREAM, "berth", authorized("/sign_in"));
    let metrics = proxy.worker.host.with(|state| state.metrics.clone());
    assert_eq!(metrics["berth.admission.verify_us"], [10]);
    assert_eq!(metrics["berth.admission.decide_us"], [30]);
}

#[test]
fn a_session_that_is_closed_is_counted_by_why() {
    let mut proxy = Proxy::start();
    let live = proxy.live(STREAM);
    proxy.tick();
    proxy.answer_sync(&[(&live, "terminated")]);
    assert_eq!(proxy.counted("berth.session.closed.berth"), 1);
}
