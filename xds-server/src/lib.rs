//! Session placement for NVIDIA CloudXR.

pub mod xds;
