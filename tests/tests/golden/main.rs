//! A real Envoy takes what `envoy/golden` shows, and would refuse it if it were wrong.
#![cfg(test)]

use std::fs;
use std::process::{Command, Output};

use berth::xds;
use berth::xds::{
    EndpointHealth, EndpointSpec, Generator, Profiles, Resource, ResourceType, Snapshot,
};
use berth_tests::{Certificates, Scratch, envoy, filter_module};

use bootstrap::StandIns;
use gateways::{gateway, generate, golden, instances, published, tls};

mod bootstrap;
#[path = "../../../xds-server/src/xds/generate/tests/gateways.rs"]
mod gateways;

#[test]
fn an_envoy_takes_each() {
    let validator = Validator::new();
    for (name, gateway, _) in golden() {
        let snapshot = generate(&gateway).unwrap();
        let output = validator.validate(&snapshot);
        assert!(output.status.success(), "{name}: {output:?}");
    }
}

/// Everything at once, and a pool that is several clusters.
#[test]
fn an_envoy_takes_a_gateway_with_everything() {
    let mut whole = gateway();
    for pool in &mut whole.pools {
        pool.tls = Some(tls(None, true));
    }
    let mut generator = Generator::new(whole, &Profiles::default()).unwrap();
    for (pool, endpoint) in instances() {
        generator.set_instance(pool, endpoint).unwrap();
    }
    for number in 0..1_200_u32 {
        let [.., high, low] = number.to_be_bytes();
        let endpoint = EndpointSpec {
            instance: format!("more-{number}"),
            address: ([10, 1, high, low], 49_100).into(),
            health: EndpointHealth::Healthy,
        };
        generator.set_instance("quest", endpoint).unwrap();
    }
    let snapshot = published(generator);
    assert!(snapshot.of(ResourceType::Cluster).len() > 4);
    let output = Validator::new().validate(&snapshot);
    assert!(output.status.success(), "{output:?}");
}

/// That it takes all of the above means something only if it does not take anything.
#[test]
fn an_envoy_refuses_what_is_wrong() {
    let validator = Validator::new();
    let snapshot = generate(&gateway()).unwrap();
    // (what is broken, a text in it, another of the same length, what Envoy says)
    let cases: &[(ResourceType, &str, &str, &str)] = &[
        (
            ResourceType::Cluster,
            "subset.v3.Subset",
            "subset.v9.Subset",
            "load balancer factory",
        ),
        (ResourceType::Endpoint, "10.0.0.1", "10.0.0.x", "10.0.0.x"),
        (ResourceType::Listener, "X25519", "X25591", "X25591"),
        (
            ResourceType::Route,
            ")?sign_in",
            "(?sign_in",
            "invalid perl operator",
        ),
        (
            ResourceType::Secret,
            "(a certificate)",
            "-a certificate-",
            "certificate",
        ),
        (
            ResourceType::Extension,
            "envoy.wasm.runtime.v8",
            "envoy.wasm.runtime.v9",
            "Failed to load Wasm code",
        ),
    ];
    for (resource_type, from, to, said) in cases {
        let broken = with_broken(&snapshot, *resource_type, from, to);
        let output = validator.validate(&broken);
        let log = String::from_utf8_lossy(&output.stderr);
        assert!(
            !output.status.success() && log.contains(said),
            "{resource_type:?}: {output:?}"
        );
    }
}

/// An Envoy that only looks at a configuration.
struct Validator {
    scratch: Scratch,
    stand_ins: StandIns,
}

impl Validator {
    fn new() -> Self {
        let scratch = Scratch::temporary().unwrap();
        let files = Certificates::load_or_create(scratch.path()).unwrap();
        let stand_ins = StandIns {
            chain_pem: fs::read_to_string(&files.chain).unwrap(),
            private_key_pem: fs::read_to_string(&files.private_key).unwrap(),
            ca_pem: fs::read_to_string(&files.ca).unwrap(),
            module: filter_module().unwrap(),
        };
        Self { scratch, stand_ins }
    }

    fn validate(&self, snapshot: &Snapshot) -> Output {
        let path = self.scratch.path().join("bootstrap.pb");
        fs::write(&path, bootstrap::of(snapshot, &self.stand_ins)).unwrap();
        let mut validator = Command::new(envoy().unwrap());
        validator.args(["--mode", "validate", "--log-level", "error", "-c"]);
        validator.arg(path).output().unwrap()
    }
}

/// The resources with a text in those of one type replaced, which has to be there.
fn with_broken(snapshot: &Snapshot, broken: ResourceType, from: &str, to: &str) -> Snapshot {
    assert_eq!(from.len(), to.len(), "lengths are part of the encoding");
    let mut found = false;
    let resources = ResourceType::ALL.into_iter().flat_map(|resource_type| {
        let resources = snapshot.of(resource_type).values();
        resources.map(move |resource| (resource_type, resource))
    });
    let resources: Vec<_> = resources
        .map(|(resource_type, resource)| {
            let mut body = resource.body().to_vec();
            if resource_type == broken {
                while let Some(at) = body
                    .windows(from.len())
                    .position(|window| window == from.as_bytes())
                {
                    body[at..at + to.len()].copy_from_slice(to.as_bytes());
                    found = true;
                }
            }
            let mut copy = Resource::new(resource.name().as_ref(), body);
            for (resource_type, name) in resource.references() {
                copy = copy.refers_to(*resource_type, name.as_ref());
            }
            (resource_type, copy)
        })
        .collect();
    assert!(found, "`{from}` is not there");
    Snapshot::new(resources).unwrap()
}
