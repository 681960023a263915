//! The messages between a proxy's filter and Berth's control plane, generated from
//! `berth/session/v1/sessions.proto`, which is where they are documented.

/// Package `berth.session.v1`.
pub mod session {
    /// Version 1.
    #[allow(
        missing_docs,
        unreachable_pub,
        unused_qualifications,
        clippy::all,
        clippy::use_self
    )]
    pub mod v1 {
        include!(concat!(env!("OUT_DIR"), "/berth.session.v1.rs"));
    }
}

/// The descriptors of the `.proto` files, encoded, for gRPC reflection.
#[cfg(feature = "grpc")]
pub const FILE_DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptors.bin"));
