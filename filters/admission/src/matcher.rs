use serde::{Deserialize, Serialize};

/// What a text has to be.
#[derive(Clone, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Matcher {
    /// This, byte for byte.
    Exact(String),
    /// Something that begins like this.
    Prefix(String),
    /// Something that ends like this.
    Suffix(String),
}

impl Matcher {
    /// Whether `text` is so.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            Self::Exact(exact) => text == exact,
            Self::Prefix(prefix) => text.starts_with(prefix.as_str()),
            Self::Suffix(suffix) => text.ends_with(suffix.as_str()),
        }
    }
}
