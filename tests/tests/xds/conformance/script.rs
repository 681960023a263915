//! How scenarios are written.
//!
//! | line | |
//! |---|---|
//! | `world T a=1, U b=1` | what there is now: all of it |
//! | `> T a b` | the client wants these, and nothing else; with no names, all if it never named any |
//! | `> T again a` | it names once more what it wants |
//! | `> T outdated a b` | it asks for these, and answers a response that is not the latest |
//! | `> T ack`, `> T nack WORDS` | it answers a response that it has held back |
//! | `leave`, `return` | its stream ends; it opens another, with what it has |
//! | `restart` | the control plane is another process, with the same world |
//! | `< T a=1 -b` | what the server has to say to that, in one response; the client takes it |
//! | `< T a=1 nack WORDS`, `< T a=1 hold` | the client refuses it; does not answer |
//! | `! T a` | the operator is told that this was refused |
//!
//! `T` and `U` are the types that the scenario is run with. `<delta`, `<sotw`, `<all` and `<new` are for one dialect alone:
//! the last two for the types of which the state of the world tells all, and the others.

use std::collections::BTreeSet;

use berth::xds::{Dialect, ResourceType};

use crate::messages::World;

pub(super) struct Scenario {
    pub(super) title: &'static str,
    /// What `T` stands for, and `U` if there are two words.
    pub(super) types: &'static [&'static str],
    pub(super) dialects: &'static [Dialect],
    pub(super) script: &'static str,
}

pub(super) const BOTH: &[Dialect] = &[Dialect::StateOfTheWorld, Dialect::Delta];
pub(super) const DELTA: &[Dialect] = &[Dialect::Delta];

pub(super) const EACH: &[&str] = &["CDS", "EDS", "LDS", "RDS", "SDS", "ECDS"];

/// One step, and what has to come of it.
pub(super) struct Line {
    pub(super) text: String,
    pub(super) step: Step,
    pub(super) expected: Vec<(String, Manner)>,
    pub(super) refused: Vec<String>,
}

pub(super) enum Step {
    World(World),
    Want(ResourceType, BTreeSet<String>),
    WantOutdated(ResourceType, BTreeSet<String>),
    NameAgain(ResourceType, BTreeSet<String>),
    Answer(ResourceType, Option<String>),
    Leave,
    Return,
    Restart,
}

/// What the client does with a response.
#[derive(Debug)]
pub(super) enum Manner {
    Take,
    Refuse(String),
    Hold,
}

pub(super) fn parse(script: &str, types: &str, dialect: Dialect) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for line in script.lines().map(|line| with_types(line, types)) {
        let (head, rest) = line.split_once(' ').unwrap_or((&line, ""));
        if head.starts_with('<') {
            let (text, manner) = parse_manner(rest);
            let of = text.split(' ').next().and_then(parse_type);
            if is_for(head, dialect, of.expect("a type")) {
                let last = lines.last_mut().expect("a step comes first");
                last.expected.push((text, manner));
            }
        } else if head == "!" {
            let last = lines.last_mut().expect("a step comes first");
            last.refused.push(rest.to_owned());
        } else {
            lines.push(Line {
                step: parse_step(head, rest),
                text: line,
                expected: Vec::new(),
                refused: Vec::new(),
            });
        }
    }
    lines
}

/// The type of a marker that the scenario has no use for. One that the server tells of late, or nothing would be proved.
pub(super) fn marker(script: &[Line]) -> ResourceType {
    let is_used = script.iter().any(|line| match &line.step {
        Step::World(world) => world
            .iter()
            .any(|(of, _, _)| *of == ResourceType::Extension),
        Step::Want(of, _) => *of == ResourceType::Extension,
        _ => false,
    });
    if is_used {
        ResourceType::Secret
    } else {
        ResourceType::Extension
    }
}

pub(super) fn label(of: ResourceType) -> &'static str {
    match of {
        ResourceType::Cluster => "CDS",
        ResourceType::Endpoint => "EDS",
        ResourceType::Listener => "LDS",
        ResourceType::Route => "RDS",
        ResourceType::Secret => "SDS",
        ResourceType::Extension => "ECDS",
    }
}

fn parse_type(text: &str) -> Option<ResourceType> {
    ResourceType::ALL.into_iter().find(|of| label(*of) == text)
}

fn with_types(line: &str, types: &str) -> String {
    let mut types = types.split(' ');
    let (t, u) = (types.next().unwrap_or("T"), types.next().unwrap_or("U"));
    let words = line.split_whitespace().map(|word| match word {
        "T" => t,
        "U" => u,
        other => other,
    });
    words.collect::<Vec<_>>().join(" ")
}

fn is_for(head: &str, dialect: Dialect, of: ResourceType) -> bool {
    let tells_all = matches!(of, ResourceType::Cluster | ResourceType::Listener);
    match (head, dialect) {
        ("<", _) | ("<delta", Dialect::Delta) | ("<sotw", Dialect::StateOfTheWorld) => true,
        ("<all", Dialect::StateOfTheWorld) => tells_all,
        ("<new", Dialect::StateOfTheWorld) => !tells_all,
        ("<delta" | "<sotw" | "<all" | "<new", _) => false,
        _ => panic!("no such line: {head}"),
    }
}

fn parse_manner(text: &str) -> (String, Manner) {
    if let Some((text, words)) = text.split_once(" nack ") {
        return (text.to_owned(), Manner::Refuse(words.to_owned()));
    }
    match text.strip_suffix(" hold") {
        Some(text) => (text.to_owned(), Manner::Hold),
        None => (text.to_owned(), Manner::Take),
    }
}

fn parse_step(head: &str, rest: &str) -> Step {
    match head {
        "world" => Step::World(parse_world(rest)),
        "leave" => Step::Leave,
        "return" => Step::Return,
        "restart" => Step::Restart,
        ">" => parse_request(rest),
        _ => panic!("no such step: {head}"),
    }
}

fn parse_request(text: &str) -> Step {
    let (of, rest) = text.split_once(' ').unwrap_or((text, ""));
    let of = parse_type(of).expect("a type");
    let (verb, after) = rest.split_once(' ').unwrap_or((rest, ""));
    let names = |text: &str| text.split_whitespace().map(str::to_owned).collect();
    match verb {
        "ack" => Step::Answer(of, None),
        "nack" => Step::Answer(of, Some(after.to_owned())),
        "again" => Step::NameAgain(of, names(after)),
        "outdated" => Step::WantOutdated(of, names(after)),
        _ => Step::Want(of, names(rest)),
    }
}

fn parse_world(text: &str) -> World {
    let parts = text.split(',').map(str::trim);
    parts
        .filter(|part| !part.is_empty())
        .flat_map(|part| {
            let mut words = part.split(' ');
            let of = words.next().and_then(parse_type).expect("a type");
            words.map(move |word| {
                let (name, content) = word.split_once('=').expect("a content");
                (of, name.to_owned(), content.to_owned())
            })
        })
        .collect()
}
