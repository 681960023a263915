//! Messages under way, links that are cut, and weather.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::vm::{CallNo, Reply};
use crate::placement::{
    Acquire, AgentOrder, AgentReport, EndCause, Fence, Revision, SessionId, Sync, Time,
};
use crate::random::Random;

/// One incarnation of a worker's VM, in one incarnation of its proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) proxy: usize,
    pub(crate) process: u64,
    pub(crate) worker: usize,
    pub(crate) incarnation: u64,
}

impl Place {
    pub(crate) fn process_key(self) -> (usize, u64) {
        (self.proxy, self.process)
    }
}

/// Who may be cut off from whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Link {
    ProxyPlane(usize),
    ProxyInstance(usize, usize),
    AgentPlane(usize),
}

#[derive(Clone, Debug)]
pub(crate) enum Event {
    Step(usize),
    Proxy(usize, u64, ProxyEvent),
    ProxyResumes(usize),
    ProxyStarts(usize),
    Plane(PlaneEvent),
    PlaneResumes,
    PlaneStarts,
    Instance(usize, InstanceEvent),
    Agent(usize, u64, AgentEvent),
    AgentStarts(usize),
}

/// What happens to a proxy that runs.
#[derive(Clone, Debug)]
pub(crate) enum ProxyEvent {
    Tick(Place),
    Answered(Place, CallNo, Option<Reply>),
    TimedOut(Place, CallNo),
    /// The stream is over, on this side.
    StreamEnds(Place, SessionId, EndCause),
    Upgraded(Place, SessionId),
    Rejected(Place, SessionId),
    UpstreamClosed(Place, SessionId),
    /// It tells what it reaches.
    TellReach,
}

#[derive(Clone, Debug)]
pub(crate) enum PlaneEvent {
    Acquire(Place, CallNo, Acquire),
    Sync(Place, Option<CallNo>, Sync),
    /// The caller no longer listens.
    Broken(Place, Option<CallNo>),
    AgentReport(usize, AgentReport),
    Probe(usize),
    Reach(usize),
    FlushStarts(u64),
    FlushEnds(u64),
}

#[derive(Clone, Debug)]
pub(crate) enum InstanceEvent {
    Connect(Connect),
    /// The proxy has closed the stream.
    Fin(SessionId),
    /// Nothing has been heard on the stream for too long.
    Expire(SessionId),
    RuntimeFree(u64),
    Starts,
}

#[derive(Clone, Debug)]
pub(crate) struct Connect {
    pub(crate) place: Place,
    pub(crate) session: SessionId,
    pub(crate) fence: Fence,
    pub(crate) client_address: Arc<str>,
}

#[derive(Clone, Debug)]
pub(crate) enum AgentEvent {
    Tick,
    Order(AgentOrder),
    Done(Revision),
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    queue: BTreeMap<(Time, u64), Event>,
    counter: u64,
    cuts: BTreeMap<Link, Time>,
    bad_until: Time,
    loss: u64,
}

impl Network {
    pub(crate) fn schedule(&mut self, at: Time, event: Event) {
        self.counter += 1;
        self.queue.insert((at, self.counter), event);
    }

    pub(crate) fn next_at(&self) -> Option<Time> {
        self.queue.keys().next().map(|(at, _)| *at)
    }

    pub(crate) fn pop(&mut self) -> Option<Event> {
        self.queue.pop_first().map(|(_, event)| event)
    }

    pub(crate) fn cut(&mut self, link: Link, until: Time) {
        let known = self.cuts.entry(link).or_default();
        *known = until.max(*known);
    }

    /// Until when the link is cut; `None`: it is not.
    pub(crate) fn cut_until(&self, link: Link, now: Time) -> Option<Time> {
        self.cuts.get(&link).copied().filter(|until| now < *until)
    }

    pub(crate) fn turn_bad(&mut self, until: Time, loss: u64) {
        self.bad_until = until;
        self.loss = loss;
    }

    pub(crate) fn heal(&mut self) {
        self.cuts.clear();
        self.bad_until = Time::default();
    }

    /// How long a message that is sent now takes; `None`: it is lost.
    pub(crate) fn delay(&self, link: Link, random: &mut Random, now: Time) -> Option<Duration> {
        let bad = now < self.bad_until;
        if self.cut_until(link, now).is_some() || bad && random.percent(self.loss) {
            return None;
        }
        let slow = if bad { 40 } else { 8 };
        let delay = if random.percent(slow) {
            random.millis(0..LONGEST_DELAY)
        } else {
            random.millis(0..30)
        };
        Some(delay)
    }
}

/// In milliseconds.
const LONGEST_DELAY: u64 = 1_400;
