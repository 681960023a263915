//! The controller's task: what comes in, and what can be asked of it.

mod fleet;
mod words;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use berth_admission::Family;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tracing::info;

use super::outbox::{Outbox, Word, WriterGone};
use super::window::Window;
use super::{
    Cancel, Controller, Event, Events, InstanceStatus, NotPlaced, OrderError, Placed, Reply,
    RevocationStatus, RevokeError,
};
use crate::certificates::CertificateStatus;
use crate::clock::{self, AttendedClock, Clock};
use crate::fleet::{Change as FleetChange, Fleet, UnknownInstance};
use crate::keys::IssuerKeys;
use crate::metrics::{Metrics, Scrape};
use crate::placement::{Placement, PoolName, RequestId, RevocationEffect, RevocationsFull, Time};
use crate::probes::ProbeResult;
use crate::reach::Reach;
use crate::static_proxies::StaticProxies;
use crate::store::Stamp;
use crate::store::writer::{Journal, Progress};
use crate::tls::Denials;
use crate::xds::{Generator, Inconsistent, InvalidInstance, NodeEvent, XdsServer};

/// What the task works with.
#[derive(Debug)]
pub struct Parts {
    /// What became of the certificates' files, for the metrics.
    pub certificates: watch::Receiver<Arc<[CertificateStatus]>>,
    /// Tells the time.
    pub clock: Clock,
    /// Whom the xDS port has turned away, for the metrics.
    pub denials: Denials,
    /// Remembers the leases.
    pub durability: Durability,
    /// The instances.
    pub fleet: Fleet,
    /// Which clients each pool serves.
    pub families: HashMap<PoolName, Family>,
    /// The keys that admission uses, for the metrics.
    pub keys: watch::Receiver<Arc<[IssuerKeys]>>,
    /// Makes what proxies are told; knows the pools, and no instances yet.
    pub generator: Generator,
    /// What proxies say of what they were told.
    pub nodes: mpsc::Receiver<NodeEvent>,
    /// The leases; knows the pools and the instances.
    pub placement: Placement,
    /// What the probes find.
    pub probes: mpsc::Receiver<ProbeResult>,
    /// Proxies that reach what the operator says, whatever they take over xDS.
    pub static_proxies: StaticProxies,
    /// Tells proxies.
    pub xds: XdsServer,
}

/// What has to outlive the process.
#[derive(Debug)]
pub struct Durability {
    /// Takes it.
    pub journal: Journal,
    /// Says what of it is durable.
    pub progress: watch::Receiver<Progress>,
    /// The store has every lease that placement has.
    pub complete: bool,
}

/// Why the task has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nobody has a [`Controller`] any more.
    Unused,
    /// Nothing can be made durable any more, so nothing may be granted.
    WriterGone,
}

