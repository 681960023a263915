//! An Envoy that takes nothing over xDS: what it has stands in its own configuration, which `berth bootstrap --static`
//! prints.
#![cfg(test)]

use std::fs;
use std::time::Duration;

use berth_client::{Family, Message};
use berth_tests::raw::Answer;
use berth_tests::{Envoy, Error, Seen, World, WorldBuilder, wait_until};
use serde_json::{Map, Value};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn sessions_of_both_families_are_admitted_placed_and_refused() {
    let world = one_static_envoy().start().await.unwrap();
    for pool in ["web", "native"] {
        let client = world
            .client(pool)
            .unwrap()
            .header("x-berth-cluster", "else")
            .header("x-berth-endpoint", "MTI3LjAuMC4xOjE=");
        let mut session = client.connect().await.unwrap();
        session.send(Message::text("hello")).await.unwrap();
        let echo = session.receive_data().await.unwrap();
        assert_eq!(echo, Message::text("hello"), "{pool}");
        let headers = format!("{:?}", session.response_headers());
        assert!(
            !headers.contains("127.0.0.") && !headers.contains("x-berth"),
            "{headers}"
        );

        let refusal = world.client(pool).unwrap().refusal().await.unwrap();
        let told = (refusal.status, refusal.reason());
        assert_eq!(told, (503, Some("no_instance")), "{pool}");
        let refusal = client.without_token().refusal().await.unwrap();
        let told = (refusal.status, refusal.reason());
        assert_eq!(told, (401, Some("no_token")), "{pool}");

        session.close(1000, "").await.unwrap();
        let name = format!("{pool}-1");
        world.berth().wait_until_free(&name, SOON).await.unwrap();
    }
    let nodes = world.berth().metric("berth_xds_nodes").await.unwrap();
    assert_eq!(nodes, 0.0, "it takes nothing over xDS");
}

