//! A real HAProxy.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;

use crate::process::Program;
use crate::wait::{Seen, wait_until};
use crate::{Error, programs};

/// One HAProxy. It ends when dropped.
pub struct HaProxy {
    program: Program,
}

impl HaProxy {
    /// Starts it on a configuration and waits until it listens. Its configuration and its log go to `folder`, under
    /// `name`.
    ///
    /// # Errors
    /// [`Error::Missing`] when it was not fetched, [`Error::Ended`] when it refuses its configuration, [`Error::Io`].
    pub async fn start(
        name: &str,
        configuration: &str,
        listens: SocketAddr,
        folder: &Path,
    ) -> Result<Self, Error> {
        let executable = programs::haproxy()?;
        let path = folder.join(format!("{name}.cfg"));
        fs::write(&path, configuration).map_err(Error::io(path.display()))?;
        let haproxy = Self {
            program: Program::new(name, folder),
        };
        haproxy.launch(executable, &path)?;
        wait_until(format!("{name} to listen"), START, async || {
            haproxy.program.check()?;
            Ok(match TcpStream::connect(listens).await {
                Ok(_) => Seen::Yes(()),
                Err(error) => Seen::NotYet(error.to_string()),
            })
        })
        .await?;
        Ok(haproxy)
    }

    /// Its version, such as `3.2.26-1`.
    ///
    /// # Errors
    /// [`Error::Missing`], [`Error::Io`], and [`Error::Unreadable`] when it says something else.
    pub async fn version() -> Result<String, Error> {
        let executable = programs::haproxy()?;
        let output = Command::new(&executable).arg("-v").output().await;
        let output = output.map_err(Error::io(executable.display()))?;
        let text = String::from_utf8_lossy(&output.stdout);
        let version = version_in(&text).ok_or_else(|| Error::Unreadable {
            what: "HAProxy's version".to_owned(),
            why: format!("it says {text:?}"),
        })?;
        Ok(version.to_owned())
    }

    fn launch(&self, executable: PathBuf, configuration: &Path) -> Result<(), Error> {
        let mut command = Command::new(executable);
        // In the foreground and without a master: killing it leaves nobody behind.
        command.arg("-db").arg("-f").arg(configuration);
        self.program.start(&mut command)
    }
}

/// `HAProxy version 3.2.26-1 2026/10/14 - ...`
fn version_in(text: &str) -> Option<&str> {
    text.strip_prefix("HAProxy version ")?
        .split_whitespace()
        .next()
}

const START: Duration = Duration::from_secs(10);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_the_third_word() {
        let cases = [
            (
                "HAProxy version 3.2.26-1 2026/10/14 - https://haproxy.org/\nStatus: x\n",
                Some("3.2.26-1"),
            ),
            ("HAProxy version 3.4.7 ", Some("3.4.7")),
            ("HA-Proxy version 1.8.8", None),
            ("", None),
        ];
        for (text, version) in cases {
            assert_eq!(version_in(text), version, "{text:?}");
        }
    }
}
