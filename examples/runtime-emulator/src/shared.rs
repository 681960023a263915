use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hyper::StatusCode;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;
use tracing::info;

use crate::config::{EmulatorConfig, Fault};
use crate::ledger::{Arrival, How, Ledger, Occupied, Stage};
use crate::session::Order;
use crate::socket::Phase;
use crate::upgrade::{NoUpgrade, refuse};

/// What all of an emulator's tasks see.
#[derive(Debug)]
pub(crate) struct Shared {
    config: EmulatorConfig,
    started: Instant,
    ledger: watch::Sender<Ledger>,
    fault: watch::Sender<Fault>,
    phase: watch::Sender<Phase>,
    ready: AtomicBool,
    live: Mutex<HashMap<usize, mpsc::UnboundedSender<Order>>>,
}

impl Shared {
    pub(crate) fn new(config: EmulatorConfig) -> Self {
        Self {
            started: Instant::now(),
            ledger: watch::Sender::new(Ledger::default()),
            fault: watch::Sender::new(config.fault),
            phase: watch::Sender::new(Phase::Serving),
            ready: AtomicBool::new(config.ready),
            live: Mutex::default(),
            config,
        }
    }

    pub(crate) fn is_ready(&self) -> bool {
        let free = self.config.ready_while_live || self.ledger.borrow().live() == 0;
        free && self.ready.load(Ordering::Relaxed)
    }

    pub(crate) fn set_ready(&self, ready: bool) {
        self.ready.store(ready, Ordering::Relaxed);
    }

    pub(crate) const fn config(&self) -> &EmulatorConfig {
        &self.config
    }

    pub(crate) fn ledger(&self) -> watch::Receiver<Ledger> {
        self.ledger.subscribe()
    }

    pub(crate) fn fault(&self) -> watch::Receiver<Fault> {
        self.fault.subscribe()
    }

    pub(crate) fn phase(&self) -> watch::Receiver<Phase> {
        self.phase.subscribe()
    }

    pub(crate) const fn started(&self) -> Instant {
        self.started
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    pub(crate) fn count_request(&self) {
        self.ledger.send_modify(Ledger::request);
    }

    pub(crate) fn set_fault(&self, fault: Fault) {
        info!(%fault, "fault set");
        self.fault.send_replace(fault);
    }

    /// Gives every live session an order; answers how many.
    pub(crate) fn order(&self, order: impl Fn() -> Order) -> usize {
        self.live()
            .values()
            .filter(|session| session.send(order()).is_ok())
            .count()
    }

    fn live(&self) -> MutexGuard<'_, HashMap<usize, mpsc::UnboundedSender<Order>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has every session whose client has already gone end first: its end may have arrived before a
    /// newcomer did, and only wait for its task to be run.
    async fn glance(&self) {
        let mut glances = Vec::new();
        for session in self.live().values() {
            let (seen, glance) = oneshot::channel();
            if session.send(Order::Glance(seen)).is_ok() {
                glances.push(glance);
            }
        }
        for glance in glances {
            // Done when the other half is dropped.
            let _ = glance.await;
        }
    }

    /// Begins a session as soon as the policy lets it begin.
    pub(crate) async fn admit(self: &Arc<Self>, arrival: Arrival) -> Result<Admitted, NoUpgrade> {
        self.glance().await;
        loop {
            match self.try_admit(arrival.clone()) {
                Ok(admitted) => return Ok(admitted),
                Err(Occupied::Reject) => {
                    return Err(refuse(StatusCode::SERVICE_UNAVAILABLE, "a session is live"));
                }
                Err(Occupied::EvictFirst) => {
                    self.order(|| Order::Evict);
                    let mut ledger = self.ledger();
                    // The sender lives as long as `self`.
                    let _ = ledger.wait_for(|ledger| ledger.live() == 0).await;
                }
            }
        }
    }

    fn try_admit(self: &Arc<Self>, arrival: Arrival) -> Result<Admitted, Occupied> {
        // Held over both steps, so that an order given to all reaches every session in the ledger.
        let mut live = self.live();
        let mut outcome = Err(Occupied::Reject);
        self.ledger.send_modify(|ledger| {
            outcome = ledger.admit(self.config.second_client, arrival, now())
        });
        let number = outcome?;
        let (orders, received) = mpsc::unbounded_channel();
        live.insert(number, orders);
        Ok((
            Entry {
                number,
                shared: self.clone(),
            },
            received,
        ))
    }

    /// Takes one of [`Fault::FailFirstConnects`], if there is one left.
    pub(crate) fn take_failure(&self) -> bool {
        self.fault.send_if_modified(|fault| match fault {
            Fault::FailFirstConnects(left) if *left > 0 => {
                *left -= 1;
                true
            }
            _ => false,
        })
    }
}

/// A session that has begun, and where its orders arrive.
pub(crate) type Admitted = (Entry, mpsc::UnboundedReceiver<Order>);

/// A live session's place in the ledger. A session whose task is dropped ends as [`How::Stopped`].
#[derive(Debug)]
pub(crate) struct Entry {
    number: usize,
    shared: Arc<Shared>,
}

impl Entry {
    pub(crate) const fn number(&self) -> usize {
        self.number
    }

    pub(crate) fn advance(&self, stage: Stage) {
        self.shared
            .ledger
            .send_modify(|ledger| ledger.advance(self.number, stage));
    }

    pub(crate) fn end(&mut self, how: How) {
        // Both steps under one lock and in this order: a newcomer that no longer finds the session to
        // glance at finds it ended.
        let mut live = self.shared.live();
        let ended = self
            .shared
            .ledger
            .send_if_modified(|ledger| ledger.end(self.number, now(), how.clone()));
        live.remove(&self.number);
        drop(live);
        if ended {
            info!(session = self.number, ?how, "session ended");
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        self.end(How::Stopped);
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}
