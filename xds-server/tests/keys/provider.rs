//! An identity provider that does as it is told.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::serve::Listener;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tokio::io;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::server::TlsStream;

/// How a path is answered.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(u16),
    Text(String),
    /// With 302, to there.
    Redirect(String),
    /// With so many bytes.
    Large(usize),
    /// Not at all.
    Never,
}

/// Listens until it is dropped.
pub(crate) struct Provider {
    /// `https://127.0.0.1:PORT` or `http://…`.
    pub(crate) url: String,
    /// Who vouches for it, in PEM.
    pub(crate) ca_pem: String,
    site: Arc<Mutex<Site>>,
    server: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Default)]
struct Site {
    answers: HashMap<String, Answer>,
    asked: Vec<String>,
}

impl Provider {
    pub(crate) async fn plain() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start("http", String::new(), listener)
    }

    pub(crate) async fn encrypted() -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let ca = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let key = KeyPair::generate().unwrap();
        let leaf = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let leaf = leaf.signed_by(&key, &ca).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![leaf.der().clone()], key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(config));
        Self::start("https", ca.pem(), Encrypted { tcp, acceptor })
    }

    fn start<L>(scheme: &str, ca_pem: String, listener: L) -> Self
    where
        L: Listener<Addr = SocketAddr>,
    {
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        let site = Arc::<Mutex<Site>>::default();
        let router = Router::new().fallback(answer).with_state(Arc::clone(&site));
        let server = tokio::spawn(async { axum::serve(listener, router).await.unwrap() });
        Self {
            url,
            ca_pem,
            site,
            server,
        }
    }

    /// From now on `path` is answered like that.
    pub(crate) fn set(&self, path: &str, answer: Answer) {
        let mut site = self.site.lock().unwrap();
        site.answers.insert(path.to_owned(), answer);
    }

    /// The paths that were asked for up to now.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.site.lock().unwrap().asked.clone()
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.server.abort();
    }
}

async fn answer(State(site): State<Arc<Mutex<Site>>>, request: Request) -> Response {
    let answer = {
        let path = request.uri().path().to_owned();
        let mut site = site.lock().unwrap();
        let answer = site.answers.get(&path).cloned();
        site.asked.push(path);
        answer.unwrap_or(Answer::Status(404))
    };
    match answer {
        Answer::Status(status) => StatusCode::from_u16(status).unwrap().into_response(),
        Answer::Text(text) => text.into_response(),
        Answer::Redirect(to) => (StatusCode::FOUND, [(header::LOCATION, to)]).into_response(),
        Answer::Large(length) => vec![b' '; length].into_response(),
        Answer::Never => std::future::pending().await,
    }
}

/// TLS on top of TCP.
struct Encrypted {
    tcp: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, address) = self.tcp.accept().await.unwrap();
            // Who does not trust us hangs up.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}
