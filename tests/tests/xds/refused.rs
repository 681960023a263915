//! What a real Envoy will not take: it says so once, goes on with what it had, and takes what is right as soon as it comes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use berth::xds::{
    BootstrapSpec, NodeEvent, Resource, ResourceType, Snapshot, StreamEvent, bootstrap_yaml,
};
use berth_tests::{Envoy, EnvoySpec, Error, Ports, Scratch};
use tokio::net::TcpListener;
use tokio::time::timeout;

use crate::config;
use crate::server::TestServer;

/// A resource that is made bad.
struct Case {
    of: ResourceType,
    name: &'static str,
    /// Another of its type, which changes with it.
    beside: Option<&'static str>,
    /// Envoy's count of what it refused.
    statistic: &'static str,
    /// Of two resources in one response Envoy drops both, and for some types it does not say which was at fault: then they
    /// come one at a time, and the bad one is refused a second time.
    rejections: u64,
}

const fn case(
    of: ResourceType,
    name: &'static str,
    beside: Option<&'static str>,
    statistic: &'static str,
    rejections: u64,
) -> Case {
    Case {
        of,
        name,
        beside,
        statistic,
        rejections,
    }
}

const CASES: &[Case] = &[
    case(ResourceType::Cluster, "web", None, CDS, 1),
    case(ResourceType::Cluster, "web", Some("other"), CDS, 1),
    case(ResourceType::Endpoint, "web", None, EDS, 1),
    case(ResourceType::Endpoint, "web", Some("other"), EDS, 2),
    case(ResourceType::Listener, "web", None, LDS, 1),
    case(ResourceType::Listener, "web", Some("other"), LDS, 1),
    case(ResourceType::Route, "web", None, RDS, 1),
    case(ResourceType::Route, "web", Some("other"), RDS, 2),
    case(ResourceType::Secret, "key", None, SDS, 1),
    case(ResourceType::Extension, "limit", None, ECDS, 1),
];

const CDS: &str = "cluster_manager.cds.update_rejected";
const EDS: &str = "cluster.web.update_rejected";
const LDS: &str = "listener_manager.lds.update_rejected";
const RDS: &str = "http.http.rds.web.update_rejected";
const SDS: &str = "sds.key.update_rejected";
const ECDS: &str = "extension_config_discovery.http_filter.limit.update_rejected";

#[tokio::test]
async fn by_an_envoy_that_is_told_the_state_of_the_world() {
    refuse_everything("GRPC").await;
}

#[tokio::test]
async fn by_an_envoy_that_is_told_differences() {
    refuse_everything("DELTA_GRPC").await;
}

async fn refuse_everything(api_type: &str) {
    let mut gateway = Gateway::start(api_type).await.unwrap();
    for Case {
        of,
        name,
        beside,
        statistic,
        rejections,
    } in CASES
    {
        let case = format!("{of:?} {name}, beside {beside:?}");
        let before = gateway.statistic(statistic).await;

        gateway.put_bad(*of, name);
        let changed = beside.map(|beside| gateway.put_next(*of, beside));
        gateway.publish();
        let told = gateway.until_refused_and_taken(changed).await;
        assert_eq!(told, [(*of, vec![(*name).to_owned()])], "{case}");
        assert_eq!(gateway.get().await.unwrap(), "here", "{case}");

        // The rest of the world goes on.
        for other in [ResourceType::Endpoint, ResourceType::Cluster] {
            let changed = gateway.put_next(other, "beside");
            gateway.publish();
            assert_eq!(gateway.until_taken(changed).await, [], "{case}");
        }

        let repaired = gateway.put_next(*of, name);
        gateway.publish();
        assert_eq!(gateway.until_taken(repaired).await, [], "{case}");
        assert_eq!(gateway.get().await.unwrap(), "here", "{case}");
        let rejected = gateway.statistic(statistic).await - before;
        assert_eq!(rejected, *rejections, "{case}");
    }
    assert_eq!(gateway.server.xds.streams().count(), 1);
    assert!(gateway.connections <= 1, "the stream broke");
}

