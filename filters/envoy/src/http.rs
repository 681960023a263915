//! One request, and the session it becomes.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;

use berth_admission::{
    Certificate, Decision, Kind, Reason, Request, Undecided, Verdict, Wish, admit,
};
use proxy_wasm::traits::{Context, HttpContext};
use proxy_wasm::types::Action;

use crate::cause::cause;
use crate::config::Plugin;
use crate::host::{Headers, Host};
use crate::session::{
    ContextId, Opening, Purpose, Refusal, Session, SessionId, Token, Unverified, Who,
};
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
    /// What a reply is to say to the web page that asked.
    pub(crate) cors: RefCell<Vec<(&'static str, String)>>,
}

/// The names in a certificate.
#[derive(Debug, Default)]
struct OwnedCertificate {
    dns_san: Option<String>,
    subject: Option<String>,
    uri_san: Option<String>,
}

impl OwnedCertificate {
    fn names(&self) -> Certificate<'_> {
        Certificate {
            dns_san: self.dns_san.as_deref(),
            subject: self.subject.as_deref(),
            uri_san: self.uri_san.as_deref(),
        }
    }
}

impl<H: Host> Http<H> {
    /// `is_over`: it ends with its headers.
    fn request(&self, is_over: bool) -> Action {
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
        let decided = match &self.plugin {
            Some(plugin) => self.decide(plugin, is_over).map_err(|reason| Refusal {
                reason,
                retry_after_seconds: plugin.policy.retry_after_seconds(reason),
            }),
            None => Err(Refusal {
                reason: Reason::Internal,
                retry_after_seconds: None,
            }),
        };
        if let Err(refusal) = decided {
            self.worker.refuse(refusal);
        }
        Action::Pause
    }

    /// Whether the route that was chosen is one of Berth's.
    fn is_ours(&self) -> bool {
        let name = self.worker.host.property(&["xds", "route_name"]);
        name.is_some_and(|name| name == ROUTE || name.starts_with(ROUTES))
    }

    fn decide(&self, plugin: &Plugin, is_over: bool) -> Result<(), Reason> {
        let host = &self.worker.host;
        let headers = host.headers(Headers::Request);
        self.strip(Headers::Request, &headers);
        let client = self.client_address();
        let verdict = self.admit(plugin, &headers, client);
        for (name, value) in verdict.edits.iter() {
            host.set_header(Headers::Request, name, value);
        }
        self.cors.replace(verdict.cors);
        match verdict.decision {
            Decision::Refuse(reason) => Err(reason),
            Decision::Preflight => {
                self.worker.preflight();
                Ok(())
            }
            Decision::Admit(wish, admission) => {
                self.handshake(wish.kind, &headers, is_over)?;
                self.worker.stats().allowed();
                let id = self.tagged(plugin, &admission.tags)?;
                for (name, value) in &admission.headers {
                    host.set_header(Headers::Request, name, Some(value.as_bytes()));
                }
                self.open(plugin, id, client, wish, Who::Admitted(admission));
                Ok(())
            }
            Decision::Undecided(wish, undecided) => {
                self.handshake(wish.kind, &headers, is_over)?;
                self.worker.stats().undecided();
                let id = self.tagged(plugin, &[])?;
                let Undecided { path, headers, .. } = *undecided;
                let who = Who::Unverified(Unverified { path, headers });
                self.open(plugin, id, client, wish, who);
                Ok(())
            }
        }
    }

    fn admit(
        &self,
        plugin: &Plugin,
        headers: &[(String, Vec<u8>)],
        client: Option<IpAddr>,
    ) -> Verdict {
        let host = &self.worker.host;
        let find = |name: &str| {
            let mut headers = headers.iter();
            let found = headers.find(|(candidate, _)| candidate == name);
            found.map(|(_, value)| value.as_slice()).unwrap_or_default()
        };
        let certificate = plugin
            .policy
            .reads_certificates()
            .then(|| self.certificate());
        let certificate = certificate.unwrap_or_default();
        let request = Request {
            method: find(":method"),
            path: find(":path"),
            headers,
            client,
            certificate: certificate.names(),
        };
        let stats = self.worker.stats();
        let verifier = Timed {
            verifier: HostVerifier(host),
            stats,
        };
        let began = host.uptime();
        let verdict = plugin.remembering(self.worker.revocations(), |memory| {
            admit(&plugin.policy, memory, &request, host.unix_now(), &verifier)
        });
        stats.decided(host.uptime().saturating_sub(began));
        if let Some(hit) = verdict.remembered {
            stats.cache(hit);
        }
        if verdict.decision == Decision::Refuse(Reason::TooManyAttempts) {
            stats.limited();
        }
        verdict
    }

