//! Requests as bytes, for everything a well-behaved client does not send.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::{Error, Identity};

/// A TLS connection to a proxy, on which anything can be written.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    /// What came after an answer that was read.
    unread: Vec<u8>,
}

/// What came back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Such as 400.
    pub status: u16,
    /// Names in lower case, in the order they came.
    pub headers: Vec<(String, String)>,
    /// As far as it came.
    pub body: String,
}

/// A connection in the making.
#[derive(Debug, Clone)]
pub struct Dial {
    address: SocketAddr,
    ca: PathBuf,
    from: Option<IpAddr>,
    identity: Option<Identity>,
    protocol: Option<String>,
}

impl Dial {
    /// To `address` as to `localhost`, trusting the CA in the PEM file `ca`.
    #[must_use]
    pub fn new(address: SocketAddr, ca: &Path) -> Self {
        Self {
            address,
            ca: ca.to_owned(),
            from: None,
            identity: None,
            protocol: None,
        }
    }

    /// From this address of the machine's, as another client.
    #[must_use]
    pub fn from(mut self, address: IpAddr) -> Self {
        self.from = Some(address);
        self
    }

    /// With a certificate to show, if asked for one.
    #[must_use]
    pub fn identity(mut self, identity: &Identity) -> Self {
        self.identity = Some(identity.clone());
        self
    }

    /// Offers this protocol, such as `h2`, by ALPN; none unless told.
    #[must_use]
    pub fn protocol(mut self, name: &str) -> Self {
        self.protocol = Some(name.to_owned());
        self
    }

    /// Connects.
    ///
    /// # Errors
    /// [`Error::Io`] when the network or TLS fails, [`Error::Crypto`] when the CA or the identity cannot be used,
    /// [`Error::Timeout`] after `within`.
    pub async fn open(&self, within: Duration) -> Result<Connection, Error> {
        let name = ServerName::try_from("localhost").map_err(Error::crypto("a server name"))?;
        let mut config = client_config(&self.ca, self.identity.as_ref())?;
        let protocols = self.protocol.iter();
        config.alpn_protocols = protocols.map(|name| name.as_bytes().to_vec()).collect();
        let connector = TlsConnector::from(Arc::new(config));
        let opened = async {
            let socket = match self.address {
                SocketAddr::V4(_) => TcpSocket::new_v4()?,
                SocketAddr::V6(_) => TcpSocket::new_v6()?,
            };
            if let Some(from) = self.from {
                socket.bind((from, 0).into())?;
            }
            let stream = socket.connect(self.address).await?;
            connector.connect(name, stream).await
        };
        let stream = timeout(within, opened)
            .await
            .map_err(|_| late("a TLS connection", within))?
            .map_err(Error::io(self.address))?;
        Ok(Connection {
            stream,
            unread: Vec::new(),
        })
    }
}

impl Connection {
    /// The protocol that was agreed on by ALPN.
    #[must_use]
    pub fn protocol(&self) -> Option<&str> {
        std::str::from_utf8(self.stream.get_ref().1.alpn_protocol()?).ok()
    }

    /// What it consists of, for whoever speaks something else than HTTP/1.1.
    #[must_use]
    pub fn into_stream(self) -> TlsStream<TcpStream> {
        self.stream
    }

    /// Writes these bytes and nothing else.
    ///
    /// # Errors
    /// [`Error::Io`] when the server has closed.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let written = async {
            self.stream.write_all(bytes).await?;
            self.stream.flush().await
        };
        written.await.map_err(Error::io("writing a request"))
    }

    /// Reads one answer: its head, and as much of a body as `content-length` says.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`] when it is no HTTP or ends early, [`Error::Timeout`] after `within`.
    pub async fn answer(&mut self, within: Duration) -> Result<Answer, Error> {
        timeout(within, self.read_answer())
            .await
            .map_err(|_| late("a whole answer", within))?
    }

    /// Reads exactly so many bytes, whatever they are.
    ///
    /// # Errors
    /// [`Error::Io`], [`Error::Unreadable`] when the server ends before, [`Error::Timeout`] after `within`.
    pub async fn bytes(&mut self, length: usize, within: Duration) -> Result<Vec<u8>, Error> {
        let read = async {
            while self.unread.len() < length {
                self.read_more().await?;
            }
            let rest = self.unread.split_off(length);
            Ok(std::mem::replace(&mut self.unread, rest))
        };
        timeout(within, read)
            .await
            .map_err(|_| late("bytes", within))?
    }

    async fn read_answer(&mut self) -> Result<Answer, Error> {
        loop {
            if let Some((answer, length)) = parse(&self.unread)? {
                self.unread.drain(..length);
                return Ok(answer);
            }
            self.read_more().await?;
        }
    }

    async fn read_more(&mut self) -> Result<(), Error> {
        let read = self.stream.read_buf(&mut self.unread).await;
        match read.map_err(Error::io("reading an answer"))? {
            0 => Err(unreadable("it ended early")),
            _ => Ok(()),
        }
    }
}

