//! `berth sessions`.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde::Deserialize;

use super::{
    admin::{AdminApi, AdminError, age},
    table::table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth sessions                       all of them, those that wait for an instance too
  berth sessions --json                the same for programs
  berth sessions show ID               one of them, and why it has the instance it has
  berth sessions terminate ID          close a session; its instance is free after that

Sessions that are over are in the history: `berth history`. To keep a user out as well: `berth revoke`.")]
pub(super) struct SessionsCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(subcommand)]
    action: Option<SessionsAction>,
}

#[derive(Debug, Subcommand)]
enum SessionsAction {
    /// List them: what is done where no other command is named
    List,
    /// Show one, and why it has its instance
    Show {
        /// The session's id
        id: String,
    },
    /// Close a session
    Terminate {
        /// The session's id
        id: String,
    },
}

impl SessionsCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        match &self.action {
            None | Some(SessionsAction::List) => {
                self.api.get(&["sessions"], &[], sessions_table).await
            }
            Some(SessionsAction::Show { id }) => self.api.get(&["sessions", id], &[], shown).await,
            Some(SessionsAction::Terminate { id }) => {
                let outcome = "is being closed";
                self.api.post("sessions", id, "terminate", outcome).await
            }
        }
    }
}

#[derive(Deserialize)]
struct Session {
    id: String,
    pool: String,
    /// None while it waits for one.
    instance: Option<String>,
    issuer: String,
    subject: String,
    tenant: String,
    token_id: Option<String>,
    client_address: String,
    state: String,
    pick: Option<Pick>,
    age_seconds: u64,
    node: String,
    vm: String,
}

/// Why a session has its instance.
#[derive(Deserialize)]
pub(super) struct Pick {
    why: String,
    free: u32,
    same_zone: bool,
    waited_ms: u64,
}

impl Pick {
    /// In a few words.
    pub(super) fn explained(&self) -> String {
        let Self {
            why,
            free,
            same_zone,
            waited_ms,
        } = self;
        let free = match free {
            0 | 1 => String::new(),
            free => format!(", one of {free} free"),
        };
        let zone = if *same_zone { ", in its zone" } else { "" };
        let waited = match Duration::from_millis(*waited_ms) {
            Duration::ZERO => String::new(),
            waited => format!(", after {}", humantime::format_duration(waited)),
        };
        format!("{why}{free}{zone}{waited}")
    }
}

fn sessions_table(mut sessions: Vec<Session>) -> String {
    sessions.sort_by(|a, b| (&a.pool, &a.instance, &a.id).cmp(&(&b.pool, &b.instance, &b.id)));
    let rows: Vec<_> = sessions.into_iter().map(session_row).collect();
    let header = [
        "SESSION", "POOL", "INSTANCE", "STATE", "FOR", "SUBJECT", "TENANT", "CLIENT", "NODE", "VM",
    ];
    table(header, &rows)
}

fn session_row(session: Session) -> [String; 10] {
    [
        session.id,
        session.pool,
        session.instance.unwrap_or_default(),
        session.state,
        age(session.age_seconds),
        session.subject,
        session.tenant,
        session.client_address,
        session.node,
        session.vm,
    ]
}

fn shown(session: Session) -> String {
    let why = session.pick.as_ref().map(Pick::explained);
    let rows = [
        ("POOL", session.pool),
        ("INSTANCE", session.instance.unwrap_or_default()),
        ("WHY", why.unwrap_or_default()),
        ("STATE", session.state),
        ("FOR", age(session.age_seconds)),
        ("ISSUER", session.issuer),
        ("SUBJECT", session.subject),
        ("TENANT", session.tenant),
        ("TOKEN", session.token_id.unwrap_or_default()),
        ("CLIENT", session.client_address),
        ("NODE", session.node),
        ("VM", session.vm),
    ];
    let rows = rows.map(|(name, value)| [name.to_owned(), value]);
    table(["SESSION", &session.id], &rows)
}
