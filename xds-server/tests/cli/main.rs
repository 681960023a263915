//! The `berth` command as its users meet it: what is typed, what is printed, what it exits with.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use tempfile::TempDir;

mod admin;
mod api_key;
mod explain;
mod token;

/// What a run of `berth` left behind.
#[derive(Debug, PartialEq, Eq)]
struct Run {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl From<Output> for Run {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .stdin(Stdio::null());
    command
}

/// Runs `berth` in a folder, with nothing in its environment.
fn berth(folder: &Path, arguments: &[&str]) -> Run {
    command(folder, arguments).output().unwrap().into()
}

/// Runs `berth` and returns what it printed; it must exit with 0 and complain of nothing.
#[track_caller]
fn printed(folder: &Path, arguments: &[&str]) -> String {
    let run = berth(folder, arguments);
    assert_eq!((run.code, run.stderr.as_str()), (Some(0), ""), "{run:?}");
    run.stdout
}

#[test]
fn help_teaches_and_mistakes_are_64() {
    let folder = TempDir::new().unwrap();
    for (arguments, code, stdout, stderr) in [
        (&["--help"][..], 0, "berth check --config berth.yaml", ""),
        (&["--version"], 0, "berth 0.", ""),
        (&["serve", "--help"], 0, "--log-filter", ""),
        (&["check", "--help"], 0, "FILE:LINE:COLUMN: FIELD", ""),
        (&["bootstrap", "--help"], 0, "envoy -c envoy.yaml", ""),
        (&["token", "--help"], 0, "--new-key ES256 --key-out", ""),
        (&["explain", "--help"], 0, "--token-file token.txt", ""),
        (&["api-key", "--help"], 0, "api-key --subject kiosk-7", ""),
        (&["instances", "--help"], 0, "drain gpu-1", ""),
        (&["sessions", "--help"], 0, "terminate ID", ""),
        (&["keys", "--help"], 0, "berth keys --json", ""),
        (&["history", "--help"], 0, "--since 1day", ""),
        (&["history", "--limit", "0"], 64, "", "1..=10000"),
        (&["history", "--since", "soon"], 64, "", "--since"),
        (&["bootstrap", "--zone", "eu/1"], 64, "", "--zone"),
        (&["bootstrap", "--ca", "ca.pem"], 64, "", "--server-name"),
        (&["bootstrap", "--server-name", "x"], 64, "", "--ca"),
        (&[], 64, "", "Usage: berth <COMMAND>"),
        (&["place"], 64, "", "unrecognized subcommand 'place'"),
        (&["instances", "drain"], 64, "", "<NAME>"),
        (
            &["instances", "--admin", "127.0.0.1:18001"],
            64,
            "",
            "write it as http://ADDRESS:PORT",
        ),
        (&["token", "--subject", "alice"], 64, "", "--key <FILE>"),
        (&["token", "--new-key", "ES256"], 64, "", "--key-out <FILE>"),
        (
            &["token", "--claim", "admin"],
            64,
            "",
            "write it as NAME=JSON",
        ),
        (
            &["token", "--new-key", "ES256K"],
            64,
            "",
            "[possible values: HS256, HS384, HS512, RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384, ES512, EdDSA]",
        ),
        (
            &["check"],
            64,
            "",
            "cannot read berth.yaml: No such file or directory (os error 2); name the right file with --config",
        ),
    ] {
        let run = berth(folder.path(), arguments);
        assert_eq!(run.code, Some(code), "berth {arguments:?}: {run:?}");
        for (text, expected) in [(&run.stdout, stdout), (&run.stderr, stderr)] {
            let fits = text.contains(expected) && text.is_empty() == expected.is_empty();
            assert!(fits, "berth {arguments:?}: {run:?}");
        }
    }
}

/// A folder with a valid configuration.
fn configured() -> TempDir {
    let folder = TempDir::new().unwrap();
    let names = ["berth.example.com".to_owned()];
    let pair = rcgen::generate_simple_self_signed(names).unwrap();
    let key = pair.signing_key.serialize_pem();
    for name in ["ca.pem", "cert.pem", "example-org.pem"] {
        fs::write(folder.path().join(name), pair.cert.pem()).unwrap();
    }
    for name in ["key.pem", "example-org-key.pem"] {
        fs::write(folder.path().join(name), &key).unwrap();
    }
    fs::write(folder.path().join("berth.yaml"), EXAMPLE).unwrap();
    new_key(folder.path(), "ES256");
    folder
}

fn new_key(folder: &Path, algorithm: &str) -> String {
    let arguments = ["token", "--new-key", algorithm];
    let files = ["--key-out", "dev-key.pem", "--jwks-out", "jwks.json"];
    printed(folder, &[&arguments[..], &files].concat())
}

#[test]
fn a_valid_configuration_is_said_to_be() {
    let folder = configured();
    assert_eq!(
        printed(folder.path(), &["check"]),
        "berth.yaml: nothing wrong\n  pool web (web), instances: 2\n  pool native (native), instances: 1\n"
    );
}

#[test]
fn a_broken_configuration_stops_check_serve_and_bootstrap_alike() {
    let folder = configured();
    let broken = EXAMPLE
        .replace("10.0.0.2:49100", "10.0.0.2:0")
        .replace("private_key: key.pem", "private_key: cert.pem");
    fs::write(folder.path().join("broken.yaml"), broken).unwrap();
    for verb in ["check", "serve", "bootstrap"] {
        let run = berth(folder.path(), &[verb, "--config", "broken.yaml"]);
        assert_eq!(run.code, Some(64), "{run:?}");
        assert_eq!(run.stdout, "");
        let starts: Vec<_> = run
            .stderr
            .lines()
            .map(|line| line.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": "))
            .collect();
        let line = |text: &str| {
            1 + EXAMPLE
                .lines()
                .position(|line| line.contains(text))
                .unwrap()
        };
        let key = line("private_key: key.pem");
        let address = line("10.0.0.2:49100");
        assert_eq!(
            starts,
            [
                format!("broken.yaml:{key}:16: tls.private_key"),
                format!("broken.yaml:{address}:14: pools[0].instances[1].address"),
            ]
        );
    }
}