/// Why the task cannot start: what proxies are to be told contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStart {
    /// The gateway does.
    #[error(transparent)]
    Gateway(#[from] Inconsistent),
    /// An instance of the fleet does.
    #[error(transparent)]
    Instance(#[from] InvalidInstance),
}

/// Starts the task.
///
/// # Errors
/// [`InvalidStart`].
pub fn run(parts: Parts) -> Result<(Controller, impl Future<Output = Ended>), InvalidStart> {
    let Durability {
        journal, progress, ..
    } = &parts.durability;
    let outbox = Outbox::new(journal.clone(), progress.clone());
    let (controller, events) = Controller::channel();
    let mut task = Task {
        clock: AttendedClock::new(parts.clock),
        parts,
        events,
        metrics: Metrics::default(),
        reach: Reach::default(),
        outbox,
        replies: HashMap::new(),
        window: Window::default(),
    };
    task.add_instances()?;
    task.publish()?;
    Ok((controller, task.run()))
}

struct Task {
    clock: AttendedClock,
    parts: Parts,
    events: Events,
    metrics: Metrics,
    outbox: Outbox,
    reach: Reach,
    /// Who waits for an answer, and since when.
    replies: HashMap<RequestId, (Time, Reply<Result<Placed, NotPlaced>>)>,
    /// When proxies are told of what has changed.
    window: Window,
}

impl Task {
    async fn run(mut self) -> Ended {
        loop {
            let timeouts = [
                self.parts.placement.next_timeout(),
                self.outbox.next_timeout(),
                self.window.next_timeout(),
            ];
            let timeout = timeouts.into_iter().flatten().min();
            let due = sleep_until(self.clock.wake_at(timeout).into());
            tokio::select! {
                event = self.events.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return Ended::Unused,
                },
                Some(event) = self.events.asks.recv() => self.handle(event),
                changed = self.outbox.changed() => if let Err(WriterGone) = changed {
                    return Ended::WriterGone;
                },
                Some(cancel) = self.events.cancels.recv() => self.handle_cancel(&cancel),
                Some(event) = self.parts.nodes.recv() => self.handle_nodes(event),
                Some(result) = self.parts.probes.recv() => {
                    self.handle_probe(&result);
                    self.handle_more_probes();
                }
                () = due => {}
            }
            let now = self.now();
            self.parts.placement.advance(now);
            self.carry_out(now);
            self.publish_changes(now);
        }
    }

    fn now(&mut self) -> Time {
        self.clock.now(self.parts.placement.next_timeout())
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        self.hear(now, &event);
        let placement = &mut self.parts.placement;
        match event {
            // A caller that has gone already would only stand in the queue.
            Event::Acquire(_, _, reply) if reply.is_closed() => {}
            // Who is known asks again: what it has or waits for is taken back with the refusal.
            Event::Acquire(_, acquire, reply)
                if self.outbox.is_failing() && !placement.knows(&acquire.session) =>
            {
                let refused = Err(NotPlaced::NotStored);
                self.answer(&acquire.session, Some((now, reply)), refused);
            }
            Event::Acquire(request, acquire, reply) => {
                self.replies.insert(request, (now, reply));
                placement.acquire(now, request, acquire);
            }
            Event::Certificates(certificates) => self.present(&certificates),
            Event::Check(_, reply) if self.outbox.is_failing() => {
                answer_to(reply, Err(NotPlaced::NotStored));
            }
            Event::Check(acquire, reply) => {
                let outcome = placement.check(now, &acquire);
                answer_to(reply, outcome.map_err(NotPlaced::from));
            }
            Event::Drain(instance, draining, reply) => {
                let outcome = self.parts.fleet.drain(&instance, draining);
                self.order(reply, outcome);
            }
            Event::FilterConfiguration(configuration) => self.configure_filters(configuration),
            Event::FilterModule(module) => self.replace_module(module),
            Event::Instances(reply) => answer_to(reply, self.instances(now)),
            Event::InstanceTls(pool, tls) => self.reach_by_tls(&pool, tls),
            Event::LiftRevocation(id, reply) => {
                let known = placement.lift_revocation(id);
                if known {
                    info!(%id, "the operator lifts the revocation");
                }
                self.outbox.say(Word::Lifted(reply, known));
            }
            Event::Metrics(reply) => answer_to(reply, self.metrics(now)),
            Event::Quarantine(instance, quarantined, reply) => {
                let outcome = self.parts.fleet.quarantine(&instance, quarantined);
                self.order(reply, outcome);
            }
            Event::Revocations(reply) => answer_to(reply, self.revocations(now)),
            Event::Revoke(revoke, reply) => {
                let done = placement.revoke(now, revoke);
                if let Ok(RevocationEffect {
                    id,
                    closing,
                    refused,
                }) = done
                {
                    info!(%id, closing, refused, "the operator revokes");
                }
                let done = done.map_err(|RevocationsFull| RevokeError::Full);
                self.outbox.say(Word::Revoked(reply, done));
            }
            Event::Sessions(reply) => {
                let mut sessions: Vec<_> = placement.sessions(now).collect();
                sessions.sort_by(|a, b| a.session.cmp(&b.session));
                answer_to(reply, sessions);
            }
            Event::Sync(sync, reply) => {
                let close = placement.sync(now, sync);
                self.outbox.say(Word::Synced(reply, close));
            }
            Event::Terminate(session, reply) => {
                let known = placement.terminate(now, &session);
                if known {
                    info!(%session, "the operator terminates the session");
                }
                self.outbox.say(Word::Terminated(reply, known));
            }
        }
    }

    fn handle_cancel(&mut self, Cancel { request, session }: &Cancel) {
        let now = self.now();
        // Without a reply it was answered, or never asked.
        if self.replies.remove(request).is_some() {
            self.parts.placement.cancel(now, *request, session);
        }
    }

    /// Does what the operator ordered.
    fn order(
        &mut self,
        reply: Reply<Result<(), OrderError>>,
        outcome: Result<Option<FleetChange>, UnknownInstance>,
    ) {
        let done = outcome.map(|change| {
            if let Some(change) = change {
                self.fleet_changed(&change);
            }
        });
        let done = done.map_err(OrderError::from);
        self.outbox.say(Word::Ordered(reply, done));
    }

    fn instances(&self, now: Time) -> Vec<InstanceStatus> {
        let mut instances: Vec<_> = self
            .parts
            .placement
            .instances(now)
            .filter_map(|view| {
                let known = self.parts.fleet.get(&view.name)?;
                Some(InstanceStatus {
                    address: known.address(),
                    health: known.health(),
                    family: *self.parts.families.get(&view.pool)?,
                    view,
                })
            })
            .collect();
        instances.sort_by(|a, b| a.view.name.cmp(&b.view.name));
        instances
    }

    fn revocations(&self, now: Time) -> Vec<RevocationStatus> {
        let stamp = Stamp {
            now,
            unix: clock::unix_millis(),
        };
        let revocations = self.parts.placement.revocations();
        revocations
            .map(|revocation| RevocationStatus {
                revocation: revocation.clone(),
                since: stamp.to_unix(revocation.since),
                until: stamp.to_unix(revocation.until),
            })
            .collect()
    }

    /// How many wait in each pool.
    fn waiting(&self, now: Time) -> BTreeMap<PoolName, usize> {
        let pools = self.parts.families.keys();
        let mut waiting: BTreeMap<_, _> = pools.map(|pool| (pool.clone(), 0)).collect();
        for session in self.parts.placement.sessions(now) {
            if session.instance.is_none()
                && let Some(count) = waiting.get_mut(&session.pool)
            {
                *count += 1;
            }
        }
        waiting
    }

    fn metrics(&self, now: Time) -> String {
        self.metrics.render(&Scrape {
            certificates: &self.parts.certificates.borrow(),
            counts: self.parts.placement.counts(),
            denials: &self.parts.denials,
            instances: self.instances(now),
            keys: &self.parts.keys.borrow(),
            now: self.parts.clock.now(),
            learning: self.parts.placement.is_learning(),
            nodes: self.reach.connected(),
            revocations: self.parts.placement.revocations().len(),
            store_failing: self.outbox.is_failing(),
            store: self.outbox.progress(),
            waiting: self.waiting(now),
        })
    }
}

/// A caller that no longer listens needs no answer.
fn answer_to<T>(reply: Reply<T>, answer: T) {
    let _ = reply.send(answer);
}
