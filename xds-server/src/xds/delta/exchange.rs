//! One client and one resource type: what it has, what it is owed, what it would not take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::resource::{Resource, ResourceType, Snapshot, Version};
use super::super::subscription::{Subscription, WILDCARD};
use super::{Answer, DeltaRequest, StreamEvent};

/// The exchange about one resource type. At most one response of it is unanswered at any time, so what the
/// client has is always known, but for that response.
#[derive(Debug)]
pub(super) struct Exchange {
    resource_type: ResourceType,
    subscription: Subscription,
    /// Whether the client has spoken of this type on this stream. Before that, it wants nothing.
    opened: bool,
    /// Whether the client waits to hear what there is, be it nothing: Envoy does not start without that.
    greet: bool,
    known: BTreeMap<String, Known>,
    /// Names to be answered for although the client is known to have what there is.
    due: BTreeSet<String>,
    unanswered: Option<Unanswered>,
    /// What is not to be sent again. It grows with refusals alone, and goes with the stream.
    refused: BTreeSet<(String, Version)>,
    /// Half of what a refused response had, to be sent apart until the fault is found.
    suspects: BTreeSet<String>,
}

/// What the client has under a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    /// It was told that there is nothing.
    Absent,
    /// It says it has this from an earlier stream.
    Claimed(Version),
    /// It acknowledged this.
    Held(Version),
    /// It may have something: it dropped the name and took it up again, and when it did the one or the other
    /// cannot be told from here.
    Unsure,
}

impl Known {
    fn version(self) -> Option<Version> {
        match self {
            Self::Absent | Self::Unsure => None,
            Self::Claimed(version) | Self::Held(version) => Some(version),
        }
    }
}

#[derive(Debug)]
struct Unanswered {
    nonce: String,
    message: Message,
    /// Names in it that the client dropped since: whether before it read them or after is not known.
    dropped: BTreeSet<String>,
}

/// What one response carries.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// New or changed.
    pub(super) resources: Vec<Arc<Resource>>,
    /// Gone, or asked for and not there.
    pub(super) removed: Vec<String>,
}

impl Message {
    fn names(&self) -> impl Iterator<Item = &str> {
        let resources = self.resources.iter().map(|resource| resource.name());
        resources.chain(self.removed.iter().map(String::as_str))
    }
}

impl Exchange {
    pub(super) fn new(resource_type: ResourceType) -> Self {
        Self {
            resource_type,
            subscription: Subscription::default(),
            opened: false,
            greet: false,
            known: BTreeMap::new(),
            due: BTreeSet::new(),
            unanswered: None,
            refused: BTreeSet::new(),
            suspects: BTreeSet::new(),
        }
    }

    /// Takes a request of this type. `snapshot` is what there is, if that is known yet.
    ///
    /// The answer counts first, for what it says of names that the same request drops; and what is of no interest
    /// after the last step is forgotten there, whichever step noted it.
    pub(super) fn handle(
        &mut self,
        request: DeltaRequest,
        snapshot: Option<&Snapshot>,
        events: &mut VecDeque<StreamEvent>,
    ) {
        if let Some(answer) = &request.answer {
            self.settle(answer, events);
        }
        self.unsubscribe(&request.unsubscribe);
        self.subscribe(&request, snapshot, events);
    }

    /// Counts what the client says it has as acknowledged where it is what there is.
    pub(super) fn confirm_claims(
        &mut self,
        snapshot: &Snapshot,
        events: &mut VecDeque<StreamEvent>,
    ) {
        // What is under way replaces what the client said it has.
        let under_way: BTreeSet<&str> = self
            .unanswered
            .iter()
            .flat_map(|unanswered| unanswered.message.names())
            .collect();
        let mut resources = Vec::new();
        for (name, known) in &mut self.known {
            if let Known::Claimed(version) = *known
                && !under_way.contains(name.as_str())
                && let Some(resource) = snapshot.find(self.resource_type, name)
                && resource.version() == version
            {
                *known = Known::Held(version);
                resources.push(Arc::clone(resource));
            }
        }
        if !resources.is_empty() {
            events.push_back(StreamEvent::Acknowledged {
                resource_type: self.resource_type,
                resources,
                removed: Vec::new(),
            });
        }
    }

