//! The cases against admission itself: natively by `cargo test`, in Node by wasm-bindgen-test.

#![cfg(test)]

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use berth_admission::{
    Algorithm, Certificate, Decision, KeyMaterial, Memory, NativeVerifier, Policy, Request,
    UnixSeconds, Verdict, VerifyError, VerifySignature, admit,
};
use berth_admission_cases::{Answer, Case, Keys, Setting, Signature, cases};
#[cfg(target_family = "wasm")]
use wasm_bindgen_test::wasm_bindgen_test as test;

#[test]
fn each_is_answered_as_it_should_be() {
    let it = Admission::new();
    let mut wrong = Vec::new();
    for case in &it.cases {
        for (how, request) in case.requests() {
            if let Err(why) = it.try_one(case, &request) {
                wrong.push(format!("{}: {}, {how}: {why}", case.class, case.name));
            }
        }
    }
    assert!(
        wrong.is_empty(),
        "{} wrong:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}

#[test]
fn each_has_a_name_of_its_own_and_a_reason_that_there_is() {
    let it = Admission::new();
    let mut names = BTreeSet::new();
    for case in &it.cases {
        assert!(names.insert((case.class, &case.name)), "{case:?}");
        if let Answer::Refused { reason, .. } = case.answer {
            let known = berth_admission::Reason::from_label(reason);
            assert!(known.is_some(), "{reason}");
        }
    }
    // Most have to come through a real proxy too, or nothing is known of those.
    let http = it.cases.iter().filter(|case| case.survives_http()).count();
    assert!(
        4 * http > 3 * it.cases.len(),
        "{http} of {}",
        it.cases.len()
    );
    let admitted = it
        .cases
        .iter()
        .filter(|case| case.answer == Answer::Admitted)
        .count();
    assert!(admitted > 30, "{admitted}");
}

struct Admission {
    cases: Vec<Case>,
    policies: BTreeMap<String, Policy>,
}

impl Admission {
    fn new() -> Self {
        let keys = Arc::new(Keys::of_rfc_7515().unwrap());
        let policy = |setting: Setting| {
            let config = serde_json::from_value(setting.policy(&keys)).unwrap();
            (format!("{setting:?}"), Policy::compile(config).unwrap())
        };
        let now = i64::try_from(NOW.0).unwrap();
        Self {
            cases: cases(&keys, now).unwrap(),
            policies: Setting::ALL.into_iter().map(policy).collect(),
        }
    }

    fn try_one(&self, case: &Case, sent: &berth_admission_cases::Request) -> Result<(), String> {
        let policy = &self.policies[&format!("{:?}", case.setting)];
        let upgrade = ("upgrade".to_owned(), b"websocket".to_vec());
        let headers: Vec<_> = sent.headers.iter().cloned().chain([upgrade]).collect();
        let request = Request {
            method: &sent.method,
            path: &sent.path,
            headers: &headers,
            client: None,
            certificate: Certificate::default(),
        };
        let counted = Counted::default();
        let mut memory = Memory::new(policy, 0);
        let verdict = admit(policy, &mut memory, &request, NOW, &counted);
        let seen = counted.0.get() > 0;
        let (found, expected) = (label(&verdict), case.answer);
        match expected {
            Answer::Admitted if found == "admitted" && seen => {}
            Answer::Refused { reason, signature } if found == reason => {
                if seen != (signature == Signature::Seen) {
                    return Err(format!("{found}, as it should be, but signatures: {seen}"));
                }
            }
            _ => return Err(format!("{found}, not {expected:?}")),
        }
        leaves_nothing(case, &request, &verdict)
    }
}

/// `admitted`, or the reason, by whoever knows all keys: so do we.
fn label(verdict: &Verdict) -> &'static str {
    match &verdict.decision {
        Decision::Admit(..) => "admitted",
        Decision::Refuse(reason) => reason.label(),
        Decision::Undecided(_, undecided) => undecided.reason.label(),
        Decision::Preflight => "preflight",
    }
}

/// Neither what is printed nor what is left of the request holds what was secret.
fn leaves_nothing(case: &Case, request: &Request<'_>, verdict: &Verdict) -> Result<(), String> {
    let mut path = request.path.to_vec();
    let mut headers = request.headers.to_vec();
    for (name, value) in verdict.edits.iter() {
        headers.retain(|(other, _)| other != name);
        match value {
            Some(value) if name == ":path" => path = value.to_vec(),
            Some(value) => headers.push((name.to_owned(), value.to_vec())),
            None => {}
        }
    }
    if let Decision::Admit(_, admission) = &verdict.decision {
        let pairs = admission.tags.iter().chain(&admission.headers);
        for (name, value) in pairs {
            if value.len() > 256 || !value.bytes().all(|byte| (b'!'..=b'~').contains(&byte)) {
                return Err(format!("the tag {name} is {value:?}"));
            }
        }
    }
    let values = headers.into_iter().map(|(_, value)| value);
    let said = [format!("{verdict:?} {request:?}").into_bytes(), path];
    let all: Vec<Vec<u8>> = said.into_iter().chain(values).collect();
    for secret in case.secrets() {
        let holds = |text: &[u8]| text.windows(secret.len()).any(|window| window == secret);
        if all.iter().any(|text| holds(text)) {
            return Err("a part of the credential is left".to_owned());
        }
    }
    Ok(())
}

/// Computes, and counts how often.
#[derive(Default)]
struct Counted(Cell<usize>);

impl VerifySignature for Counted {
    fn verify(
        &self,
        algorithm: Algorithm,
        key: &KeyMaterial,
        message: &[u8],
        signature: &[u8],
    ) -> Result<bool, VerifyError> {
        self.0.set(self.0.get() + 1);
        NativeVerifier.verify(algorithm, key, message, signature)
    }
}

const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
