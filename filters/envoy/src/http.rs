//! One request, and the session it becomes.

use std::net::SocketAddr;
use std::rc::Rc;

use berth_admission::{Admission, Kind, Reason, Request, UpstreamEdits, Verdict, admit};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::cause::cause;
use crate::config::Plugin;
use crate::host::{Headers, Host};
use crate::session::{Admitted, ContextId, Opening, Purpose, Session, SessionId, Token, Who};
use crate::signature::HostVerifier;
use crate::stats::Timed;
use crate::worker::{CLUSTER_HEADER, ENDPOINT_HEADER, Worker};

/// The context of one stream.
#[derive(Debug)]
pub(crate) struct Http<H: Host> {
    pub(crate) worker: Rc<Worker<H>>,
    /// The configuration when the stream began. `None` if there was none, which no Envoy lets happen.
    pub(crate) plugin: Option<Rc<Plugin>>,
    pub(crate) context: ContextId,
    pub(crate) root: ContextId,
}

impl<H: Host> Http<H> {
    fn request(&self) -> Action {
        let host = &self.worker.host;
        if !self.is_ours() {
            // What would place a request is never the client's word, on whichever route.
            for name in [CLUSTER_HEADER, ENDPOINT_HEADER] {
                if host.header(Headers::Request, name).is_some() {
                    host.set_header(Headers::Request, name, None);
                }
            }
            return Action::Continue;
        }
        let reason = match &self.plugin {
            Some(plugin) => match self.decide(plugin) {
                Ok(()) => return Action::Pause,
                Err(reason) => reason,
            },
            None => Reason::Internal,
        };
        self.worker.refuse_for(reason);
        Action::Pause
    }

    /// Whether the route that was chosen is one of Berth's.
    fn is_ours(&self) -> bool {
        let name = self.worker.host.property(&["xds", "route_name"]);
        name.is_some_and(|name| name == ROUTE || name.starts_with(ROUTES))
    }

    fn decide(&self, plugin: &Plugin) -> Result<(), Reason> {
        let host = &self.worker.host;
        let headers = host.headers(Headers::Request);
        self.strip(Headers::Request, &headers);

        let find = |name: &str| joined(&headers, name);
        let (method, path) = (find(":method"), find(":path"));
        let (upgrade, authorization) = (find("upgrade"), find("authorization"));
        let (protocol, resume_key) = (find("sec-websocket-protocol"), find("berth-resume-key"));
        let labels: Vec<(&str, Vec<u8>)> = plugin
            .policy
            .label_headers()
            .filter_map(|name| Some((name, find(name)?)))
            .collect();
        let labels: Vec<(&str, &[u8])> = labels
            .iter()
            .map(|(name, value)| (*name, value.as_slice()))
            .collect();
        let request = Request {
            method: method.as_deref().unwrap_or_default(),
            path: path.as_deref().unwrap_or_default(),
            upgrade: upgrade.as_deref(),
            authorization: authorization.as_deref(),
            sec_websocket_protocol: protocol.as_deref(),
            resume_key: resume_key.as_deref(),
            labels: &labels,
        };
        let stats = self.worker.stats();
        let verifier = Timed {
            verifier: HostVerifier(host),
            stats,
        };
        let began = host.uptime();
        let verdict = admit(&plugin.policy, &request, host.unix_now(), &verifier);
        stats.decided(host.uptime().saturating_sub(began));
        match verdict {
            Verdict::Refuse(reason) => Err(reason),
            Verdict::Admit(admission) => {
                stats.allowed();
                let id = self.worker.mint().map_err(|_| Reason::Internal)?;
                self.tag(&id, &admission);
                self.edit(&request, &admission.upstream);
                self.open(plugin, id, *admission);
                Ok(())
            }
        }
    }

    /// Removes every header that only Berth may set.
    fn strip(&self, which: Headers, headers: &[(String, Vec<u8>)]) {
        for (name, _) in headers {
            if name.starts_with(OURS) {
                self.worker.host.set_header(which, name, None);
            }
        }
    }

    /// What the access log and other filters may know. Before the Acquire is sent: the End of a client that leaves while
    /// it is under way has them too.
    fn tag(&self, id: &SessionId, admission: &Admission) {
        for (name, value) in [
            ("session", &id.0),
            ("subject", &admission.owner.subject),
            ("pool", &admission.pool),
        ] {
            self.worker.tag(name, value.as_bytes());
        }
    }

    fn edit(&self, request: &Request<'_>, edits: &UpstreamEdits) {
        let set = |name, value| self.worker.host.set_header(Headers::Request, name, value);
        if request.path != edits.path {
            set(":path", Some(edits.path.as_slice()));
        }
        if let Some(protocol) = &edits.sec_websocket_protocol {
            set("sec-websocket-protocol", protocol.as_deref());
        }
        if request.authorization.is_some() {
            set("authorization", None);
        }
        if request.resume_key.is_some() {
            set("berth-resume-key", None);
        }
    }

