//! What Envoy shows its clients and whom it takes certificates of: read from files, and again when these change.
//!
//! `files` (what the files have to hold), `watched` (what becomes of a reading) and `listener` (what there is) are pure;
//! `task` reads.

mod files;
mod listener;
mod task;
mod watched;

pub use files::{
    Authorities, AuthoritiesFile, CertificateError, CertificateFiles, Content, Files, KeyPair,
};
pub use listener::{Ending, ListenerTls, SniCertificate};
pub use task::{Current, watch};
pub use watched::{Seen, Watched};

/// Files and what they hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Loaded<F: Files> {
    /// Where they are.
    pub files: F,
    /// What is in them.
    pub held: F::Held,
}

/// One secret and its files, as the metrics show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateStatus {
    /// As proxies know it.
    pub secret: String,
    /// Seconds since 1970 after which the certificate in use is not valid; nothing of authorities.
    pub not_after: Option<i64>,
    /// How often the files were read anew, by what that led to.
    pub reloads: Reloads,
}

/// How often files were read anew that had changed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    /// What they held then is used.
    pub changed: u64,
    /// What they held then cannot be used.
    pub failed: u64,
}
