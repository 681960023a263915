//! Which instances each proxy is known to be able to reach: those of the EDS resources that it has
//! acknowledged. Told as differences, so that an acknowledgement costs what it changes, however many
//! instances and proxies there are. Pure.

mod catalogue;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use fixedbitset::FixedBitSet;

use crate::placement::{InstanceName, NodeId};
use crate::xds::{NodeEvent, Resource, ResourceType, StreamEvent, StreamId};
use catalogue::{Catalogue, Listing, Tally};

/// What all proxies have acknowledged.
#[derive(Debug, Default)]
pub struct Reach {
    nodes: HashMap<NodeId, Node>,
    catalogue: Catalogue,
}

/// How what a proxy reaches has changed. No instance is in both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReachChange {
    /// The proxy.
    pub node: NodeId,
    /// It can be sent there now, and could not before.
    pub gained: Vec<InstanceName>,
    /// It could be sent there before, and cannot any more.
    pub lost: Vec<InstanceName>,
}

#[derive(Debug, Default)]
struct Node {
    streams: Vec<Stream>,
    /// What it reaches by all that has been told of it.
    told: FixedBitSet,
}

/// One stream of a node. Two at once are two processes with one node id, as in a hot restart.
#[derive(Debug)]
struct Stream {
    id: StreamId,
    connected: bool,
    /// `None` until the first acknowledgement.
    acknowledged: Option<Acknowledged>,
}

#[derive(Debug, Default)]
struct Acknowledged {
    clusters: BTreeMap<Arc<str>, Arc<Listing>>,
    /// The instances of all clusters. While an instance moves from one to another both may have it.
    tally: Tally,
}

impl Reach {
    /// Takes an event; what a proxy reaches since, if that is something else.
    pub fn handle(&mut self, event: &NodeEvent) -> Option<ReachChange> {
        let node = match event {
            NodeEvent::Connected { node, stream, .. } => {
                let node = self.nodes.entry(node.as_str().into()).or_default();
                node.streams.push(Stream {
                    id: *stream,
                    connected: true,
                    acknowledged: None,
                });
                return None;
            }
            NodeEvent::Disconnected { node, stream } => {
                let node = NodeId::from(node.as_str());
                self.nodes.get_mut(&node)?.disconnected(*stream);
                node
            }
            NodeEvent::Stream {
                node,
                stream,
                event:
                    StreamEvent::Acknowledged {
                        resource_type: ResourceType::Endpoint,
                        resources,
                        removed,
                    },
            } => {
                self.tidy();
                let node = NodeId::from(node.as_str());
                let known = self.nodes.get_mut(&node)?;
                let acknowledged = known.acknowledging(*stream)?;
                acknowledged.take(resources, removed, &mut self.catalogue);
                node
            }
            NodeEvent::Stream { .. } => return None,
        };
        self.tell(node)
    }

    /// Whether anything is known of a node: it has a stream, or has acknowledged something.
    pub fn knows(&self, node: &NodeId) -> bool {
        self.nodes.contains_key(node)
    }

    /// How many nodes have a stream open.
    pub fn connected(&self) -> usize {
        let open = |node: &&Node| node.streams.iter().any(|stream| stream.connected);
        self.nodes.values().filter(open).count()
    }

    fn tell(&mut self, name: NodeId) -> Option<ReachChange> {
        let node = self.nodes.get_mut(&name)?;
        let reached = node.reached();
        let before = std::mem::replace(&mut node.told, reached);
        let gained = self.catalogue.names(&node.told, &before);
        let lost = self.catalogue.names(&before, &node.told);
        if node.streams.is_empty() {
            self.nodes.remove(&name);
        }
        (!gained.is_empty() || !lost.is_empty()).then_some(ReachChange {
            node: name,
            gained,
            lost,
        })
    }

    /// Forgets what no stream has any more, now and then. Not while a stream is being told of: what it is about to
    /// have is not in its tally yet.
    fn tidy(&mut self) {
        if self.catalogue.is_crowded() {
            let streams = self.nodes.values().flat_map(|node| &node.streams);
            let tallies = streams.filter_map(|stream| Some(&stream.acknowledged.as_ref()?.tally));
            self.catalogue.tidy(tallies);
        }
    }
}

impl Node {
    /// A node whose last stream is gone keeps what it has acknowledged, for its proxy does. A stream
    /// that said nothing leaves nothing: a proxy in trouble opens one after the other.
    fn disconnected(&mut self, id: StreamId) {
        let others = |stream: &Stream| stream.connected && stream.id != id;
        if self.streams.iter().any(others) {
            self.streams.retain(|stream| stream.id != id);
        }
        for stream in self.streams.iter_mut().filter(|stream| stream.id == id) {
            stream.connected = false;
        }
        self.streams
            .retain(|stream| stream.connected || stream.acknowledged.is_some());
    }

    fn acknowledging(&mut self, id: StreamId) -> Option<&mut Acknowledged> {
        if self.streams.iter().any(|stream| stream.id == id) {
            // What an earlier stream said is now said anew.
            self.streams
                .retain(|stream| stream.connected || stream.id == id);
        }
        let stream = self.streams.iter_mut().find(|stream| stream.id == id)?;
        Some(stream.acknowledged.get_or_insert_default())
    }

    /// What every process of the node has, of those that have said something.
    fn reached(&self) -> FixedBitSet {
        let mut tallies = self
            .streams
            .iter()
            .filter_map(|stream| stream.acknowledged.as_ref())
            .map(|acknowledged| acknowledged.tally.listed());
        let mut reached = tallies.next().cloned().unwrap_or_default();
        for other in tallies {
            reached.intersect_with(other);
        }
        reached
    }
}

impl Acknowledged {
    fn take(
        &mut self,
        resources: &[Arc<Resource>],
        removed: &[Arc<str>],
        catalogue: &mut Catalogue,
    ) {
        for cluster in removed {
            if let Some(listing) = self.clusters.remove(cluster) {
                self.tally.remove(&listing);
            }
        }
        for resource in resources {
            let held = self.clusters.get(resource.name());
            if held.is_some_and(|held| held.is_of(resource)) {
                continue;
            }
            let listing = catalogue.listing(resource);
            if let Some(before) = held {
                self.tally.remove(before);
            }
            self.tally.add(&listing);
            let cluster = Arc::clone(listing.cluster());
            self.clusters.insert(cluster, listing);
        }
    }
}
