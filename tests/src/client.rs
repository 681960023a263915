//! Clients of a world: told only what is particular about them.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use berth_client::{Carrier, ConnectError, Family, Http2, Response, Session, Target};

use crate::{Envoy, Error, Token};

/// A client in the making. Unless told otherwise it is a user of its own with a valid token for every pool, which
/// it carries as its family does: native clients in a header, web clients in the query.
#[derive(Clone)]
pub struct ClientBuilder {
    family: Family,
    proxy: SocketAddr,
    ca: PathBuf,
    path: String,
    credentials: Vec<(Carrier, Credential)>,
    query: Vec<(String, String)>,
    headers: Vec<(String, Vec<u8>)>,
    subprotocols: Vec<String>,
    resume_key: Option<String>,
    carrier: Carrier,
    http2: bool,
    time_limit: Duration,
}

#[derive(Clone)]
enum Credential {
    Token(Token),
    Text(String),
}

/// What a client got.
#[derive(Debug)]
pub enum Attempt {
    /// A session.
    Admitted(Box<Session>),
    /// An answer that is no 101.
    Refused(Response),
}

impl ClientBuilder {
    pub(crate) fn new(
        proxy: SocketAddr,
        ca: PathBuf,
        family: Family,
        path: String,
        token: Token,
    ) -> Self {
        let carrier = match family {
            Family::Native => Carrier::Header,
            Family::Web => Carrier::Query,
        };
        Self {
            family,
            proxy,
            ca,
            path,
            credentials: vec![(carrier, Credential::Token(token))],
            query: Vec::new(),
            headers: Vec::new(),
            subprotocols: Vec::new(),
            resume_key: None,
            carrier,
            http2: false,
            time_limit: TIME_LIMIT,
        }
    }

    /// By this Envoy: one that was there already, say.
    #[must_use]
    pub fn by(mut self, envoy: &Envoy) -> Self {
        self.proxy = match self.family {
            Family::Native => envoy.native(),
            Family::Web => envoy.https(),
        };
        self
    }

    /// With this token and no other.
    #[must_use]
    pub fn token(mut self, token: Token) -> Self {
        self.credentials = vec![(self.carrier, Credential::Token(token))];
        self
    }

    /// As this user.
    #[must_use]
    pub fn subject(mut self, subject: &str) -> Self {
        for (_, credential) in &mut self.credentials {
            if let Credential::Token(token) = credential {
                *token = token.clone().subject(subject);
            }
        }
        self
    }

    /// With this text where a token should be, and no token.
    #[must_use]
    pub fn credential(mut self, text: &str) -> Self {
        self.credentials = vec![(self.carrier, Credential::Text(text.to_owned()))];
        self
    }

    /// With another text where a token could be too.
    #[must_use]
    pub fn and_credential(mut self, carrier: Carrier, text: &str) -> Self {
        let credential = Credential::Text(text.to_owned());
        self.credentials.push((carrier, credential));
        self
    }

    /// With no token.
    #[must_use]
    pub fn without_token(mut self) -> Self {
        self.credentials.clear();
        self
    }

    /// Carries the token, or whatever is in its place, in this way.
    #[must_use]
    pub fn carrier(mut self, carrier: Carrier) -> Self {
        self.carrier = carrier;
        for (used, _) in &mut self.credentials {
            *used = carrier;
        }
        self
    }

