//! Session placement for NVIDIA CloudXR.
