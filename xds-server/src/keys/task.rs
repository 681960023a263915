//! The task that fetches, and puts together what admission decides by.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use berth_admission::{Policy, PolicyConfig, PolicyError};
use futures_util::StreamExt;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::FuturesUnordered;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot, watch};
use tracing::{error, info, warn};

use super::cache::{self, Entry};
use super::fetch::{FetchError, Fetcher, SetupError};
use super::place::{KeySource, Place};
use super::set::{Audience, IgnoredKey, KeySet, Reading};
use super::source::{Outcome, Refetch, Rules, Source};
use super::{Current, Fetches, IssuerKeys, Keys, Wish};
use crate::clock::Clock;
use crate::placement::Time;

/// What the task works with.
#[derive(Debug)]
pub struct Setup {
    /// Tells the time.
    pub clock: Clock,
    /// What admission decides by; its issuers are those of `sources`, and each has the keys that are known already.
    pub policy: PolicyConfig,
    /// Where the issuers' keys come from, in the same order.
    pub sources: Vec<KeySource>,
    /// The file that the journal is in: what was fetched is kept beside it. Nothing is kept without one.
    pub store: Option<PathBuf>,
}

/// Why there are no keys to begin with.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// HTTP cannot be set up.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The policy makes no sense.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

/// Starts with the keys that are known, and makes the task that gets newer ones.
///
/// # Errors
/// [`StartError`].
pub fn start(setup: Setup) -> Result<(Keys, impl Future<Output = ()>), StartError> {
    let Setup {
        clock,
        policy,
        sources,
        store,
    } = setup;
    let now = clock.now();
    let path = store.as_deref().map(cache::beside);
    let known = path.as_ref().map(|path| known(path, now));
    let mut issuers = Vec::with_capacity(sources.len());
    for (index, source) in sources.into_iter().enumerate() {
        let mut issuer = Issuer::new(source, now)?;
        let configured = policy
            .issuers
            .get(index)
            .map(|issuer| issuer.jwks.clone().into());
        issuer.restore(
            configured.as_ref(),
            known.as_deref().unwrap_or_default(),
            now,
        );
        issuers.push(issuer);
    }
    let (wishes, wished) = mpsc::channel(WISHES);
    let config = with_keys(&policy, &issuers);
    let (current, changes) = watch::channel(Current {
        policy: Arc::new(Policy::compile(config.clone())?),
        config: Arc::new(config),
    });
    let (report, reported) = watch::channel(reports(&issuers));
    let keys = Keys {
        wishes,
        current: changes,
        issuers: reported,
    };
    let (kept, to_keep) = watch::channel(Vec::new());
    let task = Task {
        clock,
        policy,
        issuers,
        fetches: FuturesUnordered::new(),
        wished,
        current,
        report,
        kept,
    };
    let run = async move {
        match path {
            Some(path) => tokio::join!(task.run(), keep(path, to_keep)).0,
            None => task.run().await,
        }
    };
    Ok((keys, run))
}

struct Task {
    clock: Clock,
    /// As configured.
    policy: PolicyConfig,
    issuers: Vec<Issuer>,
    fetches: FuturesUnordered<BoxFuture<'static, (usize, Result<Reading, FetchError>)>>,
    wished: mpsc::Receiver<Wish>,
    current: watch::Sender<Current>,
    report: watch::Sender<Arc<[IssuerKeys]>>,
    /// What is to be on disk.
    kept: watch::Sender<Vec<Entry>>,
}

struct Issuer {
    source: Source,
    fetcher: Fetcher,
    shown: IssuerKeys,
    /// Who waits for newer keys.
    waiting: Vec<oneshot::Sender<()>>,
    /// When what is on disk was fetched.
    kept_at: Option<Time>,
}

impl Task {
    async fn run(mut self) {
        loop {
            self.begin();
            let due = self.issuers.iter().filter_map(|issuer| issuer.source.due());
            // Without one, something is under way, and wakes us up.
            let due = due.min().unwrap_or_else(|| self.clock.now().after(IDLE));
            let due = self.clock.at(due);
            tokio::select! {
                wish = self.wished.recv() => match wish {
                    Some(wish) => self.wish(wish),
                    None => return,
                },
                Some((index, result)) = self.fetches.next() => self.fetched(index, result),
                () = tokio::time::sleep_until(due.into()) => {}
            }
        }
    }

