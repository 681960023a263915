//! What tests of one machine must not both have: blocks of ports, subnets.
//!
//! A claim is a locked file, so it is exclusive between threads and processes alike, and a test that is killed
//! gives its claims back with its file descriptors.

use std::fs::{self, File};
use std::path::Path;

use crate::Error;

/// The right to one of `count` equal things, until dropped.
#[derive(Debug)]
pub(crate) struct Claim {
    /// Which of them: 0 ≤ index < count.
    pub(crate) index: u16,
    _lock: File,
}

impl Claim {
    /// Takes any one of `count` things of a kind, under `folder`.
    pub(crate) fn take(folder: &Path, kind: &'static str, count: u16) -> Result<Self, Error> {
        fs::create_dir_all(folder).map_err(Error::io(folder.display()))?;
        // Processes start looking in different places, so that they rarely meet.
        let pid = u16::try_from(std::process::id() % u32::from(count)).unwrap_or(0);
        for step in 0..count {
            let index = (pid + step) % count;
            let path = folder.join(format!("{kind}-{index}.lock"));
            let file = File::create(&path).map_err(Error::io(path.display()))?;
            if file.try_lock().is_ok() {
                return Ok(Self { index, _lock: file });
            }
        }
        Err(Error::Exhausted { kind, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_are_exclusive_until_dropped() {
        let folder = tempfile::tempdir().unwrap();
        let take = || Claim::take(folder.path(), "seats", 2);
        let (first, second) = (take().unwrap(), take().unwrap());
        assert_ne!(first.index, second.index);
        assert!(matches!(take(), Err(Error::Exhausted { count: 2, .. })));
        let freed = first.index;
        drop(first);
        assert_eq!(take().unwrap().index, freed);
    }
}
