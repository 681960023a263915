use std::convert::Infallible;
use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{
    CONNECTION, HOST, HeaderValue, RETRY_AFTER, SEC_WEBSOCKET_ACCEPT, SEC_WEBSOCKET_KEY,
    SEC_WEBSOCKET_PROTOCOL, SEC_WEBSOCKET_VERSION, UPGRADE,
};
use hyper::{HeaderMap, Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};

use crate::http2::Http2;
use crate::session::Session;
use crate::target::{Target, Version};
use crate::transport::{Tls, Transport, Tunnel};

/// An HTTP response that is no upgrade.
#[derive(Clone, Debug)]
pub struct Response {
    /// Such as 200 or 503.
    pub status: u16,
    /// As they came.
    pub headers: HeaderMap,
    /// Of at most 64 KiB; bytes that are not UTF-8 are replaced.
    pub body: String,
}

impl Response {
    /// Berth's reason for a refusal, from `x-berth-reason`.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.headers.get("x-berth-reason")?.to_str().ok()
    }

    /// When to come back, in seconds; a date (RFC 9110 §10.2.3) is not read.
    #[must_use]
    pub fn retry_after(&self) -> Option<u64> {
        self.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
    }
}

/// Why there is no session, or no response.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The server answered, and the answer was not 101; over HTTP/2, not 200.
    #[error("refused with status {status}{}", named(.reason.as_deref()))]
    Refused {
        /// Its status.
        status: u16,
        /// Berth's reason, from `x-berth-reason`.
        reason: Option<String>,
        /// When to come back, in seconds.
        retry_after: Option<u64>,
        /// All its headers.
        headers: Box<HeaderMap>,
        /// Its body, of at most 64 KiB.
        body: String,
    },
    /// The TLS handshake failed: the server's certificate or its idea of TLS is not acceptable.
    #[error("TLS: {0}")]
    Tls(#[source] io::Error),
    /// The network failed before there was an answer.
    #[error("network: {0}")]
    Io(#[from] io::Error),
    /// The connection ended, or broke HTTP, before there was a whole answer.
    #[error("no HTTP answer: {0}")]
    Http(#[from] hyper::Error),
    /// The connection ended, or broke HTTP/2, before there was a whole answer; or the stream was reset.
    #[error("no HTTP/2 answer: {0}")]
    Http2(#[from] h2::Error),
    /// The server would not speak HTTP/2, and nothing else was asked for.
    #[error("the server does not speak HTTP/2")]
    NoHttp2,
    /// The server's HTTP/2 has no WebSockets (RFC 8441 §3).
    #[error("the server takes no WebSockets over HTTP/2")]
    NoWebSockets,
    /// A success that RFC 6455 §4.1 tells a client to fail.
    #[error("the upgrade is not valid: {0}")]
    Handshake(HandshakeFault),
    /// The target's time limit passed.
    #[error("{step} took longer than {limit:?}")]
    Timeout {
        /// What took too long.
        step: Step,
        /// The target's time limit.
        limit: Duration,
    },
    /// The request cannot be written down.
    #[error("not a request: {0}")]
    Request(#[from] hyper::http::Error),
}

/// What is wrong with a success.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeFault {
    /// `Sec-WebSocket-Accept` is not the key's answer.
    #[error("Sec-WebSocket-Accept does not fit the key")]
    Accept,
    /// Subprotocols were offered and none was selected. Browsers fail such an upgrade, so this does.
    #[error("none of the offered subprotocols was selected")]
    NoSubprotocol,
    /// A subprotocol was selected that was not offered.
    #[error("a subprotocol was selected that was not offered")]
    UnofferedSubprotocol,
}

/// A step on the way to an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// TCP.
    Connect,
    /// TLS.
    TlsHandshake,
    /// HTTP.
    Answer,
}

/// A connection on which nothing has been asked yet. Dropping it ends it.
#[derive(Debug)]
pub struct Connection {
    pub(crate) transport: Transport,
    target: Target,
}

/// Opens a connection of its own and asks for an upgrade. Dropping the future ends the connection at once.
///
/// # Errors
/// [`ConnectError`].
pub async fn connect(target: &Target) -> Result<Session, ConnectError> {
    Connection::open(target).await?.upgrade().await
}

/// Opens a connection of its own and asks the target's URL by a plain GET.
///
/// # Errors
/// As [`Connection::open`] and [`Connection::get`].
pub async fn get(target: &Target) -> Result<Response, ConnectError> {
    Connection::open(target).await?.get().await
}

impl Connection {
    /// Connects, and for a `wss` target goes through the TLS handshake, which checks the certificate.
    ///
    /// # Errors
    /// [`ConnectError::Io`], [`ConnectError::Tls`], [`ConnectError::NoHttp2`], [`ConnectError::Timeout`].
    pub async fn open(target: &Target) -> Result<Self, ConnectError> {
        let target = target.clone();
        let tcp = within(&target, Step::Connect, async {
            match target.connect_to {
                Some(address) => TcpStream::connect(address).await,
                None => TcpStream::connect((target.host.as_str(), target.port)).await,
            }
        })
        .await?;
        tcp.set_nodelay(true)?;
        let transport = match &target.tls {
            None => Transport::Plain(tcp),
            Some(tls) => {
                let connector = TlsConnector::from(tls.config.clone());
                let connector = connector.with_alpn(vec![target.version.alpn().to_vec()]);
                let handshake = connector.connect(tls.server_name.clone(), tcp);
                let handshake = async { handshake.await.map_err(ConnectError::Tls) };
                let stream = within(&target, Step::TlsHandshake, handshake).await?;
                let agreed = stream.get_ref().1.alpn_protocol();
                if target.version == Version::Http2 && agreed != Some(Version::Http2.alpn()) {
                    return Err(ConnectError::NoHttp2);
                }
                Transport::Tls(Box::new(stream))
            }
        };
        Ok(Self { transport, target })
    }

    /// What TLS agreed on; `None` for a `ws` target.
    #[must_use]
    pub fn tls(&self) -> Option<Tls> {
        self.transport.tls()
    }

    /// The address that was connected to.
    ///
    /// # Errors
    /// Those of the operating system, such as for a connection that has already been reset.
    pub fn peer_address(&self) -> io::Result<SocketAddr> {
        self.transport.tcp().peer_addr()
    }

    /// Asks for the signaling WebSocket. Dropping the future ends the connection at once.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn upgrade(self) -> Result<Session, ConnectError> {
        let Self { transport, target } = self;
        if target.version == Version::Http2 {
            let connection = within(&target, Step::Answer, Http2::over(transport)).await?;
            return connection.upgrade(&target).await;
        }
        let tls = transport.tls();
        let key = generate_key();
        let request = upgrade_request(&target, &key)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await?;
        let mut connection = pin!(connection.with_upgrades().fuse());

        let answer = alongside(connection.as_mut(), sender.send_request(request));
        let response = within(&target, Step::Answer, answer).await?;
        if response.status() != StatusCode::SWITCHING_PROTOCOLS {
            let refusal = alongside(connection, collect(response));
            return Err(refused(within(&target, Step::Answer, refusal).await?));
        }

        let subprotocol =
            check_upgrade(&target, &key, response.headers()).map_err(ConnectError::Handshake)?;
        let headers = response.headers().clone();
        let upgraded = alongside(connection, hyper::upgrade::on(response)).await?;
        let parts = upgraded
            .downcast::<TokioIo<Transport>>()
            .map_err(|_other| io::Error::from(io::ErrorKind::Unsupported))?;
        let (transport, already_read) = (parts.io.into_inner(), parts.read_buf.to_vec());
        let tunnel = Tunnel::Connection(transport);
        let limits = Some(frame_limits());
        let socket =
            WebSocketStream::from_partially_read(tunnel, already_read, Role::Client, limits).await;
        Ok(Session::new(socket, headers, subprotocol, tls))
    }

    /// Asks the target's URL by a plain GET, with the same headers, offering no upgrade. Web clients
    /// learn by it why an upgrade was refused.
    ///
    /// # Errors
    /// Every [`ConnectError`] but [`ConnectError::Refused`], [`ConnectError::Handshake`] and
    /// [`ConnectError::NoWebSockets`].
    pub async fn get(self) -> Result<Response, ConnectError> {
        let Self { transport, target } = self;
        if target.version == Version::Http2 {
            let connection = within(&target, Step::Answer, Http2::over(transport)).await?;
            return connection.get(&target).await;
        }
        let mut request = request(&target)?;
        request
            .headers_mut()
            .insert(CONNECTION, HeaderValue::from_static("close"));
        let (mut sender, connection) = http1::handshake(TokioIo::new(transport)).await?;
        let exchange = async { collect(sender.send_request(request).await?).await };
        within(
            &target,
            Step::Answer,
            alongside(pin!(connection.fuse()), exchange),
        )
        .await
    }
}

fn request(target: &Target) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = Request::get(target.path_and_query.as_str()).body(Empty::new())?;
    let headers = request.headers_mut();
    *headers = target.headers.clone();
    if !headers.contains_key(HOST) {
        headers.insert(HOST, HeaderValue::from_str(target.authority.as_str())?);
    }
    Ok(request)
}

