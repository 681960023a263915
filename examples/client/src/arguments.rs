use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process;
use std::time::Duration;

use berth_client::{Carrier, Family, Target, TargetError};
use clap::{Parser, ValueEnum};

/// Opens one CloudXR signaling session, as a headset or a browser does, says what happens, and keeps the
/// session until it is told to leave.
///
/// Exits with 0 when all went well, 2 for wrong usage, 3 when refused (the server's reason is on standard
/// error), 4 when the network or TLS failed, 5 when signaling failed or the server ended the session.
#[derive(Parser)]
#[command(name = "berth-client", version, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// wss://host[:port]/sign_in, wss://host[:port]/<pool>/sign_in or wss://host[:port]/rtsp; or ws://.
    url: String,
    /// The client's family; by default native for the path /rtsp and web for any other.
    #[arg(long)]
    family: Option<Family>,
    /// The bearer token. Others on the machine can see it here: prefer --token-file or the environment.
    #[arg(long, env = "BERTH_TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// A file that holds the bearer token; counts before --token.
    #[arg(long)]
    token_file: Option<PathBuf>,
    /// How the token travels; by default by header for native and by query for web.
    #[arg(long, value_enum)]
    token_in: Option<TokenIn>,
    /// The CA certificates to trust, in PEM. Needed for wss.
    #[arg(long)]
    pub(crate) ca: Option<PathBuf>,
    /// A key of your choice by which a later session gets the same instance back.
    #[arg(long)]
    resume_key: Option<String>,
    /// A header to send, as 'name: value'; may be repeated. Browsers cannot send any.
    #[arg(long = "header", value_parser = header)]
    headers: Vec<(String, String)>,
    /// A subprotocol to offer, such as x-nv-sessionid.1; may be repeated.
    #[arg(long = "subprotocol")]
    subprotocols: Vec<String>,
    /// Speak HTTP/2 (RFC 8441), as browsers may; HTTP/1.1 by default.
    #[arg(long)]
    http2: bool,
    /// Seconds to stay after signaling; until Ctrl-C by default.
    #[arg(long, value_parser = seconds)]
    pub(crate) stay: Option<Duration>,
    /// Dial this address instead of the URL's host and port.
    #[arg(long)]
    connect_to: Option<SocketAddr>,
    /// Seconds to wait for each of the connection, the TLS handshake and the answer.
    #[arg(long, default_value = "30", value_parser = seconds)]
    time_limit: Duration,
    /// Only ask, by a plain GET, what an upgrade would be answered.
    #[arg(long)]
    pub(crate) check: bool,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum TokenIn {
    /// Authorization: Bearer.
    Header,
    /// The query parameter token.
    Query,
    /// The subprotocol authorization.bearer.<token>.
    Subprotocol,
}

/// What is wrong with the arguments.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsageError {
    #[error(transparent)]
    Target(#[from] TargetError),
    #[error("{path}: {source}")]
    TokenFile { path: PathBuf, source: io::Error },
    #[error("a wss URL needs --ca, the file of CA certificates to trust")]
    NoCa,
}

impl Arguments {
    pub(crate) fn family(&self, target: &Target) -> Family {
        let by_path = if target.path() == "/rtsp" {
            Family::Native
        } else {
            Family::Web
        };
        self.family.unwrap_or(by_path)
    }

    /// Everything the arguments say about the request.
    pub(crate) fn target(&self) -> Result<Target, UsageError> {
        let mut target = Target::new(&self.url)?.time_limit(self.time_limit);
        let family = self.family(&target);
        if family == Family::Web && target.raw_query().is_none() {
            // What a web client always sends.
            let peer = format!("peer-{}", process::id());
            target = target.query("peer_id", &peer)?.query("version", "2")?;
        }
        match &self.ca {
            Some(ca) => target = target.ca_file(ca)?,
            None if target.is_encrypted() => return Err(UsageError::NoCa),
            None => {}
        }
        if self.http2 {
            target = target.http2();
        }
        if let Some(address) = self.connect_to {
            target = target.connect_to(address);
        }
        for (name, value) in &self.headers {
            target = target.header(name, value)?;
        }
        let by_family = match family {
            Family::Native => Carrier::Header,
            Family::Web => Carrier::Query,
        };
        if let Some(token) = self.token()? {
            target = target.token(&token, self.token_in.map_or(by_family, Carrier::from))?;
        }
        for name in &self.subprotocols {
            target = target.subprotocol(name)?;
        }
        if let Some(key) = &self.resume_key {
            target = target.resume_key(key, by_family)?;
        }
        Ok(target)
    }

    fn token(&self) -> Result<Option<String>, UsageError> {
        match (&self.token_file, &self.token) {
            (Some(path), _) => match fs::read_to_string(path) {
                Ok(text) => Ok(Some(text.trim().to_owned())),
                Err(source) => Err(UsageError::TokenFile {
                    path: path.clone(),
                    source,
                }),
            },
            (None, Some(token)) => Ok(Some(token.trim().to_owned())),
            (None, None) => Ok(None),
        }
    }
}

impl From<TokenIn> for Carrier {
    fn from(token_in: TokenIn) -> Self {
        match token_in {
            TokenIn::Header => Self::Header,
            TokenIn::Query => Self::Query,
            TokenIn::Subprotocol => Self::Subprotocol,
        }
    }
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text.split_once(':').ok_or("a header is 'name: value'")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text
        .parse()
        .map_err(|_| "not a number of seconds".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

const EXAMPLES: &str = "\
Examples:
  berth-client wss://localhost:8443/sign_in --ca ca.pem --token-file token
  berth-client wss://localhost:48322/rtsp --ca ca.pem --token-file token --resume-key headset-7
  berth-client wss://localhost:8443/sign_in --ca ca.pem --token-file token --check
  berth-client ws://127.0.0.1:49100/sign_in --stay 10     (a runtime, without a proxy)";
