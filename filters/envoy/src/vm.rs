//! What one VM knows of its sessions, and what it has to say of them. Pure: time and answers are handed in, what is to be
//! done comes out.
//!
//! A VM is what an Envoy worker has. After a configuration update it has two root contexts for as long as the old one has
//! streams; they share this state, so that a Sync states the whole truth of the VM.

mod cadence;
mod ended;
mod sorted;
mod stream;

use std::net::IpAddr;
use std::time::Duration;

use berth_admission::{Reason, admitted_body};

pub(crate) use cadence::Cadence;

use crate::session::{
    Answer, Cause, Close, Closed, ContextId, Ended, Grant, Lease, Now, Opening, Placement, Purpose,
    Refusal, Session, SessionId, Token, Uptime, WhenAway,
};
use ended::EndedLog;
use sorted::Sorted;
use stream::{Over, Phase, Stream};

/// Who speaks: one incarnation of one VM of one proxy.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Identity {
    /// The proxy's node id.
    pub(crate) node: String,
    /// 128 random bits in lower-case hexadecimal; empty until the VM has been configured.
    pub(crate) id: String,
}

/// What is to be done to a stream.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    /// Let the request go on, to this instance.
    Place(ContextId, Placement),
    /// Answer a [`Purpose::Check`] with 200 and this body.
    Admitted(ContextId, String),
    /// Answer the request with a refusal.
    Refuse(ContextId, Refusal),
    /// End the session.
    Reset(ContextId, Closed),
}

/// An Acquire to send.
#[derive(Debug)]
pub(crate) struct Acquire<'a> {
    pub(crate) vm: &'a Identity,
    pub(crate) sequence: u64,
    pub(crate) session: &'a Session,
    pub(crate) check_only: bool,
    /// When to give up waiting for the answer.
    pub(crate) timeout: Duration,
}

/// A Sync to send.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) vm: &'a Identity,
    pub(crate) sequence: u64,
    /// `None`: a hint, which speaks only of what ended.
    pub(crate) sessions: Option<Vec<Standing<'a>>>,
    pub(crate) ended: Vec<&'a Ended>,
}

/// One session as a Sync tells it.
#[derive(Debug)]
pub(crate) struct Standing<'a> {
    pub(crate) session: &'a Session,
    pub(crate) lease: Option<&'a Lease>,
    pub(crate) established: bool,
}

/// What a gRPC call was for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Call {
    /// An Acquire for this stream.
    Acquire(ContextId),
    /// A full Sync.
    Sync(Told),
}

/// What a full Sync told.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Told {
    /// Every end with a lower number was in it, or in one before it.
    ended_below: u64,
    /// It listed a session.
    sessions: bool,
}

/// What is due at a tick.
#[derive(Debug, Default)]
pub(crate) struct Due {
    /// Requests that have waited long enough, and sessions whose time is up.
    pub(crate) acts: Vec<Act>,
    /// Streams whose Acquire is to be sent again.
    pub(crate) acquires: Vec<ContextId>,
    pub(crate) sync: bool,
}

/// The sessions of one VM.
#[derive(Debug, Default)]
pub(crate) struct Vm {
    identity: Identity,
    /// The number of the last message, of whatever kind.
    sequence: u64,
    streams: Sorted<ContextId, Box<Stream>>,
    /// The streams that are sessions (and not only checks), by their ids.
    contexts: Sorted<SessionId, ContextId>,
    calls: Sorted<Token, Call>,
    ended: EndedLog,
    last_sync: Option<LastSync>,
    /// The last full Sync that was answered listed a session.
    server_lists_sessions: bool,
    revocations: u64,
}

#[derive(Debug)]
struct LastSync {
    sent_at: Uptime,
    /// While it is unanswered: its call, and when its time is up.
    pending: Option<(Token, Uptime)>,
}

impl Vm {
    pub(crate) const fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Gives the VM its name. Its messages are numbered from here.
    pub(crate) fn identify(&mut self, identity: Identity) {
        self.identity = identity;
    }

