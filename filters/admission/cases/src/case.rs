use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde_json::{Value, json};

use crate::{AUDIENCE, ISSUER, Keys};

/// Something that is sent, and its answer.
#[derive(Clone, Debug)]
pub struct Case {
    /// The kind of attack.
    pub class: &'static str,
    /// What is odd about it, in a few words; unique in its class.
    pub name: String,
    /// Under which policy.
    pub setting: Setting,
    /// What is answered, however a credential is carried.
    pub answer: Answer,
    pub(crate) sent: Sent,
    pub(crate) in_process: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Sent {
    Credential(Vec<u8>),
    Request(Request),
}

/// A request; names of headers in lower case. What makes it an upgrade is left out.
#[derive(Clone, Debug)]
pub struct Request {
    /// Such as `GET`.
    pub method: Vec<u8>,
    /// With its query.
    pub path: Vec<u8>,
    /// Names and values.
    pub headers: Vec<(String, Vec<u8>)>,
}

impl Request {
    /// A GET of this path.
    pub fn to(path: impl Into<Vec<u8>>) -> Self {
        Self {
            method: b"GET".to_vec(),
            path: path.into(),
            headers: Vec::new(),
        }
    }

    pub(crate) fn method(self, method: &str) -> Self {
        Self {
            method: method.into(),
            ..self
        }
    }

    pub(crate) fn header(mut self, name: &str, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push((name.to_owned(), value.into()));
        self
    }

    pub(crate) fn bearer(self, token: &str) -> Self {
        self.header("authorization", format!("Bearer {token}"))
    }
}

/// What a policy is beside its keys.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Setting {
    /// One issuer; the pools `web` and `native`; whichever page asks.
    Plain,
    /// The same for pages of `https://app.example` and of what is below `https://example.com`.
    Origins,
    /// The same for tokens of the type `at+jwt`.
    Typed,
    /// The same with a second issuer, whose keys are the first's, under each other's names.
    TwoIssuers,
}

impl Setting {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Plain, Self::Origins, Self::Typed, Self::TwoIssuers];

    /// The `admission` of a filter's configuration.
    pub fn policy(self, keys: &Keys) -> Value {
        let issuer = json!({"issuer": ISSUER, "audiences": [AUDIENCE], "jwks": keys.jwks()});
        let mut policy = json!({
            "issuers": [issuer],
            "pools": [{"name": "web", "family": "web"}, {"name": "native", "family": "native"}],
            "pools_claim": "pools",
            "tenant_claim": "tenant",
            "priority_claim": "priority",
            "labels": [{"label": "region", "query_parameter": "region", "header": "x-region"}],
            "tags": {"headers": [{"name": "x-user", "value": "subject"}, {"name": "x-role", "value": {"claim": "role"}}]},
        });
        let more = match self {
            Self::Plain => return policy,
            Self::Origins => (
                "/origins",
                json!(["https://app.example", "https://*.example.com"]),
            ),
            Self::Typed => ("/issuers/0/types", json!(["at+jwt"])),
            Self::TwoIssuers => {
                let other = json!({
                    "issuer": OTHER_ISSUER, "audiences": [AUDIENCE], "jwks": keys.exchanged_jwks(),
                });
                ("/issuers", json!([issuer, other]))
            }
        };
        let (pointer, value) = more;
        let (parent, member) = pointer.rsplit_once('/').unwrap_or_default();
        if let Some(parent) = policy.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.insert(member.to_owned(), value);
        }
        policy
    }
}

/// What is answered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Answer {
    /// It is let in: odd, and good.
    Admitted,
    /// It is refused.
    Refused {
        /// The label of the reason, by whoever knows all keys.
        reason: &'static str,
        /// Whether a signature may be computed before.
        signature: Signature,
    },
}

/// Whether a signature is computed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Signature {
    /// What is wrong is seen without.
    Unseen,
    /// Nothing can be said without.
    Seen,
}

impl Case {
    /// Whether any HTTP proxy would bring it to admission as it is. Others refuse it before, or make something else of it.
    pub fn survives_http(&self) -> bool {
        let printable = |bytes: &[u8]| {
            bytes
                .iter()
                .all(|byte| matches!(byte, b' '..=b'~' | 0x80..))
        };
        let whole = |request: &Request| {
            request.path.iter().all(u8::is_ascii_graphic)
                && request.headers.iter().all(|(_, value)| printable(value))
        };
        !self.in_process && self.requests().iter().all(|(_, request)| whole(request))
    }

    /// The requests that it stands for, each with how it carries what it carries: a credential comes in every way in which
    /// a client can send it.
    pub fn requests(&self) -> Vec<(&'static str, Request)> {
        let credential = match &self.sent {
            Sent::Request(request) => return vec![("as it is", request.clone())],
            Sent::Credential(credential) => credential.as_slice(),
        };
        let header = [b"Bearer ", credential].concat();
        let escaped = percent_encode(credential, UNRESERVED);
        let query = format!("{WEB}?client_type=6&token={escaped}&version=2");
        let mut requests = vec![
            (
                "in a header",
                Request::to(WEB).header("authorization", header),
            ),
            ("in the query", Request::to(query)),
        ];
        // What a comma or a space would make a list.
        if credential
            .iter()
            .all(|byte| *byte != b',' && !byte.is_ascii_whitespace())
        {
            let protocol = [b"x-nv.1, authorization.bearer.", credential].concat();
            let request = Request::to(WEB).header("sec-websocket-protocol", protocol);
            requests.push(("in a subprotocol", request));
        }
        requests
    }

    /// What must not be found in anything that is said or passed on: the parts of the credential that are long enough to be
    /// told from anything else.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let Sent::Credential(credential) = &self.sent else {
            return Vec::new();
        };
        let parts = credential.split(|byte| *byte == b'.');
        parts
            .filter(|part| part.len() > 40)
            .map(<[u8]>::to_vec)
            .collect()
    }
}

/// Where credentials are tried.
pub(crate) const WEB: &str = "/web/sign_in";
pub(crate) const OTHER_ISSUER: &str = "https://other.berth.example";
/// RFC 3986 §2.3.
const UNRESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');
