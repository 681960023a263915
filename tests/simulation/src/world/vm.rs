//! A filter VM, true to what the filter does: what it asks, when it asks again, what it states and what it lets go of.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::placement::{
    Acquire, Close, EndCause, Grant, Labels, NodeId, Origin, Outcome, Owner, PoolName, Priority,
    Refusal, ReportedEnd, ReportedLease, ReportedSession, SessionId, Sync, Time, VmId,
};

/// A call of the VM.
pub(crate) type CallNo = u64;

/// What a request wants.
#[derive(Clone, Debug)]
pub(crate) struct Wish {
    pub(crate) session: SessionId,
    pub(crate) pool: PoolName,
    pub(crate) owner: Owner,
    pub(crate) client_address: Arc<str>,
    pub(crate) priority: Priority,
    pub(crate) labels: Labels,
    pub(crate) token_id: Option<Arc<str>>,
    /// How long its token holds after the 101, if its end is one of the session as well.
    pub(crate) token_left: Option<Duration>,
    /// How long the control plane may hold it.
    pub(crate) hold: Duration,
    /// It is asked for again while the control plane is away.
    pub(crate) waits: bool,
}

#[derive(Debug)]
pub(crate) struct Vm {
    pub(crate) id: VmId,
    pub(crate) node: NodeId,
    pub(crate) incarnation: u64,
    sequence: u64,
    pub(crate) streams: BTreeMap<SessionId, Stream>,
    calls: BTreeMap<CallNo, Call>,
    ended: VecDeque<ReportedEnd>,
    /// The number of the oldest end.
    first_end: u64,
    last_sync: Option<LastSync>,
    server_lists_sessions: bool,
}

#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) wish: Wish,
    opened_at: Time,
    call: Option<CallNo>,
    /// How old it may still grow, counted from the 101.
    age_left: Option<Duration>,
    /// When it is closed here, and what for.
    ends_at: Option<(Time, EndCause)>,
    pub(crate) phase: Phase,
}

#[derive(Clone, Debug)]
pub(crate) enum Phase {
    Pending,
    Placed(Grant),
    Live(Grant),
    Closing {
        grant: Option<Grant>,
        established: bool,
        cause: EndCause,
    },
}

#[derive(Debug)]
struct LastSync {
    sent_at: Time,
    pending: Option<(CallNo, Time)>,
}

#[derive(Clone, Debug)]
enum Call {
    Acquire(SessionId),
    Sync { ends_below: u64, sessions: bool },
}

/// What is to be done to a stream.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// Connect to the instance.
    Place(SessionId, Grant),
    /// Answer, or reset: its end follows.
    Finish(SessionId),
}

/// What the control plane answered.
#[derive(Clone, Debug)]
pub(crate) enum Reply {
    /// And how old the session may still grow.
    Acquire(Outcome, Option<Duration>),
    Sync(Vec<Close>),
}

/// What is due at a tick.
#[derive(Debug, Default)]
pub(crate) struct Due {
    pub(crate) acts: Vec<Act>,
    pub(crate) acquires: Vec<SessionId>,
    pub(crate) sync: bool,
}

impl Phase {
    pub(crate) fn grant(&self) -> Option<&Grant> {
        match self {
            Self::Pending => None,
            Self::Placed(grant) | Self::Live(grant) => Some(grant),
            Self::Closing { grant, .. } => grant.as_ref(),
        }
    }

    fn established(&self) -> bool {
        match self {
            Self::Pending | Self::Placed(_) => false,
            Self::Live(_) => true,
            Self::Closing { established, .. } => *established,
        }
    }

    fn closing(&mut self, cause: EndCause) {
        *self = Self::Closing {
            grant: self.grant().cloned(),
            established: self.established(),
            cause,
        };
    }
}

impl Stream {
    fn is_waiting(&self) -> bool {
        matches!(self.phase, Phase::Pending) && self.call.is_none()
    }

    fn held_until(&self) -> Time {
        self.opened_at.after(self.wish.hold)
    }

    fn is_overdue(&self, now: Time) -> bool {
        let margin = match self.call {
            Some(_) => ANSWER_MARGIN * 2,
            None => Duration::ZERO,
        };
        matches!(self.phase, Phase::Pending) && now >= self.held_until().after(margin)
    }
}

impl Vm {
    pub(crate) fn new(id: VmId, node: NodeId, incarnation: u64) -> Self {
        Self {
            id,
            node,
            incarnation,
            sequence: 0,
            streams: BTreeMap::new(),
            calls: BTreeMap::new(),
            ended: VecDeque::new(),
            first_end: 0,
            last_sync: None,
            server_lists_sessions: false,
        }
    }

    /// It has nothing left to say.
    pub(crate) fn is_idle(&self) -> bool {
        self.streams.is_empty() && self.ended.is_empty() && !self.server_lists_sessions
    }

