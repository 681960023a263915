//! `berth instances`.

use berth_admission::Family;
use clap::{Args, Subcommand};
use serde::Deserialize;

use super::{
    admin::{AdminApi, AdminError, age},
    table::table,
};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth instances                      all of them, with their leases
  berth instances --json               the same for programs
  berth instances drain gpu-1          give gpu-1 to nobody new; its session goes on, and may resume
  berth instances undrain gpu-1        call that off
  berth instances quarantine gpu-1     give gpu-1 to nobody at all, not even to a client that comes back
  berth instances unquarantine gpu-1   call that off")]
pub(super) struct InstancesCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(subcommand)]
    action: Option<InstancesAction>,
}

#[derive(Debug, Subcommand)]
enum InstancesAction {
    /// List them: what is done where no other command is named
    List,
    /// Give an instance to nobody new
    Drain(Name),
    /// Call draining off
    Undrain(Name),
    /// Give an instance to nobody at all; a live session on it is left alone
    Quarantine(Name),
    /// Call quarantine off
    Unquarantine(Name),
}

#[derive(Debug, Args)]
struct Name {
    /// The instance's name
    name: String,
}

impl InstancesCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        let (Name { name }, verb, outcome) = match &self.action {
            None | Some(InstancesAction::List) => {
                return self.api.get(&["instances"], &[], instances_table).await;
            }
            Some(InstancesAction::Drain(name)) => {
                (name, "drain", "is draining: it is given to nobody new")
            }
            Some(InstancesAction::Undrain(name)) => (name, "undrain", "is not draining"),
            Some(InstancesAction::Quarantine(name)) => {
                (name, "quarantine", "is quarantined: it is given to nobody")
            }
            Some(InstancesAction::Unquarantine(name)) => {
                (name, "unquarantine", "is not quarantined")
            }
        };
        self.api.post("instances", name, verb, outcome).await
    }
}

#[derive(Deserialize)]
struct Instance {
    name: String,
    pool: String,
    family: Family,
    address: String,
    health: String,
    warm: bool,
    draining: bool,
    quarantined: bool,
    lease: Option<Lease>,
}

#[derive(Deserialize)]
struct Lease {
    state: String,
    session: String,
    fence: String,
    subject: String,
    since_seconds: u64,
}

fn instances_table(mut instances: Vec<Instance>) -> String {
    instances.sort_by(|a, b| (&a.pool, &a.name).cmp(&(&b.pool, &b.name)));
    let rows: Vec<_> = instances.into_iter().map(instance_row).collect();
    let header = [
        "POOL", "INSTANCE", "FAMILY", "ADDRESS", "HEALTH", "CLOSED", "LEASE", "FOR", "SUBJECT",
        "SESSION", "FENCE",
    ];
    table(header, &rows)
}

fn instance_row(instance: Instance) -> [String; 11] {
    let closed = [
        (instance.quarantined, "quarantined"),
        (instance.draining, "draining"),
        (instance.health == "up" && !instance.warm, "warming up"),
    ];
    let closed: Vec<_> = closed
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect();
    let lease = instance.lease.map(|lease| {
        let age = age(lease.since_seconds);
        [lease.state, age, lease.subject, lease.session, lease.fence]
    });
    let [state, since, subject, session, fence] = lease.unwrap_or_default();
    [
        instance.pool,
        instance.name,
        instance.family.to_string(),
        instance.address,
        instance.health,
        closed.join(", "),
        state,
        since,
        subject,
        session,
        fence,
    ]
}
