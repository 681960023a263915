//! The manifests for Envoy Gateway and Istio, as far as they can be checked without a cluster: by the schemas that these
//! publish, and what the schemas leave open, Envoy's own configuration, by Envoy.
#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Map, Value, json};

/// Kubernetes' own validation rules (CEL) are not looked at.
#[test]
fn the_published_schemas_take_them() {
    let folder =
        std::env::var_os("BERTH_CRDS").map_or_else(|| project().join(".tools/crds"), PathBuf::from);
    if !folder.is_dir() {
        println!("skipped: `./just manifests` fetches the schemas");
        return;
    }
    let schemas = schemas(&folder);
    for way in ["envoy-gateway", "istio"] {
        for manifest in manifests(way) {
            let kind = kind(&manifest);
            let schema = schemas
                .get(&kind)
                .unwrap_or_else(|| panic!("{way}: no schema for {kind:?}"));
            let validator = jsonschema::validator_for(schema).unwrap();
            let errors: Vec<String> = validator
                .iter_errors(&manifest)
                .map(|error| format!("{}: {error}", error.instance_path()))
                .collect();
            assert_eq!(errors, [""; 0], "{way}: {kind:?}");

            // What nobody knows is not passed over.
            let mut wrong = manifest.clone();
            wrong["spec"]["pigeon"] = json!(true);
            assert!(!validator.is_valid(&wrong), "{way}: {kind:?}");
        }
    }
}

#[test]
fn envoy_takes_what_envoy_gateway_is_to_patch() {
    let manifests = manifests("envoy-gateway");
    let wasm = find(&manifests, "EnvoyExtensionPolicy").pointer("/spec/wasm/0");
    let wasm = wasm.unwrap();
    let name = "envoy.filters.http.wasm/envoyextensionpolicy/berth/berth/wasm/0";
    let mut filter = admission(name, wasm.get("config").unwrap());
    // As Envoy Gateway has it: routes turn it on.
    filter["disabled"] = json!(true);
    let mut bootstrap = bootstrap(vec![filter, router()]);

    let patches = find(&manifests, "EnvoyPatchPolicy").pointer("/spec/jsonPatches");
    for patch in patches.and_then(Value::as_array).unwrap() {
        let at = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str).unwrap();
        assert_eq!(at("/operation/op"), "add");
        let (_, message) = at("/type").rsplit_once('.').unwrap();
        let root = match message {
            "Listener" => LISTENER,
            "RouteConfiguration" => ROUTES,
            "Cluster" => CLUSTERS,
            other => panic!("{other}"),
        };
        let path = match at("/operation/path") {
            "" => "/-",
            path => path,
        };
        let value = patch.pointer("/operation/value").unwrap();
        add(&mut bootstrap, &format!("{root}{path}"), value.clone());
    }
    assert_eq!(filters(&bootstrap), [MUTATION, name, STATEFUL, ROUTER]);
    assert_eq!(routes(&bootstrap), ["berth/native", "berth/web", "yours"]);
    accepted(&bootstrap);
}

