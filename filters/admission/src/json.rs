//! JSON, as everything here reads it: tokens, keys and configurations.

mod members;

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};
use serde_json::{Number, Value};

pub use members::{Members, Mismatch, Read, flag, number, text, variant};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number without a sign.
    Unsigned(u64),
    /// A whole number below zero.
    Negative(i64),
    /// Any other number.
    Float(f64),
    /// A string.
    Text(String),
    /// An array.
    Array(Vec<Self>),
    /// An object.
    Object(Object),
}

/// A JSON object whose members have different names, as those of JOSE headers and claim sets must (RFC 7515 §4, RFC 7519
/// §4): of two readers of a duplicate, one could see the other's value. Its members are in the order they came in.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Json)>);

impl Json {
    /// Reads a text.
    ///
    /// # Errors
    /// When it is no JSON, is deeper than 128 levels, has a number that no float holds, or an object that has two members
    /// of one name or more than 256.
    pub fn parse(text: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(text)
    }

    /// The member of this name, if this is an object and has one.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Object(object) => object.get(name),
            _ => None,
        }
    }

    /// The text, if this is one.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The elements, if this is an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(values) => Some(values),
            _ => None,
        }
    }
}

impl Object {
    /// `None` if `text` is anything else than [`Json::parse`] takes, or no object.
    pub(crate) fn parse(text: &[u8]) -> Option<Self> {
        match Json::parse(text) {
            Ok(Json::Object(object)) => Some(object),
            _ => None,
        }
    }

    /// The member of this name.
    pub fn get(&self, name: &str) -> Option<&Json> {
        let mut members = self.0.iter();
        members.find_map(|(member, value)| (member == name).then_some(value))
    }

    pub(crate) fn get_mut(&mut self, name: &str) -> Option<&mut Json> {
        let mut members = self.0.iter_mut();
        members.find_map(|(member, value)| (member == name).then_some(value))
    }

    /// The text of a member that, if it is there, has to be text.
    pub(crate) fn text(&self, name: &str) -> Result<Option<&str>, WrongType> {
        self.get(name)
            .map(|value| value.as_text().ok_or(WrongType))
            .transpose()
    }

    /// The texts of a member that, if it is there, has to be text or an array of texts.
    pub(crate) fn texts(&self, name: &str) -> Result<Option<Vec<&str>>, WrongType> {
        self.get(name).map(texts).transpose()
    }
}

/// One text, or those of an array.
pub(crate) fn texts(value: &Json) -> Result<Vec<&str>, WrongType> {
    let values = match value {
        Json::Array(values) => values.as_slice(),
        value => std::slice::from_ref(value),
    };
    values
        .iter()
        .map(|value| value.as_text().ok_or(WrongType))
        .collect()
}

/// A member is there, but not of the type it has to be.
#[derive(Debug)]
pub(crate) struct WrongType;

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Anything)
    }
}

/// Takes whatever comes. That it says so for each kind keeps serde's message about another type, and with it what writes
/// a float as text, out of the module: 20 kB.
struct Anything;

impl<'de> Visitor<'de> for Anything {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Unsigned(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(u64::try_from(value).map_or(Json::Negative(value), Json::Unsigned))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
        Ok(Json::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Json::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Json, A::Error> {
        let mut members: Vec<(String, Json)> = Vec::new();
        while let Some(name) = access.next_key::<String>()? {
            if members.iter().any(|(earlier, _)| *earlier == name) {
                return Err(de::Error::custom("a member comes twice"));
            }
            if members.len() == MAX_MEMBERS {
                return Err(de::Error::custom("an object has too many members"));
            }
            members.push((name, access.next_value()?));
        }
        Ok(Json::Object(Object(members)))
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Negative(value) => serializer.serialize_i64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Text(value) => serializer.serialize_str(value),
            Self::Array(values) => serializer.collect_seq(values),
            Self::Object(Object(members)) => {
                serializer.collect_map(members.iter().map(|(name, value)| (name, value)))
            }
        }
    }
}

impl From<Value> for Json {
    fn from(value: Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(value), _) => Self::Unsigned(value),
                (None, Some(value)) => Self::Negative(value),
                (None, None) => number.as_f64().map_or(Self::Null, Self::Float),
            },
            Value::String(text) => Self::Text(text),
            Value::Array(values) => Self::Array(values.into_iter().map(Self::from).collect()),
            Value::Object(members) => {
                let members = members.into_iter();
                let members = members.map(|(name, value)| (name, value.into()));
                Self::Object(Object(members.collect()))
            }
        }
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(value),
            Json::Unsigned(value) => value.into(),
            Json::Negative(value) => value.into(),
            Json::Float(value) => Number::from_f64(value).map_or(Self::Null, Self::Number),
            Json::Text(text) => Self::String(text),
            Json::Array(values) => values.into_iter().map(Self::from).collect(),
            Json::Object(Object(members)) => members.into_iter().collect(),
        }
    }
}

/// Of one object. Each name is compared with those before it, and whoever sends a token chooses how many there are.
const MAX_MEMBERS: usize = 256;

#[cfg(test)]
mod tests;
