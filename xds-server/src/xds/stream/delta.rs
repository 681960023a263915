//! Requests that say what is different: subscriptions as they come and go, and what a client brings along.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::snapshot::Snapshot;
use super::super::subscription::WILDCARD;
use super::exchange::{Exchange, Known, TooMuch, Unanswered};
use super::{DeltaRequest, StreamEvent};

impl Exchange {
    /// Takes a request of this type. `snapshot` is what there is, if that is known yet.
    ///
    /// The answer counts first, for what it says of names that the same request drops; and what is of no interest
    /// after the last step is forgotten there, whichever step noted it.
    pub(super) fn handle_delta(
        &mut self,
        request: DeltaRequest,
        snapshot: Option<&Snapshot>,
        events: &mut VecDeque<StreamEvent>,
    ) -> Result<(), TooMuch> {
        self.check_names(&request.subscribe)?;
        self.check_names(&request.unsubscribe)?;
        if let Some(answer) = &request.answer {
            self.settle(answer, events);
        }
        self.unsubscribe(&request.unsubscribe);
        self.subscribe(&request, snapshot, events);
        self.check_size()
    }

    fn subscribe(
        &mut self,
        request: &DeltaRequest,
        snapshot: Option<&Snapshot>,
        events: &mut VecDeque<StreamEvent>,
    ) {
        let everything_before = self.opened && self.subscription.is_wildcard();
        self.subscription
            .add(request.subscribe.iter().map(String::as_str));
        let claims = if self.opened {
            None
        } else {
            Some(&request.initial_versions)
        };
        self.opened = true;

        for (name, version) in claims.into_iter().flatten() {
            // A version that is not one of ours is as good as none.
            if let Ok(version) = version.parse()
                && self.subscription.wants(name)
            {
                self.known
                    .insert(name.as_str().into(), Known::Claimed(version));
            }
        }
        // What comes with a version is there.
        let claimed = |name: &str| claims.is_some_and(|claims| claims.contains_key(name));
        for name in request
            .subscribe
            .iter()
            .filter(|name| *name != WILDCARD && !claimed(name))
        {
            self.doubt(name);
        }
        if self.subscription.is_wildcard() {
            self.greet |= !everything_before && self.known.is_empty() && self.unanswered.is_none();
        } else {
            self.forget_unwanted();
        }
        self.pending
            .extend(self.known.keys().filter(|name| claimed(name)).cloned());
        if let Some(snapshot) = snapshot {
            if self.subscription.is_wildcard() && !everything_before {
                let all = snapshot.of(self.resource_type).keys();
                self.pending.extend(all.cloned());
            }
            self.confirm_claims(snapshot, events);
        }
    }

    fn unsubscribe(&mut self, names: &[String]) {
        self.subscription.remove(names.iter().map(String::as_str));
        if self.subscription.is_wildcard() {
            for name in names {
                self.doubt(name);
            }
        }
        self.forget_unwanted();
    }

    /// Takes note that the client may have dropped what it had under a name that it wants: it is owed an answer,
    /// whatever it is known to have. So it is for a name that it names again, and for one that it names no
    /// longer and that everything includes.
    fn doubt(&mut self, name: &str) {
        self.due.insert(name.into());
        if let Some(known) = self.known.get_mut(name) {
            *known = Known::Unsure;
        }
        if let Some(Unanswered {
            message, dropped, ..
        }) = &mut self.unanswered
            && let Some(sent) = message.names().find(|sent| &***sent == name)
        {
            dropped.insert(Arc::clone(sent));
        }
    }

    /// Counts what the client says it has as acknowledged where it is what there is.
    pub(super) fn confirm_claims(
        &mut self,
        snapshot: &Snapshot,
        events: &mut VecDeque<StreamEvent>,
    ) {
        // What is under way replaces what the client said it has.
        let under_way: BTreeSet<&Arc<str>> = self
            .unanswered
            .iter()
            .flat_map(|unanswered| unanswered.message.names())
            .collect();
        let mut resources = Vec::new();
        for name in self.pending.iter().filter(|name| !under_way.contains(name)) {
            if let Some(known) = self.known.get_mut(name)
                && let Known::Claimed(version) = known
                && let Some(resource) = snapshot.find(self.resource_type, name)
                && resource.version() == *version
            {
                *known = Known::Held(Arc::clone(resource));
                resources.push(Arc::clone(resource));
            }
        }
        self.report_acknowledged(resources, Vec::new(), events);
    }
}