    /// What the proxy has verified of the client's certificate. Where there is one, the listener's trust was enough to let
    /// it in.
    fn certificate(&self) -> OwnedCertificate {
        let text = |path: &[&str]| {
            let value = self.worker.host.property(path)?;
            String::from_utf8(value).ok()
        };
        if self
            .worker
            .host
            .property(&["connection", "mtls"])
            .as_deref()
            != Some(&[1])
        {
            return OwnedCertificate::default();
        }
        OwnedCertificate {
            dns_san: text(&["connection", "dns_san_peer_certificate"]),
            subject: text(&["connection", "subject_peer_certificate"]),
            uri_san: text(&["connection", "uri_san_peer_certificate"]),
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

    /// Mints the session's id, and lets the access log and the instance know of it. Before the Acquire is sent: the End of
    /// a client that leaves while it is under way has the tags too.
    fn tagged(&self, plugin: &Plugin, tags: &[(String, String)]) -> Result<SessionId, Reason> {
        let id = self.worker.mint().map_err(|_| Reason::Internal)?;
        self.worker.tag("session", id.0.as_bytes());
        for (name, value) in tags {
            self.worker.tag(name, value.as_bytes());
        }
        for name in plugin.policy.session_headers() {
            let value = Some(id.0.as_bytes());
            self.worker.host.set_header(Headers::Request, name, value);
        }
        Ok(id)
    }

    /// What RFC 6455's handshake has and RFC 8441's has not. Without a key no instance upgrades; nobody checks its answer, so
    /// all that is asked of a key is to be another one each time, and nothing goes into it that the instance should not know.
    /// END_STREAM is what FIN is otherwise (RFC 8441 §5), but Envoy would not end such a session.
    fn handshake(
        &self,
        kind: Kind,
        headers: &[(String, Vec<u8>)],
        is_over: bool,
    ) -> Result<(), Reason> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;

        if kind == Kind::Check || !self.is_a_stream() {
            return Ok(());
        }
        if is_over {
            return Err(Reason::Cancelled);
        }
        if joined(headers, KEY).is_none() {
            let nonce = self.worker.host.random().ok_or(Reason::Internal)?;
            let key = STANDARD.encode(nonce);
            let key = Some(key.as_bytes());
            self.worker.host.set_header(Headers::Request, KEY, key);
        }
        Ok(())
    }

    /// Whether the client's connection may carry other requests at the same time.
    fn is_a_stream(&self) -> bool {
        let protocol = self.worker.host.property(&["request", "protocol"]);
        protocol.is_some_and(|protocol| !protocol.starts_with(b"HTTP/1"))
    }

    fn open(&self, plugin: &Plugin, id: SessionId, client: Option<IpAddr>, wish: Wish, who: Who) {
        let purpose = match wish.kind {
            Kind::Check => Purpose::Check {
                family: wish.family,
            },
            Kind::Upgrade => Purpose::Upgrade {
                answer_subprotocol: wish.answer_subprotocol,
            },
        };
        let opening = Opening {
            session: Session { id, client, who },
            purpose,
            when_away: plugin.control_plane.when_away,
            hold: plugin.control_plane.hold,
        };
        self.worker
            .open(self.context, opening, &plugin.control_plane);
    }

    fn client_address(&self) -> Option<IpAddr> {
        let address = self.worker.host.property(&["source", "address"])?;
        let address: SocketAddr = std::str::from_utf8(&address).ok()?.parse().ok()?;
        Some(address.ip())
    }

    fn response(&self) -> Action {
        // A reply of our own passes here as well, and keeps its x-berth-reason.
        let Some(answer_subprotocol) = self.worker.placed(self.context) else {
            self.answer_page();
            return Action::Continue;
        };
        let host = &self.worker.host;
        let details = host.property(&["response", "code_details"]);
        if !details.is_some_and(|details| FROM_UPSTREAM.contains(&details.as_slice())) {
            // Envoy's own reply: the local_reply_config says what it looks like.
            self.answer_page();
            return Action::Continue;
        }
        let headers = host.headers(Headers::Response);
        self.strip(Headers::Response, &headers);
        if joined(&headers, ":status").as_deref() != Some(SWITCHING_PROTOCOLS) {
            self.worker.instance_lost(self.context);
            return Action::Pause;
        }
        self.worker.established(self.context);
        if self.is_a_stream() {
            host.set_header(Headers::Response, ACCEPT, None);
        }
        if let Some(protocol) = answer_subprotocol
            && joined(&headers, "sec-websocket-protocol").is_none()
        {
            let value = Some(protocol.as_bytes());
            host.set_header(Headers::Response, "sec-websocket-protocol", value);
        }
        Action::Continue
    }

    /// Lets the web page that asked read a reply.
    fn answer_page(&self) {
        for (name, value) in self.cors.take() {
            let value = Some(value.as_bytes());
            self.worker.host.set_header(Headers::Response, name, value);
        }
    }

    fn end(&self) {
        let Some(plugin) = &self.plugin else {
            return;
        };
        // Called twice for each stream, and most are answered without a session: those are not worth a question to the
        // proxy.
        if !self.worker.knows(self.context) {
            return;
        }
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
        let failed = self.worker.on_call_answer(Token(token), status, size);
        if let (Some(plugin), Some(failed)) = (&self.plugin, failed) {
            plugin.failed(failed, self.worker.host.unix_now());
        }
    }

    fn on_done(&mut self) -> bool {
        self.end();
        true
    }
}

impl<H: Host> HttpContext for Http<H> {
    fn on_http_request_headers(&mut self, _: usize, is_over: bool) -> Action {
        self.request(is_over)
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

/// The two halves of RFC 6455's handshake, of which RFC 8441 has none.
const KEY: &str = "sec-websocket-key";
const ACCEPT: &str = "sec-websocket-accept";

/// An upgrade's answer. Towards an HTTP/2 client, Envoy makes it a 200 after the filters.
const SWITCHING_PROTOCOLS: &[u8] = b"101";