#[tokio::test(flavor = "multi_thread")]
async fn routes_that_are_not_ours_answer_as_before() {
    let world = one_static_envoy().start().await.unwrap();
    let forged = "x-berth-cluster: web\r\nx-berth-endpoint: MTI3LjAuMC4xOjE=\r\n";
    let everywhere = ["/", "/web/sign_out", "/a/b/sign_in", "/rtsp/more"];
    for headers in ["", forged, "authorization: Bearer theirs\r\n"] {
        for path in everywhere {
            let answer = ask(&world, path, headers).await;
            let told = (answer.status, answer.body.as_str());
            assert_eq!(told, (200, "not CloudXR\n"), "{path} {headers}");
        }
    }
    world.berth().kill().await.unwrap();
    assert_eq!(ask(&world, "/", "").await.status, 200);
    world.envoy(0).unwrap().restart().await.unwrap();
    assert_eq!(ask(&world, "/", "").await.status, 200);
    world.berth().restart().await.unwrap();
    world.settled().await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn live_sessions_outlive_a_control_plane_that_comes_back() {
    let world = one_static_envoy().start().await.unwrap();
    let mut session = world.client("web").unwrap().connect().await.unwrap();
    world.berth().kill().await.unwrap();
    world.berth().restart().await.unwrap();
    session.send(Message::text("still here")).await.unwrap();
    let echo = session.receive_data().await.unwrap();
    assert_eq!(echo, Message::text("still here"));
    let refusal = world.client("web").unwrap().refusal().await.unwrap();
    assert_eq!(refusal.reason(), Some("no_instance"));
    session.close(1000, "").await.unwrap();
    world.berth().wait_until_free("web-1", SOON).await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

/// The operator says that it has what it has not: nobody gets there, and nobody gets anywhere else.
#[tokio::test(flavor = "multi_thread")]
async fn an_instance_that_it_does_not_know_is_answered_503() {
    let world = World::builder()
        .web_instances(2)
        .envoys(0)
        .static_envoys(1)
        .start()
        .await
        .unwrap();
    let envoy = world.envoy(0).unwrap();
    let bootstrap = world.folder().join("envoy-0.yaml");
    let text = fs::read_to_string(&bootstrap).unwrap();
    let known: Vec<&str> = text
        .lines()
        .filter(|line| !line.contains("hostname: \"web-2\""))
        .collect();
    assert_eq!(known.len() + 1, text.lines().count(), "{text}");
    fs::write(&bootstrap, known.join("\n")).unwrap();
    envoy.restart().await.unwrap();

    // One of the two has the other one of them.
    let mut outcomes = Vec::new();
    let mut live = Vec::new();
    for _ in 0..2 {
        let client = world.client("web").unwrap();
        match client.connect().await {
            Ok(session) => {
                outcomes.push(200);
                live.push(session);
            }
            Err(_) => outcomes.push(client.refusal().await.unwrap().status),
        }
    }
    outcomes.sort_unstable();
    assert_eq!(outcomes, [200, 503]);
    assert_eq!(world.instance("web-2").unwrap().requests(), 0);
    assert_eq!(world.instance("web-1").unwrap().requests(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_drains_is_not_granted_to_it_either() {
    let world = one_static_envoy().start().await.unwrap();
    world.berth().drain("web-1").await.unwrap();
    let refusal = world.client("web").unwrap().refusal().await.unwrap();
    assert_eq!(refusal.reason(), Some("no_instance"));
    world.berth().undrain("web-1").await.unwrap();
    world.client("web").unwrap().connect().await.unwrap();
}

/// What Envoy makes of both ways to say it, held against each other.
#[tokio::test(flavor = "multi_thread")]
async fn what_it_has_is_what_others_are_sent() {
    let world = World::builder()
        .web_instances(2)
        .native_instances(1)
        .static_envoys(1)
        .start()
        .await
        .unwrap();
    let [sent, own] = [0, 1].map(|index| world.envoy(index).unwrap());
    let (sent, own) = (dumped(sent).await, dumped(own).await);

    for pool in ["web", "native"] {
        let of = |dump: &Value| {
            let mut cluster = find(dump, &|value| is_cluster(value, pool))
                .unwrap()
                .clone();
            let members = cluster.as_object_mut().unwrap();
            for how in ["@type", "type", "eds_cluster_config", "load_assignment"] {
                members.remove(how);
            }
            cluster
        };
        assert_eq!(of(&sent), of(&own), "cluster {pool}");
        assert_eq!(endpoints(&sent, pool), endpoints(&own, pool), "{pool}");
    }
    let filter = |dump: &Value| {
        let is_filter = |value: &Value| value.pointer("/config/vm_config").is_some();
        let mut filter = find(dump, &is_filter).unwrap().clone();
        let text = filter.pointer_mut("/config/configuration/value").unwrap();
        *text = serde_json::from_str(text.as_str().unwrap()).unwrap();
        filter
    };
    assert_eq!(filter(&sent), filter(&own));

    let same = |what: &str, is: &dyn Fn(&Value) -> bool| {
        let (sent, own) = (find(&sent, &is), find(&own, &is));
        assert!(sent.is_some(), "{what}");
        assert_eq!(sent, own, "{what}");
    };
    same("override", &|value| value.get("session_state").is_some());
    same("socket options", &|value| {
        let options = value.as_array().and_then(|options| options.first());
        options.is_some_and(|option| option.get("int_value").is_some())
    });
    for name in ["berth/native", "berth/web"] {
        let named = |value: &Value| value.get("name") == Some(&name.into());
        same(name, &|value| named(value) && value.get("route").is_some());
    }
}

fn one_static_envoy() -> WorldBuilder {
    World::builder()
        .pool("web", Family::Web, |pool| pool)
        .pool("native", Family::Native, |pool| pool)
        .envoys(0)
        .static_envoys(1)
}

async fn ask(world: &World, path: &str, headers: &str) -> Answer {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    let mut connection = world.raw().await.unwrap();
    connection.write(request.as_bytes()).await.unwrap();
    connection.answer(SOON).await.unwrap()
}

/// What an Envoy runs on, once the filter is part of it.
async fn dumped(envoy: &Envoy) -> Value {
    wait_until(
        "the filter to be there",
        SOON,
        async || -> Result<_, Error> {
            let dump = envoy.config_dump().await?;
            let there =
                find(&dump, &|value| value.pointer("/config/vm_config").is_some()).is_some();
            Ok(if there {
                Seen::Yes(dump)
            } else {
                Seen::NotYet("none".to_owned())
            })
        },
    )
    .await
    .unwrap()
}

/// The first value in a tree that is such a one.
fn find<'a>(tree: &'a Value, is: &impl Fn(&Value) -> bool) -> Option<&'a Value> {
    if is(tree) {
        return Some(tree);
    }
    match tree {
        Value::Array(values) => values.iter().find_map(|value| find(value, is)),
        Value::Object(members) => members.values().find_map(|value| find(value, is)),
        _ => None,
    }
}

fn is_cluster(value: &Value, name: &str) -> bool {
    value.get("name").and_then(Value::as_str) == Some(name)
        && value.get("load_balancing_policy").is_some()
}

/// `name address:port` of each endpoint in the cluster's assignment.
fn endpoints(dump: &Value, cluster: &str) -> Vec<String> {
    let is_assignment = |value: &Value| {
        value.get("cluster_name").and_then(Value::as_str) == Some(cluster)
            && value.get("endpoints").is_some()
    };
    let assignment = find(dump, &is_assignment).unwrap();
    let none = Vec::new();
    let endpoints = assignment.pointer("/endpoints/0/lb_endpoints");
    let endpoints = endpoints.and_then(Value::as_array).unwrap_or(&none).iter();
    let mut named: Vec<String> = endpoints
        .map(|endpoint| {
            let endpoint = endpoint.get("endpoint").and_then(Value::as_object);
            let at = |name: &str| {
                endpoint
                    .and_then(|endpoint: &Map<_, _>| endpoint.get(name))
                    .cloned()
            };
            format!("{:?} {:?}", at("hostname"), at("address"))
        })
        .collect();
    named.sort();
    named
}
