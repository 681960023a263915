//! The rules of admission as tables. `support` makes requests, tokens and verifiers.

mod attacks;
mod carriers;
mod claims;
mod edits;
mod forms;
mod keys;
mod labels;
mod policies;
mod properties;
mod readme;
mod requests;
mod rfc7515;
pub(crate) mod support;
mod users;
mod vectors;
mod wire;