#[derive(Clone, Copy)]
enum Variant {
    Good(u32),
    Bad(u32),
}

type Key = (ResourceType, &'static str);

struct Gateway {
    envoy: Envoy,
    server: TestServer,
    world: BTreeMap<Key, Variant>,
    last: u32,
    connections: usize,
    /// Where each listener is.
    listeners: BTreeMap<&'static str, SocketAddr>,
    upstream: SocketAddr,
    certificate: rcgen::CertifiedKey<rcgen::KeyPair>,
    http: reqwest::Client,
    _ports: Ports,
    _scratch: Scratch,
}

impl Gateway {
    async fn start(api_type: &str) -> Result<Self, Error> {
        let mut ports = Ports::new();
        let scratch = Scratch::temporary()?;
        let server = TestServer::start(4).await;
        let loopback = |port| SocketAddr::from(([127, 0, 0, 1], port));
        let listeners = BTreeMap::from([
            ("web", loopback(ports.take()?)),
            ("other", loopback(ports.take()?)),
        ]);
        let bootstrap = BootstrapSpec {
            node_id: "envoy-0".to_owned(),
            cluster: "test".to_owned(),
            zone: None,
            admin: Some(loopback(ports.take()?)),
            control_plane: server.address,
            tls: None,
        };
        let file = scratch.path().join("envoy.yaml");
        let text = bootstrap_yaml(&bootstrap).replace("DELTA_GRPC", api_type);
        std::fs::write(&file, text).map_err(|source| Error::Io {
            what: file.display().to_string(),
            source,
        })?;
        let spec = EnvoySpec {
            name: "envoy-0".to_owned(),
            bootstrap: file,
            workers: 1,
            log_level: "info".to_owned(),
            admin_port: bootstrap.admin.map_or(0, |admin| admin.port()),
            https: listeners["web"],
            native: listeners["other"],
        };
        let mut gateway = Self {
            envoy: Envoy::start(spec, scratch.path())?,
            server,
            world: BTreeMap::new(),
            last: 1,
            connections: 0,
            listeners,
            upstream: upstream().await,
            certificate: rcgen::generate_simple_self_signed(["test".to_owned()]).unwrap(),
            http: reqwest::Client::builder()
                .tls_certs_only([])
                .no_proxy()
                .build()
                .unwrap(),
            _ports: ports,
            _scratch: scratch,
        };
        for of in [
            ResourceType::Cluster,
            ResourceType::Endpoint,
            ResourceType::Listener,
            ResourceType::Route,
        ] {
            gateway.put(of, "web", Variant::Good(1));
            gateway.put(of, "other", Variant::Good(1));
        }
        gateway.put(ResourceType::Cluster, "beside", Variant::Good(1));
        gateway.put(ResourceType::Endpoint, "beside", Variant::Good(1));
        gateway.put(ResourceType::Secret, "key", Variant::Good(1));
        let last = gateway.put(ResourceType::Extension, "limit", Variant::Good(1));
        gateway.publish();
        gateway.until_taken(last).await;
        gateway.envoy.ready().await?;
        Ok(gateway)
    }

    fn put(&mut self, of: ResourceType, name: &'static str, variant: Variant) -> Key {
        self.world.insert((of, name), variant);
        (of, name)
    }

    /// Another bad one than any before: what was refused is not sent again.
    fn put_bad(&mut self, of: ResourceType, name: &'static str) -> Key {
        self.last += 1;
        self.put(of, name, Variant::Bad(self.last))
    }

    /// Another good one than any before.
    fn put_next(&mut self, of: ResourceType, name: &'static str) -> Key {
        self.last += 1;
        self.put(of, name, Variant::Good(self.last))
    }

    fn publish(&self) {
        let resources = self.world.keys().map(|key| (key.0, self.resource(*key)));
        let key = (ResourceType::Cluster, config::cluster_with_secret("key"));
        let snapshot = Snapshot::new(resources.chain([key])).unwrap();
        self.server.publish(&Arc::new(snapshot));
    }

    fn resource(&self, (of, name): Key) -> Resource {
        let variant = self.world[&(of, name)];
        let (Variant::Good(number) | Variant::Bad(number)) = variant;
        let is_good = matches!(variant, Variant::Good(_));
        let text = number.to_string();
        match of {
            ResourceType::Cluster => config::cluster(name, number, is_good),
            ResourceType::Endpoint => {
                let good = self.upstream.ip().to_string();
                let address = if is_good { &good } else { "not-an-ip" };
                config::endpoints(name, address, self.upstream.port(), number)
            }
            ResourceType::Listener => {
                let http_prefix = if is_good { "http" } else { "" };
                config::listener(name, self.listeners[name], [&text, http_prefix], "limit")
            }
            ResourceType::Route if is_good => config::routes(name, "web", &[&text]),
            ResourceType::Route => config::routes(name, "web", &[&text, "twice"]),
            ResourceType::Secret if is_good => {
                // What is outside of the PEM blocks is of no meaning.
                let chain = format!("{number}\n{}", self.certificate.cert.pem());
                config::secret(name, &chain, &self.certificate.signing_key.serialize_pem())
            }
            ResourceType::Secret => config::secret(name, &text, "no key"),
            ResourceType::Extension => config::extension(name, is_good.then_some(number)),
        }
    }

    /// Waits until Envoy has taken what is now under a name. What it refused meanwhile.
    async fn until_taken(&mut self, key: Key) -> Vec<(ResourceType, Vec<String>)> {
        let wanted = self.resource(key);
        self.until(|event| {
            matches!(event, StreamEvent::Acknowledged { resource_type, resources, .. }
            if *resource_type == key.0 && resources.iter().any(|taken| **taken == wanted))
        })
        .await
    }

    /// Waits until Envoy has refused something, and taken what is now under a name, if one is given.
    async fn until_refused_and_taken(
        &mut self,
        key: Option<Key>,
    ) -> Vec<(ResourceType, Vec<String>)> {
        let wanted = key.map(|key| (key.0, self.resource(key)));
        let (mut refused, mut taken) = (false, wanted.is_none());
        self.until(|event| {
            match event {
                StreamEvent::Refused { .. } => refused = true,
                StreamEvent::Acknowledged {
                    resource_type,
                    resources,
                    ..
                } => {
                    taken |= wanted.as_ref().is_some_and(|(of, wanted)| {
                        of == resource_type && resources.iter().any(|taken| **taken == *wanted)
                    });
                }
            }
            refused && taken
        })
        .await
    }

    async fn until(
        &mut self,
        mut is_last: impl FnMut(&StreamEvent) -> bool,
    ) -> Vec<(ResourceType, Vec<String>)> {
        let mut refused = Vec::new();
        loop {
            let event = timeout(SOON, self.server.events.recv())
                .await
                .expect("nothing happened");
            match event.unwrap() {
                NodeEvent::Connected { .. } => self.connections += 1,
                NodeEvent::Disconnected { .. } => {}
                NodeEvent::Stream { event, .. } => {
                    let is_last = is_last(&event);
                    if let StreamEvent::Refused {
                        resource_type,
                        names,
                        ..
                    } = event
                    {
                        refused.push((
                            resource_type,
                            names.iter().map(ToString::to_string).collect(),
                        ));
                    }
                    if is_last {
                        return refused;
                    }
                }
            }
        }
    }

    /// What comes back through `web`.
    async fn get(&self) -> Result<String, reqwest::Error> {
        let url = format!("http://{}/", self.listeners["web"]);
        self.http.get(url).send().await?.text().await
    }

    async fn statistic(&self, name: &str) -> u64 {
        self.envoy.stat(name).await.unwrap().unwrap_or_default()
    }
}

/// A server that says `here` to everything.
async fn upstream() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let everything = axum::Router::new().fallback(|| async { "here" });
    // Ends with the test's runtime.
    tokio::spawn(async { axum::serve(listener, everything).await });
    address
}

/// For one step of an Envoy, on a machine that has other things to do.
const SOON: Duration = Duration::from_secs(30);
