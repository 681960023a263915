//! The task that owns fleet, leases and what proxies are told. Everything that happens comes to it
//! as one closed kind of event, in one order; it puts each to the pure cores and carries out what
//! they say.

mod outbox;
mod task;
mod window;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use berth_admission::Family;
use tokio::sync::{mpsc, oneshot};
use tonic::codegen::Bytes;

use crate::fleet::{self, Health};
use crate::placement::{
    Acquire, Close, Grant, InstanceName, InstanceView, MAX_REVOCATIONS, PoolName, Refusal,
    RequestId, Revocation, RevocationEffect, RevocationId, Revoke, SessionId, SessionView, Sync,
};
use crate::store::UnixMillis;
use crate::xds::{Certificates, InstanceTls};

pub use task::{Durability, Ended, InvalidStart, Parts, run};

/// Speaks to the task. Cheap to clone; the task ends when all of them are gone.
#[derive(Clone, Debug)]
pub struct Controller {
    events: mpsc::Sender<Event>,
    /// Who asks for an instance waits in a line of their own: however many do, what a VM says of its live sessions, and
    /// what the operator orders, is heard at once.
    asks: mpsc::Sender<Event>,
    /// Has room for one word about each Acquire under way, so it cannot grow beyond them.
    cancels: mpsc::UnboundedSender<Cancel>,
    requests: Arc<AtomicU64>,
    revocations_seen: Arc<AtomicU64>,
}

/// The task has ended: the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane is stopping")]
pub struct Gone;

/// Why a session has got no instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotPlaced {
    /// Placement says so.
    Refused(Refusal),
    /// It could not be written down that it has one.
    NotStored,
}

impl From<Refusal> for NotPlaced {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// What was ordered has been done, but a restart would forget it: the store cannot be written to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("this is so until berth is started again: the store cannot be written to")]
pub struct NotStored;

/// Why an order about an instance has not been carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OrderError {
    /// There is no such instance.
    #[error(transparent)]
    Unknown(#[from] fleet::UnknownInstance),
    /// Not for ever.
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

/// Why something has not been revoked for good.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RevokeError {
    /// It is not revoked.
    #[error(
        "{MAX_REVOCATIONS} revocations hold already, and no more are kept: lift some, or have the issuer give out no more \
        tokens"
    )]
    Full,
    /// It is, but not for ever.
    #[error(transparent)]
    NotStored(#[from] NotStored),
}

/// A grant with what a proxy needs to carry it out.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The lease.
    pub grant: Grant,
    /// The cluster that holds the instance.
    pub cluster: Arc<str>,
    /// The instance's signaling socket.
    pub endpoint: SocketAddr,
    /// How old the session may still grow.
    pub age_left: Option<Duration>,
}

/// A revocation, by the world's clock.
#[derive(Clone, Debug)]
pub struct RevocationStatus {
    /// What placement knows.
    pub revocation: Revocation,
    /// Since when.
    pub since: UnixMillis,
    /// Until when.
    pub until: UnixMillis,
}

/// An instance, as the admin API shows it.
#[derive(Clone, Debug)]
pub struct InstanceStatus {
    /// What placement knows.
    pub view: InstanceView,
    /// Its signaling socket.
    pub address: SocketAddr,
    /// What its probes say.
    pub health: Health,
    /// The clients it serves.
    pub family: Family,
}

type Reply<T> = oneshot::Sender<T>;

#[derive(Debug)]
pub(crate) enum Event {
    Acquire(RequestId, Acquire, Reply<Result<Placed, NotPlaced>>),
    Certificates(Arc<Certificates>),
    Check(Acquire, Reply<Result<(), NotPlaced>>),
    Drain(InstanceName, bool, Reply<Result<(), OrderError>>),
    FilterConfiguration(String),
    FilterModule(Bytes),
    Instances(Reply<Vec<InstanceStatus>>),
    InstanceTls(PoolName, InstanceTls),
    LiftRevocation(RevocationId, Reply<Result<bool, NotStored>>),
    Metrics(Reply<String>),
    Quarantine(InstanceName, bool, Reply<Result<(), OrderError>>),
    Revocations(Reply<Vec<RevocationStatus>>),
    Revoke(Revoke, Reply<Result<RevocationEffect, RevokeError>>),
    Sessions(Reply<Vec<SessionView>>),
    Sync(Sync, Reply<Vec<Close>>),
    Terminate(SessionId, Reply<Result<bool, NotStored>>),
}

/// The caller of an Acquire no longer listens.
#[derive(Debug)]
pub(crate) struct Cancel {
    pub(crate) request: RequestId,
    pub(crate) session: SessionId,
}

/// What the task listens to.
#[derive(Debug)]
pub(crate) struct Events {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) asks: mpsc::Receiver<Event>,
    pub(crate) cancels: mpsc::UnboundedReceiver<Cancel>,
    /// Where the task tells it.
    pub(crate) revocations_seen: Arc<AtomicU64>,
}

impl Controller {
    /// A controller and what its task listens to.
    pub(crate) fn channel() -> (Self, Events) {
        let (sender, events) = mpsc::channel(EVENTS);
        let (ask, asks) = mpsc::channel(EVENTS);
        let (cancel, cancels) = mpsc::unbounded_channel();
        let controller = Self {
            events: sender,
            asks: ask,
            cancels: cancel,
            requests: Arc::default(),
            revocations_seen: Arc::default(),
        };
        let events = Events {
            events,
            asks,
            cancels,
            revocations_seen: Arc::clone(&controller.revocations_seen),
        };
        (controller, events)
    }

