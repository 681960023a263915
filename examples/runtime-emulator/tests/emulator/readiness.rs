//! The readiness port, and the program.

use std::io::{BufRead as _, BufReader};
use std::net::SocketAddr;
use std::process::{Command, Stdio};

use crate::common::{PATIENCE, emulator, session};
use berth_client::{Departure, Message, Response, Session, Target};
use berth_runtime_emulator::{Emulator, Family};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;
use tokio::time::timeout;

async fn get(emulator: &Emulator, path: &str) -> Response {
    let url = format!("ws://{}{path}", emulator.readiness_address());
    berth_client::get(&Target::new(&url).unwrap())
        .await
        .unwrap()
}

async fn post(address: SocketAddr, path: &str, body: &'static str) -> (u16, String) {
    let stream = TokioIo::new(TcpStream::connect(address).await.unwrap());
    let (mut sender, connection) = http1::handshake(stream).await.unwrap();
    let request = hyper::Request::post(path)
        .header("host", "emulator")
        .header("connection", "close")
        .body(Full::new(Bytes::from_static(body.as_bytes())))
        .unwrap();
    let exchange = async {
        let response = sender.send_request(request).await.unwrap();
        let status = response.status().as_u16();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, String::from_utf8(body.to_vec()).unwrap())
    };
    let (answer, _) = tokio::join!(exchange, connection);
    answer
}

#[tokio::test]
async fn readiness_is_as_set() {
    let plain = emulator(|_| {}).await;
    let _session = session(&plain, Family::Web).await;
    assert_eq!(get(&plain, "/v1/streaming/ready").await.status, 200);
    plain.set_ready(false);
    assert_eq!(get(&plain, "/v1/streaming/ready").await.status, 500);

    let booting = emulator(|config| config.ready = false).await;
    assert_eq!(get(&booting, "/v1/streaming/ready").await.status, 500);
    booting.set_ready(true);
    assert_eq!(get(&booting, "/v1/streaming/ready").await.status, 200);

    let single = emulator(|config| config.ready_while_live = false).await;
    let session = session(&single, Family::Web).await;
    assert_eq!(get(&single, "/v1/streaming/ready").await.status, 500);
    session.close(1000, "").await.unwrap();
    assert_eq!(get(&single, "/v1/streaming/ready").await.status, 200);
}

#[tokio::test]
async fn records_are_json() {
    let emulator = emulator(|_| {}).await;
    session(&emulator, Family::Web)
        .await
        .close(4001, "bye")
        .await
        .unwrap();
    let _live = session(&emulator, Family::Native).await;
    let json: Value = serde_json::from_str(&get(&emulator, "/records").await.body).unwrap();
    assert_eq!(json["live"], 1);
    assert_eq!(json["max_concurrent"], 1);
    assert_eq!(json["requests"], 2);
    assert_eq!(json["records"][0]["family"], "web");
    assert_eq!(json["records"][0]["end"]["kind"], "client-close");
    assert_eq!(json["records"][0]["end"]["code"], 4001);
    assert!(json["records"][0]["to_ms"].as_u64() >= json["records"][0]["from_ms"].as_u64());
    assert_eq!(json["records"][1]["end"], Value::Null);
    assert_eq!(json["records"][1]["to_ms"], Value::Null);
}

#[tokio::test]
async fn faults_and_endings_come_by_post() {
    let emulator = emulator(|_| {}).await;
    let address = emulator.readiness_address();
    let mut session = session(&emulator, Family::Web).await;
    assert_eq!(post(address, "/fault", "go-silent\n").await.0, 200);
    assert_eq!(emulator.fault().to_string(), "go-silent");
    let (status, message) = post(address, "/fault", "be good").await;
    assert_eq!(status, 400);
    assert!(message.contains("fail-first-connects=N"), "{message}");
    assert_eq!(post(address, "/ready", "false").await.0, 200);
    assert_eq!(get(&emulator, "/v1/streaming/ready").await.status, 500);
    assert_eq!(
        post(address, "/end", "close=1001,bye").await,
        (200, "sessions told to end: 1".to_owned())
    );
    let departure = timeout(PATIENCE, session.departure())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(
        departure,
        Departure::Close {
            code: Some(1001),
            reason: "bye".to_owned()
        }
    );
    assert_eq!(post(address, "/records", "").await.0, 405);
    assert_eq!(post(address, "/", "").await.0, 404);
}

/// The program, killed if a test fails before it has ended.
struct Program(std::process::Child);

impl Drop for Program {
    fn drop(&mut self) {
        // It has mostly ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[tokio::test]
async fn the_program_serves_until_it_is_terminated() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_runtime-emulator"));
    command.args([
        "--web-port",
        "0",
        "--native-port",
        "0",
        "--readiness-port",
        "0",
        "--second-client",
        "reject",
    ]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut program = Program(child);
    let mut lines = BufReader::new(program.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    assert!(
        lines
            .next()
            .unwrap()
            .contains("stands in for the CloudXR Runtime")
    );
    let web = lines.next().unwrap();
    let url = web.split_whitespace().last().unwrap();
    assert!(web.starts_with("web "), "{web}");
    let mut session: Session = berth_client::connect(&Target::new(url).unwrap())
        .await
        .unwrap();
    session.send(Message::text("hello")).await.unwrap();
    assert_eq!(session.receive().await.unwrap(), Message::text("hello"));

    let pid = nix::unistd::Pid::from_raw(program.0.id().try_into().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    let departure = timeout(PATIENCE, session.departure())
        .await
        .unwrap()
        .unwrap();
    assert!(
        matches!(
            departure,
            Departure::Close {
                code: Some(1001),
                ..
            }
        ),
        "{departure}"
    );
    let status = tokio::task::spawn_blocking(move || program.0.wait().unwrap())
        .await
        .unwrap();
    assert!(status.success(), "{status}");
}

#[test]
fn the_program_says_what_is_wrong() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let cases: [(&[&str], i32, &str); 3] = [
        (&["--fault", "nonsense"], 2, "fail-first-connects=N"),
        (&["--second-client", "kill"], 2, "evict"),
        (&["--web-port", &port], 1, &format!("127.0.0.1 port {port}")),
    ];
    for (arguments, code, message) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_runtime-emulator"));
        let output = command.args(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{arguments:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains(message), "{arguments:?}: {said}");
    }
}
