//! A short soak: everything under the sessions is killed, stopped and restarted, and nobody is harmed.
#![cfg(test)]

use std::time::Duration;

use berth_tests::soak::{self, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn nobody_meets_anybody_and_nobody_is_cut_while_everything_fails() {
    let settings = Settings::new(1, Duration::from_secs(40));
    let report = soak::run(&settings, |_| {}).await.unwrap();
    eprint!("{report}");
    assert!(report.violations.is_empty(), "{report}");
    // A busy machine carries less than an idle one; below this nothing was tried in earnest.
    assert!(report.upgrades.tried >= 1000, "{report}");
    assert!(report.upgrades.admitted >= 200, "{report}");
    assert_eq!(report.troubles.len(), 9, "{report}");
    assert_eq!(report.overlaps.excused, 0, "{report}");
}
