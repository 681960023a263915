use std::fmt;
use std::io::{self, ErrorKind};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::HeaderMap;
use tokio::io::AsyncWriteExt as _;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::transport::{Tls, Tunnel};

/// An upgraded signaling WebSocket.
///
/// Dropping it ends the TCP connection without a Close frame, and without TLS's own farewell; over HTTP/2 it resets the
/// stream.
#[derive(Debug)]
pub struct Session {
    socket: WebSocketStream<Tunnel>,
    response_headers: HeaderMap,
    subprotocol: Option<String>,
    tls: Option<Tls>,
}

/// How the server's side of a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Departure {
    /// It sent a Close frame (RFC 6455 §5.5.1), or answered ours with one.
    Close {
        /// Absent if the frame was empty.
        code: Option<u16>,
        /// Often empty.
        reason: String,
    },
    /// The connection ended in order, but without a Close frame.
    Fin,
    /// The connection was reset; over HTTP/2, the stream, which is also how a proxy passes on most ends.
    Reset,
}

/// Why nothing more can be sent or received.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The server's side is over.
    #[error("{0}")]
    Ended(Departure),
    /// The server did not keep to RFC 6455.
    #[error("the server broke the WebSocket protocol: {0}")]
    Protocol(#[source] Box<Error>),
    /// The network failed.
    #[error("network: {0}")]
    Io(#[source] io::Error),
    /// The server took longer than it had.
    #[error("the server did not answer within {0:?}")]
    Timeout(Duration),
}

impl Session {
    pub(crate) const fn new(
        socket: WebSocketStream<Tunnel>,
        response_headers: HeaderMap,
        subprotocol: Option<String>,
        tls: Option<Tls>,
    ) -> Self {
        Self {
            socket,
            response_headers,
            subprotocol,
            tls,
        }
    }

    /// The headers of the 101; over HTTP/2, of the 200.
    #[must_use]
    pub const fn response_headers(&self) -> &HeaderMap {
        &self.response_headers
    }

    /// The subprotocol the server selected; always one that was offered.
    #[must_use]
    pub fn subprotocol(&self) -> Option<&str> {
        self.subprotocol.as_deref()
    }

    /// What TLS agreed on; `None` for a `ws` target.
    #[must_use]
    pub const fn tls(&self) -> Option<&Tls> {
        self.tls.as_ref()
    }

    /// Sends one message. [`Message::Frame`] sends a frame as it is, which is how fragments are sent by hand.
    ///
    /// # Errors
    /// [`SessionError`]; a message to a server that has gone may be lost without one.
    pub async fn send(&mut self, message: Message) -> Result<(), SessionError> {
        self.socket.send(message).await.map_err(SessionError::from)
    }

    /// Sends a text or binary message in fragments of at most `length` bytes (RFC 6455 §5.4). Empty
    /// and other messages have nothing to fragment and are sent whole.
    ///
    /// # Errors
    /// As [`send`](Self::send).
    pub async fn send_fragmented(
        &mut self,
        message: Message,
        length: usize,
    ) -> Result<(), SessionError> {
        let opcode = match &message {
            Message::Text(text) if !text.is_empty() => Data::Text,
            Message::Binary(bytes) if !bytes.is_empty() => Data::Binary,
            _ => return self.send(message).await,
        };
        let payload = message.into_data();
        let mut fragments = payload.chunks(length.max(1)).peekable();
        let mut opcode = OpCode::Data(opcode);
        while let Some(fragment) = fragments.next() {
            let is_final = fragments.peek().is_none();
            let frame = Frame::message(payload.slice_ref(fragment), opcode, is_final);
            self.socket.feed(Message::Frame(frame)).await?;
            opcode = OpCode::Data(Data::Continue);
        }
        self.socket.flush().await.map_err(SessionError::from)
    }

    /// The next message, pings and pongs included; pings are answered here. The server's Close frame is
    /// answered too, and is [`SessionError::Ended`].
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn receive(&mut self) -> Result<Message, SessionError> {
        match self.socket.next().await {
            Some(Ok(Message::Close(frame))) => {
                // The answer is queued; a server that does not wait for it has not failed.
                let _ = self.socket.flush().await;
                Err(SessionError::Ended(Departure::from(frame)))
            }
            Some(Ok(message)) => Ok(message),
            Some(Err(error)) => Err(error.into()),
            None => Err(SessionError::Ended(Departure::Fin)),
        }
    }

    /// The next text or binary message.
    ///
    /// # Errors
    /// [`SessionError`].
    pub async fn receive_data(&mut self) -> Result<Message, SessionError> {
        loop {
            let message = self.receive().await?;
            if message.is_text() || message.is_binary() {
                return Ok(message);
            }
        }
    }

    /// Reads, and drops, everything until the server's side ends. Without a time limit.
    ///
    /// # Errors
    /// Every [`SessionError`] but [`SessionError::Ended`].
    pub async fn departure(&mut self) -> Result<Departure, SessionError> {
        loop {
            match self.receive().await {
                Ok(_) => {}
                Err(SessionError::Ended(departure)) => return Ok(departure),
                Err(error) => return Err(error),
            }
        }
    }

    /// Closes as RFC 6455 §7.1.2 wants it: a Close frame, then a wait of at most 5 s for the server's.
    ///
    /// # Errors
    /// [`SessionError::Timeout`] if it does not come.
    pub async fn close(mut self, code: u16, reason: &str) -> Result<Departure, SessionError> {
        let frame = CloseFrame {
            code: code.into(),
            reason: reason.into(),
        };
        self.send(Message::Close(Some(frame))).await?;
        self.depart_in_time().await
    }

    /// Ends the connection, or the stream, in order but without a Close frame, and waits at most 5 s for the server's end.
    ///
    /// # Errors
    /// [`SessionError::Timeout`] if it does not come.
    pub async fn finish(mut self) -> Result<Departure, SessionError> {
        self.socket.get_mut().shutdown().await.map_err(Error::Io)?;
        self.depart_in_time().await
    }

    /// Resets the TCP connection, as an application that crashes may; over HTTP/2, the stream.
    pub fn abort(mut self) {
        self.socket.get_mut().reset();
    }

    async fn depart_in_time(&mut self) -> Result<Departure, SessionError> {
        let departure = timeout(FAREWELL_LIMIT, self.departure()).await;
        departure.map_err(|_elapsed| SessionError::Timeout(FAREWELL_LIMIT))?
    }
}

impl From<Error> for SessionError {
    fn from(error: Error) -> Self {
        match error {
            Error::ConnectionClosed
            | Error::AlreadyClosed
            | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
                Self::Ended(Departure::Fin)
            }
            Error::Io(error) => match error.kind() {
                ErrorKind::ConnectionReset
                | ErrorKind::ConnectionAborted
                | ErrorKind::BrokenPipe => Self::Ended(Departure::Reset),
                // TLS without a close_notify.
                ErrorKind::UnexpectedEof => Self::Ended(Departure::Fin),
                _ => Self::Io(error),
            },
            other => Self::Protocol(Box::new(other)),
        }
    }
}

impl From<Option<CloseFrame>> for Departure {
    fn from(frame: Option<CloseFrame>) -> Self {
        match frame {
            Some(frame) => Self::Close {
                code: Some(frame.code.into()),
                reason: frame.reason.as_str().to_owned(),
            },
            None => Self::Close {
                code: None,
                reason: String::new(),
            },
        }
    }
}

impl fmt::Display for Departure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close {
                code: Some(code),
                reason,
            } if reason.is_empty() => {
                write!(f, "the server closed the session with code {code}")
            }
            Self::Close {
                code: Some(code),
                reason,
            } => {
                write!(
                    f,
                    "the server closed the session with code {code}: {reason}"
                )
            }
            Self::Close { code: None, .. } => {
                f.write_str("the server closed the session without a code")
            }
            Self::Fin => f.write_str("the server ended the connection without a Close frame"),
            Self::Reset => f.write_str("the connection was reset"),
        }
    }
}

/// How long the server may take to end its side once asked.
const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
