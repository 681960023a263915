//! Exchanges with one client: as they are written down, and as they come.

use super::*;
use model::{resource, world};

#[path = "../../../fuzz/drive.rs"]
mod drive;
mod model;
mod properties;
mod scenarios;
mod sotw_scenarios;

#[test]
fn exchanges() {
    for (title, script) in scenarios::SCENARIOS {
        run(Dialect::Delta, title, script);
    }
    for (title, script) in sotw_scenarios::SCENARIOS {
        run(Dialect::StateOfTheWorld, title, script);
    }
}

/// The fuzz target's seeds.
#[test]
fn exchanges_found_by_fuzzing() {
    let seeds = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/exchange");
    let mut count = 0;
    for seed in seeds.read_dir().unwrap() {
        drive::drive(&std::fs::read(seed.unwrap().path()).unwrap());
        count += 1;
    }
    assert!(count > 10, "{count}");
}

#[track_caller]
fn run(dialect: Dialect, title: &str, script: &str) {
    let mut stream = XdsStream::new(dialect);
    let mut last_nonces: BTreeMap<ResourceType, String> = BTreeMap::new();
    let mut lines = script.lines().map(str::trim).peekable();
    while let Some(line) = lines.next() {
        match line.split_once(' ') {
            Some((">", request)) => match dialect {
                Dialect::Delta => stream.handle_delta(parse_request(request, &last_nonces)),
                Dialect::StateOfTheWorld => stream.handle_sotw(parse_sotw(request, &last_nonces)),
            }
            .unwrap(),
            _ => stream.handle_snapshot(Arc::new(parse_world(line))),
        }
        let mut told = Vec::new();
        while let Some(event) = stream.poll_event() {
            told.push(format!("! {}", show_event(&event)));
        }
        while let Some(response) = stream.poll_response() {
            told.push(format!(
                "< {}",
                show(
                    response.resource_type,
                    &response.resources,
                    &response.removed
                )
            ));
            last_nonces.insert(response.resource_type, response.nonce);
        }
        let mut expected = Vec::new();
        while let Some(line) = lines.next_if(|line| line.starts_with(['<', '!'])) {
            expected.push(line);
        }
        assert_eq!(told, expected, "{title}: after `{line}`");
    }
}

fn parse_request(text: &str, last_nonces: &BTreeMap<ResourceType, String>) -> DeltaRequest {
    let (text, error) = match text.split_once(" nack ") {
        Some((text, error)) => (text, Some(error.to_owned())),
        None => (text, None),
    };
    let mut words = text.split_whitespace();
    let resource_type = parse_type(words.next().unwrap());
    let last_nonce = || last_nonces.get(&resource_type).cloned().unwrap_or_default();
    let mut request = DeltaRequest {
        resource_type,
        subscribe: Vec::new(),
        unsubscribe: Vec::new(),
        initial_versions: BTreeMap::new(),
        answer: error.map(|error| Answer {
            nonce: last_nonce(),
            error: Some(error),
        }),
    };
    for word in words {
        match (word, word.split_at(1)) {
            ("ack", _) => {
                request.answer = Some(Answer {
                    nonce: last_nonce(),
                    error: None,
                })
            }
            (_, ("+", name)) => request.subscribe.push(name.to_owned()),
            (_, ("-", name)) => request.unsubscribe.push(name.to_owned()),
            (_, ("@", claim)) => {
                let (name, content) = claim.split_once('=').unwrap();
                let version = match content {
                    "?" => "from elsewhere".to_owned(),
                    content => resource(name, content).version().to_string(),
                };
                request.initial_versions.insert(name.to_owned(), version);
            }
            _ => {
                let nonce = word.strip_prefix("ack#").unwrap().to_owned();
                request.answer = Some(Answer { nonce, error: None });
            }
        }
    }
    request
}

fn parse_sotw(text: &str, last_nonces: &BTreeMap<ResourceType, String>) -> SotwRequest {
    let (text, error) = match text.split_once(" nack ") {
        Some((text, error)) => (text, Some(error.to_owned())),
        None => (text, None),
    };
    let mut words = text.split_whitespace();
    let resource_type = parse_type(words.next().unwrap());
    let last_nonce = || last_nonces.get(&resource_type).cloned().unwrap_or_default();
    let mut request = SotwRequest {
        resource_type,
        names: Vec::new(),
        version: String::new(),
        nonce: error.as_ref().map(|_| last_nonce()).unwrap_or_default(),
        error,
    };
    let mut claims = BTreeMap::new();
    for word in words {
        if word == "ack" {
            request.nonce = last_nonce();
        } else if let Some(nonce) = word.strip_prefix("ack#") {
            request.nonce = nonce.to_owned();
        } else if let Some(claim) = word.strip_prefix('@') {
            let (name, content) = claim.split_once('=').unwrap();
            claims.insert(name, Arc::new(resource(name, content)));
        } else {
            request.names.push(word.to_owned());
        }
    }
    if !claims.is_empty() {
        request.version = sotw::state_version(claims.values());
    }
    request
}

/// A world in which each cluster refers to the endpoints of its name, and each listener to every route.
fn parse_world(text: &str) -> Snapshot {
    let list = text.strip_prefix("world").unwrap();
    let all: Vec<(ResourceType, &str, &str)> = list
        .split(',')
        .flat_map(|part| {
            let mut words = part.split_whitespace();
            let resource_type = words.next().map(parse_type);
            words.map(move |word| {
                let (name, content) = word.split_once('=').unwrap();
                (resource_type.unwrap(), name, content)
            })
        })
        .collect();
    world(&all)
}

fn show_event(event: &StreamEvent) -> String {
    match event {
        StreamEvent::Acknowledged {
            resource_type,
            resources,
            removed,
        } => {
            format!("acked {}", show(*resource_type, resources, removed))
        }
        StreamEvent::Refused {
            resource_type,
            names,
            error,
        } => {
            format!(
                "refused {} {}: {error}",
                show(*resource_type, &[], &[]),
                names.join(" ")
            )
        }
    }
}

fn show(resource_type: ResourceType, resources: &[Arc<Resource>], removed: &[Arc<str>]) -> String {
    let (label, _) = TYPES
        .iter()
        .find(|(_, known)| *known == resource_type)
        .unwrap();
    let mut text = (*label).to_owned();
    for resource in resources {
        text += &format!(
            " {}={}",
            resource.name(),
            String::from_utf8_lossy(resource.body())
        );
    }
    for name in removed {
        text += &format!(" -{name}");
    }
    text
}

fn parse_type(label: &str) -> ResourceType {
    TYPES.iter().find(|(known, _)| *known == label).unwrap().1
}

const TYPES: [(&str, ResourceType); 6] = [
    ("CDS", ResourceType::Cluster),
    ("EDS", ResourceType::Endpoint),
    ("LDS", ResourceType::Listener),
    ("RDS", ResourceType::Route),
    ("SDS", ResourceType::Secret),
    ("ECDS", ResourceType::Extension),
];
