//! How often a client may fail.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};

use foldhash::fast::FixedState;

use crate::UnixSeconds;
use crate::config::AttemptsConfig;

/// The failures of client addresses, each in a bucket that leaks (ITU-T I.371 calls it that): `burst` failures fill it,
/// and it empties by `per_minute`.
#[derive(Debug)]
pub(crate) struct Attempts {
    config: AttemptsConfig,
    /// Empty buckets are not kept.
    buckets: HashMap<IpAddr, Bucket, FixedState>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    /// In sixtieths of a failure, so that whole numbers leak whole numbers each second.
    level: u64,
    at: UnixSeconds,
}

impl Attempts {
    /// `seed` is random: who does not know it cannot choose addresses that are slow to find.
    pub(crate) fn new(config: AttemptsConfig, seed: u64) -> Self {
        Self {
            config,
            buckets: HashMap::with_hasher(FixedState::with_seed(seed)),
        }
    }

    /// Whether an address may present a credential; one that is not known may.
    pub(crate) fn may_try(&self, client: Option<IpAddr>, now: UnixSeconds) -> bool {
        let Some(bucket) = client.and_then(|client| self.buckets.get(&network(client))) else {
            return true;
        };
        self.level(bucket, now) + FAILURE <= u64::from(self.config.burst) * FAILURE
    }

    /// An address has presented a credential that was not accepted.
    pub(crate) fn failed(&mut self, client: Option<IpAddr>, now: UnixSeconds) {
        let Some(client) = client.filter(|_| self.config.burst > 0) else {
            return;
        };
        let network = network(client);
        let level = self
            .buckets
            .get(&network)
            .map_or(0, |bucket| self.level(bucket, now));
        if level == 0 && self.buckets.len() >= MAX_BUCKETS {
            self.make_room(now);
        }
        let full = u64::from(self.config.burst) * FAILURE;
        let bucket = Bucket {
            level: full.min(level + FAILURE),
            at: now,
        };
        self.buckets.insert(network, bucket);
    }

    fn level(&self, bucket: &Bucket, now: UnixSeconds) -> u64 {
        leaked(bucket, self.config.per_minute, now)
    }

    /// Forgets the empty buckets, or else the emptier half: who spreads their failures over so many addresses has not
    /// filled any of them.
    fn make_room(&mut self, now: UnixSeconds) {
        let levels = self.buckets.values().map(|one| self.level(one, now));
        let median = median(&levels.collect::<Vec<_>>());
        let per_minute = self.config.per_minute;
        self.buckets
            .retain(|_, bucket| leaked(bucket, per_minute, now) > median);
    }
}

/// What is left in a bucket.
fn leaked(bucket: &Bucket, per_minute: u32, now: UnixSeconds) -> u64 {
    let seconds = now.0.saturating_sub(bucket.at.0);
    let leaked = seconds.saturating_mul(per_minute.into());
    bucket.level.saturating_sub(leaked)
}

/// Found by halving what is left to look at: to sort them is 3 kB of the module.
fn median(levels: &[u64]) -> u64 {
    let (mut least, mut most) = (0, levels.iter().copied().max().unwrap_or_default());
    while least < most {
        let middle = least + (most - least) / 2;
        let below = levels.iter().filter(|level| **level <= middle).count();
        if below > levels.len() / 2 {
            most = middle;
        } else {
            least = middle + 1;
        }
    }
    least
}

/// Who has one address of an IPv6 network has all of its last 64 bits.
fn network(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V6(address) => {
            let prefix = address.to_bits() & !u128::from(u64::MAX);
            Ipv6Addr::from_bits(prefix).into()
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

/// One failure, as buckets count.
const FAILURE: u64 = 60;
/// Some 64 bytes each.
const MAX_BUCKETS: usize = 16_384;

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn address(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn a_burst_and_then_so_many_a_minute() {
        let mut attempts = Attempts::new(
            AttemptsConfig {
                burst: 3,
                per_minute: 6,
            },
            7,
        );
        let client = address("192.0.2.7");
        let at = UnixSeconds;
        for failure in 0..3 {
            assert!(attempts.may_try(client, at(1_000)), "{failure}");
            attempts.failed(client, at(1_000));
        }
        for (now, may) in [(1_000, false), (1_009, false), (1_010, true), (900, false)] {
            assert_eq!(attempts.may_try(client, at(now)), may, "{now}");
        }
        attempts.failed(client, at(1_010));
        assert!(!attempts.may_try(client, at(1_019)));
        assert!(attempts.may_try(client, at(1_040)));
        assert!(attempts.may_try(address("192.0.2.8"), at(1_000)));
        assert!(attempts.may_try(None, at(1_000)));
    }

    #[test]
    fn a_network_of_ipv6_is_one_address() {
        let mut attempts = Attempts::new(
            AttemptsConfig {
                burst: 1,
                per_minute: 1,
            },
            7,
        );
        let now = UnixSeconds(5);
        attempts.failed(address("2001:db8::1"), now);
        attempts.failed(address("::ffff:192.0.2.1"), now);
        for (client, may) in [
            ("2001:db8::2", false),
            ("2001:db8:0:1::1", true),
            ("192.0.2.1", false),
            ("192.0.2.2", true),
        ] {
            assert_eq!(attempts.may_try(address(client), now), may, "{client}");
        }
    }

    #[test]
    fn no_burst_is_no_limit() {
        let mut attempts = Attempts::new(
            AttemptsConfig {
                burst: 0,
                per_minute: 0,
            },
            7,
        );
        let client = address("192.0.2.7");
        for _ in 0..1_000 {
            attempts.failed(client, UnixSeconds(0));
            assert!(attempts.may_try(client, UnixSeconds(0)));
        }
        assert!(attempts.buckets.is_empty());
    }

    #[test]
    fn it_stays_small_and_forgets_who_failed_least() {
        let mut attempts = Attempts::new(
            AttemptsConfig {
                burst: 2,
                per_minute: 1,
            },
            7,
        );
        let stubborn = address("198.51.100.1");
        let now = UnixSeconds(0);
        attempts.failed(stubborn, now);
        attempts.failed(stubborn, now);
        for other in 0..3 * u32::try_from(MAX_BUCKETS).unwrap() {
            attempts.failed(Some(IpAddr::V4(other.into())), now);
            assert!(attempts.buckets.len() <= MAX_BUCKETS);
        }
        assert!(!attempts.may_try(stubborn, now));
    }

    proptest! {
        #[test]
        fn half_are_up_to_the_median(mut levels in vec(prop_oneof![0..9_u64, any::<u64>()], 1..60)) {
            let found = median(&levels);
            levels.sort_unstable();
            prop_assert_eq!(found, levels[levels.len() / 2]);
        }
    }
}
