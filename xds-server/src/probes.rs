//! Asks instances how they are. What the answers mean is `fleet`'s business.

use std::{io, net::SocketAddr, time::Duration};

use reqwest::{Client, StatusCode, redirect};
use tokio::{
    net::TcpStream,
    sync::mpsc,
    task::JoinSet,
    time::{self, MissedTickBehavior},
};

use crate::{
    causes::Causes,
    config::{Config, Probe, ProbeKind},
    http,
    placement::InstanceName,
};

/// One instance to probe.
#[derive(Debug, Clone)]
pub struct Target {
    /// Goes back with every result.
    pub instance: InstanceName,
    /// Its signaling socket.
    pub address: SocketAddr,
    /// How to ask.
    pub probe: Probe,
}

/// What one probe found.
#[derive(Debug)]
pub struct ProbeResult {
    /// Who was asked.
    pub instance: InstanceName,
    /// The answer.
    pub result: Result<(), ProbeFailure>,
}

/// Why a probe failed.
#[derive(Debug, thiserror::Error)]
pub enum ProbeFailure {
    /// No TCP connection.
    #[error("no connection to {address}: {error}")]
    Connect {
        /// Where to.
        address: SocketAddr,
        /// What the system says.
        error: io::Error,
    },
    /// An HTTP request without an HTTP answer.
    #[error("no answer to GET {url}: {}", Causes(error))]
    Request {
        /// What was asked.
        url: String,
        /// What happened.
        error: reqwest::Error,
    },
    /// An HTTP answer that is not 2xx. A redirection is not followed: it says nothing of the instance.
    #[error("GET {url} was answered {status}")]
    Status {
        /// What was asked.
        url: String,
        /// The answer.
        status: StatusCode,
    },
    /// Nothing within the probe's timeout.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// The HTTP client cannot be set up.
#[derive(Debug, thiserror::Error)]
#[error("cannot set up HTTP for probes: {0}")]
pub struct SetupError(#[from] reqwest::Error);

/// The probes of a number of instances; they end when this is dropped.
#[derive(Debug)]
pub struct Probes {
    _tasks: JoinSet<()>,
}

impl Probes {
    /// Probes each target at once and then every `interval`, an instance's next probe never before
    /// the end of its last, until this is dropped or nobody takes `results` any more. A full
    /// channel holds probes back. Needs a tokio runtime around it.
    ///
    /// # Errors
    /// [`SetupError`], before anything is probed.
    pub fn start(
        targets: impl IntoIterator<Item = Target>,
        results: &mpsc::Sender<ProbeResult>,
    ) -> Result<Self, SetupError> {
        // Each probe is a new connection, straight to the instance: an idle one from earlier or a
        // proxy from the environment would answer for something else.
        let client = http::plain_client()
            .pool_max_idle_per_host(0)
            .redirect(redirect::Policy::none())
            .build()?;
        let mut tasks = JoinSet::new();
        for target in targets {
            tasks.spawn(probe_for_ever(target, client.clone(), results.clone()));
        }
        Ok(Self { _tasks: tasks })
    }
}

impl Target {
    /// All instances of a configuration.
    pub fn all(config: &Config) -> impl Iterator<Item = Self> {
        config.pools.iter().flat_map(|pool| {
            pool.instances.iter().map(|instance| Self {
                instance: instance.name.clone(),
                address: instance.address,
                probe: pool.probe.clone(),
            })
        })
    }

    async fn ask(&self, client: &Client) -> Result<(), ProbeFailure> {
        let limit = self.probe.timeout;
        let answer = async {
            match &self.probe.kind {
                ProbeKind::Tcp => connect(self.address).await,
                ProbeKind::Http { port, path } => {
                    let host = SocketAddr::new(self.address.ip(), port.get());
                    get(client, format!("http://{host}{path}")).await
                }
            }
        };
        time::timeout(limit, answer)
            .await
            .unwrap_or(Err(ProbeFailure::Timeout(limit)))
    }
}

async fn probe_for_ever(target: Target, client: Client, results: mpsc::Sender<ProbeResult>) {
    let mut interval = time::interval(target.probe.interval);
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        interval.tick().await;
        let result = ProbeResult {
            instance: target.instance.clone(),
            result: target.ask(&client).await,
        };
        if results.send(result).await.is_err() {
            return;
        }
    }
}

/// A connection and no more: a runtime has room for one session, and a probe must not be it.
async fn connect(address: SocketAddr) -> Result<(), ProbeFailure> {
    match TcpStream::connect(address).await {
        Ok(_) => Ok(()),
        Err(error) => Err(ProbeFailure::Connect { address, error }),
    }
}

async fn get(client: &Client, url: String) -> Result<(), ProbeFailure> {
    match client.get(&url).send().await {
        Ok(response) if response.status().is_success() => Ok(()),
        Ok(response) => {
            let status = response.status();
            Err(ProbeFailure::Status { url, status })
        }
        Err(error) => {
            let error = error.without_url();
            Err(ProbeFailure::Request { url, error })
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU16, NonZeroU32};

    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::fleet::Thresholds;

    fn target(name: &str, address: SocketAddr, kind: ProbeKind) -> Target {
        Target {
            instance: InstanceName::from(name),
            address,
            probe: Probe {
                kind,
                interval: Duration::from_millis(20),
                timeout: Duration::from_millis(500),
                thresholds: Thresholds {
                    rise: NonZeroU32::MIN,
                    fall: NonZeroU32::MIN,
                },
            },
        }
    }

    async fn listen() -> (TcpListener, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        (listener, address)
    }

    /// Takes connections and answers each request with this; with nothing if it is empty.
    async fn answer(listener: TcpListener, response: &'static str) {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 1024];
            let length = stream.read(&mut request).await.unwrap();
            assert!(request[..length].starts_with(b"GET /v1/streaming/ready?x=1 HTTP/1.1\r\n"));
            stream.write_all(response.as_bytes()).await.unwrap();
            if response.is_empty() {
                open.push(stream);
            }
        }
    }

    async fn next(results: &mut mpsc::Receiver<ProbeResult>) -> Option<ProbeResult> {
        let patience = Duration::from_secs(20);
        let next = time::timeout(patience, results.recv()).await;
        next.expect("a result or the end of them")
    }

    #[tokio::test]
    async fn a_socket_that_takes_connections_is_up() {
        let (listener, address) = listen().await;
        let (sender, mut results) = mpsc::channel(1);
        let target = target("gpu-1", address, ProbeKind::Tcp);
        let _probes = Probes::start([target], &sender).unwrap();
        let first = next(&mut results).await.unwrap();
        assert_eq!(first.instance.as_str(), "gpu-1");
        first.result.unwrap();
        drop(listener);
        // A connection may still have been in the listener's queue.
        let refused = loop {
            if let Err(failure) = next(&mut results).await.unwrap().result {
                break failure;
            }
        };
        assert!(matches!(refused, ProbeFailure::Connect { .. }), "{refused}");
        // And the same socket again: the instance has come back.
        let _listener = TcpListener::bind(address).await.unwrap();
        while next(&mut results).await.unwrap().result.is_err() {}
    }

    #[tokio::test]
    async fn only_2xx_is_up() {
        for (response, expected) in [
            ("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", Ok(())),
            ("HTTP/1.1 204 No Content\r\n\r\n", Ok(())),
            (
                "HTTP/1.1 302 Found\r\nlocation: /\r\ncontent-length: 0\r\n\r\n",
                Err("was answered 302 Found"),
            ),
            (
                "HTTP/1.1 500 Internal Server Error\r\ncontent-length: 0\r\n\r\n",
                Err("was answered 500 Internal Server Error"),
            ),
            (
                "RTSP/1.0 200 OK\r\n\r\n",
                Err("invalid HTTP version parsed"),
            ),
            ("", Err("no answer within 500ms")),
        ] {
            let (listener, address) = listen().await;
            let server = tokio::spawn(answer(listener, response));
            let (sender, mut results) = mpsc::channel(1);
            // The signaling socket is elsewhere: only the port of the probe counts.
            let signaling = SocketAddr::new(address.ip(), 1);
            let kind = ProbeKind::Http {
                port: NonZeroU16::new(address.port()).unwrap(),
                path: "/v1/streaming/ready?x=1".to_owned(),
            };
            let _probes = Probes::start([target("gpu-1", signaling, kind)], &sender).unwrap();
            let result = next(&mut results).await.unwrap().result;
            match (result, expected) {
                (Ok(()), Ok(())) => {}
                (Err(failure), Err(text)) if failure.to_string().contains(text) => {}
                (result, _) => panic!("{response:?} gives {result:?}"),
            }
            assert!(!server.is_finished(), "the request was not as it should be");
            server.abort();
        }
    }

    #[tokio::test]
    async fn an_instance_that_hangs_does_not_hold_up_others() {
        let (listener, hung) = listen().await;
        let server = tokio::spawn(answer(listener, ""));
        let (_fine_listener, fine) = listen().await;
        let (sender, mut results) = mpsc::channel(1);
        let kind = ProbeKind::Http {
            port: NonZeroU16::new(hung.port()).unwrap(),
            path: "/v1/streaming/ready?x=1".to_owned(),
        };
        let targets = [
            target("hung", hung, kind),
            target("fine", fine, ProbeKind::Tcp),
        ];
        let _probes = Probes::start(targets, &sender).unwrap();
        let mut before_timeout = 0;
        while let Some(ProbeResult { instance, result }) = next(&mut results).await {
            if instance.as_str() == "hung" {
                assert!(matches!(result, Err(ProbeFailure::Timeout(_))));
                break;
            }
            before_timeout += 1;
        }
        assert!(before_timeout > 1, "the other was probed meanwhile");
        server.abort();
    }

    #[tokio::test]
    async fn probes_end_when_they_are_dropped() {
        let (_listener, address) = listen().await;
        let (sender, mut results) = mpsc::channel(1);
        let target = target("gpu-1", address, ProbeKind::Tcp);
        let probes = Probes::start([target], &sender).unwrap();
        drop(sender);
        next(&mut results).await.unwrap();
        drop(probes);
        // Each task has a sender: the channel ends when the last task has.
        while next(&mut results).await.is_some() {}
    }
}
