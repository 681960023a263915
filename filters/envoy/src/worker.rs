//! What the contexts of one VM share: its sessions, and the proxy that carries out what is decided of them.

use std::cell::{OnceCell, RefCell};
use std::time::Duration;

use berth_admission::refusal_body;
use proxy_wasm::types::LogLevel;

use crate::config::ControlPlane;
use crate::hex::hex;
use crate::host::{GrpcCall, Headers, Host};
use crate::session::{
    Answer, Cause, ContextId, FailedAttempt, Now, Opening, Placement, Purpose, Refusal, SessionId,
    Token,
};
use crate::stats::{Metrics, Stats};
use crate::vm::{Act, Call, Identity, Vm};
use crate::wire::{self, Answered};

/// One VM and its proxy.
#[derive(Debug)]
pub(crate) struct Worker<H> {
    pub(crate) host: H,
    /// Never borrowed across a call of the host, so that it does not matter which of them come back into the VM.
    vm: RefCell<Vm>,
    /// There from when the VM is configured.
    metrics: OnceCell<Metrics>,
}

/// The proxy gives no random numbers, without which there are no session ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the proxy gives no random numbers")]
pub(crate) struct NoRandomness;

impl<H: Host> Worker<H> {
    pub(crate) fn new(host: H) -> Self {
        Self {
            host,
            vm: RefCell::default(),
            metrics: OnceCell::new(),
        }
    }

