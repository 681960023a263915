use std::sync::Arc;
use std::time::Duration;

use berth_client::Family;
use futures_util::FutureExt as _;
use hyper::StatusCode;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::{Role, WebSocketConfig};
use tracing::{info, warn};

use crate::config::Fault;
use crate::ledger::{Arrival, How};
use crate::session::Session;
use crate::shared::{Admitted, Shared};
use crate::signaling::Conversation;
use crate::socket::{Socket, killed, stopping};
use crate::upgrade::{NoUpgrade, Upgrade, grant, read_upgrade, refuse, turn_away};

/// Accepts until the emulator stops or is killed, then sees what it has accepted to its end.
pub(crate) async fn accept<F>(
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
pub(crate) async fn serve_signaling(
    tcp: TcpStream,
    acceptor: Option<TlsAcceptor>,
    family: Family,
    shared: Arc<Shared>,
) {
    if *shared.fault().borrow() == Fault::RefuseConnection {
        return Socket::new(tcp, shared.phase()).reset();
    }
    let mut phase = shared.phase();
    let opened = async {
        match acceptor {
            Some(acceptor) => Socket::secured(tcp, &acceptor, shared.phase()).await,
            None => Ok(Socket::new(tcp, shared.phase())),
        }
    };
    let opened = tokio::select! {
        opened = opened => opened,
        () = stopping(&mut phase) => return,
    };
    let mut socket = match opened {
        Ok(socket) => socket,
        Err(error) => {
            info!(%family, %error, "no TLS handshake");
            return;
        }
    };
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
    info!(%family, session = admitted.0.number(), path = upgrade.request.uri().path(), "session accepted");
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

async fn negotiate(
    socket: &mut Socket,
    family: Family,
    shared: &Arc<Shared>,
) -> Result<(Upgrade, Admitted), NotAdmitted> {
    let upgrade = read_upgrade(socket, family, shared.config().subprotocol).await?;
    shared.count_request();
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
    let mut faults = shared.fault();
    loop {
        let fault = *faults.borrow_and_update();
        match fault {
            Fault::RefuseUpgrade => {
                return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "as the fault has it").into());
            }
            Fault::FailFirstConnects(_) if shared.take_failure() => return Err(NotAdmitted::Reset),
            Fault::GoSilent => {
                let _ = faults.changed().await;
                // What arrived meanwhile counts first: a client that has gone is not there to be served.
                if socket.departed().now_or_never().is_some() {
                    return Err(NotAdmitted::Reset);
                }
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
        Family::Web => Conversation::web(shared.config().address),
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
    let watched = (shared.fault(), shared.phase());
    Session::new(
        socket,
        conversation,
        entry,
        orders,
        shared.config(),
        watched,
    )
    .run()
    .await;
}

/// Where accepting fails it is mostly for want of file descriptors, which takes a moment to pass.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
