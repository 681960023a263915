//! Admission of CloudXR signaling requests: credentials in, verdict out.
//!
//! Pure: no I/O, no clock, no randomness; the time and the signature check are arguments. The same
//! code decides inside an Envoy worker (wasm32-wasip1) and natively. Total: whatever bytes a client
//! sends, [`admit()`] answers, cannot panic, and allocates no more than a small multiple of what it
//! was given.

mod admit;
mod config;
mod credential;
mod json;
mod jwk;
mod jwt;
mod label;
#[cfg(feature = "native")]
mod native;
mod path;
mod policy;
mod reason;
mod request;
mod signature;
mod subprotocol;
#[cfg(test)]
mod tests;
mod verdict;

pub use admit::admit;
pub use config::{
    DefaultPools, Family, IssuerConfig, LabelConfig, PolicyConfig, PoolConfig, UnknownFamily,
};
pub use jwk::{KeyProblem, is_secret};
#[cfg(feature = "native")]
pub use native::NativeVerifier;
pub use policy::{Policy, PolicyError, PolicyProblem};
pub use reason::Reason;
pub use request::{Request, UnixSeconds};
pub use signature::{
    Algorithm, KeyMaterial, PublicKey, Secret, VerifyError, VerifySignature, ecdsa_signature_to_der,
};
pub use verdict::{Admission, Kind, Owner, UpstreamEdits, Verdict, admitted_body, refusal_body};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
