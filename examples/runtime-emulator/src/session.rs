use std::convert::Infallible;
use std::future::{Future, pending, poll_fn};
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::task::Poll;
use std::time::Duration;

use futures_util::{FutureExt as _, SinkExt as _, StreamExt as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Error, Message};

use crate::config::{EmulatorConfig, Fault};
use crate::ledger::{How, Stage};
use crate::shared::Entry;
use crate::signaling::Conversation;
use crate::socket::{FAREWELL_LIMIT, Phase, Socket, stopping};

/// What a live session is told to do.
#[derive(Debug)]
pub(crate) enum Order {
    Send(Message),
    Close {
        code: u16,
        reason: String,
    },
    Fin,
    Reset,
    Evict,
    /// Take in what has already arrived, then drop this; where that is the session's end, not before the
    /// record has ended.
    Glance(oneshot::Sender<Infallible>),
}

/// One accepted WebSocket. Its loop never waits to write, so that it always notices what arrives.
pub(crate) struct Session {
    socket: WebSocketStream<Socket>,
    conversation: Conversation,
    entry: Entry,
    orders: mpsc::UnboundedReceiver<Order>,
    fault: watch::Receiver<Fault>,
    phase: watch::Receiver<Phase>,
    heartbeat: Heartbeat,
    introduction_deadline: Option<Instant>,
    messages: u64,
    unflushed: bool,
    glancing: Option<oneshot::Sender<Infallible>>,
}

impl Session {
    pub(crate) fn new(
        socket: WebSocketStream<Socket>,
        conversation: Conversation,
        entry: Entry,
        orders: mpsc::UnboundedReceiver<Order>,
        config: &EmulatorConfig,
        (fault, phase): (watch::Receiver<Fault>, watch::Receiver<Phase>),
    ) -> Self {
        let limit = match conversation {
            Conversation::Native { .. } => None,
            Conversation::Web(_) => config.introduction_limit,
        };
        Self {
            socket,
            entry,
            orders,
            fault,
            phase,
            heartbeat: Heartbeat {
                period: config.heartbeat,
                ticks: None,
            },
            introduction_deadline: limit.map(|limit| Instant::now() + limit),
            conversation,
            messages: 0,
            unflushed: false,
            glancing: None,
        }
    }

    /// Goes on until either side ends it.
    pub(crate) async fn run(mut self) {
        let how = self.converse().await;
        self.take_leave(how).await;
    }

    async fn converse(&mut self) -> How {
        loop {
            let silent = *self.fault.borrow_and_update() == Fault::GoSilent;
            let next = tokio::select! {
                event = incoming(&mut self.socket, &mut self.unflushed), if !silent => self.on_event(event),
                Some(order) = self.orders.recv() => self.on_order(order),
                () = self.heartbeat.tick(), if !silent => self.send(Message::text(HEARTBEAT)),
                () = until(self.introduction_deadline), if !silent => ControlFlow::Break(How::PeerRemoved),
                _ = self.fault.changed() => ControlFlow::Continue(()),
                () = stopping(&mut self.phase) => ControlFlow::Break(How::Stopped),
            };
            if let ControlFlow::Break(how) = next {
                return how;
            }
        }
    }

    fn on_event(&mut self, event: Option<Result<Message, Error>>) -> ControlFlow<How> {
        let message = match event {
            Some(Ok(Message::Close(frame))) => return ControlFlow::Break(client_close(frame)),
            Some(Ok(message)) => message,
            Some(Err(error)) => return ControlFlow::Break(client_failure(&error)),
            None => return ControlFlow::Break(How::ClientFin),
        };
        if message.is_text() || message.is_binary() {
            self.messages += 1;
            if let Fault::DieAfter(messages) = *self.fault.borrow()
                && self.messages >= messages.get()
            {
                return ControlFlow::Break(How::Reset);
            }
        }
        let before = self.conversation.stage();
        let answers = self.conversation.hear(message);
        let stage = self.conversation.stage();
        if stage != before {
            self.on_stage(stage);
        }
        answers.into_iter().try_for_each(|answer| self.send(answer))
    }

    fn on_stage(&mut self, stage: Stage) {
        self.entry.advance(stage);
        self.introduction_deadline = None;
        if matches!(self.conversation, Conversation::Web(_)) {
            self.heartbeat.start();
        }
    }

    fn on_order(&mut self, order: Order) -> ControlFlow<How> {
        match order {
            Order::Send(message) => self.send(message),
            Order::Close { code, reason } => ControlFlow::Break(How::Close { code, reason }),
            Order::Fin => ControlFlow::Break(How::Fin),
            Order::Reset => ControlFlow::Break(How::Reset),
            Order::Evict => ControlFlow::Break(How::Evicted),
            Order::Glance(seen) => {
                self.glancing = Some(seen);
                // As of now: whoever asks may have learnt before this session that the fault was lifted.
                let silent = *self.fault.borrow() == Fault::GoSilent;
                if !silent {
                    self.glance()?;
                }
                self.glancing = None;
                ControlFlow::Continue(())
            }
        }
    }

