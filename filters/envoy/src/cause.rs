//! Who ended a session, by what Envoy says of the stream.

use crate::session::Cause;

/// What Envoy says of a stream that is over.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// `response.flags`: a little-endian 64-bit set.
    pub(crate) flags: Option<Vec<u8>>,
    /// `response.code_details`.
    pub(crate) details: Option<Vec<u8>>,
}

/// Who ended it, had it been live and not ended by us. What is not known to be the instance's doing is the client's: it
/// may come back.
pub(crate) fn cause(evidence: &Evidence) -> Cause {
    let flags = evidence
        .flags
        .as_deref()
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes);
    let details = evidence.details.as_deref().unwrap_or_default();
    if flags & UPSTREAM != 0 || details.starts_with(UPSTREAM_RESET) {
        Cause::Instance
    } else {
        Cause::Client
    }
}

/// Envoy's response flags UR (the upstream reset), UF (the connection to it failed) and UC (it was terminated).
const UPSTREAM: u64 = 0x10 | 0x20 | 0x40;

const UPSTREAM_RESET: &[u8] = b"upstream_reset_after_response_started";
