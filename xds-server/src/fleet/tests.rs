use std::num::NonZeroU32;

use proptest::prelude::*;

use super::{
    Change, ChangeKind, Fleet, Health, Health::*, InstanceName, InstanceSpec, PoolName, Thresholds,
    UnknownInstance,
};

fn thresholds(rise: u32, fall: u32) -> Thresholds {
    Thresholds {
        rise: NonZeroU32::new(rise).unwrap(),
        fall: NonZeroU32::new(fall).unwrap(),
    }
}

fn name(text: &str) -> InstanceName {
    InstanceName::from(text)
}

fn fleet(rise: u32, fall: u32) -> Fleet {
    let instances = [("gpu-1", "web"), ("gpu-2", "web"), ("gpu-3", "native")];
    Fleet::new(instances.map(|(instance, pool)| InstanceSpec {
        name: name(instance),
        pool: PoolName::from(pool),
        address: "10.0.0.1:49100".parse().unwrap(),
        thresholds: thresholds(rise, fall),
    }))
}

/// Health after each of the results: `+` a success, `-` a failure.
fn healths(fleet: &mut Fleet, results: &str) -> Vec<Health> {
    results
        .chars()
        .map(|result| {
            fleet.handle_probe(&name("gpu-1"), result == '+');
            fleet.get(&name("gpu-1")).unwrap().health()
        })
        .collect()
}

#[test]
fn health_rises_and_falls() {
    for (rise, fall, results, expected) in [
        // The first success counts at once, however many it takes later, and after failures too.
        (3, 2, "+", vec![Up]),
        (3, 3, "--+", vec![Unknown, Unknown, Up]),
        // An instance that never answered is down, not for ever unknown.
        (1, 2, "--", vec![Unknown, Down]),
        // One failure is not enough, and a success between two starts anew.
        (1, 2, "+-+-", vec![Up, Up, Up, Up]),
        (1, 2, "+--", vec![Up, Up, Down]),
        // The way back takes `rise`, in a row.
        (2, 1, "+-+-++", vec![Up, Down, Down, Down, Down, Up]),
        (1, 1, "+-+-", vec![Up, Down, Up, Down]),
    ] {
        let found = healths(&mut fleet(rise, fall), results);
        assert_eq!(found, expected, "{results} with rise {rise}, fall {fall}");
    }
}

#[test]
fn a_change_is_told_once() {
    let mut fleet = fleet(1, 1);
    let health = |from, to| {
        Some(Change {
            instance: name("gpu-2"),
            kind: ChangeKind::Health { from, to },
        })
    };
    let gpu_2 = name("gpu-2");
    assert_eq!(fleet.handle_probe(&gpu_2, true), health(Unknown, Up));
    assert_eq!(fleet.handle_probe(&gpu_2, true), None);
    assert_eq!(fleet.handle_probe(&gpu_2, false), health(Up, Down));
    // Of the others nothing is known yet.
    assert_eq!(fleet.get(&name("gpu-1")).unwrap().health(), Unknown);
    assert_eq!(fleet.handle_probe(&name("gone"), true), None);
}

#[test]
fn only_an_instance_that_is_up_and_stays_is_available() {
    let mut fleet = fleet(1, 1);
    let gpu_1 = name("gpu-1");
    let available = |fleet: &Fleet| fleet.get(&name("gpu-1")).unwrap().is_available();
    let draining = |draining| {
        Ok(Some(Change {
            instance: name("gpu-1"),
            kind: ChangeKind::Draining(draining),
        }))
    };
    assert!(!available(&fleet), "nothing is known of it");
    fleet.handle_probe(&gpu_1, true);
    assert!(available(&fleet));
    assert_eq!(fleet.drain(&gpu_1, true), draining(true));
    assert_eq!(fleet.drain(&gpu_1, true), Ok(None));
    assert!(!available(&fleet), "it drains");
    assert_eq!(fleet.get(&gpu_1).unwrap().health(), Up);
    // Its health is followed meanwhile, and its draining is not called off by it.
    fleet.handle_probe(&gpu_1, false);
    fleet.handle_probe(&gpu_1, true);
    assert!(!available(&fleet), "it still drains");
    assert_eq!(fleet.drain(&gpu_1, false), draining(false));
    assert!(available(&fleet));
    let gone = name("gone");
    assert_eq!(fleet.drain(&gone, true), Err(UnknownInstance(gone.clone())));
}

#[test]
fn quarantine_and_draining_are_two_things() {
    let mut fleet = fleet(1, 1);
    let gpu_1 = name("gpu-1");
    fleet.handle_probe(&gpu_1, true);
    let quarantined = |quarantined| {
        Ok(Some(Change {
            instance: name("gpu-1"),
            kind: ChangeKind::Quarantined(quarantined),
        }))
    };
    assert_eq!(fleet.quarantine(&gpu_1, true), quarantined(true));
    assert_eq!(fleet.quarantine(&gpu_1, true), Ok(None));
    let instance = fleet.get(&gpu_1).unwrap();
    assert!(!instance.is_available() && instance.is_quarantined() && !instance.is_draining());
    fleet.drain(&gpu_1, true).unwrap();
    assert_eq!(fleet.quarantine(&gpu_1, false), quarantined(false));
    assert!(
        !fleet.get(&gpu_1).unwrap().is_available(),
        "it still drains"
    );
    fleet.drain(&gpu_1, false).unwrap();
    assert!(fleet.get(&gpu_1).unwrap().is_available());
    let gone = name("gone");
    let unknown = Err(UnknownInstance(gone.clone()));
    assert_eq!(fleet.quarantine(&gone, true), unknown);
}

#[test]
fn a_pool_has_its_own_instances() {
    let fleet = fleet(1, 1);
    let of = |pool: &str| {
        let pool = PoolName::from(pool);
        let names = fleet.pool(&pool).map(|(name, _)| name.to_string());
        names.collect::<Vec<_>>()
    };
    assert_eq!(of("web"), ["gpu-1", "gpu-2"]);
    assert_eq!(of("native"), ["gpu-3"]);
    assert!(of("other").is_empty());
}

/// Health as the rule states it, from the whole history read backwards: the latest run that was
/// long enough decides; where there was none, one success is enough.
fn by_the_rule(results: &[bool], rise: usize, fall: usize) -> Health {
    for end in (1..=results.len()).rev() {
        let ends_with = |ok: bool, count: usize| {
            end >= count && results[end - count..end].iter().all(|result| *result == ok)
        };
        if ends_with(true, rise) {
            return Up;
        }
        if ends_with(false, fall) {
            return Down;
        }
    }
    if results.contains(&true) { Up } else { Unknown }
}

proptest! {
    #[test]
    fn health_is_what_the_last_results_say(
        results in prop::collection::vec(any::<bool>(), 0..60),
        rise in 1_u32..5,
        fall in 1_u32..5,
    ) {
        let mut fleet = fleet(rise, fall);
        let mut before = Unknown;
        for (index, ok) in results.iter().enumerate() {
            let change = fleet.handle_probe(&name("gpu-1"), *ok);
            let now = fleet.get(&name("gpu-1")).unwrap().health();
            let expected =
                by_the_rule(&results[..=index], rise.try_into().unwrap(), fall.try_into().unwrap());
            prop_assert_eq!(now, expected);
            let kind = change.map(|change| change.kind);
            let told = (now != before).then_some(ChangeKind::Health { from: before, to: now });
            prop_assert_eq!(kind, told);
            before = now;
        }
    }
}
