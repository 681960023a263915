//! Session placement for NVIDIA CloudXR.

pub mod admin;
pub mod admission;
mod causes;
pub mod certificates;
pub mod cli;
pub mod clock;
pub mod config;
pub mod controller;
mod filter;
pub mod fleet;
mod http;
pub mod keys;
pub mod metrics;
pub mod module;
pub mod peer;
pub mod placement;
pub mod probes;
pub mod reach;
pub mod serve;
pub mod sessions;
pub mod static_proxies;
pub mod store;
pub mod telemetry;
pub mod tls;
pub mod xds;
