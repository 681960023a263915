use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::{Reason, RecvStream, SendStream};
use hyper::body::{Buf as _, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The two directions of an HTTP/2 stream as bytes. An end in order is END_STREAM, and any other is RST_STREAM (RFC 8441
/// §5).
#[derive(Debug)]
pub(crate) struct Http2Stream {
    sending: SendStream<Bytes>,
    receiving: RecvStream,
    /// Received, and not read yet.
    unread: Bytes,
}

impl Http2Stream {
    pub(super) const fn new(sending: SendStream<Bytes>, receiving: RecvStream) -> Self {
        Self {
            sending,
            receiving,
            unread: Bytes::new(),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.sending.send_reset(Reason::CANCEL);
    }
}

impl AsyncRead for Http2Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        while self.unread.is_empty() {
            match ready!(self.receiving.poll_data(cx)) {
                Some(bytes) => self.unread = bytes.map_err(broken)?,
                None => return Poll::Ready(Ok(())),
            }
        }
        let length = self.unread.len().min(buffer.remaining());
        buffer.put_slice(&self.unread.split_to(length));
        // Once the stream has ended there is nobody to grant more to.
        let _ = self.receiving.flow_control().release_capacity(length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.sending
            .reserve_capacity(bytes.len().min(LARGEST_WRITE));
        let capacity = match ready!(self.sending.poll_capacity(cx)) {
            Some(capacity) => capacity.map_err(broken)?,
            None => return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        };
        let mut rest = bytes;
        let part = rest.copy_to_bytes(capacity.min(bytes.len()));
        let length = part.len();
        self.sending.send_data(part, false).map_err(broken)?;
        Poll::Ready(Ok(length))
    }

    /// What was written is sent as soon as flow control lets it.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.sending.send_data(Bytes::new(), true).map_err(broken))
    }
}

fn broken(error: h2::Error) -> io::Error {
    io::Error::new(io::ErrorKind::ConnectionReset, error)
}

/// Bounds what is copied at a time; as large as most servers' windows are to begin with (RFC 9113 §6.9.2).
const LARGEST_WRITE: usize = 65_535;