fn upgrade_request(
    target: &Target,
    key: &str,
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    let mut request = request(target)?;
    let headers = request.headers_mut();
    headers.insert(CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
    headers.insert(SEC_WEBSOCKET_KEY, HeaderValue::from_str(key)?);
    add_offer(target, headers)?;
    Ok(request)
}

pub(crate) fn add_offer(
    target: &Target,
    headers: &mut HeaderMap,
) -> Result<(), hyper::http::Error> {
    if !target.subprotocols.is_empty() {
        let offer = target
            .subprotocols
            .iter()
            .map(HeaderValue::as_bytes)
            .collect::<Vec<_>>()
            .join(&b", "[..]);
        headers.append(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_bytes(&offer)?);
    }
    Ok(())
}

/// RFC 6455 §4.1, as far as hyper has not checked it. Answers the selected subprotocol.
fn check_upgrade(
    target: &Target,
    key: &str,
    headers: &HeaderMap,
) -> Result<Option<String>, HandshakeFault> {
    let accept = headers.get(SEC_WEBSOCKET_ACCEPT);
    if accept.is_none_or(|accept| accept.as_bytes() != derive_accept_key(key.as_bytes()).as_bytes())
    {
        return Err(HandshakeFault::Accept);
    }
    selected_subprotocol(target, headers)
}

/// Of those that were offered, the one the server selected.
pub(crate) fn selected_subprotocol(
    target: &Target,
    headers: &HeaderMap,
) -> Result<Option<String>, HandshakeFault> {
    match headers.get(SEC_WEBSOCKET_PROTOCOL) {
        None if target.subprotocols.is_empty() => Ok(None),
        None => Err(HandshakeFault::NoSubprotocol),
        Some(selected) if target.subprotocols.contains(selected) => Ok(Some(
            String::from_utf8_lossy(selected.as_bytes()).into_owned(),
        )),
        Some(_) => Err(HandshakeFault::UnofferedSubprotocol),
    }
}

/// A frame may be as large as a message.
pub(crate) fn frame_limits() -> WebSocketConfig {
    WebSocketConfig::default().max_frame_size(None)
}

async fn collect(response: hyper::Response<Incoming>) -> Result<Response, ConnectError> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, BODY_LIMIT)
        .collect()
        .await
        .map_err(io::Error::other)?;
    let body = String::from_utf8_lossy(&body.to_bytes()).into_owned();
    Ok(Response {
        status: head.status.as_u16(),
        headers: head.headers,
        body,
    })
}

