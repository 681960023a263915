use std::{collections::BTreeMap, io, net::SocketAddr, path::Path, sync::LazyLock, time::Duration};

use berth_admission::Family;
use proptest::prelude::*;

use super::{
    Config, Delivery, FieldPath, Filter, Position, Probe, ProbeKind, Problem, WhenControlPlaneAway,
    yaml,
};
use crate::{fleet::Thresholds, placement::Labels, tls::TlsFiles};

mod broken;
mod broken_admission;
mod broken_tls;
mod profiles;
mod proxies;

/// What is at the paths that the tests' files name.
static FILES: LazyLock<BTreeMap<&str, String>> = LazyLock::new(|| {
    let pair = || rcgen::generate_simple_self_signed(["berth.example.com".to_owned()]).unwrap();
    let (ours, other) = (pair(), pair());
    BTreeMap::from([
        ("/etc/berth/cert.pem", ours.cert.pem()),
        ("/etc/berth/ca.pem", other.cert.pem()),
        ("/etc/berth/example-org.pem", other.cert.pem()),
        (
            "/etc/berth/example-org-key.pem",
            other.signing_key.serialize_pem(),
        ),
        ("/etc/berth/key.pem", ours.signing_key.serialize_pem()),
        (
            "/etc/berth/other-key.pem",
            other.signing_key.serialize_pem(),
        ),
        ("/etc/berth/jwks.json", JWKS.to_owned()),
        ("/etc/berth/berth.redb.keys.json", JWKS.to_owned()),
        ("/etc/berth/empty-jwks.json", r#"{"keys": []}"#.to_owned()),
        ("/etc/berth/weak-jwks.json", WEAK_JWKS.to_owned()),
        ("/etc/berth/secret-jwks.json", SECRET_JWKS.to_owned()),
        ("/etc/berth/mixed-jwks.json", MIXED_JWKS.to_owned()),
        ("/etc/berth/not-json", "keys:".to_owned()),
        ("/etc/berth/module.wasm", "\0asm\x01\0\0\0\0".to_owned()),
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
fn every_mistake_is_named_with_its_place_and_remedy() {
    let cases = broken::CASES.iter().chain(broken_admission::CASES);
    for (from, to, expected) in cases.chain(broken_tls::CASES) {
        assert_eq!(complaints(from, to), *expected, "{from:?} -> {to:?}");
    }
}

#[test]
fn certificates_of_names_are_kept_in_order() {
    let (from, to) = (
        "private_key: key.pem",
        "private_key: key.pem, client_ca: ca.pem, by_sni: [\
         { name: b.org, certificate_chain: ca.pem, private_key: other-key.pem },\
         { name: a, certificate_chain: cert.pem, private_key: key.pem }]",
    );
    let tls = parse(&GOOD.replace(from, to)).unwrap().tls;
    assert_eq!(
        tls.default.files.private_key,
        Path::new("/etc/berth/key.pem")
    );
    let by_sni = tls.by_sni.iter().map(|sni| {
        let path = sni.loaded.files.certificate_chain.to_str().unwrap();
        assert_eq!(sni.loaded.held.chain_pem(), FILES[path]);
        (&*sni.name, path)
    });
    let by_sni: Vec<_> = by_sni.collect();
    assert_eq!(
        by_sni,
        [("b.org", "/etc/berth/ca.pem"), ("a", "/etc/berth/cert.pem")]
    );
    let client_ca = tls.client_ca.unwrap();
    assert_eq!(client_ca.held.pem(), FILES["/etc/berth/ca.pem"]);
}

#[test]
fn a_second_document_is_one_too_many() {
    let Err(problems) = parse(&format!("{GOOD}---\na: b\n")) else {
        panic!("it was taken");
    };
    let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
    let [found] = found.as_slice() else {
        panic!("{found:?}");
    };
    assert!(
        found.ends_with(
            ": another document begins here: keep one of them, and put the other into its own file"
        ),
        "{found}"
    );
}

#[test]
fn what_is_no_mapping_is_no_configuration() {
    for (text, expected) in [
        ("", "1:1: the file is empty: begin with berth.example.yaml"),
        (
            "# nothing\n",
            "2:1: the file is empty: begin with berth.example.yaml",
        ),
        (
            "berth",
            "1:1: is of the wrong kind: write fields with values, `{}` if all are left out",
        ),
        (
            "- xds",
            "1:1: is of the wrong kind: write fields with values, `{}` if all are left out",
        ),
        (
            "a: b: c",
            "1:1: a: is not a field of the configuration: here go xds, admin, listeners, tls, filter, static_proxies, admission, pools, timing, store, profiles",
        ),
    ] {
        let problems = parse(text).unwrap_err();
        let found: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(found, [expected], "of {text:?}");
    }
}

#[test]
fn where_both_sides_show_certificates_nothing_is_plain() {
    let xds = |fields: &str| parse(&GOOD.replace("{ listen: 127.0.0.1:18000 }", fields)).unwrap();
    assert_eq!(
        xds("{ listen: 10.0.0.1:1, allow_plaintext: true }").xds_tls,
        None
    );
    let config = xds(
        "{ listen: 0.0.0.0:18000, tls: { certificate_chain: cert.pem, private_key: key.pem, client_ca: /etc/berth/ca.pem } }",
    );
    assert_eq!(config.xds.to_string(), "0.0.0.0:18000");
    let files = TlsFiles {
        certificate_chain: "/etc/berth/cert.pem".into(),
        private_key: "/etc/berth/key.pem".into(),
        client_ca: "/etc/berth/ca.pem".into(),
    };
    assert_eq!(config.xds_tls, Some(files));
}

#[test]
fn what_instances_show_is_read() {
    let with = |fields: &str| {
        let text = GOOD.replace("  second_device: allow\n", fields);
        parse(&text).unwrap().pools.swap_remove(0).instance_tls
    };
    assert_eq!(with(""), None);
    let tls = with("  instance_tls: { ca: ca.pem }\n").unwrap();
    assert_eq!(tls.files.ca, Path::new("/etc/berth/ca.pem"));
    assert_eq!((&tls.tls.certificate, &tls.tls.server_name), (&None, &None));
    let tls = with("  instance_tls: { ca: ca.pem, server_name: runtime.example, certificate_chain: cert.pem, private_key: key.pem }\n").unwrap();
    assert_eq!(tls.tls.server_name.as_deref(), Some("runtime.example"));
    let certificate = tls.tls.certificate.unwrap();
    assert_eq!(certificate.chain_pem, FILES["/etc/berth/cert.pem"]);
    assert_eq!(certificate.private_key_pem, FILES["/etc/berth/key.pem"]);
    assert_eq!(tls.tls.ca_pem, FILES["/etc/berth/ca.pem"]);
}

#[test]
fn a_valid_file_says_what_it_says() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.xds.to_string(), "127.0.0.1:18000");
    assert_eq!(config.admin.to_string(), "[::1]:18001");
    let listeners = config.listeners.iter();
    let listeners: Vec<_> = listeners
        .map(|listener| {
            let socket = SocketAddr::new(listener.address, listener.port.get());
            format!("{} {socket}", listener.name)
        })
        .collect();
    assert_eq!(listeners, ["https 0.0.0.0:443", "native [::]:48322"]);
    assert_eq!(
        config.tls.default.held.private_key_pem(),
        FILES["/etc/berth/key.pem"]
    );
    assert_eq!(config.tls.by_sni, []);
    assert_eq!(
        config.filter,
        Filter {
            module: "/etc/berth/berth_filter.wasm".into(),
            delivery: Delivery::File,
            when_control_plane_away: WhenControlPlaneAway::Refuse,
        }
    );
    let [web, native] = config.pools.as_slice() else {
        panic!("two pools");
    };
    assert_eq!(web.family, Family::Web);
    assert_eq!(native.family, Family::Native);
    assert_eq!(
        web.probe,
        Probe {
            kind: ProbeKind::Http {
                port: 8080.try_into().unwrap(),
                path: "/ready".to_owned(),
            },
            interval: Duration::from_secs(5),
            timeout: Duration::from_millis(500),
            thresholds: Thresholds {
                rise: 2.try_into().unwrap(),
                fall: 4.try_into().unwrap(),
            },
        }
    );
    assert_eq!(native.probe.kind, ProbeKind::Tcp);
    assert_eq!(
        format!("{:?}", web.policy),
        concat!(
            "PoolPolicy { choice: LeastRecentlyUsed, hold: 8s, max_sessions: None, ",
            "max_sessions_per_tenant: None, max_sessions_per_user: None, max_session_age: None, ",
            "orphan_after: 600s, queue: 1000, resume_window: 60s, second_device: Allow, ",
            "settle: 0ns, tenants: {}, warm_up: 0ns }",
        )
    );
    let fleet = config.fleet();
    let instances = fleet
        .iter()
        .map(|(name, instance)| format!("{name} {} {}", instance.pool(), instance.address()));
    assert_eq!(
        instances.collect::<Vec<_>>(),
        [
            "gpu-1 web 10.0.0.1:49100",
            "gpu-2 web [fd00::2]:49100",
            "gpu-3 native 10.0.0.3:48010"
        ]
    );
    let policy = config.admission_policy();
    assert_eq!(policy.issuers[0].clock_skew_seconds, 30);
    assert_eq!(policy.pools[1].name, "native");
    assert_eq!(policy.pools_claim.as_deref(), Some("pools"));
}

/// `GOOD` with tenants and these lines for the pool of two instances.
fn with_tenants(lines: &str) -> Result<Config, Vec<String>> {
    let text = GOOD.replace("pools_claim: pools", "tenant_claim: tenant");
    let text = text.replace("  hold: 8s\n", &format!("{lines}\n"));
    parse(&text).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

#[test]
fn a_pool_s_limits_are_what_the_file_says() {
    let config = with_tenants(
        "  choice: spread\n  queue: 0\n  max_sessions: 9\n  max_sessions_per_user: 1\n  \
         max_sessions_per_tenant: 8\n  max_session_age: 4h\n  warm_up: 10s\n  \
         tenants: [{ name: acme, reserved: 2, max_sessions: 3 }, { name: b c }]",
    );
    let policy = config.unwrap().pools[0].policy.clone();
    assert_eq!(
        format!("{policy:?}"),
        concat!(
            "PoolPolicy { choice: Spread, hold: 8s, max_sessions: Some(9), ",
            "max_sessions_per_tenant: Some(8), max_sessions_per_user: Some(1), ",
            "max_session_age: Some(14400s), orphan_after: 600s, queue: 0, resume_window: 60s, ",
            "second_device: Allow, settle: 0ns, tenants: {",
            "\"acme\": TenantPolicy { max_sessions: Some(3), reserved: 2 }, ",
            "\"b c\": TenantPolicy { max_sessions: None, reserved: 0 }}, warm_up: 10s }",
        )
    );
}

#[test]
fn what_is_reserved_has_to_be_there() {
    let cases: [(&str, &[&str]); 6] = [
        (
            "  tenants: [{ name: a, reserved: 1 }, { name: b, reserved: 2 }]",
            &[
                "25:12: pools[0].tenants: 3 instances are reserved for tenants, and the number of the pool's instances is 2: reserve fewer or add instances",
            ],
        ),
        (
            "  max_sessions: 1\n  tenants: [{ name: a, reserved: 2 }]",
            &[
                "26:12: pools[0].tenants: 2 instances are reserved for tenants, and the pool's `max_sessions` is 1: reserve fewer or raise it",
            ],
        ),
        (
            "  tenants: [{ name: a, reserved: 2, max_sessions: 1 }]",
            &[
                "25:34: pools[0].tenants[0].reserved: 2 instances are reserved, and at most 1 can be used: lower `reserved` or raise `max_sessions`",
            ],
        ),
        (
            "  tenants: [{ name: a }, { name: a }]",
            &[
                "25:34: pools[0].tenants[1].name: `a` is used by pools[0].tenants[0].name already: give a tenant one entry",
            ],
        ),
        (
            "  tenants: [{ name: '', reserved: -1 }]",
            &[
                "25:21: pools[0].tenants[0].name: is empty: write the tenant as tokens name it",
                "25:35: pools[0].tenants[0].reserved: -1 is out of range: choose from 0 to 1000000",
            ],
        ),
        ("  tenants: [{ name: a, reserved: 2 }]", &[]),
    ];
    for (lines, expected) in cases {
        let found = with_tenants(lines).err().unwrap_or_default();
        assert_eq!(found, expected, "{lines}");
    }
}

#[test]
fn an_instance_is_placed_with_its_host_zone_and_labels() {
    let text = GOOD.replace(
        "'[fd00::2]:49100' }",
        "'[fd00::2]:49100', zone: eu-1a, labels: { region: eu, gpu: L40S } }",
    );
    let config = parse(&text).unwrap();
    let web = &config.pools[0];
    let placed: Vec<_> = web.instances.iter().map(|i| i.placed(&web.name)).collect();
    let [plain, full] = placed.as_slice() else {
        panic!("two instances");
    };
    assert_eq!((&*plain.host, &plain.zone), ("10.0.0.1", &None));
    assert_eq!(plain.labels, Labels::default());
    assert_eq!((&*full.host, full.pool.as_str()), ("fd00::2", "web"));
    assert_eq!(full.zone, Some("eu-1a".into()));
    let labels: Vec<_> = full.labels.iter().collect();
    assert_eq!(labels, [("gpu", "L40S"), ("region", "eu")]);
}

#[test]
fn a_private_key_is_not_in_debug_output() {
    let config = parse(GOOD).unwrap();
    assert!(!format!("{config:?}").contains("PRIVATE KEY"));
}

#[test]
fn keys_that_are_ignored_are_named() {
    let mixed = GOOD.replace("jwks_file: jwks.json", "jwks_file: mixed-jwks.json");
    let ignored = parse(&mixed).unwrap().ignored_keys();
    let ignored: Vec<_> = ignored.iter().map(ToString::to_string).collect();
    assert_eq!(ignored, ["issuers[0].jwks.keys[1].crv: must be Ed25519"]);
}

#[test]
fn the_example_is_valid() {
    parse(EXAMPLE).unwrap();
}

/// The example calls some of its values defaults; without those lines it must mean the same.
#[test]
fn the_examples_defaults_are_the_defaults() {
    let without: String = EXAMPLE
        .lines()
        .filter(|line| !line.contains("# the default"))
        .flat_map(|line| [line, "\n"])
        .collect();
    assert!(EXAMPLE.lines().count() > without.lines().count() + 15);
    let (with, without) = (parse(EXAMPLE).unwrap(), parse(&without).unwrap());
    assert_eq!(format!("{with:?}"), format!("{without:?}"));
}

/// A field that the example does not show is a field that nobody finds.
#[test]
fn the_example_shows_every_field() {
    let lines = EXAMPLE
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'));
    let shown: Vec<&str> = lines
        .map(|line| line.split(" # ").next().unwrap())
        .flat_map(|line| {
            line.split(|letter: char| {
                !letter.is_ascii_lowercase() && !"_0123456789".contains(letter)
            })
        })
        .collect();
    let own = fields(include_str!("raw.rs"), "pub(super) ");
    let config = include_str!("../../../filters/admission/src/config.rs");
    // Of these the file has its own forms.
    let public = [
        "PolicyConfig",
        "IssuerConfig",
        "TokenCacheConfig",
        "DefaultPools",
    ];
    let public: Vec<&str> = config
        .split("\n}\n")
        .filter(|block| {
            !public
                .iter()
                .any(|name| block.contains(&format!("pub struct {name} ")))
        })
        .collect();
    let public = public.join("\n");
    let mut seen = 0;
    for field in own.chain(fields(&public, "pub ")) {
        assert!(shown.contains(&field), "`{field}` is not in the example");
        seen += 1;
    }
    for source in [
        config,
        include_str!("../../../filters/admission/src/matcher.rs"),
    ] {
        for variant in variants(source) {
            assert!(
                shown.contains(&variant.as_str()),
                "`{variant}` is not in the example"
            );
            seen += 1;
        }
    }
    assert!(seen > 110, "only {seen} were found");
}

/// The names of the fields in a source.
fn fields<'a>(source: &'a str, visible: &'a str) -> impl Iterator<Item = &'a str> {
    let lines = source
        .lines()
        .filter_map(move |line| line.trim().strip_prefix(visible));
    lines
        .filter_map(|line| Some(line.split_once(": ")?.0))
        .map(|name| name.trim_start_matches("r#"))
        .filter(|name| !name.contains(['(', ' ']))
}

/// The names of the variants of a source's enums, as they are written in YAML.
fn variants(source: &str) -> impl Iterator<Item = String> {
    let enums = source.split("pub enum ").skip(1);
    let lines = enums.flat_map(|one| one.split("\n}\n").next().unwrap().lines().skip(1));
    lines
        .filter(|line| !line.trim_start().starts_with("//"))
        .map(|line| {
            let name = line.trim().split(['(', ',']).next().unwrap();
            let mut written = String::new();
            for (index, letter) in name.chars().enumerate() {
                if letter.is_ascii_uppercase() && index > 0 {
                    written.push('_');
                }
                written.push(letter.to_ascii_lowercase());
            }
            written
        })
}

#[test]
fn files_are_found_beside_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("berth.yaml");
    let problem = Config::load(&path).unwrap_err().to_string();
    let start = format!("cannot read {}: ", path.display());
    assert!(problem.starts_with(&start), "{problem}");

    std::fs::write(&path, GOOD).unwrap();
    let problems = Config::load(&path).unwrap_err().to_string();
    let places: Vec<_> = problems
        .lines()
        .map(|line| line.strip_prefix(path.to_str().unwrap()).unwrap())
        .map(|line| line.split(": cannot read ").next().unwrap())
        .collect();
    assert_eq!(
        places,
        [
            ":6:27: tls.certificate_chain",
            ":6:50: tls.private_key",
            ":12:73: admission.issuers[0].jwks_file"
        ]
    );

    for name in ["cert.pem", "key.pem", "jwks.json"] {
        let content = &FILES[format!("/etc/berth/{name}").as_str()];
        std::fs::write(folder.path().join(name), content).unwrap();
    }
    let config = Config::load(&path).unwrap();
    assert_eq!(
        config.filter.module,
        folder.path().join("berth_filter.wasm")
    );
}

proptest! {
    /// Whatever an edit makes of a file, it is read or every complaint points into it.
    #[test]
    fn complaints_point_into_the_file(
        at in 0..GOOD.len(),
        cut in 0_usize..40,
        put in "[ \\n:{}\\[\\],'a-z0-9&*#-]{0,8}",
    ) {
        let end = GOOD.len().min(at + cut);
        let text = format!("{}{put}{}", &GOOD[..at], &GOOD[end..]);
        let lines = u64::try_from(text.lines().count()).unwrap();
        for problem in parse(&text).err().unwrap_or_default() {
            let Position { line, column } = problem.position;
            prop_assert!((1..=lines + 1).contains(&line) && column >= 1, "{problem}");
        }
    }

    #[test]
    fn field_paths_are_read_as_they_are_written(
        segments in prop::collection::vec(
            prop_oneof![
                "[a-z_]{1,8}".prop_map(|key| (key, None)),
                ("[a-z_]{1,8}", 0_usize..99).prop_map(|(key, index)| (key, Some(index))),
            ],
            1..5,
        ),
    ) {
        let path = segments.iter().fold(FieldPath::default(), |path, (key, index)| {
            let path = path.key(key);
            index.map_or(path.clone(), |index| path.index(index))
        });
        prop_assert_eq!(path.to_string().parse(), Ok(path));
    }
}

const EXAMPLE: &str = include_str!("../../berth.example.yaml");

/// The public key of RFC 7515, appendix A.3.1.
const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// The same key and one that somebody was going to sign with (RFC 7515, appendix A.3.1, with its private half).
const SECRET_JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}, {"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    "d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"}]}"#;

/// The same key and one of a type that is not checked.
const MIXED_JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}, {"kty": "OKP", "crv": "X25519",
    "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// An RSA modulus of three bytes.
const WEAK_JWKS: &str = r#"{"keys": [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}]}"#;

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
