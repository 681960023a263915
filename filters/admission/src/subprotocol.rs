use crate::credential::Agreed;

/// What a client offers in `sec-websocket-protocol` (RFC 6455 §11.3.4), its credential set apart.
///
/// A browser can send no header of its own, so that a token comes as a protocol named
/// `authorization.<token>` or `authorization.bearer.<token>`.
pub(crate) struct Offer<'a> {
    pub(crate) token: Agreed<'a>,
    /// What the header becomes: see [`UpstreamEdits`](crate::UpstreamEdits).
    pub(crate) header: Option<Option<Vec<u8>>>,
    /// The first protocol that is not a credential.
    pub(crate) first: Option<String>,
}

impl<'a> Offer<'a> {
    pub(crate) fn parse(header: &'a [u8]) -> Self {
        let mut token = Agreed::Nothing;
        let mut kept = Vec::new();
        let mut first = None;
        let mut removed = false;
        let protocols = header.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        for protocol in protocols.filter(|protocol| !protocol.is_empty()) {
            if let Some(credential) = strip_prefix_ignore_case(protocol, b"authorization.") {
                removed = true;
                token.add(
                    strip_prefix_ignore_case(credential, b"bearer.")
                        .unwrap_or(credential)
                        .into(),
                );
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(protocol);
            first = first.or_else(|| as_token(protocol));
        }
        let header = removed.then(|| Some(kept).filter(|kept| !kept.is_empty()));
        Self {
            token,
            header,
            first,
        }
    }

    /// What a client offers that sends no such header.
    pub(crate) const fn nothing() -> Self {
        Self {
            token: Agreed::Nothing,
            header: None,
            first: None,
        }
    }
}

fn strip_prefix_ignore_case<'a>(text: &'a [u8], prefix: &[u8]) -> Option<&'a [u8]> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

/// The protocol if it is a `token` of RFC 9110 §5.6.2: it goes into a response header.
fn as_token(protocol: &[u8]) -> Option<String> {
    let allowed = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    let text = std::str::from_utf8(protocol).ok()?;
    protocol.iter().all(allowed).then(|| text.to_owned())
}