    pub(crate) fn open(&mut self, wish: Wish, now: Time) {
        let stream = Stream {
            opened_at: now,
            call: None,
            age_left: None,
            ends_at: None,
            phase: Phase::Pending,
            wish,
        };
        self.streams.insert(stream.wish.session.clone(), stream);
    }

    /// The stream's Acquire and how long its answer is waited for, if it is to be sent.
    pub(crate) fn acquire(
        &mut self,
        session: &SessionId,
        call: CallNo,
        now: Time,
    ) -> Option<(Acquire, Duration)> {
        if !self.streams.get(session)?.is_waiting() {
            return None;
        }
        let origin = self.origin();
        let stream = self.streams.get_mut(session)?;
        stream.call = Some(call);
        self.calls.insert(call, Call::Acquire(session.clone()));
        let wish = stream.wish.clone();
        let timeout = stream.held_until().since(now) + ANSWER_MARGIN;
        let acquire = Acquire {
            origin,
            session: wish.session,
            pool: wish.pool,
            owner: wish.owner,
            client_address: wish.client_address,
            priority: wish.priority,
            labels: wish.labels,
            token_id: wish.token_id,
        };
        Some((acquire, timeout))
    }

    /// A call came out, or nobody answered it.
    pub(crate) fn answered(&mut self, call: CallNo, reply: Option<Reply>, now: Time) -> Vec<Act> {
        match (self.calls.remove(&call), reply) {
            (Some(Call::Acquire(session)), reply) => {
                let outcome = match reply {
                    Some(Reply::Acquire(outcome, age_left)) => {
                        if let Some(stream) = self.streams.get_mut(&session) {
                            stream.age_left = age_left;
                        }
                        Some(outcome)
                    }
                    _ => None,
                };
                self.acquire_answered(&session, outcome, now)
                    .into_iter()
                    .collect()
            }
            (Some(Call::Sync { .. }), None) => {
                self.sync_is_over();
                Vec::new()
            }
            (
                Some(Call::Sync {
                    ends_below,
                    sessions,
                }),
                Some(Reply::Sync(closes)),
            ) => {
                self.sync_is_over();
                while self.first_end < ends_below && self.ended.pop_front().is_some() {
                    self.first_end += 1;
                }
                self.server_lists_sessions = sessions;
                closes
                    .into_iter()
                    .filter_map(|close| self.close(&close))
                    .collect()
            }
            (Some(Call::Sync { .. }), Some(Reply::Acquire(..))) | (None, _) => Vec::new(),
        }
    }

    fn sync_is_over(&mut self) {
        if let Some(last) = &mut self.last_sync {
            last.pending = None;
        }
    }

    fn acquire_answered(
        &mut self,
        session: &SessionId,
        outcome: Option<Outcome>,
        now: Time,
    ) -> Option<Act> {
        let stream = self.streams.get_mut(session)?;
        stream.call = None;
        match (&mut stream.phase, outcome) {
            (Phase::Pending, Some(Outcome::Granted(grant))) => {
                stream.phase = Phase::Placed(grant.clone());
                Some(Act::Place(session.clone(), grant))
            }
            // The control plane has nothing of it: there will be no end to tell.
            (Phase::Pending, Some(Outcome::Refused(_))) => {
                self.forget(session);
                None
            }
            (Phase::Pending, None) => {
                let waits = stream.wish.waits && now < stream.held_until();
                (!waits).then(|| self.give_up(session))
            }
            (Phase::Closing { grant, .. }, Some(Outcome::Granted(granted))) => {
                *grant = Some(granted);
                None
            }
            _ => None,
        }
    }

    fn give_up(&mut self, session: &SessionId) -> Act {
        if let Some(stream) = self.streams.get_mut(session) {
            stream.phase.closing(EndCause::NotEstablished);
        }
        Act::Finish(session.clone())
    }

    /// The 101 was seen.
    pub(crate) fn established(&mut self, session: &SessionId, now: Time) -> bool {
        // Every other filter is too old to know of ages.
        let knows_ages = self.incarnation.is_multiple_of(2);
        if let Some(stream) = self.streams.get_mut(session)
            && let Phase::Placed(grant) = &stream.phase
        {
            stream.phase = Phase::Live(grant.clone());
            let age = stream.age_left.filter(|_| knows_ages);
            let age = age.map(|left| (now.after(left), EndCause::MaxAge));
            let token = stream.wish.token_left;
            let token = token.map(|left| (now.after(left), EndCause::TokenExpired));
            stream.ends_at = age.into_iter().chain(token).min();
            return true;
        }
        false
    }

    /// The instance did not upgrade.
    pub(crate) fn not_upgraded(&mut self, session: &SessionId) -> Option<Act> {
        let placed = matches!(self.streams.get(session)?.phase, Phase::Placed(_));
        placed.then(|| self.give_up(session))
    }

