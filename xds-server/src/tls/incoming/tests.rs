use std::net::Ipv4Addr;

use rcgen::SanType;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_stream::StreamExt;
use tonic::transport::server::Connected;

use super::*;
use crate::clock::Clock;
use crate::peer::Peer;
use crate::tls::files::tests::{Authority, Pair, contents, files};

struct Port {
    ca: Authority,
    address: SocketAddr,
    incoming: Incoming,
    denials: Denials,
    current: watch::Sender<Arc<ServerConfig>>,
}

impl Port {
    async fn open(limits: Limits) -> Self {
        let ca = Authority::new();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let denials = Denials::new(Clock::start());
        let contents = contents(&ca.server("berth.example"), &ca.pem());
        let (current, configs) = watch::channel(files().server_config(&contents).unwrap());
        let incoming = incoming(listener, configs, denials.clone(), limits);
        Self {
            ca,
            address,
            incoming,
            denials,
            current,
        }
    }

    /// A client that trusts our CA and shows this.
    async fn connect(&self, identity: Option<&Pair>) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        let ca = CertificateDer::from_pem_slice(self.ca.pem().as_bytes()).unwrap();
        roots.add(ca).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots);
        let config = match identity {
            Some((chain, key)) => {
                let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).unwrap()];
                let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
                config.with_client_auth_cert(chain, key).unwrap()
            }
            None => config.with_no_client_auth(),
        };
        let stream = TcpStream::connect(self.address).await?;
        let name = ServerName::try_from("berth.example").unwrap();
        TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
    }

    /// Whose connection comes next, as the server has it.
    async fn next_peer(&mut self) -> Peer {
        let next = tokio::time::timeout(PATIENCE, self.incoming.next());
        let connection = next.await.expect("in time").expect("one").unwrap();
        connection.connect_info()
    }

    async fn counted(&self, outcome: &'static str, count: u64) {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        while self.denials.handshakes_with(outcome) < count {
            let so_far = self.denials.handshakes_with(outcome);
            assert!(
                tokio::time::Instant::now() < deadline,
                "{outcome}: {so_far}"
            );
            tokio::task::yield_now().await;
        }
        assert_eq!(self.denials.handshakes_with(outcome), count, "{outcome}");
    }
}

fn dns(name: &str) -> SanType {
    SanType::DnsName(name.try_into().unwrap())
}

fn uri(name: &str) -> SanType {
    SanType::URI(name.try_into().unwrap())
}

#[tokio::test]
async fn a_connection_has_the_names_of_its_certificate() {
    let mut port = Port::open(Limits::default()).await;
    let ip = SanType::IpAddress(Ipv4Addr::LOCALHOST.into());
    let cases: [(&[SanType], &[&str]); 3] = [
        (
            &[uri("spiffe://example.com/edge-1"), ip, dns("edge-1")],
            &["spiffe://example.com/edge-1", "edge-1"],
        ),
        (&[dns("edge-2")], &["edge-2"]),
        (&[], &[]),
    ];
    for (names, expected) in cases {
        let client = port.connect(Some(&port.ca.client(names))).await.unwrap();
        let Peer::Certified(certified) = port.next_peer().await else {
            panic!("{expected:?}: it was not asked");
        };
        assert_eq!(&*certified.names, expected);
        drop(client);
    }
    port.counted("done", 3).await;
}

#[tokio::test]
async fn who_is_not_ours_does_not_come_in() {
    let mut port = Port::open(Limits::default()).await;
    let names = [dns("edge-1")];
    let foreign = Authority::new().client(&names);
    let expired = port.ca.expired_client(&names);
    let server = port.ca.server("edge-1");
    for (identity, outcome, count) in [
        (None, "no_certificate", 1),
        (Some(&foreign), "untrusted", 1),
        (Some(&expired), "untrusted", 2),
        (Some(&server), "untrusted", 3),
    ] {
        // With TLS 1.3 a client hears of it when it reads.
        if let Ok(mut stream) = port.connect(identity).await {
            assert!(stream.read_u8().await.is_err(), "{outcome}");
        }
        port.counted(outcome, count).await;
    }
    let mut plain = TcpStream::connect(port.address).await.unwrap();
    plain
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    port.counted("not_tls", 1).await;
    drop(TcpStream::connect(port.address).await.unwrap());
    port.counted("broken", 1).await;

    let client = port.connect(Some(&port.ca.client(&names))).await.unwrap();
    let peer = port.next_peer().await;
    assert!(peer.may_be("edge-1"), "nobody else was first: {peer:?}");
    drop(client);
}

#[tokio::test]
async fn silence_holds_up_nobody() {
    let limits = Limits {
        handshakes: 4,
        ..Limits::default()
    };
    let mut port = Port::open(limits).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(TcpStream::connect(port.address).await.unwrap());
    }
    let identity = port.ca.client(&[dns("edge-1")]);
    let client = port.connect(Some(&identity)).await.unwrap();
    assert!(port.next_peer().await.may_be("edge-1"));
    // All but four of the silent ones had to make room for a later one, and one of these for the client.
    port.counted("crowded_out", 17).await;
    for mut stream in silent.into_iter().take(17) {
        assert_eq!(stream.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    }
    drop(client);
}

#[tokio::test]
async fn who_is_silent_is_not_waited_for() {
    let limits = Limits {
        within: Duration::from_millis(50),
        ..Limits::default()
    };
    let port = Port::open(limits).await;
    let mut silent = TcpStream::connect(port.address).await.unwrap();
    assert_eq!(silent.read(&mut [0]).await.unwrap_or(0), 0, "it is closed");
    port.counted("too_slow", 1).await;
}

#[tokio::test]
async fn a_new_connection_has_the_new_configuration() {
    let mut port = Port::open(Limits::default()).await;
    let names = [dns("edge-1")];
    let old = port.ca.client(&names);
    let kept = port.connect(Some(&old)).await.unwrap();
    assert!(port.next_peer().await.may_be("edge-1"));

    let trusted = Authority::new();
    let contents = contents(&port.ca.server("berth.example"), &trusted.pem());
    let config = files().server_config(&contents).unwrap();
    port.current.send_replace(config);
    if let Ok(mut stream) = port.connect(Some(&old)).await {
        assert!(stream.read_u8().await.is_err());
    }
    port.counted("untrusted", 1).await;
    let new = port.connect(Some(&trusted.client(&names))).await.unwrap();
    assert!(port.next_peer().await.may_be("edge-1"));
    drop((kept, new));
}

#[tokio::test]
async fn the_port_closes_with_who_takes_its_connections() {
    let Port {
        address, incoming, ..
    } = Port::open(Limits::default()).await;
    drop(incoming);
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while TcpStream::connect(address).await.is_ok() {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::task::yield_now().await;
    }
}

const PATIENCE: Duration = Duration::from_secs(20);
