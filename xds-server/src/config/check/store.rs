use std::path::Path;
use std::time::Duration;

use super::{Check, DurationRule};
use crate::config::{
    Store, StorePlace,
    error::Fault,
    field::FieldPath,
    raw::{RawHistory, RawStore},
};
use crate::{keys, store::HistoryLimits};

impl Check<'_> {
    pub(super) fn store(&mut self, raw: Option<RawStore>, field: &FieldPath) -> Option<Store> {
        let raw = raw.unwrap_or_default();
        let place = match raw.path.as_deref().unwrap_or(DEFAULT_PATH) {
            "" => {
                let remedy = "name a file, or `:memory:` to keep nothing";
                self.fault(field.key("path"), Fault::Empty { remedy });
                None
            }
            MEMORY => Some(StorePlace::Memory),
            path => Some(self.store_file(path, &field.key("path"))),
        };
        let history = self.history(raw.history, &field.key("history"));
        Some(Store {
            place: place?,
            history: history?,
        })
    }

    /// What is there and is no store would be set aside, and the file beside it is written over; those files are needed
    /// where they are.
    fn store_file(&mut self, path: &str, field: &FieldPath) -> StorePlace {
        let file = self.absolute(Path::new(path));
        let beside = keys::cache_beside(&file);
        for (own, value) in [
            (&file, path.to_owned()),
            (&beside, beside.display().to_string()),
        ] {
            if let Some(first) = self.files.get(own) {
                let fault = Fault::Duplicate {
                    value,
                    first: first.clone(),
                    remedy: "give the store a file of its own",
                };
                self.fault(field.clone(), fault);
            }
        }
        StorePlace::File(file)
    }

    fn history(&mut self, raw: Option<RawHistory>, field: &FieldPath) -> Option<HistoryLimits> {
        let raw = raw.unwrap_or_default();
        let max_age = self.duration(raw.max_age.as_deref(), &field.key("max_age"), &MAX_AGE);
        let max_sessions = match raw.max_sessions {
            None => Some(HistoryLimits::DEFAULT.max_sessions),
            some => self
                .number(some, &field.key("max_sessions"), 0..=MAX_SESSIONS)
                .map(u64::from),
        };
        Some(HistoryLimits {
            max_age: max_age?,
            max_sessions: max_sessions?,
        })
    }
}

const DEFAULT_PATH: &str = "berth.redb";
const MEMORY: &str = ":memory:";

/// In seconds, 365.25 days: what durations are written with takes it for one, and so says it as one.
const YEAR: u64 = 31_557_600;

const MAX_AGE: DurationRule = DurationRule {
    default: HistoryLimits::DEFAULT.max_age,
    least: Duration::from_secs(60),
    most: Duration::from_secs(10 * YEAR),
};

/// Some gigabytes.
const MAX_SESSIONS: u32 = 10_000_000;
