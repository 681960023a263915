//! What is sent by those who should not get in, and what is answered: the same data for the admission crate natively, for
//! the same crate in Node, and for real proxies. What is odd and good is here too, so that no check is merely strict.
//!
//! Signatures are real. Those that an attacker could make are made, with the keys an attacker can have.

mod case;
mod keys;
mod tables;
mod token;

pub use case::{Answer, Case, Request, Setting, Signature};
pub use keys::{Algorithm, KeyError, Keys};
pub use tables::cases;
pub use token::Token;

/// Who signs the tokens of the cases.
pub const ISSUER: &str = "https://login.berth.example";
/// For whom they are.
pub const AUDIENCE: &str = "berth";