    /// Has the client told of `name` once more, if it wants it. Before its first request it wants everything by
    /// implication, and what that request leaves out is forgotten again.
    pub(super) fn repeat(&mut self, name: &str) {
        if self.subscription.wants(name) {
            self.due.insert(name.to_owned());
        }
    }

    /// Notes a response as sent.
    pub(super) fn sent(&mut self, nonce: String, message: Message) {
        self.greet = false;
        for name in message.names() {
            self.due.remove(name);
        }
        self.unanswered = Some(Unanswered {
            nonce,
            message,
            dropped: BTreeSet::new(),
        });
    }

    /// What to tell the client that is new to it, or that it waits for.
    pub(super) fn next_update(&mut self, snapshot: &Snapshot) -> Option<Message> {
        if self.unanswered.is_some() {
            return None;
        }
        let mut message = self.update(snapshot)?;
        let suspects = std::mem::take(&mut self.suspects);
        let apart: Vec<_> = message
            .resources
            .iter()
            .filter(|resource| suspects.contains(resource.name()))
            .cloned()
            .collect();
        if !apart.is_empty() {
            message = Message {
                resources: apart,
                removed: Vec::new(),
            };
        }
        Some(message)
    }

    /// What to tell the client is gone.
    pub(super) fn next_removal(&self, snapshot: &Snapshot) -> Option<Message> {
        if self.unanswered.is_some() {
            return None;
        }
        let removed: Vec<_> = self
            .known
            .iter()
            .filter(|(name, known)| {
                **known != Known::Absent && snapshot.find(self.resource_type, name).is_none()
            })
            .map(|(name, _)| name.clone())
            .collect();
        (!removed.is_empty()).then_some(Message {
            resources: Vec::new(),
            removed,
        })
    }

    /// Whether the client has taken, or refused, all that is new.
    pub(super) fn is_up_to_date(&self, snapshot: &Snapshot) -> bool {
        self.update(snapshot).is_none()
    }

    fn update(&self, snapshot: &Snapshot) -> Option<Message> {
        if !self.opened {
            return None;
        }
        let there = snapshot.of(self.resource_type);
        let resources: Vec<_> = there
            .values()
            .filter(|resource| self.owes(resource))
            .map(Arc::clone)
            .collect();
        let unheard = self
            .subscription
            .named()
            .filter(|name| !self.known.contains_key(*name));
        let removed: BTreeSet<_> = self.due.iter().map(String::as_str).chain(unheard).collect();
        let removed: Vec<_> = removed
            .into_iter()
            .filter(|name| !there.contains_key(*name))
            .map(str::to_owned)
            .collect();
        (self.greet || !resources.is_empty() || !removed.is_empty())
            .then_some(Message { resources, removed })
    }