    fn open(&self, plugin: &Plugin, id: SessionId, admission: Admission) {
        let purpose = match admission.kind {
            Kind::Check => Purpose::Check {
                family: admission.family,
            },
            Kind::Upgrade => Purpose::Upgrade {
                answer_subprotocol: admission.answer_subprotocol,
            },
        };
        let opening = Opening {
            session: Session {
                id,
                client_address: self.client_address(),
                who: Who::Admitted(Box::new(Admitted {
                    pool: admission.pool,
                    owner: admission.owner,
                    priority: admission.priority,
                    labels: admission.labels,
                    token_id: String::new(),
                    expires_at: admission.expires_at,
                    closes_at: None,
                })),
            },
            purpose,
            when_away: plugin.control_plane.when_away,
            hold: plugin.control_plane.hold,
        };
        self.worker
            .open(self.context, opening, &plugin.control_plane);
    }

    fn client_address(&self) -> String {
        self.worker
            .host
            .property(&["source", "address"])
            .and_then(|bytes| String::from_utf8(bytes).ok())
            .and_then(|text| text.parse::<SocketAddr>().ok())
            .map(|address| address.ip().to_string())
            .unwrap_or_default()
    }

    fn response(&self) -> Action {
        // A reply of our own passes here as well, and keeps its x-berth-reason.
        let Some(answer_subprotocol) = self.worker.placed(self.context) else {
            return Action::Continue;
        };
        let host = &self.worker.host;
        let details = host.property(&["response", "code_details"]);
        if !details.is_some_and(|details| FROM_UPSTREAM.contains(&details.as_slice())) {
            // Envoy's own reply: the local_reply_config says what it looks like.
            return Action::Continue;
        }
        let headers = host.headers(Headers::Response);
        self.strip(Headers::Response, &headers);
        if joined(&headers, ":status").as_deref() != Some(SWITCHING_PROTOCOLS) {
            self.worker.instance_lost(self.context);
            return Action::Pause;
        }
        self.worker.established(self.context);
        if let Some(protocol) = answer_subprotocol
            && joined(&headers, "sec-websocket-protocol").is_none()
        {
            let value = Some(protocol.as_bytes());
            host.set_header(Headers::Response, "sec-websocket-protocol", value);
        }
        Action::Continue
    }

    fn end(&self) {
        let Some(plugin) = &self.plugin else {
            return;
        };
        let flags = self.worker.host.property(&["response", "flags"]);
        let cause = cause(flags.as_deref());
        self.worker
            .on_end(self.context, self.root, cause, &plugin.control_plane);
    }
}

/// Every value of a header, joined with commas (RFC 9110 §5.3).
fn joined(headers: &[(String, Vec<u8>)], name: &str) -> Option<Vec<u8>> {
    let mut values = headers
        .iter()
        .filter(|(candidate, _)| candidate == name)
        .map(|(_, value)| value);
    let mut joined = values.next()?.clone();
    for value in values {
        joined.extend_from_slice(b", ");
        joined.extend_from_slice(value);
    }
    Some(joined)
}

impl<H: Host> Context for Http<H> {
    fn on_grpc_call_response(&mut self, token: u32, status: u32, size: usize) {
        self.worker.on_call_answer(Token(token), status, size);
    }

    fn on_done(&mut self) -> bool {
        self.end();
        true
    }
}

impl<H: Host> HttpContext for Http<H> {
    fn on_http_request_headers(&mut self, _: usize, _: bool) -> Action {
        self.request()
    }

    fn on_http_response_headers(&mut self, _: usize, _: bool) -> Action {
        self.response()
    }

    fn on_log(&mut self) {
        self.end();
    }
}

impl<H: Host> Drop for Http<H> {
    fn drop(&mut self) {
        self.worker.on_gone(self.context);
    }
}

/// A route of this name is Berth's, ...
const ROUTE: &[u8] = b"berth";
/// ... and so is one whose name begins like this.
const ROUTES: &[u8] = b"berth/";

/// The headers that only Berth may set begin like this.
const OURS: &str = "x-berth-";

/// What Envoy's details say of a response that is the upstream's and not Envoy's own; the second, where the upstream
/// answered an upgrade with a success that is not a 101.
const FROM_UPSTREAM: [&[u8]; 2] = [b"via_upstream", b"websocket_handshake_unsuccessful"];

/// An upgrade's answer. Towards an HTTP/2 client, Envoy makes it a 200 after the filters.
const SWITCHING_PROTOCOLS: &[u8] = b"101";
