use std::fmt;
use std::time::Instant;

use berth_client::Family;

use crate::config::SecondClient;

/// Who was connected from when to when. Times are monotonic.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    records: Vec<SessionRecord>,
    live: usize,
    max_concurrent: usize,
    requests: u64,
}

/// One WebSocket session that was accepted.
#[derive(Clone, Debug)]
pub struct SessionRecord {
    /// Its place among the emulator's sessions, from 0.
    pub number: usize,
    /// By the port it came to.
    pub family: Family,
    /// What it asked for.
    pub path_and_query: String,
    /// What it sent along. Bytes that are not UTF-8 are replaced.
    pub headers: Vec<(String, String)>,
    /// How far its signaling got.
    pub stage: Stage,
    /// Taken before the 101 was sent.
    pub from: Instant,
    /// `None` while it is live.
    pub end: Option<End>,
}

/// When and how a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct End {
    /// Taken as soon as the emulator knew, before it answered.
    pub at: Instant,
    /// Who ended it.
    pub how: How,
}

/// How far a session's signaling got.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// The client has not introduced itself.
    Silent,
    /// It has, and was sent an offer. For the native family: it has made an RTSP request.
    Introduced,
    /// It has answered the offer. The native family does not come to this.
    Answered,
}

/// Who ended a session, and how.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum How {
    /// The client sent a Close frame.
    ClientClose {
        /// Absent if the frame was empty.
        code: Option<u16>,
        /// Often empty.
        reason: String,
    },
    /// The client ended its connection without a Close frame.
    ClientFin,
    /// The client's connection was reset.
    ClientReset,
    /// The client broke RFC 6455.
    ProtocolError,
    /// The emulator was told to close it.
    Close {
        /// The code it sent.
        code: u16,
        /// The reason it sent.
        reason: String,
    },
    /// The emulator was told to end the connection without a Close frame.
    Fin,
    /// The emulator was told, or had a fault, to reset the connection.
    Reset,
    /// Another client came and [`SecondClient::Evict`] holds.
    Evicted,
    /// The client had not introduced itself in time.
    PeerRemoved,
    /// The emulator stopped.
    Stopped,
}

impl Ledger {
    /// Every session since the start, in the order of their beginning.
    #[must_use]
    pub fn records(&self) -> &[SessionRecord] {
        &self.records
    }

    /// How many sessions are live.
    #[must_use]
    pub const fn live(&self) -> usize {
        self.live
    }

    /// The greatest number of sessions that were live at the same moment, over both families.
    #[must_use]
    pub const fn max_concurrent(&self) -> usize {
        self.max_concurrent
    }

    /// How many valid upgrade requests have come, refused and hanging ones included.
    #[must_use]
    pub const fn requests(&self) -> u64 {
        self.requests
    }

    pub(crate) const fn request(&mut self) {
        self.requests += 1;
    }

    /// Begins a session, unless the policy has something against it now.
    pub(crate) fn admit(
        &mut self,
        policy: SecondClient,
        arrival: Arrival,
        at: Instant,
    ) -> Result<usize, Occupied> {
        match policy {
            SecondClient::Reject if self.live > 0 => return Err(Occupied::Reject),
            SecondClient::Evict if self.live > 0 => return Err(Occupied::EvictFirst),
            _ => {}
        }
        let number = self.records.len();
        self.records.push(SessionRecord {
            number,
            family: arrival.family,
            path_and_query: arrival.path_and_query,
            headers: arrival.headers,
            stage: Stage::Silent,
            from: at,
            end: None,
        });
        self.live += 1;
        self.max_concurrent = self.max_concurrent.max(self.live);
        Ok(number)
    }

    pub(crate) fn advance(&mut self, number: usize, stage: Stage) {
        if let Some(record) = self.records.get_mut(number) {
            record.stage = record.stage.max(stage);
        }
    }

    /// Ends a session; the first end counts. Answers whether this was it.
    pub(crate) fn end(&mut self, number: usize, at: Instant, how: How) -> bool {
        match self.records.get_mut(number) {
            Some(record) if record.is_live() => {
                record.end = Some(End { at, how });
                self.live -= 1;
                true
            }
            _ => false,
        }
    }
}

