//! What every proxy has to do alike, as data: these tables name no proxy, and a test runs them against each.

mod bad_tokens;
mod refusals;

pub use bad_tokens::{BAD_TOKENS, BadToken, Text};
pub use refusals::{Credential, REFUSALS, Refusal, Request, Situation};
