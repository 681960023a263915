//! Files that a command makes. What is there already is not replaced.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// A new file that only its owner can read.
pub(super) fn private_file(path: &Path) -> io::Result<File> {
    create(path, 0o600)
}

/// A new file that everybody can read.
pub(super) fn public_file(path: &Path) -> io::Result<File> {
    create(path, 0o644)
}

fn create(path: &Path, mode: u32) -> io::Result<File> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
}