    fn begin(&mut self) {
        let now = self.clock.now();
        for (index, issuer) in self.issuers.iter_mut().enumerate() {
            if issuer.source.begin(now) {
                let fetch = issuer.fetcher.clone().fetch();
                let fetch = fetch.map(move |result| (index, result));
                self.fetches.push(fetch.boxed());
            }
        }
    }

    fn wish(&mut self, Wish { issuer, done }: Wish) {
        let now = self.clock.now();
        let found = self
            .issuers
            .iter_mut()
            .find(|other| other.shown.issuer == issuer);
        // Who is not kept waiting is told by the sender's end.
        if let Some(issuer) = found
            && issuer.source.refetch(now) == Refetch::UnderWay
        {
            issuer.waiting.retain(|waiting| !waiting.is_closed());
            issuer.waiting.push(done);
        }
    }

    fn fetched(&mut self, index: usize, result: Result<Reading, FetchError>) {
        let now = self.clock.now();
        let Some(issuer) = self.issuers.get_mut(index) else {
            return;
        };
        let outcome = issuer.fetched(now, result);
        let waiting = std::mem::take(&mut issuer.waiting);
        let keep = issuer.has_to_be_kept(outcome);
        if outcome == Outcome::Changed {
            self.change();
        }
        self.report.send_replace(reports(&self.issuers));
        if keep {
            self.keep();
        }
        // They look at the policy now.
        drop(waiting);
    }

    /// Makes the policy anew.
    fn change(&mut self) {
        let config = with_keys(&self.policy, &self.issuers);
        match Policy::compile(config.clone()) {
            Ok(policy) => {
                self.current.send_replace(Current {
                    config: Arc::new(config),
                    policy: Arc::new(policy),
                });
            }
            // Every key was looked at by itself, and the rest is as it was.
            Err(error) => error!(%error, "admission goes on with the keys from before"),
        }
    }

    fn keep(&mut self) {
        let entries = self.issuers.iter_mut().filter_map(Issuer::entry);
        self.kept.send_replace(entries.collect());
    }
}

impl Issuer {
    fn new(source: KeySource, now: Time) -> Result<Self, SetupError> {
        let fetcher = Fetcher::new(&source)?;
        let rules = match &source.place {
            Place::File(_) => FILE_RULES,
            Place::Web(place) => Rules {
                refresh: place.refresh,
                min_refetch: place.min_refetch,
            },
        };
        Ok(Self {
            source: Source::new(rules, now),
            fetcher,
            shown: IssuerKeys {
                issuer: source.issuer,
                place: source.place,
                held: None,
                ignored: Vec::new(),
                next: Some(now),
                error: None,
                fetches: Fetches::default(),
            },
            waiting: Vec::new(),
            kept_at: None,
        })
    }

    /// Begins with what the configuration has read, or else with what was fetched before.
    fn restore(&mut self, configured: Option<&Value>, known: &[Entry], now: Time) {
        let (jwks, audience, fetched_at) = match &self.shown.place {
            Place::File(_) => (configured, Audience::Operator, now),
            Place::Web(place) => {
                let url = place.url.to_string();
                let known = known
                    .iter()
                    .find(|entry| entry.issuer == self.shown.issuer && entry.url == url);
                let Some(entry) = known else { return };
                let fetched_at = Time(Duration::from_secs(entry.fetched_at)).min(now);
                self.kept_at = Some(fetched_at);
                info!(
                    issuer = self.shown.issuer,
                    url, "going on with the keys from before"
                );
                (Some(&entry.jwks), Audience::Public, fetched_at)
            }
        };
        let reading = jwks.and_then(|jwks| KeySet::read(jwks, audience).ok());
        if let Some(Reading { set, ignored }) = reading {
            self.source.restore(set, fetched_at);
            self.shown.held = self.source.held().cloned();
            self.shown.ignored = ignored;
        }
    }

