//! The task that owns fleet, leases and what proxies are told. Everything that happens comes to it
//! as one closed kind of event, in one order; it puts each to the pure cores and carries out what
//! they say.

mod task;

use std::net::SocketAddr;
use std::sync::Arc;

use berth_admission::Family;
use tokio::sync::{mpsc, oneshot};

use crate::fleet::{self, Health};
use crate::placement::{
    Acquire, Close, Grant, InstanceName, InstanceView, Refusal, SessionId, SessionView, Sync,
};

pub use task::{Parts, run};

/// Speaks to the task. Cheap to clone; the task ends when all of them are gone.
#[derive(Clone, Debug)]
pub struct Controller {
    events: mpsc::Sender<Event>,
}

/// The task has ended: the process is stopping.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the control plane is stopping")]
pub struct Gone;

/// A grant with what a proxy needs to carry it out.
#[derive(Clone, Debug)]
pub struct Placed {
    /// The lease.
    pub grant: Grant,
    /// The cluster that holds the instance.
    pub cluster: Arc<str>,
    /// The instance's signaling socket.
    pub endpoint: SocketAddr,
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
    Acquire(Acquire, Reply<Result<Placed, Refusal>>),
    Check(Acquire, Reply<Result<(), Refusal>>),
    Drain(
        InstanceName,
        bool,
        Reply<Result<(), fleet::UnknownInstance>>,
    ),
    Instances(Reply<Vec<InstanceStatus>>),
    Metrics(Reply<String>),
    Sessions(Reply<Vec<SessionView>>),
    Sync(Sync, Reply<Vec<Close>>),
    Terminate(SessionId, Reply<bool>),
}

impl Controller {
    /// A controller and what its task listens to.
    pub(crate) fn channel() -> (Self, mpsc::Receiver<Event>) {
        let (events, receiver) = mpsc::channel(EVENTS);
        (Self { events }, receiver)
    }

    /// Asks for an instance; waits for the user's own for as long as the pool holds requests.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn acquire(&self, acquire: Acquire) -> Result<Result<Placed, Refusal>, Gone> {
        self.ask(|reply| Event::Acquire(acquire, reply)).await
    }

    /// What such an Acquire would be answered now.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn check(&self, acquire: Acquire) -> Result<Result<(), Refusal>, Gone> {
        self.ask(|reply| Event::Check(acquire, reply)).await
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
    ) -> Result<Result<(), fleet::UnknownInstance>, Gone> {
        self.ask(|reply| Event::Drain(instance, draining, reply))
            .await
    }

    /// Asks for a session's end; false if there is no such session.
    ///
    /// # Errors
    /// [`Gone`].
    pub async fn terminate(&self, session: SessionId) -> Result<bool, Gone> {
        self.ask(|reply| Event::Terminate(session, reply)).await
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
        let (reply, answer) = oneshot::channel();
        self.events.send(event(reply)).await.map_err(|_| Gone)?;
        answer.await.map_err(|_| Gone)
    }
}

/// A full queue makes callers wait, which is what a proxy that asks faster than it can be answered
/// should do.
const EVENTS: usize = 1024;
