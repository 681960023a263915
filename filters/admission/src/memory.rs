use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::FixedState;

use crate::attempts::Attempts;
use crate::claims::Claims;
use crate::config::TokenCacheConfig;
use crate::{Policy, UnixSeconds};

/// What one worker remembers from one request to the next, under one policy. Bounded.
#[derive(Debug)]
pub struct Memory {
    pub(crate) tokens: VerifiedTokens,
    pub(crate) attempts: Attempts,
}

impl Memory {
    /// Nothing is known yet. `seed` is random: who does not know it cannot choose tokens that are slow to find.
    pub fn new(policy: &Policy, seed: u64) -> Self {
        Self {
            tokens: VerifiedTokens::new(policy.token_cache(), seed),
            attempts: Attempts::new(policy.attempts(), seed),
        }
    }

    /// Has every token verified anew.
    pub fn forget_tokens(&mut self) {
        self.tokens.clear();
    }

    /// A credential of this client's, [undecided](crate::Decision::Undecided) here, was not accepted.
    pub fn failed(&mut self, client: Option<IpAddr>, now: UnixSeconds) {
        self.attempts.failed(client, now);
    }
}

/// A token whose signature is its issuer's.
#[derive(Debug)]
pub(crate) struct VerifiedToken {
    /// Of the policy's issuers, by index.
    pub(crate) issuer: usize,
    pub(crate) claims: Claims,
}

/// Tokens that were verified, the oldest forgotten first.
pub(crate) struct VerifiedTokens {
    config: TokenCacheConfig,
    // Found by a keyed hash, so that how long a search takes says nothing of the tokens that are there.
    entries: HashMap<Arc<[u8]>, Entry, FixedState>,
    order: VecDeque<Arc<[u8]>>,
}

struct Entry {
    token: Arc<VerifiedToken>,
    until: UnixSeconds,
}

impl VerifiedTokens {
    fn new(config: TokenCacheConfig, seed: u64) -> Self {
        Self {
            config,
            entries: HashMap::with_hasher(FixedState::with_seed(seed)),
            order: VecDeque::new(),
        }
    }

    pub(crate) fn get(&self, token: &[u8], now: UnixSeconds) -> Option<Arc<VerifiedToken>> {
        let entry = self.entries.get(token)?;
        (now < entry.until).then(|| Arc::clone(&entry.token))
    }

    pub(crate) fn insert(&mut self, token: &[u8], verified: Arc<VerifiedToken>, now: UnixSeconds) {
        let entries = usize::try_from(self.config.entries).unwrap_or(usize::MAX);
        if entries == 0 || token.len() > MAX_TOKEN_BYTES {
            return;
        }
        let entry = Entry {
            token: verified,
            until: UnixSeconds(now.0.saturating_add(self.config.seconds.into())),
        };
        if let Some(known) = self.entries.get_mut(token) {
            *known = entry;
            return;
        }
        while self.order.len() >= entries {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            self.entries.remove(&oldest);
        }
        let token: Arc<[u8]> = token.into();
        self.order.push_back(Arc::clone(&token));
        self.entries.insert(token, entry);
    }

    fn clear(&mut self) {
        self.entries.clear();
        self.order.clear();
    }
}

/// Says how many there are, and no token.
impl std::fmt::Debug for VerifiedTokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("VerifiedTokens")
            .field("config", &self.config)
            .field("entries", &self.entries.len())
            .finish()
    }
}

/// Longer ones are seldom, and would make the bound in entries a poor bound of memory.
const MAX_TOKEN_BYTES: usize = 4096;
