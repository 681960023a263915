//! The sets that were fetched, on disk: a `berth` that starts while an issuer is away goes on with its keys.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::placement::Time;

/// A set that was fetched.
#[derive(Clone, Debug, PartialEq, Deserialize, Serialize)]
pub(super) struct Entry {
    pub(super) issuer: String,
    /// From where: what another URL said is not asked of this one.
    pub(super) url: String,
    /// In seconds since 1970.
    pub(super) fetched_at: u64,
    pub(super) jwks: Value,
}

/// Why nothing is known from before.
#[derive(Debug, thiserror::Error)]
pub(super) enum CacheError {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("it is of another version or damaged: {0}")]
    Json(#[from] serde_json::Error),
}

/// Which file it is: the one beside the store.
pub(crate) fn beside(store: &Path) -> PathBuf {
    let mut path = store.as_os_str().to_owned();
    path.push(SUFFIX);
    path.into()
}

/// The sets of the file that are not too old; none if there is no file.
pub(super) fn load(path: &Path, now: Time) -> Result<Vec<Entry>, CacheError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error.into()),
    };
    let mut text = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut text)?;
    let Content::V1(mut entries) = serde_json::from_slice(&text)?;
    let now = now.0.as_secs();
    entries.retain(|entry| now.saturating_sub(entry.fetched_at) <= MAX_AGE.as_secs());
    Ok(entries)
}

/// Replaces the file. A crash leaves the old one or the new one.
pub(super) fn store(path: &Path, entries: Vec<Entry>) -> Result<(), CacheError> {
    let text = serde_json::to_vec(&Content::V1(entries))?;
    let mut temporary = path.as_os_str().to_owned();
    temporary.push(".new");
    let temporary = PathBuf::from(temporary);
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(OWNER_ONLY)
        .open(&temporary)?;
    // One that a crash has left may have been given to others since.
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    file.write_all(&text)?;
    file.sync_all()?;
    Ok(std::fs::rename(&temporary, path)?)
}

#[derive(Deserialize, Serialize)]
enum Content {
    #[serde(rename = "key_sets_v1")]
    V1(Vec<Entry>),
}

const SUFFIX: &str = ".keys.json";

/// An issuer that was away for longer may have taken keys back that we would still believe.
const MAX_AGE: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Bytes: sets of as many issuers as anybody has.
const MAX_FILE: u64 = 64 << 20;

const OWNER_ONLY: u32 = 0o600;

#[cfg(test)]
mod tests {
    use serde_json::json;
    use tempfile::TempDir;

    use super::*;

    const DAY: u64 = 24 * 60 * 60;

    fn entry(issuer: &str, fetched_at: u64) -> Entry {
        Entry {
            issuer: issuer.to_owned(),
            url: format!("{issuer}/keys"),
            fetched_at,
            jwks: json!({"keys": []}),
        }
    }

    #[test]
    fn what_is_stored_is_loaded_until_it_is_too_old() {
        let folder = TempDir::new().unwrap();
        let path = beside(&folder.path().join("berth.redb"));
        assert_eq!(path, folder.path().join("berth.redb.keys.json"));
        let at = |seconds| Time(Duration::from_secs(seconds));
        assert_eq!(load(&path, at(0)).unwrap(), []);
        let (old, new) = (
            entry("https://a.example", DAY),
            entry("https://b.example", 5 * DAY),
        );
        store(&path, vec![old.clone(), new.clone()]).unwrap();
        // The clock may have been set back.
        for (now, expected) in [
            (0, vec![old.clone(), new.clone()]),
            (8 * DAY, vec![old, new.clone()]),
            (8 * DAY + 1, vec![new]),
            (12 * DAY + 1, vec![]),
        ] {
            assert_eq!(load(&path, at(now)).unwrap(), expected, "{now}");
        }
    }

    #[test]
    fn the_file_is_its_owner_s_and_complete() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("keys.json");
        let temporary = folder.path().join("keys.json.new");
        // What a crash may have left.
        std::fs::write(&temporary, "{\"key_sets_v1\": [").unwrap();
        std::fs::set_permissions(&temporary, Permissions::from_mode(0o644)).unwrap();
        for issuer in ["https://a.example", "https://b.example"] {
            store(&path, vec![entry(issuer, 7)]).unwrap();
            let mode = std::fs::metadata(&path).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
            assert!(!temporary.exists());
            assert_eq!(load(&path, Time::default()).unwrap(), [entry(issuer, 7)]);
        }
    }

    #[test]
    fn what_is_no_such_file_is_refused() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("keys.json");
        for text in ["", "[]", "{\"key_sets_v2\": []}", "{\"key_sets_v1\": [{}]}"] {
            std::fs::write(&path, text).unwrap();
            let refused = load(&path, Time::default());
            assert!(matches!(refused, Err(CacheError::Json(_))), "{text}");
        }
        let refused = load(folder.path(), Time::default());
        assert!(matches!(refused, Err(CacheError::Io(_))));
    }
}