    /// What is counted in this VM.
    pub(crate) fn stats(&self) -> Stats<'_, H> {
        Stats::new(&self.host, self.metrics.get())
    }

    /// How many revocations the control plane counts, by its last answer. With another number, what is remembered of
    /// tokens may be wrong.
    pub(crate) fn revocations(&self) -> u64 {
        self.with(|vm| vm.revocations())
    }

    /// Gives the VM its name and its statistics, unless it has them.
    pub(crate) fn identify(&self) -> Result<(), NoRandomness> {
        self.metrics.get_or_init(|| Metrics::define(&self.host));
        if self.with(|vm| !vm.identity().id.is_empty()) {
            return Ok(());
        }
        let id = hex(&self.host.random().ok_or(NoRandomness)?);
        let node = self
            .host
            .property(&["xds", "node", "id"])
            .unwrap_or_default();
        let node = String::from_utf8_lossy(&node).into_owned();
        self.with(|vm| vm.identify(Identity { node, id }));
        Ok(())
    }

    /// A session id that was never there before.
    pub(crate) fn mint(&self) -> Result<SessionId, NoRandomness> {
        let random = self.host.random().ok_or(NoRandomness)?;
        Ok(SessionId(hex(&random)))
    }

    /// A request to place, which is paused.
    pub(crate) fn open(&self, context: ContextId, opening: Opening, control_plane: &ControlPlane) {
        let now = self.host.uptime();
        self.with(|vm| vm.open(context, opening, now));
        self.ask(context, control_plane);
    }

    /// Asks the control plane for the stream, on behalf of the context that is entered.
    fn ask(&self, context: ContextId, control_plane: &ControlPlane) {
        let now = self.host.uptime();
        let Some((message, timeout)) = self.with(|vm| {
            let acquire = vm.acquire(context, now)?;
            Some((wire::acquire_request(&acquire), acquire.timeout))
        }) else {
            return;
        };
        match self.call(control_plane, "Acquire", &message, timeout) {
            Some(token) => self.with(|vm| vm.acquire_sent(context, token)),
            None => {
                let act = self.with(|vm| vm.answered(context, Answer::Away, now));
                self.act(act);
            }
        }
    }

    fn call(
        &self,
        control_plane: &ControlPlane,
        method: &str,
        message: &[u8],
        timeout: Duration,
    ) -> Option<Token> {
        let call = GrpcCall {
            cluster: &control_plane.cluster,
            method,
            message,
            timeout,
        };
        self.host.call(&call).ok()
    }

    /// A call came out: with this gRPC status and, if that is OK, an answer of so many bytes.
    /// Says if it shows that somebody's credential is not good.
    pub(crate) fn on_call_answer(
        &self,
        token: Token,
        status: u32,
        size: usize,
    ) -> Option<FailedAttempt> {
        let call = self.with(|vm| vm.take_call(token))?;
        let answer = match (status, size) {
            (GRPC_OK, 0) => Some(Vec::new()),
            (GRPC_OK, size) => Some(self.host.call_answer(size)),
            _ => None,
        };
        match call {
            Call::Acquire(context) => {
                let answer = match answer {
                    Some(bytes) => self.heard(wire::acquire_response(&bytes)),
                    None => Answer::Away,
                };
                self.placed_by(context, answer)
            }
            Call::Sync(told) => {
                let closes = answer.and_then(|bytes| self.heard(wire::sync_response(&bytes)));
                let acts = self.with(|vm| vm.synced(told, closes));
                self.act(acts);
                None
            }
        }
    }

    fn heard<T>(&self, answered: Answered<T>) -> T {
        if let Some(revocations) = answered.revocations {
            self.with(|vm| vm.count_revocations(revocations));
        }
        answered.answer
    }

    fn placed_by(&self, context: ContextId, answer: Answer) -> Option<FailedAttempt> {
        if matches!(answer, Answer::Unreadable) {
            self.warn("an Acquire was answered with what is neither a grant nor a refusal");
        }
        let now = self.host.uptime();
        let (unverified, act) = self.with(|vm| {
            let unverified = vm.unverified(context);
            (unverified, vm.answered(context, answer, now))
        });
        let failed = match &act {
            Some(Act::Refuse(_, refusal)) if refusal.reason.status() == 401 => {
                unverified.map(|client| FailedAttempt { client })
            }
            Some(Act::Place(..) | Act::Admitted(..)) if unverified.is_some() => {
                self.stats().allowed();
                None
            }
            _ => None,
        };
        self.act(act);
        failed
    }

    /// The root has ticked.
    pub(crate) fn on_tick(&self, root: ContextId, control_plane: &ControlPlane) {
        let now = Now {
            uptime: self.host.uptime(),
            unix: self.host.unix_now(),
        };
        let cadence = control_plane.cadence;
        let due = self.with(|vm| vm.tick(now, cadence));
        self.act(due.acts);
        // Streams may have been entered; what follows is the root's, so that the answers come to it.
        if !self.host.enter(root) {
            return;
        }
        for context in due.acquires {
            self.ask(context, control_plane);
        }
        if due.sync {
            let (message, told) = self.with(|vm| {
                let (report, told) = vm.sync();
                (wire::sync_request(&report), told)
            });
            let timeout = cadence.sync();
            let token = self.call(control_plane, "Sync", &message, timeout);
            self.with(|vm| vm.sync_sent(token, told, timeout, now.uptime));
        }
    }

    /// Whether the stream asks for a session or is one.
    pub(crate) fn knows(&self, context: ContextId) -> bool {
        self.with(|vm| vm.knows(context))
    }

    /// The stream is over, by `cause` if it was live. The control plane hears of it at once; whether it does is found out
    /// by the next full Sync, since the answer would come to a stream that is gone.
    pub(crate) fn on_end(
        &self,
        context: ContextId,
        root: ContextId,
        cause: Cause,
        control_plane: &ControlPlane,
    ) {
        let hint = self.with(|vm| vm.end(context, cause).map(|hint| wire::sync_request(&hint)));
        if let Some(message) = hint
            // The stream's own calls die with it.
            && self.host.enter(root)
        {
            let _ = self.call(
                control_plane,
                "Sync",
                &message,
                control_plane.cadence.sync(),
            );
        }
    }

    /// The stream is gone, and [`on_end`](Self::on_end) should have been called.
    pub(crate) fn on_gone(&self, context: ContextId) {
        if let Ok(mut vm) = self.vm.try_borrow_mut() {
            let _ = vm.end(context, Cause::Client);
        }
    }

    /// The subprotocol to select if the instance selects none; `None` inside if there is none to select. `None` if the
    /// stream is not on its way to an instance.
    pub(crate) fn placed(&self, context: ContextId) -> Option<Option<String>> {
        self.with(|vm| match vm.placed(context)? {
            Purpose::Check { .. } => None,
            Purpose::Upgrade { answer_subprotocol } => Some(answer_subprotocol.clone()),
        })
    }

    /// The 101 was seen.
    pub(crate) fn established(&self, context: ContextId) {
        let now = self.host.uptime();
        self.with(|vm| vm.established(context, now));
    }

    /// The instance did not upgrade.
    pub(crate) fn instance_lost(&self, context: ContextId) {
        let act = self.with(|vm| vm.instance_lost(context));
        self.act(act);
    }

    /// Carries out what was decided. Afterwards some stream is entered.
    fn act(&self, acts: impl IntoIterator<Item = Act>) {
        for act in acts {
            let (Act::Place(context, _)
            | Act::Admitted(context, _)
            | Act::Refuse(context, _)
            | Act::Reset(context, _)) = act;
            if !self.host.enter(context) {
                continue;
            }
            match act {
                Act::Place(_, placement) => self.place(&placement),
                Act::Admitted(_, body) => self.reply(200, &[], &body),
                Act::Refuse(_, refusal) => self.refuse(refusal),
                Act::Reset(_, why) => {
                    self.stats().closed(why);
                    self.host.reset();
                }
            }
        }
    }

    fn place(&self, placement: &Placement) {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;

        let endpoint = STANDARD.encode(placement.endpoint.to_string());
        let headers = [
            (CLUSTER_HEADER, placement.cluster.as_str()),
            (ENDPOINT_HEADER, endpoint.as_str()),
        ];
        let headers = headers.map(|(name, value)| (name, value.as_bytes()));
        let more = placement.found.headers.iter();
        let more = more.map(|(name, value)| (name.as_str(), value.as_bytes()));
        for (name, value) in more.chain(headers) {
            self.host.set_header(Headers::Request, name, Some(value));
        }
        for (name, value) in &placement.found.tags {
            self.tag(name, value.as_bytes());
        }
        self.host.resume_request();
    }

    /// Lets the access log and other filters know something of the stream that is entered.
    pub(crate) fn tag(&self, name: &str, value: &[u8]) {
        self.host.set_filter_state(&format!("berth.{name}"), value);
    }

    /// Answers the request of the stream that is entered with a refusal.
    pub(crate) fn refuse(&self, refusal: Refusal) {
        let reason = refusal.reason;
        self.stats().refused(reason);
        let retry_after = refusal
            .retry_after_seconds
            .filter(|_| reason.allows_retry_after());
        let seconds = retry_after.map(|seconds| seconds.to_string());
        let headers = [
            Some((REASON_HEADER, reason.label())),
            reason
                .www_authenticate()
                .map(|challenge| ("www-authenticate", challenge)),
            seconds.as_deref().map(|seconds| ("retry-after", seconds)),
        ];
        let headers: Vec<(&str, &str)> = headers.into_iter().flatten().collect();
        let body = refusal_body(reason, retry_after);
        self.reply(reason.status(), &headers, &body);
    }

    /// Answers a browser that asks on behalf of a page; what it may is said by who adds the headers.
    pub(crate) fn preflight(&self) {
        self.host.reply(204, &[("cache-control", "no-store")], &[]);
    }

    fn reply(&self, status: u16, more: &[(&str, &str)], body: &str) {
        let common = [
            ("content-type", "application/json"),
            ("cache-control", "no-store"),
        ];
        self.host
            .reply(status, &[&common, more].concat(), body.as_bytes());
    }

    fn warn(&self, message: &str) {
        self.host.log(LogLevel::Warn, message);
    }

    fn with<R>(&self, decide: impl FnOnce(&mut Vm) -> R) -> R {
        decide(&mut self.vm.borrow_mut())
    }
}

/// Names the cluster; the route's `cluster_header`.
pub(crate) const CLUSTER_HEADER: &str = "x-berth-cluster";

/// Names the instance in the cluster; the header of Envoy's stateful_session, which wants base64.
pub(crate) const ENDPOINT_HEADER: &str = "x-berth-endpoint";

const REASON_HEADER: &str = "x-berth-reason";

const GRPC_OK: u32 = 0;
