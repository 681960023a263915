//! The one place that reads the calendar: tokens carry dates.

use std::time::{SystemTime, UNIX_EPOCH};

/// Seconds since 1970, as RFC 7519 counts them.
#[expect(
    clippy::disallowed_methods,
    reason = "the edge: a token that Envoy checks needs today's date"
)]
#[must_use]
pub fn unix_seconds() -> i64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
