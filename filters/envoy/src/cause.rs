//! Who ended a session, by what Envoy says of the stream.

use crate::session::Cause;

/// Who ended a live session that we did not end, by Envoy's `response.flags`: a little-endian 64-bit set. What is not known
/// to be the instance's doing is the client's, who may come back.
pub(crate) fn cause(flags: Option<&[u8]>) -> Cause {
    let flags = flags
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes);
    if flags & UPSTREAM == 0 {
        Cause::Client
    } else {
        Cause::Instance
    }
}

/// UR, the upstream reset the stream; UF, the connection to it failed; UC, that connection was terminated.
const UPSTREAM: u64 = 0x10 | 0x20 | 0x40;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_upstreams_flags_are_the_instances_doing() {
        let (dc, si, uc, ur) = (0x4000u64, 0x10000u64, 0x40u64, 0x10u64);
        for (flags, expected) in [
            (Some(0u64.to_le_bytes().to_vec()), Cause::Client),
            (Some(dc.to_le_bytes().to_vec()), Cause::Client),
            (Some(si.to_le_bytes().to_vec()), Cause::Client),
            (Some(uc.to_le_bytes().to_vec()), Cause::Instance),
            (Some((dc | ur).to_le_bytes().to_vec()), Cause::Instance),
            (Some(vec![0x40]), Cause::Client),
            (None, Cause::Client),
        ] {
            assert_eq!(cause(flags.as_deref()), expected, "{flags:?}");
        }
    }
}
