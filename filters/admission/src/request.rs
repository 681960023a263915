use std::fmt;

/// What the proxy read of a request. Bytes, because nothing a client sends has to be UTF-8.
///
/// A header that came several times is joined with commas (RFC 9110 §5.3), as Envoy does.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// The `upgrade` header.
    pub upgrade: Option<&'a [u8]>,
    /// The `authorization` header.
    pub authorization: Option<&'a [u8]>,
    /// The `sec-websocket-protocol` header.
    pub sec_websocket_protocol: Option<&'a [u8]>,
    /// The `berth-resume-key` header.
    pub resume_key: Option<&'a [u8]>,
    /// The headers that [`Policy::label_headers`](crate::Policy::label_headers) names, as far as
    /// they came: name, in lower case, and value.
    pub labels: &'a [(&'a str, &'a [u8])],
}

/// Says which parts are there; any value but the method and the path before its query may hold a
/// credential.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self
            .path
            .split(|byte| matches!(byte, b'?' | b'#'))
            .next()
            .unwrap_or_default();
        f.debug_struct("Request")
            .field("method", &self.method.escape_ascii().to_string())
            .field("path", &path.escape_ascii().to_string())
            .field("upgrade", &self.upgrade.is_some())
            .field("authorization", &self.authorization.is_some())
            .field(
                "sec_websocket_protocol",
                &self.sec_websocket_protocol.is_some(),
            )
            .field("resume_key", &self.resume_key.is_some())
            .field("labels", &self.labels.len())
            .finish()
    }
}

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted (RFC 7519's NumericDate).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(pub u64);
