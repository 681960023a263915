//! What is left once everybody has gone: nothing (I2).

use super::{World, operator};
use crate::placement::{Acquire, InstanceName, Origin, Placement, Priority, Refusal};
use crate::schedule::Severity;

impl World {
    /// I2: everybody has left.
    pub(crate) fn check_quiet(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let now = self.plane.time(self.now);
        let streams: usize = self
            .instances
            .iter()
            .map(|instance| instance.streams.len())
            .sum();
        let busy = self.proxies.iter().flat_map(|proxy| &proxy.vms);
        let busy = busy.filter(|vm| !vm.is_idle()).count();
        if streams + busy > 0 {
            return self.violate("quiet", || {
                format!("{streams} streams and {busy} VMs are left in the world")
            });
        }
        let Some(machine) = self.plane.machine.as_ref() else {
            return self.violate("quiet", || "the control plane does not run".to_owned());
        };
        let leases: Vec<_> = machine
            .instances(now)
            .filter_map(|view| Some((view.name, view.lease?.state)))
            .collect();
        let (waiting, idle) = (machine.waiting(), machine.is_idle());
        if !leases.is_empty() || waiting > 0 || !idle {
            return self.violate("I2", || {
                format!("left: {leases:?}, {waiting} waiting, idle: {idle}")
            });
        }
        if !self.plane.store.is_empty() {
            self.violate("I2", || "leases are left in the journal".to_owned());
        }
    }

    /// I2, of what an instance is for: each can be had again.
    pub(crate) fn check_usable(&mut self) {
        let names: Vec<InstanceName> = self
            .instances
            .iter()
            .filter(|instance| !instance.drained && !instance.quarantined)
            .map(|instance| instance.spec.name.clone())
            .collect();
        for name in &names {
            if self.violation.is_some() {
                return;
            }
            if let Err(refusal) = self.can_be_had(&names, name) {
                self.violate("I2", || format!("nobody can be given {name}: {refusal:?}"));
            }
        }
    }

    /// Whether somebody who has nothing would be given this one, were it the only one.
    fn can_be_had(&mut self, all: &[InstanceName], name: &InstanceName) -> Result<(), Refusal> {
        let now = self.plane.time(self.now);
        let node = self.proxies.iter().find(|proxy| {
            let reached = self.audit.reach.get(&proxy.node);
            reached.is_some_and(|reached| reached.contains(name))
        });
        let instance = self
            .instances
            .iter()
            .find(|instance| instance.spec.name == *name);
        let (Some(node), Some(instance)) = (node, instance) else {
            return Ok(());
        };
        let policy = self.policy(&instance.spec.pool);
        if policy.is_none_or(|policy| !policy.tenants.is_empty()) {
            return Ok(());
        }
        let acquire = Acquire {
            origin: Origin {
                node: node.node.clone(),
                vm: "somebody".into(),
                sequence: 1,
            },
            session: "somebody".into(),
            pool: instance.spec.pool.clone(),
            owner: operator::owner(0),
            client_address: "192.0.2.0".into(),
            priority: Priority(0),
            labels: operator::labels(false),
            token_id: None,
        };
        let Some(machine) = self.plane.machine.as_mut() else {
            return Ok(());
        };
        for other in all {
            machine.set_quarantined(now, other, other != name);
        }
        machine.check(now, &acquire)
    }

    /// I2, of what is remembered.
    pub(crate) fn check_forgotten(&mut self) {
        let known = self.plane.machine.as_ref().map_or(0, Placement::known_vms);
        if known > 0 && self.violation.is_none() {
            self.violate("I2", || format!("{known} VMs are remembered for ever"));
        }
    }

    /// Mild schedules have no fault that excuses anything.
    pub(crate) fn check_mild(&mut self) {
        let excused = self
            .coverage
            .iter()
            .find(|(what, _)| what.starts_with("overlap"));
        if let (Severity::Mild, Some((what, _))) = (self.severity, excused) {
            self.violate("I1", || format!("{what}, where nothing excuses it"));
        }
    }
}
