//! Reads discovery responses as they come in, without decoding what they carry.
//!
//! A thousand clients share two cores with the server they measure. Of a response they need the type, the nonce, and
//! names and versions of its resources; what a resource says is passed over where it lies, in whatever pieces it comes.

use clap::ValueEnum;

/// Which of the two variants of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Protocol {
    /// `DeltaDiscoveryResponse`: each resource has a version.
    Delta,
    /// `DiscoveryResponse`: the response has one.
    Sotw,
}

/// What a client needs of a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) type_url: String,
    pub(super) nonce: String,
    /// `version_info`; empty in delta.
    pub(super) version: String,
    pub(super) resources: Vec<SeenResource>,
    pub(super) removed: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SeenResource {
    pub(super) name: String,
    /// Empty in state of the world.
    pub(super) version: String,
}

/// The bytes are no gRPC messages of this kind.
#[derive(Debug, thiserror::Error)]
#[error("what the server sent is no discovery response")]
pub(crate) struct Malformed;

/// The responses of one stream.
#[derive(Debug)]
pub(super) struct Scan {
    protocol: Protocol,
    state: State,
    /// The messages that enclose what comes next, the response first; empty between two responses.
    enclosing: Vec<Enclosing>,
    seen: Seen,
}

#[derive(Clone, Copy, Debug)]
struct Enclosing {
    message: Message,
    /// How many bytes of it are still to come.
    left: usize,
}

/// What is looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Message {
    Response,
    /// `envoy.service.discovery.v3.Resource`
    Resource,
    /// `google.protobuf.Any`
    Any,
    /// `Cluster` or `ClusterLoadAssignment`: both have their name in field 1.
    Named,
}

#[derive(Debug)]
enum State {
    /// Five bytes before each message (gRPC over HTTP/2, Length-Prefixed-Message), these so far.
    Prefix(Vec<u8>),
    Tag(Varint),
    /// Of a field of this kind.
    Length(Field, Varint),
    /// A number that nobody needs.
    Number(Varint),
    Skip(usize),
    Text(Text, usize, Vec<u8>),
}

#[derive(Clone, Copy, Debug, Default)]
struct Varint {
    value: u64,
    shift: u32,
}

#[derive(Clone, Copy, Debug)]
enum Field {
    Inside(Message),
    Text(Text),
    Other,
}

#[derive(Clone, Copy, Debug)]
enum Text {
    TypeUrl,
    Nonce,
    VersionInfo,
    Removed,
    Name,
    Version,
}

impl Scan {
    pub(super) fn new(protocol: Protocol) -> Self {
        Self {
            protocol,
            state: State::Prefix(Vec::new()),
            enclosing: Vec::new(),
            seen: Seen::default(),
        }
    }

    /// Takes what has come; the responses that are whole by it.
    ///
    /// # Errors
    /// [`Malformed`], after which there is no way back into step.
    pub(super) fn feed(&mut self, mut data: &[u8]) -> Result<Vec<Seen>, Malformed> {
        let mut whole = Vec::new();
        while !data.is_empty() {
            let taken = self.step(data)?;
            data = data.get(taken..).ok_or(Malformed)?;
            whole.extend(self.end_messages());
        }
        Ok(whole)
    }

    /// Takes some of the data, at least a byte; says how much.
    fn step(&mut self, data: &[u8]) -> Result<usize, Malformed> {
        let wanted = match &self.state {
            State::Skip(left) => *left,
            State::Text(_, left, _) => *left,
            _ => 1,
        };
        let taken = data.get(..wanted.min(data.len())).ok_or(Malformed)?;
        if !matches!(self.state, State::Prefix(_)) {
            self.pass(taken.len())?;
        }
        let state = std::mem::replace(&mut self.state, State::Tag(Varint::default()));
        self.state = match state {
            State::Skip(left) => skip(left - taken.len()),
            State::Text(text, left, mut bytes) => {
                bytes.extend_from_slice(taken);
                self.text(text, left - taken.len(), bytes)?
            }
            other => match taken {
                [byte] => self.byte(other, *byte)?,
                _ => return Err(Malformed),
            },
        };
        Ok(taken.len())
    }

    /// So much of every message around it is through.
    fn pass(&mut self, count: usize) -> Result<(), Malformed> {
        for message in &mut self.enclosing {
            message.left = message.left.checked_sub(count).ok_or(Malformed)?;
        }
        Ok(())
    }

    fn byte(&mut self, state: State, byte: u8) -> Result<State, Malformed> {
        Ok(match state {
            State::Prefix(mut bytes) => {
                bytes.push(byte);
                self.prefix(bytes)?
            }
            State::Tag(varint) => match varint.push(byte)? {
                Progress::More(varint) => State::Tag(varint),
                Progress::Whole(tag) => self.tag(tag)?,
            },
            State::Number(varint) => match varint.push(byte)? {
                Progress::More(varint) => State::Number(varint),
                Progress::Whole(_) => State::Tag(Varint::default()),
            },
            State::Length(field, varint) => match varint.push(byte)? {
                Progress::More(varint) => State::Length(field, varint),
                Progress::Whole(length) => self.content(field, length)?,
            },
            State::Skip(_) | State::Text(..) => return Err(Malformed),
        })
    }

