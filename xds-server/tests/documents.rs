//! What the project's documents say can be typed, `berth` and the justfile take.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output},
};

use tempfile::TempDir;

/// Every document with something to type in it.
const DOCUMENTS: [&str; 13] = [
    "README.md",
    "envoy/README.md",
    "envoy/envoy-gateway/README.md",
    "envoy/filter/README.md",
    "envoy/gateway/README.md",
    "envoy/istio/README.md",
    "envoy/listeners/README.md",
    "examples/README.md",
    "filters/admission/README.md",
    "filters/envoy/README.md",
    "tests/README.md",
    "xds-server/README.md",
    "xds-server/berth.example.yaml",
];

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn document(name: &str) -> String {
    fs::read_to_string(project().join(name)).unwrap()
}

fn berth(folder: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_berth"))
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap()
}

/// The blocks that are fenced as ```` ```language ````.
fn blocks<'a>(text: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    let starts = text.split(fence.as_str()).skip(1);
    starts
        .map(|block| block.split("\n```").next().unwrap())
        .collect()
}

/// What a document has to type that begins with `program`: lines of blocks and spans of code.
fn typed<'a>(text: &'a str, program: &str) -> Vec<Vec<&'a str>> {
    let lines = text.lines().filter(|line| line.starts_with(program));
    let spans = text
        .lines()
        .flat_map(|line| line.split('`').skip(1).step_by(2))
        .filter(|span| span.starts_with(program));
    lines
        .chain(spans)
        .map(|line| {
            // Neither what the line is for nor where its output goes is the program's.
            let command = line.split(" #").next().unwrap_or(line);
            let command = command.split(['>', '|', ';', '&']).next().unwrap();
            let arguments = command.split_whitespace().skip(1);
            arguments
                .map(|argument| argument.trim_matches('\''))
                .collect()
        })
        .filter(|arguments: &Vec<&str>| !arguments.is_empty())
        .collect()
}

/// A folder with the files that the configurations name: what Envoy shows its clients, and an issuer's keys.
fn prepared() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    let certified = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for name in ["ca.pem", "cert.pem", "example-org.pem"] {
        fs::write(path(name), certified.cert.pem()).unwrap();
    }
    for name in ["key.pem", "example-org-key.pem"] {
        fs::write(path(name), certified.signing_key.serialize_pem()).unwrap();
    }
    let key = ["token", "--new-key", "ES256", "--key-out", "signing.pem"];
    let key = [&key[..], &["--jwks-out", "jwks.json"]].concat();
    assert!(berth(folder.path(), &key).status.success());
    folder
}

fn configuration_of_the_readme() -> String {
    let readme = document("README.md");
    let yaml = blocks(&readme, "yaml");
    assert_eq!(yaml.len(), 1, "the README has one block of YAML");
    yaml.concat()
}

#[test]
fn the_configuration_in_the_readme_is_accepted_as_it_stands() {
    let folder = prepared();
    for (name, text) in [
        ("readme.yaml", configuration_of_the_readme()),
        ("example.yaml", document("xds-server/berth.example.yaml")),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
        let output = berth(folder.path(), &["check", "--config", name]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{name}: {said}");
    }
}

#[test]
fn a_decision_is_explained_as_it_is_written_down() {
    let folder = prepared();
    let configuration = folder.path().join("berth.yaml");
    fs::write(configuration, configuration_of_the_readme()).unwrap();
    let token = ["token", "--key", "signing.pem", "--audience", "berth"];
    let who = [
        "--issuer",
        "https://login.example.com",
        "--subject",
        "alice",
    ];
    let when = ["--claim", "iat=1790841300", "--claim", "exp=1790841900"];
    let token = berth(folder.path(), &[&token[..], &who, &when].concat());
    fs::write(folder.path().join("alice.jwt"), token.stdout).unwrap();

    let readme = document("xds-server/README.md");
    let runs: Vec<String> = typed(&readme, "berth explain ")
        .iter()
        .filter(|arguments| arguments.contains(&"alice.jwt"))
        .map(|arguments| String::from_utf8(berth(folder.path(), arguments).stdout).unwrap())
        .collect();
    let [refused, admitted] = runs.as_slice() else {
        panic!("{runs:?}");
    };
    let last = refused.lines().last().unwrap();
    assert!(readme.contains(&format!("ends with `{last}`")), "{refused}");
    assert_eq!(blocks(&readme, "text"), [admitted.trim_end()]);
}

#[test]
fn berth_takes_every_command_line_that_is_written_down() {
    let folder = TempDir::new().unwrap();
    let mut seen = 0;
    for name in DOCUMENTS {
        for arguments in typed(&document(name), "berth ") {
            // With `--help` behind it a command line is read, and nothing is done.
            let output = berth(folder.path(), &[&arguments[..], &["--help"]].concat());
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{name}: {arguments:?}: {said}");
            seen += 1;
        }
    }
    assert!(seen >= 8, "only {seen} were found");
}

#[test]
fn the_justfile_has_every_recipe_that_is_written_down() {
    let justfile = document("justfile");
    let recipes: Vec<&str> = justfile
        .lines()
        .filter(|line| line.starts_with(|first: char| first.is_ascii_lowercase()))
        .filter_map(|line| line.split([' ', ':']).next())
        .collect();
    let mut seen = 0;
    for name in DOCUMENTS {
        for arguments in typed(&document(name), "./just ") {
            // What follows these is theirs.
            let own = ["bench", "demo", "simulate", "soak"].contains(&arguments[0]);
            let named = if own { &arguments[..1] } else { &arguments };
            for recipe in named {
                assert!(recipes.contains(recipe), "{name}: ./just {recipe}");
            }
            seen += 1;
        }
    }
    assert!(seen >= 4, "only {seen} were found");
}
