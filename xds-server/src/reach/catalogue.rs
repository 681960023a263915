//! Instances by number, so that a set of them is a row of bits; and what each version of a cluster lists, once for
//! all streams that have it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use fixedbitset::FixedBitSet;
use slab::Slab;

use crate::placement::InstanceName;
use crate::xds::{EndpointHealth, Resource, Version};

/// All instances that some stream has acknowledged.
#[derive(Debug)]
pub(super) struct Catalogue {
    names: Slab<InstanceName>,
    numbers: HashMap<InstanceName, usize>,
    /// A thousand proxies acknowledge the same.
    listings: HashMap<Version, Weak<Listing>>,
    /// With so many instances or listings it is time to tidy.
    crowd: usize,
}

/// The instances of one version of a cluster that a proxy can be sent to.
#[derive(Debug)]
pub(super) struct Listing {
    cluster: Arc<str>,
    version: Version,
    /// Each once.
    numbers: Box<[usize]>,
}

/// How many listings each instance is in.
#[derive(Debug, Default)]
pub(super) struct Tally {
    listed: FixedBitSet,
    /// In how many more than one; hardly any is.
    again: BTreeMap<usize, usize>,
}

impl Default for Catalogue {
    fn default() -> Self {
        Self {
            names: Slab::new(),
            numbers: HashMap::new(),
            listings: HashMap::new(),
            crowd: CROWD,
        }
    }
}

impl Catalogue {
    /// What a resource lists.
    pub(super) fn listing(&mut self, resource: &Resource) -> Arc<Listing> {
        let known = self.listings.get(&resource.version());
        if let Some(listing) = known.and_then(Weak::upgrade)
            && listing.is_of(resource)
        {
            return listing;
        }
        let reached = resource
            .endpoints()
            .iter()
            .filter(|endpoint| endpoint.health != EndpointHealth::Unhealthy);
        let mut numbers: Vec<usize> = reached
            .map(|endpoint| self.number(endpoint.instance.as_str().into()))
            .collect();
        numbers.sort_unstable();
        numbers.dedup();
        let listing = Arc::new(Listing {
            cluster: Arc::clone(resource.name()),
            version: resource.version(),
            numbers: numbers.into(),
        });
        self.listings
            .insert(listing.version, Arc::downgrade(&listing));
        listing
    }

    /// The names of those that are in the first set and not in the second.
    pub(super) fn names(&self, in_this: &FixedBitSet, not_in: &FixedBitSet) -> Vec<InstanceName> {
        let mut numbers = in_this.clone();
        numbers.difference_with(not_in);
        numbers
            .ones()
            .filter_map(|number| self.names.get(number).cloned())
            .collect()
    }

    /// Whether it has grown to twice of what was in use when it was last tidied.
    pub(super) fn is_crowded(&self) -> bool {
        self.names.len().max(self.listings.len()) >= self.crowd
    }

    /// Forgets what is in none of these; they have to be all there are.
    pub(super) fn tidy<'a>(&mut self, tallies: impl Iterator<Item = &'a Tally>) {
        self.listings
            .retain(|_, listing| listing.strong_count() > 0);
        let mut used = FixedBitSet::new();
        for tally in tallies {
            used.union_with(&tally.listed);
        }
        self.names.retain(|number, _| used.contains(number));
        self.numbers.retain(|_, number| used.contains(*number));
        let in_use = self.names.len().max(self.listings.len());
        self.crowd = in_use.saturating_mul(2).max(CROWD);
    }

    fn number(&mut self, name: InstanceName) -> usize {
        let names = &mut self.names;
        *self
            .numbers
            .entry(name)
            .or_insert_with_key(|name| names.insert(name.clone()))
    }
}

#[cfg(test)]
impl Catalogue {
    /// How many instances it knows.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// Has it tidied at the next opportunity.
    pub(super) fn crowd(&mut self) {
        self.crowd = 0;
    }
}

impl Listing {
    pub(super) fn cluster(&self) -> &Arc<str> {
        &self.cluster
    }

    /// Whether this is what the resource lists. Versions alone are those of bodies.
    pub(super) fn is_of(&self, resource: &Resource) -> bool {
        self.version == resource.version() && self.cluster == *resource.name()
    }
}

impl Tally {
    /// The instances that are in any.
    pub(super) fn listed(&self) -> &FixedBitSet {
        &self.listed
    }

    pub(super) fn add(&mut self, listing: &Listing) {
        for number in &listing.numbers {
            if self.listed.contains(*number) {
                *self.again.entry(*number).or_default() += 1;
            } else {
                self.listed.grow_and_insert(*number);
            }
        }
    }

    pub(super) fn remove(&mut self, listing: &Listing) {
        for number in &listing.numbers {
            match self.again.entry(*number) {
                Entry::Occupied(mut more) if *more.get() > 1 => *more.get_mut() -= 1,
                Entry::Occupied(more) => {
                    more.remove();
                }
                Entry::Vacant(_) if self.listed.contains(*number) => self.listed.remove(*number),
                Entry::Vacant(_) => {}
            }
        }
    }
}

/// Fewer than this are not worth tidying.
const CROWD: usize = 1024;
