//! What the task does with the effects of placement, and whom it answers when.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use tracing::{info, warn};

use super::{Task, answer_to};
use crate::clock;
use crate::controller::outbox::Word;
use crate::controller::{NotPlaced, NotStored, Placed, Reply};
use crate::placement::{
    Change, Effect, EndCause, Fence, Grant, InstanceName, Origin, Outcome, Refusal, ReportedEnd,
    SessionId, Sync, Time,
};
use crate::sessions::reason;
use crate::store::Stamp;

impl Task {
    /// Does what placement wants done, as far as it is durable.
    pub(super) fn carry_out(&mut self, now: Time) {
        loop {
            self.take_effects(now);
            self.outbox.hand_in(now);
            if !self.deliver(now) {
                return;
            }
        }
    }

    fn take_effects(&mut self, now: Time) {
        let stamp = Stamp {
            now,
            unix: clock::unix_millis(),
        };
        let placement = &mut self.parts.placement;
        if !self.parts.durability.complete && !placement.is_learning() {
            self.parts.durability.complete = true;
            info!("what is live has been learnt; from now on instances are granted");
            self.outbox.batch().learnt();
        }
        let seen = placement.revocations_seen();
        self.events.revocations_seen.store(seen, Ordering::Relaxed);
        while let Some(effect) = placement.poll_effect() {
            match effect {
                Effect::Answer {
                    request,
                    session,
                    outcome,
                } => self.outbox.say(Word::Answer {
                    request,
                    session,
                    outcome,
                }),
                Effect::Changed {
                    instance,
                    session,
                    fence,
                    change,
                } => log(&instance, &session, fence, change),
                Effect::Commit(instance) => {
                    let lease = placement.lease_record(&instance);
                    self.outbox.batch().lease(stamp, instance, lease);
                }
                Effect::CommitRevocation(id) => {
                    let revocation = placement.revocation(id).cloned();
                    self.outbox.batch().revocation(stamp, id, revocation);
                }
                Effect::Over(past) => self.outbox.batch().past(stamp, *past),
                // No instance has an agent yet.
                Effect::Agent { .. } => {}
            }
        }
    }

    /// Says what may be said. True if placement has been told something meanwhile.
    fn deliver(&mut self, now: Time) -> bool {
        let mut given_back = false;
        while let Some((word, durable)) = self.outbox.next(now) {
            match word {
                Word::Answer {
                    request,
                    session,
                    outcome,
                } => {
                    let answer = match outcome {
                        Outcome::Granted(grant) if durable => {
                            self.place(now, grant).map_err(Into::into)
                        }
                        Outcome::Granted(grant) => {
                            self.give_back(now, &session, grant);
                            given_back = true;
                            Err(NotPlaced::NotStored)
                        }
                        Outcome::Refused(refusal) => Err(refusal.into()),
                    };
                    let asked = self.replies.remove(&request);
                    self.answer(&session, asked, answer);
                }
                Word::Ordered(reply, done) => {
                    let stored = if durable {
                        Ok(())
                    } else {
                        Err(NotStored.into())
                    };
                    answer_to(reply, done.and(stored));
                }
                // A VM's word can be taken without a store: what is lost of it with this process,
                // its next Sync tells the next one.
                Word::Synced(reply, close) => answer_to(reply, close),
                Word::Revoked(reply, done) => {
                    let stored = if durable {
                        Ok(())
                    } else {
                        Err(NotStored.into())
                    };
                    answer_to(reply, done.and_then(|done| stored.map(|()| done)));
                }
                Word::Lifted(reply, known) | Word::Terminated(reply, known) => {
                    let stored = durable || !known;
                    answer_to(reply, stored.then_some(known).ok_or(NotStored));
                }
            }
        }
        given_back
    }

    /// A grant of which nobody has been told, and nobody will be.
    fn give_back(&mut self, now: Time, session: &SessionId, grant: Grant) {
        let placement = &mut self.parts.placement;
        let Some(lease) = placement.lease_record(&grant.instance) else {
            return;
        };
        // As its VM says it when the client goes before the 101.
        placement.sync(
            now,
            Sync {
                origin: Origin {
                    node: lease.node,
                    vm: lease.vm,
                    sequence: lease.sequence,
                },
                sessions: None,
                ended: vec![ReportedEnd {
                    session: session.clone(),
                    fence: Some(grant.fence),
                    cause: EndCause::NotEstablished,
                }],
            },
        );
    }

    pub(super) fn answer(
        &mut self,
        session: &SessionId,
        asked: Option<(Time, Reply<Result<Placed, NotPlaced>>)>,
        answer: Result<Placed, NotPlaced>,
    ) {
        if let Err(refusal) = &answer {
            let (reason, _) = reason(*refusal);
            info!(%session, reason = reason.label(), "refused");
            self.metrics.refused_session(reason);
        }
        if let Some((since, reply)) = asked {
            let outcome = if answer.is_ok() { "granted" } else { "refused" };
            let held = self.now().since(since);
            self.metrics.answered(outcome, held);
            answer_to(reply, answer);
        }
    }

    fn place(&self, now: Time, grant: Grant) -> Result<Placed, Refusal> {
        // Placement knows the fleet's instances only, all of which have been published.
        let place = self.parts.generator.place_of(grant.instance.as_str());
        let (cluster, endpoint) = place.ok_or(Refusal::Cancelled)?;
        let cluster = Arc::clone(cluster);
        Ok(Placed {
            age_left: self.parts.placement.age_left(now, &grant),
            grant,
            cluster,
            endpoint,
        })
    }
}

fn log(instance: &InstanceName, session: &SessionId, fence: Fence, change: Change) {
    match change {
        Change::Activated => info!(%session, %instance, %fence, "established"),
        Change::Adopted => info!(%session, %instance, %fence, "learnt of a live session"),
        Change::Ended { cause, resumable } => {
            info!(%session, %instance, %fence, ?cause, resumable, "ended");
        }
        Change::Freed => info!(%session, %instance, %fence, "instance is free"),
        Change::Orphaned => warn!(%session, %instance, %fence, "its proxy is silent"),
        Change::Reclaimed => info!(%session, %instance, %fence, "its proxy is back"),
        Change::ReleasedOrphan => {
            warn!(%session, %instance, %fence, "given up: its proxy was silent for too long");
        }
        Change::Reserved => info!(%session, %instance, %fence, "instance leased"),
    }
}