    /// Asks for an instance; waits for one for as long as the pool holds requests. Who drops the
    /// future waits no longer: the request leaves the queue.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn acquire(&self, acquire: Acquire) -> Result<Result<Placed, NotPlaced>, Gone> {
        let request = RequestId(self.requests.fetch_add(1, Ordering::Relaxed) + 1);
        let session = acquire.session.clone();
        let (reply, answer) = oneshot::channel();
        let event = Event::Acquire(request, acquire, reply);
        self.asks.send(event).await.map_err(|_| Gone)?;
        let waiting = Waiting {
            answer: Some(answer),
            cancel: Some(Cancel { request, session }),
            cancels: &self.cancels,
        };
        waiting.answer().await
    }

    /// What such an Acquire would be answered now.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn check(&self, acquire: Acquire) -> Result<Result<(), NotPlaced>, Gone> {
        ask_in(&self.asks, |reply| Event::Check(acquire, reply)).await
    }

    /// Takes a VM's word.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn sync(&self, sync: Sync) -> Result<Vec<Close>, Gone> {
        self.ask(|reply| Event::Sync(sync, reply)).await
    }

    /// Sets whether an instance is draining.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn drain(
        &self,
        instance: InstanceName,
        draining: bool,
    ) -> Result<Result<(), OrderError>, Gone> {
        self.ask(|reply| Event::Drain(instance, draining, reply))
            .await
    }

    /// Sets whether an instance is quarantined.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn quarantine(
        &self,
        instance: InstanceName,
        quarantined: bool,
    ) -> Result<Result<(), OrderError>, Gone> {
        self.ask(|reply| Event::Quarantine(instance, quarantined, reply))
            .await
    }

    /// Tells all proxies' filters this from now on: JSON, as `filters/envoy` reads it. What is live goes on.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn configure_filters(&self, configuration: String) -> Result<(), Gone> {
        let event = Event::FilterConfiguration(configuration);
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Has all proxies present these to their clients from now on. What is live goes on.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn present(&self, certificates: Arc<Certificates>) -> Result<(), Gone> {
        let event = Event::Certificates(certificates);
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Tells all proxies how a pool's instances are to be reached from now on, if it is by TLS already. What is live goes
    /// on.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn reach_by_tls(&self, pool: PoolName, tls: InstanceTls) -> Result<(), Gone> {
        let event = Event::InstanceTls(pool, tls);
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Sends all proxies this module from now on. What is live goes on in the one it began with.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn replace_module(&self, module: Bytes) -> Result<(), Gone> {
        let event = Event::FilterModule(module);
        self.events.send(event).await.map_err(|_| Gone)
    }

    /// Asks for a session's end; false if there is no such session.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn terminate(&self, session: SessionId) -> Result<Result<bool, NotStored>, Gone> {
        self.ask(|reply| Event::Terminate(session, reply)).await
    }

    /// Revokes somebody or something.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn revoke(
        &self,
        revoke: Revoke,
    ) -> Result<Result<RevocationEffect, RevokeError>, Gone> {
        self.ask(|reply| Event::Revoke(revoke, reply)).await
    }

    /// Lifts a revocation; false if there is no such revocation.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn lift_revocation(&self, id: RevocationId) -> Result<Result<bool, NotStored>, Gone> {
        self.ask(|reply| Event::LiftRevocation(id, reply)).await
    }

    /// All revocations that hold, by id.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn revocations(&self) -> Result<Vec<RevocationStatus>, Gone> {
        self.ask(Event::Revocations).await
    }

    /// Another number whenever something has been revoked
    /// ([`Placement::revocations_seen`](crate::placement::Placement::revocations_seen)).
    pub fn revocations_seen(&self) -> u64 {
        self.revocations_seen.load(Ordering::Relaxed)
    }

    /// All instances, by name.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn instances(&self) -> Result<Vec<InstanceStatus>, Gone> {
        self.ask(Event::Instances).await
    }

    /// All sessions, by id.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn sessions(&self) -> Result<Vec<SessionView>, Gone> {
        self.ask(Event::Sessions).await
    }

    /// The metrics, in Prometheus' text format.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn metrics(&self) -> Result<String, Gone> {
        self.ask(Event::Metrics).await
    }

    async fn ask<T>(&self, event: impl FnOnce(Reply<T>) -> Event) -> Result<T, Gone> {
        ask_in(&self.events, event).await
    }
}

async fn ask_in<T>(
    line: &mpsc::Sender<Event>,
    event: impl FnOnce(Reply<T>) -> Event,
) -> Result<T, Gone> {
    let (reply, answer) = oneshot::channel();
    line.send(event(reply)).await.map_err(|_| Gone)?;
    answer.await.map_err(|_| Gone)
}

/// Waits for the answer to an Acquire; dropped before it came, it tells the task.
struct Waiting<'a> {
    answer: Option<oneshot::Receiver<Result<Placed, NotPlaced>>>,
    cancel: Option<Cancel>,
    cancels: &'a mpsc::UnboundedSender<Cancel>,
}

impl Waiting<'_> {
    async fn answer(mut self) -> Result<Result<Placed, NotPlaced>, Gone> {
        let answer = match &mut self.answer {
            Some(answer) => answer.await.map_err(|_| Gone),
            None => Err(Gone),
        };
        self.cancel = None;
        answer
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let Some(cancel) = self.cancel.take() {
            // First: a task that comes to the Acquire after this word of its end sees that nobody listens.
            self.answer = None;
            // A task that has ended has nobody waiting.
            let _ = self.cancels.send(cancel);
        }
    }
}

/// A full line makes callers wait, which is what a proxy that asks faster than it can be answered
/// should do.
const EVENTS: usize = 1024;

#[cfg(test)]
mod tests;
