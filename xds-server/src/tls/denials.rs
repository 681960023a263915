use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tracing::warn;

use super::HandshakeError;
use crate::clock::Clock;
use crate::peer::NotThisNode;
use crate::placement::Time;

/// Whom the xDS port has turned away, counted and logged. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Denials {
    clock: Clock,
    handshakes: Family<OutcomeLabel, Counter>,
    nodes: Counter,
    pace: Arc<Mutex<Pace>>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: &'static str,
}

impl Denials {
    /// Nobody yet.
    pub fn new(clock: Clock) -> Self {
        let handshakes = Family::<OutcomeLabel, Counter>::default();
        // A counter is there before there is anything to count.
        let _ = handshakes.get_or_create(&OutcomeLabel { outcome: DONE });
        Self {
            clock,
            handshakes,
            nodes: Counter::default(),
            pace: Arc::default(),
        }
    }

    /// A peer said that it was a proxy which its certificate does not name.
    pub(crate) fn node(&self, refused: &NotThisNode) {
        self.nodes.inc();
        self.log(|left_out| warn!(left_out, "refused a proxy: {refused}"));
    }

    pub(super) fn handshake(&self, address: SocketAddr, outcome: Result<(), &HandshakeError>) {
        let label = match outcome {
            Ok(()) => DONE,
            Err(error) => error.label(),
        };
        let label = OutcomeLabel { outcome: label };
        self.handshakes.get_or_create(&label).inc();
        if let Err(error) = outcome {
            self.log(
                |left_out| warn!(%address, left_out, "no TLS handshake on the xDS port: {error}"),
            );
        }
    }

    #[cfg(test)]
    pub(super) fn handshakes_with(&self, outcome: &'static str) -> u64 {
        let label = OutcomeLabel { outcome };
        self.handshakes.get_or_create(&label).get()
    }

    /// Hands them to who is asked for metrics.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "xds_handshakes",
            "TLS handshakes on the xDS port, by outcome",
            self.handshakes.clone(),
        );
        registry.register(
            "xds_nodes_denied",
            "Calls for a node that the caller's certificate does not name",
            self.nodes.clone(),
        );
    }

    /// Whoever reaches the port can be turned away as often as they like, and must not fill a disk by it.
    fn log(&self, write: impl FnOnce(u64)) {
        let now = self.clock.now();
        let mut pace = self.pace.lock().unwrap_or_else(PoisonError::into_inner);
        let admitted = pace.admit(now);
        drop(pace);
        if let Some(left_out) = admitted {
            write(left_out);
        }
    }
}

/// So many lines a [`WINDOW`], and how many there would have been.
#[derive(Debug, Default)]
struct Pace {
    since: Time,
    written: u32,
    left_out: u64,
}

impl Pace {
    /// Whether a line may be written, and how many were not since the last.
    fn admit(&mut self, now: Time) -> Option<u64> {
        if now.since(self.since) >= WINDOW {
            self.since = now;
            self.written = 0;
        }
        if self.written >= LINES {
            self.left_out += 1;
            return None;
        }
        self.written += 1;
        Some(std::mem::take(&mut self.left_out))
    }
}

const DONE: &str = "done";

const WINDOW: Duration = Duration::from_secs(10);
const LINES: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::{Certified, Peer};

    #[test]
    fn a_flood_is_a_few_lines_and_says_how_many_it_would_have_been() {
        let at = |seconds| Time(Duration::from_secs(seconds));
        let mut pace = Pace::default();
        let admitted = |pace: &mut Pace, now, count: usize| {
            let lines = std::iter::repeat_with(|| pace.admit(at(now))).take(count);
            lines.flatten().collect::<Vec<_>>()
        };
        assert_eq!(admitted(&mut pace, 100, 500), [0; 20]);
        assert!(admitted(&mut pace, 109, 7).is_empty());
        assert_eq!(admitted(&mut pace, 110, 2), [487, 0]);
    }

    #[test]
    fn who_is_turned_away_is_counted() {
        let denials = Denials::new(Clock::start());
        let peer = Peer::Certified(Certified {
            names: Arc::from(["edge-1".to_owned()]),
            denials: denials.clone(),
        });
        assert!(peer.check("edge-1").is_ok());
        assert_eq!(denials.nodes.get(), 0);
        assert!(peer.clone().check("edge-2").is_err());
        assert_eq!(denials.nodes.get(), 1);
    }
}