pub(crate) fn refused(response: Response) -> ConnectError {
    ConnectError::Refused {
        status: response.status,
        reason: response.reason().map(str::to_owned),
        retry_after: response.retry_after(),
        headers: Box::new(response.headers),
        body: response.body,
    }
}

/// Drives the connection while `work`, which needs it, is done. The connection may well end first, with
/// what `work` waits for already read.
async fn alongside<C: FusedFuture, W: Future>(connection: Pin<&mut C>, work: W) -> W::Output {
    let connection = async {
        connection.await;
        pending::<Infallible>().await
    };
    tokio::select! {
        biased;
        output = work => output,
        never = connection => match never {},
    }
}

pub(crate) async fn within<T, E>(
    target: &Target,
    step: Step,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, ConnectError>
where
    ConnectError: From<E>,
{
    let limit = target.time_limit;
    Ok(timeout(limit, work)
        .await
        .map_err(|_elapsed| ConnectError::Timeout { step, limit })??)
}

fn named(reason: Option<&str>) -> String {
    reason
        .map(|reason| format!(" ({reason})"))
        .unwrap_or_default()
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Connect => "connecting",
            Self::TlsHandshake => "the TLS handshake",
            Self::Answer => "the answer to the request",
        })
    }
}

/// Refusals are small; whatever is larger is not Berth's.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