/// A request for a WebSocket, with these headers besides those that every such request has.
#[must_use]
pub fn upgrade_request(path: &[u8], headers: &[(&str, &[u8])]) -> Vec<u8> {
    let mut request = [b"GET ", path, b" HTTP/1.1\r\n", UPGRADE_HEADERS].concat();
    for (name, value) in headers {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    }
    request.extend(b"\r\n");
    request
}

impl Answer {
    /// The first header of this (lower-case) name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let (_, value) = self.headers.iter().find(|(other, _)| other == name)?;
        Some(value)
    }
}

fn client_config(ca: &Path, identity: Option<&Identity>) -> Result<ClientConfig, Error> {
    let certificate = CertificateDer::from_pem_file(ca).map_err(Error::crypto("the CA"))?;
    let mut roots = RootCertStore::empty();
    roots.add(certificate).map_err(Error::crypto("the CA"))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(Error::crypto("TLS"))?
        .with_root_certificates(roots);
    let Some(identity) = identity else {
        return Ok(config.with_no_client_auth());
    };
    let chain = CertificateDer::from_pem_slice(identity.certificate.as_bytes());
    let key = PrivateKeyDer::from_pem_slice(identity.private_key.as_bytes());
    let chain = vec![chain.map_err(Error::crypto("an identity"))?];
    config
        .with_client_auth_cert(chain, key.map_err(Error::crypto("an identity"))?)
        .map_err(Error::crypto("an identity"))
}

/// The answer and its length in bytes, once all of it is there.
fn parse(bytes: &[u8]) -> Result<Option<(Answer, usize)>, Error> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut head = httparse::Response::new(&mut headers);
    let body_at = match head.parse(bytes) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(unreadable(&error.to_string())),
    };
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut answer = Answer {
        status: head.code.unwrap_or_default(),
        headers: head
            .headers
            .iter()
            .map(|header| (header.name.to_lowercase(), text(header.value)))
            .collect(),
        body: String::new(),
    };
    let length = answer.header("content-length").unwrap_or("0");
    let length: usize = length
        .parse()
        .map_err(|_| unreadable("its content-length is no number"))?;
    let body = bytes.get(body_at..).unwrap_or_default();
    Ok(body.get(..length).map(|body| {
        answer.body = text(body);
        (answer, body_at + length)
    }))
}

fn late(what: &str, within: Duration) -> Error {
    Error::Timeout {
        what: what.to_owned(),
        within,
        last: "silence".to_owned(),
    }
}

fn unreadable(why: &str) -> Error {
    Error::Unreadable {
        what: "an answer".to_owned(),
        why: why.to_owned(),
    }
}

const MAX_HEADERS: usize = 64;
const UPGRADE_HEADERS: &[u8] = b"host: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\
    sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_read_when_all_of_it_is_there() {
        let whole =
            b"HTTP/1.1 503 Service Unavailable\r\nRetry-After: 1\r\ncontent-length: 4\r\n\r\nbody";
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]).unwrap(), None, "{end} bytes");
        }
        let followed = [whole.as_slice(), b"bytes"].concat();
        let (answer, length) = parse(&followed).unwrap().unwrap();
        assert_eq!(length, whole.len());
        assert_eq!((answer.status, answer.body.as_str()), (503, "body"));
        assert_eq!(answer.header("retry-after"), Some("1"));
    }

    #[test]
    fn what_is_no_http_is_an_error() {
        assert!(parse(b"\x16\x03\x01 TLS\r\n\r\n").is_err());
        assert!(parse(b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n").is_err());
    }
}
