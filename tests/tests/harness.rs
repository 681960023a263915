//! The harness itself, as far as it needs Envoy or root.

use std::net::Ipv4Addr;
use std::time::Duration;

use berth_tests::netns::{self, Namespace};
use berth_tests::{Certificates, Envoy, EnvoySpec, Error, Ports, Scratch, Seen, raw, wait_until};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(10);

/// An Envoy that answers everything by itself.
struct Static {
    envoy: Envoy,
    port: u16,
    certificates: Certificates,
    _ports: Ports,
    scratch: Scratch,
}

impl Static {
    async fn start(
        bootstrap: impl FnOnce(u16, u16, &Certificates) -> String,
    ) -> Result<Self, Error> {
        let mut ports = Ports::new();
        let scratch = Scratch::temporary()?;
        let certificates = Certificates::load_or_create(&scratch.path().join("tls"))?;
        let (port, admin_port) = (ports.take()?, ports.take()?);
        let file = scratch.path().join("envoy.yaml");
        std::fs::write(&file, bootstrap(port, admin_port, &certificates)).map_err(|source| {
            Error::Io {
                what: file.display().to_string(),
                source,
            }
        })?;
        let spec = EnvoySpec {
            name: "envoy-0".to_owned(),
            bootstrap: file,
            workers: 1,
            log_level: "info".to_owned(),
            admin_port,
            https: (Ipv4Addr::LOCALHOST, port).into(),
            native: (Ipv4Addr::LOCALHOST, port).into(),
        };
        let envoy = Envoy::start(spec, scratch.path())?;
        envoy.ready().await?;
        Ok(Self {
            envoy,
            port,
            certificates,
            _ports: ports,
            scratch,
        })
    }

    async fn get(&self, within: Duration) -> Result<raw::Answer, Error> {
        let address = (Ipv4Addr::LOCALHOST, self.port).into();
        let mut connection = raw::Dial::new(address, &self.certificates.ca)
            .open(within)
            .await?;
        connection
            .write(b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n")
            .await?;
        connection.answer(within).await
    }
}

fn teapot(port: u16, admin_port: u16, certificates: &Certificates) -> String {
    let (chain, key) = (
        certificates.chain.display(),
        certificates.private_key.display(),
    );
    format!(
        r#"
admin: {{ address: {{ socket_address: {{ address: 127.0.0.1, port_value: {admin_port} }} }} }}
static_resources:
  listeners:
  - name: teapot
    address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates:
            - {{ certificate_chain: {{ filename: {chain} }}, private_key: {{ filename: {key} }} }}
      filters:
      - name: http
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: teapot
          http_filters:
          - name: router
            typed_config: {{ "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }}
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - {{ match: {{ prefix: / }}, direct_response: {{ status: 418, body: {{ inline_string: short }} }} }}
"#
    )
}

#[tokio::test]
async fn an_envoy_starts_tells_and_ends_in_every_way() {
    let it = Static::start(teapot).await.unwrap();
    let answer = it.get(SOON).await.unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (418, "short"));
    assert_eq!(
        it.envoy
            .stat("http.teapot.downstream_rq_4xx")
            .await
            .unwrap(),
        Some(1)
    );
    assert_eq!(
        it.envoy.stat("http.teapot.no_such_thing").await.unwrap(),
        None
    );
    assert!(
        it.envoy
            .config_dump()
            .await
            .unwrap()
            .to_string()
            .contains("short")
    );
    assert_eq!(it.envoy.listening_ports().await.unwrap(), [it.port]);

    it.envoy.restart().await.unwrap();
    it.envoy.pause().unwrap();
    assert!(it.get(Duration::from_millis(200)).await.is_err());
    it.envoy.resume().unwrap();
    assert_eq!(it.get(SOON).await.unwrap().status, 418);

    it.envoy.kill().await.unwrap();
    assert!(it.get(SOON).await.is_err());
    assert!(it.envoy.check().is_err());
    it.envoy.restart().await.unwrap();
    it.envoy.stop().await.unwrap();
    assert!(it.scratch.path().join("envoy-0.log").exists());
}

#[tokio::test]
async fn an_envoy_that_refuses_its_bootstrap_is_told_with_its_log() {
    let started = Static::start(|_, _, _| "static_resources: { listners: [] }".to_owned()).await;
    let Err(Error::Ended { log, .. }) = started else {
        panic!("it started");
    };
    assert!(log.contains("listners"), "{log}");
}

#[tokio::test]
async fn a_client_whose_cable_is_pulled_just_falls_silent() {
    if let Some(why) = netns::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    let namespace = Namespace::create().await.unwrap();
    let listener = TcpListener::bind((namespace.host_address(), 0))
        .await
        .unwrap();
    let script = format!(
        "import socket, time\n\
         s = socket.create_connection(('{}', {}))\n\
         while True: s.send(b'.'); time.sleep(0.05)",
        namespace.host_address(),
        listener.local_addr().unwrap().port()
    );
    let mut client = namespace
        .command("python3")
        .args(["-c", &script])
        .spawn()
        .unwrap();
    let (mut socket, peer) = listener.accept().await.unwrap();
    assert_eq!(peer.ip(), namespace.address());
    let mut byte = [0];
    socket.read_exact(&mut byte).await.unwrap();

    namespace.cut().await.unwrap();
    // Even the client's death sends nothing: what is still on its way runs dry, and no end comes.
    client.kill().await.unwrap();
    wait_until("silence", SOON, async || {
        let heard = tokio::time::timeout(Duration::from_millis(300), socket.read(&mut byte)).await;
        match heard {
            Err(_silent) => Ok(Seen::Yes(())),
            Ok(Ok(1)) => Ok(Seen::NotYet("still bytes".to_owned())),
            Ok(end) => Err(Error::Impossible(format!(
                "the client's end was heard: {end:?}"
            ))),
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_namespace_is_gone_when_dropped() {
    if let Some(why) = netns::unavailable() {
        eprintln!("skipped: {why}");
        return;
    }
    let namespace = Namespace::create().await.unwrap();
    let address = namespace.host_address();
    assert!(TcpListener::bind((address, 0)).await.is_ok());
    drop(namespace);
    assert!(TcpListener::bind((address, 0)).await.is_err());
}
