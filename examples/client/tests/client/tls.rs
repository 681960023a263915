//! `wss`: an emulator behind a TLS terminator of the test's own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use berth_client::{ConnectError, Departure, Family, Message, Target, connect};
use berth_runtime_emulator::{Emulator, EmulatorConfig};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::TlsAcceptor;

/// A TLS terminator with a certificate for `localhost` and `berth.example`.
pub(crate) struct Terminator {
    pub(crate) address: SocketAddr,
    pub(crate) ca: tempfile::NamedTempFile,
    certificate: CertificateDer<'static>,
    _task: JoinSet<()>,
}

impl Terminator {
    pub(crate) async fn start(upstream: SocketAddr) -> Self {
        let authority = authority();
        let key = KeyPair::generate().unwrap();
        let names = ["localhost".to_owned(), "berth.example".to_owned()];
        let leaf = CertificateParams::new(names)
            .unwrap()
            .signed_by(&key, &authority)
            .unwrap();
        let ca = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(ca.path(), authority.pem()).unwrap();

        let certificate = leaf.der().clone();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (tcp, _) = listener.accept().await.unwrap();
                let acceptor = acceptor.clone();
                connections.spawn(async move {
                    // Some tests want the handshake to fail.
                    let Ok(mut client) = acceptor.accept(tcp).await else {
                        return;
                    };
                    let mut upstream = TcpStream::connect(upstream).await.unwrap();
                    let _ = copy_bidirectional(&mut client, &mut upstream).await;
                });
            }
        });
        Self {
            address,
            ca,
            certificate,
            _task: task,
        }
    }

    fn target(&self, host: &str, path: &str, ca: &Path) -> Target {
        let target = Target::new(&format!("wss://{host}:{}{path}", self.address.port())).unwrap();
        target.ca_file(ca).unwrap().connect_to(self.address)
    }
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

#[tokio::test]
async fn a_session_over_tls_is_like_any_other() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    for (family, host, path) in [
        (Family::Web, "localhost", "/sign_in?a=b"),
        (Family::Native, "berth.example", "/rtsp"),
    ] {
        let terminator = Terminator::start(emulator.address(family)).await;
        let mut session = connect(&terminator.target(host, path, terminator.ca.path()))
            .await
            .unwrap();
        let tls = session.tls().unwrap();
        assert_eq!(
            (tls.version, tls.certificate.as_ref()),
            ("TLSv1.3", Some(&terminator.certificate))
        );
        for message in [Message::text("hello"), Message::binary(vec![7; 1 << 20])] {
            session
                .send_fragmented(message.clone(), 1 << 14)
                .await
                .unwrap();
            assert!(session.receive_data().await.unwrap() == message);
        }
        let departure = session.close(4000, "bye").await.unwrap();
        assert_eq!(
            departure,
            Departure::Close {
                code: Some(4000),
                reason: "bye".to_owned()
            }
        );
        let host_header = format!("{host}:{}", terminator.address.port());
        assert_eq!(
            emulator.records().last().unwrap().header("host"),
            Some(host_header.as_str())
        );
    }
}

#[tokio::test]
async fn ends_without_a_close_frame_are_told_apart() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let terminator = Terminator::start(emulator.web_address()).await;
    let mut session = connect(&terminator.target("localhost", "/sign_in", terminator.ca.path()))
        .await
        .unwrap();
    emulator.finish_tcp_all();
    assert_eq!(session.departure().await.unwrap(), Departure::Fin);

    let mut session = connect(&terminator.target("localhost", "/sign_in", terminator.ca.path()))
        .await
        .unwrap();
    // The terminator goes, without TLS's own farewell.
    drop(terminator);
    assert_eq!(session.departure().await.unwrap(), Departure::Fin);
}

#[tokio::test]
async fn a_certificate_has_to_fit() {
    let emulator = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let terminator = Terminator::start(emulator.web_address()).await;
    let stranger = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(stranger.path(), authority().pem()).unwrap();
    let trustless = Target::new(&format!(
        "wss://localhost:{}/sign_in",
        terminator.address.port()
    ))
    .unwrap();
    let cases = [
        (
            "another CA",
            terminator.target("localhost", "/sign_in", stranger.path()),
        ),
        (
            "another name",
            terminator.target("else.example", "/sign_in", terminator.ca.path()),
        ),
        (
            "an address instead of the name",
            terminator.target("127.0.0.1", "/sign_in", terminator.ca.path()),
        ),
        ("no CA", trustless.connect_to(terminator.address)),
    ];
    for (case, target) in cases {
        let error = connect(&target).await.unwrap_err();
        assert!(matches!(error, ConnectError::Tls(_)), "{case}: {error}");
    }
    assert_eq!(emulator.requests(), 0);
}
