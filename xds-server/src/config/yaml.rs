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

fn shape(field: FieldPath, error: &Error) -> Problem {
    let error = error.without_snippet();
    let position = error.location().and_then(Position::new);
    let message = DefaultMessageFormatter.format_message(error);
    Problem {
        position: position.unwrap_or(Position { line: 1, column: 1 }),
        field,
        fault: Fault::Shape(message.into_owned()),
    }
}
