//! Listeners to compare with, in the same Envoy: copies of Berth's own, with other filters and a static cluster.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use berth_tests::{AUDIENCE, ISSUER, Ports, World};
use serde_json::{Value, json};

use crate::BenchError;

/// What a listener beside Berth's has in front of its router.
#[derive(Clone, Copy)]
pub(crate) enum Filters {
    /// Nothing.
    Bare,
    /// Envoy's own JWT filter with the world's keys, and no placement.
    JwtAuthn,
    /// Berth's, in a VM of its own that asks another server for instances, one that listens here.
    Asking(SocketAddr),
    /// Berth's, in a VM of its own that is entered for bodies as well: of the module as it was built, before it was
    /// packaged.
    WithBodies,
}

/// Copies what the control plane has given the world's Envoy, TLS included, so that nothing but the filters
/// and the choice of the host differs; then starts that Envoy anew with it all. Answers where each is.
pub(crate) async fn add<const N: usize>(
    world: &World,
    ports: &mut Ports,
    kinds: [Filters; N],
) -> Result<[SocketAddr; N], BenchError> {
    let envoy = world.envoy(0)?;
    let dump = envoy.config_dump().await?;
    let listener = dumped(
        &dump,
        "dynamic_listeners",
        "/active_state/listener",
        "https",
    )
    .ok_or(BenchError::Configuration("listener `https`"))?;
    let cluster = static_cluster(pool_cluster(&dump)?, &addresses(world).await?)?;

    let mut bootstrap = Bootstrap::read(world)?;
    bootstrap.push("clusters", cluster)?;
    let mut listening = [(Ipv4Addr::LOCALHOST, 0).into(); N];
    for (address, kind) in listening.iter_mut().zip(kinds) {
        let port = ports.take()?;
        *address = (Ipv4Addr::LOCALHOST, port).into();
        let listener = moved(&listener, port)?;
        let listener = match kind {
            Filters::Bare => with_filters(listener, &[])?,
            Filters::JwtAuthn => with_filters(listener, &[jwt_filter(world)?])?,
            Filters::Asking(server) => {
                bootstrap.copy_control_plane(server)?;
                asking(listener, &dump)?
            }
            Filters::WithBodies => with_bodies(listener, &dump)?,
        };
        bootstrap.push("listeners", listener)?;
    }
    bootstrap.write(world)?;
    envoy.restart().await?;
    world.settled().await?;
    Ok(listening)
}

/// The name of the cluster that has the pool's instances.
pub(crate) async fn cluster_name(world: &World) -> Result<String, BenchError> {
    let cluster = pool_cluster(&world.envoy(0)?.config_dump().await?)?;
    let name = cluster.get("name").and_then(Value::as_str);
    Ok(name
        .ok_or(BenchError::Configuration("cluster's name"))?
        .to_owned())
}

