//! Which part of what there is a proxy is told of: that of the first profile which its node fits. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;

use super::snapshot::Snapshot;

/// A profile's name, unique among the profiles.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProfileName(Arc<str>);

impl ProfileName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for ProfileName {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for ProfileName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a proxy says of itself: `envoy.config.core.v3.Node`, as far as a profile can ask for it. A field that it does
/// not fill is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeFacts {
    /// `id`. No profile asks for it: it is for whoever says that none fits.
    pub id: String,
    /// `cluster`.
    pub cluster: String,
    /// `locality.region`.
    pub region: String,
    /// `locality.zone`.
    pub zone: String,
    /// `locality.sub_zone`.
    pub sub_zone: String,
    /// `metadata`.
    pub metadata: Metadata,
}

/// A node's metadata: the texts in a `google.protobuf.Struct`, and the structures that lead to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metadata(BTreeMap<String, MetadataValue>);

/// A value in [`Metadata`]. Numbers, lists and the like are left out: no profile can ask for them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetadataValue {
    /// A `string_value`.
    Text(String),
    /// A `struct_value`.
    Struct(Metadata),
}

impl FromIterator<(String, MetadataValue)> for Metadata {
    fn from_iter<I: IntoIterator<Item = (String, MetadataValue)>>(fields: I) -> Self {
        Self(fields.into_iter().collect())
    }
}

impl Metadata {
    /// Whether `text` is at `path`: the keys that lead there, with dots between them. A key may have dots itself, as
    /// Kubernetes' labels do, so every reading of the path counts.
    pub fn says(&self, path: &str, text: &str) -> bool {
        if let Some(MetadataValue::Text(found)) = self.0.get(path)
            && found == text
        {
            return true;
        }
        path.match_indices('.').any(|(at, _)| {
            let (key, rest) = path.split_at(at);
            let rest = rest.strip_prefix('.').unwrap_or_default();
            matches!(self.0.get(key), Some(MetadataValue::Struct(inner)) if inner.says(rest, text))
        })
    }
}

/// What a node has to be to fit a profile. What is `None` or empty is not asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NodeMatch {
    /// [`NodeFacts::cluster`].
    pub cluster: Option<String>,
    /// [`NodeFacts::region`].
    pub region: Option<String>,
    /// [`NodeFacts::zone`].
    pub zone: Option<String>,
    /// [`NodeFacts::sub_zone`].
    pub sub_zone: Option<String>,
    /// Texts in [`NodeFacts::metadata`], by their paths, each of at most [`NodeMatch::MAX_DOTS`] dots.
    pub metadata: BTreeMap<String, String>,
}

impl NodeMatch {
    /// A path of more dots would have too many readings.
    pub const MAX_DOTS: usize = 8;

    /// Whether a node has all that is asked for.
    pub fn fits(&self, node: &NodeFacts) -> bool {
        let fields = [
            (&self.cluster, &node.cluster),
            (&self.region, &node.region),
            (&self.zone, &node.zone),
            (&self.sub_zone, &node.sub_zone),
        ];
        fields
            .into_iter()
            .all(|(asked, found)| asked.as_ref().is_none_or(|asked| asked == found))
            && self
                .metadata
                .iter()
                .all(|(path, text)| node.metadata.says(path, text))
    }
}

/// Which of the things of one kind belong to a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Scope {
    /// Whatever there is.
    #[default]
    All,
    /// Those of these names.
    Only(BTreeSet<String>),
}

impl Scope {
    /// Whether what has this name belongs to it.
    pub fn has(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(names) => names.contains(name),
        }
    }
}

/// What the proxies of one kind are told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Unique among the profiles.
    pub name: ProfileName,
    /// Whom it is for.
    pub fits: NodeMatch,
    /// The listeners, with what they need.
    pub listeners: Scope,
    /// The pools, with their instances.
    pub pools: Scope,
}

/// The profiles, in the order in which they are tried; at least one, and no name twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profiles(Vec<Profile>);

/// Why profiles cannot be used together.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidProfiles {
    /// Every proxy would be refused.
    #[error("there is no profile")]
    None,
    /// Who fits one could be told the other.
    #[error("two profiles are named `{0}`")]
    Twice(ProfileName),
}

impl Default for Profiles {
    /// One, for everybody and of everything.
    fn default() -> Self {
        Self(vec![Profile {
            name: EVERYTHING.into(),
            fits: NodeMatch::default(),
            listeners: Scope::All,
            pools: Scope::All,
        }])
    }
}

impl Profiles {
    /// The profiles, in the order in which they are tried.
    ///
    /// # Errors
    /// [`InvalidProfiles`].
    pub fn new(profiles: Vec<Profile>) -> Result<Self, InvalidProfiles> {
        if profiles.is_empty() {
            return Err(InvalidProfiles::None);
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = profiles.iter().find(|profile| !names.insert(&profile.name)) {
            return Err(InvalidProfiles::Twice(twice.name.clone()));
        }
        Ok(Self(profiles))
    }

    /// The first that a node fits. `None`: it is to be told nothing.
    pub fn choose(&self, node: &NodeFacts) -> Option<&ProfileName> {
        self.0
            .iter()
            .find(|profile| profile.fits.fits(node))
            .map(|profile| &profile.name)
    }

    /// All of them, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Profile> {
        self.0.iter()
    }
}

/// What the proxies of each profile are told. All profiles are in it.
pub type Views = BTreeMap<ProfileName, Arc<Snapshot>>;

/// The name of the only profile where no others are configured.
const EVERYTHING: &str = "default";

#[cfg(test)]
mod tests;
