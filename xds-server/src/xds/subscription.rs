//! Which resources of one type a client wants.

use std::collections::BTreeSet;
use std::sync::Arc;

/// The names a client subscribed to, and whether it wants whatever there is.
///
/// The xDS protocol lets a client ask for everything in two ways: by the name `*`, or, for the sake of old
/// clients, by never having named anything. The second ends for good when the first name is given.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subscription {
    wildcard: Wildcard,
    names: BTreeSet<Arc<str>>,
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
            self.names.insert(name.into());
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

    /// Takes the names a state-of-the-world client wants from now on, instead of those before. None is everything
    /// unless the client has named something before; then it is nothing.
    pub(super) fn replace<'a>(&mut self, names: impl IntoIterator<Item = &'a str>) {
        self.names.clear();
        if self.wildcard == Wildcard::Asked {
            self.wildcard = Wildcard::Off;
        }
        self.add(names);
    }

    /// The names the client gave, without `*`.
    pub(super) const fn named(&self) -> &BTreeSet<Arc<str>> {
        &self.names
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
            (&["="], true, &[]),
            (&["=", "="], true, &[]),
            (&["=a b"], false, &["a", "b"]),
            (&["=a b", "=b"], false, &["b"]),
            (&["=a", "="], false, &[]),
            (&["=*"], true, &[]),
            (&["=* a"], true, &["a"]),
            (&["=* a", "=a"], false, &["a"]),
            (&["=*", "="], false, &[]),
        ];
        for (steps, wildcard, names) in cases {
            let mut subscription = Subscription::default();
            for step in *steps {
                match step.split_at(1) {
                    ("+", name) => subscription.add([name]),
                    ("-", name) => subscription.remove([name]),
                    (_, names) => subscription.replace(names.split_whitespace()),
                }
            }
            assert_eq!(subscription.is_wildcard(), *wildcard, "{steps:?}");
            assert_eq!(
                subscription
                    .named()
                    .iter()
                    .map(|name| &**name)
                    .collect::<Vec<_>>(),
                *names,
                "{steps:?}"
            );
            assert_eq!(subscription.wants("z"), *wildcard, "{steps:?}");
        }
    }
}
