use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use hyper::header::{
    AUTHORIZATION, HeaderName, HeaderValue, InvalidHeaderName, InvalidHeaderValue,
};
use hyper::http::uri::{Authority, InvalidUri, PathAndQuery, Scheme};
use hyper::{HeaderMap, Uri};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, InvalidDnsNameError, ServerName};
use rustls::{ClientConfig, RootCertStore};

use crate::transport::client_config;

/// Where a session is asked for, and everything sent along with the asking.
///
/// Built step by step; each step checks what it is given, so that a `Target` can always be connected to.
/// Its `Debug` form shows neither query nor headers: both may hold a credential.
#[derive(Clone)]
pub struct Target {
    pub(crate) tls: Option<TlsSettings>,
    pub(crate) authority: Authority,
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) path_and_query: PathAndQuery,
    pub(crate) connect_to: Option<SocketAddr>,
    pub(crate) headers: HeaderMap,
    pub(crate) subprotocols: Vec<HeaderValue>,
    pub(crate) time_limit: Duration,
    pub(crate) version: Version,
}

/// Which HTTP is spoken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    Http1,
    Http2,
}

impl Version {
    /// RFC 7301 §6, RFC 9113 §3.1.
    pub(crate) const fn alpn(self) -> &'static [u8] {
        match self {
            Self::Http1 => b"http/1.1",
            Self::Http2 => b"h2",
        }
    }
}

/// What a `wss` target needs besides the TCP connection.
#[derive(Clone)]
pub(crate) struct TlsSettings {
    pub(crate) server_name: ServerName<'static>,
    pub(crate) config: Arc<ClientConfig>,
}

/// How a client carries its token; web clients cannot send headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Carrier {
    /// `Authorization: Bearer <token>` (RFC 6750 §2.1).
    Header,
    /// The query parameter `token`.
    Query,
    /// An offered subprotocol, `authorization.bearer.<token>`.
    Subprotocol,
}

