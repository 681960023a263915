//! What the task does when the fleet or a proxy changes.

use tracing::{info, warn};

use tonic::codegen::Bytes;

use super::{Event, Task};
use crate::fleet::{Change, ChangeKind, Health, Instance};
use crate::placement::{InstanceName, NodeId, PoolName, Time, Zone};
use crate::probes::ProbeResult;
use crate::reach::ReachChange;
use crate::xds::{
    Certificates, EndpointHealth, EndpointSpec, Inconsistent, InstanceTls, InvalidInstance, Module,
    NodeEvent, Published, StreamEvent,
};

impl Task {
    /// Takes an event and those that have come as well, in their order: a thousand proxies acknowledge one change
    /// at about the same time, and what follows a turn of the task's loop costs as much for one as for all.
    pub(super) fn handle_nodes(&mut self, first: NodeEvent) {
        let mut instances = self.handle_node(first);
        for _ in 0..MORE_NODES {
            if instances >= MORE_INSTANCES {
                return;
            }
            let Ok(event) = self.parts.nodes.try_recv() else {
                return;
            };
            instances += self.handle_node(event);
        }
    }

    /// Takes an event; how many instances its proxy can be sent to since and could not before, or no longer.
    fn handle_node(&mut self, event: NodeEvent) -> usize {
        let now = self.now();
        let mut instances = 0;
        let change = self.reach.handle(&event);
        let statics = &self.parts.static_proxies;
        let change = change.filter(|change| !statics.has(&change.node));
        if let Some(ReachChange { node, gained, lost }) = change {
            let placement = &mut self.parts.placement;
            placement.change_reach(now, &node, &gained, &lost);
            instances = gained.len() + lost.len();
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
                if !self.reach.knows(&node) && !self.parts.static_proxies.has(&node) {
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
        instances
    }

    /// A proxy that acknowledges nothing is heard of when its filter speaks.
    pub(super) fn hear(&mut self, now: Time, event: &Event) {
        let node = match event {
            Event::Acquire(_, acquire, _) | Event::Check(acquire, _) => &acquire.origin.node,
            Event::Sync(sync, _) => &sync.origin.node,
            _ => return,
        };
        let (statics, placement) = (&mut self.parts.static_proxies, &mut self.parts.placement);
        let Some(reach) = statics.hear(now, node) else {
            return;
        };
        info!(%node, "proxy that takes nothing over xDS");
        placement.set_zone(node.clone(), reach.zone.clone());
        placement.change_reach(now, node, &reach.instances, &[]);
        for node in statics.forget_silent(now) {
            placement.forget_node(now, &node);
        }
    }

    /// Those that have come as well: what follows a turn of the task's loop costs as much for one as for all.
    pub(super) fn handle_more_probes(&mut self) {
        for _ in 0..MORE_PROBES {
            let Ok(result) = self.parts.probes.try_recv() else {
                return;
            };
            self.handle_probe(&result);
        }
    }

    pub(super) fn handle_probe(&mut self, result: &ProbeResult) {
        let (instance, outcome) = (&result.instance, &result.result);
        let change = self.parts.fleet.handle_probe(instance, outcome.is_ok());
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
    pub(super) fn fleet_changed(&mut self, change: &Change) {
        let now = self.now();
        let (placement, instance) = (&mut self.parts.placement, &change.instance);
        match change.kind {
            ChangeKind::Health { to, .. } => placement.set_up(now, instance, to == Health::Up),
            ChangeKind::Draining(draining) => {
                info!(%instance, draining, "the operator has said whether it drains");
                placement.set_draining(now, instance, draining);
                self.outbox.batch().drained(instance.clone(), draining);
            }
            ChangeKind::Quarantined(quarantined) => {
                info!(%instance, quarantined, "the operator has said whether it is quarantined");
                placement.set_quarantined(now, instance, quarantined);
                let batch = self.outbox.batch();
                batch.quarantined(instance.clone(), quarantined);
            }
        }
        self.set_instance(&change.instance);
    }

    /// Proxies take it without a new listener, so no session ends by it.
    pub(super) fn configure_filters(&mut self, configuration: String) {
        match self.parts.generator.set_filter_configuration(configuration) {
            Ok(()) => self.window.change(),
            Err(error) => warn!(%error, "filters keep the configuration that they have"),
        }
    }

    /// Sessions that live go on in the module that they began with.
    pub(super) fn replace_module(&mut self, module: Bytes) {
        match self.parts.generator.set_module(Module::Inline(module)) {
            Ok(()) => self.window.change(),
            Err(error) => warn!(%error, "filters keep the module that they have"),
        }
    }

    /// The same: listeners know the certificates' names only.
    pub(super) fn present(&mut self, certificates: &Certificates) {
        self.parts.generator.set_certificates(certificates);
        self.window.change();
    }

    /// Proxies take that too without a new cluster, so no session ends by it.
    pub(super) fn reach_by_tls(&mut self, pool: &PoolName, tls: InstanceTls) {
        if self.parts.generator.set_instance_tls(pool.as_str(), tls) {
            self.window.change();
            info!(%pool, "proxies are told of other certificates for its instances");
        }
    }

    /// Tells proxies of what has changed, when it is time.
    pub(super) fn publish_changes(&mut self, now: Time) {
        if !self.window.is_due(now) {
            return;
        }
        // Neither instances nor the filters' configuration can make it inconsistent.
        if let Err(error) = self.publish() {
            warn!(%error, "proxies keep what they have");
        }
    }

    pub(super) fn publish(&mut self) -> Result<(), Inconsistent> {
        let Published { views, changed } = self.parts.generator.publish()?;
        self.metrics.published(changed);
        self.parts.xds.publish(&views);
        Ok(())
    }

    /// Those that the fleet has from the start.
    pub(super) fn add_instances(&mut self) -> Result<(), InvalidInstance> {
        let generator = &mut self.parts.generator;
        for (name, instance) in self.parts.fleet.iter() {
            generator.set_instance(instance.pool().as_str(), endpoint(name, instance))?;
        }
        Ok(())
    }

    fn set_instance(&mut self, name: &InstanceName) {
        let Some(instance) = self.parts.fleet.get(name) else {
            return;
        };
        let (pool, endpoint) = (instance.pool().as_str(), endpoint(name, instance));
        match self.parts.generator.set_instance(pool, endpoint) {
            Ok(()) => self.window.change(),
            Err(error) => warn!(instance = %name, %error, "proxies are not told of the instance"),
        }
    }
}

fn endpoint(name: &InstanceName, instance: &Instance) -> EndpointSpec {
    EndpointSpec {
        instance: name.to_string(),
        address: instance.address(),
        health: match instance.health() {
            Health::Unknown | Health::Down => EndpointHealth::Unhealthy,
            Health::Up if instance.is_available() => EndpointHealth::Healthy,
            // Who is on it may go on, and nobody new is sent to it.
            Health::Up => EndpointHealth::Draining,
        },
    }
}

/// Events of other kinds wait for no more than this many results of probes.
const MORE_PROBES: usize = 1024;

/// Nor for more than this many of what proxies say.
const MORE_NODES: usize = 1024;

/// Nor for more once what proxies said has been about this many instances: a fleet that is acknowledged for the first
/// time is work for a turn by itself.
const MORE_INSTANCES: usize = 4096;
