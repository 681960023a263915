//! Turns a fuzzer's bytes into an exchange, and checks what holds after each step of any. The seeds go through the same
//! function in a plain test.
//!
//! Lines, of which the first says who the client is: `d` and `s` behave as Envoy does, in differences and in states of the
//! world; `D` and `S` say what they like. Then
//!
//! | line | |
//! |---|---|
//! | `w` and up to twelve letters | the world: `1`, `2`, `3` good, `x`, `y` bad, of clusters `a` to `d`, endpoints, extensions |
//! | `+Ca`, `-E*` | `d` and `s`: subscribes, unsubscribes |
//! | `!X`, `?X5` | `d` and `s`: answers, answers response 5 |
//! | `~` | the stream breaks, and another is opened |
//! | `>Cn+ab-c@a1` | `D` and `S`: answers nothing (`-`), response 0 to 9, the latest (`a`), refuses it (`n`), or `a` in it (`b`); wants, wants no more, says it has |
//!
//! What is none of that is passed over.

use std::collections::BTreeSet;

use super::model::{Operation, delta, resource, sotw, world};
use super::*;

pub(crate) fn drive(data: &[u8]) {
    let mut lines = data.split(|byte| *byte == b'\n');
    let who = lines.next().unwrap_or_default();
    let lines = lines.take(MAX_STEPS);
    match who {
        b"d" => {
            let mut client = delta::Client::new();
            lines
                .filter_map(operation)
                .for_each(|it| client.perform(&it));
            client.finish();
        }
        b"s" => {
            let mut client = sotw::Client::new();
            lines
                .filter_map(operation)
                .for_each(|it| client.perform(&it));
            client.finish();
        }
        b"D" => wild(Dialect::Delta, lines),
        b"S" => wild(Dialect::StateOfTheWorld, lines),
        _ => {}
    }
}

fn operation(line: &[u8]) -> Option<Operation> {
    match *line {
        [b'w', ref contents @ ..] => Some(Operation::World(parse_world(contents))),
        [b'+', kind, of] => Some(Operation::Subscribe(parse_kind(kind)?, parse_name(of)?)),
        [b'-', kind, of] => Some(Operation::Unsubscribe(parse_kind(kind)?, parse_name(of)?)),
        [b'!', kind] => Some(Operation::Answer(parse_kind(kind)?)),
        [b'?', kind, nonce @ b'0'..=b'9'] => {
            Some(Operation::AnswerOutdated(parse_kind(kind)?, nonce - b'0'))
        }
        [b'~'] => Some(Operation::Reconnect),
        _ => None,
    }
}

fn wild<'a>(dialect: Dialect, lines: impl Iterator<Item = &'a [u8]>) {
    let mut client = Wild::new(dialect);
    for line in lines {
        match *line {
            [b'w', ref contents @ ..] => client.publish(world(&parse_world(contents))),
            [b'~'] => client.reconnect(),
            [b'>', kind, answer, ref rest @ ..] => {
                if let Some(kind) = parse_kind(kind) {
                    client.request(kind, answer, rest);
                }
            }
            _ => {}
        }
    }
    client.finish();
}

/// A client that may say anything, and the little that has to hold whatever it says.
struct Wild {
    dialect: Dialect,
    stream: XdsStream,
    snapshot: Option<Arc<Snapshot>>,
    types: BTreeMap<ResourceType, Wanted>,
    nonces: BTreeSet<String>,
}

/// One type, as the protocol has it.
#[derive(Default)]
struct Wanted {
    asked: bool,
    everything: Everything,
    names: BTreeSet<&'static str>,
    unanswered: Option<XdsResponse>,
    last_nonce: String,
    refused: BTreeSet<(String, String)>,
    claimed: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Everything {
    #[default]
    Implied,
    Asked,
    No,
}

impl Wanted {
    fn wants(&self, name: &str) -> bool {
        self.asked && (self.everything != Everything::No || self.names.contains(name))
    }

