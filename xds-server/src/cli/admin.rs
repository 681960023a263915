//! The commands that ask a running control plane, over its admin API.

use std::time::Duration;

use berth_admission::Family;
use clap::{Args, Subcommand};
use reqwest::{Client, Method, StatusCode, Url};
use serde::{Deserialize, de::DeserializeOwned};
use serde_json::Value;

use super::table::table;
use crate::causes::Causes;

/// Why the admin API did not do it.
#[derive(Debug, thiserror::Error)]
pub(super) enum AdminError {
    #[error(
        "cannot reach the admin API at {url}: {}; is `berth serve` running? Its configuration says where as `admin.listen`; name it with --admin or BERTH_ADMIN",
        Causes(error)
    )]
    Unreachable { url: Url, error: reqwest::Error },
    #[error("{message}; `{list}` lists those there are")]
    NotFound { message: String, list: String },
    #[error("the admin API at {url} answered {status}: {message}")]
    Refused {
        url: Url,
        status: StatusCode,
        message: String,
    },
    #[error(
        "{url} did not answer as the admin API does: {error}; does --admin name `admin.listen` of a `berth serve` of this version?"
    )]
    NotUnderstood { url: Url, error: serde_json::Error },
}

#[derive(Debug, Args)]
struct AdminApi {
    /// Print what the API answers, as JSON
    #[arg(long, global = true)]
    json: bool,
    /// The admin API of the running control plane
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "BERTH_ADMIN",
        default_value = "http://127.0.0.1:18001",
        value_parser = admin_url
    )]
    admin: Url,
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth instances                      all of them, with their leases
  berth instances --json               the same for programs
  berth instances drain gpu-1          give gpu-1 to nobody new; its session goes on, and may resume
  berth instances undrain gpu-1        call that off")]
pub(super) struct InstancesCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(subcommand)]
    action: Option<InstancesAction>,
}

#[derive(Debug, Subcommand)]
enum InstancesAction {
    /// List them; also what happens without a word
    List,
    /// Give an instance to nobody new
    Drain {
        /// The instance's name
        name: String,
    },
    /// Call draining off
    Undrain {
        /// The instance's name
        name: String,
    },
}

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  berth sessions                       all of them
  berth sessions --json                the same for programs
  berth sessions terminate ID          close a session; its instance is free after that")]
pub(super) struct SessionsCommand {
    #[command(flatten)]
    api: AdminApi,
    #[command(subcommand)]
    action: Option<SessionsAction>,
}

#[derive(Debug, Subcommand)]
enum SessionsAction {
    /// List them; also what happens without a word
    List,
    /// Close a session
    Terminate {
        /// The session's id
        id: String,
    },
}

impl InstancesCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        let (name, verb, outcome) = match &self.action {
            None | Some(InstancesAction::List) => {
                return self.api.list("instances", instances_table).await;
            }
            Some(InstancesAction::Drain { name }) => {
                (name, "drain", "is draining: it is given to nobody new")
            }
            Some(InstancesAction::Undrain { name }) => (name, "undrain", "is not draining"),
        };
        self.api.post("instances", name, verb, outcome).await
    }
}

impl SessionsCommand {
    pub(super) async fn execute(self) -> Result<String, AdminError> {
        match &self.action {
            None | Some(SessionsAction::List) => self.api.list("sessions", sessions_table).await,
            Some(SessionsAction::Terminate { id }) => {
                let outcome = "is being closed";
                self.api.post("sessions", id, "terminate", outcome).await
            }
        }
    }
}

impl AdminApi {
    async fn list<T: DeserializeOwned>(
        &self,
        what: &str,
        show: fn(Vec<T>) -> String,
    ) -> Result<String, AdminError> {
        let answer = self.request(Method::GET, &["v1", what]).await?;
        if self.json {
            return answer.json();
        }
        answer.parse().map(show)
    }

    async fn post(
        &self,
        what: &str,
        name: &str,
        verb: &str,
        outcome: &str,
    ) -> Result<String, AdminError> {
        let path = ["v1", what, name, verb];
        let answer = self.request(Method::POST, &path).await?;
        if self.json {
            return answer.json();
        }
        Ok(format!("{name} {outcome}\n"))
    }

    /// Sends a request, and returns an answer that is a success.
    async fn request(&self, method: Method, path: &[&str]) -> Result<Answer, AdminError> {
        let mut url = self.admin.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        let unreachable = |error: reqwest::Error| AdminError::Unreachable {
            url: self.admin.clone(),
            error: error.without_url(),
        };
        // A proxy from the environment has no business between us and loopback.
        let client = Client::builder().no_proxy().timeout(TIMEOUT).build();
        let client = client.map_err(unreachable)?;
        let response = client.request(method, url.clone()).send().await;
        let response = response.map_err(unreachable)?;
        let status = response.status();
        let body = response.bytes().await.map_err(unreachable)?.to_vec();
        let answer = Answer { url, body };
        if status.is_success() {
            return Ok(answer);
        }
        let Problem { error: message } = answer.parse()?;
        Err(match path {
            [_, what, ..] if status == StatusCode::NOT_FOUND => AdminError::NotFound {
                message,
                list: format!("berth {what}"),
            },
            _ => AdminError::Refused {
                url: answer.url,
                status,
                message,
            },
        })
    }
}

/// What came back, and from where.
struct Answer {
    url: Url,
    body: Vec<u8>,
}

impl Answer {
    fn parse<T: DeserializeOwned>(&self) -> Result<T, AdminError> {
        serde_json::from_slice(&self.body).map_err(|error| AdminError::NotUnderstood {
            url: self.url.clone(),
            error,
        })
    }

    /// As it came, with the fields that this version does not know.
    fn json(&self) -> Result<String, AdminError> {
        let value: Value = self.parse()?;
        Ok(format!("{value:#}\n"))
    }
}

/// What the API says of a request that did not work.
#[derive(Deserialize)]
struct Problem {
    error: String,
}

#[derive(Deserialize)]
struct Instance {
    name: String,
    pool: String,
    family: Family,
    address: String,
    health: String,
    draining: bool,
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

#[derive(Deserialize)]
struct Session {
    id: String,
    pool: String,
    /// None while it waits for one.
    instance: Option<String>,
    subject: String,
    tenant: String,
    client_address: String,
    state: String,
    age_seconds: u64,
    node: String,
    vm: String,
}

fn instances_table(mut instances: Vec<Instance>) -> String {
    instances.sort_by(|a, b| (&a.pool, &a.name).cmp(&(&b.pool, &b.name)));
    let rows: Vec<_> = instances.into_iter().map(instance_row).collect();
    let header = [
        "POOL", "INSTANCE", "FAMILY", "ADDRESS", "HEALTH", "DRAINING", "LEASE", "FOR", "SUBJECT",
        "SESSION", "FENCE",
    ];
    table(header, &rows)
}

fn instance_row(instance: Instance) -> [String; 11] {
    let draining = if instance.draining { "draining" } else { "" };
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
        draining.to_owned(),
        state,
        since,
        subject,
        session,
        fence,
    ]
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

fn age(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn admin_url(text: &str) -> Result<Url, &'static str> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("write it as http://ADDRESS:PORT, such as http://127.0.0.1:18001"),
    }
}

/// The API answers from memory: what takes this long does not come.
const TIMEOUT: Duration = Duration::from_secs(10);
