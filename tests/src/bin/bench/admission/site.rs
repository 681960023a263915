//! An Envoy without a control plane, with plain listeners that differ in nothing but their filters.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;

use berth_admission::{
    Family, IssuerConfig, PolicyConfig, PoolConfig, Reason, TokenCacheConfig, refusal_body,
};
use berth_tests::{AUDIENCE, Envoy, EnvoySpec, ISSUER, Ports, Scratch, SigningKeys, filter_module};
use serde_json::{Value, json};

use crate::BenchError;

/// The Envoy. It ends when dropped.
pub(super) struct Site {
    pub(super) envoy: Envoy,
    /// Of each listener.
    pub(super) addresses: Vec<SocketAddr>,
    _ports: Ports,
    _scratch: Scratch,
}

impl Site {
    /// Starts it with a listener for each of these filters, which are followed by the router, and waits until it listens.
    pub(super) async fn start(filters: &[Vec<Value>], workers: u16) -> Result<Self, BenchError> {
        let scratch = Scratch::temporary()?;
        let mut ports = Ports::new();
        let mut addresses = Vec::new();
        let mut listeners = Vec::new();
        for filters in filters {
            let address = (Ipv4Addr::LOCALHOST, ports.take()?).into();
            addresses.push(address);
            listeners.push(listener(address, filters));
        }
        let admin_port = ports.take()?;
        let bootstrap = scratch.path().join("envoy.json");
        let admin = json!({ "address": "127.0.0.1", "port_value": admin_port });
        let config = json!({
            "node": { "id": "bench", "cluster": "bench" },
            "admin": { "address": { "socket_address": admin } },
            "static_resources": { "listeners": listeners },
        });
        fs::write(&bootstrap, config.to_string())?;
        let first = addresses.first().copied();
        let first = first.ok_or(BenchError::Configuration("listener"))?;
        let spec = EnvoySpec {
            name: "envoy".to_owned(),
            bootstrap,
            workers,
            log_level: "warning".to_owned(),
            admin_port,
            https: first,
            native: addresses.last().copied().unwrap_or(first),
        };
        let envoy = Envoy::start(spec, scratch.path())?;
        envoy.ready().await?;
        Ok(Self {
            envoy,
            addresses,
            _ports: ports,
            _scratch: scratch,
        })
    }
}

/// As Berth's own, but without TLS, and without what makes Envoy's replies Berth's: those of the native filter would be
/// made so, and its own would not.
fn listener(address: SocketAddr, filters: &[Value]) -> Value {
    let router = json!({
        "name": "envoy.filters.http.router",
        "typed_config": { "@type": typed("filters.http.router.v3.Router") },
    });
    let filters: Vec<&Value> = filters.iter().chain([&router]).collect();
    let manager = json!({
        "@type": typed("filters.network.http_connection_manager.v3.HttpConnectionManager"),
        "stat_prefix": "bench",
        "codec_type": "HTTP1",
        "server_name": "berth",
        "upgrade_configs": [{ "upgrade_type": "websocket" }],
        "use_remote_address": true,
        "internal_address_config": {},
        "normalize_path": true,
        "merge_slashes": true,
        "early_header_mutation_extensions": [{
            "name": "envoy.http.early_header_mutation.header_mutation",
            "typed_config": {
                "@type": typed("http.early_header_mutation.header_mutation.v3.HeaderMutation"),
                "mutations": [{ "remove_on_match": { "key_matcher": { "prefix": "x-berth-" } } }],
            },
        }],
        "route_config": { "virtual_hosts": [{
            "name": "all",
            "domains": ["*"],
            "routes": [forbidden()],
        }]},
        "http_filters": filters,
    });
    let socket = json!({ "address": address.ip(), "port_value": address.port() });
    json!({
        "name": format!("bench-{}", address.port()),
        "address": { "socket_address": socket },
        "filter_chains": [{ "filters": [{
            "name": "envoy.filters.network.http_connection_manager",
            "typed_config": manager,
        }]}],
    })
}

