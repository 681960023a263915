//! The emulator as a program of its own.

use std::fs;
use std::io::{self, IsTerminal as _};
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use berth_runtime_emulator::{
    Emulator, EmulatorConfig, EmulatorTls, Fault, SecondClient, Subprotocol,
};
use clap::{Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

/// Stands in for the NVIDIA CloudXR Runtime: takes signaling WebSockets of both client families, goes
/// through the start of their signaling, echoes the rest and misbehaves on request. It renders nothing
/// and streams nothing.
///
/// The readiness port answers GET /v1/streaming/ready (200 or 500) and GET /records (who was connected,
/// as JSON), and takes POST /fault (the same words as --fault), POST /ready (true or false) and POST /end
/// (how the live sessions end: close=CODE, close=CODE,REASON, fin or reset).
#[derive(Debug, Parser)]
#[command(name = "runtime-emulator", version)]
struct Arguments {
    /// The address the ports are on.
    #[arg(long, default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    address: IpAddr,
    /// The web family's signaling (/sign_in); 0 for any free port.
    #[arg(long, default_value_t = 49100)]
    web_port: u16,
    /// The native family's signaling (/rtsp); 0 for any free port.
    #[arg(long, default_value_t = 48010)]
    native_port: u16,
    /// Readiness and control; 0 for any free port.
    #[arg(long, default_value_t = 8080)]
    readiness_port: u16,
    /// What a client meets that comes while another's session is live.
    #[arg(long, value_enum, default_value = "accept")]
    second_client: OnSecondClient,
    /// How it misbehaves from the start: none, refuse-connection, refuse-upgrade, hang-before-upgrade,
    /// die-after=N (messages), go-silent or fail-first-connects=N.
    #[arg(long, default_value = "none")]
    fault: Fault,
    /// Seconds between heartbeats to a web client that has introduced itself; 0 for none.
    #[arg(long, default_value = "5", value_parser = seconds)]
    heartbeat: Duration,
    /// Which offered subprotocol is selected.
    #[arg(long, value_enum, default_value = "first")]
    subprotocol: OnSubprotocol,
    /// Seconds a web client has to introduce itself before it is told peerRemoved and closed; never by
    /// default.
    #[arg(long, value_parser = seconds)]
    introduction_limit: Option<Duration>,
    /// Start not ready.
    #[arg(long)]
    not_ready: bool,
    /// Be not ready while a session is live.
    #[arg(long)]
    not_ready_while_live: bool,
    /// Speak TLS on both signaling ports, with this certificate chain (PEM, leaf first).
    #[arg(long, value_name = "FILE", requires = "private_key")]
    certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    #[arg(long, value_name = "FILE", requires = "certificate")]
    private_key: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnSecondClient {
    /// A session of its own.
    Accept,
    /// 503.
    Reject,
    /// A session of its own, once the live one has been closed.
    Evict,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum OnSubprotocol {
    First,
    None,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal())
        .init();
    match serve(arguments).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("runtime-emulator: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Arguments) -> io::Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let tls = match (&arguments.certificate, &arguments.private_key) {
        (Some(certificate), Some(private_key)) => Some(EmulatorTls {
            certificate_chain: fs::read_to_string(certificate)?,
            private_key: fs::read_to_string(private_key)?,
            client_ca: None,
        }),
        _ => None,
    };
    let (ws, config) = (if tls.is_some() { "wss" } else { "ws" }, arguments.into());
    let emulator = Emulator::start(EmulatorConfig { tls, ..config }).await?;
    println!(
        "runtime-emulator stands in for the CloudXR Runtime: signaling only, nothing is rendered or streamed"
    );
    println!("web        {ws}://{}/sign_in", emulator.web_address());
    println!("native     {ws}://{}/rtsp", emulator.native_address());
    println!(
        "readiness  http://{}/v1/streaming/ready",
        emulator.readiness_address()
    );
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    emulator.stop().await;
    Ok(())
}

impl From<Arguments> for EmulatorConfig {
    fn from(arguments: Arguments) -> Self {
        Self {
            address: arguments.address,
            web_port: arguments.web_port,
            native_port: arguments.native_port,
            readiness_port: arguments.readiness_port,
            second_client: match arguments.second_client {
                OnSecondClient::Accept => SecondClient::AcceptAndRecord,
                OnSecondClient::Reject => SecondClient::Reject,
                OnSecondClient::Evict => SecondClient::Evict,
            },
            fault: arguments.fault,
            heartbeat: arguments.heartbeat,
            subprotocol: match arguments.subprotocol {
                OnSubprotocol::First => Subprotocol::FirstOffered,
                OnSubprotocol::None => Subprotocol::None,
            },
            introduction_limit: arguments.introduction_limit,
            ready: !arguments.not_ready,
            ready_while_live: !arguments.not_ready_while_live,
            tls: None,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
