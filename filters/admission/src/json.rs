use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

/// A JSON object whose members have different names, as JOSE headers and claim sets must be (RFC
/// 7515 §4, RFC 7519 §4): of two readers of a duplicate, one could see the other's value.
#[derive(Debug)]
pub(crate) struct Object(BTreeMap<String, Value>);

impl Object {
    /// `None` if `text` is anything else, deeper than 128 levels, or has a number out of range.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        serde_json::from_slice(text).ok()
    }

    pub(crate) fn contains(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }

    /// The text of a member that, if it is there, has to be text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(_) => Err(WrongType),
        }
    }

    /// The texts of a member that, if it is there, has to be text or an array of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(vec![text])),
            Some(Value::Array(values)) => values
                .iter()
                .map(|value| value.as_str().ok_or(WrongType))
                .collect::<Result<_, _>>()
                .map(Some),
            Some(_) => Err(WrongType),
        }
    }
}

/// A member is there, but not of the type it has to be.
pub(crate) struct WrongType;

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(UniqueMembers)
    }
}

struct UniqueMembers;

impl<'de> Visitor<'de> for UniqueMembers {
    type Value = Object;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Object, A::Error> {
        let mut members = BTreeMap::new();
        while let Some((name, value)) = access.next_entry()? {
            if members.insert(name, value).is_some() {
                return Err(de::Error::custom("a member comes twice"));
            }
        }
        Ok(Object(members))
    }
}
