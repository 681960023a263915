//! The controller's task.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use berth_admission::Family;
use tokio::sync::{mpsc, watch};
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::outbox::{Outbox, Word, WriterGone};
use super::{
    Cancel, Controller, Event, Events, InstanceStatus, NotPlaced, NotStored, OrderError, Placed,
    Reply,
};
use crate::clock::{self, AttendedClock, Clock};
use crate::fleet::{Change as FleetChange, ChangeKind, Fleet, Health, UnknownInstance};
use crate::metrics::{Metrics, Scrape};
use crate::placement::{
    Change, Effect, EndCause, Grant, InstanceName, NodeId, Origin, Outcome, Placement, PoolName,
    Refusal, ReportedEnd, RequestId, SessionId, Sync, Time, Zone,
};
use crate::probes::ProbeResult;
use crate::reach::Reach;
use crate::sessions::reason;
use crate::store::Stamp;
use crate::store::writer::{Journal, Progress};
use crate::xds::{
    ClusterSpec, EndpointHealth, EndpointSpec, Gateway, InvalidGateway, NodeEvent, StreamEvent,
    XdsServer, assign_clusters, generate,
};

/// What the task works with.
#[derive(Debug)]
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
    /// Remembers the leases.
    pub durability: Durability,
    /// The instances.
    pub fleet: Fleet,
    /// Which clients each pool serves.
    pub families: HashMap<PoolName, Family>,
    /// What proxies are told, apart from the instances: its pools have no clusters.
    pub gateway: Gateway,
    /// What proxies say of what they were told.
    pub nodes: mpsc::Receiver<NodeEvent>,
    /// The leases; knows the pools and the instances.
    pub placement: Placement,
    /// What the probes find.
    pub probes: mpsc::Receiver<ProbeResult>,
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

/// Starts the task.
///
/// # Errors
/// What proxies are to be told contradicts itself.
pub fn run(parts: Parts) -> Result<(Controller, impl Future<Output = Ended>), InvalidGateway> {
    let Durability {
        journal, progress, ..
    } = &parts.durability;
    let outbox = Outbox::new(journal.clone(), progress.clone());
    let (controller, events) = Controller::channel();
    let mut task = Task {
        clock: AttendedClock::new(parts.clock),
        parts,
        events,
        addresses: HashMap::new(),
        metrics: Metrics::default(),
        reach: Reach::default(),
        outbox,
        replies: HashMap::new(),
        unpublished: false,
    };
    task.publish()?;
    Ok((controller, task.run()))
}

struct Task {
    clock: AttendedClock,
    parts: Parts,
    events: Events,
    /// Where each instance is, as proxies are told.
    addresses: HashMap<InstanceName, (Arc<str>, SocketAddr)>,
    metrics: Metrics,
    outbox: Outbox,
    reach: Reach,
    /// Who waits for an answer, and since when.
    replies: HashMap<RequestId, (Time, Reply<Result<Placed, NotPlaced>>)>,
    /// The fleet has changed since proxies were told of it.
    unpublished: bool,
}

