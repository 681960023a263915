//! What an earlier process left, and how it gets to this one.

use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::ServeError;
use crate::clock::{self, Clock};
use crate::config::{self, StorePlace};
use crate::fleet::Fleet;
use crate::placement::Placement;
use crate::store::writer::{Journal, Progress, Writer};
use crate::store::{History, Loaded, MemoryStore, RedbStore, Stamp, Store};

/// What is known from before, and what keeps what becomes known now.
pub(super) struct Memory {
    pub(super) loaded: Loaded,
    /// Greater than that of every process before.
    pub(super) term: u64,
    pub(super) history: Arc<dyn History>,
    pub(super) journal: Journal,
    pub(super) progress: watch::Receiver<Progress>,
    pub(super) writer: Writer,
}

impl Memory {
    /// Opens the store and starts its writer.
    pub(super) fn open(config: &config::Store, clock: Clock) -> Result<Self, ServeError> {
        let mut store: Box<dyn Store> = match &config.place {
            StorePlace::File(path) => Box::new(RedbStore::new(path.clone(), config.history)),
            StorePlace::Memory => Box::new(MemoryStore::new(config.history)),
        };
        let loaded = store.load(Stamp {
            now: clock.now(),
            unix: clock::unix_millis(),
        })?;
        say(&loaded);
        // Seconds since 1970 grow from one start to the next as long as nobody sets the clock back;
        // the store knows better, and what Syncs report raises the term where it has been lost.
        let term = clock::unix_seconds().max(loaded.term.saturating_add(1));
        let history = store.history();
        let (writer, journal, progress) =
            Writer::start(store, term, clock).map_err(ServeError::Writer)?;
        Ok(Self {
            loaded,
            term,
            history,
            journal,
            progress,
            writer,
        })
    }
}

fn say(loaded: &Loaded) {
    if let Some(set_aside) = &loaded.set_aside {
        error!("{set_aside}");
    }
    if loaded.torn {
        warn!("the last write to the store was cut short by a crash; it had not been relied on");
    }
    match &loaded.leases {
        Some(leases) => info!(
            leases = leases.len(),
            drained = loaded.drained.len(),
            quarantined = loaded.quarantined.len(),
            "going on with what the store remembers"
        ),
        None => info!("what is live has to be learnt from the proxies first"),
    }
}

/// Tells the cores what was remembered; they know the pools and instances already.
pub(super) fn restore(loaded: Loaded, clock: Clock, placement: &mut Placement, fleet: &mut Fleet) {
    let now = clock.now();
    if let Some(leases) = loaded.leases {
        placement.restore(now, leases);
    }
    // Those of instances that have been taken out of the configuration wait for their return.
    for instance in &loaded.drained {
        if fleet.drain(instance, true).is_ok() {
            placement.set_draining(now, instance, true);
        }
    }
    for instance in &loaded.quarantined {
        if fleet.quarantine(instance, true).is_ok() {
            placement.set_quarantined(now, instance, true);
        }
    }
}
