//! The filter's module, where this process sends it to the proxies: a file that is looked at, so that another one is rolled
//! out, and back, without a restart.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tonic::codegen::Bytes;
use tracing::{info, warn};

use crate::controller::Controller;

/// Whether this begins as a WebAssembly module does (core specification, section 5.5.16): worth sending. Whether it is one
/// that can be run, Envoy says.
pub fn is_module(content: &[u8]) -> bool {
    content.len() > PREAMBLE.len() && content.starts_with(PREAMBLE)
}

/// What has been seen of the file. Pure.
#[derive(Debug)]
pub struct Looks {
    /// What proxies are told.
    sent: Bytes,
    /// Something else, which is there since the last look.
    seen: Option<Bytes>,
    /// It was looked at again, and is no module.
    refused: bool,
}

/// What a look at the file leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Look {
    /// There is nothing to do.
    Nothing,
    /// Proxies are told of this one.
    Send(Bytes),
    /// Something else is there, and no module. Said once.
    NoModule,
}

impl Looks {
    /// The first one, which proxies are told.
    pub const fn new(sent: Bytes) -> Self {
        Self {
            sent,
            seen: None,
            refused: false,
        }
    }

    /// Takes what is in the file now. What is not the same at two looks may still be being written.
    pub fn look(&mut self, content: Bytes) -> Look {
        if content == self.sent {
            self.seen = None;
        } else if self.seen.as_ref() != Some(&content) {
            self.seen = Some(content);
            self.refused = false;
        } else if is_module(&content) {
            self.seen = None;
            self.sent = content.clone();
            return Look::Send(content);
        } else if !self.refused {
            self.refused = true;
            return Look::NoModule;
        }
        Look::Nothing
    }
}

/// Looks at the file each second, and has proxies told of another module there, until nobody can be told any more.
pub async fn watch(path: PathBuf, first: Bytes, controller: Controller) {
    let mut looks = Looks::new(first);
    let mut error: Option<io::ErrorKind> = None;
    let mut due = interval(LOOK_EVERY);
    due.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        let content = match tokio::fs::read(&path).await {
            Ok(content) => content,
            Err(found) => {
                if error.replace(found.kind()) != Some(found.kind()) {
                    warn!(path = %path.display(), error = %found, "proxies keep the module they have");
                }
                continue;
            }
        };
        error = None;
        match looks.look(content.into()) {
            Look::Nothing => {}
            Look::Send(module) => {
                info!(path = %path.display(), bytes = module.len(), "another module");
                if controller.replace_module(module).await.is_err() {
                    return;
                }
            }
            Look::NoModule => {
                warn!(path = %path.display(), "no module: proxies keep the one they have");
            }
        }
    }
}

/// Magic number and version.
const PREAMBLE: &[u8] = b"\0asm\x01\0\0\0";

const LOOK_EVERY: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    /// What is in the file, and what comes of it.
    type Seen<'a> = (&'a [u8], Look);

    #[test]
    fn what_is_there_twice_and_a_module_is_sent() {
        let module = |mark: &str| [PREAMBLE, mark.as_bytes()].concat();
        let (one, two) = (module("one"), module("two"));
        let send = |content: &[u8]| Look::Send(Bytes::copy_from_slice(content));
        let half = &two[..9];
        let cases: [(&str, &[Seen<'_>]); 6] = [
            ("unchanged", &[(&one, Look::Nothing), (&one, Look::Nothing)]),
            (
                "another, and back",
                &[
                    (&two, Look::Nothing),
                    (&two, send(&two)),
                    (&two, Look::Nothing),
                    (&one, Look::Nothing),
                    (&one, send(&one)),
                ],
            ),
            (
                "half of it first",
                &[
                    (half, Look::Nothing),
                    (&two, Look::Nothing),
                    (&two, send(&two)),
                ],
            ),
            (
                "taken back before it counted",
                &[
                    (&two, Look::Nothing),
                    (&one, Look::Nothing),
                    (&two, Look::Nothing),
                    (&two, send(&two)),
                ],
            ),
            (
                "no module, said once",
                &[
                    (b"garbage", Look::Nothing),
                    (b"garbage", Look::NoModule),
                    (b"garbage", Look::Nothing),
                    (b"", Look::Nothing),
                    (b"", Look::NoModule),
                    (&two, Look::Nothing),
                    (&two, send(&two)),
                ],
            ),
            (
                "nothing but the preamble",
                &[(PREAMBLE, Look::Nothing), (PREAMBLE, Look::NoModule)],
            ),
        ];
        for (case, seen) in cases {
            let mut looks = Looks::new(Bytes::copy_from_slice(&one));
            for (number, (content, expected)) in seen.iter().enumerate() {
                let look = looks.look(Bytes::copy_from_slice(content));
                assert_eq!(look, *expected, "{case}, look {number}");
            }
        }
    }
}
