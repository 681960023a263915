use std::future::pending;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Whether the emulator is up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It is.
    Serving,
    /// It closes its sessions and accepts no more.
    Stopping,
    /// It has been killed: whatever socket is dropped from now on is reset.
    Killed,
}

/// Returns when the emulator stops in order; never when it is killed, which does not ask its tasks.
pub(crate) async fn stopping(phase: &mut watch::Receiver<Phase>) {
    if phase
        .wait_for(|phase| *phase == Phase::Stopping)
        .await
        .is_err()
    {
        pending::<()>().await;
    }
}

/// Returns when the emulator has been killed.
pub(crate) async fn killed(phase: &mut watch::Receiver<Phase>) {
    if phase
        .wait_for(|phase| *phase == Phase::Killed)
        .await
        .is_err()
    {
        pending::<()>().await;
    }
}

/// An accepted connection.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: Stream,
    phase: watch::Receiver<Phase>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    fn tcp(&self) -> &TcpStream {
        match self {
            Self::Plain(tcp) => tcp,
            Self::Tls(tls) => tls.get_ref().0,
        }
    }
}

impl Socket {
    pub(crate) fn new(tcp: TcpStream, phase: watch::Receiver<Phase>) -> Self {
        // Signaling is small messages that wait for each other. Without the option they are only slower.
        let _ = tcp.set_nodelay(true);
        let stream = Stream::Plain(tcp);
        Self { stream, phase }
    }

    /// The same once TLS is spoken on it.
    pub(crate) async fn secured(
        tcp: TcpStream,
        acceptor: &TlsAcceptor,
        phase: watch::Receiver<Phase>,
    ) -> io::Result<Self> {
        let _ = tcp.set_nodelay(true);
        let stream = Stream::Tls(Box::new(acceptor.accept(tcp).await?));
        Ok(Self { stream, phase })
    }

    /// Ends the connection by a reset, whatever is unsent.
    pub(crate) fn reset(self) {
        self.reset_on_close();
    }

    /// Returns when the client has ended its side before sending anything more; never if it has sent. With TLS the word
    /// that it ends is something, so it never returns of who says goodbye.
    pub(crate) async fn departed(&self) {
        if self
            .stream
            .tcp()
            .peek(&mut [0])
            .await
            .is_ok_and(|length| length > 0)
        {
            pending::<()>().await;
        }
    }

    /// Sends a FIN and reads on until the client ends its side, at most [`FAREWELL_LIMIT`]: closing a
    /// socket with unread bytes would send a reset, which may overtake what was sent last (RFC 9112 §9.6).
    pub(crate) async fn finish(mut self) {
        let drained = async {
            self.shutdown().await?;
            let mut unread = [0; 4096];
            while self.read(&mut unread).await? > 0 {}
            io::Result::Ok(())
        };
        // Whoever does not end its side in time has it ended for it.
        let _ = timeout(FAREWELL_LIMIT, drained).await;
    }

    fn reset_on_close(&self) {
        // Where the option cannot be set the connection has already ended.
        let _ = self.stream.tcp().set_zero_linger();
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if *self.phase.borrow() == Phase::Killed {
            self.reset_on_close();
        }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_read(cx, buffer),
            Stream::Tls(tls) => Pin::new(tls).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_write(cx, bytes),
            Stream::Tls(tls) => Pin::new(tls).poll_write(cx, bytes),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().stream {
            Stream::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Stream::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}

/// How long a client may take over the end of a session that we end: to read what is left, to answer our
/// Close frame, to end its side.
pub(crate) const FAREWELL_LIMIT: Duration = Duration::from_secs(5);
