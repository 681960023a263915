//! The control plane's journal: what is durable, and what only the process that was writing it knew.

use std::collections::{BTreeMap, BTreeSet};

use crate::placement::{
    Fence, InstanceName, LeaseRecord, Placement, RecordedState, Revocation, RevocationId, Time,
};

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// With the wall clock's lead over the machine's when it was written.
    durable: BTreeMap<InstanceName, (LeaseRecord, i64)>,
    dirty: BTreeSet<InstanceName>,
    /// The same of revocations.
    revocations: BTreeMap<RevocationId, (Revocation, i64)>,
    dirty_revocations: BTreeSet<RevocationId>,
    flushing: Option<Flush>,
    /// How many commits have been asked for.
    appended: u64,
    /// How many of them are durable.
    written: u64,
}

#[derive(Debug)]
struct Flush {
    upto: u64,
    records: Vec<(InstanceName, Option<LeaseRecord>)>,
    revocations: Vec<(RevocationId, Option<Revocation>)>,
}

impl Store {
    pub(crate) fn append(&mut self, instance: InstanceName) {
        self.dirty.insert(instance);
        self.appended += 1;
    }

    pub(crate) fn append_revocation(&mut self, id: RevocationId) {
        self.dirty_revocations.insert(id);
        self.appended += 1;
    }

    pub(crate) fn appended(&self) -> u64 {
        self.appended
    }

    pub(crate) fn written(&self) -> u64 {
        self.written
    }

    /// There is something to write and nothing is being written.
    pub(crate) fn wants_flush(&self) -> bool {
        let dirty = !self.dirty.is_empty() || !self.dirty_revocations.is_empty();
        dirty && self.flushing.is_none()
    }

    pub(crate) fn start_flush(&mut self, machine: &Placement) {
        let records = std::mem::take(&mut self.dirty).into_iter();
        let revocations = std::mem::take(&mut self.dirty_revocations).into_iter();
        self.flushing = Some(Flush {
            upto: self.appended,
            records: records
                .map(|name| (name.clone(), machine.lease_record(&name)))
                .collect(),
            revocations: revocations
                .map(|id| (id, machine.revocation(id).cloned()))
                .collect(),
        });
    }

    pub(crate) fn end_flush(&mut self, wall_lead: i64) {
        let Some(flush) = self.flushing.take() else {
            return;
        };
        self.written = flush.upto;
        for (name, record) in flush.records {
            match record {
                Some(record) => self.durable.insert(name, (record, wall_lead)),
                None => self.durable.remove(&name),
            };
        }
        for (id, revocation) in flush.revocations {
            match revocation {
                Some(revocation) => self.revocations.insert(id, (revocation, wall_lead)),
                None => self.revocations.remove(&id),
            };
        }
    }

    /// The process is gone; what it was writing may have reached the disk all the same.
    pub(crate) fn crash(&mut self, reached_disk: bool, wall_lead: i64) {
        if reached_disk {
            self.end_flush(wall_lead);
        }
        self.flushing = None;
        self.dirty.clear();
        self.dirty_revocations.clear();
        self.written = self.appended;
    }

    /// What is durable, in the times of a machine that the wall clock leads by so many milliseconds.
    pub(crate) fn load(&self, wall_lead: i64) -> Vec<LeaseRecord> {
        let records = self.durable.values();
        records
            .map(|(record, lead)| shifted(record.clone(), lead - wall_lead))
            .collect()
    }

    /// The revocations that are durable, in the same times.
    pub(crate) fn load_revocations(&self, wall_lead: i64) -> Vec<Revocation> {
        let revocations = self.revocations.values();
        revocations
            .map(|(revocation, lead)| Revocation {
                since: shift(revocation.since, lead - wall_lead),
                until: shift(revocation.until, lead - wall_lead),
                ..revocation.clone()
            })
            .collect()
    }

    /// Which revocations are durable.
    pub(crate) fn revocations(&self) -> BTreeSet<RevocationId> {
        self.revocations.keys().copied().collect()
    }

    pub(crate) fn has(&self, instance: &InstanceName, fence: Fence) -> bool {
        let durable = self.durable.get(instance);
        durable.is_some_and(|(record, _)| record.fence == fence)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.durable.is_empty()
    }
}

fn shift(time: Time, millis: i64) -> Time {
    let by = std::time::Duration::from_millis(millis.unsigned_abs());
    if millis < 0 {
        Time(time.0.saturating_sub(by))
    } else {
        time.after(by)
    }
}

fn shifted(record: LeaseRecord, millis: i64) -> LeaseRecord {
    let shift = |time| shift(time, millis);
    LeaseRecord {
        granted_at: shift(record.granted_at),
        window_until: record.window_until.map(shift),
        state: match record.state {
            RecordedState::Resumable { until } => RecordedState::Resumable {
                until: shift(until),
            },
            state => state,
        },
        ..record
    }
}
