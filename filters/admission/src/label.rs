//! What a client asks for in an instance.

use std::collections::{BTreeMap, BTreeSet};

use percent_encoding::percent_decode;

use crate::Reason;
use crate::config::LabelConfig;
use crate::credential::Agreed;
use crate::policy::{PolicyError, PolicyProblem, is_query_parameter};

/// A label, and where it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    name: String,
    query_parameter: Option<String>,
    header: Option<String>,
}

impl Label {
    pub(crate) fn header(&self) -> Option<&str> {
        self.header.as_deref()
    }
}

/// What a request says of each label.
pub(crate) struct Asked<'p, 'a>(Vec<(&'p Label, Agreed<'a>)>);

impl<'p, 'a> Asked<'p, 'a> {
    pub(crate) fn of(labels: &'p [Label]) -> Self {
        let nothing = |label| (label, Agreed::Nothing);
        Self(labels.iter().map(nothing).collect())
    }

    /// Takes a parameter: its name decoded, its value as it came.
    pub(crate) fn parameter(&mut self, name: &[u8], value: &'a [u8]) {
        for (label, said) in &mut self.0 {
            let parameter = label.query_parameter.as_deref().map(str::as_bytes);
            if parameter == Some(name) {
                said.add(percent_decode(value).into());
            }
        }
    }

    pub(crate) fn header(&mut self, name: &str, value: &'a [u8]) {
        for (label, said) in &mut self.0 {
            if label.header() == Some(name) {
                said.add(value.trim_ascii().into());
            }
        }
    }

    /// What is asked for, by the labels' names.
    pub(crate) fn agreed(self) -> Result<BTreeMap<String, String>, Reason> {
        let mut labels = BTreeMap::new();
        for (label, said) in self.0 {
            match said {
                Agreed::Nothing => {}
                Agreed::One(value) if (1..=MAX_BYTES).contains(&value.len()) => {
                    let value = String::from_utf8(value.into_owned())
                        .ok()
                        .filter(|value| value.bytes().all(is_value));
                    labels.insert(label.name.clone(), value.ok_or(Reason::BadRequest)?);
                }
                Agreed::One(_) | Agreed::Disagreed => return Err(Reason::BadRequest),
            }
        }
        Ok(labels)
    }
}

pub(crate) fn compile_labels(
    configs: Vec<LabelConfig>,
    token_parameter: &str,
) -> Result<Vec<Label>, PolicyError> {
    if configs.len() > MAX_LABELS {
        return Err(PolicyError::new("labels", PolicyProblem::TooManyLabels));
    }
    let mut names = BTreeSet::new();
    let mut parameters = BTreeSet::from([token_parameter.to_owned()]);
    let mut headers = BTreeSet::new();
    let mut labels = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        let error = |member: &str, problem| {
            Err(PolicyError::new(
                format!("labels[{index}]{member}"),
                problem,
            ))
        };
        let LabelConfig {
            label: name,
            query_parameter,
            header,
        } = config;
        if !is_name(&name) {
            return error(".label", PolicyProblem::LabelName(name));
        }
        if !names.insert(name.clone()) {
            return error(".label", PolicyProblem::Duplicate(name));
        }
        if let Some(parameter) = &query_parameter {
            if !is_query_parameter(parameter) {
                return error(".query_parameter", PolicyProblem::QueryParameter);
            }
            if !parameters.insert(parameter.clone()) {
                let problem = PolicyProblem::Duplicate(parameter.clone());
                return error(".query_parameter", problem);
            }
        }
        if let Some(header) = &header {
            if !is_header(header) {
                return error(".header", PolicyProblem::Header);
            }
            if !headers.insert(header.clone()) {
                return error(".header", PolicyProblem::Duplicate(header.clone()));
            }
        }
        if query_parameter.is_none() && header.is_none() {
            return error("", PolicyProblem::NoPlace);
        }
        labels.push(Label {
            name,
            query_parameter,
            header,
        });
    }
    Ok(labels)
}

fn is_name(name: &str) -> bool {
    (1..=MAX_BYTES).contains(&name.len())
        && name
            .bytes()
            .all(|byte| is_value(byte) && !byte.is_ascii_uppercase())
}

fn is_value(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// A header that a client may send for a purpose of its own.
fn is_header(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (1..=MAX_BYTES).contains(&name.len())
        && name.bytes().all(fits)
        && !TAKEN.contains(&name)
        && !TAKEN_FAMILIES.iter().any(|family| name.starts_with(family))
}

/// Of a label's name and of its value.
const MAX_BYTES: usize = 64;
/// A request's parameters are compared with each.
pub(crate) const MAX_LABELS: usize = 16;
/// Credentials, and what makes a request an upgrade.
const TAKEN: [&str; 6] = [
    "authorization",
    "berth-resume-key",
    "connection",
    "cookie",
    "host",
    "upgrade",
];
const TAKEN_FAMILIES: [&str; 2] = ["sec-", "x-berth-"];
