//! One client and one resource type: what it has, what it is owed, what it would not take.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::super::resource::{Resource, ResourceType, Version};
use super::super::snapshot::Snapshot;
use super::super::subscription::Subscription;
use super::blame::is_blamed;
use super::{Answer, Dialect, StreamEvent, XdsResponse};

/// The exchange about one resource type. At most one response of it is unanswered at any time, so what the
/// client has is always known, but for that response.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) resource_type: ResourceType,
    pub(super) dialect: Dialect,
    pub(super) subscription: Subscription,
    /// Whether the client has spoken of this type on this stream. Before that, it wants nothing.
    pub(super) opened: bool,
    /// Whether the client waits to hear what there is, be it nothing: Envoy does not start without that.
    pub(super) greet: bool,
    pub(super) known: BTreeMap<Arc<str>, Known>,
    /// Names at which the client may have something else than there is. All others need no look.
    pub(super) pending: BTreeSet<Arc<str>>,
    /// Names to be answered for although the client is known to have what there is.
    pub(super) due: BTreeSet<Arc<str>>,
    pub(super) unanswered: Option<Unanswered>,
    /// What is not to be sent again. It grows with refusals alone, and goes with the stream.
    refused: BTreeMap<Arc<str>, VecDeque<Refusal>>,
    /// Half of what a refused response had, to be sent apart until the fault is found.
    suspects: BTreeSet<Arc<str>>,
    /// Of the latest response.
    pub(super) last_nonce: String,
    /// The version that a state-of-the-world client came with, until it has been compared.
    pub(super) claim: Option<String>,
    /// The client came with another state of the world, and has not taken ours yet: it may have resources that are not
    /// known here, which a response without them would take away.
    pub(super) foreign: bool,
}

/// What the client has under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// It was told that there is nothing.
    Absent,
    /// It says it has this from an earlier stream.
    Claimed(Version),
    /// It acknowledged this.
    Held(Arc<Resource>),
    /// It may have something: it dropped the name and took it up again, and when it did the one or the other
    /// cannot be told from here.
    Unsure,
}

impl Known {
    fn version(&self) -> Option<Version> {
        match self {
            Self::Absent | Self::Unsure => None,
            Self::Claimed(version) => Some(*version),
            Self::Held(resource) => Some(resource.version()),
        }
    }

    pub(super) const fn held(&self) -> Option<&Arc<Resource>> {
        match self {
            Self::Held(resource) => Some(resource),
            Self::Absent | Self::Claimed(_) | Self::Unsure => None,
        }
    }
}

#[derive(Debug)]
pub(super) struct Unanswered {
    pub(super) nonce: String,
    pub(super) message: Message,
    /// Names in it that the client dropped since: whether before it read them or after is not known.
    pub(super) dropped: BTreeSet<Arc<str>>,
}

#[derive(Debug)]
struct Refusal {
    version: Version,
    error: Arc<str>,
}

/// What one response says.
#[derive(Clone, Debug, Default)]
pub(super) struct Message {
    /// New or changed.
    pub(super) news: Vec<Arc<Resource>>,
    /// What the client has and has to be sent again, or it would be gone.
    pub(super) kept: Vec<Arc<Resource>>,
    /// Gone, or asked for and not there.
    pub(super) removed: Vec<Arc<str>>,
}

impl Message {
    pub(super) fn names(&self) -> impl Iterator<Item = &Arc<str>> {
        let resources = self.news.iter().map(|resource| resource.name());
        resources.chain(&self.removed)
    }
}

/// A client wants more of one type than is kept for a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// Too many names.
    #[error("more than {MAX_NAMES} {0:?} resources are asked for, or told of, on one stream")]
    Names(ResourceType),
    /// Too long a name.
    #[error("a {0:?} resource's name has more than {MAX_NAME_LENGTH} bytes")]
    NameLength(ResourceType),
}

/// How it stands with one client and one type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeStatus {
    /// The type.
    pub resource_type: ResourceType,
    /// The client wants whatever there is.
    pub everything: bool,
    /// What it asked for by name.
    pub names: Vec<Arc<str>>,
    /// What it has acknowledged.
    pub acknowledged: Vec<Arc<Resource>>,
    /// What it was sent and has not answered for.
    pub unanswered: Vec<Arc<Resource>>,
    /// What there is and it would not take, with its words.
    pub refused: Vec<(Arc<Resource>, Arc<str>)>,
}

impl Exchange {
    pub(super) fn new(resource_type: ResourceType, dialect: Dialect) -> Self {
        Self {
            resource_type,
            dialect,
            subscription: Subscription::default(),
            opened: false,
            greet: false,
            known: BTreeMap::new(),
            pending: BTreeSet::new(),
            due: BTreeSet::new(),
            unanswered: None,
            refused: BTreeMap::new(),
            suspects: BTreeSet::new(),
            last_nonce: String::new(),
            claim: None,
            foreign: false,
        }
    }

