mod crash;
mod damage;
mod disk;
mod files;
mod full;
mod history;
mod records;
mod writing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::*;
use crate::placement::{
    Acquire, CloseReason, End, EndCause, Fence, Labels, Origin, Owner, PastSession, Pick, Priority,
    RecordedState, Revocation, RevocationId, RevocationNote, Revoked, Time, User, Why,
};

/// The same moment on both clocks, which makes what is read what was written.
const STAMP: Stamp = Stamp {
    now: Time(Duration::from_secs(1_700_000_000)),
    unix: UnixMillis(1_700_000_000_000),
};

const LIMITS: HistoryLimits = HistoryLimits {
    max_age: Duration::from_secs(3600),
    max_sessions: 1000,
};

fn ago(seconds: u64) -> Time {
    Time(STAMP.now.0 - Duration::from_secs(seconds))
}

fn owner(number: u64) -> Owner {
    Owner {
        user: User {
            issuer: "https://issuer".into(),
            subject: format!("user-{number}").into(),
        },
        tenant: format!("tenant-{}", number % 3).into(),
        resume_key: number
            .is_multiple_of(2)
            .then(|| format!("key-{number}").into()),
    }
}

fn token_id(number: u64) -> Option<Arc<str>> {
    number
        .is_multiple_of(3)
        .then(|| format!("jti-{number}").into())
}

/// What has been revoked `number` seconds ago.
fn revocation(number: u64) -> Revocation {
    let issuer = number.is_multiple_of(2).then(|| "https://issuer".into());
    let name: Arc<str> = format!("name-{number}").into();
    let text = "x".repeat(number as usize);
    Revocation {
        id: RevocationId {
            term: 7,
            sequence: number,
        },
        what: match number % 3 {
            0 => Revoked::Session((*name).into()),
            1 => Revoked::Subject {
                issuer,
                subject: name,
            },
            _ => Revoked::Token { issuer, id: name },
        },
        since: ago(number),
        until: STAMP.now.after(Duration::from_secs(60 + number)),
        note: RevocationNote::new(&text),
    }
}

fn pick(number: u64) -> Pick {
    Pick {
        why: Why::ALL[number as usize % Why::ALL.len()],
        free: number as u32,
        same_zone: number.is_multiple_of(3),
        waited: Duration::from_millis(number),
    }
}

/// A lease of an instance, another for every number.
fn lease(instance: u64, number: u64) -> LeaseRecord {
    let closing = CloseReason::ALL[number as usize % CloseReason::ALL.len()];
    LeaseRecord {
        instance: name(instance),
        fence: Fence {
            term: 7,
            sequence: number,
        },
        owner: owner(number),
        session: format!("session-{number}").into(),
        node: "envoy-1".into(),
        vm: format!("vm-{}", number % 4).into(),
        sequence: number,
        client_address: "192.0.2.7".into(),
        granted_at: ago(number),
        pick: pick(number),
        state: match number % 4 {
            0 => RecordedState::Held { closing: None },
            1 => RecordedState::Held {
                closing: Some(closing),
            },
            2 => RecordedState::Resumable {
                until: STAMP.now.after(Duration::from_secs(number)),
            },
            _ => RecordedState::Settling,
        },
        window_until: number
            .is_multiple_of(5)
            .then(|| STAMP.now.after(Duration::from_secs(30))),
        token_id: token_id(number),
    }
}

/// A session that ended `number` seconds before the last one of all that can be made.
fn past(number: u64) -> PastSession {
    let ends = [
        End::Ended(EndCause::ALL[number as usize % EndCause::ALL.len()]),
        End::Closed(CloseReason::ALL[number as usize % CloseReason::ALL.len()]),
        End::GivenUp,
    ];
    let acquire = Acquire {
        origin: Origin {
            node: "envoy-1".into(),
            vm: "vm-1".into(),
            sequence: number,
        },
        session: format!("session-{number}").into(),
        pool: format!("pool-{}", number % 2).into(),
        owner: owner(number),
        client_address: "192.0.2.7".into(),
        priority: Priority::default(),
        labels: Labels::default(),
        token_id: token_id(number),
    };
    PastSession {
        acquire: Arc::new(acquire),
        instance: name(number % 5),
        fence: Fence {
            term: 7,
            sequence: number,
        },
        pick: pick(number),
        granted_at: ago(number + 60),
        established_at: (!number.is_multiple_of(4)).then(|| ago(number + 59)),
        ended_at: ago(number),
        end: ends[number as usize % ends.len()],
    }
}

