//! The task that reads the files again.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::fs::File;
use tokio::io::AsyncReadExt;
use tokio::sync::watch;
use tokio::time::sleep;
use tracing::{info, warn};

use super::listener::presented;
use super::{
    AuthoritiesFile, CertificateFiles, CertificateStatus, Content, Files, ListenerTls, Loaded,
    Reloads, Seen, Watched,
};
use crate::xds::{self, CLIENT_CA_SECRET, DEFAULT_SECRET, sni_secret};

/// What is in use, and whatever becomes of it. The task ends when nobody has the first any more.
#[derive(Clone, Debug)]
pub struct Current {
    /// What proxies are to be told.
    pub presented: watch::Receiver<Arc<xds::Certificates>>,
    /// What the operator is shown: the default certificate first, the authorities last.
    pub statuses: watch::Receiver<Arc<[CertificateStatus]>>,
}

/// Begins with what the configuration has read, and makes the task that reads the files again.
pub fn watch(tls: ListenerTls) -> (Current, impl Future<Output = ()>) {
    let by_sni = tls.by_sni.into_iter().map(|sni| {
        let entry = Entry::new(sni_secret(&sni.name), sni.loaded);
        (sni.name, entry)
    });
    let entries = Entries {
        default: Entry::new(DEFAULT_SECRET.to_owned(), tls.default),
        by_sni: by_sni.collect(),
        client_ca: tls
            .client_ca
            .map(|ca| Entry::new(CLIENT_CA_SECRET.to_owned(), ca)),
    };
    let (tell, presented) = watch::channel(Arc::new(entries.presented()));
    let (report, statuses) = watch::channel(entries.statuses());
    let current = Current {
        presented,
        statuses,
    };
    (current, run(entries, tell, report))
}

async fn run(
    mut entries: Entries,
    tell: watch::Sender<Arc<xds::Certificates>>,
    report: watch::Sender<Arc<[CertificateStatus]>>,
) {
    let mut pause = EVERY;
    while !tell.is_closed() {
        sleep(pause).await;
        let looked = entries.look().await;
        if looked.changed {
            tell.send_replace(Arc::new(entries.presented()));
        }
        report.send_replace(entries.statuses());
        pause = if looked.new { AGAIN } else { EVERY };
    }
}

struct Entries {
    default: Entry<CertificateFiles>,
    by_sni: Vec<(String, Entry<CertificateFiles>)>,
    client_ca: Option<Entry<AuthoritiesFile>>,
}

/// What a look at all files has found.
#[derive(Default)]
struct Looked {
    changed: bool,
    /// Something has to be looked at again soon.
    new: bool,
}

impl Entries {
    async fn look(&mut self) -> Looked {
        let mut looked = Looked::default();
        let by_sni = self.by_sni.iter_mut().map(|(_, entry)| entry);
        for entry in std::iter::once(&mut self.default).chain(by_sni) {
            let files = entry.watched.files();
            let chain = read(&files.certificate_chain).await;
            let key = read(&files.private_key).await;
            looked.take(entry.look((chain, key)));
        }
        if let Some(entry) = &mut self.client_ca {
            let content = read(&entry.watched.files().0).await;
            looked.take(entry.look(content));
        }
        looked
    }

    fn presented(&self) -> xds::Certificates {
        presented(
            self.default.watched.held(),
            self.by_sni
                .iter()
                .map(|(name, entry)| (&**name, entry.watched.held())),
            self.client_ca.as_ref().map(|entry| entry.watched.held()),
        )
    }

    fn statuses(&self) -> Arc<[CertificateStatus]> {
        let by_sni = self.by_sni.iter().map(|(_, entry)| entry);
        let pairs = std::iter::once(&self.default).chain(by_sni);
        let pairs = pairs.map(|entry| entry.status(Some(entry.watched.held().not_after())));
        pairs
            .chain(self.client_ca.iter().map(|entry| entry.status(None)))
            .collect()
    }
}

impl Looked {
    fn take(&mut self, seen: Seen) {
        match seen {
            Seen::Changed => self.changed = true,
            Seen::New => self.new = true,
            Seen::Broken(_) | Seen::Repaired | Seen::Unchanged => {}
        }
    }
}

struct Entry<F: Files> {
    secret: String,
    watched: Watched<F>,
    reloads: Reloads,
}

impl<F: Files> Entry<F> {
    fn new(secret: String, loaded: Loaded<F>) -> Self {
        Self {
            secret,
            watched: Watched::new(loaded),
            reloads: Reloads::default(),
        }
    }

    fn look(&mut self, content: F::Content) -> Seen {
        let seen = self.watched.look(content);
        let secret = &self.secret;
        match &seen {
            Seen::Broken(error) => {
                self.reloads.failed += 1;
                warn!(secret, %error, "what was there before stays in use");
            }
            Seen::Changed => {
                self.reloads.changed += 1;
                info!(secret, "its files have changed; no session ends by that");
            }
            Seen::Repaired => info!(secret, "its files hold again what is in use"),
            Seen::New | Seen::Unchanged => {}
        }
        seen
    }

    fn status(&self, not_after: Option<i64>) -> CertificateStatus {
        CertificateStatus {
            secret: self.secret.clone(),
            not_after,
            reloads: self.reloads,
        }
    }
}

async fn read(path: &Path) -> Content {
    let mut content = Vec::new();
    let read = async {
        let file = File::open(path).await?;
        file.take(MAX_FILE + 1).read_to_end(&mut content).await
    };
    match read.await {
        Ok(length) if length as u64 > MAX_FILE => Err(io::ErrorKind::FileTooLarge),
        Ok(_) => Ok(content),
        Err(error) => Err(error.kind()),
    }
}

/// The files are looked at so often.
const EVERY: Duration = Duration::from_secs(1);
/// And after this where there is something new, to see whether it stays.
const AGAIN: Duration = Duration::from_millis(200);

/// Bytes: far more than any chain or bundle has.
const MAX_FILE: u64 = 4 << 20;
