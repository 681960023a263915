//! The fuzz target's seeds, each named after the answer it gets.

use std::collections::BTreeSet;
use std::path::Path;

#[path = "../fuzz/drive.rs"]
mod drive;

#[test]
fn every_seed_gets_the_answer_it_is_named_after() {
    let policy = drive::policy().unwrap();
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/admit");
    let mut answers = BTreeSet::new();
    let mut wrong = Vec::new();
    for seed in seeds.read_dir().unwrap() {
        let path = seed.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let (expected, _) = name.split_once('.').unwrap();
        let answer = drive::drive(&policy, &std::fs::read(&path).unwrap());
        answers.insert(answer);
        if answer != expected {
            wrong.push(format!("{name}: {answer}"));
        }
    }
    assert_eq!(wrong, [] as [String; 0]);
    // `admitted`, `preflight`, `undecided`, and every reason that an accepting verifier leaves.
    assert_eq!(answers.len(), 20, "{answers:?}");
}