fn name(instance: u64) -> InstanceName {
    format!("instance-{instance}").into()
}

/// What a store has to remember.
#[derive(Clone, Debug, Default, PartialEq)]
struct Remembered {
    term: u64,
    learnt: bool,
    leases: BTreeMap<InstanceName, LeaseRecord>,
    addresses: BTreeMap<InstanceName, SocketAddr>,
    drained: BTreeSet<InstanceName>,
    quarantined: BTreeSet<InstanceName>,
    revocations: BTreeMap<RevocationId, Revocation>,
    past: BTreeMap<(u64, u64, u64), PastRecord>,
}

impl Remembered {
    fn apply(&mut self, batch: &Batch, term: u64) {
        self.term = self.term.max(term);
        self.learnt |= batch.learnt;
        for (instance, lease) in &batch.leases {
            match lease {
                Some((_, lease)) => self.leases.insert(instance.clone(), lease.clone()),
                None => self.leases.remove(instance),
            };
        }
        self.addresses.extend(batch.addresses.clone());
        for (marks, marked) in [
            (&batch.drained, &mut self.drained),
            (&batch.quarantined, &mut self.quarantined),
        ] {
            for (instance, mark) in marks {
                if *mark {
                    marked.insert(instance.clone());
                } else {
                    marked.remove(instance);
                }
            }
        }
        for (id, revocation) in &batch.revocations {
            match revocation {
                Some((_, revocation)) => self.revocations.insert(*id, revocation.clone()),
                None => self.revocations.remove(id),
            };
        }
        for (stamp, past) in &batch.past {
            let record = PastRecord::new(*stamp, past);
            self.past.insert(record.key(), record);
        }
    }

    fn of(loaded: &Loaded, history: &dyn History) -> Self {
        let query = HistoryQuery {
            limit: Limit::new(Limit::MAX).unwrap(),
            ..HistoryQuery::default()
        };
        let past = history.query(&query).unwrap();
        let leases = loaded.leases.clone();
        let leases = leases.into_iter().flatten();
        Self {
            term: loaded.term,
            learnt: loaded.leases.is_some(),
            leases: leases
                .map(|lease| (lease.instance.clone(), lease))
                .collect(),
            addresses: loaded.addresses.clone(),
            drained: loaded.drained.clone(),
            quarantined: loaded.quarantined.clone(),
            revocations: loaded
                .revocations
                .iter()
                .map(|revocation| (revocation.id, revocation.clone()))
                .collect(),
            past: past.into_iter().map(|past| (past.key(), past)).collect(),
        }
    }

    /// As the next process finds it.
    fn found(mut self) -> Self {
        if !self.learnt {
            self.leases.clear();
        }
        self
    }
}

/// Some of everything.
fn batch(number: u64) -> Batch {
    let mut batch = Batch::default();
    for instance in 0..3 {
        let instance = (number * 3 + instance) % 40;
        let held = !instance.is_multiple_of(7);
        batch.lease(
            STAMP,
            name(instance),
            held.then(|| lease(instance, number + instance)),
        );
    }
    let port = u16::try_from(number % 100).unwrap();
    batch.address(name(number % 17), ([192, 0, 2, 1], port).into());
    batch.drained(name(number % 11), number.is_multiple_of(2));
    batch.quarantined(name(number % 13), number.is_multiple_of(3));
    let revocation = revocation(number % 19);
    let holds = !number.is_multiple_of(5);
    batch.revocation(STAMP, revocation.id, holds.then_some(revocation));
    batch.past(STAMP, past(number));
    if number == 0 {
        batch.learnt();
    }
    batch
}
