//! Makes of a [`Json`] what it configures. By hand: what serde derives for it is 45 kB of the module, for each member that
//! can be wrong drops all that was read before it.

use std::fmt;

use super::{Json, Object};

/// Why a value is not what was expected, and where it is: `issuers[0].audiences: must be an array`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Mismatch {
    /// From the inside out; an element's begins with a bracket.
    path: Vec<String>,
    problem: &'static str,
}

impl Mismatch {
    /// Of the value itself.
    pub const fn new(problem: &'static str) -> Self {
        Self {
            path: Vec::new(),
            problem,
        }
    }

    /// Of a value that has the mismatched one as its member.
    #[must_use]
    pub fn at(mut self, member: &str) -> Self {
        self.path.push(member.to_owned());
        self
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
        f.write_str(self.problem)
    }
}

impl std::error::Error for Mismatch {}

/// Reads a value.
pub type Read<T> = fn(&Json) -> Result<T, Mismatch>;

/// The members of an object, which are taken one by one. The first that is wrong is kept until the end: then what was read
/// is refused.
#[derive(Debug)]
pub struct Members<'j> {
    /// Those that were not taken.
    rest: Vec<&'j (String, Json)>,
    wrong: Option<Mismatch>,
}

impl<'j> Members<'j> {
    /// Of something that has to be an object.
    pub fn of(json: &'j Json) -> Self {
        match json {
            Json::Object(Object(members)) => Self {
                rest: members.iter().collect(),
                wrong: None,
            },
            _ => Self {
                rest: Vec::new(),
                wrong: Some(Mismatch::new("must be an object")),
            },
        }
    }

    /// What was read of them, if there was nothing wrong.
    ///
    /// # Errors
    /// The first member that is missing, of another form, or not known.
    pub fn end<T>(self, read: T) -> Result<T, Mismatch> {
        match self.first_wrong() {
            None => Ok(read),
            Some(wrong) => Err(wrong),
        }
    }

    fn first_wrong(self) -> Option<Mismatch> {
        let unknown = |(name, _): &(String, Json)| Mismatch::new("is not known").at(name);
        let unknown = self.rest.first().copied().map(unknown);
        self.wrong.or(unknown)
    }

    fn refuse(&mut self, name: &str, wrong: Mismatch) {
        if self.wrong.is_none() {
            self.wrong = Some(wrong.at(name));
        }
    }

    fn take(&mut self, name: &str) -> Option<&'j Json> {
        let index = self.rest.iter().position(|(member, _)| member == name)?;
        let (_, value) = self.rest.remove(index);
        Some(value)
    }

    fn need(&mut self, name: &str) -> Option<&'j Json> {
        let value = self.take(name);
        if value.is_none() {
            self.refuse(name, Mismatch::new("is missing"));
        }
        value
    }

    fn unless_null(&mut self, name: &str) -> Option<&'j Json> {
        self.take(name).filter(|value| **value != Json::Null)
    }

    fn read<T>(&mut self, name: &str, value: Option<&Json>, read: Read<T>) -> Option<T> {
        match read(value?) {
            Ok(value) => Some(value),
            Err(wrong) => {
                self.refuse(name, wrong);
                None
            }
        }
    }

    /// A member that may be absent.
    pub fn one<T>(&mut self, name: &str, read: Read<T>) -> Option<T> {
        let value = self.take(name);
        self.read(name, value, read)
    }

    /// A member that has to be there. `None` only if nothing will be read of these members.
    pub fn needed<T>(&mut self, name: &str, read: Read<T>) -> Option<T> {
        let value = self.need(name);
        self.read(name, value, read)
    }

    /// An array, in which each element is read; empty if it is absent.
    pub fn list<T>(&mut self, name: &str, read: Read<T>) -> Vec<T> {
        let value = self.take(name);
        self.elements(name, value, read)
    }

    /// An array that has to be there.
    pub fn needed_list<T>(&mut self, name: &str, read: Read<T>) -> Vec<T> {
        let value = self.need(name);
        self.elements(name, value, read)
    }

    fn elements<T>(&mut self, name: &str, value: Option<&Json>, read: Read<T>) -> Vec<T> {
        let mut elements = Vec::new();
        for (index, value) in self.array(name, value).iter().enumerate() {
            match read(value) {
                Ok(value) => elements.push(value),
                Err(wrong) => {
                    self.refuse(name, wrong.at(&format!("[{index}]")));
                    break;
                }
            }
        }
        elements
    }

    fn array<'a>(&mut self, name: &str, value: Option<&'a Json>) -> &'a [Json] {
        let Some(value) = value else {
            return &[];
        };
        value.as_array().unwrap_or_else(|| {
            self.refuse(name, Mismatch::new("must be an array"));
            &[]
        })
    }

    /// A text that has to be there.
    pub fn text(&mut self, name: &str) -> String {
        self.needed(name, text).unwrap_or_default()
    }

    /// A text; empty if it is absent.
    pub fn text_or_empty(&mut self, name: &str) -> String {
        self.one(name, text).unwrap_or_default()
    }

    /// A text, which may be absent or `null`.
    pub fn optional_text(&mut self, name: &str) -> Option<String> {
        let value = self.unless_null(name);
        self.read(name, value, text)
    }

    /// An array of texts; empty if it is absent.
    pub fn texts(&mut self, name: &str) -> Vec<String> {
        self.list(name, text)
    }

    /// An array of texts, which may be absent or `null`.
    pub fn optional_texts(&mut self, name: &str) -> Option<Vec<String>> {
        let value = self.unless_null(name)?;
        Some(self.elements(name, Some(value), text))
    }

    /// A number, which may be absent or `null`.
    pub fn optional_number(&mut self, name: &str) -> Option<u64> {
        let value = self.unless_null(name);
        self.read(name, value, number)
    }
}

/// Of a text.
///
/// # Errors
/// When it is something else.
pub fn text(json: &Json) -> Result<String, Mismatch> {
    let text = json.as_text().map(str::to_owned);
    text.ok_or(Mismatch::new("must be a string"))
}

/// Of a whole number.
///
/// # Errors
/// When it is something else.
pub const fn number(json: &Json) -> Result<u64, Mismatch> {
    match json {
        Json::Unsigned(number) => Ok(*number),
        _ => Err(Mismatch::new("must be a whole number, not below 0")),
    }
}

/// Of a truth value.
///
/// # Errors
/// When it is something else.
pub const fn flag(json: &Json) -> Result<bool, Mismatch> {
    match json {
        Json::Bool(flag) => Ok(*flag),
        _ => Err(Mismatch::new("must be true or false")),
    }
}

/// What stands for one of several things: its name alone, or an object with one member of that name.
pub fn variant(json: &Json) -> Option<(&str, Option<&Json>)> {
    match json {
        Json::Text(name) => Some((name, None)),
        Json::Object(Object(members)) => match members.as_slice() {
            [(name, value)] => Some((name, Some(value))),
            _ => None,
        },
        _ => None,
    }
}