#[test]
fn envoy_takes_what_istio_is_to_patch() {
    let manifests = manifests("istio");
    let plugin = find(&manifests, "WasmPlugin").pointer("/spec/pluginConfig");
    let name = "istio-system.berth";
    let mut bootstrap = bootstrap(vec![admission(name, plugin.unwrap()), router()]);

    let patches = find(&manifests, "EnvoyFilter").pointer("/spec/configPatches");
    for patch in patches.and_then(Value::as_array).unwrap() {
        let at = |pointer: &str| patch.pointer(pointer).and_then(Value::as_str);
        let value = patch.pointer("/patch/value").unwrap().clone();
        let before = at("/match/listener/filterChain/filter/subFilter/name");
        match (at("/applyTo").unwrap(), at("/patch/operation").unwrap()) {
            ("CLUSTER", "ADD") => add(&mut bootstrap, &format!("{CLUSTERS}/-"), value),
            ("HTTP_FILTER", "INSERT_BEFORE") => {
                let names = filters(&bootstrap);
                let index = names.iter().position(|name| Some(&**name) == before);
                let path = format!("{MANAGER}/http_filters/{}", index.unwrap());
                add(&mut bootstrap, &path, value);
            }
            ("HTTP_FILTER", "INSERT_FIRST") => {
                add(&mut bootstrap, &format!("{MANAGER}/http_filters/0"), value);
            }
            ("HTTP_ROUTE", "INSERT_FIRST") => {
                let path = format!("{ROUTES}/virtual_hosts/0/routes/0");
                add(&mut bootstrap, &path, value);
            }
            ("LISTENER", "MERGE") => merge(&mut bootstrap, LISTENER, value),
            ("NETWORK_FILTER", "MERGE") => {
                let config = value.get("typed_config").unwrap().clone();
                merge(&mut bootstrap, MANAGER, config);
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(filters(&bootstrap), [MUTATION, name, STATEFUL, ROUTER]);
    assert_eq!(routes(&bootstrap), ["berth/native", "berth/web", "yours"]);
    accepted(&bootstrap);
}

/// Their clusters are those that `envoy/filter` has, which are held against those that are sent.
#[test]
fn their_clusters_are_those_of_a_static_configuration() {
    let file = fs::read_to_string(project().join("envoy/filter/envoy.yaml")).unwrap();
    let file: Value = serde_saphyr::from_str(&file).unwrap();
    let clusters = file.pointer(CLUSTERS).and_then(Value::as_array).unwrap();
    let is = |cluster: &Value, name: &str| cluster.get("name") == Some(&json!(name));
    for way in ["envoy-gateway", "istio"] {
        let manifests = manifests(way);
        let all = Value::Array(manifests);
        for name in ["web", "native"] {
            let expected = clusters.iter().find(|cluster| is(cluster, name)).unwrap();
            let is_it = |value: &Value| is(value, name) && value.get("connect_timeout").is_some();
            assert_eq!(search(&all, &is_it), Some(expected), "{way}: {name}");
        }
    }
}

type Kind = (String, String);

/// What a manifest's `apiVersion` and `kind` say.
fn kind(manifest: &Value) -> Kind {
    let text = |name: &str| {
        manifest
            .get(name)
            .and_then(Value::as_str)
            .unwrap()
            .to_owned()
    };
    (text("apiVersion"), text("kind"))
}

/// The schemas of all custom resource definitions in a folder.
fn schemas(folder: &Path) -> BTreeMap<Kind, Value> {
    let mut schemas = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        for definition in documents(&entry.unwrap().path()) {
            let text = |pointer: &str| definition.pointer(pointer).and_then(Value::as_str);
            let (Some(group), Some(kind)) = (text("/spec/group"), text("/spec/names/kind")) else {
                continue;
            };
            let versions = definition
                .pointer("/spec/versions")
                .and_then(Value::as_array);
            for version in versions.into_iter().flatten() {
                let name = version.get("name").and_then(Value::as_str).unwrap();
                let mut schema = version.pointer("/schema/openAPIV3Schema").unwrap().clone();
                // Every object has these, whether its schema says so or not.
                for (name, kind) in [
                    ("apiVersion", "string"),
                    ("kind", "string"),
                    ("metadata", "object"),
                ] {
                    schema["properties"][name] = json!({ "type": kind });
                }
                close(&mut schema);
                schemas.insert((format!("{group}/{name}"), kind.to_owned()), schema);
            }
        }
    }
    schemas
}

/// Kubernetes drops what a structural schema does not name; here it is an error.
fn close(schema: &mut Value) {
    let Some(members) = schema.as_object_mut() else {
        return;
    };
    // A format of Kubernetes' own, such as int32, says nothing that the bounds do not.
    members.remove("format");
    let open = [
        "additionalProperties",
        "x-kubernetes-preserve-unknown-fields",
    ];
    let open = open.iter().any(|name| members.contains_key(*name));
    if members.contains_key("properties") && !open {
        members.insert("additionalProperties".to_owned(), json!(false));
    }
    if let Some(properties) = members.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(close);
    }
    for name in ["items", "additionalProperties"] {
        members.get_mut(name).into_iter().for_each(close);
    }
}

fn manifests(way: &str) -> Vec<Value> {
    documents(&project().join(format!("envoy/{way}/manifests.yaml")))
}

fn documents(path: &Path) -> Vec<Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_saphyr::from_multiple(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn project() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn find<'a>(manifests: &'a [Value], kind: &str) -> &'a Value {
    let mut manifests = manifests.iter();
    manifests
        .find(|manifest| manifest.get("kind") == Some(&json!(kind)))
        .unwrap()
}

/// The first value in a tree that is such a one.
fn search<'a>(tree: &'a Value, is: &impl Fn(&Value) -> bool) -> Option<&'a Value> {
    if is(tree) {
        return Some(tree);
    }
    match tree {
        Value::Array(values) => values.iter().find_map(|value| search(value, is)),
        Value::Object(members) => members.values().find_map(|value| search(value, is)),
        _ => None,
    }
}