    fn glance(&mut self) -> ControlFlow<How> {
        for _ in 0..GLANCES {
            match incoming(&mut self.socket, &mut self.unflushed).now_or_never() {
                Some(event) => self.on_event(event)?,
                None => break,
            }
        }
        ControlFlow::Continue(())
    }

    /// Queues a message; the loop writes it out.
    fn send(&mut self, message: Message) -> ControlFlow<How> {
        self.unflushed = true;
        match self.socket.start_send_unpin(message) {
            Ok(()) => ControlFlow::Continue(()),
            Err(error) => ControlFlow::Break(client_failure(&error)),
        }
    }

    /// Ends the record first, then lets the client know.
    async fn take_leave(self, how: How) {
        let Self {
            mut socket,
            mut entry,
            orders,
            glancing,
            ..
        } = self;
        entry.end(how.clone());
        // Whoever waits for a glance has waited for this, and need not wait for a farewell.
        drop((orders, glancing));
        if matches!(how, How::ClientReset | How::Reset) {
            return socket.into_inner().reset();
        }
        // Whatever goes wrong now goes wrong for a session that has ended.
        let closed = timeout(FAREWELL_LIMIT, say_farewell(&mut socket, &how)).await;
        if matches!(closed, Ok(Ok(true))) {
            // Both Close frames are through: nothing more will come, and nothing can be cut off.
            return;
        }
        socket.into_inner().finish().await;
    }
}

/// Sends what is unsent and, where it is for us to do, closes. Answers whether the client has closed too.
async fn say_farewell(socket: &mut WebSocketStream<Socket>, how: &How) -> Result<bool, Error> {
    let last_words = match how {
        How::ClientClose { .. } => {
            // Sends the answer to the client's Close frame.
            socket.flush().await?;
            return Ok(true);
        }
        How::ClientFin | How::Fin | How::ClientReset | How::Reset => Vec::new(),
        How::Close { code, reason } => vec![close((*code).into(), reason)],
        How::Evicted | How::PeerRemoved => {
            vec![Message::text(PEER_REMOVED), close(CloseCode::Normal, "")]
        }
        How::ProtocolError => vec![close(CloseCode::Protocol, "")],
        How::Stopped => vec![close(CloseCode::Away, "the emulator stops")],
    };
    let closes = !last_words.is_empty();
    for message in last_words {
        socket.feed(message).await?;
    }
    socket.flush().await?;
    if closes {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Writes what is unwritten and answers what arrives.
fn incoming(
    socket: &mut WebSocketStream<Socket>,
    unflushed: &mut bool,
) -> impl Future<Output = Option<Result<Message, Error>>> {
    poll_fn(move |cx| {
        if *unflushed && let Poll::Ready(flushed) = socket.poll_flush_unpin(cx) {
            *unflushed = false;
            if let Err(error) = flushed {
                return Poll::Ready(Some(Err(error)));
            }
        }
        socket.poll_next_unpin(cx)
    })
}

/// Starts when the client has introduced itself.
struct Heartbeat {
    period: Duration,
    ticks: Option<Interval>,
}

impl Heartbeat {
    fn start(&mut self) {
        if self.ticks.is_none() && !self.period.is_zero() {
            let mut ticks = interval_at(Instant::now() + self.period, self.period);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            self.ticks = Some(ticks);
        }
    }

    async fn tick(&mut self) {
        match &mut self.ticks {
            Some(ticks) => {
                ticks.tick().await;
            }
            None => pending().await,
        }
    }
}

async fn until(deadline: Option<Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline).await,
        None => pending().await,
    }
}

fn client_close(frame: Option<CloseFrame>) -> How {
    match frame {
        Some(frame) => How::ClientClose {
            code: Some(frame.code.into()),
            reason: frame.reason.as_str().to_owned(),
        },
        None => How::ClientClose {
            code: None,
            reason: String::new(),
        },
    }
}

fn client_failure(error: &Error) -> How {
    match error {
        Error::ConnectionClosed
        | Error::AlreadyClosed
        | Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) => How::ClientFin,
        Error::Io(error) if error.kind() == ErrorKind::UnexpectedEof => How::ClientFin,
        Error::Io(_) => How::ClientReset,
        _ => How::ProtocolError,
    }
}

fn close(code: CloseCode, reason: &str) -> Message {
    Message::Close(Some(CloseFrame {
        code,
        reason: reason.into(),
    }))
}

const HEARTBEAT: &str = r#"{"hb":1}"#;
const PEER_REMOVED: &str = r#"{"error":"peerRemoved"}"#;

/// How much a glance takes in: the messages a flooding client sends must not hold up a newcomer for ever.
const GLANCES: usize = 64;
