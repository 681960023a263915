use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use reqwest::Url;

/// An issuer, and where its keys are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeySource {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where its keys are.
    pub place: Place,
}

/// Where a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// In this file, which is read again when it changes; absolute.
    File(PathBuf),
    /// On the web.
    Web(WebPlace),
}

/// Where on the web a key set is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebPlace {
    /// What is fetched first: the set itself, or the document that says where it is.
    pub url: WebUrl,
    /// The URL is that of an OpenID Provider's configuration (OpenID Connect Discovery 1.0, section 4).
    pub discovery: bool,
    /// How long a set that was fetched is used before it is fetched again.
    pub refresh: Duration,
    /// How long the next fetch because of an unknown key has to wait after one.
    pub min_refetch: Duration,
    /// The certificates of those who may vouch for the server, in PEM; whom this machine trusts if there are none.
    pub ca_pem: Option<String>,
}

/// Where something may be fetched from: https, or http where nobody else can be in between or the operator says that
/// nobody is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebUrl {
    url: Url,
    /// The operator says so.
    allow_plaintext: bool,
}

/// Why nothing is fetched from a URL. Each says what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlProblem {
    /// It names who asks, and would be logged.
    #[error("has a user or a password in it: leave them out")]
    Credentials,
    /// It was to lead from TLS to plain text.
    #[error("leads from https to http")]
    Downgrade,
    /// There is more than what can be fetched.
    #[error("has a fragment: leave out `#` and what follows")]
    Fragment,
    /// It is not one.
    #[error("is not a URL: write one as https://login.example.com/keys")]
    NotAUrl,
    /// Who is in between could put own keys there.
    #[error(
        "is not encrypted, and whoever is in between could give us keys of their own: use https, or set `allow_plaintext: true` beside it if every host on the way is trusted"
    )]
    Plaintext,
    /// It has what an issuer that can be discovered may not have.
    #[error("has a query: an issuer with one cannot be discovered")]
    Query,
    /// It is of another kind.
    #[error("is neither https nor http")]
    Scheme,
}

impl WebUrl {
    /// Reads a URL, by the rules for whether it may be used.
    ///
    /// # Errors
    /// [`UrlProblem`].
    pub fn parse(text: &str, allow_plaintext: bool) -> Result<Self, UrlProblem> {
        let url = Url::parse(text).map_err(|_| UrlProblem::NotAUrl)?;
        Self::new(url, allow_plaintext)
    }

    /// Where an issuer's configuration is: below its own URL (OpenID Connect Discovery 1.0, section 4.1).
    ///
    /// # Errors
    /// [`UrlProblem`].
    pub fn discovery(issuer: &str, allow_plaintext: bool) -> Result<Self, UrlProblem> {
        let base = Self::parse(issuer, allow_plaintext)?;
        if base.url.query().is_some() {
            return Err(UrlProblem::Query);
        }
        let issuer = issuer.strip_suffix('/').unwrap_or(issuer);
        Self::parse(&format!("{issuer}{WELL_KNOWN}"), allow_plaintext)
    }

    /// The URL that this one leads to, by a redirect or by its content: the same rules hold for it, and what began
    /// encrypted stays so.
    ///
    /// # Errors
    /// [`UrlProblem`].
    pub fn leads_to(&self, next: Url) -> Result<Self, UrlProblem> {
        let next = Self::new(next, self.allow_plaintext)?;
        if self.is_encrypted() && !next.is_encrypted() {
            return Err(UrlProblem::Downgrade);
        }
        Ok(next)
    }

    /// The URL.
    pub const fn url(&self) -> &Url {
        &self.url
    }

    /// Whether it is on this machine.
    pub fn is_loopback(&self) -> bool {
        let host = self.url.host_str().unwrap_or_default();
        let address = host.trim_start_matches('[').trim_end_matches(']');
        let address = IpAddr::from_str(address);
        // RFC 6761, section 6.3: this name never leads anywhere else.
        address.map_or(host == "localhost", |address| address.is_loopback())
    }

