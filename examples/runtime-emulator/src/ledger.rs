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
    pub(crate) fn admit(&mut self, policy: SecondClient, arrival: Arrival) -> Result<usize, Occupied> {
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
            from: arrival.at,
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

    /// Ends a session; the first end counts.
    pub(crate) fn end(&mut self, number: usize, at: Instant, how: How) {
        if let Some(record) = self.records.get_mut(number)
            && record.end.is_none()
        {
            record.end = Some(End { at, how });
            self.live -= 1;
        }
    }
}

impl SessionRecord {
    /// The first header of this name, in whatever case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(candidate, _)| candidate.eq_ignore_ascii_case(name));
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

/// An upgrade that asks to become a session.
#[derive(Clone, Debug)]
pub(crate) struct Arrival {
    pub(crate) family: Family,
    pub(crate) path_and_query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) at: Instant,
}

/// Why an arrival does not become a session now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occupied {
    /// Nor later.
    Reject,
    /// It will, once those that are live have left.
    EvictFirst,
}
