//! An instance's slot, and the one lease it can hold.

use std::sync::Arc;

use super::agent::Agent;
use super::choice::Shelved;
use super::keys::{HostKey, PoolKey, SessionKey, UserKey};
use super::reach::ClassKey;
use super::types::{Acquire, Fence, InstanceSpec, Pick, RequestId, Time};

/// An instance as placement sees it. It has room for one lease: that no two sessions share an
/// instance is a matter of this type.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) spec: InstanceSpec,
    pub(super) pool: PoolKey,
    pub(super) host: HostKey,
    /// Its probes pass.
    pub(super) up: bool,
    /// It has been up for as long as its pool wants.
    pub(super) warm: bool,
    pub(super) warm_at: Time,
    pub(super) draining: bool,
    pub(super) quarantined: bool,
    /// `None` where no agent is expected.
    pub(super) agent: Option<Agent>,
    /// The proxies that can be sent to it.
    pub(super) class: ClassKey,
    pub(super) lease: Option<Lease>,
    /// When its lease changes by itself, if it does.
    pub(super) due: Option<Time>,
    /// Where it is among the free instances.
    pub(super) shelved: Option<Shelved>,
    /// When it last became free.
    pub(super) freed_at: Time,
    /// The greatest fence ever seen of it.
    pub(super) last_fence: Option<Fence>,
}

/// The exclusive right to an instance.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) fence: Fence,
    /// What it was granted to.
    pub(super) acquire: Arc<Acquire>,
    /// The number of the VM's message that asked for it.
    pub(super) sequence: u64,
    pub(super) user: UserKey,
    /// The session that has it; `None` once that has ended.
    pub(super) session: Option<SessionKey>,
    pub(super) state: LeaseState,
    /// Since when it is in this state.
    pub(super) since: Time,
    pub(super) granted_at: Time,
    /// Its session is as old then as it may be, counted from the grant.
    pub(super) expires_at: Option<Time>,
    pub(super) pick: Pick,
    /// The waiting session that gets the instance next.
    pub(super) heir: Option<SessionKey>,
    /// Answered once the agent has opened the firewall.
    pub(super) opening: Option<RequestId>,
    /// It was granted to a client that came back, whose window ends then.
    pub(super) window_until: Option<Time>,
}

/// Where a lease is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// Its session is established.
    Active,
    /// Its VM is silent: kept until the VM is back or the time is up.
    Orphaned {
        /// When it is given up.
        until: Time,
        /// The 101 had been seen.
        established: bool,
    },
    /// Granted; a 101 activates it.
    Reserved {
        /// When the upgrade has to be through.
        until: Time,
    },
    /// Its session has ended and its client may come back.
    Resumable {
        /// Until then.
        until: Time,
        /// Not before that.
        settled_at: Time,
    },
    /// Its session has ended; the instance is given a moment to notice, or its agent until it says so.
    Settling {
        /// When it is free; or, with an agent, should have been.
        until: Time,
    },
}

impl LeaseState {
    /// As a label.
    pub fn label(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Orphaned { .. } => "orphaned",
            Self::Reserved { .. } => "reserved",
            Self::Resumable { .. } => "resumable",
            Self::Settling { .. } => "settling",
        }
    }

    /// A session may be on the instance.
    pub fn holds_session(self) -> bool {
        matches!(
            self,
            Self::Active | Self::Orphaned { .. } | Self::Reserved { .. }
        )
    }
}

impl Slot {
    pub(super) fn new(
        spec: InstanceSpec,
        pool: PoolKey,
        host: HostKey,
        class: ClassKey,
        now: Time,
    ) -> Self {
        Self {
            pool,
            host,
            up: false,
            warm: false,
            warm_at: Time::NEVER,
            draining: false,
            quarantined: false,
            agent: spec.agent.then(Agent::default),
            class,
            lease: None,
            due: None,
            shelved: None,
            freed_at: now,
            last_fence: None,
            spec,
        }
    }

    /// Anybody may be given it.
    pub(super) fn is_free(&self) -> bool {
        self.lease.is_none()
            && !self.draining
            && self.is_usable()
            && self.agent.as_ref().is_none_or(Agent::is_ready)
    }

    /// Its own client may be given it again.
    pub(super) fn is_usable(&self) -> bool {
        self.up && self.warm && !self.quarantined && self.agent.as_ref().is_none_or(Agent::is_there)
    }
}

impl Lease {
    /// The same client as the one that asks, by a key that it gave both times.
    pub(super) fn has_key_of(&self, acquire: &Acquire) -> bool {
        acquire.owner.resume_key.is_some()
            && acquire.owner.resume_key == self.acquire.owner.resume_key
    }
}