impl SessionRecord {
    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self
            .headers
            .iter()
            .find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
        found.map(|(_, value)| value.as_str())
    }

    /// Whether it has not ended.
    #[must_use]
    pub const fn is_live(&self) -> bool {
        self.end.is_none()
    }

    /// Who ended it, and how.
    #[must_use]
    pub fn how(&self) -> Option<&How> {
        self.end.as_ref().map(|end| &end.how)
    }
}

impl fmt::Display for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            live,
            max_concurrent,
            requests,
        } = self;
        write!(
            f,
            "{requests} upgrade requests, {live} sessions live, {max_concurrent} at most at once"
        )?;
        for SessionRecord {
            number,
            family,
            stage,
            end,
            ..
        } in records
        {
            match end {
                None => write!(f, "; #{number} {family} {stage:?} live")?,
                Some(End { how, .. }) => {
                    write!(f, "; #{number} {family} {stage:?} ended: {how:?}")?
                }
            }
        }
        Ok(())
    }
}

/// An upgrade that asks to become a session.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) family: Family,
    pub(crate) path_and_query: String,
    pub(crate) headers: Vec<(String, String)>,
}

/// Why an arrival does not become a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Nor later.
    Reject,
    /// It will, once those that are live have left.
    EvictFirst,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn arrival() -> Arrival {
        Arrival {
            family: Family::Web,
            path_and_query: "/sign_in".to_owned(),
            headers: Vec::new(),
        }
    }

    #[test]
    fn a_second_client_meets_the_policy() {
        let cases = [
            (SecondClient::AcceptAndRecord, Ok(1), 2),
            (SecondClient::Reject, Err(Occupied::Reject), 1),
            (SecondClient::Evict, Err(Occupied::EvictFirst), 1),
        ];
        for (policy, expected, max_concurrent) in cases {
            let at = tokio::time::Instant::now().into_std();
            let mut ledger = Ledger::default();
            assert_eq!(ledger.admit(policy, arrival(), at), Ok(0));
            assert_eq!(ledger.admit(policy, arrival(), at), expected, "{policy:?}");
            assert_eq!(ledger.max_concurrent(), max_concurrent, "{policy:?}");
            ledger.end(0, at, How::ClientFin);
            assert!(ledger.admit(policy, arrival(), at).is_ok(), "{policy:?}");
        }
    }

    #[test]
    fn the_first_end_counts() {
        let at = tokio::time::Instant::now().into_std();
        let mut ledger = Ledger::default();
        let number = ledger
            .admit(SecondClient::AcceptAndRecord, arrival(), at)
            .unwrap();
        assert!(ledger.end(number, at, How::ClientFin));
        assert!(!ledger.end(number, at, How::Stopped));
        assert_eq!(ledger.records()[number].how(), Some(&How::ClientFin));
        assert_eq!(ledger.live(), 0);
    }

    proptest! {
        /// The counters say what the intervals say.
        #[test]
        fn counters_agree_with_records(steps in prop::collection::vec(any::<Option<prop::sample::Index>>(), 1..60)) {
            let start = tokio::time::Instant::now().into_std();
            let mut ledger = Ledger::default();
            for (step, ends) in steps.iter().enumerate() {
                let at = start + Duration::from_millis(step as u64);
                match ends {
                    Some(which) if !ledger.records().is_empty() => {
                        let number = which.index(ledger.records().len());
                        ledger.end(number, at, How::ClientFin);
                    }
                    _ => { ledger.admit(SecondClient::AcceptAndRecord, arrival(), at).unwrap(); }
                }
            }
            let live_at = |moment: Instant| ledger.records().iter().filter(|record| {
                record.from <= moment && record.end.as_ref().is_none_or(|end| end.at > moment)
            }).count();
            let greatest = ledger.records().iter().map(|record| live_at(record.from)).max();
            prop_assert_eq!(Some(ledger.max_concurrent()), greatest);
            prop_assert_eq!(ledger.live(), ledger.records().iter().filter(|record| record.is_live()).count());
        }
    }
}