    /// Asks for this path, which may have a query.
    #[must_use]
    pub fn path(mut self, path: &str) -> Self {
        path.clone_into(&mut self.path);
        self
    }

    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: &str) -> Self {
        self.query.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a header, whose value may be any bytes that HTTP allows.
    #[must_use]
    pub fn header(mut self, name: &str, value: impl AsRef<[u8]>) -> Self {
        let value = value.as_ref().to_vec();
        self.headers.push((name.to_owned(), value));
        self
    }

    /// Offers a subprotocol.
    #[must_use]
    pub fn subprotocol(mut self, name: &str) -> Self {
        self.subprotocols.push(name.to_owned());
        self
    }

    /// Gives a resume key, as its family does.
    #[must_use]
    pub fn resume_key(mut self, key: &str) -> Self {
        self.resume_key = Some(key.to_owned());
        self
    }

    /// Over HTTP/2; each session on a connection of its own, unless it is [on](Self::connect_on) one that is there.
    #[must_use]
    pub fn http2(mut self) -> Self {
        self.http2 = true;
        self
    }

    /// Bounds every step of connecting.
    #[must_use]
    pub fn time_limit(mut self, limit: Duration) -> Self {
        self.time_limit = limit;
        self
    }

    /// What `berth-client` is to do.
    ///
    /// # Errors
    /// [`Error::Target`] when it cannot be written as a request, [`Error::Crypto`] when the token cannot be signed.
    pub fn target(&self) -> Result<Target, Error> {
        let url = format!("wss://localhost:{}{}", self.proxy.port(), self.path);
        let mut target = Target::new(&url)?
            .ca_file(&self.ca)?
            .connect_to(self.proxy)
            .time_limit(self.time_limit);
        if self.http2 {
            target = target.http2();
        }
        for (name, value) in &self.query {
            target = target.query(name, value)?;
        }
        for (name, value) in &self.headers {
            target = target.header(name, value)?;
        }
        for name in &self.subprotocols {
            target = target.subprotocol(name)?;
        }
        if let Some(key) = &self.resume_key {
            target = target.resume_key(key, self.carrier)?;
        }
        for (carrier, credential) in &self.credentials {
            target = match credential {
                Credential::Token(token) => target.token(&token.sign()?, *carrier)?,
                Credential::Text(text) => target.token(text, *carrier)?,
            };
        }
        Ok(target)
    }

    /// Asks for a session.
    ///
    /// # Errors
    /// [`Error::Connect`] when there is no HTTP answer at all, and those of [`target`](Self::target).
    pub async fn attempt(&self) -> Result<Attempt, Error> {
        attempt(berth_client::connect(&self.target()?).await)
    }

    /// As [`attempt`](Self::attempt), on a connection that is there.
    ///
    /// # Errors
    /// As there.
    pub async fn attempt_on(&self, connection: &Http2) -> Result<Attempt, Error> {
        attempt(connection.upgrade(&self.target()?).await)
    }

    /// As [`connect`](Self::connect), on a connection that is there.
    ///
    /// # Errors
    /// As there.
    pub async fn connect_on(&self, connection: &Http2) -> Result<Session, Error> {
        let session = connection.upgrade(&self.target()?).await;
        Ok(session.map_err(Box::new)?)
    }

    /// An HTTP/2 connection to where it would connect to.
    ///
    /// # Errors
    /// [`Error::Connect`], and those of [`target`](Self::target).
    pub async fn connection(&self) -> Result<Http2, Error> {
        let connection = Http2::open(&self.target()?).await;
        Ok(connection.map_err(Box::new)?)
    }

    /// Asks for a session and has to get it.
    ///
    /// # Errors
    /// [`Error::Connect`] when it is refused or there is no answer, and those of [`target`](Self::target).
    pub async fn connect(&self) -> Result<Session, Error> {
        let session = berth_client::connect(&self.target()?).await;
        Ok(session.map_err(Box::new)?)
    }

    /// Asks for a session and has to be refused.
    ///
    /// # Errors
    /// [`Error::Unreadable`] when it is admitted, and those of [`attempt`](Self::attempt).
    pub async fn refusal(&self) -> Result<Response, Error> {
        match self.attempt().await? {
            Attempt::Refused(response) => Ok(response),
            Attempt::Admitted(_) => Err(Error::Unreadable {
                what: "a refusal".to_owned(),
                why: "the client was admitted".to_owned(),
            }),
        }
    }

    /// Asks only for the verdict, by a plain GET of the same URL.
    ///
    /// # Errors
    /// [`Error::Connect`] when there is no answer, and those of [`target`](Self::target).
    pub async fn verdict(&self) -> Result<Response, Error> {
        let response = berth_client::get(&self.target()?).await;
        Ok(response.map_err(Box::new)?)
    }
}

fn attempt(outcome: Result<Session, ConnectError>) -> Result<Attempt, Error> {
    match outcome {
        Ok(session) => Ok(Attempt::Admitted(Box::new(session))),
        Err(ConnectError::Refused {
            status,
            headers,
            body,
            ..
        }) => Ok(Attempt::Refused(Response {
            status,
            headers: *headers,
            body,
        })),
        Err(error) => Err(Box::new(error).into()),
    }
}

/// More than the longest hold with the handshake timeout; native clients give up near 20 s.
const TIME_LIMIT: Duration = Duration::from_secs(20);
