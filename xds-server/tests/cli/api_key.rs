//! `berth api-key`: keys that the configuration knows by their hash.

use std::{collections::BTreeSet, fs, os::unix::fs::PermissionsExt};

use tempfile::TempDir;

use super::{berth, explain::configured_with, printed};

/// The key that was printed, and its entry.
fn key_and_entry(said: &str) -> (&str, &str) {
    let (key, rest) = said.split_once("\n\n").unwrap();
    let (_, entry) = rest.split_once("\n\n").unwrap();
    (key, entry)
}

#[test]
fn a_key_is_random_and_admits_with_its_entry_in_the_configuration() {
    let folder = TempDir::new().unwrap();
    let mut keys = BTreeSet::new();
    for _ in 0..3 {
        // A name that YAML would take for something else, and one that needs escapes.
        let subject = "null: \"kiosk\" \u{e9}";
        let said = printed(
            folder.path(),
            &[
                "api-key",
                "--subject",
                subject,
                "--tenant",
                "true",
                "--pool",
                "web",
                "--priority",
                "3",
            ],
        );
        let (key, entry) = key_and_entry(&said);
        let random = key.strip_prefix("berth_").unwrap();
        assert_eq!(random.len(), 43, "256 bits in base64url");
        assert!(!key.contains('.'));
        assert!(!entry.contains(random));

        let configured = configured_with(entry);
        let run = ["explain", "--path", "/sign_in", "--json", "--api-key"];
        let said = printed(configured.path(), &[&run[..], &[key]].concat());
        let said: serde_json::Value = serde_json::from_str(&said).unwrap();
        let found = ["issuer", "subject", "tenant", "priority", "pool"].map(|name| &said[name]);
        assert_eq!(
            found,
            ["api_key", subject, "true", "3", "web"]
                .map(|text| {
                    text.parse::<u8>()
                        .map_or_else(|_| text.into(), serde_json::Value::from)
                })
                .each_ref()
        );

        let wrong = key.replace("berth_", "berth-");
        let run = berth(configured.path(), &[&run[..], &[&wrong]].concat());
        assert_eq!(run.code, Some(1), "{run:?}");
        assert!(run.stdout.contains("\"unknown_api_key\""), "{run:?}");
        keys.insert(key.to_owned());
    }
    assert_eq!(keys.len(), 3);
}

#[test]
fn a_key_in_a_file_is_not_printed() {
    let folder = TempDir::new().unwrap();
    let arguments = ["api-key", "--subject", "kiosk-7", "--key-out", "kiosk.key"];
    let said = printed(folder.path(), &arguments);
    let path = folder.path().join("kiosk.key");
    let key = fs::read_to_string(&path).unwrap();
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(
        !said.contains(key.trim_end())
            && said.starts_with("  api_keys:\n  - subject: \"kiosk-7\"\n")
    );
    // Somebody may use it.
    let run = berth(folder.path(), &arguments);
    assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
    assert!(run.stderr.contains("what is there already is not replaced"));
    assert_eq!(fs::read_to_string(&path).unwrap(), key);
}

#[test]
fn what_a_configuration_would_not_take_is_refused() {
    let folder = TempDir::new().unwrap();
    for (arguments, expected) in [
        (
            &["--subject", ""][..],
            "api_keys[0].subject: must not be empty",
        ),
        (
            &["--subject", "a", "--priority", "10"],
            "api_keys[0].priority: must be from 0 to 9",
        ),
        (
            &["--subject", "a", "--pool", "Web"],
            "`Web` is not 1 to 63 of a-z, 0-9 and -",
        ),
        (
            &["--subject", "a", "--tenant", "b\nc"],
            "api_keys[0].tenant",
        ),
    ] {
        let run = berth(folder.path(), &[&["api-key"], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(1), ""), "{run:?}");
        assert!(run.stderr.contains(expected), "{run:?}");
    }
}
