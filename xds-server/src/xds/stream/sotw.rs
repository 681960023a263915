//! Requests that say all that is wanted, and the versions of all that there is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use sha2::{Digest, Sha256};

use super::super::resource::Resource;
use super::super::snapshot::Snapshot;
use super::exchange::{Exchange, Known, Message, TooMuch};
use super::{Answer, SotwRequest, StreamEvent};

impl Exchange {
    /// Takes a request of this type. `snapshot` is what there is, if that is known yet.
    ///
    /// One that does not know of the latest response says nothing that the answer to that one will not say.
    pub(super) fn handle_sotw(
        &mut self,
        request: SotwRequest,
        snapshot: Option<&Snapshot>,
        events: &mut VecDeque<StreamEvent>,
    ) -> Result<(), TooMuch> {
        self.check_names(&request.names)?;
        let is_first = !self.opened;
        if !is_first && request.nonce != self.last_nonce {
            return Ok(());
        }
        self.opened = true;
        self.settle(
            &Answer {
                nonce: request.nonce,
                error: request.error,
            },
            events,
        );
        self.want(&request.names, is_first, snapshot);
        if is_first && !request.version.is_empty() {
            self.claim = Some(request.version);
        }
        if let Some(snapshot) = snapshot {
            self.compare_claim(snapshot, events);
        }
        self.check_size()
    }

    fn want(&mut self, names: &[String], is_first: bool, snapshot: Option<&Snapshot>) {
        let before = self.subscription.clone();
        self.subscription.replace(names.iter().map(String::as_str));
        self.forget_unwanted();
        let new = self.subscription.named().difference(before.named());
        self.pending.extend(new.cloned());
        if self.subscription.is_wildcard() && (is_first || !before.is_wildcard()) {
            self.greet |= self.known.is_empty() && self.unanswered.is_none();
            let all = snapshot
                .into_iter()
                .flat_map(|snapshot| snapshot.of(self.resource_type).keys());
            self.pending.extend(all.cloned());
        }
    }

    /// Counts the state that the client came with as acknowledged if it is what there is.
    pub(super) fn compare_claim(
        &mut self,
        snapshot: &Snapshot,
        events: &mut VecDeque<StreamEvent>,
    ) {
        let Some(claim) = self.claim.take() else {
            return;
        };
        let there = snapshot.of(self.resource_type).values();
        let there: Vec<_> = there
            .filter(|resource| self.subscription.wants(resource.name()))
            .cloned()
            .collect();
        if state_version(there.iter()) != claim {
            self.foreign = true;
            return;
        }
        self.greet = false;
        for resource in &there {
            let held = Known::Held(Arc::clone(resource));
            self.known.insert(Arc::clone(resource.name()), held);
        }
        self.report_acknowledged(there, Vec::new(), events);
    }

    /// Takes note of what there is not. The client hears it from a response that has all there is, or not at all: then it
    /// waits for as long as it likes.
    pub(super) fn note_absences(&mut self, snapshot: &Snapshot) {
        let tells_all = self.tells_all();
        let there = snapshot.of(self.resource_type);
        let (pending, due) = (&mut self.pending, &mut self.due);
        let missing: Vec<_> = pending
            .union(due)
            .filter(|name| !there.contains_key(*name))
            .cloned()
            .collect();
        for name in missing {
            let known = self.known.get(&name);
            if tells_all && known.is_some_and(|known| *known != Known::Absent) {
                // Told to be gone when the time has come.
                continue;
            }
            self.greet |= tells_all && known.is_none() && self.subscription.names(&name);
            pending.remove(&name);
            due.remove(&name);
            if self.subscription.names(&name) {
                self.known.insert(name, Known::Absent);
            } else {
                self.known.remove(&name);
            }
        }
    }

    /// The version of all that the client has once it has taken this message.
    pub(super) fn version_after(&self, message: &Message) -> String {
        let held = self.known.values().filter_map(Known::held);
        let mut state: BTreeMap<_, _> = held.map(|resource| (resource.name(), resource)).collect();
        for name in &message.removed {
            state.remove(name);
        }
        state.extend(
            message
                .news
                .iter()
                .map(|resource| (resource.name(), resource)),
        );
        state_version(state.into_values())
    }
}

/// The version of several resources, given in the order of their names: the head of a SHA-256 over their names and
/// versions, so that the same state has the same version after a restart and in every replica.
pub(super) fn state_version<'a>(resources: impl Iterator<Item = &'a Arc<Resource>>) -> String {
    let mut hash = Sha256::new();
    for resource in resources {
        hash.update(resource.name().as_bytes());
        // No name has this byte, so no two states make the same text.
        hash.update([0xff]);
        hash.update(resource.version().to_string());
    }
    let head = hash.finalize();
    let head = head
        .iter()
        .take(8)
        .fold(0_u64, |head, byte| head << 8 | u64::from(*byte));
    format!("{head:016x}")
}