    /// Takes note of a new snapshot, and at which names it may differ from the last.
    pub(super) fn handle_change(
        &mut self,
        snapshot: &Snapshot,
        changed: &[Arc<str>],
        events: &mut VecDeque<StreamEvent>,
    ) {
        if !self.opened {
            return;
        }
        let concerns =
            |name: &&Arc<str>| self.subscription.wants(name) || self.known.contains_key(&***name);
        self.pending
            .extend(changed.iter().filter(concerns).cloned());
        match self.dialect {
            Dialect::Delta => self.confirm_claims(snapshot, events),
            Dialect::StateOfTheWorld => self.compare_claim(snapshot, events),
        }
    }

    /// Has the client told of `name` once more, if it wants it. Before its first request it wants everything by
    /// implication, and what that request leaves out is forgotten again.
    pub(super) fn repeat(&mut self, name: &Arc<str>) {
        if self.subscription.wants(name) {
            self.due.insert(Arc::clone(name));
        }
    }

    /// Makes the response of a message, and notes it as sent.
    pub(super) fn send(&mut self, nonce: String, message: Message) -> XdsResponse {
        self.greet = false;
        for name in message.names() {
            self.due.remove(name);
            self.pending.remove(name);
        }
        let mut resources = message.news.clone();
        let mut removed = message.removed.clone();
        let mut version = String::new();
        if self.dialect == Dialect::StateOfTheWorld {
            resources.extend(message.kept.iter().cloned());
            resources.sort_by(|a, b| a.name().cmp(b.name()));
            removed.clear();
            version = self.version_after(&message);
        }
        self.last_nonce.clone_from(&nonce);
        self.unanswered = Some(Unanswered {
            nonce: nonce.clone(),
            message,
            dropped: BTreeSet::new(),
        });
        XdsResponse {
            resource_type: self.resource_type,
            nonce,
            version,
            resources,
            removed,
        }
    }

    /// What to tell the client that is new to it, or that it waits for.
    pub(super) fn next_update(&mut self, snapshot: &Snapshot) -> Option<Message> {
        if self.unanswered.is_some() {
            return None;
        }
        let mut message = self.update(snapshot)?;
        let suspects = std::mem::take(&mut self.suspects);
        let is_suspect = |resource: &Arc<Resource>| suspects.contains(&**resource.name());
        if message.news.iter().any(is_suspect) {
            message.news.retain(is_suspect);
            message.removed.clear();
        }
        if self.tells_all() {
            self.keep_others(&mut message);
        } else {
            shorten(&mut message);
        }
        Some(message)
    }

    /// What to tell the client is gone.
    pub(super) fn next_removal(&self, snapshot: &Snapshot) -> Option<Message> {
        if self.unanswered.is_some() {
            return None;
        }
        let gone = self
            .pending
            .iter()
            .filter(|name| self.is_gone(name, snapshot));
        let mut message = Message {
            removed: gone.cloned().collect(),
            ..Message::default()
        };
        if message.removed.is_empty() {
            return None;
        }
        if self.tells_all() {
            self.keep_others(&mut message);
        }
        Some(message)
    }

    /// Whether the client has answered for all that is new.
    pub(super) fn is_up_to_date(&mut self, snapshot: &Snapshot) -> bool {
        let waits = self
            .unanswered
            .as_ref()
            .is_some_and(|unanswered| !unanswered.message.news.is_empty());
        !waits && self.update(snapshot).is_none()
    }

    pub(super) fn status(&self, snapshot: Option<&Snapshot>) -> Option<TypeStatus> {
        if !self.opened {
            return None;
        }
        let refused = self.refused.keys().filter_map(|name| {
            let resource = snapshot?.find(self.resource_type, name)?;
            let refusal = self.refusal(resource)?;
            Some((Arc::clone(resource), Arc::clone(&refusal.error)))
        });
        let unanswered = self.unanswered.iter();
        Some(TypeStatus {
            resource_type: self.resource_type,
            everything: self.subscription.is_wildcard(),
            names: self.subscription.named().iter().cloned().collect(),
            acknowledged: self
                .known
                .values()
                .filter_map(Known::held)
                .cloned()
                .collect(),
            unanswered: unanswered
                .flat_map(|sent| sent.message.news.iter().cloned())
                .collect(),
            refused: refused.collect(),
        })
    }

    /// Whether a response has everything there is of the type, so that what it leaves out is gone: "State of the World"
    /// of clusters and listeners in the xDS protocol.
    pub(super) fn tells_all(&self) -> bool {
        self.dialect == Dialect::StateOfTheWorld
            && matches!(
                self.resource_type,
                ResourceType::Cluster | ResourceType::Listener
            )
    }

