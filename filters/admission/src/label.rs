//! What a client asks for in an instance.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use crate::Reason;
use crate::config::{CarrierConfig, LabelConfig};
use crate::credential::Agreed;
use crate::policy::{PolicyError, PolicyProblem, is_header, is_query_parameter};

/// A label, and where it is asked for.
#[derive(Clone, Debug)]
pub(crate) struct Label(LabelConfig);

impl Label {
    pub(crate) fn header(&self) -> Option<&str> {
        self.0.header.as_deref()
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
            let parameter = label.0.query_parameter.as_deref().map(str::as_bytes);
            if parameter == Some(name) {
                said.add(percent_decode(value).into());
            }
        }
    }

    /// Takes the header of a label: no two have the same.
    pub(crate) fn header(&mut self, name: &str, value: Cow<'a, [u8]>) {
        let mut all = self.0.iter_mut();
        if let Some((_, said)) = all.find(|(label, _)| label.header() == Some(name)) {
            said.add(value);
        }
    }

    /// Each label, and what is said of it.
    pub(crate) fn said(&self) -> impl Iterator<Item = (&str, &Agreed<'a>)> {
        self.0
            .iter()
            .map(|(label, said)| (label.0.label.as_str(), said))
    }

    /// What is asked for: names and values, in the policy's order.
    pub(crate) fn agreed(self) -> Result<Vec<(String, String)>, Reason> {
        let mut labels = Vec::new();
        for (label, said) in self.0 {
            match said {
                Agreed::Nothing => {}
                Agreed::One(value) if (1..=MAX_BYTES).contains(&value.len()) => {
                    let value = String::from_utf8(value.into_owned())
                        .ok()
                        .filter(|value| value.bytes().all(is_value));
                    labels.push((label.0.label.clone(), value.ok_or(Reason::BadRequest)?));
                }
                Agreed::One(_) | Agreed::Disagreed => return Err(Reason::BadRequest),
            }
        }
        Ok(labels)
    }
}

pub(crate) fn compile_labels(
    configs: Vec<LabelConfig>,
    carriers: &[CarrierConfig],
) -> Result<Vec<Label>, PolicyError> {
    if configs.len() > MAX_LABELS {
        return Err(PolicyError::new("labels", PolicyProblem::TooManyLabels));
    }
    let mut labels: Vec<Label> = Vec::with_capacity(configs.len());
    for (index, config) in configs.into_iter().enumerate() {
        if let Some((member, problem)) = label_problem(&config, &labels, carriers) {
            let field = format!("labels[{index}]{member}");
            return Err(PolicyError::new(field, problem));
        }
        labels.push(Label(config));
    }
    Ok(labels)
}

/// What is wrong with a label beside those before it, and in which member.
fn label_problem(
    config: &LabelConfig,
    earlier: &[Label],
    carriers: &[CarrierConfig],
) -> Option<(&'static str, PolicyProblem)> {
    let LabelConfig {
        label,
        query_parameter,
        header,
    } = config;
    let duplicate = |text: &str| PolicyProblem::Duplicate(text.to_owned());
    if !is_name(label) {
        return Some((".label", PolicyProblem::LabelName(label.clone())));
    }
    if earlier.iter().any(|other| other.0.label == *label) {
        return Some((".label", duplicate(label)));
    }
    if let Some(parameter) = query_parameter {
        let taken = |other: &Label| other.0.query_parameter.as_ref() == Some(parameter);
        if !is_query_parameter(parameter) {
            return Some((".query_parameter", PolicyProblem::QueryParameter));
        }
        let carries = |carrier: &CarrierConfig| matches!(carrier, CarrierConfig::Query(name) if name == parameter);
        if carriers.iter().any(carries) || earlier.iter().any(taken) {
            return Some((".query_parameter", duplicate(parameter)));
        }
    }
    if let Some(header) = header {
        if !is_header(header) {
            return Some((".header", PolicyProblem::Header));
        }
        let carries = |carrier: &CarrierConfig| matches!(carrier, CarrierConfig::Header(one) if one.name == *header);
        if carriers.iter().any(carries)
            || earlier.iter().any(|other| other.header() == Some(header))
        {
            return Some((".header", duplicate(header)));
        }
    }
    (query_parameter.is_none() && header.is_none()).then_some(("", PolicyProblem::NoPlace))
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

/// Of a label's name and of its value.
const MAX_BYTES: usize = 63;
/// A request's parameters are compared with each.
pub(crate) const MAX_LABELS: usize = 16;
