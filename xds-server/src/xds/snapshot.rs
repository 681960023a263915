//! Sets of resources that belong together, and what differs from one to the next.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Weak};

use super::resource::{ByType, Resource, ResourceType};

/// The resources of one type, by name.
pub type Resources = BTreeMap<Arc<str>, Arc<Resource>>;

/// All resources of one moment. Consistent: whatever a resource refers to is in it, and what can only be used by
/// being referred to is.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    resources: ByType<Arc<Resources>>,
    step: Option<Step>,
}

/// Which snapshot another one was made from, and the names at which the two differ.
#[derive(Clone, Debug)]
struct Step {
    before: Weak<Snapshot>,
    names: ByType<Vec<Arc<str>>>,
}

/// Snapshots are equal when their resources are, however they came about.
impl PartialEq for Snapshot {
    fn eq(&self, other: &Self) -> bool {
        self.resources == other.resources
    }
}

impl Eq for Snapshot {}

/// What makes one snapshot of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// The resource is new, or replaces the one of its type and name.
    Put(ResourceType, Arc<Resource>),
    /// There is no such resource any more.
    Remove(ResourceType, Arc<str>),
}

/// Why resources do not make a [`Snapshot`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Inconsistent {
    /// Envoy would wait for it in vain.
    #[error("{resource_type:?} `{name}` is referred to and missing")]
    Missing {
        /// Its type.
        resource_type: ResourceType,
        /// Its name.
        name: String,
    },
    /// One of the two would be lost.
    #[error("two {resource_type:?} resources are named `{name}`")]
    Twice {
        /// Their type.
        resource_type: ResourceType,
        /// Their name.
        name: String,
    },
    /// No cluster or listener leads there.
    #[error("nothing refers to {resource_type:?} `{name}`")]
    Unused {
        /// Its type.
        resource_type: ResourceType,
        /// Its name.
        name: String,
    },
}

impl Snapshot {
    /// The snapshot of these resources, in any order.
    ///
    /// # Errors
    /// [`Inconsistent`] names the first resource found at fault.
    pub fn new(
        all: impl IntoIterator<Item = (ResourceType, Resource)>,
    ) -> Result<Self, Inconsistent> {
        Self::of_shared(
            all.into_iter()
                .map(|(resource_type, resource)| (resource_type, Arc::new(resource))),
        )
    }

    /// The snapshot of resources that others have too.
    ///
    /// # Errors
    /// [`Inconsistent`].
    pub fn of_shared(
        all: impl IntoIterator<Item = (ResourceType, Arc<Resource>)>,
    ) -> Result<Self, Inconsistent> {
        let mut resources: ByType<Resources> = ByType::default();
        for (resource_type, resource) in all {
            let name = Arc::clone(resource.name());
            let known = resources.of_mut(resource_type);
            if known.insert(Arc::clone(&name), resource).is_some() {
                return Err(Inconsistent::Twice {
                    resource_type,
                    name: name.to_string(),
                });
            }
        }
        let resources = ByType::from_fn(|resource_type| {
            Arc::new(std::mem::take(resources.of_mut(resource_type)))
        });
        let snapshot = Self {
            resources,
            step: None,
        };
        snapshot.check_references()?;
        Ok(snapshot)
    }

    /// The snapshot that these changes make of this one; itself, if they change nothing. It shares what they leave
    /// alone, and who has this one learns from it what differs without a comparison.
    ///
    /// # Errors
    /// [`Inconsistent`].
    pub fn with_changes(
        self: &Arc<Self>,
        changes: impl IntoIterator<Item = Change>,
    ) -> Result<Arc<Self>, Inconsistent> {
        let mut resources = self.resources.clone();
        let mut names: ByType<Vec<Arc<str>>> = ByType::default();
        for change in changes {
            let (resource_type, name, resource) = match change {
                Change::Put(resource_type, resource) => {
                    (resource_type, Arc::clone(resource.name()), Some(resource))
                }
                Change::Remove(resource_type, name) => (resource_type, name, None),
            };
            let there = resources.of(resource_type).get(&name);
            if there == resource.as_ref() {
                continue;
            }
            let there = Arc::make_mut(resources.of_mut(resource_type));
            match resource {
                Some(resource) => there.insert(Arc::clone(&name), resource),
                None => there.remove(&name),
            };
            names.of_mut(resource_type).push(name);
        }
        if names == ByType::default() {
            return Ok(Arc::clone(self));
        }
        let snapshot = Self {
            resources,
            step: Some(Step {
                before: Arc::downgrade(self),
                names,
            }),
        };
        snapshot.check_references()?;
        Ok(Arc::new(snapshot))
    }

    /// The resource of that type and name.
    pub fn find(&self, resource_type: ResourceType, name: &str) -> Option<&Arc<Resource>> {
        self.of(resource_type).get(name)
    }

    /// The resources of a type, by name.
    pub fn of(&self, resource_type: ResourceType) -> &Resources {
        self.resources.of(resource_type)
    }

    /// The names of a type at which this snapshot may differ from an earlier one, in any order; with `None`, all. It takes
    /// no comparison when this one was made from that.
    pub fn changed_since(
        &self,
        earlier: Option<&Arc<Self>>,
        resource_type: ResourceType,
    ) -> Cow<'_, [Arc<str>]> {
        let Some(earlier) = earlier else {
            return self.of(resource_type).keys().cloned().collect();
        };
        if let Some(Step { before, names }) = &self.step
            && std::ptr::eq(before.as_ptr(), Arc::as_ptr(earlier))
        {
            return Cow::Borrowed(names.of(resource_type));
        }
        let (old, new) = (
            earlier.resources.of(resource_type),
            self.resources.of(resource_type),
        );
        if Arc::ptr_eq(old, new) {
            return Cow::Borrowed(&[]);
        }
        let differs = |(name, resource): &(&Arc<str>, &Arc<Resource>)| {
            old.get(*name).map(|old| old.version()) != Some(resource.version())
        };
        let changed = new.iter().filter(differs).map(|(name, _)| name);
        let gone = old.keys().filter(|name| !new.contains_key(*name));
        changed.chain(gone).cloned().collect()
    }

    fn check_references(&self) -> Result<(), Inconsistent> {
        let referred: BTreeSet<(ResourceType, &str)> = ResourceType::ALL
            .into_iter()
            .flat_map(|resource_type| self.of(resource_type).values())
            .flat_map(|resource| resource.references())
            .map(|(resource_type, name)| (*resource_type, &**name))
            .collect();
        if let Some((resource_type, name)) = referred
            .iter()
            .find(|(resource_type, name)| self.find(*resource_type, name).is_none())
        {
            return Err(Inconsistent::Missing {
                resource_type: *resource_type,
                name: (*name).to_owned(),
            });
        }
        // A proxy with listeners of its own may refer to the other types.
        for resource_type in [ResourceType::Endpoint, ResourceType::Route] {
            if let Some(name) = self
                .of(resource_type)
                .keys()
                .find(|name| !referred.contains(&(resource_type, &***name)))
            {
                return Err(Inconsistent::Unused {
                    resource_type,
                    name: name.to_string(),
                });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
