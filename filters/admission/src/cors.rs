//! Web pages that ask: which may, and how a browser is told (Fetch standard, "CORS protocol").

use crate::{Policy, Reason, Request};

/// The pages that may ask.
#[derive(Clone, Debug, Default)]
pub(crate) enum Origins {
    #[default]
    Any,
    These(Vec<Origin>),
}

/// An origin, or all those below a domain.
#[derive(Clone, Debug)]
pub(crate) enum Origin {
    Exact(String),
    /// Scheme with `://`, and what host and port end with, the dot before included.
    Below(String, String),
}

impl Origin {
    /// Reads `https://app.example.com:8443` or `https://*.example.com`, as a browser writes an origin: in lower case,
    /// without a path, and without the port that goes with the scheme. `None` if it is not one.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (scheme, default_port, name) = SCHEMES.iter().find_map(|(scheme, default_port)| {
            let name = text.strip_prefix(scheme)?;
            Some((*scheme, *default_port, name))
        })?;
        let fits = |byte: u8| {
            byte.is_ascii_lowercase()
                || byte.is_ascii_digit()
                || matches!(byte, b'-' | b'.' | b':' | b'[' | b']')
        };
        let name = name
            .strip_prefix("*.")
            .map_or((name, false), |below| (below, true));
        let (name, below) = name;
        if name.is_empty() || !name.bytes().all(fits) || name.ends_with(default_port) {
            return None;
        }
        Some(if below {
            Self::Below(scheme.to_owned(), format!(".{name}"))
        } else {
            Self::Exact(text.to_owned())
        })
    }

    fn fits(&self, origin: &[u8]) -> bool {
        match self {
            Self::Exact(exact) => origin == exact.as_bytes(),
            Self::Below(scheme, end) => {
                let host = origin.strip_prefix(scheme.as_bytes());
                let below = host.and_then(|host| host.strip_suffix(end.as_bytes()));
                below.is_some_and(|below| {
                    let in_name = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._".contains(byte);
                    !below.is_empty() && below.iter().all(in_name)
                })
            }
        }
    }
}

/// What a page's browser is told.
pub(crate) struct Cors {
    pub(crate) headers: Vec<(&'static str, String)>,
    /// The page may not ask.
    pub(crate) forbidden: bool,
    /// A browser asks on behalf of a page whether the page may ask.
    pub(crate) preflight: bool,
}

impl Cors {
    pub(crate) fn of(policy: &Policy, request: &Request<'_>) -> Self {
        let mut cors = Self {
            headers: Vec::new(),
            forbidden: false,
            preflight: false,
        };
        let Some(origin) = request.header(ORIGIN) else {
            return cors;
        };
        let named = match policy.origins() {
            Origins::Any => None,
            Origins::These(origins) => {
                // An answer for one page is none for another, wherever it is kept in between.
                cors.headers.push(("vary", ORIGIN.to_owned()));
                let fits = |one: &Origin| one.fits(&origin);
                let text = std::str::from_utf8(&origin).ok();
                let Some(origin) = text.filter(|_| origins.iter().any(fits)) else {
                    cors.forbidden = true;
                    return cors;
                };
                Some(origin.to_owned())
            }
        };
        cors.preflight = request.method == b"OPTIONS" && request.header(REQUEST_METHOD).is_some();
        let with_cookies = policy.reads_cookies() && named.is_some();
        let allowed = named.unwrap_or_else(|| "*".to_owned());
        cors.headers.push(("access-control-allow-origin", allowed));
        if with_cookies {
            cors.say("access-control-allow-credentials", "true");
        }
        if cors.preflight {
            cors.answer_preflight(policy, request);
        } else {
            cors.say(
                "access-control-expose-headers",
                "retry-after, www-authenticate, x-berth-reason",
            );
        }
        cors
    }

    fn answer_preflight(&mut self, policy: &Policy, request: &Request<'_>) {
        self.say("access-control-allow-methods", "GET");
        let names = policy.sent_by_pages().join(", ");
        self.headers.push(("access-control-allow-headers", names));
        self.say("access-control-max-age", "600");
        if request.header(REQUEST_PRIVATE_NETWORK).as_deref() == Some(b"true") {
            self.say("access-control-allow-private-network", "true");
        }
    }

    fn say(&mut self, name: &'static str, value: &str) {
        self.headers.push((name, value.to_owned()));
    }

    /// # Errors
    /// When the page may not ask.
    pub(crate) const fn check(&self) -> Result<(), Reason> {
        if self.forbidden {
            return Err(Reason::OriginForbidden);
        }
        Ok(())
    }
}

/// What an origin may begin with, and the port that goes without saying then.
const SCHEMES: [(&str, &str); 2] = [("https://", ":443"), ("http://", ":80")];

pub(crate) const ORIGIN: &str = "origin";
pub(crate) const REQUEST_METHOD: &str = "access-control-request-method";
/// Private Network Access §3.1.
pub(crate) const REQUEST_PRIVATE_NETWORK: &str = "access-control-request-private-network";