    /// The stream is over. The answer is the hint to send, and what it was granted.
    pub(crate) fn end(
        &mut self,
        session: &SessionId,
        cause: EndCause,
    ) -> Option<(Sync, Option<Grant>)> {
        let stream = self.streams.get(session)?;
        let cause = match stream.phase {
            Phase::Pending | Phase::Placed(_) => EndCause::NotEstablished,
            Phase::Live(_) => cause,
            Phase::Closing { cause, .. } => cause,
        };
        let grant = stream.phase.grant().cloned();
        let end = ReportedEnd {
            session: session.clone(),
            fence: grant.as_ref().map(|grant| grant.fence),
            cause,
        };
        self.forget(session);
        if self.ended.len() >= KEPT && self.ended.pop_front().is_some() {
            self.first_end += 1;
        }
        self.ended.push_back(end.clone());
        let hint = Sync {
            origin: self.origin(),
            sessions: None,
            ended: vec![end],
        };
        Some((hint, grant))
    }

    fn forget(&mut self, session: &SessionId) {
        let stream = self.streams.remove(session);
        if let Some(call) = stream.and_then(|stream| stream.call) {
            self.calls.remove(&call);
        }
    }

    pub(crate) fn tick(&mut self, now: Time) -> Due {
        let mut due = Due::default();
        let mut overdue = Vec::new();
        for (session, stream) in &mut self.streams {
            if let (Phase::Live(_), Some((at, cause))) = (&stream.phase, stream.ends_at)
                && at <= now
            {
                stream.phase.closing(cause);
                due.acts.push(Act::Finish(session.clone()));
            } else if stream.is_overdue(now) {
                overdue.push(session.clone());
            } else if stream.is_waiting() {
                due.acquires.push(session.clone());
            }
        }
        let given_up = overdue.iter().map(|session| self.give_up(session));
        due.acts.extend(given_up.collect::<Vec<_>>());
        due.sync = self.sync_is_due(now);
        due
    }

    fn sync_is_due(&self, now: Time) -> bool {
        let early = self.last_sync.as_ref().is_some_and(|last| {
            now < last.sent_at.after(TICK * 3 / 4)
                || last.pending.is_some_and(|(_, until)| now < until)
        });
        !self.is_idle() && !early
    }

    /// The Sync that states everything.
    pub(crate) fn sync(&mut self, call: CallNo, now: Time) -> Sync {
        let sync = Sync {
            origin: self.origin(),
            sessions: Some(self.standing()),
            ended: self.ended.iter().cloned().collect(),
        };
        let told = Call::Sync {
            ends_below: self.first_end + self.ended.len() as u64,
            sessions: !self.streams.is_empty(),
        };
        self.calls.insert(call, told);
        let last = self.last_sync.replace(LastSync {
            sent_at: now,
            pending: Some((call, now.after(TICK))),
        });
        if let Some((given_up, _)) = last.and_then(|last| last.pending) {
            self.calls.remove(&given_up);
        }
        sync
    }

    fn standing(&self) -> Vec<ReportedSession> {
        let reported = |stream: &Stream| {
            let wish = &stream.wish;
            let lease = stream.phase.grant().map(|grant| ReportedLease {
                grant: grant.clone(),
                pool: wish.pool.clone(),
                owner: wish.owner.clone(),
                client_address: Arc::clone(&wish.client_address),
                token_id: wish.token_id.clone(),
                established: stream.phase.established(),
            });
            ReportedSession {
                session: wish.session.clone(),
                lease,
            }
        };
        self.streams.values().map(reported).collect()
    }

    fn close(&mut self, close: &Close) -> Option<Act> {
        let stream = self.streams.get_mut(&close.session)?;
        if matches!(stream.phase, Phase::Closing { .. }) {
            return None;
        }
        stream.phase.closing(EndCause::Berth);
        Some(Act::Finish(close.session.clone()))
    }

    fn origin(&mut self) -> Origin {
        self.sequence += 1;
        Origin {
            node: self.node.clone(),
            vm: self.id.clone(),
            sequence: self.sequence,
        }
    }
}

/// A refusal in the report.
pub(crate) fn label(refusal: &Refusal) -> &'static str {
    match refusal {
        Refusal::Cancelled => "refused: cancelled",
        Refusal::IdInUse => "refused: id in use",
        Refusal::Learning => "refused: learning",
        Refusal::NoInstance { .. } => "refused: no instance",
        Refusal::NoSuchPool => "refused: no such pool",
        Refusal::QueueFull { .. } => "refused: queue full",
        Refusal::Revoked => "refused: revoked",
        Refusal::SessionExists => "refused: session exists",
        Refusal::Superseded => "refused: superseded",
        Refusal::Terminated => "refused: terminated",
        Refusal::TooManyOfTenant { .. } => "refused: too many of tenant",
        Refusal::TooManyOfUser { .. } => "refused: too many of user",
    }
}

/// The filter's.
pub(crate) const TICK: Duration = Duration::from_secs(1);

/// Fewer than the filter's, so that some are told by silence only.
const KEPT: usize = 2;

/// The filter's.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);