/// Why a [`Target`] cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// Not a URL at all.
    #[error("not a URL: {0}")]
    Url(#[from] InvalidUri),
    /// A URL of another scheme, or without a host.
    #[error("a signaling URL is ws://host[:port]/path or wss://host[:port]/path")]
    Shape,
    /// The host is no name a certificate could hold.
    #[error("the host cannot be checked against a certificate: {0}")]
    ServerName(#[from] InvalidDnsNameError),
    /// The file of CA certificates cannot be used.
    #[error("{path}: {source}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: pem::Error,
    },
    /// The file of CA certificates holds none that can be trusted.
    #[error("{0}: holds no usable CA certificate")]
    NoCa(PathBuf),
    /// TLS cannot be set up.
    #[error("TLS: {0}")]
    Tls(#[from] rustls::Error),
    /// A header's name cannot be sent.
    #[error("not a header name: {0}")]
    HeaderName(#[from] InvalidHeaderName),
    /// A header's value, or a subprotocol, cannot be sent.
    #[error("not a header value: {0}")]
    HeaderValue(#[from] InvalidHeaderValue),
}

impl Target {
    /// A `ws://` or `wss://` URL; a missing port is 80 or 443, a missing path `/`.
    ///
    /// A `wss` target trusts nobody until [`ca_file`](Self::ca_file) or [`roots`](Self::roots) is called.
    ///
    /// # Errors
    /// [`TargetError::Url`], [`TargetError::Shape`], [`TargetError::ServerName`].
    pub fn new(url: &str) -> Result<Self, TargetError> {
        let uri: Uri = url.parse()?;
        let encrypted = match uri.scheme().map(Scheme::as_str) {
            Some("wss") => true,
            Some("ws") => false,
            _ => return Err(TargetError::Shape),
        };
        let authority = uri.authority().ok_or(TargetError::Shape)?.clone();
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(TargetError::Shape);
        }
        let default_port = if encrypted { HTTPS_PORT } else { HTTP_PORT };
        let tls = if encrypted {
            let server_name = ServerName::try_from(host.clone())?;
            let config = client_config(Arc::new(RootCertStore::empty()))?;
            Some(TlsSettings {
                server_name,
                config,
            })
        } else {
            None
        };
        Ok(Self {
            tls,
            port: authority.port_u16().unwrap_or(default_port),
            path_and_query: uri
                .path_and_query()
                .cloned()
                .unwrap_or_else(|| PathAndQuery::from_static("/")),
            authority,
            host,
            connect_to: None,
            headers: HeaderMap::new(),
            subprotocols: Vec::new(),
            time_limit: DEFAULT_TIME_LIMIT,
            version: Version::Http1,
        })
    }

    /// Trusts the CA certificates of a PEM file, and no others. No effect on a `ws` target.
    ///
    /// # Errors
    /// [`TargetError::CaFile`], [`TargetError::NoCa`], [`TargetError::Tls`].
    pub fn ca_file(self, path: &Path) -> Result<Self, TargetError> {
        let unusable = |source| TargetError::CaFile {
            path: path.to_owned(),
            source,
        };
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_file_iter(path).map_err(unusable)? {
            roots.add_parsable_certificates([certificate.map_err(unusable)?]);
        }
        if roots.is_empty() {
            return Err(TargetError::NoCa(path.to_owned()));
        }
        self.roots(Arc::new(roots))
    }

    /// Trusts these CA certificates, and no others. No effect on a `ws` target.
    ///
    /// # Errors
    /// [`TargetError::Tls`].
    pub fn roots(mut self, roots: Arc<RootCertStore>) -> Result<Self, TargetError> {
        if let Some(tls) = &mut self.tls {
            tls.config = client_config(roots)?;
        }
        Ok(self)
    }

    /// Dials this address instead of the URL's host and port, which keep their part in TLS and `Host`.
    #[must_use]
    pub const fn connect_to(mut self, address: SocketAddr) -> Self {
        self.connect_to = Some(address);
        self
    }

    /// Adds a header. The value may be any bytes HTTP allows, UTF-8 or not.
    ///
    /// # Errors
    /// [`TargetError::HeaderName`], [`TargetError::HeaderValue`].
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Result<Self, TargetError> {
        let name = HeaderName::from_bytes(name.as_bytes())?;
        self.headers
            .append(name, HeaderValue::from_bytes(value.as_ref())?);
        Ok(self)
    }

    /// Offers a subprotocol, after those offered before.
    ///
    /// # Errors
    /// [`TargetError::HeaderValue`].
    pub fn subprotocol(mut self, name: &str) -> Result<Self, TargetError> {
        self.subprotocols.push(HeaderValue::from_str(name)?);
        Ok(self)
    }

    /// Adds a query parameter, percent-encoding what has to be.
    ///
    /// # Errors
    /// [`TargetError::Url`] if the URL becomes too long (64 KiB).
    pub fn query(mut self, name: &str, value: &str) -> Result<Self, TargetError> {
        let separator = if self.path_and_query.query().is_some() {
            '&'
        } else {
            '?'
        };
        let name = utf8_percent_encode(name, QUERY_ENCODED);
        let value = utf8_percent_encode(value, QUERY_ENCODED);
        self.path_and_query =
            format!("{}{separator}{name}={value}", self.path_and_query).parse()?;
        Ok(self)
    }

    /// Sends the token in this carrier.
    ///
    /// # Errors
    /// Those of the carrier: [`TargetError::HeaderValue`], [`TargetError::Url`].
    pub fn token(mut self, token: &str, carrier: Carrier) -> Result<Self, TargetError> {
        match carrier {
            Carrier::Header => {
                let mut value = HeaderValue::from_str(&format!("Bearer {token}"))?;
                value.set_sensitive(true);
                self.headers.append(AUTHORIZATION, value);
                Ok(self)
            }
            Carrier::Query => self.query(TOKEN_PARAMETER, token),
            Carrier::Subprotocol => self.subprotocol(&format!("{TOKEN_SUBPROTOCOL}{token}")),
        }
    }

    /// Sends a resume key: by header for [`Carrier::Header`], else as a query parameter.
    ///
    /// # Errors
    /// Those of the carrier: [`TargetError::HeaderValue`], [`TargetError::Url`].
    pub fn resume_key(self, key: &str, carrier: Carrier) -> Result<Self, TargetError> {
        match carrier {
            Carrier::Header => self.header(RESUME_HEADER, key),
            Carrier::Query | Carrier::Subprotocol => self.query(RESUME_PARAMETER, key),
        }
    }

    /// Bounds each of connecting, the TLS handshake and the wait for the answer. 30 s unless told.
    #[must_use]
    pub const fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// Over HTTP/2 (RFC 8441), as browsers may; HTTP/1.1, as headsets speak it, unless told. A `ws` target is asked for it
    /// without being asked whether it speaks it.
    #[must_use]
    pub const fn http2(mut self) -> Self {
        self.version = Version::Http2;
        self
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub const fn is_encrypted(&self) -> bool {
        self.tls.is_some()
    }

    /// The URL's host, without the brackets of an IPv6 address.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The URL's path, without the query.
    #[must_use]
    pub fn path(&self) -> &str {
        self.path_and_query.path()
    }

    /// The URL's query, as it will be sent.
    #[must_use]
    pub fn raw_query(&self) -> Option<&str> {
        self.path_and_query.query()
    }
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_encrypted() { "wss" } else { "ws" };
        f.debug_struct("Target")
            .field(
                "url",
                &format_args!("{scheme}://{}{}", self.authority, self.path()),
            )
            .field("connect_to", &self.connect_to)
            .finish_non_exhaustive()
    }
}

const HTTP_PORT: u16 = 80;
const HTTPS_PORT: u16 = 443;
const DEFAULT_TIME_LIMIT: Duration = Duration::from_secs(30);

const TOKEN_PARAMETER: &str = "token";
const TOKEN_SUBPROTOCOL: &str = "authorization.bearer.";
const RESUME_HEADER: &str = "berth-resume-key";
const RESUME_PARAMETER: &str = "berth_resume_key";

/// Everything but RFC 3986's unreserved characters.
const QUERY_ENCODED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_taken_apart() {
        let cases = [
            (
                "ws://localhost/sign_in?a=b",
                ("localhost", 80, "/sign_in", Some("a=b"), false),
            ),
            (
                "wss://localhost/rtsp",
                ("localhost", 443, "/rtsp", None, true),
            ),
            (
                "wss://127.0.0.1:8443/web/sign_in",
                ("127.0.0.1", 8443, "/web/sign_in", None, true),
            ),
            ("wss://[::1]:8443", ("::1", 8443, "/", None, true)),
            (
                "ws://berth.example?a",
                ("berth.example", 80, "/", Some("a"), false),
            ),
        ];
        for (url, expected) in cases {
            let target = Target::new(url).unwrap();
            let parts = (
                target.host(),
                target.port,
                target.path(),
                target.raw_query(),
                target.is_encrypted(),
            );
            assert_eq!(parts, expected, "{url}");
        }
    }

    #[test]
    fn other_urls_are_refused() {
        for url in [
            "",
            "localhost",
            "/sign_in",
            "https://localhost/sign_in",
            "wss:///sign_in",
            "wss://a b/",
        ] {
            assert!(Target::new(url).is_err(), "{url}");
        }
        assert!(matches!(
            Target::new("wss://-/"),
            Err(TargetError::ServerName(_))
        ));
    }

    #[test]
    fn queries_are_encoded_and_appended() {
        let target = Target::new("ws://a/sign_in").unwrap();
        let target = target
            .query("a", "b-._~")
            .unwrap()
            .query("key", "x y&z=\u{e9}/+")
            .unwrap();
        assert_eq!(
            target.raw_query(),
            Some("a=b-._~&key=x%20y%26z%3D%C3%A9%2F%2B")
        );
    }

    #[test]
    fn a_token_travels_as_told_and_is_not_shown() {
        let url = "wss://localhost/sign_in";
        for carrier in [Carrier::Header, Carrier::Query, Carrier::Subprotocol] {
            let target = Target::new(url).unwrap().token("s3cret", carrier).unwrap();
            let target = target.resume_key("k3y", carrier).unwrap();
            let text = |value: &HeaderValue| value.to_str().unwrap().to_owned();
            let sent = [
                target.headers.get(AUTHORIZATION).map(text),
                target.subprotocols.first().map(text),
                target.raw_query().map(str::to_owned),
                target.headers.get(RESUME_HEADER).map(text),
            ];
            let expected = match carrier {
                Carrier::Header => [Some("Bearer s3cret"), None, None, Some("k3y")],
                Carrier::Query => [None, None, Some("token=s3cret&berth_resume_key=k3y"), None],
                Carrier::Subprotocol => [
                    None,
                    Some("authorization.bearer.s3cret"),
                    Some("berth_resume_key=k3y"),
                    None,
                ],
            };
            let expected = expected.map(|text| text.map(str::to_owned));
            assert_eq!(sent, expected, "{carrier:?}");
            let shown = format!("{target:?}");
            assert!(shown.contains(url) && !shown.contains("s3cret"), "{shown}");
        }
    }

    #[test]
    fn a_ca_file_has_to_hold_a_ca() {
        let target = Target::new("wss://localhost/").unwrap();
        let absent = target
            .clone()
            .ca_file(Path::new("no-such-file.pem"))
            .unwrap_err();
        assert!(matches!(absent, TargetError::CaFile { .. }), "{absent}");
        let empty = tempfile::NamedTempFile::new().unwrap();
        let without = target.ca_file(empty.path()).unwrap_err();
        assert!(matches!(without, TargetError::NoCa(_)), "{without}");
    }
}