fn pool_cluster(dump: &Value) -> Result<Value, BenchError> {
    dumped(dump, "dynamic_active_clusters", "/cluster", "")
        .ok_or(BenchError::Configuration("cluster"))
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

/// The listener on another port, under a name that says so.
fn moved(listener: &Value, port: u16) -> Result<Value, BenchError> {
    let mut listener = listener.clone();
    set(&mut listener, "/name", json!(format!("beside-{port}")))?;
    set(
        &mut listener,
        "/address/socket_address/port_value",
        json!(port),
    )?;
    Ok(listener)
}

/// With these filters and the router, and every request for the static cluster.
fn with_filters(mut listener: Value, filters: &[Value]) -> Result<Value, BenchError> {
    let manager = listener
        .pointer_mut(MANAGER)
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

/// With Berth's filters and routes as they are, but for whom the admission filter asks.
fn asking(listener: Value, dump: &Value) -> Result<Value, BenchError> {
    let mut filter = admission(dump, ANSWERS)?;
    let settings = filter
        .pointer_mut("/typed_config/config/configuration/value")
        .ok_or(BenchError::Configuration("configuration of the filter"))?;
    let mut parsed: Value = serde_json::from_str(settings.as_str().unwrap_or_default())?;
    set(&mut parsed, "/control_plane/cluster", json!(ANSWERS))?;
    *settings = json!(parsed.to_string());
    in_place(listener, filter)
}

/// With Berth's filters and routes as they are, but for the module and what it is called for.
fn with_bodies(listener: Value, dump: &Value) -> Result<Value, BenchError> {
    let mut filter = admission(dump, BODIES)?;
    let vm = "/typed_config/config/vm_config";
    let vm = filter
        .pointer_mut(vm)
        .ok_or(BenchError::Configuration(vm))?;
    let built = Path::new(env!("CARGO_MANIFEST_DIR")).join(BUILT);
    set(vm, "/code/local/filename", json!(built))?;
    let allowed = "/capability_restriction_config/allowed_capabilities";
    let allowed = vm.pointer_mut(allowed).and_then(Value::as_object_mut);
    let allowed = allowed.ok_or(BenchError::Configuration("capabilities"))?;
    for callback in ["proxy_on_request_body", "proxy_on_response_body"] {
        allowed.insert(callback.to_owned(), json!({}));
    }
    in_place(listener, filter)
}

/// The admission filter in a VM of this id, by which VMs are shared.
fn admission(dump: &Value, vm: &str) -> Result<Value, BenchError> {
    let mut filter = dumped(dump, "ecds_filters", "/ecds_filter", "berth")
        .ok_or(BenchError::Configuration("admission filter"))?;
    set(
        &mut filter,
        "/typed_config/config/vm_config/vm_id",
        json!(vm),
    )?;
    Ok(filter)
}

/// With this filter where the discovered one was.
fn in_place(mut listener: Value, filter: Value) -> Result<Value, BenchError> {
    let filters = listener
        .pointer_mut(MANAGER)
        .and_then(|manager| manager.get_mut("http_filters"))
        .and_then(Value::as_array_mut)
        .ok_or(BenchError::Configuration("filters"))?;
    let discovered = filters
        .iter_mut()
        .find(|filter| filter.get("config_discovery").is_some());
    *discovered.ok_or(BenchError::Configuration("place for the filter"))? = filter;
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

/// What the world's Envoy starts with.
struct Bootstrap(Value);

impl Bootstrap {
    fn read(world: &World) -> Result<Self, BenchError> {
        let unreadable = |_| BenchError::Configuration("readable bootstrap");
        let text = fs::read_to_string(Self::path(world))?;
        Ok(Self(serde_saphyr::from_str(&text).map_err(unreadable)?))
    }

    fn write(&self, world: &World) -> Result<(), BenchError> {
        // JSON is YAML.
        Ok(fs::write(Self::path(world), self.0.to_string())?)
    }

    fn path(world: &World) -> PathBuf {
        world.folder().join("envoy-0.yaml")
    }

    /// Adds one of its static resources.
    fn push(&mut self, kind: &'static str, resource: Value) -> Result<(), BenchError> {
        let resources = self
            .0
            .get_mut("static_resources")
            .and_then(Value::as_object_mut)
            .ok_or(BenchError::Configuration("static resources"))?;
        let resources = resources.entry(kind).or_insert_with(|| json!([]));
        let resources = resources
            .as_array_mut()
            .ok_or(BenchError::Configuration(kind))?;
        resources.push(resource);
        Ok(())
    }

    /// Adds a cluster that is like the control plane's, and is this server.
    fn copy_control_plane(&mut self, server: SocketAddr) -> Result<(), BenchError> {
        let mut cluster = self
            .0
            .pointer("/static_resources/clusters/0")
            .ok_or(BenchError::Configuration("control plane"))?
            .clone();
        set(&mut cluster, "/name", json!(ANSWERS))?;
        set(
            &mut cluster,
            "/load_assignment/cluster_name",
            json!(ANSWERS),
        )?;
        let socket = json!({ "address": server.ip(), "port_value": server.port() });
        let endpoint = "/load_assignment/endpoints/0/lb_endpoints/0/endpoint/address";
        set(&mut cluster, endpoint, json!({ "socket_address": socket }))?;
        self.push("clusters", cluster)
    }
}

fn set(value: &mut Value, pointer: &'static str, to: Value) -> Result<(), BenchError> {
    *value
        .pointer_mut(pointer)
        .ok_or(BenchError::Configuration(pointer))? = to;
    Ok(())
}

const CLUSTER: &str = "static";
/// The cluster that is asked instead of the control plane, and the filter's VM that asks it.
const ANSWERS: &str = "answers";
/// The VM that is entered for bodies, ...
const BODIES: &str = "bodies";
/// ... and its module.
const BUILT: &str = "../target/wasm32-wasip1/filter/berth_filter.wasm";
const MANAGER: &str = "/filter_chains/0/filters/0/typed_config";
