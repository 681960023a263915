//! The program: what it prints, and what it exits with.

use std::process::Output;

use berth_runtime_emulator::{Emulator, EmulatorConfig, Fault, How, Stage, Subprotocol};
use tokio::process::Command;

use crate::tls::Terminator;

async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth-client"));
    command
        .args(arguments)
        .env_remove("BERTH_TOKEN")
        .kill_on_drop(true);
    command.output().await.unwrap()
}

fn said(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

#[tokio::test]
async fn a_session_is_narrated() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let terminator = Terminator::start(emulator.web_address()).await;
    let url = format!("wss://localhost:{}/sign_in", terminator.address.port());
    let ca = terminator.ca.path().to_str().unwrap();
    let connect_to = terminator.address.to_string();
    let output = run(&[
        &url,
        "--ca",
        ca,
        "--connect-to",
        &connect_to,
        "--stay",
        "0",
        "--token",
        "s3cret",
    ])
    .await;
    let (stdout, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(0), "{stderr}");
    let steps: Vec<&str> = stdout
        .lines()
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert_eq!(
        steps,
        ["connected", "upgraded", "signaling", "closed"],
        "{stdout}"
    );
    assert!(
        stdout.contains("TLSv1.3, certificate of localhost validates"),
        "{stdout}"
    );
    let record = &emulator.records()[0];
    assert!(
        record.path_and_query.contains("peer_id=peer-"),
        "{}",
        record.path_and_query
    );
    assert_eq!(record.stage, Stage::Answered);
    assert_eq!(
        record.how(),
        Some(&How::ClientClose {
            code: Some(1000),
            reason: String::new()
        })
    );
}

#[tokio::test]
async fn a_native_session_is_recognised_by_its_path() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let url = format!("ws://{}/rtsp", emulator.native_address());
    let arguments = [
        &url,
        "--stay",
        "0",
        "--token",
        "s3cret",
        "--resume-key",
        "k",
        "--header",
        "x-a: b",
    ];
    let output = run(&arguments).await;
    assert_eq!(output.status.code(), Some(0), "{}", said(&output).1);
    assert!(said(&output).0.contains("RTSP OPTIONS answered with 200"));
    let record = &emulator.records()[0];
    assert_eq!(record.path_and_query, "/rtsp");
    let headers = ["authorization", "berth-resume-key", "x-a"].map(|name| record.header(name));
    assert_eq!(headers, [Some("Bearer s3cret"), Some("k"), Some("b")]);
}

#[tokio::test]
async fn failures_have_codes_and_reasons() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let web = format!("ws://{}/sign_in", emulator.web_address());
    let elsewhere = format!("ws://{}/elsewhere", emulator.web_address());
    let gone = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let nobody = format!("ws://{}/sign_in", gone.web_address());
    gone.kill().await;
    let cases: [(&[&str], i32, &str); 8] = [
        (&[], 2, "Usage"),
        (&["wss://localhost/sign_in"], 2, "--ca"),
        (&["https://localhost/sign_in"], 2, "wss://"),
        (&[&web, "--token-file", "no-such-file"], 2, "no-such-file"),
        (&[&web, "--header", "nonsense"], 2, "name: value"),
        (&[&elsewhere, "--stay", "0"], 3, "refused with status 404"),
        (&[&web, "--check"], 3, "the verdict is 426"),
        (&[&nobody, "--stay", "0"], 4, "refused"),
    ];
    for (arguments, code, message) in cases {
        let output = run(arguments).await;
        let (_, stderr) = said(&output);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {stderr}");
        assert!(stderr.contains(message), "{arguments:?}: {stderr}");
    }

    emulator.set_fault(Fault::DieAfter(std::num::NonZeroU64::MIN));
    let output = run(&[&web, "--stay", "0"]).await;
    assert_eq!(output.status.code(), Some(5), "{}", said(&output).1);
}

#[tokio::test]
async fn a_session_that_the_server_ends_is_a_failure() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let url = format!("ws://{}/sign_in", emulator.web_address());
    let closing = async {
        let patience = std::time::Duration::from_secs(20);
        let answered = |stage| stage == Stage::Answered;
        let ready = emulator.wait_for(patience, |ledger| {
            ledger.records().iter().any(|r| answered(r.stage))
        });
        ready.await.unwrap();
        emulator.close_all(1001, "going away");
    };
    let arguments = [url.as_str()];
    let (output, ()) = tokio::join!(run(&arguments), closing);
    let (_, stderr) = said(&output);
    assert_eq!(output.status.code(), Some(5), "{stderr}");
    assert!(stderr.contains("code 1001: going away"), "{stderr}");
}

#[tokio::test]
async fn a_token_is_never_printed() {
    let first = EmulatorConfig {
        subprotocol: Subprotocol::FirstOffered,
        ..EmulatorConfig::default()
    };
    let emulator = Emulator::start(first).await.unwrap();
    let web = format!("ws://{}/sign_in", emulator.web_address());
    let refused = format!("ws://{}/elsewhere?token=s3cret", emulator.web_address());
    let cases: [&[&str]; 5] = [
        &[
            &web,
            "--stay",
            "0",
            "--token",
            "s3cret",
            "--token-in",
            "subprotocol",
        ],
        &[
            &web,
            "--stay",
            "0",
            "--token",
            "s3cret",
            "--token-in",
            "query",
        ],
        &[
            &web,
            "--stay",
            "0",
            "--token",
            "s3cret\u{1}",
            "--token-in",
            "header",
        ],
        &[&refused],
        &["ws://x y/sign_in?token=s3cret"],
    ];
    for arguments in cases {
        let output = run(arguments).await;
        let (stdout, stderr) = said(&output);
        assert!(
            !stdout.contains("s3cret") && !stderr.contains("s3cret"),
            "{arguments:?}: {stdout}{stderr}"
        );
    }
    let mut help = Command::new(env!("CARGO_BIN_EXE_berth-client"));
    let help = help
        .arg("--help")
        .env("BERTH_TOKEN", "s3cret")
        .output()
        .await
        .unwrap();
    assert!(!said(&help).0.contains("s3cret"));
}
