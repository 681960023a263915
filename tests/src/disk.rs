//! A disk of a few megabytes, which can be filled and made read-only.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use tempfile::TempDir;

use crate::Error;

/// A tmpfs of its own. Unmounted when dropped, also from under who uses it.
#[derive(Debug)]
pub struct Disk {
    folder: TempDir,
}

/// Why this machine has no disks for tests; `None` if it has. Tests say so and pass where it cannot be helped.
#[must_use]
pub fn unavailable() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        return Some("only root mounts a disk");
    }
    let mounted = Disk::mount(1);
    mounted.is_err().then_some("this root may not mount a disk")
}

impl Disk {
    /// An empty disk of so many megabytes.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn mount(megabytes: u16) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("berth-disk-").tempdir();
        let folder = folder.map_err(Error::io("a folder for a disk"))?;
        let options = format!("size={megabytes}m,mode=0700");
        let target = folder.path();
        let mounted = mount(
            Some(TMPFS),
            target,
            Some(TMPFS),
            MsFlags::MS_NOSUID,
            Some(options.as_str()),
        );
        mounted.map_err(|errno| Error::io("mounting a disk")(errno.into()))?;
        Ok(Self { folder })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Takes all the room there is left.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn fill(&self) -> Result<(), Error> {
        let path = self.filler();
        let failed = |error| Error::io(path.display())(error);
        let mut filler = File::create(&path).map_err(failed)?;
        loop {
            match filler.write_all(&[0; PAGE]) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
        }
    }

    /// Gives back what [`fill`](Self::fill) took.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn relieve(&self) -> Result<(), Error> {
        let path = self.filler();
        fs::remove_file(&path).map_err(Error::io(path.display()))
    }

    /// Lets nothing be written any more. Nobody may have a file open for writing.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn make_read_only(&self) -> Result<(), Error> {
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        let none = None::<&str>;
        let mounted = mount(none, self.path(), none, flags, none);
        mounted.map_err(|errno| Error::io("making a disk read-only")(errno.into()))
    }

    fn filler(&self) -> PathBuf {
        self.path().join("everything-else")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // What could not be unmounted stays, and its folder with it.
        let _unless_mounting_failed = umount2(self.path(), MntFlags::MNT_DETACH);
    }
}

const TMPFS: &str = "tmpfs";
/// In bytes: what is left is less than a page, which nothing can be written to.
const PAGE: usize = 4096;