impl Task {
    async fn run(mut self) -> Ended {
        loop {
            let timeouts = [
                self.parts.placement.next_timeout(),
                self.outbox.next_timeout(),
            ];
            let timeout = timeouts.into_iter().flatten().min();
            let due = async {
                match timeout {
                    Some(at) => sleep_until(self.clock.at(at).into()).await,
                    None => std::future::pending().await,
                }
            };
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
                Some(event) = self.parts.nodes.recv() => self.handle_node(event),
                Some(result) = self.parts.probes.recv() => {
                    self.handle_probe(&result);
                    self.handle_more_probes();
                }
                () = due => {}
            }
            let now = self.now();
            self.parts.placement.advance(now);
            self.carry_out(now);
            self.publish_changes();
        }
    }

    fn now(&mut self) -> Time {
        self.clock.now(self.parts.placement.next_timeout())
    }

    fn handle(&mut self, event: Event) {
        let now = self.now();
        let placement = &mut self.parts.placement;
        match event {
            // A caller that has gone already would only stand in the queue.
            Event::Acquire(_, _, reply) if reply.is_closed() => {}
            Event::Acquire(_, acquire, reply) if self.outbox.is_failing() => {
                let refused = Err(NotPlaced::NotStored);
                self.answer(&acquire.session, Some((now, reply)), refused);
            }
            Event::Acquire(request, acquire, reply) => {
                self.replies.insert(request, (now, reply));
                placement.acquire(now, request, acquire);
            }
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
            Event::Instances(reply) => answer_to(reply, self.instances(now)),
            Event::Metrics(reply) => answer_to(reply, self.metrics(now)),
            Event::Quarantine(instance, quarantined, reply) => {
                let outcome = self.parts.fleet.quarantine(&instance, quarantined);
                self.order(reply, outcome);
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

    fn handle_node(&mut self, event: NodeEvent) {
        let now = self.now();
        if let Some((node, instances)) = self.reach.handle(&event) {
            self.parts.placement.set_reach(now, node, instances);
        }
        match event {
            NodeEvent::Connected { node, zone, .. } => {
                info!(node, zone, "proxy connected");
                let placement = &mut self.parts.placement;
                placement.set_zone(node.into(), zone.map(Zone::from));
            }
            NodeEvent::Disconnected { node, .. } => {
                info!(node, "proxy disconnected");
                let node = NodeId::from(node);
                if !self.reach.knows(&node) {
                    self.parts.placement.forget_node(now, &node);
                }
            }
            NodeEvent::Stream {
                event:
                    StreamEvent::Refused {
                        resource_type,
                        names,
                        error,
                    },
                node,
                ..
            } => {
                warn!(
                    node,
                    ?resource_type,
                    ?names,
                    error,
                    "proxy refused resources"
                );
                self.metrics.refused_resources(resource_type);
            }
            NodeEvent::Stream { .. } => {}
        }
    }

    /// Those that have come as well: proxies are told of all that changed at once, for to tell them
    /// costs as much for one instance as for all.
    fn handle_more_probes(&mut self) {
        for _ in 0..MORE_PROBES {
            let Ok(result) = self.parts.probes.try_recv() else {
                return;
            };
            self.handle_probe(&result);
        }
    }

    fn handle_probe(&mut self, result: &ProbeResult) {
        let now = self.now();
        let (instance, outcome) = (&result.instance, &result.result);
        let change = self
            .parts
            .fleet
            .handle_probe(instance, outcome.is_ok(), now);
        if let Some(change) = change {
            match outcome {
                Ok(()) => info!(%instance, "instance is up"),
                Err(failure) => warn!(%instance, %failure, "instance is down"),
            }
            self.fleet_changed(&change);
        }
    }

    /// Placement is told first: it stops granting before proxies hear of it, and what has come up
    /// is granted only to those that have heard.
    fn fleet_changed(&mut self, change: &FleetChange) {
        let now = self.now();
        let (placement, instance) = (&mut self.parts.placement, &change.instance);
        match change.kind {
            ChangeKind::Health { to, .. } => placement.set_up(now, instance, to == Health::Up),
            ChangeKind::Draining(draining) => {
                info!(%instance, draining, "by the operator's word");
                placement.set_draining(now, instance, draining);
                self.outbox.batch().drained(instance.clone(), draining);
            }
            ChangeKind::Quarantined(quarantined) => {
                info!(%instance, quarantined, "by the operator's word");
                placement.set_quarantined(now, instance, quarantined);
                let batch = self.outbox.batch();
                batch.quarantined(instance.clone(), quarantined);
            }
        }
        self.unpublished = true;
    }

    fn publish_changes(&mut self) {
        if !std::mem::take(&mut self.unpublished) {
            return;
        }
        // Only instances have changed since it was found consistent.
        if let Err(error) = self.publish() {
            warn!(%error, "proxies keep what they have");
        }
    }

    fn publish(&mut self) -> Result<(), InvalidGateway> {
        let mut gateway = self.parts.gateway.clone();
        for pool in &mut gateway.pools {
            let instances = self.endpoints(&pool.name);
            pool.clusters = assign_clusters(&pool.name, instances);
            for ClusterSpec { name, endpoints } in &pool.clusters {
                let cluster: Arc<str> = name.as_str().into();
                for endpoint in endpoints {
                    let instance = InstanceName::from(endpoint.instance.as_str());
                    let place = (Arc::clone(&cluster), endpoint.address);
                    self.addresses.insert(instance, place);
                }
            }
        }
        self.parts.xds.publish(generate(&gateway)?);
        Ok(())
    }

    fn endpoints(&self, pool: &str) -> Vec<EndpointSpec> {
        self.parts
            .fleet
            .pool(&pool.into())
            .map(|(name, instance)| EndpointSpec {
                instance: name.to_string(),
                address: instance.address(),
                health: match instance.health() {
                    Health::Unknown | Health::Down => EndpointHealth::Unhealthy,
                    Health::Up if instance.is_available() => EndpointHealth::Healthy,
                    // Who is on it may go on, and nobody new is sent to it.
                    Health::Up => EndpointHealth::Draining,
                },
            })
            .collect()
    }

    /// Does what placement wants done, as far as it is durable.
    fn carry_out(&mut self, now: Time) {
        loop {
            self.take_effects(now);
            self.outbox.hand_in(now);
            if !self.deliver(now) {
                return;
            }
        }
    }

    fn take_effects(&mut self, now: Time) {
        let stamp = Stamp {
            now,
            unix: clock::unix_millis(),
        };
        let placement = &mut self.parts.placement;
        while let Some(effect) = placement.poll_effect() {
            match effect {
                Effect::Answer {
                    request,
                    session,
                    outcome,
                } => self.outbox.say(Word::Answer {
                    request,
                    session,
                    outcome,
                }),
                Effect::Changed {
                    instance,
                    session,
                    fence,
                    change,
                } => log(&instance, &session, fence, change),
                Effect::Commit(instance) => {
                    let lease = placement.lease_record(&instance);
                    self.outbox.batch().lease(stamp, instance, lease);
                }
                Effect::Over(past) => self.outbox.batch().past(stamp, *past),
                // No instance has an agent yet.
                Effect::Agent { .. } => {}
            }
        }
        if !self.parts.durability.complete && !placement.is_learning() {
            self.parts.durability.complete = true;
            self.outbox.batch().learnt();
        }
    }

    /// Says what may be said. True if placement has been told something meanwhile.
    fn deliver(&mut self, now: Time) -> bool {
        let mut given_back = false;
        while let Some((word, durable)) = self.outbox.next(now) {
            match word {
                Word::Answer {
                    request,
                    session,
                    outcome,
                } => {
                    let answer = match outcome {
                        Outcome::Granted(grant) if durable => self.place(grant).map_err(Into::into),
                        Outcome::Granted(grant) => {
                            self.give_back(now, &session, grant);
                            given_back = true;
                            Err(NotPlaced::NotStored)
                        }
                        Outcome::Refused(refusal) => Err(refusal.into()),
                    };
                    let asked = self.replies.remove(&request);
                    self.answer(&session, asked, answer);
                }
                Word::Ordered(reply, done) => {
                    let stored = if durable {
                        Ok(())
                    } else {
                        Err(NotStored.into())
                    };
                    answer_to(reply, done.and(stored));
                }
                // A VM's word can be taken without a store: what is lost of it with this process,
                // its next Sync tells the next one.
                Word::Synced(reply, close) => answer_to(reply, close),
                Word::Terminated(reply, known) => {
                    let stored = durable || !known;
                    answer_to(reply, stored.then_some(known).ok_or(NotStored));
                }
            }
        }
        given_back
    }

    /// A grant of which nobody has been told, and nobody will be.
    fn give_back(&mut self, now: Time, session: &SessionId, grant: Grant) {
        let placement = &mut self.parts.placement;
        let Some(lease) = placement.lease_record(&grant.instance) else {
            return;
        };
        // As its VM says it when the client goes before the 101.
        placement.sync(
            now,
            Sync {
                origin: Origin {
                    node: lease.node,
                    vm: lease.vm,
                    sequence: lease.sequence,
                },
                sessions: None,
                ended: vec![ReportedEnd {
                    session: session.clone(),
                    fence: Some(grant.fence),
                    cause: EndCause::NotEstablished,
                }],
            },
        );
    }

    fn answer(
        &mut self,
        session: &SessionId,
        asked: Option<(Time, Reply<Result<Placed, NotPlaced>>)>,
        answer: Result<Placed, NotPlaced>,
    ) {
        if let Err(refusal) = &answer {
            let (reason, _) = reason(*refusal);
            info!(%session, reason = reason.label(), "refused");
            self.metrics.refused_session(reason);
        }
        if let Some((since, reply)) = asked {
            let outcome = if answer.is_ok() { "granted" } else { "refused" };
            let held = self.now().since(since);
            self.metrics.answered(outcome, held);
            answer_to(reply, answer);
        }
    }

    fn place(&self, grant: Grant) -> Result<Placed, Refusal> {
        // Placement knows the fleet's instances only, all of which have been published.
        let place = self.addresses.get(&grant.instance);
        let (cluster, endpoint) = place.cloned().ok_or(Refusal::Cancelled)?;
        Ok(Placed {
            grant,
            cluster,
            endpoint,
        })
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
            counts: self.parts.placement.counts(),
            instances: self.instances(now),
            learning: self.parts.placement.is_learning(),
            nodes: self.reach.connected(),
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

fn log(
    instance: &InstanceName,
    session: &SessionId,
    fence: crate::placement::Fence,
    change: Change,
) {
    match change {
        Change::Activated => info!(%session, %instance, %fence, "established"),
        Change::Adopted => info!(%session, %instance, %fence, "learnt of a live session"),
        Change::Ended { cause, resumable } => {
            info!(%session, %instance, %fence, ?cause, resumable, "ended");
        }
        Change::Freed => info!(%session, %instance, %fence, "instance is free"),
        Change::Orphaned => warn!(%session, %instance, %fence, "its proxy is silent"),
        Change::Reclaimed => info!(%session, %instance, %fence, "its proxy is back"),
        Change::ReleasedOrphan => {
            warn!(%session, %instance, %fence, "given up: its proxy was silent for too long");
        }
        Change::Reserved => info!(%session, %instance, %fence, "instance leased"),
    }
}

/// Events of other kinds wait for no more than this many results of probes.
const MORE_PROBES: usize = 1024;