    fn new(url: Url, allow_plaintext: bool) -> Result<Self, UrlProblem> {
        let url = Self {
            url,
            allow_plaintext,
        };
        match url.url.scheme() {
            "https" => {}
            "http" if allow_plaintext || url.is_loopback() => {}
            "http" => return Err(UrlProblem::Plaintext),
            _ => return Err(UrlProblem::Scheme),
        }
        if !url.url.username().is_empty() || url.url.password().is_some() {
            return Err(UrlProblem::Credentials);
        }
        if url.url.fragment().is_some() {
            return Err(UrlProblem::Fragment);
        }
        Ok(url)
    }

    fn is_encrypted(&self) -> bool {
        self.url.scheme() == "https"
    }
}

impl fmt::Display for WebUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.url, f)
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => fmt::Display::fmt(&path.display(), f),
            Self::Web(place) => fmt::Display::fmt(&place.url, f),
        }
    }
}

const WELL_KNOWN: &str = "/.well-known/openid-configuration";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_can_change_on_the_way_is_fetched() {
        for (text, allow_plaintext, expected) in [
            ("https://login.example.com/keys?a=b", false, Ok(())),
            ("http://127.0.0.1:8080/keys", false, Ok(())),
            ("http://[::1]:8080/keys", false, Ok(())),
            ("http://localhost/keys", false, Ok(())),
            ("http://10.0.0.1/keys", false, Err(UrlProblem::Plaintext)),
            (
                "http://localhost.example.com/",
                false,
                Err(UrlProblem::Plaintext),
            ),
            (
                "http://127.0.0.1.example.com/",
                false,
                Err(UrlProblem::Plaintext),
            ),
            ("http://10.0.0.1/keys", true, Ok(())),
            ("ftp://127.0.0.1/keys", true, Err(UrlProblem::Scheme)),
            ("file:///etc/keys.json", true, Err(UrlProblem::Scheme)),
            ("/etc/keys.json", true, Err(UrlProblem::NotAUrl)),
            ("https://", true, Err(UrlProblem::NotAUrl)),
            ("https://a@b.example/", false, Err(UrlProblem::Credentials)),
            ("https://:a@b.example/", false, Err(UrlProblem::Credentials)),
            ("https://b.example/#a", false, Err(UrlProblem::Fragment)),
        ] {
            let url = WebUrl::parse(text, allow_plaintext);
            assert_eq!(url.map(|_| ()), expected, "{text}");
        }
    }

    #[test]
    fn an_issuer_s_configuration_is_below_it() {
        for (issuer, expected) in [
            (
                "https://a.example",
                Ok("https://a.example/.well-known/openid-configuration"),
            ),
            (
                "https://a.example/",
                Ok("https://a.example/.well-known/openid-configuration"),
            ),
            (
                "https://a.example/realms/x",
                Ok("https://a.example/realms/x/.well-known/openid-configuration"),
            ),
            ("https://a.example/?x", Err(UrlProblem::Query)),
            ("https://a.example/#x", Err(UrlProblem::Fragment)),
            ("a.example", Err(UrlProblem::NotAUrl)),
        ] {
            let url = WebUrl::discovery(issuer, false).map(|url| url.to_string());
            assert_eq!(url, expected.map(str::to_owned), "{issuer}");
        }
    }

    #[test]
    fn what_began_encrypted_stays_so() {
        for (from, to, allow_plaintext, expected) in [
            ("https://a.example", "https://b.example/x", false, Ok(())),
            (
                "https://a.example",
                "http://127.0.0.1/",
                true,
                Err(UrlProblem::Downgrade),
            ),
            ("http://localhost", "http://127.0.0.1/", false, Ok(())),
            ("http://localhost", "https://a.example/", false, Ok(())),
            (
                "http://localhost",
                "http://a.example/",
                false,
                Err(UrlProblem::Plaintext),
            ),
            ("http://localhost", "http://a.example/", true, Ok(())),
        ] {
            let from = WebUrl::parse(from, allow_plaintext).unwrap();
            let next = from.leads_to(Url::parse(to).unwrap());
            assert_eq!(next.map(|_| ()), expected, "{from} to {to}");
        }
    }
}
