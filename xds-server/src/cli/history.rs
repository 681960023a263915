//! `berth history`.

use std::time::Duration;

use clap::Args;
use serde::Deserialize;

use super::{
    admin::{AdminApi, AdminError, age},
    sessions::Pick,
    table::table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth history                                the latest 100 that are over
  berth history --subject alice --since 1day   where was alice, and how did it end?
  berth history --instance gpu-1 --limit 10    who was on gpu-1?
  berth history --session ID --json            all that is known of one

What is given has to match as it is written; of several all have to.")]
pub(super) struct HistoryCommand {
    #[command(flatten)]
    api: AdminApi,
    /// Only this session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// Only those of this user, by the token's `sub`
    #[arg(long, value_name = "SUBJECT")]
    subject: Option<String>,
    /// Only those of this tenant
    #[arg(long, value_name = "TENANT")]
    tenant: Option<String>,
    /// Only those of this pool
    #[arg(long, value_name = "POOL")]
    pool: Option<String>,
    /// Only those on this instance
    #[arg(long, value_name = "INSTANCE")]
    instance: Option<String>,
    /// Only those that ended so long ago at most, such as 90s, 1h or 7days
    #[arg(long, value_name = "DURATION", value_parser = humantime::parse_duration)]
    since: Option<Duration>,
    /// At most so many, 1 to 10000; the one that ended last comes first
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    limit: u16,
}

impl HistoryCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        let since = self.since.map(|since| since.as_secs().to_string());
        let given = [
            ("session", self.session),
            ("subject", self.subject),
            ("tenant", self.tenant),
            ("pool", self.pool),
            ("instance", self.instance),
            ("since_seconds", since),
            ("limit", Some(self.limit.to_string())),
        ];
        let query: Vec<_> = given
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect();
        self.api.get(&["history"], &query, history_table).await
    }
}

#[derive(Deserialize)]
struct Past {
    session: String,
    pool: String,
    instance: String,
    subject: String,
    tenant: String,
    client_address: String,
    node: String,
    pick: Pick,
    ended_at: Option<String>,
    /// None if it never was established.
    lasted_seconds: Option<u64>,
    end: String,
}

fn history_table(sessions: Vec<Past>) -> String {
    let rows: Vec<_> = sessions.into_iter().map(past_row).collect();
    let header = [
        "ENDED", "LASTED", "END", "SESSION", "POOL", "INSTANCE", "WHY", "SUBJECT", "TENANT",
        "CLIENT", "NODE",
    ];
    table(header, &rows)
}

fn past_row(past: Past) -> [String; 11] {
    [
        past.ended_at.unwrap_or_default(),
        past.lasted_seconds.map(age).unwrap_or_default(),
        past.end,
        past.session,
        past.pool,
        past.instance,
        past.pick.explained(),
        past.subject,
        past.tenant,
        past.client_address,
        past.node,
    ]
}