/// Berth's route, which answers what Berth's filter does when a valid token does not permit the pool.
fn forbidden() -> Value {
    let reason = Reason::PoolForbidden;
    let headers = [
        ("content-type", "application/json"),
        ("cache-control", "no-store"),
        ("x-berth-reason", reason.label()),
    ];
    let headers = headers.map(|(key, value)| json!({ "header": { "key": key, "value": value } }));
    json!({
        "name": "berth",
        "match": { "prefix": "/" },
        "direct_response": {
            "status": reason.status(),
            "body": { "inline_string": refusal_body(reason, None) },
        },
        "response_headers_to_add": headers,
    })
}

/// Berth's filter as it is shipped, that remembers so many tokens, in a VM of its own.
pub(super) fn berth(keys: &SigningKeys, remembered: u32) -> Result<Value, BenchError> {
    let wasm = wasm(
        &filter_module()?,
        &format!("remembers-{remembered}"),
        &configuration(keys, remembered, "web")?,
    );
    Ok(json!({ "name": "berth", "typed_config": wasm }))
}

/// What configures Berth's filter: one web pool of this name.
pub(super) fn configuration(
    keys: &SigningKeys,
    remembered: u32,
    pool: &str,
) -> Result<String, BenchError> {
    let mut issuer = IssuerConfig::new(ISSUER.to_owned(), keys.jwks());
    issuer.audiences = vec![AUDIENCE.to_owned()];
    let admission = PolicyConfig {
        issuers: vec![issuer],
        pools: vec![PoolConfig::open(pool.to_owned(), Family::Web)],
        pools_claim: Some("pools".to_owned()),
        tenant_claim: Some("tenant".to_owned()),
        priority_claim: Some("priority".to_owned()),
        token_cache: TokenCacheConfig {
            entries: remembered,
            ..TokenCacheConfig::default()
        },
        ..PolicyConfig::default()
    };
    let control_plane =
        json!({ "cluster": "none", "when_away": "refuse", "hold_ms": 8000, "tick_ms": 1000 });
    let admission = serde_json::to_value(admission)?;
    Ok(json!({ "admission": admission, "control_plane": control_plane }).to_string())
}

/// A module as a filter, with the capabilities that Berth's has.
pub(super) fn wasm(module: &Path, vm: &str, configuration: &str) -> Value {
    let capabilities = CAPABILITIES.lines().map(|name| (name, json!({})));
    let capabilities: serde_json::Map<_, _> = capabilities
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
    json!({
        "@type": typed("filters.http.wasm.v3.Wasm"),
        "config": {
            "name": "berth",
            "failure_policy": "FAIL_RELOAD",
            "vm_config": {
                "vm_id": vm,
                "runtime": "envoy.wasm.runtime.v8",
                "code": { "local": { "filename": module } },
                "capability_restriction_config": { "allowed_capabilities": capabilities },
            },
            "configuration": {
                "@type": "type.googleapis.com/google.protobuf.StringValue",
                "value": configuration,
            },
        },
    })
}

/// Envoy's own JWT filter, that remembers so many tokens.
pub(super) fn jwt_authn(keys: &SigningKeys, remembered: u32) -> Value {
    let mut provider = json!({
        "issuer": ISSUER,
        "audiences": [AUDIENCE],
        "local_jwks": { "inline_string": keys.jwks().to_string() },
    });
    if let (true, Some(provider)) = (remembered > 0, provider.as_object_mut()) {
        let cache = json!({ "jwt_cache_size": remembered });
        provider.insert("jwt_cache_config".to_owned(), cache);
    }
    json!({
        "name": "envoy.filters.http.jwt_authn",
        "typed_config": {
            "@type": typed("filters.http.jwt_authn.v3.JwtAuthentication"),
            "providers": { "it": provider },
            "rules": [{ "match": { "prefix": "/" }, "requires": { "provider_name": "it" } }],
        },
    })
}

fn typed(name: &str) -> String {
    format!("type.googleapis.com/envoy.extensions.{name}")
}

const CAPABILITIES: &str = include_str!("../../../../../filters/envoy/capabilities.txt");
