//! The instances, and what is known of their health. Pure: results of probes and the operator's
//! words come in with the time they came at, changes go out.
//!
//! Whether an instance is leased is `placement`'s business. This module only answers whether an
//! instance may be given to anybody new: it may while it is up, not draining and not quarantined.

use std::{collections::BTreeMap, net::SocketAddr};

pub use health::{Health, Thresholds};

use crate::placement::{InstanceName, PoolName};

mod health;
#[cfg(test)]
mod tests;

/// Every instance of every pool, by name.
#[derive(Debug, Clone)]
pub struct Fleet {
    instances: BTreeMap<InstanceName, Instance>,
}

/// What an instance is from the start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Unique in the fleet.
    pub name: InstanceName,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// Its signaling socket.
    pub address: SocketAddr,
    /// How many results in a row make it up or down.
    pub thresholds: Thresholds,
}

/// One CloudXR server instance.
#[derive(Debug, Clone)]
pub struct Instance {
    pool: PoolName,
    address: SocketAddr,
    monitor: health::Monitor,
    draining: bool,
    quarantined: bool,
}

/// Something about an instance that others have to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The instance that changed.
    pub instance: InstanceName,
    /// What changed.
    pub kind: ChangeKind,
}

/// What changed about an instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// It went from one state of health to another.
    Health {
        /// Before.
        from: Health,
        /// Now.
        to: Health,
    },
    /// Draining began (`true`) or was called off (`false`).
    Draining(bool),
    /// Quarantine began (`true`) or was called off (`false`).
    Quarantined(bool),
}

/// The fleet has no instance of this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no instance `{0}`")]
pub struct UnknownInstance(pub InstanceName);

impl Fleet {
    /// A fleet of which nothing is known yet: no instance is up, none drains or is quarantined. Of
    /// two instances of one name the later counts; a valid configuration has no such pair.
    pub fn new(instances: impl IntoIterator<Item = InstanceSpec>) -> Self {
        let instances = instances
            .into_iter()
            .map(|spec| {
                let instance = Instance {
                    pool: spec.pool,
                    address: spec.address,
                    monitor: health::Monitor::new(spec.thresholds),
                    draining: false,
                    quarantined: false,
                };
                (spec.name, instance)
            })
            .collect();
        Self { instances }
    }

    /// The instance of this name.
    pub fn get(&self, name: &InstanceName) -> Option<&Instance> {
        self.instances.get(name)
    }

    /// All instances, in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&InstanceName, &Instance)> {
        self.instances.iter()
    }

    /// The instances of one pool, in the order of their names.
    pub fn pool(&self, pool: &PoolName) -> impl Iterator<Item = (&InstanceName, &Instance)> {
        self.iter()
            .filter(move |(_, instance)| instance.pool == *pool)
    }

    /// Takes in one result of a probe. A result for an instance that is not in the fleet changes
    /// nothing: its probe may have been under way when it was removed.
    pub fn handle_probe(&mut self, name: &InstanceName, ok: bool) -> Option<Change> {
        let instance = self.instances.get_mut(name)?;
        let (from, to) = instance.monitor.record(ok)?;
        Some(Change {
            instance: name.clone(),
            kind: ChangeKind::Health { from, to },
        })
    }

    /// Starts (`true`) or calls off (`false`) the draining of an instance. No change if that is
    /// what it already does.
    ///
    /// # Errors
    /// [`UnknownInstance`] if there is none of this name.
    pub fn drain(
        &mut self,
        name: &InstanceName,
        draining: bool,
    ) -> Result<Option<Change>, UnknownInstance> {
        let instance = self.known(name)?;
        let changed = std::mem::replace(&mut instance.draining, draining) != draining;
        Ok(changed.then(|| Change {
            instance: name.clone(),
            kind: ChangeKind::Draining(draining),
        }))
    }

    /// Starts (`true`) or calls off (`false`) the quarantine of an instance. No change if that is
    /// what it already is in.
    ///
    /// # Errors
    /// [`UnknownInstance`] if there is none of this name.
    pub fn quarantine(
        &mut self,
        name: &InstanceName,
        quarantined: bool,
    ) -> Result<Option<Change>, UnknownInstance> {
        let instance = self.known(name)?;
        let changed = std::mem::replace(&mut instance.quarantined, quarantined) != quarantined;
        Ok(changed.then(|| Change {
            instance: name.clone(),
            kind: ChangeKind::Quarantined(quarantined),
        }))
    }

    fn known(&mut self, name: &InstanceName) -> Result<&mut Instance, UnknownInstance> {
        let instance = self.instances.get_mut(name);
        instance.ok_or_else(|| UnknownInstance(name.clone()))
    }
}

impl Instance {
    /// The pool it belongs to.
    pub fn pool(&self) -> &PoolName {
        &self.pool
    }

    /// Its signaling socket.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What its probes say.
    pub fn health(&self) -> Health {
        self.monitor.health()
    }

    /// Admits nobody new; a live session finishes, and may resume.
    pub fn is_draining(&self) -> bool {
        self.draining
    }

    /// Admits nobody, not even the client that was on it last; a live session finishes.
    pub fn is_quarantined(&self) -> bool {
        self.quarantined
    }

    /// May be given to somebody new.
    pub fn is_available(&self) -> bool {
        self.health() == Health::Up && !self.draining && !self.quarantined
    }
}
