//! The files in `envoy` that `berth bootstrap` prints are what it prints.
//!
//! With `BERTH_UPDATE_GOLDEN` set, they are written instead of compared.
#![expect(clippy::unwrap_used, reason = "a test fails by it")]

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use tempfile::TempDir;

#[test]
fn golden_files_are_what_is_printed() {
    let folder = configured();
    let printed: [(&str, &[&str]); 2] = [
        ("gateway/bootstrap.yaml", &["--node-id", "edge-1"]),
        (
            "filter/envoy.yaml",
            &["--static", "--node-id", "edge-static"],
        ),
    ];
    for (file, arguments) in printed {
        let path = envoy().join(file);
        let text = bootstrap(folder.path(), arguments);
        if std::env::var_os("BERTH_UPDATE_GOLDEN").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let written = fs::read_to_string(&path).unwrap();
        assert!(
            text == written,
            "{file} is out of date: look at what BERTH_UPDATE_GOLDEN=1 changes"
        );
    }
}

/// What is printed, as if the configuration were in `/etc/berth`.
fn bootstrap(folder: &Path, arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_berth"))
        .arg("bootstrap")
        .args(arguments)
        .current_dir(folder)
        .env_clear()
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    text.replace(folder.to_str().unwrap(), "/etc/berth")
}

/// A folder with the configuration of `envoy/filter`, and the files that it names.
fn configured() -> TempDir {
    let folder = TempDir::new().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    for (name, text) in [
        ("cert.pem", pair.cert.pem()),
        ("key.pem", pair.signing_key.serialize_pem()),
        (
            "berth.yaml",
            fs::read_to_string(envoy().join("filter/berth.yaml")).unwrap(),
        ),
    ] {
        fs::write(folder.path().join(name), text).unwrap();
    }
    folder
}

fn envoy() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy")
}
