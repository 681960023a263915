//! The only place that knows the YAML library.

use std::{io, path::Path};

use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter, with_deserializer_from_str};

use super::{
    Config,
    check::check,
    error::{Fault, Problem},
    field::{FieldPath, Outline, Position},
    raw::RawConfig,
};

/// Reads and checks the text of a configuration that lies in `folder`.
pub(super) fn parse(
    text: &str,
    folder: &Path,
    read: &dyn Fn(&Path) -> io::Result<Vec<u8>>,
) -> Result<Config, Vec<Problem>> {
    let raw = read_shape(text).map_err(|problem| vec![*problem])?;
    let outline: Outline =
        serde_saphyr::from_str(text).map_err(|error| vec![shape(FieldPath::default(), &error)])?;
    check(raw, folder, read).map_err(|faults| {
        let mut problems: Vec<_> = faults
            .into_iter()
            .map(|(field, fault)| Problem {
                position: outline.position(&field),
                field,
                fault,
            })
            .collect();
        problems.sort_by_key(|problem| (problem.position.line, problem.position.column));
        problems
    })
}

fn read_shape(text: &str) -> Result<RawConfig, Box<Problem>> {
    let mut field = FieldPath::default();
    with_deserializer_from_str(text, |deserializer| {
        let mut track = serde_path_to_error::Track::new();
        let tracked = serde_path_to_error::Deserializer::new(deserializer, &mut track);
        let raw = serde::Deserialize::deserialize(tracked);
        field = FieldPath::from(&track.path());
        raw
    })
    .map_err(|error| Box::new(shape(field, &error)))
}

/// What the library says, in terms of the file.
fn shape(field: FieldPath, error: &Error) -> Problem {
    let error = error.without_snippet();
    let position = error.location().and_then(Position::new);
    let (field, fault) = match error {
        Error::Eof { .. } => (field, Fault::NoDocument),
        Error::MultipleDocuments { .. } => (field, Fault::SecondDocument),
        // The path ends at the unknown field already.
        Error::SerdeUnknownField { expected, .. } => {
            let expected = expected.clone();
            (field, Fault::UnknownField { expected })
        }
        Error::SerdeUnknownVariant {
            variant, expected, ..
        } => {
            let (found, expected) = (variant.clone(), expected.clone());
            (field, Fault::Variant { found, expected })
        }
        Error::SerdeMissingField { field: name, .. } => (field.key(name), Fault::MissingField),
        Error::DuplicateMappingKey { key: Some(key), .. } => {
            (field.key(key), Fault::DuplicateField)
        }
        _ => match expected(error) {
            Some(expected) => (field, Fault::Kind { expected }),
            None => {
                let message = DefaultMessageFormatter.format_message(error);
                (field, Fault::Yaml(message.into_owned()))
            }
        },
    };
    Problem {
        position: position.unwrap_or(Position { line: 1, column: 1 }),
        field,
        fault,
    }
}

/// For a value of the wrong kind, the right one.
fn expected(error: &Error) -> Option<&'static str> {
    match error {
        Error::Unexpected {
            expected: "sequence start",
            ..
        } => Some("a list"),
        Error::Unexpected {
            expected: "mapping start",
            ..
        } => Some("fields with values, `{}` if all are left out"),
        Error::Unexpected {
            expected: "string scalar",
            ..
        }
        | Error::NullIntoString { .. } => Some("a single value"),
        Error::UnexpectedValueForUnitEnumVariant { .. } => Some("the word alone"),
        Error::ExternallyTaggedEnumExpectedScalarOrMapping { .. } => {
            Some("a word, or one field with its value")
        }
        Error::ExpectedMappingEndAfterEnumVariantValue { .. } => {
            Some("one field only, and others as entries of their own")
        }
        // The only numbers and switches of the configuration.
        Error::InvalidScalar { ty: "i64", .. } => Some("a whole number"),
        Error::InvalidScalar { ty: "u32", .. } => Some("a whole number, 0 or more"),
        // A priority.
        Error::InvalidScalar { ty: "u8", .. } => Some("a whole number from 0 to 9"),
        Error::InvalidScalar { ty: "boolean", .. } => Some("true or false"),
        _ => None,
    }
}
