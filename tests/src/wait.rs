//! Waiting for a condition, which is the only waiting there is in tests.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::Error;

/// What a look at a condition found.
#[derive(Debug)]
pub enum Seen<T> {
    /// It holds; this is what there was to see.
    Yes(T),
    /// It does not hold yet; this is how things are instead, for the message when time is up.
    NotYet(String),
}

impl Seen<()> {
    /// Whether `holds`; `state` is how things are.
    pub fn when(holds: bool, state: impl Display) -> Self {
        if holds {
            Self::Yes(())
        } else {
            Self::NotYet(state.to_string())
        }
    }
}

/// Looks again and again until `look` sees `what`, for at most `within`.
///
/// # Errors
/// [`Error::Timeout`] with the last state when time is up, and at once whatever error `look` returns.
pub async fn wait_until<T>(
    what: impl Display,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<Seen<T>, Error>,
) -> Result<T, Error> {
    let deadline = Instant::now() + within;
    loop {
        match look().await? {
            Seen::Yes(seen) => return Ok(seen),
            Seen::NotYet(last) if Instant::now() >= deadline => {
                return Err(Error::Timeout {
                    what: what.to_string(),
                    within,
                    last,
                });
            }
            Seen::NotYet(_) => sleep(BETWEEN_LOOKS).await,
        }
    }
}

/// Short against everything that is waited for, long against what a look costs.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn sees_what_comes_about() {
        let mut looks = 0;
        let seen = wait_until("the third look", Duration::from_secs(1), async || {
            looks += 1;
            Ok(if looks < 3 {
                Seen::NotYet(format!("look {looks}"))
            } else {
                Seen::Yes(looks)
            })
        })
        .await
        .unwrap();
        assert_eq!(seen, 3);
    }

    #[tokio::test]
    async fn tells_the_last_state_when_time_is_up() {
        let error = wait_until("a tide", Duration::from_millis(50), async || {
            Ok(Seen::when(false, "low water"))
        })
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            "waited 50ms for a tide; last seen: low water"
        );
    }

    #[tokio::test]
    async fn an_error_ends_the_wait() {
        let error = wait_until("nothing", Duration::from_secs(3600), async || {
            Err::<Seen<()>, _>(Error::Impossible("of two minds".to_owned()))
        })
        .await
        .unwrap_err();
        assert!(matches!(error, Error::Impossible(_)));
    }
}
