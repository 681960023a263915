//! What the machine is told of pools and instances.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{InstanceName, Labels, PoolName, Zone};

/// The rules of one pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolPolicy {
    /// Which of several free instances is given.
    pub choice: Choice,
    /// How long an Acquire may be held until what it waits for is free.
    pub hold: Duration,
    /// How many sessions there may be at once in the whole pool; no limit but the instances without it.
    pub max_sessions: Option<u32>,
    /// How many sessions a tenant may have at once, where `tenants` says nothing else.
    pub max_sessions_per_tenant: Option<u32>,
    /// How many sessions a user may have at once.
    pub max_sessions_per_user: Option<u32>,
    /// A session is closed when it is that old.
    pub max_session_age: Option<Duration>,
    /// How long a lease outlives the silence of its VM.
    pub orphan_after: Duration,
    /// How many Acquires may be held at once.
    pub queue: usize,
    /// How long an instance is kept for a client that went away.
    pub resume_window: Duration,
    /// What a second device of the same user meets.
    pub second_device: SecondDevice,
    /// Between the end of a session and the next grant of its instance, where no agent says when it is free.
    pub settle: Duration,
    /// What single tenants have and may.
    pub tenants: BTreeMap<Arc<str>, TenantPolicy>,
    /// How long an instance has to be up before it is given to anybody.
    pub warm_up: Duration,
}

impl Default for PoolPolicy {
    fn default() -> Self {
        Self {
            choice: Choice::default(),
            hold: Duration::from_secs(8),
            max_sessions: None,
            max_sessions_per_tenant: None,
            max_sessions_per_user: None,
            max_session_age: None,
            orphan_after: Duration::from_secs(300),
            queue: 1_000,
            resume_window: Duration::from_secs(30),
            second_device: SecondDevice::default(),
            settle: Duration::from_millis(250),
            tenants: BTreeMap::new(),
            warm_up: Duration::ZERO,
        }
    }
}

/// What one tenant has and may in a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantPolicy {
    /// How many sessions it may have at once; in place of the pool's `max_sessions_per_tenant`.
    pub max_sessions: Option<u32>,
    /// So many instances are kept for it: others are not given the last free ones as long as it has fewer.
    pub reserved: u32,
}

/// Which of several free instances a session is given. The client's zone comes before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Choice {
    /// The one that has been free for longest.
    #[default]
    LeastRecentlyUsed,
    /// One on the host with the most sessions, so that other hosts stay empty.
    Pack,
    /// One on the host with the fewest sessions.
    Spread,
}

/// What a second device of a user meets while the first has a session.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SecondDevice {
    /// It gets an instance of its own.
    Allow,
    /// It is refused.
    Refuse,
    /// The first session is closed and its instance handed over.
    #[default]
    TakeOver,
}

/// What an instance is from the start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstanceSpec {
    /// Unique in the machine.
    pub name: InstanceName,
    /// The pool it belongs to.
    pub pool: PoolName,
    /// What it shares with other instances: the machine it runs on. By it, sessions are packed and spread.
    pub host: Arc<str>,
    /// Where it is.
    pub zone: Option<Zone>,
    /// What it has that a client can ask for.
    pub labels: Labels,
    /// An agent on it opens and closes its firewall and knows when the runtime is free. It is given to nobody while
    /// that agent is away.
    pub agent: bool,
}

/// The machine's own times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    /// An agent that has not done what it was told for this long is told to restart the runtime.
    pub agent_within: Duration,
    /// How long the machine listens after a start without a journal before it grants anything.
    pub learn_for: Duration,
    /// How long a granted session may take to be established; outlives hold, handshake and a tick.
    pub reserve_for: Duration,
    /// A VM or an agent unheard for this long is silent: three ticks.
    pub silent_after: Duration,
}
