//! The clients of a burst.

use std::time::Duration;

use berth_client::{Connection, Target};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::NORMAL_CLOSURE;
use crate::BenchError;

/// When a client asked, was let in, and had its goodbye answered.
pub(super) struct Visit {
    pub(super) asked: Instant,
    pub(super) admitted: Instant,
    left: Instant,
}

/// Sends a client to each target, in this order, and waits until the last has left.
pub(super) async fn come(targets: &[Target]) -> Result<Vec<Visit>, BenchError> {
    let mut connections = Vec::new();
    for target in targets {
        connections.push(Connection::open(target).await.map_err(Box::new)?);
    }
    let mut clients = JoinSet::new();
    for connection in connections {
        clients.spawn(visit(connection));
        // Not by a timetable: who is late is not to ask together with the next.
        sleep(STAGGER).await;
    }
    let mut visits = Vec::new();
    while let Some(ended) = clients.join_next().await {
        visits.push(ended.map_err(BenchError::Client)??);
    }
    Ok(visits)
}

async fn visit(connection: Connection) -> Result<Visit, BenchError> {
    let asked = Instant::now();
    let session = connection.upgrade().await.map_err(Box::new)?;
    let admitted = Instant::now();
    sleep(KEPT).await;
    session.close(NORMAL_CLOSURE, "").await?;
    Ok(Visit {
        asked,
        admitted,
        left: Instant::now(),
    })
}

/// From the first request to the last answered goodbye.
pub(super) fn wall(visits: &[Visit]) -> Duration {
    let first = visits.iter().map(|visit| visit.asked).min();
    let last = visits.iter().map(|visit| visit.left).max();
    first
        .zip(last)
        .map_or(Duration::ZERO, |(first, last)| last - first)
}

pub(super) const CLIENTS: usize = 40;
pub(super) const KEPT: Duration = Duration::from_millis(50);
/// At least, between two requests (a timer of whole milliseconds makes it two as a rule): enough that they come to the
/// proxy in the order in which they were sent; little against a session.
pub(super) const STAGGER: Duration = Duration::from_millis(1);
