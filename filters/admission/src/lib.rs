//! Admission of CloudXR signaling requests: credentials in, verdict out.
//!
//! Pure: no I/O, no clock, no randomness; the time and the signature check are arguments. The same
//! code decides inside an Envoy worker (wasm32-wasip1) and natively. Total: whatever bytes a client
//! sends, [`admit()`] answers, cannot panic, and allocates no more than a small multiple of what it
//! was given.

mod admit;
mod attempts;
mod carrier;
mod claims;
mod config;
mod cors;
mod credential;
mod der;
mod explain;
pub mod json;
mod jwk;
mod jwt;
mod label;
mod matcher;
mod memory;
#[cfg(feature = "native")]
mod native;
mod path;
mod policy;
mod reason;
mod request;
mod signature;
mod subprotocol;
mod tags;
#[cfg(test)]
mod tests;
mod trace;
mod user;
mod verdict;

pub use admit::{admit, explain};
pub use config::{
    AllowConfig, ApiKeyConfig, AttemptsConfig, CarrierConfig, CertificateName, ClaimConfig,
    ClientCertificateConfig, DefaultPools, Family, HeaderCarrierConfig, IssuerConfig, LabelConfig,
    PolicyConfig, PoolConfig, PoolSource, Tag, TagHeaderConfig, TagsConfig, TokenCacheConfig,
    UnknownFamily,
};
pub use json::Json;
pub use jwk::{KeyProblem, is_secret};
pub use matcher::Matcher;
pub use memory::Memory;
#[cfg(feature = "native")]
pub use native::NativeVerifier;
pub use policy::{Policy, PolicyError, PolicyProblem};
pub use reason::Reason;
pub use request::{Certificate, Request, UnixSeconds};
pub use signature::{
    Algorithm, KeyMaterial, PublicKey, Secret, VerifyError, VerifySignature, ecdsa_signature_to_der,
};
pub use trace::Trace;
pub use verdict::{
    Admission, Decision, Edits, Kind, Owner, Undecided, Verdict, Wish, admitted_body, refusal_body,
};

/// Compiles the README's example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
