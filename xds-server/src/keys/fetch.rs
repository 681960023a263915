//! Gets a key set from where it is. What comes is not trusted: it may be slow, large, wrong or somebody else's.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use berth_admission::Json;
use reqwest::{Certificate, Client, StatusCode, Url, redirect};
use serde::Deserialize;
use serde_json::Value;
use tokio::fs::File;
use tokio::io::AsyncReadExt;

use super::place::{KeySource, Place, UrlProblem, WebPlace, WebUrl};
use super::set::{Audience, KeySet, KeySetError, Reading};
use crate::causes::Causes;
use crate::http;

/// Why there is no key set where it should be.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The file cannot be read.
    #[error("cannot read {}: {error}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// What an OpenID Provider says of itself lacks what it has to say.
    #[error("{url}: {error}; it must hold `issuer` and `jwks_uri` (OpenID Connect Discovery 1.0)")]
    NoConfiguration {
        /// Where it is.
        url: Url,
        /// What is wrong with it.
        error: serde_json::Error,
    },
    /// Not JSON.
    #[error("{place} is not JSON: {error}")]
    NotJson {
        /// What was read.
        place: String,
        /// What the parser says.
        error: serde_json::Error,
    },
    /// The keys may not be fetched from where the OpenID Provider says.
    #[error("{url}: its `jwks_uri` {target:?} {problem}")]
    Place {
        /// Where it says so.
        url: Url,
        /// What it says.
        target: String,
        /// What is wrong with that.
        problem: UrlProblem,
    },
    /// An HTTP request without an answer.
    #[error("no answer to GET {url}: {}", Causes(error))]
    Request {
        /// What was asked.
        url: Url,
        /// What happened.
        error: reqwest::Error,
    },
    /// No set, or none with keys that can be used.
    #[error("{place} {error}")]
    Set {
        /// What was read.
        place: String,
        /// What is wrong with it.
        error: KeySetError,
    },
    /// An HTTP answer that is not 200.
    #[error("GET {url} was answered {status}")]
    Status {
        /// What was asked.
        url: Url,
        /// The answer.
        status: StatusCode,
    },
    /// It took too long.
    #[error("{url}: nothing complete came within {TIMEOUT:?}")]
    Timeout {
        /// What was asked first.
        url: Url,
    },
    /// More than any key set needs.
    #[error("{place} is larger than {MAX_BODY} bytes")]
    TooLarge {
        /// What was read.
        place: String,
    },
    /// The configuration of another issuer: its keys are not ours to trust (OpenID Connect Discovery 1.0, section 4.3).
    #[error(
        "{url} is the configuration of {said:?}: `issuer` has to be the same there and here, to the last character"
    )]
    WrongIssuer {
        /// Where it is.
        url: Url,
        /// Whose it is.
        said: String,
    },
}

/// The HTTP client of an issuer cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP for the keys of {issuer}: {}", Causes(error))]
pub struct SetupError {
    /// Whose keys.
    issuer: String,
    /// What is wrong.
    error: reqwest::Error,
}

/// Gets one issuer's keys.
#[derive(Clone, Debug)]
pub(super) enum Fetcher {
    File(PathBuf),
    Web {
        client: Client,
        issuer: String,
        place: WebPlace,
    },
}

impl Fetcher {
    pub(super) fn new(source: &KeySource) -> Result<Self, SetupError> {
        let place = match &source.place {
            Place::File(path) => return Ok(Self::File(path.clone())),
            Place::Web(place) => place,
        };
        let client = client(place).map_err(|error| SetupError {
            issuer: source.issuer.clone(),
            error,
        })?;
        Ok(Self::Web {
            client,
            issuer: source.issuer.clone(),
            place: place.clone(),
        })
    }

    pub(super) async fn fetch(self) -> Result<Reading, FetchError> {
        match self {
            Self::File(path) => from_file(path).await,
            Self::Web {
                client,
                issuer,
                place,
            } => {
                // Two requests, where the configuration comes first, have no more time than one.
                let url = place.url.url().clone();
                let limited = tokio::time::timeout(TIMEOUT, from_web(&client, &issuer, &place));
                limited.await.unwrap_or(Err(FetchError::Timeout { url }))
            }
        }
    }
}

