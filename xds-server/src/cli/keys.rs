//! `berth keys`.

use clap::Args;
use serde::Deserialize;

use super::{
    admin::{AdminApi, AdminError, age},
    table::table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth keys                           each issuer's keys, when they were fetched, and what went wrong
  berth keys --json                    the same for programs, with the keys that are not used and why

A key is shown as its `kid` and what it is for. PROBLEM is what the last fetch met: the keys from
before stay in use.")]
pub(super) struct KeysCommand {
    #[command(flatten)]
    api: AdminApi,
}

impl KeysCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        self.api.get(&["keys"], &[], keys_table).await
    }
}

#[derive(Deserialize)]
struct Issuer {
    issuer: String,
    place: String,
    keys: Vec<Key>,
    ignored: Vec<String>,
    age_seconds: Option<u64>,
    next_in_seconds: Option<u64>,
    error: Option<String>,
}

#[derive(Deserialize)]
struct Key {
    id: Option<String>,
    kind: String,
}

fn keys_table(issuers: Vec<Issuer>) -> String {
    let rows: Vec<_> = issuers.into_iter().map(issuer_row).collect();
    let header = [
        "ISSUER", "PLACE", "KEYS", "UNUSED", "AGE", "NEXT IN", "PROBLEM",
    ];
    table(header, &rows)
}

fn issuer_row(issuer: Issuer) -> [String; 7] {
    let keys = issuer.keys.into_iter().map(|Key { id, kind }| match id {
        Some(id) => format!("{id} ({kind})"),
        None => format!("({kind})"),
    });
    let keys: Vec<_> = keys.collect();
    let unused = issuer.ignored.len();
    [
        issuer.issuer,
        issuer.place,
        keys.join(", "),
        unused.to_string(),
        issuer.age_seconds.map(age).unwrap_or_default(),
        // None: it is being fetched.
        issuer.next_in_seconds.map_or_else(|| "now".to_owned(), age),
        issuer.error.unwrap_or_default(),
    ]
}
