/// What a client offers in `sec-websocket-protocol` (RFC 6455 §11.3.4).
pub(crate) fn protocols(header: &[u8]) -> impl Iterator<Item = &[u8]> {
    header
        .split(|byte| *byte == b',')
        .map(<[u8]>::trim_ascii)
        .filter(|protocol| !protocol.is_empty())
}

pub(crate) fn strip_prefix_ignore_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The protocol if it is a `token` of RFC 9110 §5.6.2: it goes into a response header.
pub(crate) fn as_token(protocol: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(protocol).ok()?;
    protocol.iter().all(is_token_byte).then(|| text.to_owned())
}

/// RFC 9110 §5.6.2's `tchar`.
pub(crate) fn is_token_byte(byte: &u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte)
}
