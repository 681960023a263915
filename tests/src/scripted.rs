//! An instance of which the test writes every byte.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use crate::Error;

/// Stands where an emulated instance stood. To probes it is up: its port takes connections.
pub struct ScriptedInstance {
    listener: TcpListener,
    address: SocketAddr,
}

impl ScriptedInstance {
    pub(crate) async fn on(address: SocketAddr) -> Result<Self, Error> {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(Error::io(address))?;
        Ok(Self { listener, address })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next connection that asks for something, and the head of its request; those that only look whether
    /// somebody is there are passed over.
    ///
    /// # Errors
    /// [`Error::Io`], and [`Error::Timeout`] when nobody asks within `within`.
    pub async fn request(&self, within: Duration) -> Result<(TcpStream, String), Error> {
        let asked = async {
            loop {
                let (mut stream, _) = self.listener.accept().await?;
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    if stream.read_buf(&mut head).await? == 0 {
                        break;
                    }
                }
                if !head.is_empty() {
                    return Ok((stream, String::from_utf8_lossy(&head).into_owned()));
                }
            }
        };
        timeout(within, asked)
            .await
            .map_err(|_| Error::Timeout {
                what: "a request to a scripted instance".to_owned(),
                within,
                last: "none".to_owned(),
            })?
            .map_err(Error::io(self.address))
    }

    /// Takes the next request and answers it with these bytes.
    ///
    /// # Errors
    /// Those of [`request`](Self::request).
    pub async fn answer(&self, bytes: &[u8], within: Duration) -> Result<TcpStream, Error> {
        let (mut stream, _) = self.request(within).await?;
        let written = stream.write_all(bytes).await;
        written.map_err(Error::io(self.address))?;
        Ok(stream)
    }
}
