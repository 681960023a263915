use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use berth_client::Family;
use hyper::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{info, warn};

use crate::config::{EmulatorConfig, Fault};
use crate::control;
use crate::ledger::{Arrival, How, Ledger, Occupied, SessionRecord, Stage};
use crate::session::{Order, Session};
use crate::signaling::Conversation;
use crate::socket::{Phase, Socket, killed, stopping};
use crate::upgrade::{NoUpgrade, Upgrade, grant, read_upgrade, refuse, turn_away};

/// A running emulator. Dropping it ends its tasks and closes its sockets.
#[derive(Debug)]
pub struct Emulator {
    shared: Arc<Shared>,
    tasks: tokio::sync::Mutex<JoinSet<()>>,
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

        let shared = Arc::new(Shared::new(config));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(web, shared.clone(), |tcp, shared| {
            serve(tcp, Family::Web, shared)
        }));
        tasks.spawn(accept(native, shared.clone(), |tcp, shared| {
            serve(tcp, Family::Native, shared)
        }));
        tasks.spawn(accept(readiness, shared.clone(), control::serve));
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
        self.shared.ledger.borrow().records().to_vec()
    }

    /// How many sessions are live.
    #[must_use]
    pub fn live(&self) -> usize {
        self.shared.ledger.borrow().live()
    }

    /// The greatest number of sessions that were live at the same moment, over both families.
    #[must_use]
    pub fn max_concurrent(&self) -> usize {
        self.shared.ledger.borrow().max_concurrent()
    }

    /// How many valid upgrade requests have come, refused and hanging ones included.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.shared.ledger.borrow().requests()
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
        let mut ledger = self.shared.ledger.subscribe();
        // The sender lives as long as `self`: the wait ends only well or not at all.
        let came_about = timeout(limit, ledger.wait_for(condition)).await.is_ok();
        if came_about {
            Ok(())
        } else {
            Err(NotInTime {
                limit,
                ledger: Box::new(self.shared.ledger.borrow().clone()),
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
        *self.shared.fault.borrow()
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
        self.shared.phase.send_replace(phase);
        let mut tasks = self.tasks.lock().await;
        while tasks.join_next().await.is_some() {}
    }
}

/// What all of an emulator's tasks see.
#[derive(Debug)]
pub(crate) struct Shared {
    config: EmulatorConfig,
    started: Instant,
    ledger: watch::Sender<Ledger>,
    fault: watch::Sender<Fault>,
    phase: watch::Sender<Phase>,
    ready: AtomicBool,
    live: Mutex<HashMap<usize, mpsc::UnboundedSender<Order>>>,
}

impl Shared {
    fn new(config: EmulatorConfig) -> Self {
        Self {
            started: Instant::now(),
            ledger: watch::Sender::new(Ledger::default()),
            fault: watch::Sender::new(config.fault),
            phase: watch::Sender::new(Phase::Serving),
            ready: AtomicBool::new(config.ready),
            live: Mutex::default(),
            config,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        let free = self.config.ready_while_live || self.ledger.borrow().live() == 0;
        free && self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        info!(%fault, "fault set");
        self.fault.send_replace(fault);
    }

    /// Gives every live session an order; answers how many.
    pub(crate) fn order(&self, order: impl Fn() -> Order) -> usize {
        self.live()
            .values()
            .filter(|session| session.send(order()).is_ok())
            .count()
    }

    pub(crate) fn with_ledger<T>(&self, read: impl FnOnce(&Ledger, Instant) -> T) -> T {
        read(&self.ledger.borrow(), self.started)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<usize, mpsc::UnboundedSender<Order>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every session whose client has already gone end first: its end may have arrived before a
    /// newcomer did, and only wait for its task to be run.
    async fn glance(&self) {
        let mut glances = Vec::new();
        for session in self.live().values() {
            let (seen, glance) = oneshot::channel();
            if session.send(Order::Glance(seen)).is_ok() {
                glances.push(glance);
            }
        }
        for glance in glances {
            // A session that ends instead of answering will do.
            let _ = glance.await;
        }
    }

    /// Begins a session as soon as the policy lets it begin.
    async fn admit(self: &Arc<Self>, arrival: Arrival) -> Result<Admitted, NoUpgrade> {
        self.glance().await;
        loop {
            match self.try_admit(arrival.clone()) {
                Ok(admitted) => return Ok(admitted),
                Err(Occupied::Reject) => {
                    return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "a session is live"));
                }
                Err(Occupied::EvictFirst) => {
                    self.order(|| Order::Evict);
                    let mut ledger = self.ledger.subscribe();
                    // The sender lives as long as `self`.
                    let _ = ledger.wait_for(|ledger| ledger.live() == 0).await;
                }
            }
        }
    }

    fn try_admit(self: &Arc<Self>, arrival: Arrival) -> Result<Admitted, Occupied> {
        // Held over both steps, so that an order given to all reaches every session in the ledger.
        let mut live = self.live();
        let mut outcome = Err(Occupied::Reject);
        self.ledger.send_modify(|ledger| {
            outcome = ledger.admit(self.config.second_client, arrival, now())
        });
        let number = outcome?;
        let (orders, received) = mpsc::unbounded_channel();
        live.insert(number, orders);
        Ok((
            Entry {
                number,
                shared: self.clone(),
            },
            received,
        ))
    }

    /// Takes one of [`Fault::FailFirstConnects`], if there is one left.
    fn take_failure(&self) -> bool {
        self.fault.send_if_modified(|fault| match fault {
            Fault::FailFirstConnects(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
    }
}

/// A live session's place in the ledger. A session whose task is dropped ends as [`How::Stopped`].
#[derive(Debug)]
pub(crate) struct Entry {
    number: usize,
    shared: Arc<Shared>,
}

impl Entry {
    pub(crate) fn advance(&self, stage: Stage) {
        self.shared
            .ledger
            .send_modify(|ledger| ledger.advance(self.number, stage));
    }

    pub(crate) fn end(&mut self, how: How) {
        info!(session = self.number, ?how, "session ended");
        self.shared.live().remove(&self.number);
        self.shared
            .ledger
            .send_if_modified(|ledger| ledger.end(self.number, now(), how));
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.shared.live().remove(&self.number);
        self.shared
            .ledger
            .send_if_modified(|ledger| ledger.end(self.number, now(), How::Stopped));
    }
}

async fn bind(address: IpAddr, port: u16) -> io::Result<TcpListener> {
    let bound = TcpListener::bind((address, port)).await;
    bound.map_err(|error| io::Error::new(error.kind(), format!("{address} port {port}: {error}")))
}

/// Accepts until the emulator stops or is killed, then sees what it has accepted to its end.
async fn accept<F>(
    listener: TcpListener,
    shared: Arc<Shared>,
    serve: impl Fn(TcpStream, Arc<Shared>) -> F,
) where
    F: Future<Output = ()> + Send + 'static,
{
    let (mut stop, mut kill) = (shared.phase(), shared.phase());
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((tcp, _client)) => {
                    connections.spawn(serve(tcp, shared.clone()));
                }
                Err(error) => {
                    warn!(%error, "cannot accept");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
            () = stopping(&mut stop) => break,
            () = killed(&mut kill) => break,
        }
    }
    drop(listener);
    tokio::select! {
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = killed(&mut kill) => {}
    }
    connections.shutdown().await;
}

/// One connection to a signaling port, from its acceptance to its end.
async fn serve(tcp: TcpStream, family: Family, shared: Arc<Shared>) {
    let mut socket = Socket::new(tcp, shared.phase());
    if *shared.fault.borrow() == Fault::RefuseConnection {
        return socket.reset();
    }
    let mut phase = shared.phase();
    let negotiated = tokio::select! {
        negotiated = negotiate(&mut socket, family, &shared) => negotiated,
        () = stopping(&mut phase) => return,
    };
    let (upgrade, admitted) = match negotiated {
        Ok(negotiated) => negotiated,
        Err(NotAdmitted::Reset) => return socket.reset(),
        Err(NotAdmitted::NoUpgrade(NoUpgrade::Io(_))) => return,
        Err(NotAdmitted::NoUpgrade(NoUpgrade::Refuse { status, message })) => {
            info!(%family, %status, message, "upgrade refused");
            // A client that does not stay for the answer does not want it.
            let _ = turn_away(socket, status, message).await;
            return;
        }
    };
    info!(%family, session = admitted.0.number, path = upgrade.request.uri().path(), "session accepted");
    run(socket, family, upgrade, admitted, &shared).await;
}

/// Why a connection does not become a session.
#[derive(Debug)]
enum NotAdmitted {
    NoUpgrade(NoUpgrade),
    /// A fault has it reset.
    Reset,
}

impl From<NoUpgrade> for NotAdmitted {
    fn from(no_upgrade: NoUpgrade) -> Self {
        Self::NoUpgrade(no_upgrade)
    }
}

type Admitted = (Entry, mpsc::UnboundedReceiver<Order>);

async fn negotiate(
    socket: &mut Socket,
    family: Family,
    shared: &Arc<Shared>,
) -> Result<(Upgrade, Admitted), NotAdmitted> {
    let upgrade = read_upgrade(socket, family, shared.config.subprotocol).await?;
    shared.ledger.send_modify(Ledger::request);
    pass_faults(socket, shared).await?;
    let request = &upgrade.request;
    let headers = request.headers().iter().map(|(name, value)| {
        (
            name.as_str().to_owned(),
            String::from_utf8_lossy(value.as_bytes()).into_owned(),
        )
    });
    let arrival = Arrival {
        family,
        path_and_query: request.uri().to_string(),
        headers: headers.collect(),
    };
    let admitted = shared.admit(arrival).await?;
    Ok((upgrade, admitted))
}

/// Returns when no fault is in the way of an upgrade.
async fn pass_faults(socket: &Socket, shared: &Shared) -> Result<(), NotAdmitted> {
    let mut faults = shared.fault.subscribe();
    loop {
        let fault = *faults.borrow_and_update();
        match fault {
            Fault::RefuseUpgrade => {
                return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "as the fault has it").into());
            }
            Fault::FailFirstConnects(_) if shared.take_failure() => return Err(NotAdmitted::Reset),
            Fault::GoSilent => {
                let _ = faults.changed().await;
            }
            Fault::HangBeforeUpgrade => tokio::select! {
                biased;
                () = socket.departed() => return Err(NotAdmitted::Reset),
                _ = faults.changed() => {}
            },
            Fault::None
            | Fault::RefuseConnection
            | Fault::DieAfter(_)
            | Fault::FailFirstConnects(_) => {
                return Ok(());
            }
        }
    }
}

async fn run(
    mut socket: Socket,
    family: Family,
    upgrade: Upgrade,
    (mut entry, orders): Admitted,
    shared: &Shared,
) {
    if grant(&mut socket, &upgrade.response).await.is_err() {
        entry.end(How::ClientReset);
        return;
    }
    let conversation = match family {
        Family::Native => Conversation::native(),
        Family::Web => Conversation::web(shared.config.address),
    };
    // A frame may be as large as a message.
    let limits = WebSocketConfig::default().max_frame_size(None);
    let socket = WebSocketStream::from_partially_read(
        socket,
        upgrade.early_bytes,
        Role::Server,
        Some(limits),
    )
    .await;
    let watched = (shared.fault.subscribe(), shared.phase());
    Session::new(socket, conversation, entry, orders, &shared.config, watched)
        .run()
        .await;
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// Where accepting fails it is mostly for want of file descriptors, which takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
