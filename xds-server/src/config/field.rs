//! Where in the file something is: a field's path, and its line and column.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, de};
use serde_saphyr::Spanned;

/// A field's path, such as `pools[1].instances[0].address`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldPath(Vec<Segment>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Key(String),
    Index(usize),
}

/// A place in the file, both counted from 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// The line.
    pub line: u64,
    /// The column, in characters.
    pub column: u64,
}

/// The file once more, reduced to where each of its values begins.
///
/// The rules are checked on plain values, which do not carry their places with them; a broken rule
/// names a field, and this says where that is.
#[derive(Debug)]
pub(super) struct Outline {
    position: Position,
    members: Members,
}

#[derive(Debug)]
enum Members {
    None,
    Mapping(Vec<(String, Outline)>),
    Sequence(Vec<Outline>),
}

impl FieldPath {
    pub(super) fn key(&self, key: &str) -> Self {
        self.with(Segment::Key(key.to_owned()))
    }

    pub(super) fn index(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    /// This path with all of `tail` below it.
    pub(super) fn join(&self, tail: &Self) -> Self {
        let mut segments = self.0.clone();
        segments.extend_from_slice(&tail.0);
        Self(segments)
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(key) if position == 0 => f.write_str(key)?,
                Segment::Key(key) => write!(f, ".{key}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// Reads what `Display` writes. Total: what is no index in brackets is taken for a key, for the
/// paths it reads are those of errors, which are better shown odd than not at all.
impl FromStr for FieldPath {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let segments = text
            .split(['.', '['])
            .filter(|part| !part.is_empty())
            .map(|part| {
                let index = part
                    .strip_suffix(']')
                    .and_then(|digits| digits.parse().ok());
                index.map_or_else(|| Segment::Key(part.to_owned()), Segment::Index)
            })
            .collect();
        Ok(Self(segments))
    }
}

impl From<&serde_path_to_error::Path> for FieldPath {
    fn from(path: &serde_path_to_error::Path) -> Self {
        use serde_path_to_error::Segment as Found;
        let segments = path.iter().filter_map(|segment| match segment {
            Found::Seq { index } => Some(Segment::Index(*index)),
            Found::Map { key } | Found::Enum { variant: key } => Some(Segment::Key(key.clone())),
            Found::Unknown => None,
        });
        Self(segments.collect())
    }
}

impl Position {
    /// `None` for a place the parser does not know.
    pub(super) fn new(location: serde_saphyr::Location) -> Option<Self> {
        let (line, column) = (location.line(), location.column());
        (line > 0).then_some(Self { line, column })
    }
}

impl Outline {
    /// Where `field` is or, if it is not in the file, where the nearest thing around it is.
    pub(super) fn position(&self, field: &FieldPath) -> Position {
        let mut here = self;
        for segment in &field.0 {
            let below = match (&here.members, segment) {
                (Members::Mapping(members), Segment::Key(key)) => members
                    .iter()
                    .find_map(|(name, value)| (name == key).then_some(value)),
                (Members::Sequence(items), Segment::Index(index)) => items.get(*index),
                _ => None,
            };
            match below {
                Some(below) => here = below,
                None => break,
            }
        }
        here.position
    }
}

impl<'de> Deserialize<'de> for Outline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let spanned = Spanned::<Members>::deserialize(deserializer)?;
        let start = Position { line: 1, column: 1 };
        Ok(Self {
            position: Position::new(spanned.referenced).unwrap_or(start),
            members: spanned.value,
        })
    }
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(MembersVisitor)
    }
}

struct MembersVisitor;

impl<'de> de::Visitor<'de> for MembersVisitor {
    type Value = Members;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_map<A: de::MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
        let mut members = Vec::new();
        while let Some(member) = map.next_entry()? {
            members.push(member);
        }
        Ok(Members::Mapping(members))
    }

    fn visit_seq<A: de::SeqAccess<'de>>(self, mut sequence: A) -> Result<Members, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = sequence.next_element()? {
            items.push(item);
        }
        Ok(Members::Sequence(items))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Members, E> {
        Ok(Members::None)
    }

    fn visit_i64<E>(self, _: i64) -> Result<Members, E> {
        Ok(Members::None)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Members, E> {
        Ok(Members::None)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Members, E> {
        Ok(Members::None)
    }

    fn visit_str<E>(self, _: &str) -> Result<Members, E> {
        Ok(Members::None)
    }

    fn visit_unit<E>(self) -> Result<Members, E> {
        Ok(Members::None)
    }
}
