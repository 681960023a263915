//! The client as a program of its own.

mod arguments;

use std::error::Error;
use std::io;
use std::process::ExitCode;

use arguments::{Arguments, UsageError};
use berth_client::signaling::{HEARTBEAT, Signal};
use berth_client::{
    ConnectError, Connection, Departure, Family, Session, SessionError, SignalingError, Target,
    get, rtsp_exchange, signaling_exchange,
};
use clap::Parser as _;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Duration, Instant, MissedTickBehavior, interval_at, sleep};

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(&arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("berth-client: {}", chain(&failure));
            if let Failure::Connect(error) = &failure {
                print_refusal(error);
            }
            failure.exit_code()
        }
    }
}

/// Why the program fails.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Usage(#[from] UsageError),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error("the verdict is {status}: {body}")]
    Verdict { status: u16, body: String },
    #[error("signaling: {0}")]
    Signaling(#[from] SignalingError),
    #[error(transparent)]
    Session(#[from] SessionError),
    #[error("signals: {0}")]
    Signals(#[from] io::Error),
}

impl Failure {
    fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Usage(_) => EXIT_USAGE,
            Self::Connect(ConnectError::Refused { .. }) | Self::Verdict { .. } => EXIT_REFUSED,
            Self::Connect(_)
            | Self::Session(SessionError::Io(_))
            | Self::Signaling(SignalingError::Session(SessionError::Io(_))) => EXIT_NETWORK,
            Self::Signaling(_) | Self::Session(_) => EXIT_SIGNALING,
            Self::Signals(_) => EXIT_OTHER,
        })
    }
}

async fn run(arguments: &Arguments) -> Result<(), Failure> {
    let target = arguments.target()?;
    if arguments.check {
        return check(&target).await;
    }
    let connection = Connection::open(&target).await?;
    announce_connection(&connection, &target, arguments);
    let mut session = connection.upgrade().await?;
    announce_upgrade(&session, &target);
    match arguments.family(&target) {
        Family::Web => {
            let exchange = signaling_exchange(&mut session).await?;
            let candidates = exchange.candidates.len();
            println!(
                "signaling   exchanged: offer taken, answer acknowledged, candidates: {candidates}"
            );
        }
        Family::Native => {
            let reply = rtsp_exchange(&mut session).await?;
            println!(
                "signaling   exchanged: RTSP OPTIONS answered with {}",
                reply.status
            );
        }
    }
    stay(session, arguments.family(&target), arguments.stay).await
}

async fn check(target: &Target) -> Result<(), Failure> {
    let response = get(target).await?;
    if response.status == 200 {
        println!("verdict     {}", response.body.trim());
        Ok(())
    } else {
        Err(Failure::Verdict {
            status: response.status,
            body: response.body.trim().to_owned(),
        })
    }
}

/// Keeps the session, heartbeats included, until told to leave or left.
async fn stay(mut session: Session, family: Family, time: Option<Duration>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut heartbeat = interval_at(Instant::now() + HEARTBEAT, HEARTBEAT);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut leave = std::pin::pin!(async {
        match time {
            Some(time) => sleep(time).await,
            None => std::future::pending().await,
        }
    });
    if time.is_none() {
        println!("staying     until Ctrl-C");
    }
    loop {
        tokio::select! {
            message = session.receive_data() => {
                let message = message?;
                if !matches!(message.to_text().ok().and_then(Signal::parse), Some(Signal::Heartbeat { .. })) {
                    println!("received    a message of {} bytes", message.len());
                }
            }
            _ = heartbeat.tick(), if family == Family::Web => {
                session.send(Signal::Heartbeat { hb: 1 }.to_message().map_err(SignalingError::from)?).await?;
            }
            () = &mut leave => break,
            _ = interrupt.recv() => break,
            _ = terminate.recv() => break,
        }
    }
    match session.close(NORMAL_CLOSURE, "").await? {
        Departure::Close { .. } => println!("closed      by this client; the server agreed"),
        other => println!("closed      by this client; {other}"),
    }
    Ok(())
}

fn announce_connection(connection: &Connection, target: &Target, arguments: &Arguments) {
    let peer = connection
        .peer_address()
        .map_or_else(|_gone| "?".to_owned(), |peer| peer.to_string());
    match (connection.tls(), &arguments.ca) {
        (Some(tls), Some(ca)) => println!(
            "connected   to {peer}, {}, certificate of {} validates against {}",
            tls.version,
            target.host(),
            ca.display(),
        ),
        (Some(tls), None) => println!("connected   to {peer}, {}", tls.version),
        (None, _) => println!("connected   to {peer}, unencrypted"),
    }
}

fn announce_upgrade(session: &Session, target: &Target) {
    let path = target.path();
    match session.subprotocol() {
        // A server that selects it, such as a runtime without a proxy, must not make us print the token.
        Some(subprotocol) if subprotocol.starts_with("authorization.") => {
            println!("upgraded    {path} with the subprotocol that carries the token");
        }
        Some(subprotocol) => println!("upgraded    {path} with subprotocol {subprotocol}"),
        None => println!("upgraded    {path}"),
    }
}

/// A refusal's body says more than its reason.
fn print_refusal(error: &ConnectError) {
    if let ConnectError::Refused {
        retry_after, body, ..
    } = error
    {
        if let Some(seconds) = retry_after {
            eprintln!("retry after {seconds} s");
        }
        if !body.trim().is_empty() {
            eprintln!("{}", body.trim());
        }
    }
}

/// An error and what it comes from, each said once.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}

/// RFC 6455 §7.4.1.
const NORMAL_CLOSURE: u16 = 1000;

const EXIT_OTHER: u8 = 1;
const EXIT_USAGE: u8 = 2;
const EXIT_REFUSED: u8 = 3;
const EXIT_NETWORK: u8 = 4;
const EXIT_SIGNALING: u8 = 5;
