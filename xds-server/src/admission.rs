//! Decides the requests that a filter could not: those signed with keys that only the control plane has, or in ways that a
//! proxy cannot check. The same decision as in the filter, with every key and every algorithm.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use berth_admission::{
    Admission, Certificate, Decision, Memory, NativeVerifier, Policy, Reason, Request, Undecided,
    UnixSeconds, admit,
};
use tokio::sync::Semaphore;

use crate::clock::Clock;
use crate::keys::Keys;

/// Decides, a few at a time.
#[derive(Clone, Debug)]
pub struct Admitter {
    keys: Keys,
    clock: Clock,
    /// Signatures are arithmetic: more at once than this would take the cores from what places sessions.
    at_once: Arc<Semaphore>,
    remembered: Arc<Mutex<Remembered>>,
}

/// What is remembered under one policy.
#[derive(Debug)]
struct Remembered {
    policy: Arc<Policy>,
    /// How many revocations there were when it was last used.
    revocations: u64,
    memory: Memory,
    seed: u64,
}

/// A request that a filter could not decide.
#[derive(Clone)]
pub struct Unverified {
    /// Its `:path`, as the client sent it.
    pub path: Vec<u8>,
    /// Its headers, names in lower case, as far as admission reads them.
    pub headers: Vec<(String, Vec<u8>)>,
    /// The client's address.
    pub client: Option<IpAddr>,
    /// A number that is another one after each revocation: every token is then verified anew.
    pub revocations: u64,
}

/// It holds a credential.
impl std::fmt::Debug for Unverified {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unverified")
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl Admitter {
    /// `seed` is random.
    pub fn new(keys: Keys, clock: Clock, seed: u64) -> Self {
        let policy = keys.policy();
        let memory = Memory::new(&policy, seed);
        Self {
            keys,
            clock,
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            remembered: Arc::new(Mutex::new(Remembered {
                policy,
                revocations: 0,
                memory,
                seed,
            })),
        }
    }

    /// Whom the request is from, and what it may open. If no key is known that it could have been signed with, its
    /// issuer's keys are fetched anew, unless that was done a short while ago.
    ///
    /// # Errors
    /// Why it is refused.
    pub async fn admit(&self, request: Unverified) -> Result<Admission, Reason> {
        let client = request.client;
        let request = Arc::new(request);
        let undecided = match self.decide(&request).await? {
            Decided::Admitted(admission) => return Ok(*admission),
            Decided::Undecided(undecided) => undecided,
        };
        self.keys.refetch(&undecided.issuer).await;
        match self.decide(&request).await? {
            Decided::Admitted(admission) => Ok(*admission),
            Decided::Undecided(undecided) => {
                self.failed(client);
                Err(undecided.reason)
            }
        }
    }

    /// When it is worth asking again after a refusal for this reason, in seconds.
    pub fn retry_after_seconds(&self, reason: Reason) -> Option<u32> {
        self.keys.policy().retry_after_seconds(reason)
    }

    async fn decide(&self, request: &Arc<Unverified>) -> Result<Decided, Reason> {
        let permit = tokio::time::timeout(PATIENCE, Arc::clone(&self.at_once).acquire_owned());
        let Ok(Ok(permit)) = permit.await else {
            return Err(Reason::TooManyAttempts);
        };
        let (admitter, request) = (self.clone(), Arc::clone(request));
        let decided = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            admitter.decide_now(&request)
        });
        decided.await.unwrap_or(Err(Reason::Internal))
    }

    fn decide_now(&self, request: &Unverified) -> Result<Decided, Reason> {
        let (now, revocations) = (self.now(), request.revocations);
        let request = Request {
            method: b"GET",
            path: &request.path,
            headers: &request.headers,
            client: request.client,
            // A filter has looked at it, and found a credential that counts more.
            certificate: Certificate::default(),
        };
        let verdict = self.remembering(|remembered| {
            let Remembered { policy, memory, .. } = remembered;
            if remembered.revocations != revocations {
                remembered.revocations = revocations;
                memory.forget_tokens();
            }
            admit(policy, memory, &request, now, &NativeVerifier)
        });
        match verdict.decision {
            Decision::Admit(_, admission) => Ok(Decided::Admitted(admission)),
            Decision::Undecided(_, undecided) => Ok(Decided::Undecided(undecided)),
            Decision::Refuse(reason) => Err(reason),
            // Filters answer those by themselves.
            Decision::Preflight => Err(Reason::BadRequest),
        }
    }

    fn failed(&self, client: Option<IpAddr>) {
        let now = self.now();
        self.remembering(|remembered| remembered.memory.failed(client, now));
    }

    /// Under the policy that holds now; what was remembered under another is forgotten.
    fn remembering<R>(&self, act: impl FnOnce(&mut Remembered) -> R) -> R {
        let policy = self.keys.policy();
        // Nothing in there is left half done by a panic.
        let remembered = self.remembered.lock();
        let mut remembered = remembered.unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(&policy, &remembered.policy) {
            remembered.memory = Memory::new(&policy, remembered.seed);
            remembered.policy = policy;
        }
        act(&mut remembered)
    }

    fn now(&self) -> UnixSeconds {
        UnixSeconds(self.clock.now().0.as_secs())
    }
}

enum Decided {
    Admitted(Box<Admission>),
    Undecided(Box<Undecided>),
}

/// One, so that a core is left for everything else.
const AT_ONCE: usize = 1;

/// Who is not looked at within this is told to come back.
const PATIENCE: Duration = Duration::from_secs(2);