/// The filter as both of them make it of a manifest: its configuration is handed over as JSON.
fn admission(name: &str, configuration: &Value) -> Value {
    json!({
        "name": name,
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.wasm.v3.Wasm",
            "config": {
                "name": name,
                "vm_config": {
                    "vm_id": name,
                    "runtime": "envoy.wasm.runtime.v8",
                    "code": { "local": { "filename": berth_tests::filter_module().unwrap() } },
                },
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.StringValue",
                    "value": configuration.to_string(),
                },
            },
        },
    })
}

fn router() -> Value {
    let router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router";
    json!({ "name": ROUTER, "typed_config": { "@type": router } })
}

/// An Envoy before it is patched.
fn bootstrap(filters: Vec<Value>) -> Value {
    let yours = json!({
        "name": "yours",
        "match": { "prefix": "/" },
        "direct_response": { "status": 200 },
    });
    json!({
        "node": { "id": "envoy", "cluster": "berth" },
        "static_resources": {
            "listeners": [{
                "name": "https",
                "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } },
                "filter_chains": [{ "filters": [{
                    "name": "envoy.filters.network.http_connection_manager",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
                        "stat_prefix": "https",
                        "route_config": {
                            "name": "https",
                            "virtual_hosts": [{ "name": "all", "domains": ["*"], "routes": [yours] }],
                        },
                        "http_filters": filters,
                    },
                }] }],
            }],
            "clusters": [],
        },
    })
}

/// `add` of JSON Patch (RFC 6902), with paths that need no escapes.
fn add(tree: &mut Value, path: &str, value: Value) {
    let (parent, last) = path.rsplit_once('/').unwrap();
    match tree.pointer_mut(parent) {
        Some(Value::Array(values)) if last == "-" => values.push(value),
        Some(Value::Array(values)) => values.insert(last.parse().unwrap(), value),
        Some(Value::Object(members)) => drop(members.insert(last.to_owned(), value)),
        _ => panic!("nothing is at {parent}"),
    }
}

/// Sets members, which none has before.
fn merge(tree: &mut Value, path: &str, value: Value) {
    let members: &mut Map<_, _> = tree.pointer_mut(path).unwrap().as_object_mut().unwrap();
    let Value::Object(more) = value else {
        panic!("{value}");
    };
    for (name, value) in more {
        let before = members.insert(name.clone(), value);
        assert!(before.is_none() || name == "@type", "{name}");
    }
}

fn filters(bootstrap: &Value) -> Vec<String> {
    names(bootstrap, &format!("{MANAGER}/http_filters"))
}

fn routes(bootstrap: &Value) -> Vec<String> {
    names(bootstrap, &format!("{ROUTES}/virtual_hosts/0/routes"))
}

fn names(tree: &Value, path: &str) -> Vec<String> {
    let values = tree.pointer(path).and_then(Value::as_array).unwrap();
    let names = values
        .iter()
        .filter_map(|value| value.get("name")?.as_str());
    names.map(str::to_owned).collect()
}

/// Envoy reads it, the module reads what it is told, and a mistake would have been one.
#[track_caller]
fn accepted(bootstrap: &Value) {
    let complaint = validated(bootstrap);
    assert_eq!(complaint, None, "{bootstrap:#}");
    for (path, value) in [
        (format!("{CLUSTERS}/0/pigeon"), json!(true)),
        (
            format!("{MANAGER}/http_filters/2/typed_config/pigeon"),
            json!(true),
        ),
        (
            format!("{MANAGER}/http_filters/1/typed_config/config/configuration/value"),
            json!("{}"),
        ),
    ] {
        let mut wrong = bootstrap.clone();
        add(&mut wrong, &path, value);
        assert!(validated(&wrong).is_some(), "{path}");
    }
}

/// What `envoy --mode validate` complains of.
fn validated(bootstrap: &Value) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("envoy.json");
    fs::write(&file, bootstrap.to_string()).unwrap();
    let output = Command::new(berth_tests::envoy().unwrap())
        .args(["--mode", "validate", "--log-level", "warning"])
        .args(["--config-path".as_ref(), file.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    (!output.status.success()).then_some(said)
}

const CLUSTERS: &str = "/static_resources/clusters";
const LISTENER: &str = "/static_resources/listeners/0";
const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const ROUTES: &str =
    "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config/route_config";
const MUTATION: &str = "envoy.filters.http.header_mutation";
const ROUTER: &str = "envoy.filters.http.router";
const STATEFUL: &str = "envoy.filters.http.stateful_session";