async fn from_file(path: PathBuf) -> Result<Reading, FetchError> {
    let mut body = Vec::new();
    let read = async {
        let file = File::open(&path).await?;
        file.take(MAX_BODY + 1).read_to_end(&mut body).await
    };
    if let Err(error) = read.await {
        return Err(FetchError::File { path, error });
    }
    let place = path.display().to_string();
    if body.len() as u64 > MAX_BODY {
        return Err(FetchError::TooLarge { place });
    }
    key_set(place, &body, Audience::Operator)
}

async fn from_web(client: &Client, issuer: &str, place: &WebPlace) -> Result<Reading, FetchError> {
    let keys = if place.discovery {
        let body = get(client, place.url.url()).await?;
        keys_of(issuer, &place.url, &body)?
    } else {
        place.url.clone()
    };
    let body = get(client, keys.url()).await?;
    key_set(keys.to_string(), &body, Audience::Public)
}

/// Where the issuer's keys are, as its configuration says.
fn keys_of(issuer: &str, url: &WebUrl, body: &[u8]) -> Result<WebUrl, FetchError> {
    let said: ProviderConfiguration =
        serde_json::from_slice(body).map_err(|error| FetchError::NoConfiguration {
            url: url.url().clone(),
            error,
        })?;
    if said.issuer != issuer {
        return Err(FetchError::WrongIssuer {
            url: url.url().clone(),
            said: said.issuer,
        });
    }
    let keys = Url::parse(&said.jwks_uri).map_err(|_| UrlProblem::NotAUrl);
    keys.and_then(|keys| url.leads_to(keys))
        .map_err(|problem| FetchError::Place {
            url: url.url().clone(),
            target: said.jwks_uri,
            problem,
        })
}

/// What OpenID Connect Discovery 1.0, section 3, calls provider metadata, as far as it matters here.
#[derive(Deserialize)]
struct ProviderConfiguration {
    issuer: String,
    jwks_uri: String,
}

fn key_set(place: String, body: &[u8], audience: Audience) -> Result<Reading, FetchError> {
    let jwks: Value = match Json::parse(body) {
        Ok(jwks) => jwks.into(),
        Err(error) => return Err(FetchError::NotJson { place, error }),
    };
    KeySet::read(&jwks, audience).map_err(|error| FetchError::Set { place, error })
}

async fn get(client: &Client, url: &Url) -> Result<Vec<u8>, FetchError> {
    let failed = |error: reqwest::Error| FetchError::Request {
        url: url.clone(),
        error: error.without_url(),
    };
    let request = client.get(url.clone());
    let request = request.header(reqwest::header::ACCEPT, "application/json");
    let mut response = request.send().await.map_err(failed)?;
    let status = response.status();
    if status != StatusCode::OK {
        let url = url.clone();
        return Err(FetchError::Status { url, status });
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(failed)? {
        if (body.len() + chunk.len()) as u64 > MAX_BODY {
            let place = url.to_string();
            return Err(FetchError::TooLarge { place });
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

fn client(place: &WebPlace) -> Result<Client, reqwest::Error> {
    let start = place.url.clone();
    let redirects = redirect::Policy::custom(move |attempt| {
        if attempt.previous().len() > MAX_REDIRECTS {
            return attempt.error(TooManyRedirects);
        }
        match follow(&start, attempt.previous(), attempt.url()) {
            Ok(()) => attempt.follow(),
            Err(problem) => attempt.error(RedirectRefused(problem)),
        }
    });
    let mut client = http::client().redirect(redirects).referer(false);
    if let Some(pem) = &place.ca_pem {
        client = client.tls_certs_only(Certificate::from_pem_bundle(pem.as_bytes())?);
    }
    if place.url.is_loopback() {
        // A proxy from the environment has no way there.
        client = client.no_proxy();
    }
    client.build()
}

/// Whether the last of these leads to the next.
fn follow(start: &WebUrl, previous: &[Url], next: &Url) -> Result<(), UrlProblem> {
    let here = match previous.last() {
        Some(here) => start.leads_to(here.clone())?,
        None => start.clone(),
    };
    here.leads_to(next.clone()).map(|_| ())
}

#[derive(Debug, thiserror::Error)]
#[error("it redirects more than {MAX_REDIRECTS} times")]
struct TooManyRedirects;

#[derive(Debug, thiserror::Error)]
#[error("it redirects to a URL that {0}")]
struct RedirectRefused(UrlProblem);

/// For everything, from looking up the name to the last byte.
const TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes. A set of a hundred RSA keys with their certificates has as many.
const MAX_BODY: u64 = 256 << 10;

const MAX_REDIRECTS: usize = 3;
