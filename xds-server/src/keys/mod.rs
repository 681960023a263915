//! Where issuers' keys come from: files, URLs and OpenID Connect Discovery; fetched, cached and refreshed.
//!
//! `source` (when to fetch, and which set is used meanwhile), `set` (which keys can be used, in one normal form) and
//! `place` (what may be fetched from) are pure. `fetch` and `cache` are the network and the disk; `task` runs them.

mod cache;
mod fetch;
mod place;
mod set;
mod source;
mod task;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use berth_admission::{Policy, PolicyConfig};
use tokio::sync::{mpsc, oneshot, watch};

use crate::placement::Time;

pub(crate) use cache::beside as cache_beside;
pub use fetch::{FetchError, SetupError};
pub use place::{KeySource, Place, UrlProblem, WebPlace, WebUrl};
pub use set::{Audience, IgnoredKey, IgnoredReason, KeyName, KeySet, KeySetError, Reading};
pub use source::{Held, Outcome, Refetch, Rules, Source};
pub use task::{Setup, StartError, look, start};

/// The keys in use, and the policy with them. Cheap to clone; the task ends when all of them are gone.
#[derive(Clone, Debug)]
pub struct Keys {
    wishes: mpsc::Sender<Wish>,
    current: watch::Receiver<Current>,
    issuers: watch::Receiver<Arc<[IssuerKeys]>>,
}

/// What admission decides by, with the keys that are in use.
#[derive(Clone)]
pub struct Current {
    /// As it is written down; complete, hence not for proxies.
    pub config: Arc<PolicyConfig>,
    /// Ready to decide by.
    pub policy: Arc<Policy>,
}

/// The keys of one issuer, as the operator is shown them.
#[derive(Clone, Debug)]
pub struct IssuerKeys {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// Where the keys come from.
    pub place: Place,
    /// Those in use; none before the first were fetched.
    pub held: Option<Held>,
    /// Those that were there and are not used.
    pub ignored: Vec<IgnoredKey>,
    /// When they are fetched next; nothing while that is under way.
    pub next: Option<Time>,
    /// What went wrong the last time.
    pub error: Option<Arc<FetchError>>,
    /// How often they were fetched.
    pub fetches: Fetches,
}

/// How often something was fetched, by what it led to. A file that is as it was is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// There were other keys.
    pub changed: u64,
    /// Nothing of use came.
    pub failed: u64,
    /// There were the same keys.
    pub unchanged: u64,
}

/// Somebody wants newer keys of this issuer, and to hear when there are none newer.
#[derive(Debug)]
struct Wish {
    issuer: String,
    done: oneshot::Sender<()>,
}

/// It may have secret keys in it.
impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").finish_non_exhaustive()
    }
}

impl Keys {
    /// The policy with the keys now in use.
    pub fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.current.borrow().policy)
    }

    /// The policy, and whatever it becomes.
    pub fn watch(&self) -> watch::Receiver<Current> {
        self.current.clone()
    }

    /// All issuers, in the order of the configuration, and whatever becomes of their keys.
    pub fn issuers(&self) -> watch::Receiver<Arc<[IssuerKeys]>> {
        self.issuers.clone()
    }

    /// Has an issuer's keys fetched because one of them is not known here, and returns when [`policy`](Self::policy) is as
    /// new as it can be: at once where there was such a wish a short while ago, and after 2 s in any case.
    pub async fn refetch(&self, issuer: &str) {
        let (done, heard) = oneshot::channel();
        let wish = Wish {
            issuer: issuer.to_owned(),
            done,
        };
        let refetched = async {
            if self.wishes.send(wish).await.is_ok() {
                // An error means that there will be nothing newer, which is an answer too.
                let _ = heard.await;
            }
        };
        // Too late is as good as in vain: who waits is a client's request.
        let _ = tokio::time::timeout(REFETCH_LIMIT, refetched).await;
    }

    /// Waits until every issuer has keys or has been asked for them once, but no longer than `limit`.
    pub async fn settled(&self, limit: Duration) {
        let mut issuers = self.issuers.clone();
        let settled = issuers.wait_for(|issuers| {
            issuers
                .iter()
                .all(|issuer| issuer.held.is_some() || issuer.error.is_some())
        });
        let _ = tokio::time::timeout(limit, settled).await;
    }
}

/// A client waits for its upgrade meanwhile, and native ones give up near 20 s.
const REFETCH_LIMIT: Duration = Duration::from_secs(2);