#[test]
fn a_key_without_effect_is_warned_of() {
    let folder = configured();
    let path = folder.path().join("jwks.json");
    let mut set: Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    let other =
        json!({"kty": "OKP", "crv": "X25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"});
    set["keys"].as_array_mut().unwrap().push(other);
    fs::write(&path, set.to_string()).unwrap();
    let run = berth(folder.path(), &["check"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stderr,
        "berth.yaml: warning: admission.issuers[0].jwks.keys[1].crv: must be Ed25519; this key is not used\n"
    );
}

#[test]
fn a_certificate_that_has_ended_is_warned_of() {
    let folder = configured();
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(["example.org".to_owned()]).unwrap();
    params.not_after = rcgen::date_time_ymd(2020, 2, 29);
    let certificate = params.self_signed(&key).unwrap();
    for (name, content) in [
        ("example-org.pem", certificate.pem()),
        ("example-org-key.pem", key.serialize_pem()),
    ] {
        fs::write(folder.path().join(name), content).unwrap();
    }
    let run = berth(folder.path(), &["check"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stderr,
        "berth.yaml: warning: tls.by_sni[0].certificate_chain: the certificate ended at 2020-02-29T00:00:00Z; put a newer one in its place, and its key: they are read without a restart\n"
    );
}

#[test]
fn certificates_that_nobody_asks_for_are_warned_of() {
    let folder = configured();
    let without = EXAMPLE.replace("  client_ca: ca.pem\n", "");
    fs::write(folder.path().join("berth.yaml"), without).unwrap();
    let run = berth(folder.path(), &["check"]);
    assert_eq!(run.code, Some(0), "{run:?}");
    assert_eq!(
        run.stderr,
        "berth.yaml: warning: admission.client_certificates: the listeners ask no client for a certificate; name who signs them as `tls.client_ca`\n"
    );
}

#[test]
fn a_bad_log_filter_is_refused() {
    let folder = configured();
    let run = berth(folder.path(), &["serve", "--log-filter", "berth=loud"]);
    assert_eq!(run.code, Some(64), "{run:?}");
    assert!(run.stderr.starts_with("`berth=loud` is not a log filter: "));
    // An empty one would log nothing but errors, and not say so.
    let run: Run = command(folder.path(), &["serve"])
        .env("RUST_LOG", "")
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, Some(64), "{run:?}");
    assert!(run.stderr.contains("--log-filter"), "{run:?}");
}

#[test]
fn a_bootstrap_names_the_envoy() {
    let folder = configured();
    let arguments = ["bootstrap", "--node-id", "edge-2", "--admin-port", "9901"];
    let yaml = printed(folder.path(), &arguments);
    assert!(yaml.contains("edge-2"), "{yaml}");
    assert!(yaml.contains("cluster: \"berth\""), "{yaml}");
    let yaml = printed(folder.path(), &["bootstrap", "--cluster", "edge"]);
    assert!(yaml.contains("cluster: \"edge\""), "{yaml}");
    let run = berth(folder.path(), &["bootstrap", "--node-id", ""]);
    assert_eq!(run.code, Some(64), "{run:?}");
}

#[test]
fn a_bootstrap_has_certificates_if_the_control_plane_asks_for_them() {
    let folder = configured();
    let options = "--ca ca.pem --certificate cert.pem --private-key key.pem --server-name berth.example --secrets-out secrets";
    let with_options: Vec<_> = options.split(' ').collect();
    let with_options = [&["bootstrap"], &with_options[..]].concat();
    let run = berth(folder.path(), &with_options);
    assert_eq!(run.code, Some(64), "{run:?}");
    assert!(run.stderr.contains("has no `xds.tls`"), "{run:?}");
    let secrets = folder.path().join("secrets");
    assert!(!secrets.exists());

    let path = folder.path().join("berth.yaml");
    let tls = "\n  tls: { certificate_chain: cert.pem, private_key: key.pem, client_ca: ca.pem }\n  listen: 127.0.0.1:18000 #";
    let text = EXAMPLE.replace("\n  listen: 127.0.0.1:18000 #", tls);
    fs::write(&path, text).unwrap();
    let run = berth(folder.path(), &["bootstrap"]);
    assert_eq!(run.code, Some(64), "{run:?}");
    assert!(run.stderr.contains("--certificate"), "{run:?}");
    for _ in 0..2 {
        let yaml = printed(folder.path(), &with_options);
        let secret = secrets.canonicalize().unwrap();
        let secret = secret.join("berth_xds_certificate.yaml");
        assert!(yaml.contains(&format!("{secret:?}")), "{secret:?}: {yaml}");
        let key = folder.path().canonicalize().unwrap().join("key.pem");
        let text = fs::read_to_string(&secret).unwrap();
        assert!(text.contains(&format!("{key:?}")), "{text}");
    }
}

#[test]
fn a_bootstrap_names_an_address_that_can_be_connected_to() {
    let folder = configured();
    let path = folder.path().join("berth.yaml");
    let example = fs::read_to_string(&path).unwrap();
    for (listen, arguments, expected) in [
        (
            "127.0.0.1:18000",
            &[][..],
            r#""127.0.0.1", port_value: 18000"#,
        ),
        ("10.0.0.5:18000", &[], r#""10.0.0.5", port_value: 18000"#),
        ("0.0.0.0:18000", &[], r#""127.0.0.1", port_value: 18000"#),
        ("\"[::]:18000\"", &[], r#""::1", port_value: 18000"#),
        (
            "0.0.0.0:18000",
            &["--control-plane", "10.0.0.5:9"],
            r#""10.0.0.5", port_value: 9"#,
        ),
    ] {
        let xds = format!("listen: {listen}\n  allow_plaintext: true");
        let text = example
            .replace("listen: 127.0.0.1:18000 # the default", &xds)
            .replacen("  allow_plaintext: false # the default\n", "", 1);
        fs::write(&path, text).unwrap();
        let yaml = printed(folder.path(), &[&["bootstrap"], arguments].concat());
        assert!(yaml.contains(expected), "{listen}: {yaml}");
    }
}

const EXAMPLE: &str = include_str!("../../berth.example.yaml");
