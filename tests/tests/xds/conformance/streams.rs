//! Scenarios for which one stream is not enough.

use std::collections::BTreeSet;

use berth::xds::{Dialect, ResourceType};
use envoy_types::pb::envoy::service::cluster::v3::cluster_discovery_service_client::ClusterDiscoveryServiceClient;
use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use tonic::Code;
use tonic::transport::Endpoint;

use super::{TestServer, messages, show};
use crate::client::Client;

const DIALECTS: [Dialect; 2] = [Dialect::StateOfTheWorld, Dialect::Delta];

async fn subscribed(server: &TestServer, node: &str, dialect: Dialect) -> Client {
    let mut client = Client::new(node, dialect);
    client.connect(server.address).await.unwrap();
    client.want(ResourceType::Cluster, BTreeSet::new()).await;
    client
}

fn clusters(content: &str) -> messages::World {
    vec![(ResourceType::Cluster, "a".to_owned(), content.to_owned())]
}

/// An old and a new process of one Envoy, of both dialects: one refuses what the others take.
#[tokio::test]
async fn streams_of_one_node_know_nothing_of_each_other() {
    let mut server = TestServer::start(8).await;
    let mut snapshot = messages::snapshot(&clusters("1"));
    server.publish(&snapshot);
    let mut clients = Vec::new();
    for dialect in [DIALECTS, DIALECTS].concat() {
        clients.push(subscribed(&server, "one", dialect).await);
    }
    for content in ["1", "2", "3"] {
        snapshot = messages::changed(&snapshot, &clusters(content));
        server.publish(&snapshot);
        for (at, client) in clients.iter_mut().enumerate() {
            let heard = client.hear().await.unwrap();
            assert_eq!(show(&heard), format!("CDS a={content}"));
            let refuses = at == 0 && content == "2";
            client.answer(&heard, refuses.then_some("no good")).await;
        }
    }
    let refusals = server.refusals();
    assert_eq!(refusals.len(), 1, "{refusals:?}");
    assert_eq!(server.xds.streams().count(), 4);
}

/// What [`super::SKIPPED`] says is true.
#[tokio::test]
async fn services_of_one_type_are_not_there() {
    let server = TestServer::start(1).await;
    let endpoint = Endpoint::from_shared(format!("http://{}", server.address)).unwrap();
    let mut client = ClusterDiscoveryServiceClient::new(endpoint.connect().await.unwrap());
    let answer = client.fetch_clusters(DiscoveryRequest::default()).await;
    assert_eq!(answer.unwrap_err().code(), Code::Unimplemented);
}
