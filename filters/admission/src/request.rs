use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;

/// What the proxy read of a request. Bytes, because nothing a client sends has to be UTF-8.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    /// `:method`.
    pub method: &'a [u8],
    /// `:path`, with its query.
    pub path: &'a [u8],
    /// Its headers, names in lower case. Only those decide that the policy [names](crate::Policy::reads); of the others,
    /// those that only Berth may send to an instance are taken out.
    pub headers: &'a [(String, Vec<u8>)],
    /// The client's address, as the proxy trusts it.
    pub client: Option<IpAddr>,
    /// What the proxy has verified of the client's certificate; nothing where the client had none or it was not verified.
    pub certificate: Certificate<'a>,
}

/// The names in a verified certificate.
#[derive(Clone, Copy, Debug, Default)]
pub struct Certificate<'a> {
    /// The first subject alternative name that is a DNS name.
    pub dns_san: Option<&'a str>,
    /// The subject, as RFC 2253 writes it.
    pub subject: Option<&'a str>,
    /// The first subject alternative name that is a URI.
    pub uri_san: Option<&'a str>,
}

impl<'a> Request<'a> {
    /// The value of a header; of one that came several times, the values joined with commas (RFC 9110 §5.3).
    pub(crate) fn header(&self, name: &str) -> Option<Cow<'a, [u8]>> {
        let mut values = self
            .headers
            .iter()
            .filter(|(candidate, _)| candidate == name)
            .map(|(_, value)| value.as_slice());
        let first = values.next()?;
        let Some(second) = values.next() else {
            return Some(first.into());
        };
        let mut joined = first.to_vec();
        for value in std::iter::once(second).chain(values) {
            joined.extend_from_slice(b", ");
            joined.extend_from_slice(value);
        }
        Some(joined.into())
    }
}

/// Says which headers are there; any value but the method and the path before its query may hold a
/// credential.
impl fmt::Debug for Request<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self
            .path
            .split(|byte| matches!(byte, b'?' | b'#'))
            .next()
            .unwrap_or_default();
        let names: Vec<&str> = self.headers.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("Request")
            .field("method", &self.method.escape_ascii().to_string())
            .field("path", &path.escape_ascii().to_string())
            .field("headers", &names)
            .field("client", &self.client)
            .field("certificate", &self.certificate)
            .finish()
    }
}

/// Seconds since 1970-01-01T00:00:00Z, leap seconds not counted (RFC 7519's NumericDate).
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct UnixSeconds(pub u64);
