//! A client that names all it wants in each request.

use std::collections::BTreeSet;

use super::*;

type Held = BTreeMap<(ResourceType, String), Arc<Resource>>;

/// A client that takes everything but what starts with `bad`, and checks what it is told. Of a response that it refuses it
/// takes nothing.
pub(crate) struct Client {
    stream: XdsStream,
    snapshot: Option<Arc<Snapshot>>,
    wants: BTreeMap<ResourceType, BTreeSet<&'static str>>,
    holds: Held,
    /// By type: the nonce of the last response that it answered, and the version of the last that it took.
    nonces: BTreeMap<ResourceType, String>,
    versions: BTreeMap<ResourceType, String>,
    outstanding: BTreeMap<ResourceType, XdsResponse>,
    refused: BTreeSet<(ResourceType, String, String)>,
    /// It came with clusters to this stream and has taken no list of them on it yet.
    came_with: Option<Held>,
    told: BTreeMap<(ResourceType, String), u64>,
    responses: u64,
}

impl Client {
    pub(crate) fn new() -> Self {
        Self {
            stream: XdsStream::new(Dialect::StateOfTheWorld),
            snapshot: None,
            wants: BTreeMap::new(),
            holds: BTreeMap::new(),
            nonces: BTreeMap::new(),
            versions: BTreeMap::new(),
            outstanding: BTreeMap::new(),
            refused: BTreeSet::new(),
            came_with: None,
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
                self.request(*kind, None);
            }
            Operation::Unsubscribe(kind, name) => {
                // While it has not answered, the server hears of it with the answer.
                if !self.outstanding.contains_key(kind)
                    && let Some(wants) = self.wants.get_mut(kind)
                {
                    wants.remove(name);
                    if wants.is_empty() {
                        self.versions.remove(kind);
                    }
                    self.drop_unwanted(*kind);
                    self.request(*kind, None);
                }
            }
            Operation::Answer(kind) => self.answer(*kind),
            Operation::AnswerOutdated(kind, nonce) => self.say_outdated(*kind, *nonce),
            Operation::Reconnect => self.reconnect(),
        }
    }

    /// What a request that has not seen the last response says must not matter.
    fn say_outdated(&mut self, kind: ResourceType, nonce: u8) {
        let nonce = nonce.to_string();
        let last = self.outstanding.get(&kind).map(|response| &response.nonce);
        let last = last.or_else(|| self.nonces.get(&kind));
        if last.is_none_or(|last| *last == nonce) || !self.wants.contains_key(&kind) {
            return;
        }
        let request = SotwRequest {
            resource_type: kind,
            names: vec!["d".to_owned()],
            version: "other".to_owned(),
            nonce,
            error: Some("no".to_owned()),
        };
        self.stream.handle_sotw(request).unwrap();
        self.listen();
    }

    fn reconnect(&mut self) {
        self.stream = XdsStream::new(Dialect::StateOfTheWorld);
        self.outstanding.clear();
        self.nonces.clear();
        self.refused.clear();
        self.told.clear();
        let clusters = self
            .holds
            .iter()
            .filter(|((kind, _), _)| *kind == ResourceType::Cluster);
        self.came_with = Some(
            clusters
                .map(|(key, held)| (key.clone(), Arc::clone(held)))
                .collect(),
        );
        if let Some(snapshot) = &self.snapshot {
            self.stream.handle_snapshot(Arc::clone(snapshot));
        }
        self.wants.retain(|_, names| !names.is_empty());
        for kind in self.wants.clone().into_keys() {
            self.request(kind, None);
        }
    }

    fn answer(&mut self, kind: ResourceType) {
        let Some(response) = self.outstanding.remove(&kind) else {
            return;
        };
        self.nonces.insert(kind, response.nonce.clone());
        let is_bad = |resource: &&Arc<Resource>| resource.body().starts_with(b"bad");
        let bad: Vec<_> = response.resources.iter().filter(is_bad).collect();
        if bad.is_empty() {
            self.take(response);
            self.request(kind, None);
            return;
        }
        // Envoy's CDS says which, the others do not.
        let names_them = kind == ResourceType::Cluster;
        for resource in &bad {
            if names_them || response.resources.len() == 1 {
                let version = resource.version().to_string();
                self.refused
                    .insert((kind, resource.name().to_string(), version));
            }
        }
        let list: Vec<_> = bad
            .iter()
            .map(|resource| format!("{}: bad", resource.name()))
            .collect();
        let error = if names_them {
            format!("Error adding/updating cluster(s) {}", list.join(", "))
        } else {
            "malformed".to_owned()
        };
        self.request(kind, Some(error));
    }

    fn take(&mut self, response: XdsResponse) {
        let kind = response.resource_type;
        if kind == ResourceType::Cluster {
            self.came_with = None;
            self.holds.retain(|(held, _), _| *held != kind);
        }
        for resource in response.resources {
            self.holds
                .insert((kind, resource.name().to_string()), resource);
        }
        self.versions.insert(kind, response.version);
        self.drop_unwanted(kind);
    }

    fn drop_unwanted(&mut self, kind: ResourceType) {
        let wants = self.wants.get(&kind).cloned().unwrap_or_default();
        self.holds.retain(|(held, name), _| {
            *held != kind || wants.contains("*") || wants.contains(name.as_str())
        });
    }

    fn request(&mut self, kind: ResourceType, error: Option<String>) {
        let names = self.wants.get(&kind).cloned().unwrap_or_default();
        let request = SotwRequest {
            resource_type: kind,
            names: names.into_iter().map(str::to_owned).collect(),
            version: self.versions.get(&kind).cloned().unwrap_or_default(),
            nonce: self.nonces.get(&kind).cloned().unwrap_or_default(),
            error,
        };
        self.stream.handle_sotw(request).unwrap();
        self.listen();
    }

    fn listen(&mut self) {
        while self.stream.poll_event().is_some() {}
        while let Some(response) = self.stream.poll_response() {
            let kind = response.resource_type;
            self.responses += 1;
            assert!(response.removed.is_empty());
            for resource in &response.resources {
                let name = resource.name().to_string();
                let version = resource.version().to_string();
                assert!(
                    !self.refused.contains(&(kind, name.clone(), version)),
                    "{name} was refused"
                );
                let is_new = self.holds.get(&(kind, name.clone())) != Some(resource);
                if kind != ResourceType::Cluster || is_new {
                    self.told.insert((kind, name), self.responses);
                }
            }
            assert!(
                self.outstanding.insert(kind, response).is_none(),
                "two responses of a type are outstanding"
            );
        }
    }

    fn wants(&self, kind: ResourceType, name: &str) -> bool {
        let wants = self.wants.get(&kind);
        wants.is_some_and(|wants| wants.contains("*") || wants.contains(name))
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
        let is_bad = |resource: &Resource| resource.body().starts_with(b"bad");
        for kind in ResourceType::ALL {
            let there = snapshot.of(kind).values();
            let there: Vec<_> = there
                .filter(|resource| self.wants(kind, resource.name()))
                .collect();
            if kind == ResourceType::Cluster {
                if there.iter().any(|resource| is_bad(resource)) && self.keeps_what_it_came_with() {
                    continue;
                }
                let gone = |name: &str| snapshot.find(kind, name).is_none();
                let mut held = self.holds.keys().filter(|(held, _)| *held == kind);
                assert!(!held.any(|(_, name)| self.wants(kind, name) && gone(name)));
            }
            for resource in there {
                self.check(kind, resource, is_bad(resource));
            }
        }
    }

    /// A refusal must not take away what the server did not know of.
    fn keeps_what_it_came_with(&self) -> bool {
        let Some(came_with) = &self.came_with else {
            return false;
        };
        for ((kind, name), resource) in came_with {
            if self.wants(*kind, name) {
                assert_eq!(self.holds.get(&(*kind, name.clone())), Some(resource));
            }
        }
        true
    }

    fn check(&self, kind: ResourceType, resource: &Resource, is_bad: bool) {
        let key = (kind, resource.name().to_string());
        let held = self.holds.get(&key);
        let is_held = held.is_some_and(|held| held.version() == resource.version());
        assert_eq!(is_held, !is_bad, "{key:?}");
        if kind == ResourceType::Endpoint
            && !is_bad
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
