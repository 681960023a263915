//! What the filters in the proxies are told.

use std::time::Duration;

use berth_admission::PolicyConfig;
use serde::Serialize;

use crate::config::{Config, WhenControlPlaneAway};

/// What the filter is told under this policy: JSON, as `filters/envoy` reads it.
///
/// # Errors
/// [`serde_json::Error`]; a policy that compiles gives none.
pub(crate) fn configuration(
    config: &Config,
    policy: &PolicyConfig,
) -> Result<String, serde_json::Error> {
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    serde_json::to_string(&FilterConfiguration {
        admission: policy.for_filters(),
        control_plane: ControlPlane {
            cluster: "berth",
            when_away: match config.filter.when_control_plane_away {
                WhenControlPlaneAway::Wait => "wait",
                WhenControlPlaneAway::Refuse => "refuse",
            },
            hold_ms: millis(longest_hold(config)),
            tick_ms: millis(config.timing.tick),
        },
    })
}

/// The longest that any pool holds a request.
pub(crate) fn longest_hold(config: &Config) -> Duration {
    let holds = config.pools.iter().map(|pool| pool.policy.hold);
    holds.max().unwrap_or_default()
}

#[derive(Serialize)]
struct FilterConfiguration {
    admission: PolicyConfig,
    control_plane: ControlPlane,
}

#[derive(Serialize)]
struct ControlPlane {
    /// The static cluster of the bootstrap that `berth bootstrap` prints.
    cluster: &'static str,
    when_away: &'static str,
    hold_ms: u64,
    tick_ms: u64,
}
