//! A CloudXR signaling client of both families, for tests, demos and trying things by hand.
//!
//! [`connect`] opens a signaling WebSocket the way a headset does (a TLS connection of its own, one
//! upgrade) and says in full what a refusal answered; [`get`] asks the same URL by a plain GET, which
//! is how a web client learns why it was refused. Several sessions share an [`Http2`] connection. [`signaling_exchange`] and [`rtsp_exchange`] go
//! through the first steps of a session. No media is involved.

mod connect;
mod http2;
pub mod rtsp;
mod session;
pub mod signaling;
mod target;
mod transport;

use std::fmt;
use std::str::FromStr;

pub use connect::{ConnectError, Connection, HandshakeFault, Response, Step, connect, get};
pub use http2::Http2;
pub use hyper::HeaderMap;
pub use rtsp::rtsp_exchange;
pub use session::{Departure, Session, SessionError};
pub use signaling::{Exchange, SignalingError, signaling_exchange};
pub use target::{Carrier, Target, TargetError};
pub use tokio_tungstenite::tungstenite::Message;
pub use tokio_tungstenite::tungstenite::protocol::frame::Frame;
pub use transport::Tls;

/// The two kinds of CloudXR client, which no one runtime serves both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// CloudXR Framework and Apple Foveated Streaming: RTSP over a WebSocket, at `/rtsp`.
    Native,
    /// CloudXR.js: JSON messages, at `/sign_in?…`.
    Web,
}

impl Family {
    /// `native` or `web`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Web => "web",
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Family {
    type Err = UnknownFamily;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "native" => Ok(Self::Native),
            "web" => Ok(Self::Web),
            _ => Err(UnknownFamily),
        }
    }
}

/// The text named neither family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a client family is `native` or `web`")]
pub struct UnknownFamily;
