//! Reads the files again and again.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use tracing::{info, warn};

use super::files::{Contents, TlsFiles, TlsFilesError};

/// What was last read, so that each content is looked into, and spoken of, once. Pure: readings come in.
struct Readings {
    files: TlsFiles,
    last: Result<Contents, TlsFilesError>,
}

/// Has `current` be what the files hold, until nobody looks at it any more. While they do not hold what they should,
/// it stays what it was.
pub(super) async fn reload(
    files: TlsFiles,
    contents: Contents,
    current: watch::Sender<Arc<ServerConfig>>,
) {
    let mut readings = Readings {
        files,
        last: Ok(contents),
    };
    let mut ticks = tokio::time::interval(PERIOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = current.closed() => return,
        }
        let files = readings.files.clone();
        // A file system that hangs holds up nothing else.
        let reading =
            tokio::task::spawn_blocking(move || files.read(&|path| std::fs::read(path))).await;
        match reading.ok().and_then(|reading| readings.look(reading)) {
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

impl Readings {
    /// What a reading has led to, if it is another one.
    fn look(
        &mut self,
        reading: Result<Contents, TlsFilesError>,
    ) -> Option<Result<Arc<ServerConfig>, TlsFilesError>> {
        if reading == self.last {
            return None;
        }
        let led_to = match &reading {
            Ok(contents) => self.files.server_config(contents).map_err(Into::into),
            Err(error) => Err(error.clone()),
        };
        self.last = reading;
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
            files: files.clone(),
            last: read(&first, &ca),
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
            let taken = readings.look(reading).map(|led_to| led_to.is_ok());
            assert_eq!(taken, expected, "{title}");
        }
    }
}
