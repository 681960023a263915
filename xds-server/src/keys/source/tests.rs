use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::keys::{Audience, KeySet};

const RULES: Rules = Rules {
    refresh: Duration::from_secs(600),
    min_refetch: Duration::from_secs(30),
};

fn at(millis: u64) -> Time {
    Time(Duration::from_millis(millis))
}

fn set(id: u8) -> KeySet {
    let jwks = json!({"keys": [{
        "kid": id.to_string(), "kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    }]});
    KeySet::read(&jwks, Audience::Public).unwrap().set
}

/// What happens to a source: when, what, and what it leads to.
enum Step {
    /// A fetch begins if it is due; whether it is.
    Begin(bool),
    /// It brings this, so long before the latest time for the next; and the next is due then.
    Fetched(Option<u8>, u8, Outcome, u64),
    Refetch(Refetch),
}

#[track_caller]
fn play(steps: &[(u64, Step)]) -> Source {
    let mut source = Source::new(RULES, at(0));
    for (now, step) in steps {
        let now = at(*now);
        match step {
            Step::Begin(expected) => assert_eq!(source.begin(now), *expected, "at {now:?}"),
            Step::Fetched(id, jitter, expected, next) => {
                let outcome = source.fetched(now, *jitter, id.map(set));
                assert_eq!(outcome, *expected, "at {now:?}");
                assert_eq!(source.due(), Some(at(*next)), "at {now:?}");
            }
            Step::Refetch(expected) => assert_eq!(source.refetch(now), *expected, "at {now:?}"),
        }
    }
    source
}

#[test]
fn a_set_is_used_until_there_is_another() {
    let source = play(&[
        (0, Step::Begin(true)),
        (0, Step::Begin(false)),
        (70, Step::Fetched(Some(1), 0, Outcome::Changed, 600_070)),
        (600_069, Step::Begin(false)),
        (600_070, Step::Begin(true)),
        // A quarter earlier, nearly.
        (
            600_100,
            Step::Fetched(Some(1), 255, Outcome::Unchanged, 1_050_100),
        ),
        (1_050_100, Step::Begin(true)),
        (
            1_050_200,
            Step::Fetched(None, 0, Outcome::Failed, 1_051_200),
        ),
    ]);
    let held = source.held().unwrap();
    assert_eq!((&held.set, held.fetched_at), (&set(1), at(600_100)));
}

#[test]
fn failures_are_farther_and_farther_apart() {
    let mut source = Source::new(RULES, at(0));
    let mut now = at(0);
    let mut pauses = Vec::new();
    for _ in 0..9 {
        assert!(source.begin(now));
        source.fetched(now, 0, None);
        let due = source.due().unwrap();
        pauses.push(due.since(now).as_secs());
        now = due;
    }
    assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    assert!(source.begin(now));
    assert_eq!(source.fetched(now, 0, Some(set(1))), Outcome::Changed);
    now = now.after(RULES.refresh);
    assert!(source.begin(now));
    source.fetched(now, 0, None);
    assert_eq!(source.due(), Some(now.after(Duration::from_secs(1))));
}

#[test]
fn what_is_refreshed_often_is_tried_as_often() {
    let refresh = Duration::from_secs(10);
    let mut source = Source::new(Rules { refresh, ..RULES }, at(0));
    let mut now = at(0);
    for pause in [1, 2, 4, 8, 10, 10] {
        assert!(source.begin(now));
        source.fetched(now, 0, None);
        now = now.after(Duration::from_secs(pause));
        assert_eq!(source.due(), Some(now));
    }
}

#[test]
fn unknown_keys_lead_to_a_fetch_at_most_so_often() {
    play(&[
        (0, Step::Begin(true)),
        // What is under way may bring it.
        (10, Step::Refetch(Refetch::UnderWay)),
        (70, Step::Fetched(Some(1), 0, Outcome::Changed, 600_070)),
        (100, Step::Refetch(Refetch::UnderWay)),
        (100, Step::Begin(true)),
        (110, Step::Refetch(Refetch::UnderWay)),
        // In vain, which counts as well.
        (120, Step::Fetched(Some(1), 0, Outcome::Unchanged, 600_120)),
        (121, Step::Refetch(Refetch::TooSoon)),
        (30_099, Step::Refetch(Refetch::TooSoon)),
        (30_099, Step::Begin(false)),
        (30_100, Step::Refetch(Refetch::UnderWay)),
        (30_100, Step::Begin(true)),
        (30_200, Step::Fetched(None, 0, Outcome::Failed, 31_200)),
        (30_201, Step::Refetch(Refetch::TooSoon)),
        (31_200, Step::Begin(true)),
        (31_300, Step::Fetched(Some(2), 0, Outcome::Changed, 631_300)),
        (60_100, Step::Refetch(Refetch::UnderWay)),
    ]);
}

#[test]
fn what_is_known_from_before_is_used_at_once() {
    let mut source = Source::new(RULES, at(5_000));
    source.restore(set(1), at(1_000));
    assert_eq!(source.held().unwrap().fetched_at, at(1_000));
    assert!(source.begin(at(5_000)));
    assert_eq!(
        source.fetched(at(5_001), 0, Some(set(1))),
        Outcome::Unchanged
    );
    assert_eq!(source.held().unwrap().fetched_at, at(5_001));
}

#[derive(Clone, Debug)]
enum Happening {
    Pass(u64),
    Fetched(Option<u8>, u8),
    Refetch,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        (0_u64..50_000).prop_map(Happening::Pass),
        (prop::option::of(0_u8..3), any::<u8>())
            .prop_map(|(id, jitter)| Happening::Fetched(id, jitter)),
        Just(Happening::Refetch),
    ]
}

proptest! {
    /// Whatever happens: a good set stays, a fetch is due or under way, and the issuer is not asked more often than its
    /// rules and the wishes for newer keys allow.
    #[test]
    fn issuers_are_asked_neither_too_often_nor_never(
        happenings in prop::collection::vec(happening(), 0..200),
    ) {
        let mut source = Source::new(RULES, at(0));
        let mut now = at(0);
        let mut fetching = false;
        let mut last: Option<KeySet> = None;
        let mut wished: Vec<Time> = Vec::new();
        let mut begun = 0_u64;
        for happening in happenings {
            match happening {
                Happening::Pass(millis) => now = now.after(Duration::from_millis(millis)),
                Happening::Fetched(id, jitter) => {
                    if !fetching {
                        continue;
                    }
                    fetching = false;
                    let outcome = source.fetched(now, jitter, id.map(set));
                    let expected = match id.map(set) {
                        None => Outcome::Failed,
                        Some(set) if last.as_ref() == Some(&set) => Outcome::Unchanged,
                        Some(set) => {
                            last = Some(set);
                            Outcome::Changed
                        }
                    };
                    prop_assert_eq!(outcome, expected);
                    let due = source.due().unwrap().since(now);
                    let least = if id.is_some() { RULES.refresh } else { LEAST_BACKOFF };
                    prop_assert!(due >= least / 4 * 3 && due <= RULES.refresh, "{due:?}");
                }
                Happening::Refetch => {
                    let before = source.due();
                    let answer = source.refetch(now);
                    match answer {
                        Refetch::UnderWay if fetching => prop_assert_eq!(before, None),
                        Refetch::UnderWay => {
                            wished.push(now);
                            prop_assert_eq!(source.due(), Some(now));
                        }
                        Refetch::TooSoon => {
                            let since = wished.last().map(|last| now.since(*last));
                            prop_assert!(since.is_some_and(|since| since < RULES.min_refetch));
                            prop_assert_eq!(source.due(), before);
                        }
                    }
                }
            }
            if source.begin(now) {
                prop_assert!(!fetching, "one fetch at a time");
                fetching = true;
                begun += 1;
            }
            prop_assert_eq!(source.due().is_none(), fetching);
            prop_assert_eq!(source.held().map(|held| &held.set), last.as_ref());
        }
        for pair in wished.windows(2) {
            prop_assert!(pair[1].since(pair[0]) >= RULES.min_refetch);
        }
        // 750 ms is the shortest pause of all.
        let unasked = now.0.as_millis() / 750 + 1;
        prop_assert!(u128::from(begun) <= unasked + wished.len() as u128);
    }
}