    fn owes(&self, resource: &Resource) -> bool {
        let name = resource.name();
        let held = self.known.get(name).and_then(|known| known.version());
        self.subscription.wants(name)
            && (held != Some(resource.version()) || self.due.contains(name))
            && !self
                .refused
                .contains(&(name.to_owned(), resource.version()))
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
                self.known.insert(name.clone(), Known::Claimed(version));
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
        if let Some(snapshot) = snapshot {
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
        self.due.insert(name.to_owned());
        if let Some(known) = self.known.get_mut(name) {
            *known = Known::Unsure;
        }
        if let Some(Unanswered {
            message, dropped, ..
        }) = &mut self.unanswered
            && message.names().any(|sent| sent == name)
        {
            dropped.insert(name.to_owned());
        }
    }

    fn forget_unwanted(&mut self) {
        let subscription = &self.subscription;
        self.known.retain(|name, _| subscription.wants(name));
        self.due.retain(|name| subscription.wants(name));
        if let Some(Unanswered {
            message, dropped, ..
        }) = &mut self.unanswered
        {
            dropped.extend(
                message
                    .names()
                    .filter(|name| !subscription.wants(name))
                    .map(str::to_owned),
            );
        }
    }

    /// Takes an ACK or a NACK. One that is not of the latest response says nothing of use.
    fn settle(&mut self, answer: &Answer, events: &mut VecDeque<StreamEvent>) {
        let Some(unanswered) = self
            .unanswered
            .take_if(|unanswered| unanswered.nonce == answer.nonce)
        else {
            return;
        };
        match &answer.error {
            None => self.accept(unanswered, events),
            Some(error) => self.refuse(unanswered.message, error, events),
        }
    }

    fn accept(&mut self, unanswered: Unanswered, events: &mut VecDeque<StreamEvent>) {
        let Unanswered {
            mut message,
            dropped,
            ..
        } = unanswered;
        message
            .resources
            .retain(|resource| !dropped.contains(resource.name()));
        message.removed.retain(|name| !dropped.contains(name));
        // Those of no more interest are forgotten with the rest of the request.
        self.known
            .extend(dropped.into_iter().map(|name| (name, Known::Unsure)));
        for resource in &message.resources {
            self.known
                .insert(resource.name().to_owned(), Known::Held(resource.version()));
        }
        self.note_removed(&message.removed);
        let Message { resources, removed } = message;
        if !resources.is_empty() || !removed.is_empty() {
            events.push_back(StreamEvent::Acknowledged {
                resource_type: self.resource_type,
                resources,
                removed,
            });
        }
    }

    /// Finds out which resource is at fault: by the client's words if they say, else by sending halves. The client
    /// has dropped the good ones with the bad, so those are sent again in any case. Each refusal halves what is in
    /// question or ends with a version that is not sent again, so it comes to an end.
    fn refuse(&mut self, message: Message, error: &str, events: &mut VecDeque<StreamEvent>) {
        let Message { resources, removed } = message;
        if resources.is_empty() {
            // There is nothing better to say to it.
            self.note_removed(&removed);
            self.report_refused(removed, error, events);
            return;
        }
        let (blamed, innocent): (Vec<_>, Vec<_>) = match resources.as_slice() {
            [_] => (resources, Vec::new()),
            _ => resources
                .into_iter()
                .partition(|resource| is_blamed(resource.name(), error)),
        };
        let innocent = innocent.iter().map(|resource| resource.name().to_owned());
        if blamed.is_empty() {
            self.suspects = innocent.clone().take(innocent.len() / 2).collect();
        }
        self.due.extend(innocent.chain(removed));
        let names = blamed
            .iter()
            .map(|resource| resource.name().to_owned())
            .collect();
        self.refused.extend(
            blamed
                .iter()
                .map(|resource| (resource.name().to_owned(), resource.version())),
        );
        self.report_refused(names, error, events);
    }

    fn report_refused(&self, names: Vec<String>, error: &str, events: &mut VecDeque<StreamEvent>) {
        if !names.is_empty() {
            events.push_back(StreamEvent::Refused {
                resource_type: self.resource_type,
                names,
                error: error.to_owned(),
            });
        }
    }

    fn note_removed(&mut self, removed: &[String]) {
        for name in removed {
            if self.subscription.names(name) {
                self.known.insert(name.clone(), Known::Absent);
            } else {
                self.known.remove(name);
            }
        }
    }
}

/// Whether an error names a resource as the one at fault, as Envoy's CDS and LDS do, which list each resource
/// with what is wrong with it. The others give the reason alone.
fn is_blamed(name: &str, error: &str) -> bool {
    error
        .strip_prefix("Error adding/updating ")
        .and_then(|rest| rest.split_once("(s) "))
        .is_some_and(|(_, list)| {
            list.match_indices(name).any(|(at, _)| {
                let (before, rest) = list.split_at(at);
                (before.is_empty() || before.ends_with(", ") || before.ends_with('\n'))
                    && rest
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(": "))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_blamed() {
        // (what Envoy says, whom it blames of those asked about)
        let cases: &[(&str, &[&str])] = &[
            ("Error adding/updating cluster(s) a: bad", &["a"]),
            (
                "Error adding/updating cluster(s) a: bad, pool/0: a: b: bad",
                &["a", "pool/0"],
            ),
            (
                "Error adding/updating listener(s) b: bad\na: bad",
                &["a", "b"],
            ),
            ("Error adding/updating cluster(s) ab: bad", &[]),
            ("Error adding/updating cluster(s) ba: bad", &[]),
            ("Error adding/updating cluster(s) x: a is bad", &[]),
            ("a: bad", &[]),
            ("malformed IP address: b", &[]),
            ("", &[]),
        ];
        for (error, blamed) in cases {
            let found: Vec<_> = ["a", "b", "pool/0"]
                .into_iter()
                .filter(|name| is_blamed(name, error))
                .collect();
            assert_eq!(found, *blamed, "{error}");
        }
    }
}
