//! The xDS port over TLS: an Envoy is the node that its certificate names, and nobody else is anybody.
#![cfg(test)]

use std::time::Duration;

use berth_client::Message;
use berth_tests::{Authority, Error, Seen, World, XdsTls, wait_until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_envoy_is_only_the_node_that_its_certificate_names() {
    let world = World::builder()
        .web_instances(4)
        .xds_tls()
        .start()
        .await
        .unwrap();
    let mut live = world.client("web").unwrap().connect().await.unwrap();
    assert_eq!(metric(&world, "berth_xds_nodes_denied_total").await, 0.0);

    let authority = &world.xds_tls().unwrap().authority;
    let identity = authority.issue("edge-9").unwrap();
    let pretender = world.another_envoy("envoy-0", &identity, authority.pem());
    let pretender = pretender.await.unwrap();
    more_than(&world, "berth_xds_nodes_denied_total", 0.0).await;
    pretender.kill().await.unwrap();
    let log = world.berth().log();
    let why = "the certificate is not for node `envoy-0`: it is for `edge-9`";
    assert!(log.contains(why), "{log}");

    let honest = world.another_envoy("edge-9", &identity, authority.pem());
    let honest = honest.await.unwrap();
    honest.ready().await.unwrap();
    honest.kill().await.unwrap();
    echoed(&mut live).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_not_ours_gets_nothing_and_harms_nobody() {
    let world = World::builder()
        .web_instances(4)
        .xds_tls()
        .start()
        .await
        .unwrap();
    let ours = world.xds_tls().unwrap().authority.pem();
    let foreign = Authority::new().unwrap();
    let foreigner = foreign.issue("envoy-1").unwrap();
    let foreigner = world
        .another_envoy("envoy-1", &foreigner, ours)
        .await
        .unwrap();
    more_than(
        &world,
        "berth_xds_handshakes_total{outcome=\"untrusted\"}",
        0.0,
    )
    .await;
    let listening = foreigner.listening_ports().await.unwrap_or_default();
    assert!(listening.is_empty(), "{listening:?}");
    foreigner.kill().await.unwrap();

    // One that trusts somebody else breaks it off by itself.
    let authority = &world.xds_tls().unwrap().authority;
    let misled = authority.issue("envoy-1").unwrap();
    let misled = world.another_envoy("envoy-1", &misled, foreign.pem());
    let misled = misled.await.unwrap();
    more_than(
        &world,
        "berth_xds_handshakes_total{outcome=\"refused\"}",
        0.0,
    )
    .await;
    misled.kill().await.unwrap();

    // gRPC without TLS.
    let mut plain = TcpStream::connect(world.berth().xds()).await.unwrap();
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
    plain.write_all(preface).await.unwrap();
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(SOON, plain.read_to_end(&mut answer))
        .await
        .unwrap();
    more_than(
        &world,
        "berth_xds_handshakes_total{outcome=\"not_tls\"}",
        0.0,
    )
    .await;

    let mut silent = Vec::new();
    for _ in 0..200 {
        silent.push(TcpStream::connect(world.berth().xds()).await.unwrap());
    }
    world.envoy(0).unwrap().restart().await.unwrap();
    world.settled().await.unwrap();
    let mut session = world.client("web").unwrap().connect().await.unwrap();
    echoed(&mut session).await;
    drop(silent);
    assert_eq!(metric(&world, "berth_xds_nodes_denied_total").await, 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_and_their_ca_change_and_nobody_is_dropped() {
    let world = World::builder()
        .web_instances(4)
        .xds_tls()
        .start()
        .await
        .unwrap();
    let mut live = world.client("web").unwrap().connect().await.unwrap();
    let (envoy, tls) = (world.envoy(0).unwrap(), world.xds_tls().unwrap());

    let next = Authority::new().unwrap();
    let server = XdsTls::server(&next).unwrap();
    tls.berth.replace(&server, next.pem()).unwrap();
    said(&world, "the xDS port has another certificate").await;
    let newcomer = next.issue("edge-9").unwrap();
    let newcomer = world.another_envoy("edge-9", &newcomer, next.pem());
    let newcomer = newcomer.await.unwrap();
    newcomer.ready().await.unwrap();
    newcomer.kill().await.unwrap();

    // The other Envoy has its stream still, and finds the control plane again with its own new certificate.
    let files = world.identity_of(envoy);
    files
        .replace(&next.issue(envoy.node()).unwrap(), next.pem())
        .unwrap();
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    echoed(&mut live).await;
    let mut session = world.client("web").unwrap().connect().await.unwrap();
    echoed(&mut session).await;

    // A key that is not the certificate's.
    std::fs::copy(&files.private_key, &tls.berth.private_key).unwrap();
    said(
        &world,
        "it goes on with the certificate and the CA from before",
    )
    .await;
    envoy.restart().await.unwrap();
    world.settled().await.unwrap();
}

async fn echoed(session: &mut berth_client::Session) {
    session.send(Message::text("hello")).await.unwrap();
    let answer = session.receive_data().await.unwrap();
    assert_eq!(answer, Message::text("hello"));
}

async fn metric(world: &World, series: &str) -> f64 {
    world.berth().metric(series).await.unwrap()
}

async fn more_than(world: &World, series: &str, before: f64) {
    wait_until(format!("{series} to grow"), SOON, async || {
        let value = world.berth().metric(series).await?;
        Ok::<_, Error>(Seen::when(value > before, format!("{value}")))
    })
    .await
    .unwrap();
}

async fn said(world: &World, what: &str) {
    wait_until(
        format!("the control plane to say: {what}"),
        SOON,
        async || {
            let log = world.berth().log();
            Ok::<_, Error>(Seen::when(log.contains(what), log))
        },
    )
    .await
    .unwrap();
}
