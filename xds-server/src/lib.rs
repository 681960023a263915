//! Session placement for NVIDIA CloudXR.

pub mod config;
pub mod fleet;
pub mod placement;
pub mod xds;