    /// A request to place; its Acquire is to be sent.
    pub(crate) fn open(&mut self, context: ContextId, opening: Opening, now: Uptime) {
        let stream = Stream {
            opening,
            opened_at: now,
            asked_at: now,
            call: None,
            phase: Phase::Pending,
        };
        if !stream.is_check() {
            let session = stream.opening.session.id.clone();
            self.contexts.insert(session, context);
        }
        self.streams.insert(context, Box::new(stream));
    }

    /// The stream's Acquire, if it is to be sent; it is under a new number each time.
    pub(crate) fn acquire(&mut self, context: ContextId, now: Uptime) -> Option<Acquire<'_>> {
        let stream = self.streams.get_mut(&context)?;
        if !stream.is_waiting() {
            return None;
        }
        stream.asked_at = now;
        self.sequence += 1;
        Some(Acquire {
            vm: &self.identity,
            sequence: self.sequence,
            session: &stream.opening.session,
            check_only: stream.is_check(),
            timeout: stream.held_until().saturating_sub(now) + ANSWER_MARGIN,
        })
    }

    /// The stream's Acquire was sent.
    pub(crate) fn acquire_sent(&mut self, context: ContextId, token: Token) {
        if let Some(stream) = self.streams.get_mut(&context) {
            stream.call = Some(token);
            self.calls.insert(token, Call::Acquire(context));
        }
    }

    /// How many revocations the control plane counts, by its last answer.
    pub(crate) const fn revocations(&self) -> u64 {
        self.revocations
    }

    /// The control plane counts so many revocations. One that is older or another's may count fewer: what matters is that
    /// it is another number.
    pub(crate) fn count_revocations(&mut self, revocations: u64) {
        self.revocations = revocations;
    }

    /// What the answered call was for. `None`: nobody waits for it any more.
    pub(crate) fn take_call(&mut self, token: Token) -> Option<Call> {
        let call = self.calls.remove(&token)?;
        if let Call::Acquire(context) = call
            && let Some(stream) = self.streams.get_mut(&context)
        {
            stream.call = None;
        }
        Some(call)
    }

    /// The stream's Acquire came out like this.
    pub(crate) fn answered(
        &mut self,
        context: ContextId,
        answer: Answer,
        now: Uptime,
    ) -> Option<Act> {
        let stream = self.streams.get_mut(&context)?;
        match (&mut stream.phase, &stream.opening.purpose, answer) {
            (Phase::Pending, Purpose::Check { family }, Answer::Available(found)) => {
                let family = *family;
                stream.opening.session.learn(found);
                let Some(admitted) = stream.opening.session.admitted() else {
                    return Some(self.give_up(context, INTERNAL));
                };
                let body = admitted_body(family, admitted);
                self.forget(context);
                Some(Act::Admitted(context, body))
            }
            (Phase::Pending, Purpose::Upgrade { .. }, Answer::Granted(grant)) => {
                Some(self.granted(context, *grant))
            }
            (
                Phase::Pending,
                _,
                Answer::Refused {
                    reason,
                    retry_after_seconds,
                },
            ) => {
                // The control plane has nothing of it: there will be no end to tell.
                self.forget(context);
                let refusal = Refusal {
                    reason,
                    retry_after_seconds,
                };
                Some(Act::Refuse(context, refusal))
            }
            (Phase::Pending, _, Answer::Away) => {
                let waits = stream.opening.when_away == WhenAway::Wait && now < stream.held_until();
                (!waits).then(|| self.give_up(context, AWAY))
            }
            (Phase::Pending, _, Answer::Available(_) | Answer::Granted(_) | Answer::Unreadable) => {
                Some(self.give_up(context, INTERNAL))
            }
            // A grant for a stream that is ending: its end says which lease it ends.
            (Phase::Closing { lease, .. }, _, Answer::Granted(grant)) => {
                *lease = Some(grant.lease);
                stream.opening.session.learn(grant.admitted);
                None
            }
            (Phase::Placed(_) | Phase::Live { .. } | Phase::Closing { .. }, _, _) => None,
        }
    }

    fn granted(&mut self, context: ContextId, grant: Grant) -> Act {
        if let Some(stream) = self.streams.get_mut(&context) {
            stream.phase = Phase::Placed(grant.lease);
            if stream.opening.session.learn(grant.admitted) {
                return Act::Place(context, grant.placement);
            }
        }
        // Granted to nobody knows whom: nothing may be opened for that.
        self.give_up(context, INTERNAL)
    }

    /// Whose the stream is, if the control plane is to find out who they are.
    pub(crate) fn unverified(&self, context: ContextId) -> Option<Option<IpAddr>> {
        let session = &self.streams.get(&context)?.opening.session;
        session.admitted().is_none().then_some(session.client)
    }

    /// Refuses a request of which the control plane may know; its end will be told.
    fn give_up(&mut self, context: ContextId, refusal: Refusal) -> Act {
        if let Some(stream) = self.streams.get_mut(&context) {
            stream.phase.closing(Cause::NotEstablished);
        }
        Act::Refuse(context, refusal)
    }

    /// What the request wants, while it is on its way to the instance.
    pub(crate) fn placed(&self, context: ContextId) -> Option<&Purpose> {
        let stream = self.streams.get(&context)?;
        matches!(stream.phase, Phase::Placed(_)).then_some(&stream.opening.purpose)
    }

    /// The 101 was seen.
    pub(crate) fn established(&mut self, context: ContextId, now: Uptime) {
        if let Some(stream) = self.streams.get_mut(&context)
            && let Phase::Placed(lease) = &stream.phase
        {
            stream.phase = Phase::Live {
                lease: lease.clone(),
                since: now,
            };
        }
    }

    /// The instance answered with something else than a 101.
    pub(crate) fn instance_lost(&mut self, context: ContextId) -> Option<Act> {
        self.placed(context)?;
        Some(self.give_up(context, LOST))
    }

    /// Whether the stream asks for a session or is one.
    pub(crate) fn knows(&self, context: ContextId) -> bool {
        self.streams.get(&context).is_some()
    }

    /// The stream is over. Whoever ended it is `cause`, for a session that was live and was not ended by us.
    /// The answer is the hint to send.
    pub(crate) fn end(&mut self, context: ContextId, cause: Cause) -> Option<Report<'_>> {
        let stream = self.streams.get(&context)?;
        if stream.is_check() {
            self.forget(context);
            return None;
        }
        let ended = Ended {
            session: stream.opening.session.id.clone(),
            fence: stream.phase.lease().map(|lease| lease.fence),
            cause: match stream.phase {
                Phase::Pending | Phase::Placed(_) => Cause::NotEstablished,
                Phase::Live { .. } => cause,
                Phase::Closing { cause, .. } => cause,
            },
        };
        self.forget(context);
        self.sequence += 1;
        Some(Report {
            vm: &self.identity,
            sequence: self.sequence,
            sessions: None,
            ended: vec![self.ended.push(ended)],
        })
    }

    fn forget(&mut self, context: ContextId) {
        let Some(stream) = self.streams.remove(&context) else {
            return;
        };
        self.contexts.remove(&stream.opening.session.id);
        if let Some(token) = stream.call {
            self.calls.remove(&token);
        }
    }

    /// A root has ticked, as often as this cadence has it tick.
    pub(crate) fn tick(&mut self, now: Now, cadence: Cadence) -> Due {
        let mut over = Vec::new();
        let mut acquires = Vec::new();
        for (context, stream) in self.streams.iter() {
            if let Some(why) = stream.over(now) {
                over.push((*context, why));
            } else if stream.is_waiting() && now.uptime >= stream.asked_at + cadence.until_acquire()
            {
                acquires.push(*context);
            }
        }
        let acts = over.into_iter().map(|(context, why)| match why {
            Over::Request(refusal) => self.give_up(context, refusal),
            Over::Session(why) => self.reset(context, why),
        });
        Due {
            acts: acts.collect(),
            acquires,
            sync: self.sync_is_due(now.uptime, cadence),
        }
    }

    fn reset(&mut self, context: ContextId, why: Closed) -> Act {
        if let Some(stream) = self.streams.get_mut(&context) {
            stream.phase.closing(Cause::Closed(why));
        }
        Act::Reset(context, why)
    }

    fn sync_is_due(&self, now: Uptime, cadence: Cadence) -> bool {
        let early = self.last_sync.as_ref().is_some_and(|last| {
            now < last.sent_at + cadence.until_sync()
                || last.pending.is_some_and(|(_, until)| now < until)
        });
        let news =
            !self.contexts.is_empty() || self.server_lists_sessions || !self.ended.is_empty();
        news && !early
    }

    /// The Sync that states everything, and what is to be kept of it until it is answered.
    pub(crate) fn sync(&mut self) -> (Report<'_>, Told) {
        self.sequence += 1;
        let (ended, ended_below) = self.ended.oldest();
        let report = Report {
            vm: &self.identity,
            sequence: self.sequence,
            sessions: Some(self.standing()),
            ended,
        };
        let told = Told {
            ended_below,
            sessions: !self.contexts.is_empty(),
        };
        (report, told)
    }

    fn standing(&self) -> Vec<Standing<'_>> {
        self.streams
            .iter()
            .filter(|(_, stream)| !stream.is_check())
            .map(|(_, stream)| Standing {
                session: &stream.opening.session,
                lease: stream.phase.lease(),
                established: stream.phase.established(),
            })
            .collect()
    }

    /// A full Sync was sent, if there is a token. Its call is given up after `timeout`: a root that is deleted takes the
    /// answer with it, and the next Sync must not wait for that for ever.
    pub(crate) fn sync_sent(
        &mut self,
        token: Option<Token>,
        told: Told,
        timeout: Duration,
        now: Uptime,
    ) {
        let pending = token.map(|token| {
            self.calls.insert(token, Call::Sync(told));
            (token, now + timeout)
        });
        let last = self.last_sync.replace(LastSync {
            sent_at: now,
            pending,
        });
        if let Some((given_up, _)) = last.and_then(|last| last.pending) {
            self.calls.remove(&given_up);
        }
    }

    /// A full Sync came out; with these orders, if it was answered at all.
    pub(crate) fn synced(&mut self, told: Told, closes: Option<Vec<Close>>) -> Vec<Act> {
        if let Some(last) = &mut self.last_sync {
            last.pending = None;
        }
        let Some(closes) = closes else {
            return Vec::new();
        };
        self.ended.told(told.ended_below);
        self.server_lists_sessions = told.sessions;
        closes
            .into_iter()
            .filter_map(|close| self.close(&close))
            .collect()
    }

    fn close(&mut self, close: &Close) -> Option<Act> {
        let context = *self.contexts.get(&close.session)?;
        let stream = self.streams.get_mut(&context)?;
        let act = match stream.phase {
            Phase::Pending | Phase::Placed(_) => {
                let reason = Reason::from_label(&close.reason).unwrap_or(Reason::NoInstance);
                let refusal = Refusal {
                    reason,
                    retry_after_seconds: None,
                };
                Act::Refuse(context, refusal)
            }
            Phase::Live { .. } => Act::Reset(context, Closed::Berth),
            Phase::Closing { .. } => return None,
        };
        stream.phase.closing(Cause::Closed(Closed::Berth));
        Some(act)
    }
}

/// Over the time the control plane may hold an Acquire: its own work and the way there and back.
const ANSWER_MARGIN: Duration = Duration::from_secs(1);

/// After how many seconds a client is told to come back, where nobody knows better.
const RETRY_AFTER_SECONDS: u32 = 1;

const AWAY: Refusal = Refusal {
    reason: Reason::ControlPlaneAway,
    retry_after_seconds: Some(RETRY_AFTER_SECONDS),
};

const LOST: Refusal = Refusal {
    reason: Reason::InstanceLost,
    retry_after_seconds: Some(RETRY_AFTER_SECONDS),
};

const INTERNAL: Refusal = Refusal {
    reason: Reason::Internal,
    retry_after_seconds: None,
};

#[cfg(test)]
mod tests;
