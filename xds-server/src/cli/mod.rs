//! The `berth` command line: what can be typed, and what it answers.

use std::{
    ffi::OsString,
    io::{self, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};

use crate::serve::{self, ServeError};

use self::{
    admin::AdminError,
    api_key::{ApiKeyCommand, ApiKeyError},
    config::{BootstrapCommand, CheckCommand, ServeCommand},
    explain::{ExplainCommand, ExplainError},
    history::HistoryCommand,
    instances::InstancesCommand,
    keys::KeysCommand,
    nodes::NodesCommand,
    revocations::{RevocationsCommand, RevokeCommand},
    sessions::SessionsCommand,
    token::{TokenCommand, TokenError},
};

mod admin;
mod api_key;
mod config;
mod explain;
mod files;
mod history;
mod instances;
mod keys;
mod nodes;
mod revocations;
mod sessions;
mod table;
mod token;

/// Gives each CloudXR client an instance of its own, behind an Envoy.
#[derive(Debug, Parser)]
#[command(name = "berth", version, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the control plane until SIGTERM or Ctrl-C
    Serve(ServeCommand),
    /// Say what is wrong with a configuration, by line and field
    Check(CheckCommand),
    /// Print the bootstrap of an Envoy that takes everything else from Berth
    Bootstrap(BootstrapCommand),
    /// Show whether a request would be let in, and why, step by step
    Explain(ExplainCommand),
    /// Make a key that stands for a user by itself
    ApiKey(ApiKeyCommand),
    /// Make a token to try things with, or the key to sign it
    Token(TokenCommand),
    /// List the instances; drain or quarantine one, or call that off
    Instances(InstancesCommand),
    /// List the sessions; show or terminate one
    Sessions(SessionsCommand),
    /// List sessions that are over
    History(HistoryCommand),
    /// List the issuers' keys, and when they were fetched
    Keys(KeysCommand),
    /// List the proxies that are connected; show what one has been sent, and what it refused
    Nodes(NodesCommand),
    /// Keep out a user, a token or a session, and close what is live of it
    Revoke(RevokeCommand),
    /// List what is revoked; lift a revocation
    Revocations(RevocationsCommand),
}

/// Why a command did not do what it was told to.
#[derive(Debug, thiserror::Error)]
enum CliError {
    /// The configuration or the logs' filter has to be changed.
    #[error(transparent)]
    Config(#[from] config::ConfigCommandError),
    /// The control plane could not run.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// Nothing can be explained.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// No API key.
    #[error(transparent)]
    ApiKey(#[from] ApiKeyError),
    /// No token, no key.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The admin API did not do it.
    #[error(transparent)]
    Admin(#[from] AdminError),
    /// Nowhere to write the answer to.
    #[error("cannot write the answer: {0}")]
    Output(io::Error),
}

/// Does what the arguments say, the program's name first. The exit code is 0 if that worked, 64
/// (EX_USAGE of sysexits.h) if the arguments or the configuration have to be changed, otherwise 1.
pub async fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let cli = match Cli::try_parse_from(arguments) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version are errors too, in the parser's view, but go to standard output.
            // Where nobody reads, nothing is left to be done about it.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { USAGE } else { 0 });
        }
    };
    match execute(cli.command).await {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::from(error.exit_code())
        }
    }
}

async fn execute(command: Command) -> Result<ExitCode, CliError> {
    let mut code = ExitCode::SUCCESS;
    let answer = match command {
        Command::Serve(command) => {
            let config = command.prepare()?;
            serve::run(config).await?;
            return Ok(code);
        }
        Command::Check(command) => command.execute()?,
        Command::Bootstrap(command) => command.execute()?,
        Command::Explain(command) => {
            let (answer, admitted) = command.execute().await?;
            if !admitted {
                code = ExitCode::from(FAILURE);
            }
            answer
        }
        Command::ApiKey(command) => command.execute()?,
        Command::Token(command) => command.execute()?,
        Command::Instances(command) => command.execute().await?,
        Command::Sessions(command) => command.execute().await?,
        Command::History(command) => command.execute().await?,
        Command::Keys(command) => command.execute().await?,
        Command::Nodes(command) => command.execute().await?,
        Command::Revoke(command) => command.execute().await?,
        Command::Revocations(command) => command.execute().await?,
    };
    match io::stdout().write_all(answer.as_bytes()) {
        // The reader has seen enough: `berth sessions | head`.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(code),
        outcome => outcome.map(|()| code).map_err(CliError::Output),
    }
}

impl CliError {
    fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Explain(_) => USAGE,
            Self::Serve(_)
            | Self::ApiKey(_)
            | Self::Token(_)
            | Self::Admin(_)
            | Self::Output(_) => FAILURE,
        }
    }
}

const FAILURE: u8 = 1;
const USAGE: u8 = 64;

const EXAMPLES: &str = "\
Examples:
  berth check --config berth.yaml            is the configuration right?
  berth serve --config berth.yaml            run the control plane
  berth explain --path /sign_in --token-file token.txt
                                             would it be let in, and why not?
  berth bootstrap --config berth.yaml > envoy.yaml && envoy -c envoy.yaml
  berth instances                            who has which instance?
  berth instances drain gpu-1                give gpu-1 to nobody new
  berth sessions                             who is there?
  berth history --since 1h                   who was there?
  berth nodes                                which proxies are connected, and in sync?
  berth revoke --subject alice               close alice's sessions, and let her in no more

Exit codes: 0 done, 1 failed or refused, 64 the arguments or the configuration have to be changed.
";
