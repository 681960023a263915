//! What things are called, and when they happen.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name!(
    /// An instance, by the name the configuration gives it.
    InstanceName
);
name!(
    /// A pool of interchangeable instances.
    PoolName
);
name!(
    /// One admitted upgrade; minted by the filter.
    SessionId
);
name!(
    /// A proxy, by the node id of its xDS stream.
    NodeId
);
name!(
    /// One incarnation of one filter VM.
    VmId
);
name!(
    /// Where a proxy or an instance is; those of one zone are close to each other.
    Zone
);

/// Labels by name, as an instance has them or a client asks for them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Labels(Option<Arc<BTreeMap<Arc<str>, Arc<str>>>>);

impl Labels {
    /// Whether these labels have all that is asked for, with the values asked for.
    pub fn satisfy(&self, asked: &Self) -> bool {
        asked
            .iter()
            .all(|(name, value)| self.iter().any(|found| found == (name, value)))
    }

    /// Name and value of each, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        let labels = self.0.iter().flat_map(|labels| labels.iter());
        labels.map(|(name, value)| (&**name, &**value))
    }
}

impl<N: Into<Arc<str>>, V: Into<Arc<str>>> FromIterator<(N, V)> for Labels {
    fn from_iter<T: IntoIterator<Item = (N, V)>>(labels: T) -> Self {
        let labels: BTreeMap<_, _> = labels
            .into_iter()
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        Self((!labels.is_empty()).then(|| Arc::new(labels)))
    }
}

/// A moment, as the time since an epoch that the caller keeps for the machine's whole life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Time(pub Duration);

impl Time {
    /// Later than every other: a time that never comes.
    pub const NEVER: Self = Self(Duration::MAX);

    /// The moment `later` after this one.
    #[must_use]
    pub fn after(self, later: Duration) -> Self {
        Self(self.0.saturating_add(later))
    }

    /// How long ago `earlier` was; zero if it is yet to come.
    pub fn since(self, earlier: Self) -> Duration {
        self.0.saturating_sub(earlier.0)
    }
}

/// Orders leases: of two leases the later has the greater fence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence {
    /// Grows with every control plane that takes over.
    pub term: u64,
    /// Grows with every lease of a term.
    pub sequence: u64,
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term, self.sequence)
    }
}

/// A user: the token's issuer and subject.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct User {
    /// The token's `iss`.
    pub issuer: Arc<str>,
    /// The token's `sub`.
    pub subject: Arc<str>,
}

/// Whose session it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// The user.
    pub user: User,
    /// Empty where the policy names no tenant.
    pub tenant: Arc<str>,
    /// Chosen by the client; means something only together with the user.
    pub resume_key: Option<Arc<str>>,
}

/// How urgent a request is: those of a greater priority are served first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u8);
