//! The README says what the code does.

use crate::{Policy, PolicyConfig, Reason};

const README: &str = include_str!("../../README.md");

#[test]
fn the_readme_lists_every_reason_with_its_status() {
    let rows = README.lines().filter_map(|line| {
        let (label, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
        let (status, _) = rest.split_once(" |")?;
        Some((label, status.parse().unwrap()))
    });
    let reasons = Reason::ALL
        .iter()
        .map(|reason| (reason.label(), reason.status()));
    assert_eq!(rows.collect::<Vec<_>>(), reasons.collect::<Vec<(_, u16)>>());
}

#[test]
fn the_readmes_policy_is_one() {
    let (_, rest) = README.split_once("```json\n").unwrap();
    let (json, _) = rest.split_once("```").unwrap();
    let config: PolicyConfig = serde_json::from_str(json).unwrap();
    assert_eq!(Policy::compile(config).unwrap().ignored_keys(), []);
}
