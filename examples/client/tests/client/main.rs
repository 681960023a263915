//! The client against servers that do as it expects and servers that do not.
#![allow(
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used,
    reason = "what fails here is a test"
)]

mod answers;
mod http2;
mod program;
mod tls;
