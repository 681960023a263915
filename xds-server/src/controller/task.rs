//! The controller's task.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use berth_admission::Family;
use tokio::sync::mpsc;
use tokio::time::sleep_until;
use tracing::{info, warn};

use super::{Controller, Event, InstanceStatus, Placed, Reply};
use crate::clock::{AttendedClock, Clock};
use crate::fleet::{Change as FleetChange, ChangeKind, Fleet, Health};
use crate::metrics::{Metrics, Scrape};
use crate::placement::{
    Change, Effect, Grant, InstanceName, Outcome, Placement, PoolName, Refusal, RequestId,
    SessionId, Time,
};
use crate::probes::ProbeResult;
use crate::reach::Reach;
use crate::sessions::reason;
use crate::xds::{
    ClusterSpec, EndpointHealth, EndpointSpec, Gateway, InvalidGateway, NodeEvent, StreamEvent,
    XdsServer, assign_clusters, generate,
};

/// What the task works with.
#[derive(Debug)]
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
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

/// Starts the task. It ends when the last [`Controller`] is gone.
///
/// # Errors
/// What proxies are to be told contradicts itself.
pub fn run(parts: Parts) -> Result<(Controller, impl Future<Output = ()>), InvalidGateway> {
    let (controller, events) = Controller::channel();
    let mut task = Task {
        clock: AttendedClock::new(parts.clock),
        parts,
        events,
        addresses: HashMap::new(),
        metrics: Metrics::default(),
        reach: Reach::default(),
        replies: HashMap::new(),
        requests: 0,
        unpublished: false,
    };
    task.publish()?;
    Ok((controller, task.run()))
}

struct Task {
    clock: AttendedClock,
    parts: Parts,
    events: mpsc::Receiver<Event>,
    /// Where each instance is, as proxies are told.
    addresses: HashMap<InstanceName, (Arc<str>, SocketAddr)>,
    metrics: Metrics,
    reach: Reach,
    replies: HashMap<RequestId, Reply<Result<Placed, Refusal>>>,
    requests: u64,
    /// The fleet has changed since proxies were told of it.
    unpublished: bool,
}

impl Task {
    async fn run(mut self) {
        loop {
            let timeout = self.parts.placement.next_timeout();
            let due = async {
                match timeout {
                    Some(at) => sleep_until(self.clock.at(at).into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                event = self.events.recv() => match event {
                    Some(event) => self.handle(event),
                    None => return,
                },
                Some(event) = self.parts.nodes.recv() => self.handle_node(&event),
                Some(result) = self.parts.probes.recv() => {
                    self.handle_probe(&result);
                    self.handle_more_probes();
                }
                () = due => {}
            }
            let now = self.now();
            self.parts.placement.advance(now);
            self.carry_out();
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
            Event::Acquire(acquire, reply) => {
                self.requests += 1;
                let request = RequestId(self.requests);
                self.replies.insert(request, reply);
                placement.acquire(now, request, acquire);
            }
            Event::Check(acquire, reply) => answer_to(reply, placement.check(now, &acquire)),
            Event::Drain(instance, draining, reply) => {
                let outcome = self.parts.fleet.drain(&instance, draining);
                let done = outcome.map(|change| {
                    if let Some(change) = change {
                        self.fleet_changed(&change);
                    }
                });
                answer_to(reply, done);
            }
            Event::Instances(reply) => answer_to(reply, self.instances(now)),
            Event::Metrics(reply) => answer_to(reply, self.metrics(now)),
            Event::Sessions(reply) => {
                let mut sessions: Vec<_> = placement.sessions(now).collect();
                sessions.sort_by(|a, b| a.session.cmp(&b.session));
                answer_to(reply, sessions);
            }
            Event::Sync(sync, reply) => answer_to(reply, placement.sync(now, sync)),
            Event::Terminate(session, reply) => {
                let known = placement.terminate(now, &session);
                if known {
                    info!(%session, "the operator terminates the session");
                }
                answer_to(reply, known);
            }
        }
    }

    fn handle_node(&mut self, event: &NodeEvent) {
        match event {
            NodeEvent::Connected { node, .. } => info!(node, "proxy connected"),
            NodeEvent::Disconnected { node, .. } => info!(node, "proxy disconnected"),
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
                self.metrics.refused_resources(*resource_type);
            }
            NodeEvent::Stream { .. } => {}
        }
        if let Some((node, instances)) = self.reach.handle(event) {
            let now = self.now();
            self.parts.placement.set_reach(now, node, instances);
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
            ChangeKind::Draining(draining) => placement.set_draining(now, instance, draining),
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
                    Health::Up if instance.is_draining() => EndpointHealth::Draining,
                    Health::Up => EndpointHealth::Healthy,
                },
            })
            .collect()
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.parts.placement.poll_effect() {
            match effect {
                Effect::Answer {
                    request,
                    session,
                    outcome,
                } => self.answer(request, &session, outcome),
                Effect::Changed {
                    instance,
                    session,
                    fence,
                    change,
                } => log(&instance, &session, fence, change),
                Effect::Agent { .. } | Effect::Commit(_) | Effect::Over(_) => {}
            }
        }
    }

    fn answer(&mut self, request: RequestId, session: &SessionId, outcome: Outcome) {
        let answer = match outcome {
            Outcome::Granted(grant) => self.place(grant),
            Outcome::Refused(refusal) => Err(refusal),
        };
        if let Err(refusal) = &answer {
            let (reason, _) = reason(*refusal);
            info!(%session, reason = reason.label(), "refused");
            self.metrics.refused_session(reason);
        }
        if let Some(reply) = self.replies.remove(&request) {
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

    fn metrics(&self, now: Time) -> String {
        self.metrics.render(&Scrape {
            counts: self.parts.placement.counts(),
            instances: self.instances(now),
            learning: self.parts.placement.is_learning(),
            nodes: self.reach.connected(),
            waiting: self.parts.placement.waiting(),
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
