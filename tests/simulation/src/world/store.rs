//! The control plane's journal: what is durable, and what only the process that was writing it knew.

use std::collections::{BTreeMap, BTreeSet};

use crate::placement::{Fence, InstanceName, LeaseRecord, RecordedState, Time};

#[derive(Debug, Default)]
pub(crate) struct Store {
    /// With the wall clock's lead over the machine's when it was written.
    durable: BTreeMap<InstanceName, (LeaseRecord, i64)>,
    dirty: BTreeSet<InstanceName>,
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
}

impl Store {
    pub(crate) fn append(&mut self, instance: InstanceName) {
        self.dirty.insert(instance);
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
        !self.dirty.is_empty() && self.flushing.is_none()
    }

    pub(crate) fn start_flush(&mut self, record: impl Fn(&InstanceName) -> Option<LeaseRecord>) {
        let records = std::mem::take(&mut self.dirty).into_iter();
        self.flushing = Some(Flush {
            upto: self.appended,
            records: records.map(|name| (name.clone(), record(&name))).collect(),
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
    }

    /// The process is gone; what it was writing may have reached the disk all the same.
    pub(crate) fn crash(&mut self, reached_disk: bool, wall_lead: i64) {
        if reached_disk {
            self.end_flush(wall_lead);
        }
        self.flushing = None;
        self.dirty.clear();
        self.written = self.appended;
    }

    /// What is durable, in the times of a machine that the wall clock leads by so many milliseconds.
    pub(crate) fn load(&self, wall_lead: i64) -> Vec<LeaseRecord> {
        let records = self.durable.values();
        records
            .map(|(record, lead)| shifted(record.clone(), lead - wall_lead))
            .collect()
    }

    pub(crate) fn has(&self, instance: &InstanceName, fence: Fence) -> bool {
        let durable = self.durable.get(instance);
        durable.is_some_and(|(record, _)| record.fence == fence)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.durable.is_empty()
    }
}

fn shifted(record: LeaseRecord, millis: i64) -> LeaseRecord {
    let shift = |time: Time| {
        let by = std::time::Duration::from_millis(millis.unsigned_abs());
        if millis < 0 {
            Time(time.0.saturating_sub(by))
        } else {
            time.after(by)
        }
    };
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