    fn prefix(&mut self, bytes: Vec<u8>) -> Result<State, Malformed> {
        match bytes.as_slice() {
            [PLAIN, a, b, c, d] => {
                let length = u32::from_be_bytes([*a, *b, *c, *d]);
                self.enclosing.push(Enclosing {
                    message: Message::Response,
                    left: usize::try_from(length).map_err(|_| Malformed)?,
                });
                Ok(State::Tag(Varint::default()))
            }
            [_, _, _, _, _] => Err(Malformed),
            _ => Ok(State::Prefix(bytes)),
        }
    }

    fn tag(&self, tag: u64) -> Result<State, Malformed> {
        let inside = self.enclosing.last().ok_or(Malformed)?.message;
        match tag & 7 {
            0 => Ok(State::Number(Varint::default())),
            1 => Ok(State::Skip(8)),
            2 => {
                let field = field(self.protocol, inside, tag >> 3);
                Ok(State::Length(field, Varint::default()))
            }
            5 => Ok(State::Skip(4)),
            _ => Err(Malformed),
        }
    }

    fn content(&mut self, field: Field, length: u64) -> Result<State, Malformed> {
        let length = usize::try_from(length).map_err(|_| Malformed)?;
        let around = self.enclosing.last().ok_or(Malformed)?;
        if length > around.left {
            return Err(Malformed);
        }
        match field {
            Field::Other => Ok(skip(length)),
            Field::Text(text) => self.text(text, length, Vec::new()),
            Field::Inside(message) => {
                if matches!(message, Message::Resource | Message::Any) {
                    self.seen.resources.push(SeenResource::default());
                }
                self.enclosing.push(Enclosing {
                    message,
                    left: length,
                });
                Ok(State::Tag(Varint::default()))
            }
        }
    }

    fn text(&mut self, text: Text, left: usize, bytes: Vec<u8>) -> Result<State, Malformed> {
        if left > 0 {
            return Ok(State::Text(text, left, bytes));
        }
        let value = String::from_utf8(bytes).map_err(|_| Malformed)?;
        let mut resource = self.seen.resources.last_mut();
        match text {
            Text::TypeUrl => self.seen.type_url = value,
            Text::Nonce => self.seen.nonce = value,
            Text::VersionInfo => self.seen.version = value,
            Text::Removed => self.seen.removed.push(value),
            Text::Name => resource.as_mut().ok_or(Malformed)?.name = value,
            Text::Version => resource.as_mut().ok_or(Malformed)?.version = value,
        }
        Ok(State::Tag(Varint::default()))
    }

    /// Leaves the messages that end here; the response if it is among them.
    fn end_messages(&mut self) -> Option<Seen> {
        let between = matches!(self.state, State::Tag(Varint { shift: 0, .. }));
        while between && self.enclosing.last().is_some_and(|it| it.left == 0) {
            self.enclosing.pop();
            if self.enclosing.is_empty() {
                self.state = State::Prefix(Vec::new());
                return Some(std::mem::take(&mut self.seen));
            }
        }
        None
    }
}

fn skip(left: usize) -> State {
    if left == 0 {
        State::Tag(Varint::default())
    } else {
        State::Skip(left)
    }
}

/// What a field with a length is, by its number.
const fn field(protocol: Protocol, message: Message, number: u64) -> Field {
    match (message, protocol, number) {
        (Message::Response, Protocol::Delta, 2) => Field::Inside(Message::Resource),
        (Message::Response, Protocol::Sotw, 2) => Field::Inside(Message::Any),
        (Message::Response, Protocol::Sotw, 1) => Field::Text(Text::VersionInfo),
        (Message::Response, _, 4) => Field::Text(Text::TypeUrl),
        (Message::Response, _, 5) => Field::Text(Text::Nonce),
        (Message::Response, Protocol::Delta, 6) => Field::Text(Text::Removed),
        (Message::Resource, _, 1) => Field::Text(Text::Version),
        (Message::Resource, _, 3) | (Message::Named, _, 1) => Field::Text(Text::Name),
        (Message::Any, _, 2) => Field::Inside(Message::Named),
        _ => Field::Other,
    }
}

enum Progress {
    More(Varint),
    Whole(u64),
}

impl Varint {
    fn push(self, byte: u8) -> Result<Progress, Malformed> {
        if self.shift > MAX_SHIFT {
            return Err(Malformed);
        }
        let value = self.value | u64::from(byte & 0x7f) << self.shift;
        Ok(if byte & 0x80 == 0 {
            Progress::Whole(value)
        } else {
            Progress::More(Self {
                value,
                shift: self.shift + 7,
            })
        })
    }
}

/// Of a message that is not compressed; nobody asked for any other.
const PLAIN: u8 = 0;
/// Ten bytes are the longest varint.
const MAX_SHIFT: u32 = 63;

#[cfg(test)]
mod tests;
