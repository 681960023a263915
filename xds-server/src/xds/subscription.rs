//! Which resources of one type a client wants.

use std::collections::BTreeSet;

/// The names a client subscribed to, and whether it wants whatever there is.
///
/// The xDS protocol lets a client ask for everything in two ways: by the name `*`, or, for the sake of old
/// clients, by never having named anything. The second ends for good when the first name is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    wildcard: Wildcard,
    names: BTreeSet<String>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Wildcard {
    /// The client asked for `*`.
    Asked,
    /// The client has named nothing yet.
    #[default]
    Implied,
    /// Only what is named.
    Off,
}

impl Subscription {
    /// Adds names, `*` among them if the client gave it.
    pub(super) fn add<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if name == WILDCARD {
                self.wildcard = Wildcard::Asked;
                continue;
            }
            if self.wildcard == Wildcard::Implied {
                self.wildcard = Wildcard::Off;
            }
            self.names.insert(name.to_owned());
        }
    }

    /// Takes names away, `*` among them if the client gave it.
    pub(super) fn remove<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        for name in names {
            if name == WILDCARD {
                self.wildcard = Wildcard::Off;
            } else {
                self.names.remove(name);
            }
        }
    }

    /// Whether the client wants whatever there is.
    pub(super) fn is_wildcard(&self) -> bool {
        self.wildcard != Wildcard::Off
    }

    /// Whether the client named this resource, and so wants to hear if there is none.
    pub(super) fn names(&self, name: &str) -> bool {
        self.names.contains(name)
    }

    /// The names the client gave, without `*`.
    pub(super) fn named(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// Whether the client is to be told of this resource.
    pub(super) fn wants(&self, name: &str) -> bool {
        self.is_wildcard() || self.names(name)
    }
}

/// The name that stands for all.
pub(super) const WILDCARD: &str = "*";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_is_implied_until_something_is_named() {
        // (steps, whether everything is wanted afterwards, the names)
        let cases: &[(&[&str], bool, &[&str])] = &[
            (&[], true, &[]),
            (&["+*"], true, &[]),
            (&["+a"], false, &["a"]),
            (&["+*", "+a"], true, &["a"]),
            (&["+a", "+*"], true, &["a"]),
            (&["+a", "-a"], false, &[]),
            (&["+*", "-*"], false, &[]),
            (&["-*"], false, &[]),
            (&["+*", "+a", "-*"], false, &["a"]),
            (&["+*", "+a", "-a"], true, &[]),
            (&["-a"], true, &[]),
        ];
        for (steps, wildcard, names) in cases {
            let mut subscription = Subscription::default();
            for step in *steps {
                match step.split_at(1) {
                    ("+", name) => subscription.add([name]),
                    (_, name) => subscription.remove([name]),
                }
            }
            assert_eq!(subscription.is_wildcard(), *wildcard, "{steps:?}");
            assert_eq!(
                subscription.named().collect::<Vec<_>>(),
                *names,
                "{steps:?}"
            );
            assert_eq!(subscription.wants("z"), *wildcard, "{steps:?}");
        }
    }
}
