use super::{CertificateError, Files, Loaded};

/// Files that are read again and again, and what of them is in use. Pure: readings come in.
///
/// What was read counts when it has been read twice in a row. So a pair of which only one file is written yet, and a
/// chain that so far ends after its leaf, are not taken for what somebody wanted.
pub struct Watched<F: Files> {
    loaded: Loaded<F>,
    /// The reading that was last looked into; nothing yet of what the configuration has read.
    known: Option<F::Content>,
    /// Another one, read once.
    new: Option<F::Content>,
    broken: bool,
}

/// What a reading has led to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// What is there now cannot be used; what there was before stays in use. Said once of each content.
    Broken(CertificateError),
    /// Something else is in use now.
    Changed,
    /// It is another one, and may be still in the making: to be read again soon.
    New,
    /// What is in use is there again.
    Repaired,
    /// It is as it was, for better or worse.
    Unchanged,
}

impl<F: Files> Watched<F> {
    /// Files that have been read.
    pub const fn new(loaded: Loaded<F>) -> Self {
        Self {
            loaded,
            known: None,
            new: None,
            broken: false,
        }
    }

    /// Where they are.
    pub const fn files(&self) -> &F {
        &self.loaded.files
    }

    /// What is in use.
    pub const fn held(&self) -> &F::Held {
        &self.loaded.held
    }

    /// Takes a reading.
    pub fn look(&mut self, content: F::Content) -> Seen {
        if self.known.as_ref() == Some(&content) {
            self.new = None;
            return Seen::Unchanged;
        }
        if self.new.as_ref() != Some(&content) {
            self.new = Some(content);
            return Seen::New;
        }
        self.new = None;
        let parsed = self.loaded.files.parse(&content);
        self.known = Some(content);
        match parsed {
            Ok(held) => {
                let was_broken = std::mem::replace(&mut self.broken, false);
                if held != self.loaded.held {
                    self.loaded.held = held;
                    Seen::Changed
                } else if was_broken {
                    Seen::Repaired
                } else {
                    Seen::Unchanged
                }
            }
            Err(error) => {
                self.broken = true;
                Seen::Broken(error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Seen::{Changed, New, Repaired, Unchanged};
    use super::*;

    /// Files of which `a` to `z` are good.
    #[derive(Clone, Debug, PartialEq)]
    struct Letter;

    impl Files for Letter {
        type Content = &'static str;
        type Held = char;

        fn parse(&self, content: &&'static str) -> Result<char, CertificateError> {
            let mut letters = content.trim().chars();
            let letter = letters.next().filter(char::is_ascii_lowercase);
            letter.ok_or_else(|| broken(content))
        }
    }

    fn broken(content: &str) -> CertificateError {
        CertificateError::NoAuthority(content.into())
    }

    #[test]
    fn what_is_read_twice_counts() {
        let bad = |content| Seen::Broken(broken(content));
        // What is read, what comes of it, and what is in use then.
        let cases: &[&[(&str, Seen, char)]] = &[
            // What the configuration has read is no news.
            &[
                ("a", New, 'a'),
                ("a", Unchanged, 'a'),
                ("a", Unchanged, 'a'),
            ],
            // It was replaced since.
            &[("b", New, 'a'), ("b", Changed, 'b'), ("b", Unchanged, 'b')],
            // It is still being written.
            &[
                ("a", New, 'a'),
                ("a", Unchanged, 'a'),
                ("", New, 'a'),
                ("b", New, 'a'),
                ("b", Changed, 'b'),
            ],
            // It was written over in one moment, and again.
            &[
                ("b", New, 'a'),
                ("c", New, 'a'),
                ("b", New, 'a'),
                ("b", Changed, 'b'),
            ],
            // It was there for a moment only.
            &[
                ("a", New, 'a'),
                ("a", Unchanged, 'a'),
                ("b", New, 'a'),
                ("a", Unchanged, 'a'),
                ("b", New, 'a'),
                ("b", Changed, 'b'),
            ],
            // Of one mistake it is told once, of another again.
            &[
                ("1", New, 'a'),
                ("1", bad("1"), 'a'),
                ("1", Unchanged, 'a'),
                ("2", New, 'a'),
                ("2", bad("2"), 'a'),
                ("1", New, 'a'),
                ("1", bad("1"), 'a'),
                ("b", New, 'a'),
                ("b", Changed, 'b'),
            ],
            // It was put back.
            &[
                ("1", New, 'a'),
                ("1", bad("1"), 'a'),
                ("a", New, 'a'),
                ("a", Repaired, 'a'),
                ("a ", New, 'a'),
                // Other bytes that mean the same.
                ("a ", Unchanged, 'a'),
            ],
        ];
        for (case, steps) in cases.iter().enumerate() {
            let mut watched = Watched::new(Loaded {
                files: Letter,
                held: 'a',
            });
            for (step, (content, seen, held)) in steps.iter().enumerate() {
                assert_eq!(watched.look(content), *seen, "case {case}, step {step}");
                assert_eq!(*watched.held(), *held, "case {case}, step {step}");
            }
        }
    }
}
