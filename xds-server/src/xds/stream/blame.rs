//! Who is at fault when a client refuses a response.

/// Whether an error names a resource as the one at fault, as Envoy's CDS and LDS do, which list each resource
/// with what is wrong with it. The others give the reason alone.
pub(super) fn is_blamed(name: &str, error: &str) -> bool {
    error
        .strip_prefix("Error adding/updating ")
        .and_then(|rest| rest.split_once("(s) "))
        .is_some_and(|(_, list)| {
            list.match_indices(name).any(|(at, _)| {
                let (before, rest) = list.split_at(at);
                (before.is_empty() || before.ends_with(", ") || before.ends_with('\n'))
                    && rest
                        .strip_prefix(name)
                        .is_some_and(|rest| rest.starts_with(": "))
            })
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_blamed() {
        // (what Envoy says, whom it blames of those asked about)
        let cases: &[(&str, &[&str])] = &[
            ("Error adding/updating cluster(s) a: bad", &["a"]),
            (
                "Error adding/updating cluster(s) a: bad, pool/0: a: b: bad",
                &["a", "pool/0"],
            ),
            (
                "Error adding/updating listener(s) b: bad\na: bad",
                &["a", "b"],
            ),
            ("Error adding/updating cluster(s) ab: bad", &[]),
            ("Error adding/updating cluster(s) ba: bad", &[]),
            ("Error adding/updating cluster(s) x: a is bad", &[]),
            ("a: bad", &[]),
            ("malformed IP address: b", &[]),
            ("", &[]),
        ];
        for (error, blamed) in cases {
            let found: Vec<_> = ["a", "b", "pool/0"]
                .into_iter()
                .filter(|name| is_blamed(name, error))
                .collect();
            assert_eq!(found, *blamed, "{error}");
        }
    }
}