    fn fetched(&mut self, now: Time, result: Result<Reading, FetchError>) -> Outcome {
        let jitter = fastrand::u8(..);
        let (outcome, error) = match result {
            Ok(Reading { set, ignored }) => {
                self.ignore(ignored);
                (self.source.fetched(now, jitter, Some(set)), None)
            }
            Err(error) => (self.source.fetched(now, jitter, None), Some(error)),
        };
        let shown = &mut self.shown;
        let (issuer, place) = (&shown.issuer, &shown.place);
        let is_file = matches!(place, Place::File(_));
        let text = |error: &FetchError| error.to_string();
        let again = shown.error.as_deref().map(text) == error.as_ref().map(text);
        match (outcome, &error) {
            (Outcome::Changed, _) => {
                let keys = self.source.held().map_or(0, |held| held.set.len());
                info!(issuer, %place, keys, "other keys");
                shown.fetches.changed += 1;
            }
            (Outcome::Failed, Some(error)) if !(is_file && again) => {
                warn!(issuer, %error, "no newer keys; those there are stay in use");
                shown.fetches.failed += 1;
            }
            (Outcome::Unchanged, _) if !is_file => shown.fetches.unchanged += 1,
            _ => {}
        }
        shown.error = error.map(Arc::new);
        shown.held = self.source.held().cloned();
        shown.next = self.source.due();
        outcome
    }

    fn ignore(&mut self, ignored: Vec<IgnoredKey>) {
        if ignored != self.shown.ignored {
            for key in &ignored {
                warn!(issuer = self.shown.issuer, place = %self.shown.place, "not used: {key}");
            }
        }
        self.shown.ignored = ignored;
    }

    /// Whether the disk has to hear of a fetch: other keys at once, the same ones before they seem too old there.
    fn has_to_be_kept(&self, outcome: Outcome) -> bool {
        let (Place::Web(_), Some(held)) = (&self.shown.place, self.source.held()) else {
            return false;
        };
        let old = self
            .kept_at
            .is_none_or(|kept_at| held.fetched_at.since(kept_at) > KEEP_EVERY);
        outcome == Outcome::Changed || (outcome == Outcome::Unchanged && old)
    }

    fn entry(&mut self) -> Option<Entry> {
        let (Place::Web(place), Some(held)) = (&self.shown.place, self.source.held()) else {
            return None;
        };
        self.kept_at = Some(held.fetched_at);
        Some(Entry {
            issuer: self.shown.issuer.clone(),
            url: place.url.to_string(),
            fetched_at: held.fetched_at.0.as_secs(),
            jwks: held.set.to_jwks(),
        })
    }
}

/// The policy with the keys that are in use. An issuer without any has an empty set.
fn with_keys(policy: &PolicyConfig, issuers: &[Issuer]) -> PolicyConfig {
    let mut policy = policy.clone();
    for (config, issuer) in policy.issuers.iter_mut().zip(issuers) {
        let held = issuer.source.held();
        config.jwks = held
            .map_or_else(|| json!({"keys": []}), |held| held.set.to_jwks())
            .into();
    }
    policy
}

fn reports(issuers: &[Issuer]) -> Arc<[IssuerKeys]> {
    issuers.iter().map(|issuer| issuer.shown.clone()).collect()
}

fn known(path: &std::path::Path, now: Time) -> Vec<Entry> {
    cache::load(path, now).unwrap_or_else(|error| {
        let path = path.display();
        warn!(%path, %error, "cannot read the keys that were fetched before");
        Vec::new()
    })
}

/// Writes what is to be on disk, until nobody has any more. A disk that hangs holds up nothing else.
async fn keep(path: PathBuf, mut entries: watch::Receiver<Vec<Entry>>) {
    while entries.changed().await.is_ok() {
        let (file, entries) = (path.clone(), entries.borrow_and_update().clone());
        let stored = tokio::task::spawn_blocking(move || cache::store(&file, entries)).await;
        if let Ok(Err(error)) = stored {
            let path = path.display();
            warn!(%path, %error, "a restart will not know these keys: they could not be written down");
        }
    }
}

/// A file is looked at so often.
const FILE_RULES: Rules = Rules {
    refresh: Duration::from_secs(1),
    min_refetch: Duration::from_secs(1),
};

/// The same keys are written down again after so long: the file is then never much older than they are.
const KEEP_EVERY: Duration = Duration::from_secs(60 * 60);

const IDLE: Duration = Duration::from_secs(60);

/// Wishes that wait for the task, which deals with each at once.
const WISHES: usize = 64;
