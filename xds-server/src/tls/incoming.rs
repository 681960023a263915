//! Handshakes, many at a time: who is slow or silent in one holds up nobody.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use rustls::{CertificateError, Error, ServerConfig};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio_rustls::TlsAcceptor;
use tokio_stream::Stream;
use tokio_stream::wrappers::ReceiverStream;
use tracing::warn;

use super::{Connection, Denials};

/// Connections as they come to be, for a [`tonic::transport::Server`].
pub type Incoming = Pin<Box<dyn Stream<Item = io::Result<Connection>> + Send>>;

/// Why a handshake came to nothing.
#[derive(Debug, thiserror::Error)]
pub enum HandshakeError {
    /// It was the oldest of too many.
    #[error("too many others came after it")]
    CrowdedOut,
    /// The connection broke.
    #[error("{0}")]
    Io(io::Error),
    /// The client has no certificate.
    #[error("the client shows no certificate")]
    NoCertificate,
    /// What came was no TLS.
    #[error("the client does not speak TLS")]
    NotTls,
    /// The client does not take our certificate, or has another objection.
    #[error("the client breaks it off: {0}")]
    Refused(Error),
    /// Anything else that TLS objects to.
    #[error("{0}")]
    Tls(Error),
    /// It took too long.
    #[error("it took too long")]
    TooSlow,
    /// The client's certificate is not one of ours, or of another time.
    #[error("the client's certificate cannot be trusted: {0}")]
    Untrusted(CertificateError),
}

impl HandshakeError {
    /// For metrics.
    pub const fn label(&self) -> &'static str {
        match self {
            Self::CrowdedOut => "crowded_out",
            Self::Io(_) => "broken",
            Self::NoCertificate => "no_certificate",
            Self::NotTls => "not_tls",
            Self::Refused(_) => "refused",
            Self::Tls(_) => "tls",
            Self::TooSlow => "too_slow",
            Self::Untrusted(_) => "untrusted",
        }
    }
}

impl From<io::Error> for HandshakeError {
    fn from(error: io::Error) -> Self {
        let tls = error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>());
        match tls.cloned() {
            None => Self::Io(error),
            Some(Error::InvalidCertificate(error)) => Self::Untrusted(error),
            Some(Error::InvalidMessage(_)) => Self::NotTls,
            Some(Error::NoCertificatesPresented) => Self::NoCertificate,
            Some(error @ Error::AlertReceived(_)) => Self::Refused(error),
            Some(error) => Self::Tls(error),
        }
    }
}

/// What handshakes may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// How many are under way at once.
    pub(super) handshakes: usize,
    /// From the connection to the end of its handshake.
    pub(super) within: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // Half of what a process may have open at once where nobody has raised that.
            handshakes: 512,
            within: Duration::from_secs(10),
        }
    }
}

/// Connections whose handshake is over, each made with the configuration of its beginning.
pub(super) fn incoming(
    listener: TcpListener,
    configs: watch::Receiver<Arc<ServerConfig>>,
    denials: Denials,
    limits: Limits,
) -> Incoming {
    let (finished, connections) = mpsc::channel(FINISHED);
    let door = Door {
        listener,
        configs,
        denials,
        limits,
    };
    tokio::spawn(door.accept(finished));
    Box::pin(ReceiverStream::new(connections))
}

struct Door {
    listener: TcpListener,
    configs: watch::Receiver<Arc<ServerConfig>>,
    denials: Denials,
    limits: Limits,
}

impl Door {
    /// Until nobody takes connections any more.
    async fn accept(self, finished: mpsc::Sender<io::Result<Connection>>) {
        let mut handshakes = Handshakes::default();
        loop {
            tokio::select! {
                () = finished.closed() => return,
                Some((address, handshake)) = handshakes.next() => {
                    self.denials.handshake(address, handshake.as_ref().map(|_| ()));
                    if let Ok(connection) = handshake && finished.send(Ok(connection)).await.is_err() {
                        return;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => self.begin(&mut handshakes, stream, address),
                    Err(error) => {
                        // The process may have too many files open, which does not change at once.
                        warn!(%error, "cannot accept a connection to the xDS port");
                        tokio::time::sleep(PAUSE).await;
                    }
                },
            }
        }
    }

    fn begin(&self, handshakes: &mut Handshakes, stream: TcpStream, address: SocketAddr) {
        if let Some(oldest) = handshakes.make_room(self.limits.handshakes) {
            let crowded_out = Err(&HandshakeError::CrowdedOut);
            self.denials.handshake(oldest, crowded_out);
        }
        let config = Arc::clone(&self.configs.borrow());
        let denials = self.denials.clone();
        let handshake = shake_hands(stream, config, self.limits.within, denials);
        handshakes.begin(address, handshake);
    }
}

async fn shake_hands(
    stream: TcpStream,
    config: Arc<ServerConfig>,
    within: Duration,
    denials: Denials,
) -> Result<Connection, HandshakeError> {
    // Answers are small and waited for: Nagle's algorithm would hold each for a delayed ACK, 40 ms.
    stream.set_nodelay(true)?;
    let handshake = TlsAcceptor::from(config).accept(stream);
    let stream = tokio::time::timeout(within, handshake)
        .await
        .map_err(|_| HandshakeError::TooSlow)??;
    Ok(Connection::certified(stream, denials))
}

/// Those under way. So many there may be, and one more ends the oldest: whoever fills them with silence pushes itself
/// out, while a client that does what it came for is through within a few round trips.
#[derive(Default)]
struct Handshakes {
    tasks: JoinSet<(SocketAddr, Result<Connection, HandshakeError>)>,
    /// In the order in which they began, some that are over among them.
    by_age: VecDeque<(SocketAddr, AbortHandle)>,
}

impl Handshakes {
    fn begin(
        &mut self,
        address: SocketAddr,
        handshake: impl Future<Output = Result<Connection, HandshakeError>> + Send + 'static,
    ) {
        let task = async move { (address, handshake.await) };
        let handle = self.tasks.spawn(task);
        self.by_age.push_back((address, handle));
    }

    /// Ends the oldest if there are too many for one more, and says whose it was.
    fn make_room(&mut self, most: usize) -> Option<SocketAddr> {
        self.forget_those_over();
        if self.tasks.len() < most {
            return None;
        }
        let (address, oldest) = self.by_age.pop_front()?;
        oldest.abort();
        Some(address)
    }

    /// One that is over; never, while there is none.
    async fn next(&mut self) -> Option<(SocketAddr, Result<Connection, HandshakeError>)> {
        loop {
            match self.tasks.join_next().await? {
                Ok(ended) => return Some(ended),
                // It was crowded out, which has been said.
                Err(_) => self.forget_those_over(),
            }
        }
    }

    fn forget_those_over(&mut self) {
        while let Some((_, first)) = self.by_age.front()
            && first.is_finished()
        {
            self.by_age.pop_front();
        }
    }
}

/// After a connection that could not be accepted.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that wait for the server, which takes each at once.
const FINISHED: usize = 16;

#[cfg(test)]
mod tests;
