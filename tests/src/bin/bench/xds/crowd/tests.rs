use berth::xds::{
    Certificate, Certificates, EndpointHealth, EndpointSpec, FilterSpec, Gateway, Generator,
    Module, PoolSpec, Profiles, XdsServer,
};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;

use super::*;

/// Berth's own server, whose one instance drains or does not.
struct Fleet {
    server: XdsServer,
    generator: Generator,
    address: SocketAddr,
    _serving: JoinSet<()>,
}

impl Fleet {
    async fn start() -> Self {
        let pool = PoolSpec {
            name: "web".to_owned(),
            connect_timeout: SOON,
            tls: None,
        };
        let gateway = Gateway {
            listeners: Vec::new(),
            certificates: Certificates {
                default: Certificate {
                    chain_pem: String::new(),
                    private_key_pem: String::new(),
                },
                by_sni: Vec::new(),
                client_ca_pem: None,
            },
            filter: FilterSpec {
                module: Module::File("berth_filter.wasm".into()),
                vm_id: "berth".to_owned(),
                configuration_json: "{}".to_owned(),
            },
            handshake_timeout: SOON,
            pools: vec![pool],
        };
        let (server, _) = XdsServer::new(Profiles::default(), NODES);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let grpc = Server::builder()
            .add_service(server.service())
            .serve_with_incoming(TcpIncoming::from(listener));
        let mut serving = JoinSet::new();
        serving.spawn(async move { grpc.await.unwrap() });
        let mut fleet = Self {
            generator: Generator::new(gateway, &Profiles::default()).unwrap(),
            server,
            address,
            _serving: serving,
        };
        fleet.change(EndpointHealth::Healthy);
        fleet
    }

    fn change(&mut self, health: EndpointHealth) {
        let endpoint = EndpointSpec {
            instance: "gpu-1".to_owned(),
            address: "10.0.0.1:49100".parse().unwrap(),
            health,
        };
        self.generator.set_instance("web", endpoint).unwrap();
        let published = self.generator.publish().unwrap();
        self.server.publish(&published.views);
    }
}

#[tokio::test]
async fn news_comes_to_every_node_and_again_after_a_refusal() {
    for protocol in [Protocol::Delta, Protocol::Sotw] {
        let mut fleet = Fleet::start().await;
        let nodes = (0..NODES).map(|number| Node::new(format!("node-{number}"), protocol));
        let mut crowd = Crowd::connect(nodes.collect(), fleet.address);
        crowd.news_is_everywhere(SOON).await.unwrap();
        let greeted = crowd.received();
        assert!(greeted.bytes > 0, "{protocol:?}");

        crowd.expect_news(false);
        fleet.change(EndpointHealth::Draining);
        crowd.news_is_everywhere(SOON).await.unwrap();
        let told = crowd.received();
        let responses = told.endpoint_responses - greeted.endpoint_responses;
        assert_eq!(responses, NODES as u64, "{protocol:?}");
        assert!(told.bytes > greeted.bytes, "{protocol:?}");

        crowd.expect_news(true);
        fleet.change(EndpointHealth::Unhealthy);
        crowd.news_is_everywhere(SOON).await.unwrap();

        // What was refused is what those that come back have not got.
        let nodes = crowd.hang_up().await.unwrap();
        assert_eq!(nodes.len(), NODES);
        let mut crowd = Crowd::connect(nodes, fleet.address);
        crowd.news_is_everywhere(SOON).await.unwrap();

        crowd.expect_news(false);
        let error = crowd.news_is_everywhere(Duration::ZERO).await.unwrap_err();
        assert!(
            matches!(error, BenchError::Nodes { arrived: 0, .. }),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_goes_is_told() {
    let fleet = Fleet::start().await;
    let node = Node::new("node".to_owned(), Protocol::Delta);
    let mut crowd = Crowd::connect(vec![node], fleet.address);
    crowd.news_is_everywhere(SOON).await.unwrap();
    crowd.expect_news(false);
    drop(fleet);
    let error = crowd.news_is_everywhere(SOON).await.unwrap_err();
    assert!(matches!(error, BenchError::Stream(_)), "{error}");
}

const NODES: usize = 3;
const SOON: Duration = Duration::from_secs(20);
