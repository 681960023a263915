//! What an earlier process left, and how it gets to this one.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tracing::{error, info, warn};

use super::ServeError;
use crate::clock::{self, Clock};
use crate::config::{self, StorePlace};
use crate::fleet::Fleet;
use crate::placement::{InstanceName, LeaseRecord, Placement};
use crate::store::writer::{Journal, Progress, Writer};
use crate::store::{Batch, History, Loaded, MemoryStore, RedbStore, Stamp, Store};

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
            revocations = loaded.revocations.len(),
            "going on with what the store remembers"
        ),
        None => info!("what is live has to be learnt from the proxies first"),
    }
}

/// Tells the cores what was remembered; they know the pools and instances already. The answer is what has to be
/// remembered otherwise from now on.
pub(super) fn restore(
    loaded: Loaded,
    clock: Clock,
    placement: &mut Placement,
    fleet: &mut Fleet,
) -> Batch {
    let stamp = Stamp {
        now: clock.now(),
        unix: clock::unix_millis(),
    };
    let now = stamp.now;
    let mut batch = Batch::default();
    for (name, instance) in fleet.iter() {
        if loaded.addresses.get(name) != Some(&instance.address()) {
            batch.address(name.clone(), instance.address());
        }
    }
    // Whoever was restored, or is learnt of, is measured by them.
    placement.restore_revocations(now, loaded.revocations);
    if let Some(leases) = loaded.leases {
        let leases = relocate(stamp, leases, &loaded.addresses, fleet, &mut batch);
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
    batch
}

/// A session is at an address, whatever the configuration calls the instance there by now. Left out are leases of
/// instances whose names stand for another address, and their own for none.
fn relocate(
    stamp: Stamp,
    leases: Vec<LeaseRecord>,
    addresses: &BTreeMap<InstanceName, SocketAddr>,
    fleet: &Fleet,
    batch: &mut Batch,
) -> Vec<LeaseRecord> {
    let names: HashMap<SocketAddr, &InstanceName> = fleet
        .iter()
        .map(|(name, instance)| (instance.address(), name))
        .collect();
    let mut here = Vec::with_capacity(leases.len());
    let mut moved = Vec::new();
    for lease in leases {
        let address = addresses.get(&lease.instance);
        let name = address.map(|address| names.get(address).copied());
        match name {
            Some(Some(name)) if *name != lease.instance => {
                warn!(from = %lease.instance, to = %name, "an instance with a lease has another name");
                batch.lease(stamp, lease.instance.clone(), None);
                let instance = name.clone();
                moved.push(LeaseRecord { instance, ..lease });
            }
            Some(None) if fleet.get(&lease.instance).is_some() => {
                warn!(instance = %lease.instance, "an instance with a lease has another address");
                batch.lease(stamp, lease.instance, None);
            }
            _ => here.push(lease),
        }
    }
    for lease in &moved {
        batch.lease(stamp, lease.instance.clone(), Some(lease.clone()));
    }
    here.extend(moved);
    here
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;
    use std::time::Duration;

    use super::*;
    use crate::fleet::{InstanceSpec, Thresholds};
    use crate::placement::{
        Fence, LeaseState, Owner, Pick, PoolPolicy, RecordedState, Timing, User, Why,
    };

    fn lease(instance: &str, sequence: u64) -> LeaseRecord {
        LeaseRecord {
            instance: instance.into(),
            fence: Fence { term: 1, sequence },
            owner: Owner {
                user: User {
                    issuer: "https://issuer.test".into(),
                    subject: format!("user-{sequence}").into(),
                },
                tenant: "".into(),
                resume_key: None,
            },
            session: format!("s-{sequence}").into(),
            node: "edge".into(),
            vm: "vm".into(),
            sequence,
            client_address: "192.0.2.9".into(),
            granted_at: crate::placement::Time::default(),
            pick: Pick {
                why: Why::Spread,
                free: 1,
                same_zone: false,
                waited: Duration::ZERO,
            },
            state: RecordedState::Held { closing: None },
            window_until: None,
            token_id: None,
        }
    }

    fn address(port: u16) -> SocketAddr {
        ([192, 0, 2, 1], port).into()
    }

    #[test]
    fn a_lease_stays_where_its_session_is() {
        type Now = &'static [(&'static str, u16)];
        type Leased = &'static [(&'static str, u64)];
        // Before: `a` at port 1 with lease 1, `b` at port 2 with lease 2, `c` at port 3 without.
        let cases: [(&str, Now, Leased); 6] = [
            (
                "as it was",
                &[("a", 1), ("b", 2), ("c", 3)],
                &[("a", 1), ("b", 2)],
            ),
            ("renamed", &[("x", 1), ("b", 2)], &[("b", 2), ("x", 1)]),
            ("swapped", &[("a", 2), ("b", 1)], &[("a", 2), ("b", 1)]),
            (
                "in turn",
                &[("a", 3), ("b", 1), ("c", 2)],
                &[("b", 1), ("c", 2)],
            ),
            ("moved", &[("a", 9), ("b", 2)], &[("b", 2)]),
            ("gone", &[("b", 2)], &[("b", 2)]),
        ];
        for (what, now, expected) in cases {
            let one = NonZeroU32::MIN;
            let mut fleet = Fleet::new(now.iter().map(|(name, port)| InstanceSpec {
                name: (*name).into(),
                pool: "web".into(),
                address: address(*port),
                thresholds: Thresholds {
                    rise: one,
                    fall: one,
                },
            }));
            let clock = Clock::start();
            let timing = Timing {
                agent_within: Duration::from_secs(1),
                learn_for: Duration::from_secs(1),
                reserve_for: Duration::from_secs(1),
                silent_after: Duration::from_secs(1),
            };
            let mut placement = Placement::new(timing, 2, 0, clock.now());
            placement.set_pool(clock.now(), "web".into(), PoolPolicy::default());
            for (name, _) in now {
                let spec = crate::placement::InstanceSpec {
                    name: (*name).into(),
                    pool: "web".into(),
                    host: (*name).into(),
                    zone: None,
                    labels: Default::default(),
                    agent: false,
                };
                placement.add_instance(clock.now(), spec);
            }
            let before = [("a", 1), ("b", 2), ("c", 3)];
            let loaded = Loaded {
                leases: Some(vec![lease("a", 1), lease("b", 2)]),
                addresses: before
                    .map(|(name, port)| (name.into(), address(port)))
                    .into(),
                ..Loaded::default()
            };
            let batch = restore(loaded, clock, &mut placement, &mut fleet);
            let mut leased: Vec<_> = placement
                .instances(clock.now())
                .filter_map(|view| {
                    let lease = view.lease?;
                    assert!(matches!(lease.state, LeaseState::Reserved { .. }));
                    Some((view.name.to_string(), lease.fence.sequence))
                })
                .collect();
            leased.sort();
            let expected: Vec<_> = expected
                .iter()
                .map(|(name, n)| ((*name).to_owned(), *n))
                .collect();
            assert_eq!(leased, expected, "{what}");
            // What is written down next names them so as well.
            for (name, sequence) in expected {
                let kept = batch.lease_of(&name.as_str().into());
                let was = before.iter().find(|(before, _)| *before == name);
                let moved = was.is_none_or(|(_, port)| u64::from(*port) != sequence);
                let kept = kept.map(|lease| lease.fence.sequence);
                assert_eq!(kept, moved.then_some(sequence), "{what}: {name}");
            }
        }
    }
}
