//! The tables, a function a kind of attack, a row a case.

mod algorithms;
mod claims;
mod forms;
mod keys;
mod requests;
mod signatures;

use std::sync::Arc;

use crate::case::Sent;
use crate::{AUDIENCE, Answer, Case, ISSUER, KeyError, Keys, Request, Setting, Signature, Token};

/// All cases, with tokens of these keys that are good at `now`, in Unix seconds.
///
/// # Errors
/// When a token cannot be signed.
pub fn cases(keys: &Arc<Keys>, now: i64) -> Result<Vec<Case>, KeyError> {
    let mut table = Table {
        keys: Arc::clone(keys),
        now,
        class: "",
        cases: Vec::new(),
    };
    for fill in [
        algorithms::fill,
        keys::fill,
        signatures::fill,
        forms::fill,
        claims::fill,
        requests::fill,
    ] {
        fill(&mut table)?;
    }
    Ok(table.cases)
}

/// A table that is being filled.
struct Table {
    keys: Arc<Keys>,
    now: i64,
    class: &'static str,
    cases: Vec<Case>,
}

impl Table {
    /// What follows is of this class.
    fn class(&mut self, class: &'static str) {
        self.class = class;
    }

    /// A token that is good for both pools.
    fn token(&self) -> Token {
        Token::new(Arc::clone(&self.keys), ISSUER, AUDIENCE, self.now).pools(["web", "native"])
    }

    fn good(&self) -> Result<String, KeyError> {
        self.token().sign()
    }

    /// A credential that is refused without a signature being computed.
    fn unseen(
        &mut self,
        name: impl Into<String>,
        credential: impl Into<Vec<u8>>,
        reason: &'static str,
    ) {
        self.credential(name, credential, refused(reason, Signature::Unseen));
    }

    /// A credential that is refused for its signature, or for what it says once that is known to be good.
    fn seen(
        &mut self,
        name: impl Into<String>,
        credential: impl Into<Vec<u8>>,
        reason: &'static str,
    ) {
        self.credential(name, credential, refused(reason, Signature::Seen));
    }

    /// A credential that is odd and good.
    fn admitted(&mut self, name: impl Into<String>, credential: impl Into<Vec<u8>>) {
        self.credential(name, credential, Answer::Admitted);
    }

    fn credential(
        &mut self,
        name: impl Into<String>,
        credential: impl Into<Vec<u8>>,
        answer: Answer,
    ) {
        self.add(
            name,
            Setting::Plain,
            Sent::Credential(credential.into()),
            answer,
        );
    }

    fn request(&mut self, name: impl Into<String>, request: Request, answer: Answer) {
        self.add(name, Setting::Plain, Sent::Request(request), answer);
    }

    fn add(&mut self, name: impl Into<String>, setting: Setting, sent: Sent, answer: Answer) {
        self.cases.push(Case {
            class: self.class,
            name: name.into(),
            setting,
            answer,
            sent,
            in_process: false,
        });
    }

    /// The last one is not brought to admission by every proxy as it is.
    fn in_process(&mut self) {
        if let Some(case) = self.cases.last_mut() {
            case.in_process = true;
        }
    }

    /// The last one is of another setting.
    fn under(&mut self, setting: Setting) {
        if let Some(case) = self.cases.last_mut() {
            case.setting = setting;
        }
    }
}

fn refused(reason: &'static str, signature: Signature) -> Answer {
    Answer::Refused { reason, signature }
}

const MALFORMED: &str = "malformed_token";
const BAD_SIGNATURE: &str = "bad_signature";
const UNSUPPORTED: &str = "unsupported_algorithm";
const UNKNOWN_KEY: &str = "unknown_key";
