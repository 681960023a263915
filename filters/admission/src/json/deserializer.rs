//! Makes of a [`Json`] what is described by `Deserialize`, with errors that name the field.
//!
//! Of a visitor's methods each one here calls only the one that can succeed. `deserialize_any` would link all of them: a
//! derived visitor of a struct has two, of which one is for formats without names.

use std::fmt;

use serde::de::value::StrDeserializer;
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, Expected, IntoDeserializer, MapAccess,
    SeqAccess, Unexpected, VariantAccess, Visitor,
};
use serde::forward_to_deserialize_any;

use super::{Json, Object};

/// Why a value is not what was expected, and where it is: `issuers[0].audiences: must be an array`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// From the inside out; an element's begins with a bracket.
    path: Vec<String>,
    problem: String,
}

impl Mismatch {
    fn at(mut self, part: String) -> Self {
        self.path.push(part);
        self
    }

    fn must_be(what: &str) -> Self {
        de::Error::custom(format_args!("must be {what}"))
    }
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut between = "";
        for part in self.path.iter().rev() {
            if !part.starts_with('[') {
                f.write_str(between)?;
            }
            f.write_str(part)?;
            between = ".";
        }
        if !self.path.is_empty() {
            f.write_str(": ")?;
        }
        f.write_str(&self.problem)
    }
}

impl std::error::Error for Mismatch {}

impl de::Error for Mismatch {
    fn custom<T: fmt::Display>(problem: T) -> Self {
        Self {
            path: Vec::new(),
            problem: problem.to_string(),
        }
    }

    fn invalid_type(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn invalid_value(_: Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::custom(format_args!("must be {expected}"))
    }

    fn unknown_variant(variant: &str, known: &'static [&'static str]) -> Self {
        let known = known.join(", ");
        Self::custom(format_args!("`{variant}` is none of {known}"))
    }

    fn unknown_field(field: &str, _: &'static [&'static str]) -> Self {
        Self::custom("is not known").at(field.to_owned())
    }

    fn missing_field(field: &'static str) -> Self {
        Self::custom("is missing").at(field.to_owned())
    }
}

impl<'de> Deserializer<'de> for &'de Json {
    type Error = Mismatch;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Null => visitor.visit_unit(),
            Json::Bool(value) => visitor.visit_bool(*value),
            Json::Unsigned(value) => visitor.visit_u64(*value),
            Json::Negative(value) => visitor.visit_i64(*value),
            Json::Float(value) => visitor.visit_f64(*value),
            Json::Text(value) => visitor.visit_borrowed_str(value),
            Json::Array(values) => visitor.visit_seq(Elements::of(values)),
            Json::Object(object) => visitor.visit_map(Members::of(object)),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Bool(value) => visitor.visit_bool(*value),
            _ => Err(Mismatch::must_be("true or false")),
        }
    }

    fn deserialize_u8<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let value = self.whole_number()?.try_into().ok();
        visitor.visit_u8(value.ok_or_else(|| Mismatch::must_be("at most 255"))?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        let value = self.whole_number()?.try_into().ok();
        visitor.visit_u32(value.ok_or_else(|| Mismatch::must_be("at most 4294967295"))?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        visitor.visit_u64(self.whole_number()?)
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Text(text) => visitor.visit_borrowed_str(text),
            _ => Err(Mismatch::must_be("a string")),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        self.deserialize_str(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Array(values) => visitor.visit_seq(Elements::of(values)),
            _ => Err(Mismatch::must_be("an array")),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Mismatch> {
        match self {
            Json::Object(object) => visitor.visit_map(Members::of(object)),
            _ => Err(Mismatch::must_be("an object")),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.deserialize_map(visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        match self {
            Json::Text(name) => visitor.visit_enum(Variant { name, value: None }),
            Json::Object(Object(members)) => match members.as_slice() {
                [(name, value)] => visitor.visit_enum(Variant {
                    name,
                    value: Some(value),
                }),
                _ => Err(Mismatch::must_be("an object of one member")),
            },
            _ => Err(Mismatch::must_be("a string or an object of one member")),
        }
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u16 u128 f32 f64 char bytes byte_buf unit unit_struct newtype_struct tuple tuple_struct
        identifier ignored_any
    }
}

impl Json {
    fn whole_number(&self) -> Result<u64, Mismatch> {
        match self {
            Self::Unsigned(value) => Ok(*value),
            _ => Err(Mismatch::must_be("a whole number, not below 0")),
        }
    }
}

/// What is left of an array.
struct Elements<'de> {
    rest: &'de [Json],
    /// Of the next one.
    index: usize,
}

impl<'de> Elements<'de> {
    const fn of(values: &'de [Json]) -> Self {
        Self {
            rest: values,
            index: 0,
        }
    }
}

impl<'de> SeqAccess<'de> for Elements<'de> {
    type Error = Mismatch;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Mismatch> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        let index = self.index;
        *self = Self {
            rest,
            index: index + 1,
        };
        match seed.deserialize(first) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(error.at(format!("[{index}]"))),
        }
    }
}

/// What is left of an object.
struct Members<'de> {
    rest: &'de [(String, Json)],
    /// The one whose name was taken, and its value not yet.
    named: Option<&'de (String, Json)>,
}

impl<'de> Members<'de> {
    const fn of(Object(members): &'de Object) -> Self {
        Self {
            rest: members.as_slice(),
            named: None,
        }
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Mismatch;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Mismatch> {
        let Some((first, rest)) = self.rest.split_first() else {
            return Ok(None);
        };
        *self = Self {
            rest,
            named: Some(first),
        };
        let (name, _) = first;
        seed.deserialize(name.as_str().into_deserializer())
            .map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Mismatch> {
        let Some((name, value)) = self.named.take() else {
            return Err(de::Error::custom("a value without a name"));
        };
        seed.deserialize(value)
            .map_err(|error| error.at(name.clone()))
    }
}

/// A variant by its name alone, or by the member that has its name.
struct Variant<'de> {
    name: &'de str,
    value: Option<&'de Json>,
}

impl<'de> EnumAccess<'de> for Variant<'de> {
    type Error = Mismatch;
    type Variant = Self;

    fn variant_seed<V: DeserializeSeed<'de>>(self, seed: V) -> Result<(V::Value, Self), Mismatch> {
        let name: StrDeserializer<'_, Mismatch> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl<'de> Variant<'de> {
    fn value(&self) -> Result<&'de Json, Mismatch> {
        let name = self.name;
        self.value.ok_or_else(|| {
            de::Error::custom(format_args!("must be an object with the member `{name}`"))
        })
    }
}

impl<'de> VariantAccess<'de> for Variant<'de> {
    type Error = Mismatch;

    fn unit_variant(self) -> Result<(), Mismatch> {
        match self.value {
            None => Ok(()),
            Some(_) => Err(Mismatch::must_be("a string").at(self.name.to_owned())),
        }
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Mismatch> {
        let value = seed.deserialize(self.value()?);
        value.map_err(|error| error.at(self.name.to_owned()))
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Mismatch> {
        self.value()?.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Mismatch> {
        self.value()?.deserialize_map(visitor)
    }
}
