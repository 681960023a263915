//! The xDS port over TLS that both sides prove who they are in, and what proxies and instances show each other.
//!
//! `files` (what files have to hold) and `denials`' pace are pure; `reload` and `instances` read them again and again,
//! and `incoming` shakes hands.

mod connection;
mod denials;
mod files;
mod incoming;
mod instances;
mod reload;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_stream::StreamExt;
use tonic::transport::server::TcpIncoming;

pub use connection::Connection;
pub use denials::Denials;
pub use files::{Contents, TlsFiles};
pub use incoming::{HandshakeError, Incoming};
pub use instances::{InstanceContents, InstanceFiles, PairFiles, watch_instances};

use incoming::Limits;

/// Connections of whoever reaches the port.
pub fn plain(listener: TcpListener) -> Incoming {
    // Answers are small and waited for: Nagle's algorithm would hold each for a delayed ACK, 40 ms.
    let accepted = TcpIncoming::from(listener).with_nodelay(Some(true));
    Box::pin(accepted.map(|accepted| accepted.map(Connection::plain)))
}

/// Connections of those whose certificates these files vouch for. The files are read again each second; who is
/// connected stays so.
///
/// # Errors
/// [`CertificateError`] where they do not hold what they should.
pub fn mutual(
    listener: TcpListener,
    files: TlsFiles,
    denials: Denials,
) -> Result<Incoming, crate::certificates::CertificateError> {
    let contents = files.read(&|path| std::fs::read(path))?;
    let (current, configs) = watch::channel(files.server_config(&contents)?);
    tokio::spawn(reload::reload(files, contents, current));
    Ok(incoming::incoming(
        listener,
        configs,
        denials,
        Limits::default(),
    ))
}
