//! The demo without a terminal: what it prints, what it exits with, and that nothing of it stays.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;

fn demo(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-demo"));
    command
        .arg("--folder")
        .arg(folder)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command
}

/// Keys last from run to run: an RSA key takes seconds to find in a development build.
fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(name)
}

#[tokio::test]
async fn everything_happens_and_nothing_stays() {
    let output = demo(&folder("demo")).output().await.unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{stdout}\n{stderr}");
    let steps = [
        "1 connected over WSS",
        "2 authenticated",
        "3 instance connected",
        "4 signaling exchanged",
        "5 closed",
    ];
    let refusals = [
        "no token",
        "expired token",
        "token for another pool",
        "no instance free",
    ];
    let expected: Vec<&str> = [
        &["A web session"],
        &steps[..],
        &["A native session"],
        &steps,
        &["Refusals"],
        &refusals,
        &["All of it happened."],
    ]
    .concat();
    let mut lines = stdout.lines().map(str::trim_start);
    for start in expected {
        assert!(
            lines.any(|line| line.starts_with(start)),
            "no line `{start}` in its place:\n{stdout}"
        );
    }
    assert!(
        stdout.contains("TLSv1.3; its certificate for localhost validates"),
        "{stdout}"
    );
    assert!(
        stdout.contains("issued by CN=Berth development CA"),
        "{stdout}"
    );
    assert!(
        stdout.contains("503 no_instance; Retry-After: "),
        "{stdout}"
    );
    assert_gone(&stdout);
}

#[tokio::test]
async fn an_interrupted_demo_leaves_nothing_behind() {
    let folder = folder("interrupted");
    let mut demo_process = demo(&folder).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(demo_process.stdout.take().unwrap()).lines();
    let mut seen = String::new();
    while !seen.contains("1 connected") {
        seen.push_str(&lines.next_line().await.unwrap().expect("it ended early"));
        seen.push('\n');
    }
    let second = demo(&folder).output().await.unwrap();
    let stderr = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{stderr}");
    assert!(stderr.contains("another demo is using it"), "{stderr}");

    let pid = i32::try_from(demo_process.id().unwrap()).unwrap();
    kill(Pid::from_raw(pid), Signal::SIGINT).unwrap();
    assert_eq!(demo_process.wait().await.unwrap().code(), Some(130));
    assert_gone(&seen);
}

#[tokio::test]
async fn a_step_that_fails_is_named() {
    let output = demo(&folder("failing"))
        .env("BERTH_ENVOY", "/no/such/envoy")
        .output()
        .await
        .unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{stderr}");
    assert!(
        stderr.contains("failed: starting: no Envoy at /no/such/envoy"),
        "{stderr}"
    );
}

/// Nobody listens any more on the ports that the demo said were its own.
fn assert_gone(stdout: &str) {
    let sockets: Vec<&str> = stdout
        .lines()
        .filter(|line| line.starts_with("  Envoy ") || line.starts_with("  control plane"))
        .flat_map(str::split_whitespace)
        .map(|word| word.trim_start_matches("http://"))
        .filter(|word| word.starts_with("127.0.0.1:"))
        .collect();
    assert_eq!(sockets.len(), 3, "{stdout}");
    for socket in sockets {
        assert!(
            TcpStream::connect(socket).is_err(),
            "{socket} still answers"
        );
    }
}
