//! A server with its nodes, and what is done to the two.

use std::time::Duration;

use berth_tests::Ports;
use tokio::time::{Instant, sleep};

use super::crowd::{Crowd, Received};
use super::node::Node;
use super::scan::Protocol;
use super::server::{Server, Side};
use crate::BenchError;

/// One side, and what was measured of it.
pub(super) struct Bed {
    pub(super) side: Side,
    server: Server,
    /// `None` only while they reconnect.
    crowd: Option<Crowd>,
    /// Of each round.
    pub(super) changes: Vec<Cost>,
    pub(super) reconnects: Vec<Cost>,
    pub(super) refusals: Vec<Refusal>,
    /// In MB: of nodes that connect and changes.
    pub(super) peak: f64,
}

/// What something cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    /// Until the last node had it, in milliseconds.
    pub(super) took: f64,
    /// What all nodes were sent together, in MB.
    pub(super) sent: f64,
    /// The server's processor time, in milliseconds.
    pub(super) processor: f64,
}

/// What became of a change that all nodes refused.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    /// Responses with endpoints after the one each node refused, in [`WATCHED`].
    pub(super) responses: f64,
    /// The server's processor time for the change and all that came of it, in milliseconds.
    pub(super) processor: f64,
}

impl Bed {
    /// Starts a server and has the nodes connect.
    pub(super) async fn start(
        side: Side,
        protocol: Protocol,
        instances: usize,
        nodes: usize,
        ports: &mut Ports,
    ) -> Result<Self, BenchError> {
        let server = Server::start(side, instances, ports).await?;
        let nodes = (0..nodes).map(|number| Node::new(format!("node-{number}"), protocol));
        let mut crowd = Crowd::connect(nodes.collect(), server.address);
        crowd.news_is_everywhere(PATIENCE).await?;
        Ok(Self {
            side,
            server,
            crowd: Some(crowd),
            changes: Vec::new(),
            reconnects: Vec::new(),
            refusals: Vec::new(),
            peak: f64::NAN,
        })
    }

    /// [`CHANGES`] instances change, one after the other.
    pub(super) async fn change(&mut self) -> Result<(), BenchError> {
        let crowd = self.crowd.as_mut().ok_or(NOBODY)?;
        let mut costs = Vec::new();
        for _ in 0..CHANGES {
            let (processor, received) = (self.server.settled().await?, crowd.received());
            crowd.expect_news(false);
            let begun = Instant::now();
            self.server.change().await?;
            let last = crowd.news_is_everywhere(PATIENCE).await?;
            costs.push(Cost {
                took: milliseconds(last.saturating_duration_since(begun)),
                processor: milliseconds(self.server.settled().await?.saturating_sub(processor)),
                sent: sent(received, crowd.received()),
            });
        }
        self.changes.push(Cost::mean(&costs));
        Ok(())
    }

    /// An instance changes, and no node will have it.
    pub(super) async fn be_refused(&mut self) -> Result<(), BenchError> {
        let crowd = self.crowd.as_mut().ok_or(NOBODY)?;
        let (processor, before) = (self.server.settled().await?, crowd.received());
        crowd.expect_news(true);
        self.server.change().await?;
        crowd.news_is_everywhere(PATIENCE).await?;
        sleep(WATCHED).await;
        let responses = crowd.received().endpoint_responses - before.endpoint_responses;
        let first = u64::try_from(crowd.size()).unwrap_or(u64::MAX);
        self.refusals.push(Refusal {
            responses: float(responses.saturating_sub(first)),
            processor: milliseconds(self.server.processor_time()?.saturating_sub(processor)),
        });
        Ok(())
    }

    /// All nodes go, an instance changes, and all come back at once with what they had.
    pub(super) async fn reconnect(&mut self) -> Result<(), BenchError> {
        let nodes = self.crowd.take().ok_or(NOBODY)?.hang_up().await?;
        self.server.change().await?;
        let processor = self.server.settled().await?;
        let begun = Instant::now();
        let mut crowd = Crowd::connect(nodes, self.server.address);
        let last = crowd.news_is_everywhere(PATIENCE).await?;
        self.reconnects.push(Cost {
            took: milliseconds(last.saturating_duration_since(begun)),
            processor: milliseconds(self.server.settled().await?.saturating_sub(processor)),
            sent: megabytes(crowd.received().bytes),
        });
        self.crowd = Some(crowd);
        Ok(())
    }

    /// Notes how much memory the server has had until now.
    pub(super) fn note_peak(&mut self) -> Result<(), BenchError> {
        self.peak = megabytes(self.server.peak()?);
        Ok(())
    }

    /// How much it has had by now, in MB.
    pub(super) fn peak_by_now(&self) -> Result<f64, BenchError> {
        Ok(megabytes(self.server.peak()?))
    }
}

impl Cost {
    fn mean(costs: &[Self]) -> Self {
        let mean = |value: fn(&Self) -> f64| {
            let count = u32::try_from(costs.len()).map_or(f64::NAN, f64::from);
            costs.iter().map(value).sum::<f64>() / count
        };
        Self {
            took: mean(|cost| cost.took),
            sent: mean(|cost| cost.sent),
            processor: mean(|cost| cost.processor),
        }
    }
}

fn sent(before: Received, after: Received) -> f64 {
    megabytes(after.bytes - before.bytes)
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn megabytes(bytes: u64) -> f64 {
    float(bytes) / 1e6
}

/// Exact below 2^53, which is more of anything than there is here.
#[expect(clippy::cast_precision_loss, reason = "see above")]
fn float(number: u64) -> f64 {
    number as f64
}

/// In each round.
pub(super) const CHANGES: usize = 4;
/// How long it is watched what a server does once it was refused.
pub(super) const WATCHED: Duration = Duration::from_secs(2);
const PATIENCE: Duration = Duration::from_secs(120);
const NOBODY: BenchError = BenchError::Side("a server without nodes");
