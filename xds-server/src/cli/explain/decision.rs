//! The decision, and how it came about.

use std::time::Duration;

use berth_admission::{
    Admission, Algorithm, Decision, Edits, KeyMaterial, Memory, NativeVerifier, Policy, Reason,
    Trace, UnixSeconds, Verdict, VerifyError, VerifySignature, Wish, admit, explain,
};

use super::request::Asked;
use crate::keys::Keys;

/// What becomes of a request.
pub(super) struct Decided {
    /// What was looked at, and what was found.
    pub(super) steps: Vec<(&'static str, String)>,
    pub(super) outcome: Outcome,
    pub(super) edits: Edits,
    /// What a web page's browser is told.
    pub(super) cors: Vec<(&'static str, String)>,
    /// A filter cannot decide it alone.
    pub(super) by_control_plane: bool,
    /// The headers in which the instance gets the session's id.
    pub(super) session_headers: Vec<String>,
}

pub(super) enum Outcome {
    Admitted(Wish, Box<Admission>),
    /// A browser asks whether a page may ask.
    Preflight,
    Refused(Reason),
}

impl Decided {
    pub(super) const fn is_let_in(&self) -> bool {
        matches!(self.outcome, Outcome::Admitted(..) | Outcome::Preflight)
    }
}

/// Decides as a filter and the control plane do together, and has keys fetched as they do.
pub(super) async fn decide(keys: &Keys, asked: &Asked, now: UnixSeconds) -> Decided {
    let by_control_plane = is_left_by_filters(keys, asked, now);
    let mut policy = keys.policy();
    let (mut steps, mut verdict) = look(&policy, asked, now);
    if let Decision::Undecided(_, undecided) = &verdict.decision {
        keys.settled(FETCH).await;
        keys.refetch(&undecided.issuer).await;
        policy = keys.policy();
        (steps, verdict) = look(&policy, asked, now);
    }
    Decided {
        steps: steps.0,
        outcome: match verdict.decision {
            Decision::Admit(wish, admission) => Outcome::Admitted(wish, admission),
            Decision::Undecided(_, undecided) => Outcome::Refused(undecided.reason),
            Decision::Refuse(reason) => Outcome::Refused(reason),
            Decision::Preflight => Outcome::Preflight,
        },
        edits: verdict.edits,
        cors: verdict.cors,
        by_control_plane,
        session_headers: policy.session_headers().to_vec(),
    }
}

fn look(policy: &Policy, asked: &Asked, now: UnixSeconds) -> (Steps, Verdict) {
    let mut steps = Steps::default();
    let mut memory = Memory::new(policy, fastrand::u64(..));
    let request = asked.request();
    let verdict = explain(
        policy,
        &mut memory,
        &request,
        now,
        &NativeVerifier,
        &mut steps,
    );
    (steps, verdict)
}

/// Whether a filter that has the public keys known now would have to ask.
fn is_left_by_filters(keys: &Keys, asked: &Asked, now: UnixSeconds) -> bool {
    let config = keys.watch().borrow().config.for_filters();
    Policy::compile(config).is_ok_and(|policy| {
        let mut memory = Memory::new(&policy, fastrand::u64(..));
        let verdict = admit(&policy, &mut memory, &asked.request(), now, &AsEnvoyDoes);
        matches!(verdict.decision, Decision::Undecided(..))
    })
}

/// Checks what Envoy's `verify_signature` can check.
struct AsEnvoyDoes;

impl VerifySignature for AsEnvoyDoes {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        match algorithm {
            Algorithm::Rs256
            | Algorithm::Rs384
            | Algorithm::Rs512
            | Algorithm::Es256
            | Algorithm::Es384
            | Algorithm::Es512 => NativeVerifier.verify(algorithm, key, message, signature),
            Algorithm::Hs256
            | Algorithm::Hs384
            | Algorithm::Hs512
            | Algorithm::Ps256
            | Algorithm::Ps384
            | Algorithm::Ps512
            | Algorithm::EdDsa => Err(VerifyError::NotHere),
        }
    }
}

#[derive(Default)]
struct Steps(Vec<(&'static str, String)>);

impl Trace for Steps {
    fn step(&mut self, name: &'static str, facts: impl FnOnce() -> String) {
        self.0.push((name, facts()));
    }
}

/// As long as `berth serve` waits for keys at its start.
const FETCH: Duration = Duration::from_secs(5);
