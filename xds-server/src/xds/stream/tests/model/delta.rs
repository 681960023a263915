//! A client that speaks in differences.

use std::collections::BTreeSet;

use super::*;

/// A client that takes everything but what starts with `bad`, and checks what it is told.
pub(crate) struct Client {
    stream: XdsStream,
    snapshot: Option<Arc<Snapshot>>,
    wants: BTreeMap<ResourceType, BTreeSet<&'static str>>,
    holds: BTreeMap<(ResourceType, String), Arc<Resource>>,
    outstanding: BTreeMap<ResourceType, XdsResponse>,
    refused: BTreeSet<(ResourceType, String, String)>,
    /// When a name was last told on this stream, counted in responses.
    told: BTreeMap<(ResourceType, String), u64>,
    responses: u64,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            stream: XdsStream::new(Dialect::Delta),
            snapshot: None,
            wants: BTreeMap::new(),
            holds: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            refused: BTreeSet::new(),
            told: BTreeMap::new(),
            responses: 0,
        }
    }

    pub(crate) fn perform(&mut self, operation: &Operation) {
        match operation {
            Operation::World(resources) => {
                let snapshot = Arc::new(world(resources));
                self.snapshot = Some(Arc::clone(&snapshot));
                self.stream.handle_snapshot(snapshot);
                self.listen();
            }
            Operation::Subscribe(kind, name) => {
                self.wants.entry(*kind).or_default().insert(name);
                self.request(*kind, |request| request.subscribe.push((*name).to_owned()));
            }
            Operation::Unsubscribe(kind, name) => {
                let Some(wants) = self.wants.get_mut(kind) else {
                    return;
                };
                wants.remove(name);
                let wants = wants.clone();
                self.holds.retain(|(held_kind, held), _| {
                    held_kind != kind
                        || held != name && (wants.contains("*") || wants.contains(held.as_str()))
                });
                self.request(*kind, |request| {
                    request.unsubscribe.push((*name).to_owned())
                });
            }
            Operation::Answer(kind) => self.answer(*kind),
            Operation::AnswerOutdated(kind, nonce) => {
                let nonce = nonce.to_string();
                if self
                    .outstanding
                    .get(kind)
                    .is_none_or(|response| response.nonce != nonce)
                    && self.wants.contains_key(kind)
                {
                    self.request(*kind, |request| {
                        request.answer = Some(Answer { nonce, error: None })
                    });
                }
            }
            Operation::Reconnect => self.reconnect(),
        }
    }

    fn reconnect(&mut self) {
        self.stream = XdsStream::new(Dialect::Delta);
        self.outstanding.clear();
        self.refused.clear();
        self.told.clear();
        if let Some(snapshot) = &self.snapshot {
            self.stream.handle_snapshot(Arc::clone(snapshot));
        }
        for (kind, names) in self.wants.clone() {
            let held: Vec<_> = self
                .holds
                .iter()
                .filter(|((held_kind, _), _)| *held_kind == kind)
                .collect();
            let claims = held
                .iter()
                .map(|((_, name), resource)| (name.clone(), resource.version().to_string()))
                .collect();
            if names.is_empty() {
                self.wants.remove(&kind);
                continue;
            }
            self.request(kind, |request| {
                request.subscribe = names.iter().map(|name| (*name).to_owned()).collect();
                request.initial_versions = claims;
            });
        }
    }

    fn answer(&mut self, kind: ResourceType) {
        let Some(response) = self.outstanding.remove(&kind) else {
            return;
        };
        let bad: Vec<_> = response
            .resources
            .iter()
            .filter(|resource| resource.body().starts_with(b"bad"))
            .collect();
        // Envoy's CDS says which, the others do not.
        let error = match (bad.as_slice(), kind) {
            ([], _) => None,
            (bad, ResourceType::Cluster) => {
                let list: Vec<_> = bad
                    .iter()
                    .map(|resource| format!("{}: bad", resource.name()))
                    .collect();
                Some(format!(
                    "Error adding/updating cluster(s) {}",
                    list.join(", ")
                ))
            }
            _ => Some("malformed a: b: c: d:".to_owned()),
        };
        if error.is_none() {
            for resource in &response.resources {
                if self.wants(kind, resource.name()) {
                    self.holds
                        .insert((kind, resource.name().to_string()), Arc::clone(resource));
                }
            }
            for name in &response.removed {
                self.holds.remove(&(kind, name.to_string()));
            }
        } else if let [resource] = response.resources.as_slice() {
            self.refused.insert((
                kind,
                resource.name().to_string(),
                resource.version().to_string(),
            ));
        }
        self.request(kind, |request| {
            request.answer = Some(Answer {
                nonce: response.nonce,
                error,
            })
        });
    }

    fn request(&mut self, kind: ResourceType, fill: impl FnOnce(&mut DeltaRequest)) {
        let mut request = DeltaRequest {
            resource_type: kind,
            subscribe: Vec::new(),
            unsubscribe: Vec::new(),
            initial_versions: BTreeMap::new(),
            answer: None,
        };
        fill(&mut request);
        self.stream.handle_delta(request).unwrap();
        self.listen();
    }

    /// Takes in all there is to hear.
    fn listen(&mut self) {
        while let Some(event) = self.stream.poll_event() {
            let StreamEvent::Refused {
                resource_type,
                names,
                ..
            } = event
            else {
                continue;
            };
            for name in names {
                assert!(
                    !self
                        .holds
                        .get(&(resource_type, name.to_string()))
                        .is_some_and(|held| held.body().starts_with(b"bad"))
                );
            }
        }
        while let Some(response) = self.stream.poll_response() {
            let kind = response.resource_type;
            self.responses += 1;
            for name in response
                .resources
                .iter()
                .map(|resource| resource.name())
                .chain(&response.removed)
            {
                assert!(self.wants(kind, name), "{name} is of no interest");
            }
            for resource in &response.resources {
                let name = resource.name().to_string();
                let version = resource.version().to_string();
                assert!(
                    !self.refused.contains(&(kind, name.clone(), version)),
                    "{name} was refused"
                );
                self.told.insert((kind, name), self.responses);
            }
            assert!(
                self.outstanding.insert(kind, response).is_none(),
                "two responses of a type are outstanding"
            );
        }
    }

    fn wants(&self, kind: ResourceType, name: &str) -> bool {
        self.wants
            .get(&kind)
            .is_some_and(|wants| wants.contains("*") || wants.contains(name))
    }

    /// Answers until nothing more comes, which it must, and compares.
    pub(crate) fn finish(&mut self) {
        for _ in 0..200 {
            for kind in ResourceType::ALL {
                self.answer(kind);
            }
        }
        assert!(
            self.outstanding.is_empty(),
            "the stream does not come to rest"
        );
        let Some(snapshot) = self.snapshot.clone() else {
            return;
        };
        for kind in ResourceType::ALL {
            for resource in snapshot
                .of(kind)
                .values()
                .filter(|resource| self.wants(kind, resource.name()))
            {
                let key = (kind, resource.name().to_string());
                let is_held = self
                    .holds
                    .get(&key)
                    .is_some_and(|held| held.version() == resource.version());
                let is_bad = resource.body().starts_with(b"bad");
                assert_eq!(is_held, !is_bad, "{key:?}");
                if is_bad {
                    continue;
                }
                if kind == ResourceType::Endpoint
                    && let Some(cluster) = self.told.get(&(ResourceType::Cluster, key.1.clone()))
                {
                    assert!(
                        self.told.get(&key) > Some(cluster),
                        "{} waits for its endpoints",
                        key.1
                    );
                }
            }
        }
        for (kind, name) in self.holds.keys() {
            assert!(snapshot.find(*kind, name).is_some(), "{name} is gone");
        }
    }
}
