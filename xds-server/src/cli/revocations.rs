//! `berth revoke` and `berth revocations`.

use clap::{ArgGroup, Args, Subcommand};
use serde::{Deserialize, Serialize};

use super::{
    admin::{AdminApi, AdminError},
    table::table,
};

#[derive(Debug, Args)]
#[command(
    group = ArgGroup::new("what").required(true).args(["subject", "token_id", "session"]),
    after_help = "\
Examples:
  berth revoke --subject alice                          whoever issued her tokens
  berth revoke --subject alice --issuer https://id.example --for 7days --reason 'lost laptop'
  berth revoke --token-id 7f3a                          one token, by its `jti`
  berth revoke --session ID                             one session, which may not come back

Requests are refused with 401 `revoked` from then on, live sessions are closed within two seconds, and no instance is
kept for their clients. `berth sessions show ID` tells a session's subject, issuer and token id; `berth revocations`
lists what is revoked. To end a session and let its user come back, `berth sessions terminate ID`."
)]
pub(super) struct RevokeCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(flatten)]
    revoke: Revoke,
}

/// What the API is asked.
#[derive(Debug, Args, Serialize)]
struct Revoke {
    /// A user, by the token's `sub`
    #[arg(long, value_name = "SUBJECT", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<String>,
    /// A token, by its `jti`
    #[arg(long, value_name = "JTI", allow_hyphen_values = true)]
    #[serde(skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    /// A session, by its id
    #[arg(long, value_name = "ID", conflicts_with = "issuer")]
    #[serde(skip_serializing_if = "Option::is_none")]
    session: Option<String>,
    /// Only what this issuer says, by the token's `iss`; otherwise whoever says it
    #[arg(long, value_name = "ISSUER")]
    #[serde(skip_serializing_if = "Option::is_none")]
    issuer: Option<String>,
    /// For how long, 1s to 30days: not longer than the tokens themselves hold
    #[arg(long, value_name = "DURATION", default_value = "24h")]
    r#for: String,
    /// Why, for whoever reads the list; 200 bytes
    #[arg(long, value_name = "TEXT")]
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl RevokeCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        let show = |done: Done| {
            let Done {
                id,
                closing,
                refused,
            } = done;
            format!(
                "revoked as {id}; live sessions that are being closed: {closing}, waiting requests refused: {refused}\n"
            )
        };
        self.api.create(&["revocations"], &self.revoke, show).await
    }
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth revocations                    what is revoked, since when and until when
  berth revocations --json             the same for programs
  berth revocations lift ID            let in again what a revocation keeps out

`berth revoke --help` says how to revoke something.")]
pub(super) struct RevocationsCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(subcommand)]
    action: Option<RevocationsAction>,
}

#[derive(Debug, Subcommand)]
enum RevocationsAction {
    /// List them: what is done where no other command is named
    List,
    /// Lift one; what it has closed stays closed
    Lift {
        /// The revocation's id
        id: String,
    },
}

impl RevocationsCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        match &self.action {
            None | Some(RevocationsAction::List) => {
                let path = ["revocations"];
                self.api.get(&path, &[], revocations_table).await
            }
            Some(RevocationsAction::Lift { id }) => {
                let outcome = "is lifted";
                self.api.delete("revocations", id, outcome).await
            }
        }
    }
}

/// What has come of it.
#[derive(Deserialize)]
struct Done {
    id: String,
    closing: u64,
    refused: u64,
}

#[derive(Deserialize)]
struct Revocation {
    id: String,
    session: Option<String>,
    subject: Option<String>,
    token_id: Option<String>,
    issuer: Option<String>,
    since: Option<String>,
    until: Option<String>,
    reason: Option<String>,
}

fn revocations_table(revocations: Vec<Revocation>) -> String {
    let rows: Vec<_> = revocations.into_iter().map(revocation_row).collect();
    let header = [
        "ID", "SUBJECT", "TOKEN", "SESSION", "ISSUER", "SINCE", "UNTIL", "REASON",
    ];
    table(header, &rows)
}

fn revocation_row(revocation: Revocation) -> [String; 8] {
    let Revocation {
        id,
        session,
        subject,
        token_id,
        issuer,
        since,
        until,
        reason,
    } = revocation;
    [
        Some(id),
        subject,
        token_id,
        session,
        issuer,
        since,
        until,
        reason,
    ]
    .map(Option::unwrap_or_default)
}
