//! The folder of one test: what it writes, and the logs of what it starts.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use tempfile::TempDir;

use crate::Error;
use crate::process::last_lines;

/// A folder that lasts as long as the test, and longer when the test panics or `BERTH_KEEP` is set: then it says
/// where it is and shows how every log in it ends.
#[derive(Debug)]
pub struct Scratch {
    folder: Folder,
    keep: AtomicBool,
}

#[derive(Debug)]
enum Folder {
    Temporary(Option<TempDir>),
    Lasting(PathBuf),
}

impl Scratch {
    /// A folder of its own under the system's temporary one, named for the test.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn temporary() -> Result<Self, Error> {
        let test = thread::current().name().unwrap_or("main").to_owned();
        let name: String = test
            .chars()
            .map(|letter| {
                if letter.is_alphanumeric() {
                    letter
                } else {
                    '-'
                }
            })
            .collect();
        let folder = tempfile::Builder::new()
            .prefix(&format!("berth-{name}-"))
            .tempdir()
            .map_err(Error::io("a temporary folder"))?;
        Ok(Self {
            folder: Folder::Temporary(Some(folder)),
            keep: AtomicBool::new(std::env::var_os("BERTH_KEEP").is_some()),
        })
    }

    /// `path`, which stays. Logs that are there already are from earlier, and go.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn lasting(path: &Path) -> Result<Self, Error> {
        fs::create_dir_all(path).map_err(Error::io(path.display()))?;
        let path = path.canonicalize().map_err(Error::io(path.display()))?;
        for log in logs(&path) {
            fs::remove_file(&log).map_err(Error::io(log.display()))?;
        }
        Ok(Self {
            folder: Folder::Lasting(path),
            keep: AtomicBool::new(true),
        })
    }

    /// Keeps and shows it as after a panic: something went wrong that is told in another way.
    pub(crate) fn keep(&self) {
        self.keep.store(true, Ordering::Relaxed);
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        match &self.folder {
            Folder::Temporary(Some(folder)) => folder.path(),
            Folder::Lasting(path) => path,
            Folder::Temporary(None) => Path::new(""),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let keep = thread::panicking() || self.keep.load(Ordering::Relaxed);
        match &mut self.folder {
            Folder::Temporary(folder) if keep => {
                if let Some(folder) = folder.take() {
                    show(&folder.keep());
                }
            }
            Folder::Temporary(_) | Folder::Lasting(_) => {}
        }
    }
}

fn show(folder: &Path) {
    eprintln!("what this test wrote is in {}", folder.display());
    for log in logs(folder) {
        let text = fs::read(&log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        eprintln!("--- {}\n{}", log.display(), last_lines(&text, SHOWN_LINES));
    }
}

fn logs(folder: &Path) -> Vec<PathBuf> {
    let mut logs: Vec<PathBuf> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|end| end == "log"))
        .collect();
    logs.sort();
    logs
}

const SHOWN_LINES: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_gone_after_success_and_kept_after_a_panic() {
        let path = {
            let scratch = Scratch::temporary().unwrap();
            scratch.path().to_owned()
        };
        assert!(!path.exists());

        let (sender, receiver) = std::sync::mpsc::channel();
        let test = thread::spawn(move || {
            let scratch = Scratch::temporary().unwrap();
            fs::write(scratch.path().join("envoy-0.log"), "what happened\n").unwrap();
            sender.send(scratch.path().to_owned()).unwrap();
            panic!("a test fails, on purpose");
        });
        assert!(test.join().is_err());
        let path = receiver.recv().unwrap();
        assert!(path.join("envoy-0.log").exists());
        fs::remove_dir_all(path).unwrap();
    }
}