    fn add(&mut self, names: &[&'static str]) {
        for name in names {
            if *name == "*" {
                self.everything = Everything::Asked;
            } else {
                if self.everything == Everything::Implied {
                    self.everything = Everything::No;
                }
                self.names.insert(name);
            }
        }
    }

    fn remove(&mut self, names: &[&'static str]) {
        for name in names {
            if *name == "*" {
                self.everything = Everything::No;
            }
            self.names.remove(name);
        }
    }

    fn replace(&mut self, names: &[&'static str]) {
        self.names.clear();
        if self.everything == Everything::Asked {
            self.everything = Everything::No;
        }
        self.add(names);
    }

    /// Takes an answer to the response that it answers, if to any.
    fn settle(&mut self, nonce: &str, error: Option<&str>) {
        let answered = self.unanswered.take_if(|sent| sent.nonce == nonce);
        let (Some(sent), Some(error)) = (answered, error) else {
            return;
        };
        // With the state of the world comes what the client has already: who is at fault is not always to be known here.
        let is_lone = sent.resources.len() == 1 && !self.tells_all(&sent);
        for refused in sent.resources {
            if is_lone || error == BLAMES_A && **refused.name() == *"a" && !self.claimed {
                let version = refused.version().to_string();
                self.refused.insert((refused.name().to_string(), version));
            }
        }
    }

    fn tells_all(&self, sent: &XdsResponse) -> bool {
        !sent.version.is_empty() && sent.resource_type == ResourceType::Cluster
    }
}

impl Wild {
    fn new(dialect: Dialect) -> Self {
        Self {
            dialect,
            stream: XdsStream::new(dialect),
            snapshot: None,
            types: BTreeMap::new(),
            nonces: BTreeSet::new(),
        }
    }

    fn publish(&mut self, snapshot: Snapshot) {
        let snapshot = Arc::new(snapshot);
        self.snapshot = Some(Arc::clone(&snapshot));
        self.stream.handle_snapshot(snapshot);
        self.listen();
    }

    fn reconnect(&mut self) {
        let snapshot = self.snapshot.take();
        *self = Self::new(self.dialect);
        if let Some(snapshot) = snapshot {
            self.stream.handle_snapshot(Arc::clone(&snapshot));
            self.snapshot = Some(snapshot);
        }
    }

    fn request(&mut self, kind: ResourceType, answer: u8, rest: &[u8]) {
        let wanted = self.types.entry(kind).or_default();
        let latest = || wanted.last_nonce.clone();
        let (nonce, error) = match answer {
            b'0'..=b'9' => ((answer - b'0').to_string(), None),
            b'a' => (latest(), None),
            b'n' => (latest(), Some("no good")),
            b'b' => (latest(), Some(BLAMES_A)),
            _ => (String::new(), None),
        };
        let (mut subscribe, mut unsubscribe) = (Vec::new(), Vec::new());
        let mut claims = BTreeMap::new();
        let mut section = b'+';
        let mut letters = rest.iter().copied();
        while let Some(letter) = letters.next() {
            match (letter, section) {
                (b'+' | b'-' | b'@', _) => section = letter,
                (_, b'+') => subscribe.extend(parse_name(letter)),
                (_, b'-') => unsubscribe.extend(parse_name(letter)),
                _ => {
                    let content = letters.next().and_then(parse_content).unwrap_or("other");
                    if let Some(name) = parse_name(letter) {
                        let made = resource(name, content);
                        claims.insert(name.to_owned(), made.version().to_string());
                    }
                }
            }
        }
        match self.dialect {
            Dialect::Delta => {
                self.say_difference(kind, nonce, error, &subscribe, &unsubscribe, claims);
            }
            Dialect::StateOfTheWorld => self.say_state(kind, nonce, error, &subscribe, &claims),
        }
        self.listen();
    }

    fn say_difference(
        &mut self,
        kind: ResourceType,
        nonce: String,
        error: Option<&str>,
        subscribe: &[&'static str],
        unsubscribe: &[&'static str],
        claims: BTreeMap<String, String>,
    ) {
        let wanted = self.types.entry(kind).or_default();
        wanted.settle(&nonce, error);
        wanted.claimed |= !claims.is_empty();
        wanted.remove(unsubscribe);
        wanted.add(subscribe);
        wanted.asked = true;
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let request = DeltaRequest {
            resource_type: kind,
            subscribe: owned(subscribe),
            unsubscribe: owned(unsubscribe),
            initial_versions: claims,
            answer: (!nonce.is_empty()).then(|| Answer {
                nonce,
                error: error.map(str::to_owned),
            }),
        };
        self.stream.handle_delta(request).expect("few names");
    }

    fn say_state(
        &mut self,
        kind: ResourceType,
        nonce: String,
        error: Option<&str>,
        names: &[&'static str],
        claims: &BTreeMap<String, String>,
    ) {
        let wanted = self.types.entry(kind).or_default();
        if !wanted.asked || wanted.last_nonce == nonce {
            wanted.settle(&nonce, error);
            wanted.claimed |= !claims.is_empty();
            wanted.replace(names);
            wanted.asked = true;
        }
        let request = SotwRequest {
            resource_type: kind,
            names: names.iter().map(|name| (*name).to_owned()).collect(),
            version: claims.values().next().cloned().unwrap_or_default(),
            nonce,
            error: error.map(str::to_owned),
        };
        self.stream.handle_sotw(request).expect("few names");
    }

    fn listen(&mut self) {
        while let Some(event) = self.stream.poll_event() {
            if let StreamEvent::Refused { error, .. } = event {
                assert!(!error.is_empty());
            }
        }
        while let Some(response) = self.stream.poll_response() {
            let wanted = self.types.entry(response.resource_type).or_default();
            let names = response.resources.iter().map(|resource| resource.name());
            for name in names.chain(&response.removed) {
                assert!(wanted.wants(name), "{name} is of no interest");
            }
            for resource in &response.resources {
                let of = (resource.name().to_string(), resource.version().to_string());
                assert!(!wanted.refused.contains(&of), "{of:?} was refused");
            }
            assert!(self.nonces.insert(response.nonce.clone()), "a nonce twice");
            wanted.last_nonce.clone_from(&response.nonce);
            let before = wanted.unanswered.replace(response);
            assert!(before.is_none(), "two responses of a type are outstanding");
        }
        self.check_bounds();
    }

    /// What is kept grows with what there is and what was asked for, not with how often.
    fn check_bounds(&self) {
        for status in self.stream.status() {
            assert!(status.names.len() <= NAMES.len());
            assert!(status.acknowledged.len() <= NAMES.len());
            assert!(status.unanswered.len() <= NAMES.len());
            assert!(status.refused.len() <= NAMES.len());
        }
    }

    /// Takes all that comes until nothing more does, which it must; then everything wanted was told, or refused.
    fn finish(&mut self) {
        for _ in 0..MAX_STEPS {
            for kind in KINDS {
                let Some(sent) = self.types.get(&kind).and_then(|of| of.unanswered.as_ref()) else {
                    continue;
                };
                let nonce = sent.nonce.clone();
                match self.dialect {
                    Dialect::Delta => {
                        self.say_difference(kind, nonce, None, &[], &[], BTreeMap::new());
                    }
                    Dialect::StateOfTheWorld => {
                        let wanted = &self.types[&kind];
                        let mut names: Vec<_> = wanted.names.iter().copied().collect();
                        names.extend((wanted.everything == Everything::Asked).then_some("*"));
                        self.say_state(kind, nonce, None, &names, &BTreeMap::new());
                    }
                }
                self.listen();
            }
        }
        let open = self.types.values().any(|of| of.unanswered.is_some());
        assert!(!open, "the stream does not come to rest");
        let Some(snapshot) = &self.snapshot else {
            return;
        };
        for status in self.stream.status() {
            let kind = status.resource_type;
            let wanted = &self.types[&kind];
            let is_settled = |resource: &Arc<Resource>| {
                status.acknowledged.contains(resource)
                    || status
                        .refused
                        .iter()
                        .any(|(refused, _)| refused == resource)
            };
            let owed: Vec<_> = snapshot
                .of(kind)
                .values()
                .filter(|resource| wanted.wants(resource.name()) && !is_settled(resource))
                .collect();
            // Clusters that are not known here would go if a list came without them.
            let withheld = wanted.claimed && kind == ResourceType::Cluster;
            assert!(owed.is_empty() || withheld, "{kind:?}: {owed:?}");
        }
    }
}

fn parse_world(contents: &[u8]) -> Vec<(ResourceType, &'static str, &'static str)> {
    let places = KINDS
        .iter()
        .flat_map(|kind| NAMES.map(|name| (*kind, name)));
    let all: BTreeMap<_, _> = places
        .zip(contents.iter().copied().chain(std::iter::repeat(b'-')))
        .filter_map(|(place, content)| Some((place, parse_content(content)?)))
        .collect();
    let mut all = all;
    for name in NAMES {
        // Each cluster has endpoints, and no endpoints are without their cluster.
        let endpoints = (ResourceType::Endpoint, name);
        if all.contains_key(&(ResourceType::Cluster, name)) {
            all.entry(endpoints).or_insert("1");
        } else {
            all.remove(&endpoints);
        }
    }
    all.into_iter()
        .map(|((kind, name), content)| (kind, name, content))
        .collect()
}

fn parse_kind(letter: u8) -> Option<ResourceType> {
    match letter {
        b'C' => Some(ResourceType::Cluster),
        b'E' => Some(ResourceType::Endpoint),
        b'X' => Some(ResourceType::Extension),
        _ => None,
    }
}

fn parse_name(letter: u8) -> Option<&'static str> {
    match letter {
        b'a' => Some("a"),
        b'b' => Some("b"),
        b'c' => Some("c"),
        b'd' => Some("d"),
        b'*' => Some("*"),
        _ => None,
    }
}

fn parse_content(letter: u8) -> Option<&'static str> {
    match letter {
        b'1' => Some("1"),
        b'2' => Some("2"),
        b'3' => Some("3"),
        b'x' => Some("bad1"),
        b'y' => Some("bad2"),
        _ => None,
    }
}

const KINDS: [ResourceType; 3] = [
    ResourceType::Cluster,
    ResourceType::Endpoint,
    ResourceType::Extension,
];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];
const BLAMES_A: &str = "Error adding/updating cluster(s) a: no good";

/// More than an exchange needs to come to rest.
const MAX_STEPS: usize = 200;
