//! Listeners to compare with, in the same Envoy: copies of Berth's own, with other filters and a static cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

use berth_tests::{AUDIENCE, ISSUER, Ports, World};
use serde_json::{Value, json};

use crate::BenchError;

/// Where the listeners beside Berth's are.
pub(crate) struct Beside {
    /// No filter but the router.
    pub(crate) bare: SocketAddr,
    /// Envoy's own JWT filter with the world's keys, and no placement.
    pub(crate) jwt_authn: SocketAddr,
}

impl Beside {
    /// Copies what the control plane has given the world's Envoy, TLS included, so that nothing but the filters
    /// and the choice of the host differs; then starts that Envoy anew with both.
    pub(crate) async fn add(world: &World, ports: &mut Ports) -> Result<Self, BenchError> {
        let envoy = world.envoy(0)?;
        let dump = envoy.config_dump().await?;
        let listener = dumped(
            &dump,
            "dynamic_listeners",
            "/active_state/listener",
            "https",
        )
        .ok_or(BenchError::Configuration("listener `https`"))?;
        let cluster = dumped(&dump, "dynamic_active_clusters", "/cluster", "")
            .ok_or(BenchError::Configuration("cluster"))?;

        let (bare, jwt_authn) = (ports.take()?, ports.take()?);
        let listeners = [
            with_filters(&listener, "bare", bare, &[])?,
            with_filters(&listener, "jwt_authn", jwt_authn, &[jwt_filter(world)?])?,
        ];
        let cluster = static_cluster(cluster, &addresses(world).await?)?;
        rewrite_bootstrap(world, cluster, &listeners)?;
        envoy.restart().await?;
        world.settled().await?;
        let address = |port| (Ipv4Addr::LOCALHOST, port).into();
        Ok(Self {
            bare: address(bare),
            jwt_authn: address(jwt_authn),
        })
    }
}

/// The first resource in a section of `/config_dump` whose name begins like this.
fn dumped(dump: &Value, section: &str, pointer: &str, name: &str) -> Option<Value> {
    let sections = dump.get("configs")?.as_array()?.iter();
    let entries = sections
        .filter_map(|config| config.get(section)?.as_array())
        .flatten();
    let mut resources = entries.filter_map(|entry| entry.pointer(pointer));
    let named = |resource: &&Value| {
        resource
            .get("name")
            .and_then(Value::as_str)
            .is_some_and(|found| found.starts_with(name))
    };
    let mut resource = resources.find(named)?.clone();
    resource.as_object_mut()?.remove("@type");
    Some(resource)
}

fn with_filters(
    listener: &Value,
    name: &str,
    port: u16,
    filters: &[Value],
) -> Result<Value, BenchError> {
    let mut listener = listener.clone();
    set(&mut listener, "/name", json!(name))?;
    set(
        &mut listener,
        "/address/socket_address/port_value",
        json!(port),
    )?;
    let manager = listener
        .pointer_mut("/filter_chains/0/filters/0/typed_config")
        .and_then(Value::as_object_mut)
        .ok_or(BenchError::Configuration("connection manager"))?;
    let router = manager
        .get("http_filters")
        .and_then(Value::as_array)
        .and_then(|filters| filters.last())
        .ok_or(BenchError::Configuration("router"))?;
    let filters: Vec<&Value> = filters.iter().chain([router]).collect();
    let filters = json!(filters);
    manager.insert("http_filters".to_owned(), filters);
    manager.remove("rds");
    manager.insert("route_config".to_owned(), routes());
    Ok(listener)
}

fn routes() -> Value {
    json!({ "virtual_hosts": [{
        "name": "all",
        "domains": ["*"],
        "routes": [{
            "match": { "prefix": "/" },
            "route": { "cluster": CLUSTER, "timeout": "5s", "idle_timeout": "0s" },
        }],
    }]})
}

fn jwt_filter(world: &World) -> Result<Value, BenchError> {
    let jwks = fs::read_to_string(world.folder().join("jwks.json"))?;
    Ok(json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.jwt_authn.v3.JwtAuthentication",
            "providers": { "it": {
                "issuer": ISSUER,
                "audiences": [AUDIENCE],
                "local_jwks": { "inline_string": jwks },
                "from_params": ["token"],
            }},
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "it" } }],
        },
    }))
}

async fn addresses(world: &World) -> Result<Vec<SocketAddr>, BenchError> {
    let instances = world.berth().instances().await?;
    let addresses = instances
        .iter()
        .filter_map(|instance| instance.address.parse().ok());
    Ok(addresses.collect())
}

/// The pool's cluster with its hosts in it, taken in turn instead of by the grant.
fn static_cluster(mut cluster: Value, addresses: &[SocketAddr]) -> Result<Value, BenchError> {
    let endpoint = |address: &SocketAddr| {
        let socket = json!({ "address": address.ip(), "port_value": address.port() });
        json!({ "endpoint": { "address": { "socket_address": socket } } })
    };
    let hosts: Vec<Value> = addresses.iter().map(endpoint).collect();
    let members = cluster
        .as_object_mut()
        .ok_or(BenchError::Configuration("cluster"))?;
    for name in ["eds_cluster_config", "load_balancing_policy"] {
        members.remove(name);
    }
    let others = [
        ("name", json!(CLUSTER)),
        ("type", json!("STATIC")),
        ("lb_policy", json!("ROUND_ROBIN")),
        (
            "load_assignment",
            json!({ "cluster_name": CLUSTER, "endpoints": [{ "lb_endpoints": hosts }] }),
        ),
    ];
    members.extend(others.map(|(name, value)| (name.to_owned(), value)));
    Ok(cluster)
}

fn rewrite_bootstrap(world: &World, cluster: Value, listeners: &[Value]) -> Result<(), BenchError> {
    let path = world.folder().join("envoy-0.yaml");
    let unreadable = |_| BenchError::Configuration("readable bootstrap");
    let mut bootstrap: Value =
        serde_saphyr::from_str(&fs::read_to_string(&path)?).map_err(unreadable)?;
    let resources = bootstrap
        .get_mut("static_resources")
        .and_then(Value::as_object_mut)
        .ok_or(BenchError::Configuration("static resources"))?;
    resources.insert("listeners".to_owned(), json!(listeners));
    resources
        .get_mut("clusters")
        .and_then(Value::as_array_mut)
        .ok_or(BenchError::Configuration("static clusters"))?
        .push(cluster);
    // JSON is YAML.
    Ok(fs::write(path, bootstrap.to_string())?)
}

fn set(value: &mut Value, pointer: &'static str, to: Value) -> Result<(), BenchError> {
    *value
        .pointer_mut(pointer)
        .ok_or(BenchError::Configuration(pointer))? = to;
    Ok(())
}

const CLUSTER: &str = "static";
