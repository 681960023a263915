//! An instance's slot, and the one lease it can hold.

use super::types::{Fence, InstanceName, Owner, PoolName, SessionId, Time};

/// An instance as placement sees it. It has room for one lease: that no two sessions share an
/// instance is a matter of this type.
#[derive(Debug)]
pub(super) struct Slot {
    pub(super) name: InstanceName,
    pub(super) pool: PoolName,
    /// Its probes pass.
    pub(super) up: bool,
    pub(super) draining: bool,
    pub(super) lease: Option<Lease>,
    /// When it last became free: the least recently used is given first.
    pub(super) freed_at: Time,
    /// The greatest fence ever seen of it.
    pub(super) last_fence: Option<Fence>,
}

/// The exclusive right to an instance.
#[derive(Debug)]
pub(super) struct Lease {
    pub(super) fence: Fence,
    pub(super) owner: Owner,
    /// The session it was granted to.
    pub(super) session: SessionId,
    pub(super) state: LeaseState,
    /// Since when it is in this state.
    pub(super) since: Time,
    /// The waiting session that gets the instance next.
    pub(super) heir: Option<SessionId>,
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
    /// Its session has ended; the instance is given a moment to notice.
    Settling {
        /// When it is free.
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
    pub(super) fn new(name: InstanceName, pool: PoolName, now: Time) -> Self {
        Self {
            name,
            pool,
            up: false,
            draining: false,
            lease: None,
            freed_at: now,
            last_fence: None,
        }
    }

    /// Anybody may be given it.
    pub(super) fn is_free(&self) -> bool {
        self.up && !self.draining && self.lease.is_none()
    }
}
