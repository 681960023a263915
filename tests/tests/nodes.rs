//! What the control plane tells of the proxies that are connected: by its command line, its admin API, CSDS, and the gRPC
//! services that programs look for.
#![cfg(test)]

use berth_tests::World;
use envoy_types::pb::envoy::service::status::v3::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use envoy_types::pb::envoy::service::status::v3::{ClientStatusRequest, ConfigStatus};
use serde_json::Value;
use tonic::Code;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_is_shown_with_all_it_took() {
    let world = World::builder().web_instances(2).start().await.unwrap();
    let client = reqwest::Client::new();
    let url = |path: &str| format!("{}/v1/nodes{path}", world.berth().admin_url());
    let nodes: Value = client
        .get(url(""))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    let [node] = nodes.as_array().unwrap().as_slice() else {
        panic!("{nodes}");
    };
    let id = node["node"].as_str().unwrap();
    assert_eq!(
        (&node["dialect"], &node["profile"]),
        (&"delta".into(), &"default".into())
    );
    assert_eq!(node["user_agent"], "envoy");
    let types = node["types"].as_array().unwrap();
    let labels: Vec<_> = types
        .iter()
        .map(|of| of["type"].as_str().unwrap())
        .collect();
    assert_eq!(labels, ["CDS", "EDS", "LDS", "RDS", "SDS", "ECDS"]);
    for of in types {
        assert!(!of["acknowledged"].as_array().unwrap().is_empty(), "{of}");
        assert_eq!(of["refused"], Value::Array(vec![]), "{of}");
    }
    assert!(!nodes.to_string().contains("PRIVATE KEY"));
    let one: Value = client
        .get(url(&format!("/{id}")))
        .send()
        .await
        .unwrap()
        .json()
        .await
        .unwrap();
    assert_eq!(one[0]["node"], *id);
    assert_eq!(
        client.get(url("/nobody")).send().await.unwrap().status(),
        404
    );

    let listed = world.berth().command(&["nodes"]).await.unwrap();
    assert!(
        listed.contains(id) && listed.contains("in sync"),
        "{listed}"
    );
    let shown = world.berth().command(&["nodes", id]).await.unwrap();
    assert!(
        shown.contains("ECDS") && shown.contains("acknowledged"),
        "{shown}"
    );
    let missing = world
        .berth()
        .command(&["nodes", "nobody"])
        .await
        .unwrap_err();
    assert!(missing.to_string().contains("nobody"), "{missing}");

    let mut csds = ClientStatusDiscoveryServiceClient::new(channel(&world).await);
    let answer = csds
        .fetch_client_status(ClientStatusRequest::default())
        .await;
    let configs = answer.unwrap().into_inner().config;
    let [config] = configs.as_slice() else {
        panic!("{configs:?}");
    };
    assert_eq!(config.node.as_ref().unwrap().id, id);
    for resource in &config.generic_xds_configs {
        assert_eq!(
            resource.config_status(),
            ConfigStatus::Synced,
            "{}",
            resource.name
        );
        let is_secret = resource.type_url.ends_with(".Secret");
        assert_eq!(
            resource.xds_config.is_none(),
            is_secret,
            "{}",
            resource.name
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn programs_find_out_what_is_served_and_whether_it_is() {
    let world = World::builder().web_instances(1).start().await.unwrap();
    let mut health = HealthClient::new(channel(&world).await);
    let ads = "envoy.service.discovery.v3.AggregatedDiscoveryService";
    for service in ["", ads, "berth.session.v1.Sessions"] {
        let request = HealthCheckRequest {
            service: service.to_owned(),
        };
        let answer = health.check(request).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    let request = HealthCheckRequest {
        service: "else".to_owned(),
    };
    assert_eq!(
        health.check(request).await.unwrap_err().code(),
        Code::NotFound
    );

    let mut reflection = ServerReflectionClient::new(channel(&world).await);
    let request = ServerReflectionRequest {
        host: String::new(),
        message_request: Some(MessageRequest::ListServices(String::new())),
    };
    let requests = futures_util::stream::iter([request]);
    let mut answers = reflection
        .server_reflection_info(requests)
        .await
        .unwrap()
        .into_inner();
    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list
        .service
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert!(names.contains(&"berth.session.v1.Sessions"), "{names:?}");
    assert!(names.contains(&"grpc.health.v1.Health"), "{names:?}");
}

async fn channel(world: &World) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{}", world.berth().xds())).unwrap();
    endpoint.connect().await.unwrap()
}
