use std::{collections::BTreeMap, io, path::Path, sync::LazyLock};

use super::{Config, Problem, yaml};

/// What is at the paths that the tests' files name.
static FILES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let pair = || rcgen::generate_simple_self_signed(["berth.example.com".to_owned()]).unwrap();
    let (ours, other) = (pair(), pair());
    BTreeMap::from([
        ("/etc/berth/cert.pem", ours.cert.pem()),
        ("/etc/berth/key.pem", ours.signing_key.serialize_pem()),
        (
            "/etc/berth/other-key.pem",
            other.signing_key.serialize_pem(),
        ),
        ("/etc/berth/jwks.json", JWKS.to_owned()),
        ("/etc/berth/empty-jwks.json", r#"{"keys": []}"#.to_owned()),
        ("/etc/berth/not-json", "keys:".to_owned()),
    ])
});

fn parse(text: &str) -> Result<Config, Vec<Problem>> {
    let read = |path: &Path| {
        let content = path.to_str().and_then(|path| FILES.get(path));
        content
            .map(|content| content.as_bytes().to_vec())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    };
    yaml::parse(text, Path::new("/etc/berth"), &read)
}

/// What is said of the file `GOOD` after `from` was replaced by `to`.
#[track_caller]
fn complaints(from: &str, to: &str) -> Vec<String> {
    assert_eq!(GOOD.matches(from).count(), 1, "`{from}` is not there once");
    match parse(&GOOD.replace(from, to)) {
        Ok(_) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn show() {
    for (from, to) in [
        ("[berth]", "[berth"),
        ("hold: 8s", "hodl: 8s"),
        ("  module: berth_filter.wasm\n", ""),
        ("port: 443", "port: https"),
        ("port: 443", "port: 70000"),
        ("hold: 8s", "hold: 8"),
        ("hold: 8s", "hold: [8s]"),
        ("hold: 8s", "hold: 8s\n  hold: 9s"),
        ("hold: 8s", "hold: "),
        ("address: 10.0.0.1:49100", "address: gpu-1:49100"),
        ("pools:\n", "pools: {}\nx:\n"),
        ("rise: 2", "rise: two"),
        ("name: gpu-1", "name: 1"),
        ("key.pem", "other-key.pem"),
        ("hold: 8s", "hold: *x"),
        ("hold: 8s", "hold: 8s\n hold: x"),
        ("hold: 8s", "hold: yes"),
        ("rise: 2", "rise: -1"),
        ("rise: 2", "rise: 2.5"),
        ("name: gpu-1", "name: null"),
        ("tls:", "tls: &x"),
        ("pools_claim: pools", "pools_claim:\n"),
        ("hold: 8s", "hold: 100000000000000000000000s"),
    ] {
        println!("== {to:?}\n{:#?}", complaints(from, to));
    }
    for t in ["", "---\n---\n", "[]", "foo", "\u{0}", "a: b: c"] {
        println!(
            "== {t:?} {:?}",
            parse(t)
                .unwrap_err()
                .iter()
                .map(ToString::to_string)
                .collect::<Vec<_>>()
        );
    }
}

/// The public key of RFC 7515, appendix A.3.1.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

const GOOD: &str = "\
xds: { listen: 127.0.0.1:18000 }
admin: { listen: '[::1]:18001' }
listeners:
- { name: https, address: 0.0.0.0, port: 443 }
- { name: native, address: '::', port: 48322 }
tls: { certificate_chain: cert.pem, private_key: key.pem }
filter:
  module: berth_filter.wasm
  when_control_plane_away: refuse
admission:
  issuers:
  - { issuer: https://login.example.com, audiences: [berth], jwks_file: jwks.json, clock_skew: 30s }
  pools_claim: pools
  default_pools: { web: web, native: native }
pools:
- name: web
  family: web
  instances:
  - { name: gpu-1, address: 10.0.0.1:49100 }
  - { name: gpu-2, address: '[fd00::2]:49100' }
  probe: { http: { port: 8080, path: /ready }, interval: 5s, timeout: 500ms, rise: 2, fall: 4 }
  second_device: allow
  resume_window: 1m
  settle: 0s
  hold: 8s
  orphan_after: 10m
- name: native
  family: native
  instances:
  - { name: gpu-3, address: 10.0.0.3:48010 }
timing: { tick: 500ms, handshake_timeout: 3s }
";
