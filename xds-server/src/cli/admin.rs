//! How the commands that need a running control plane ask it.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, RequestBuilder, StatusCode, Url};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{causes::Causes, http};

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
pub(super) struct AdminApi {
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

impl AdminApi {
    /// What a GET answers: as it came, or as text.
    pub(super) async fn get<T: DeserializeOwned>(
        &self,
        path: &[&str],
        query: &[(&str, String)],
        show: fn(T) -> String,
    ) -> Result<String, AdminError> {
        let request = self.prepare(Method::GET, path, query)?;
        let answer = self.send(path, request).await?;
        self.shown(&answer, show)
    }

    /// Has something made of what is given, and tells what came of it.
    pub(super) async fn create<T: DeserializeOwned>(
        &self,
        path: &[&str],
        given: &impl Serialize,
        show: fn(T) -> String,
    ) -> Result<String, AdminError> {
        let request = self.prepare(Method::POST, path, &[])?.json(given);
        let answer = self.send(path, request).await?;
        self.shown(&answer, show)
    }

    fn shown<T: DeserializeOwned>(
        &self,
        answer: &Answer,
        show: fn(T) -> String,
    ) -> Result<String, AdminError> {
        if self.json {
            return answer.json();
        }
        answer.parse().map(show)
    }

    /// Orders `verb` for one of `what`.
    pub(super) async fn post(
        &self,
        what: &str,
        name: &str,
        verb: &str,
        outcome: &str,
    ) -> Result<String, AdminError> {
        self.order(Method::POST, &[what, name, verb], name, outcome)
            .await
    }

    /// Takes away one of `what`.
    pub(super) async fn delete(
        &self,
        what: &str,
        name: &str,
        outcome: &str,
    ) -> Result<String, AdminError> {
        self.order(Method::DELETE, &[what, name], name, outcome)
            .await
    }

    async fn order(
        &self,
        method: Method,
        path: &[&str],
        name: &str,
        outcome: &str,
    ) -> Result<String, AdminError> {
        let request = self.prepare(method, path, &[])?;
        let answer = self.send(path, request).await?;
        if self.json {
            return answer.json();
        }
        Ok(format!("{name} {outcome}\n"))
    }

    fn prepare(
        &self,
        method: Method,
        path: &[&str],
        query: &[(&str, String)],
    ) -> Result<RequestBuilder, AdminError> {
        // In a path these are no names, and cannot be written as if they were (WHATWG URL, "double-dot segment").
        if let Some(name) = path.iter().find(|name| ["", ".", ".."].contains(name)) {
            return Err(not_found(path, format!("nothing is called `{name}`")));
        }
        let mut url = self.admin.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().push("v1").extend(path);
        }
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        // A proxy from the environment has no business between us and loopback.
        let client = http::plain_client().timeout(TIMEOUT).build();
        let client = client.map_err(|error| self.unreachable(error))?;
        Ok(client.request(method, url))
    }

    /// Sends a request, and returns an answer that is a success.
    async fn send(&self, path: &[&str], request: RequestBuilder) -> Result<Answer, AdminError> {
        let unreachable = |error| self.unreachable(error);
        let response = request.send().await.map_err(unreachable)?;
        let (status, url) = (response.status(), response.url().clone());
        let body = response.bytes().await.map_err(unreachable)?.to_vec();
        let answer = Answer { url, body };
        if status.is_success() {
            return Ok(answer);
        }
        let Problem { error: message } = answer.parse()?;
        if status == StatusCode::NOT_FOUND {
            return Err(not_found(path, message));
        }
        Err(AdminError::Refused {
            url: answer.url,
            status,
            message,
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> AdminError {
        AdminError::Unreachable {
            url: self.admin.clone(),
            error: error.without_url(),
        }
    }
}

fn not_found(path: &[&str], message: String) -> AdminError {
    let list = format!("berth {}", path.first().unwrap_or(&"--help"));
    AdminError::NotFound { message, list }
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

/// A number of seconds for people.
pub(super) fn age(seconds: u64) -> String {
    humantime::format_duration(Duration::from_secs(seconds)).to_string()
}

fn admin_url(text: &str) -> Result<Url, &'static str> {
    match Url::parse(text) {
        Ok(url) if url.scheme() == "http" && url.has_host() => Ok(url),
        _ => Err("write it as http://ADDRESS:PORT, such as http://127.0.0.1:18001"),
    }
}

/// The API answers from memory, or reads a file on its own disk: what takes this long does not come.
const TIMEOUT: Duration = Duration::from_secs(10);
