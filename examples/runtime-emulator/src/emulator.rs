use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use berth_client::Family;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::config::{EmulatorConfig, Fault};
use crate::control::serve_control;
use crate::ledger::{Ledger, SessionRecord};
use crate::serve::{accept, serve_signaling};
use crate::session::Order;
use crate::shared::Shared;
use crate::socket::Phase;
use crate::tls;

/// A running emulator. Dropping it ends its tasks and closes its sockets.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    tasks: Mutex<JoinSet<()>>,
    web_address: SocketAddr,
    native_address: SocketAddr,
    readiness_address: SocketAddr,
}

/// What was waited for did not come about in time.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not within {limit:?}: {ledger}")]
pub struct NotInTime {
    /// How long it had.
    pub limit: Duration,
    /// The ledger at the end of that time.
    pub ledger: Box<Ledger>,
}

impl Emulator {
    /// Opens the three ports and serves them until stopped, killed or dropped. Within a tokio runtime.
    ///
    /// # Errors
    /// Those of binding the ports.
    pub async fn start(config: EmulatorConfig) -> io::Result<Self> {
        let web = bind(config.address, config.web_port).await?;
        let native = bind(config.address, config.native_port).await?;
        let readiness = bind(config.address, config.readiness_port).await?;
        let (web_address, native_address, readiness_address) = (
            web.local_addr()?,
            native.local_addr()?,
            readiness.local_addr()?,
        );

        let acceptor = config.tls.as_ref().map(tls::acceptor).transpose()?;
        let shared = Arc::new(Shared::new(config));
        let mut tasks = JoinSet::new();
        for (listener, family) in [(web, Family::Web), (native, Family::Native)] {
            let acceptor = acceptor.clone();
            tasks.spawn(accept(listener, shared.clone(), move |tcp, shared| {
                serve_signaling(tcp, acceptor.clone(), family, shared)
            }));
        }
        tasks.spawn(accept(readiness, shared.clone(), serve_control));
        Ok(Self {
            shared,
            tasks: tasks.into(),
            web_address,
            native_address,
            readiness_address,
        })
    }

    /// The web family's signaling.
    #[must_use]
    pub const fn web_address(&self) -> SocketAddr {
        self.web_address
    }

    /// The native family's signaling.
    #[must_use]
    pub const fn native_address(&self) -> SocketAddr {
        self.native_address
    }

    /// The signaling of this family.
    #[must_use]
    pub const fn address(&self, family: Family) -> SocketAddr {
        match family {
            Family::Native => self.native_address,
            Family::Web => self.web_address,
        }
    }

    /// Readiness and control.
    #[must_use]
    pub const fn readiness_address(&self) -> SocketAddr {
        self.readiness_address
    }

    /// Every session since the start, in the order of their beginning.
    #[must_use]
    pub fn records(&self) -> Vec<SessionRecord> {
        self.shared.ledger().borrow().records().to_vec()
    }

    /// How many sessions are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.ledger().borrow().live()
    }

    /// The greatest number of sessions that were live at the same moment, over both families.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.shared.ledger().borrow().max_concurrent()
    }

    /// How many valid upgrade requests have come, refused and hanging ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.ledger().borrow().requests()
    }

    /// Waits until the ledger is as wanted.
    ///
    /// # Errors
    /// [`NotInTime`], with the ledger as it was last.
    pub async fn wait_for(
        &self,
        limit: Duration,
        condition: impl FnMut(&Ledger) -> bool,
    ) -> Result<(), NotInTime> {
        let mut ledger = self.shared.ledger();
        // The sender lives as long as `self`: the wait ends only well or not at all.
        let came_about = timeout(limit, ledger.wait_for(condition)).await.is_ok();
        if came_about {
            Ok(())
        } else {
            Err(NotInTime {
                limit,
                ledger: Box::new(self.shared.ledger().borrow().clone()),
            })
        }
    }

    /// Misbehaves like this from now on, live sessions included.
    pub fn set_fault(&self, fault: Fault) {
        self.shared.set_fault(fault);
    }

    /// The fault it has.
    #[must_use]
    pub fn fault(&self) -> Fault {
        *self.shared.fault().borrow()
    }

    /// What `GET /v1/streaming/ready` answers from now on: 200 or 500.
    pub fn set_ready(&self, ready: bool) {
        self.shared.set_ready(ready);
    }

    /// Sends a message to every live session; answers how many. [`Message::Frame`] sends a frame as it is.
    pub fn send_all(&self, message: &Message) -> usize {
        self.shared.order(|| Order::Send(message.clone()))
    }

    /// Closes every live session with a Close frame; answers how many.
    pub fn close_all(&self, code: u16, reason: &str) -> usize {
        self.shared.order(|| Order::Close {
            code,
            reason: reason.to_owned(),
        })
    }

    /// Ends every live session by a FIN without a Close frame; answers how many.
    pub fn finish_tcp_all(&self) -> usize {
        self.shared.order(|| Order::Fin)
    }

    /// Resets the connection of every live session; answers how many.
    pub fn reset_all(&self) -> usize {
        self.shared.order(|| Order::Reset)
    }

    /// Closes the ports, closes every session with code 1001, and returns when all have ended, in at most
    /// some 10 s. The records stay.
    pub async fn stop(&self) {
        self.end(Phase::Stopping).await;
    }

    /// Closes the ports and resets every connection at once. The records stay.
    pub async fn kill(&self) {
        self.end(Phase::Killed).await;
    }

    async fn end(&self, phase: Phase) {
        self.shared.enter(phase);
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

async fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let bound = TcpListener::bind((address, port)).await;
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address} port {port}: {error}")))
}
