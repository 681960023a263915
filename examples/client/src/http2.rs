//! WebSockets over HTTP/2 (RFC 8441): several on one connection.

mod stream;

use std::future::{Future as _, poll_fn};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use h2::RecvStream;
use h2::client::{self, SendRequest};
use h2::ext::Protocol;
use hyper::body::Bytes;
use hyper::header::{HeaderValue, SEC_WEBSOCKET_VERSION};
use hyper::http::uri::Scheme;
use hyper::{Method, Request, StatusCode, Uri};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::Role;

pub(crate) use stream::Http2Stream;

use crate::connect::{
    BODY_LIMIT, ConnectError, Connection, Response, Step, add_offer, frame_limits, refused,
    selected_subprotocol, within,
};
use crate::session::Session;
use crate::target::Target;
use crate::transport::{Tls, Transport, Tunnel};

/// An HTTP/2 connection, which sessions can share. Its clones are the same connection, which ends when they and its
/// sessions have all been dropped. It is driven by a task of the runtime it was opened in.
#[derive(Clone, Debug)]
pub struct Http2 {
    requests: SendRequest<Bytes>,
    /// Whether the server takes WebSockets; `None` until it has said.
    takes_websockets: watch::Receiver<Option<bool>>,
    to_reset: Arc<AtomicBool>,
    driver: AbortHandle,
    tls: Option<Tls>,
}

impl Http2 {
    /// Connects as [`Connection::open`] does, over HTTP/2 whatever the target says.
    ///
    /// # Errors
    /// Those of [`Connection::open`], and [`ConnectError::Http2`].
    pub async fn open(target: &Target) -> Result<Self, ConnectError> {
        let target = target.clone().http2();
        let connection = Connection::open(&target).await?;
        within(&target, Step::Answer, Self::over(connection.transport)).await
    }

    pub(crate) async fn over(transport: Transport) -> Result<Self, ConnectError> {
        let tls = transport.tls();
        let to_reset = Arc::new(AtomicBool::new(false));
        let transport = Resettable {
            transport,
            to_reset: Arc::clone(&to_reset),
        };
        let mut settings = client::Builder::new();
        settings
            .enable_push(false)
            // Until the server's own settings come, after which this is no longer zero.
            .initial_max_send_streams(0);
        let (requests, mut connection) = settings.handshake(transport).await?;
        let (says, takes_websockets) = watch::channel(None);
        // For as long as it is held the connection does not end.
        let mut unsaid = Some(requests.clone());
        let driver = tokio::spawn(async move {
            // Its end is told to each of its streams.
            let _told = poll_fn(|cx| {
                let over = Pin::new(&mut connection).poll(cx);
                if connection.max_concurrent_send_streams() > 0
                    && let Some(requests) = unsaid.take()
                {
                    says.send_replace(Some(requests.is_extended_connect_protocol_enabled()));
                }
                over
            })
            .await;
        });
        Ok(Self {
            requests,
            takes_websockets,
            to_reset,
            driver: driver.abort_handle(),
            tls,
        })
    }

    /// What TLS agreed on; `None` for a `ws` target.
    #[must_use]
    pub const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Asks for the signaling WebSocket in a stream of its own. Of the target, what says where to connect to does not count.
    ///
    /// # Errors
    /// [`ConnectError`].
    pub async fn upgrade(&self, target: &Target) -> Result<Session, ConnectError> {
        let mut takes = self.takes_websockets.clone();
        let says = async {
            // Without a word, the connection is over, which the request is told.
            let said = takes.wait_for(Option::is_some).await;
            Ok::<_, ConnectError>(said.is_ok_and(|said| *said == Some(false)))
        };
        if within(target, Step::Answer, says).await? {
            return Err(ConnectError::NoWebSockets);
        }
        let mut request = request(target, Method::CONNECT)?;
        request
            .extensions_mut()
            .insert(Protocol::from_static("websocket"));
        let headers = request.headers_mut();
        headers.insert(SEC_WEBSOCKET_VERSION, HeaderValue::from_static("13"));
        add_offer(target, headers)?;

        let mut requests = self.ready(target).await?;
        let (answer, sending) = requests.send_request(request, false)?;
        let (head, receiving) = within(target, Step::Answer, answer).await?.into_parts();
        if head.status != StatusCode::OK {
            let body = within(target, Step::Answer, collect(receiving)).await?;
            return Err(refused(Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body,
            }));
        }
        let subprotocol =
            selected_subprotocol(target, &head.headers).map_err(ConnectError::Handshake)?;
        let tunnel = Tunnel::Stream(Http2Stream::new(sending, receiving));
        let socket =
            WebSocketStream::from_raw_socket(tunnel, Role::Client, Some(frame_limits())).await;
        Ok(Session::new(
            socket,
            head.headers,
            subprotocol,
            self.tls.clone(),
        ))
    }

    /// Asks the target's URL by a plain GET.
    ///
    /// # Errors
    /// As [`Connection::get`].
    pub async fn get(&self, target: &Target) -> Result<Response, ConnectError> {
        let mut requests = self.ready(target).await?;
        let (answer, _sent) = requests.send_request(request(target, Method::GET)?, true)?;
        let exchange = async {
            let (head, receiving) = answer.await?.into_parts();
            Ok::<_, ConnectError>(Response {
                status: head.status.as_u16(),
                headers: head.headers,
                body: collect(receiving).await?,
            })
        };
        within(target, Step::Answer, exchange).await
    }

    /// Resets the TCP connection, as a program that crashes may, with all its sessions.
    pub fn abort(self) {
        self.to_reset.store(true, Ordering::Relaxed);
        self.driver.abort();
    }

    async fn ready(&self, target: &Target) -> Result<SendRequest<Bytes>, ConnectError> {
        within(target, Step::Answer, self.requests.clone().ready()).await
    }
}

fn request(target: &Target, method: Method) -> Result<Request<()>, ConnectError> {
    let scheme = if target.is_encrypted() {
        Scheme::HTTPS
    } else {
        Scheme::HTTP
    };
    let uri = Uri::builder()
        .scheme(scheme)
        .authority(target.authority.clone())
        .path_and_query(target.path_and_query.clone())
        .build()?;
    let mut request = Request::builder().method(method).uri(uri).body(())?;
    *request.headers_mut() = target.headers.clone();
    Ok(request)
}

async fn collect(mut receiving: RecvStream) -> Result<String, ConnectError> {
    let mut body = Vec::new();
    while let Some(bytes) = receiving.data().await {
        let bytes = bytes?;
        receiving.flow_control().release_capacity(bytes.len())?;
        body.extend_from_slice(&bytes);
        if body.len() > BODY_LIMIT {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge).into());
        }
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

/// Resets its TCP connection when dropped, if it is to.
struct Resettable {
    transport: Transport,
    to_reset: Arc<AtomicBool>,
}

impl Drop for Resettable {
    fn drop(&mut self) {
        if self.to_reset.load(Ordering::Relaxed) {
            // Where the option cannot be set the connection has already ended.
            let _ = self.transport.tcp().set_zero_linger();
        }
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().transport).poll_write(cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().transport).poll_shutdown(cx)
    }
}
