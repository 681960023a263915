//! Proxies that take nothing over xDS: what they reach, the operator says. Pure.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::placement::{InstanceName, NodeId, Time, Zone};

/// Proxies that reach the same.
#[derive(Clone, Debug)]
pub struct StaticReach {
    /// Which.
    pub nodes: NodePattern,
    /// Where they are.
    pub zone: Option<Zone>,
    /// What their own configuration has.
    pub instances: Vec<InstanceName>,
}

/// Which node ids are meant. Those that a cluster manager makes up for its pods begin alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodePattern {
    /// This one.
    Exact(NodeId),
    /// Those that begin so.
    Prefix(Arc<str>),
}

impl NodePattern {
    /// A node id, or the beginning of some with a `*` behind it; `None` if that is nothing.
    pub fn parse(text: &str) -> Option<Self> {
        let pattern = match text.strip_suffix('*') {
            Some(prefix) => Self::Prefix(prefix.into()),
            None => Self::Exact(text.into()),
        };
        (!text.trim_end_matches('*').is_empty()).then_some(pattern)
    }

    /// Whether this node is meant.
    pub fn fits(&self, node: &NodeId) -> bool {
        match self {
            Self::Exact(id) => id == node,
            Self::Prefix(prefix) => node.as_str().starts_with(&**prefix),
        }
    }
}

/// As it is written.
impl fmt::Display for NodePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exact(id) => write!(f, "{id}"),
            Self::Prefix(prefix) => write!(f, "{prefix}*"),
        }
    }
}

/// All of them, and who of them has been heard of.
#[derive(Debug, Default)]
pub struct StaticProxies {
    reaches: Vec<StaticReach>,
    /// Since when nothing was heard.
    heard: HashMap<NodeId, Time>,
}

impl StaticProxies {
    /// Where two fit a node, the first counts.
    pub fn new(reaches: Vec<StaticReach>) -> Self {
        Self {
            reaches,
            heard: HashMap::new(),
        }
    }

    /// Whether the operator says what this one reaches.
    pub fn has(&self, node: &NodeId) -> bool {
        self.find(node).is_some()
    }

    /// Takes that a node has spoken; what it reaches, if that is the first that is heard of it.
    pub fn hear(&mut self, now: Time, node: &NodeId) -> Option<&StaticReach> {
        if let Some(heard) = self.heard.get_mut(node) {
            *heard = now;
            return None;
        }
        if self.has(node) {
            self.heard.insert(node.clone(), now);
        }
        self.find(node)
    }

    /// Forgets those that have long been silent, and tells which: pods go, and others have other ids. One that speaks again
    /// is heard of for the first time.
    pub fn forget_silent(&mut self, now: Time) -> Vec<NodeId> {
        let silent = self.heard.extract_if(|_, heard| now.since(*heard) > SILENT);
        silent.map(|(node, _)| node).collect()
    }

    fn find(&self, node: &NodeId) -> Option<&StaticReach> {
        self.reaches.iter().find(|reach| reach.nodes.fits(node))
    }
}

/// Each VM of a proxy speaks each tick.
const SILENT: Duration = Duration::from_mins(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn reach(nodes: &str, instance: &str) -> StaticReach {
        StaticReach {
            nodes: NodePattern::parse(nodes).unwrap(),
            zone: None,
            instances: vec![instance.into()],
        }
    }

    fn instance(reach: Option<&StaticReach>) -> Option<String> {
        Some(reach?.instances.first()?.to_string())
    }

    #[test]
    fn a_pattern_fits_one_or_those_that_begin_so() {
        for (pattern, node, fits) in [
            ("edge", "edge", true),
            ("edge", "edge-1", false),
            ("edge-*", "edge-1", true),
            ("edge-*", "edge-", true),
            ("edge-*", "edge", false),
            ("a*b", "a*b", true),
            ("a*b", "axb", false),
        ] {
            let parsed = NodePattern::parse(pattern).unwrap();
            assert_eq!(parsed.fits(&node.into()), fits, "{pattern} {node}");
            assert_eq!(parsed.to_string(), pattern);
        }
        for nothing in ["", "*", "**"] {
            assert_eq!(NodePattern::parse(nothing), None);
        }
    }

    #[test]
    fn a_node_is_new_until_it_is_heard_and_when_it_was_silent_for_long() {
        let mut proxies = StaticProxies::new(vec![reach("edge-1", "one"), reach("edge-*", "more")]);
        let at = |seconds| Time(Duration::from_secs(seconds));
        for (node, expected) in [
            ("edge-1", Some("one")),
            ("edge-2", Some("more")),
            ("other", None),
        ] {
            let node = node.into();
            let first = instance(proxies.hear(at(0), &node));
            assert_eq!(first.as_deref(), expected);
            assert_eq!(proxies.has(&node), expected.is_some());
            assert!(proxies.hear(at(0), &node).is_none());
        }
        proxies.hear(at(500), &"edge-1".into());
        assert_eq!(proxies.forget_silent(at(600)), []);
        assert_eq!(proxies.forget_silent(at(601)), ["edge-2".into()]);
        assert!(proxies.hear(at(602), &"edge-1".into()).is_none());
        let again = instance(proxies.hear(at(602), &"edge-2".into()));
        assert_eq!(again.as_deref(), Some("more"));
    }
}