    fn update(&mut self, snapshot: &Snapshot) -> Option<Message> {
        if !self.opened {
            return None;
        }
        let mut pending = std::mem::take(&mut self.pending);
        pending.retain(|name| {
            self.owed(name, snapshot).is_some()
                || self.is_absent(name, snapshot)
                || self.is_gone(name, snapshot)
        });
        self.pending = pending;
        if self.dialect == Dialect::StateOfTheWorld {
            self.note_absences(snapshot);
        }
        let names: BTreeSet<_> = self.pending.union(&self.due).collect();
        let message = Message {
            news: names
                .iter()
                .filter_map(|name| self.owed(name, snapshot))
                .cloned()
                .collect(),
            kept: Vec::new(),
            removed: names
                .iter()
                .filter(|name| self.is_absent(name, snapshot))
                .map(|name| Arc::clone(name))
                .collect(),
        };
        let says = self.greet || !message.news.is_empty() || !message.removed.is_empty();
        let withheld = self.foreign && self.tells_all() && self.has_refused(snapshot);
        (says && !withheld).then_some(message)
    }

    /// What the client is to be sent under a name.
    fn owed<'a>(&self, name: &str, snapshot: &'a Snapshot) -> Option<&'a Arc<Resource>> {
        let resource = snapshot.find(self.resource_type, name)?;
        let held = self.known.get(name).and_then(Known::version);
        let owed = self.subscription.wants(name)
            && (held != Some(resource.version()) || self.due.contains(name))
            && self.refusal(resource).is_none();
        owed.then_some(resource)
    }

    /// The client waits to hear of a name, and there is nothing.
    fn is_absent(&self, name: &str, snapshot: &Snapshot) -> bool {
        let waits = self.due.contains(name)
            || self.subscription.names(name) && !self.known.contains_key(name);
        waits && snapshot.find(self.resource_type, name).is_none()
    }

    /// The client has what there is no more.
    fn is_gone(&self, name: &str, snapshot: &Snapshot) -> bool {
        self.known
            .get(name)
            .is_some_and(|known| *known != Known::Absent)
            && snapshot.find(self.resource_type, name).is_none()
    }

    fn refusal(&self, resource: &Resource) -> Option<&Refusal> {
        let refusals = self.refused.get(resource.name())?;
        refusals
            .iter()
            .find(|refusal| refusal.version == resource.version())
    }

    /// Something that the client wants and would not take is still what there is.
    fn has_refused(&self, snapshot: &Snapshot) -> bool {
        self.refused
            .keys()
            .filter(|name| self.subscription.wants(name))
            .any(|name| {
                let resource = snapshot.find(self.resource_type, name);
                resource.is_some_and(|resource| self.refusal(resource).is_some())
            })
    }

    /// Adds what the client has besides, as it has it.
    fn keep_others(&self, message: &mut Message) {
        let said: BTreeSet<_> = message.names().cloned().collect();
        let others = self
            .known
            .iter()
            .filter(|(name, _)| !said.contains(&***name));
        message.kept = others
            .filter_map(|(_, known)| known.held())
            .cloned()
            .collect();
    }

    /// Takes an ACK or a NACK. One that is not of the latest response says nothing of use.
    pub(super) fn settle(&mut self, answer: &Answer, events: &mut VecDeque<StreamEvent>) {
        let Some(unanswered) = self
            .unanswered
            .take_if(|unanswered| unanswered.nonce == answer.nonce)
        else {
            return;
        };
        // What has changed since was compared with what the client had before.
        self.pending.extend(unanswered.message.names().cloned());
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
        self.foreign = false;
        message
            .news
            .retain(|resource| !dropped.contains(resource.name()));
        message.removed.retain(|name| !dropped.contains(name));
        // Those of no more interest are forgotten with the rest of the request.
        self.known
            .extend(dropped.into_iter().map(|name| (name, Known::Unsure)));
        for resource in &message.news {
            let held = Known::Held(Arc::clone(resource));
            self.known.insert(Arc::clone(resource.name()), held);
        }
        self.note_removed(&message.removed);
        self.report_acknowledged(message.news, message.removed, events);
    }

    /// Finds out which resource is at fault: by the client's words if they say, else by sending halves. The client
    /// has dropped the good ones with the bad, so those are sent again in any case. Each refusal halves what is in
    /// question or ends with a version that is not sent again, so it comes to an end.
    fn refuse(&mut self, message: Message, error: &str, events: &mut VecDeque<StreamEvent>) {
        let Message {
            news,
            kept,
            removed,
        } = message;
        let is_at_fault = |resource: &Arc<Resource>| is_blamed(resource.name(), error);
        // A list repeats what the client has taken before. It may think better of that: then that is refused too.
        let taken_back: Vec<_> = kept.into_iter().filter(is_at_fault).collect();
        if news.is_empty() && taken_back.is_empty() {
            // There is nothing better to say to it.
            self.note_removed(&removed);
            self.report_refused(removed, error, events);
            return;
        }
        let (mut blamed, innocent): (Vec<_>, Vec<_>) = match news.as_slice() {
            [_] if taken_back.is_empty() => (news, Vec::new()),
            _ => news.into_iter().partition(is_at_fault),
        };
        let innocent = innocent.iter().map(|resource| Arc::clone(resource.name()));
        // It is still owed a list that it can take.
        self.greet |= self.tells_all() && (self.foreign || !taken_back.is_empty());
        for resource in &taken_back {
            self.known.remove(resource.name());
            self.pending.insert(Arc::clone(resource.name()));
        }
        blamed.extend(taken_back);
        if blamed.is_empty() {
            self.suspects = innocent.clone().take(innocent.len() / 2).collect();
        }
        self.due.extend(innocent.chain(removed));
        let names = blamed
            .iter()
            .map(|resource| Arc::clone(resource.name()))
            .collect();
        let error_of_all: Arc<str> = error.into();
        for resource in &blamed {
            let refusals = self.refused.entry(Arc::clone(resource.name())).or_default();
            if refusals.len() == MAX_REFUSALS {
                refusals.pop_front();
            }
            refusals.push_back(Refusal {
                version: resource.version(),
                error: Arc::clone(&error_of_all),
            });
        }
        self.report_refused(names, error, events);
    }

    pub(super) fn report_acknowledged(
        &self,
        resources: Vec<Arc<Resource>>,
        removed: Vec<Arc<str>>,
        events: &mut VecDeque<StreamEvent>,
    ) {
        if !resources.is_empty() || !removed.is_empty() {
            events.push_back(StreamEvent::Acknowledged {
                resource_type: self.resource_type,
                resources,
                removed,
            });
        }
    }

    fn report_refused(
        &self,
        names: Vec<Arc<str>>,
        error: &str,
        events: &mut VecDeque<StreamEvent>,
    ) {
        if !names.is_empty() {
            events.push_back(StreamEvent::Refused {
                resource_type: self.resource_type,
                names,
                error: error.to_owned(),
            });
        }
    }

    fn note_removed(&mut self, removed: &[Arc<str>]) {
        for name in removed {
            if self.subscription.names(name) {
                self.known.insert(Arc::clone(name), Known::Absent);
            } else {
                self.known.remove(name);
            }
        }
    }

    pub(super) fn forget_unwanted(&mut self) {
        let subscription = &self.subscription;
        self.known.retain(|name, _| subscription.wants(name));
        self.due.retain(|name| subscription.wants(name));
        self.pending.retain(|name| subscription.wants(name));
        if let Some(Unanswered {
            message, dropped, ..
        }) = &mut self.unanswered
        {
            let unwanted = message.names().filter(|name| !subscription.wants(name));
            dropped.extend(unwanted.cloned());
        }
    }

    /// Whether what is kept for this client stays within bounds; asked after each request, of which one alone is bounded
    /// by its size.
    pub(super) fn check_size(&self) -> Result<(), TooMuch> {
        let kept = [
            self.subscription.named().len(),
            self.known.len(),
            self.due.len(),
        ];
        if kept.iter().any(|count| *count > MAX_NAMES) {
            return Err(TooMuch::Names(self.resource_type));
        }
        Ok(())
    }

    pub(super) fn check_names(&self, names: &[String]) -> Result<(), TooMuch> {
        if names.iter().any(|name| name.len() > MAX_NAME_LENGTH) {
            return Err(TooMuch::NameLength(self.resource_type));
        }
        Ok(())
    }
}

/// Leaves for the next response what would make this one very large: what a client does not read is kept here.
fn shorten(message: &mut Message) {
    let mut size = 0;
    let fits = message.news.iter().take_while(|resource| {
        let is_first = size == 0;
        size += resource.body().len();
        is_first || size <= MAX_RESPONSE
    });
    message.news.truncate(fits.count());
}

/// How many names of a type one client may have; ten times what the largest fleet makes clusters.
const MAX_NAMES: usize = 10_000;

/// How long a name may be, in bytes.
const MAX_NAME_LENGTH: usize = 1_024;

/// How much one response carries if it can be divided, in bytes of resources. One that is larger has one resource.
const MAX_RESPONSE: usize = 512 << 10;

/// How many refused versions of one resource are remembered; before that many were refused, somebody looked.
const MAX_REFUSALS: usize = 1_000;
