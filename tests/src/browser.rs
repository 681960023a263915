//! A real browser, without a window.

use std::env;
use std::path::{Path, PathBuf};

use tempfile::TempDir;
use tokio::process::Command;

use crate::Error;
use crate::process::Program;

/// One browser, which looks at one page. It ends when dropped.
pub struct Browser {
    program: Program,
    _profile: TempDir,
}

impl Browser {
    /// Chromium: `BERTH_CHROMIUM`, or what this machine calls so. `None` if it has none.
    #[must_use]
    pub fn found() -> Option<PathBuf> {
        if let Some(path) = env::var_os("BERTH_CHROMIUM") {
            return Some(path.into());
        }
        let folders = env::var_os("PATH")?;
        env::split_paths(&folders)
            .flat_map(|folder| NAMES.map(|name| folder.join(name)))
            .find(|path| path.is_file())
    }

    /// Opens a page in a browser without a past, which believes every certificate; its log goes to `folder`.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn open(executable: &Path, url: &str, folder: &Path) -> Result<Self, Error> {
        let profile = TempDir::new().map_err(Error::io("a browser's profile"))?;
        let program = Program::new("browser", folder);
        let mut command = Command::new(executable);
        command
            .args(ARGUMENTS)
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg(url);
        program.start(&mut command)?;
        Ok(Self {
            program,
            _profile: profile,
        })
    }

    /// `Ok` while it runs.
    ///
    /// # Errors
    /// [`Error::Ended`] when it ended by itself.
    pub fn check(&self) -> Result<(), Error> {
        self.program.check()
    }
}

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const ARGUMENTS: &[&str] = &[
    "--headless=new",
    // The root of a container may not make the namespaces that the sandbox is made of. The page is our own.
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--ignore-certificate-errors",
    // It has nobody to call.
    "--disable-background-networking",
    "--disable-component-update",
    "--no-proxy-server",
    "--no-first-run",
];
