//! A whole gateway from `envoy/gateway/bootstrap.yaml`.
#![cfg(test)]

use std::fs;
use std::path::Path;
use std::time::Duration;

use berth_client::Message;
use berth_tests::World;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn it_starts_from_the_bootstrap_that_is_there_to_read() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    // But for who it is, its admin interface and the control plane's port.
    let started = fs::read_to_string(world.folder().join("envoy-0.yaml")).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy/gateway/bootstrap.yaml");
    let file = fs::read_to_string(file).unwrap();
    let port = format!("port_value: {}", world.berth().xds().port());
    let (admin, rest) = started
        .split_once("\nadmin:\n")
        .and_then(|(head, rest)| Some((head, rest.split_once("\n\n")?.1)))
        .unwrap();
    let started = format!("{admin}\n{rest}")
        .replace("envoy-0", "edge-1")
        .replace(&port, "port_value: 18000");
    assert_eq!(started, file);

    for pool in ["web", "native"] {
        let client = world.client(pool).unwrap();
        let mut session = client.connect().await.unwrap();
        session.send(Message::text("hello")).await.unwrap();
        let echo = session.receive_data().await.unwrap();
        assert_eq!(echo, Message::text("hello"), "{pool}");
        let refusal = client.without_token().refusal().await.unwrap();
        let told = (refusal.status, refusal.reason());
        assert_eq!(told, (401, Some("no_token")), "{pool}");
    }
    for (path, status, says) in [
        ("/", 200, "text/html; charset=utf-8"),
        ("/other", 404, "application/json"),
    ] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        let mut connection = world.raw().await.unwrap();
        connection.write(request.as_bytes()).await.unwrap();
        let answer = connection.answer(SOON).await.unwrap();
        assert_eq!(answer.status, status, "{path} {answer:?}");
        assert_eq!(answer.header("content-type"), Some(says), "{path}");
    }
}
