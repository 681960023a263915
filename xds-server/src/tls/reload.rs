//! Reads the files again and again.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::files::{Contents, TlsFiles};
use crate::certificates::CertificateError;

/// What was last read, so that each content is looked into, and spoken of, once. Pure: readings come in.
pub(super) struct Readings<C> {
    last: Option<Result<C, CertificateError>>,
}

/// Has `current` be what the files hold, until nobody looks at it any more. While they do not hold what they should,
/// it stays what it was.
pub(super) async fn reload(
    files: TlsFiles,
    contents: Contents,
    current: watch::Sender<Arc<ServerConfig>>,
) {
    let mut readings = Readings {
        last: Some(Ok(contents)),
    };
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = current.closed() => return,
        }
        let to_read = files.clone();
        // A file system that hangs holds up nothing else.
        let reading =
            tokio::task::spawn_blocking(move || to_read.read(&|path| std::fs::read(path)));
        let Ok(reading) = reading.await else { continue };
        match readings.look(reading, |contents| files.server_config(contents)) {
            Some(Ok(config)) => {
                info!("the xDS port has another certificate, or trusts another CA");
                current.send_replace(config);
            }
            Some(Err(error)) => warn!(
                %error,
                "the xDS port's files cannot be used; it goes on with the certificate and the CA from before"
            ),
            None => {}
        }
    }
}

impl<C> Default for Readings<C> {
    /// Nothing has been read yet.
    fn default() -> Self {
        Self { last: None }
    }
}

impl<C: PartialEq> Readings<C> {
    /// What a reading has led to, if it is another one.
    pub(super) fn look<T>(
        &mut self,
        reading: Result<C, CertificateError>,
        make: impl FnOnce(&C) -> Result<T, CertificateError>,
    ) -> Option<Result<T, CertificateError>> {
        if self.last.as_ref() == Some(&reading) {
            return None;
        }
        let led_to = match &reading {
            Ok(contents) => make(contents),
            Err(error) => Err(error.clone()),
        };
        self.last = Some(reading);
        Some(led_to)
    }
}

/// From one reading to the next.
const PERIOD: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tls::files::tests::{Authority, files};

    #[test]
    fn each_content_is_looked_into_once() {
        let (ca, other) = (Authority::new(), Authority::new());
        let first = ca.server("berth.example");
        let files = files();
        let read = |pair: &(String, String), ca: &Authority| {
            let ((chain, key), ca) = (pair.clone(), ca.pem());
            files.read(&|path| {
                let content = match path.file_name().and_then(|name| name.to_str()) {
                    Some("cert.pem") => &chain,
                    Some("key.pem") => &key,
                    _ => &ca,
                };
                Ok(content.clone().into_bytes())
            })
        };
        let mut readings = Readings {
            last: Some(read(&first, &ca)),
        };
        let second = ca.server("berth.example");
        let torn = (second.0.clone(), first.1.clone());
        let gone = || files.read(&|_| Err(std::io::ErrorKind::NotFound.into()));
        // What is read, and whether it is taken, refused or nothing new.
        let cases = [
            ("the same", read(&first, &ca), None),
            ("torn", read(&torn, &ca), Some(false)),
            ("still torn", read(&torn, &ca), None),
            ("whole", read(&second, &ca), Some(true)),
            ("gone", gone(), Some(false)),
            ("still gone", gone(), None),
            ("back", read(&second, &ca), Some(true)),
            ("another CA", read(&second, &other), Some(true)),
        ];
        for (title, reading, expected) in cases {
            let led_to = readings.look(reading, |contents| files.server_config(contents));
            let taken = led_to.map(|led_to| led_to.is_ok());
            assert_eq!(taken, expected, "{title}");
        }
    }
}
