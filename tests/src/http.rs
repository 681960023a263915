//! Asking the admin interfaces, which speak plain HTTP on loopback.

use std::time::Duration;

use reqwest::{Client, Method};
use rustls::crypto::ring;
use serde_json::Value;

use crate::Error;

/// An admin interface.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    base: String,
    client: Client,
}

impl Admin {
    pub(crate) fn new(port: u16) -> Result<Self, Error> {
        let base = format!("http://127.0.0.1:{port}");
        // Asked for its TLS even where there is none; the second time is one too many, and does no harm.
        let _ = ring::default_provider().install_default();
        let client = Client::builder()
            .tls_certs_only([])
            .no_proxy()
            .timeout(PATIENCE)
            .build()
            .map_err(failed(&base))?;
        Ok(Self { base, client })
    }

    pub(crate) fn url(&self) -> &str {
        &self.base
    }

    pub(crate) async fn get(&self, path: &str) -> Result<String, Error> {
        self.ask(Method::GET, path).await
    }

    pub(crate) async fn post(&self, path: &str) -> Result<String, Error> {
        self.ask(Method::POST, path).await
    }

    pub(crate) async fn json(&self, path: &str) -> Result<Value, Error> {
        let body = self.get(path).await?;
        serde_json::from_str(&body).map_err(|error| Error::Unreadable {
            what: format!("{}{path}", self.base),
            why: error.to_string(),
        })
    }

    async fn ask(&self, method: Method, path: &str) -> Result<String, Error> {
        let url = format!("{}{path}", self.base);
        let response = self
            .client
            .request(method, &url)
            .send()
            .await
            .map_err(failed(&url))?;
        let status = response.status();
        let body = response.text().await.map_err(failed(&url))?;
        if status.is_success() {
            Ok(body)
        } else {
            Err(Error::Status {
                url,
                status: status.as_u16(),
                body,
            })
        }
    }
}

fn failed(url: &str) -> impl FnOnce(reqwest::Error) -> Error {
    let url = url.to_owned();
    move |source| Error::Http { url, source }
}

/// A paused Envoy answers nothing; a test must not hang on that.
const PATIENCE: Duration = Duration::from_secs(10);
