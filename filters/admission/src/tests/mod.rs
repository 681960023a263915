//! The rules of admission as tables. `support` makes requests, tokens and verifiers.

mod carriers;
mod claims;
mod edits;
mod forms;
mod issuers;
mod keys;
mod labels;
mod memory;
mod origins;
mod policies;
mod pools;
mod properties;
mod readme;
mod requests;
mod rfc7515;
pub(crate) mod support;
mod tags;
mod trace;
mod users;
mod vectors;
mod wire;
