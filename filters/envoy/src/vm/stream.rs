//! One stream: how far it has come, and how long it may go on.

use std::time::Duration;

use berth_admission::{Reason, UnixSeconds};

use super::{ANSWER_MARGIN, AWAY};
use crate::session::{Cause, Closed, Lease, Now, Opening, Purpose, Refusal, Token, Uptime};

#[derive(Debug)]
pub(super) struct Stream {
    pub(super) opening: Opening,
    pub(super) opened_at: Uptime,
    /// When its Acquire was sent last, or was to be sent.
    pub(super) asked_at: Uptime,
    /// Its Acquire that is under way; still so if we answer the request in the meantime.
    pub(super) call: Option<Token>,
    pub(super) phase: Phase,
}

#[derive(Debug)]
pub(super) enum Phase {
    /// Not granted yet. Its Acquire is to be sent unless one is under way.
    Pending,
    /// Granted and on its way to the instance.
    Placed(Lease),
    /// The 101 was seen.
    Live { lease: Lease, since: Uptime },
    /// It was answered or reset by us, and its end has not come yet.
    Closing {
        lease: Option<Lease>,
        established: bool,
        cause: Cause,
    },
}

/// Why a stream may not go on.
#[derive(Debug)]
pub(super) enum Over {
    /// As a request.
    Request(Refusal),
    /// As a session.
    Session(Closed),
}

impl Phase {
    pub(super) const fn lease(&self) -> Option<&Lease> {
        match self {
            Self::Pending => None,
            Self::Placed(lease) | Self::Live { lease, .. } => Some(lease),
            Self::Closing { lease, .. } => lease.as_ref(),
        }
    }

    pub(super) const fn established(&self) -> bool {
        match self {
            Self::Pending | Self::Placed(_) => false,
            Self::Live { .. } => true,
            Self::Closing { established, .. } => *established,
        }
    }

    pub(super) fn closing(&mut self, cause: Cause) {
        *self = Self::Closing {
            lease: self.lease().cloned(),
            established: self.established(),
            cause,
        };
    }
}

impl Stream {
    pub(super) const fn is_check(&self) -> bool {
        matches!(self.opening.purpose, Purpose::Check { .. })
    }

    /// Whether its Acquire is to be sent, for the first time or again.
    pub(super) const fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Pending) && self.call.is_none()
    }

    /// When the control plane can no longer be holding the request.
    pub(super) const fn held_until(&self) -> Uptime {
        self.opened_at.saturating_add(self.opening.hold)
    }

    /// Why it may not go on, if it may not: it has waited long enough, or its token or its time is up.
    pub(super) fn over(&self, now: Now) -> Option<Over> {
        match &self.phase {
            Phase::Pending => {
                // A request is worth no more than its token, whatever the policy lets sessions be.
                let ended = self.is_expired(now.unix) || self.is_to_close(now.unix);
                let overdue = self.is_overdue(now.uptime).then_some(AWAY);
                ended.then_some(EXPIRED).or(overdue).map(Over::Request)
            }
            Phase::Placed(_) => self.is_to_close(now.unix).then_some(Over::Request(EXPIRED)),
            Phase::Live { .. } if self.is_to_close(now.unix) => {
                Some(Over::Session(Closed::TokenExpired))
            }
            Phase::Live { lease, since } => {
                let old = |age| now.uptime.saturating_sub(*since) >= age;
                let old = lease.max_age.is_some_and(old);
                old.then_some(Over::Session(Closed::MaxAge))
            }
            Phase::Closing { .. } => None,
        }
    }

    /// Whether it has waited long enough. An Acquire under way is waited for a margin longer than its own timeout: then
    /// its answer went with the root that asked, which is deleted when the streams of its configuration are gone.
    fn is_overdue(&self, now: Uptime) -> bool {
        let margin = match self.call {
            Some(_) => ANSWER_MARGIN * 2,
            None => Duration::ZERO,
        };
        now >= self.held_until() + margin
    }

    fn is_expired(&self, now: UnixSeconds) -> bool {
        let admitted = self.opening.session.admitted();
        let end = admitted.and_then(|admitted| admitted.expires_at);
        end.is_some_and(|end| now >= end)
    }

    fn is_to_close(&self, now: UnixSeconds) -> bool {
        let admitted = self.opening.session.admitted();
        let end = admitted.and_then(|admitted| admitted.closes_at);
        end.is_some_and(|end| now >= end)
    }
}

const EXPIRED: Refusal = Refusal {
    reason: Reason::TokenExpired,
    retry_after_seconds: None,
};
