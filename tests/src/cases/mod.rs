//! What every proxy has to do alike, as data: these tables name no proxy, and a test runs them against each.

mod refusals;

pub use refusals::{Credential, REFUSALS, Refusal, Request, Situation};
