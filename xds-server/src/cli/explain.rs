//! `berth explain`.

use std::{
    fs,
    io::{self, Read, Write as _},
    net::IpAddr,
    path::{Path, PathBuf},
    time::{Duration, UNIX_EPOCH},
};

use berth_admission::UnixSeconds;
use clap::Args;

use self::{
    account::{json, text},
    decision::decide,
    request::{Asked, CertificateNames},
};
use super::config::ConfigFile;
use crate::{
    clock::Clock,
    config::{Config, ConfigError},
    keys::{self, Keys, Setup, StartError},
};

mod account;
mod decision;
mod request;

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub(super) enum ExplainError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("cannot read {}: {error}; name a file that holds nothing but the token", path.display())]
    TokenFile { path: PathBuf, error: io::Error },
    #[error(transparent)]
    Keys(#[from] StartError),
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth explain --path /sign_in --token-file token.txt
      would the session be let in, to which pool, and what would its instance see?
  berth explain --path '/web/sign_in?region=eu' --token-file - --origin https://xr.example.com < token.txt
      of a web page's session, the token from standard input
  berth explain --path /rtsp --certificate-uri-san spiffe://example.com/xr/robot-1
      of a client with a certificate that Envoy has verified
  berth explain --path /sign_in --token-file token.txt --at 2026-10-01T08:00:00Z
      at another time
  berth explain --path /sign_in --token-file token.txt --json
      the same for programs

The decision is the one that Envoy's filter takes, and `berth` where the filter cannot; the last step is the one that
decided. Keys are those in the issuers' files, or fetched from where they are; `berth.redb.keys.json` is read if a `berth`
has left it there, and nothing is written. What Envoy refuses by itself (headers too large, say), whether an instance
is free, revocations, and earlier attempts of the same address are not looked at.

A token or key is put where the configuration looks for one first, which is `Authorization` as a rule; use --header,
--cookie or the query of --path to put it elsewhere. It is not printed.

Exit codes: 0 it is let in, 1 it is refused, 64 the arguments or the configuration have to be changed.")]
pub(super) struct ExplainCommand {
    #[command(flatten)]
    file: ConfigFile,
    /// What the client asks for, with its query, such as /sign_in or /rtsp
    #[arg(long, value_name = "PATH", value_parser = path)]
    path: String,
    /// The client's token; other users of this machine may see it here
    #[arg(long, value_name = "TOKEN", group = "credential")]
    token: Option<String>,
    /// The file with the client's token; `-` is standard input
    #[arg(long, value_name = "FILE", group = "credential")]
    token_file: Option<PathBuf>,
    /// The client's API key
    #[arg(long, value_name = "KEY", group = "credential")]
    api_key: Option<String>,
    /// A header that the client sends; may be given several times
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(String, String)>,
    /// A cookie that the client sends; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    cookie: Vec<String>,
    /// The web page that asks
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,
    /// The request's method
    #[arg(long, value_name = "METHOD", default_value = "GET")]
    method: String,
    /// The client's address
    #[arg(long, value_name = "IP")]
    client: Option<IpAddr>,
    /// The first URI among the alternative names of the client's certificate
    #[arg(long, value_name = "URI")]
    certificate_uri_san: Option<String>,
    /// The first DNS name among them
    #[arg(long, value_name = "NAME")]
    certificate_dns_san: Option<String>,
    /// The subject of the client's certificate, such as CN=robot-1,O=acme
    #[arg(long, value_name = "NAME")]
    certificate_subject: Option<String>,
    /// When it asks: 2026-10-01T08:00:00Z, or seconds since 1970 [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<UnixSeconds>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ExplainCommand {
    /// What to print, and whether the request is let in.
    pub(super) async fn execute(self) -> Result<(String, bool), ExplainError> {
        let config = self.file.load()?;
        let clock = Clock::start();
        let now = self
            .at
            .unwrap_or_else(|| UnixSeconds(clock.now().0.as_secs()));
        let as_json = self.json;
        let asked = self.asked(&config)?;
        let keys = keys(&config, clock)?;
        let decided = decide(&keys, &asked, now).await;
        for issuer in keys.issuers().borrow().iter() {
            if let Some(error) = &issuer.error {
                // A warning that nobody can read is no reason to stop.
                let _ = writeln!(io::stderr(), "warning: {}: {error}", issuer.issuer);
            }
        }
        let account = if as_json {
            json(&decided, &asked)
        } else {
            text(&decided, &asked, now)
        };
        Ok((account, decided.is_let_in()))
    }

    fn asked(self, config: &Config) -> Result<Asked, ExplainError> {
        let credential = match (self.token.or(self.api_key), &self.token_file) {
            (None, Some(path)) => Some(read(path).map_err(|error| ExplainError::TokenFile {
                path: path.clone(),
                error,
            })?),
            (given, _) => given,
        };
        let mut asked = Asked {
            method: self.method,
            path: self.path,
            headers: Vec::new(),
            client: self.client,
            certificate: CertificateNames {
                dns_san: self.certificate_dns_san,
                subject: self.certificate_subject,
                uri_san: self.certificate_uri_san,
            },
        };
        if asked.method == "GET" {
            asked.header("upgrade", "websocket");
        }
        if let Some(origin) = self.origin {
            asked.header("origin", origin);
        }
        for (name, value) in self.header {
            asked.header(&name, value);
        }
        for cookie in self.cookie {
            asked.header("cookie", cookie);
        }
        if let Some(credential) = credential {
            asked.carry(&config.admission_policy().carriers, credential.trim());
        }
        Ok(asked)
    }
}

/// The keys that are known without asking anybody, and the task that asks.
fn keys(config: &Config, clock: Clock) -> Result<Keys, StartError> {
    let (keys, task) = keys::look(Setup {
        clock,
        policy: config.admission_policy(),
        sources: config.key_sources.clone(),
        store: config.store.place.file().map(Path::to_owned),
    })?;
    tokio::spawn(task);
    Ok(keys)
}

fn read(path: &Path) -> io::Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        io::stdin().read_to_string(&mut text)?;
        return Ok(text);
    }
    fs::read_to_string(path)
}

fn path(text: &str) -> Result<String, &'static str> {
    let path = text.starts_with('/').then(|| text.to_owned());
    path.ok_or("begin it with `/`, and leave out the scheme and the host")
}

fn header(text: &str) -> Result<(String, String), &'static str> {
    let (name, value) = text
        .split_once(':')
        .filter(|(name, _)| !name.trim().is_empty())
        .ok_or("write it as 'NAME: VALUE'")?;
    Ok((name.trim().to_ascii_lowercase(), value.trim().to_owned()))
}

fn time(text: &str) -> Result<UnixSeconds, &'static str> {
    if let Ok(seconds) = text.parse() {
        return Ok(UnixSeconds(seconds));
    }
    let time = humantime::parse_rfc3339_weak(text).ok();
    let since_1970 = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    since_1970
        .map(|since_1970: Duration| UnixSeconds(since_1970.as_secs()))
        .ok_or("write it as 2026-10-01T08:00:00Z, or in seconds since 1970")
}
