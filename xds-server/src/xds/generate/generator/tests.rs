use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use proptest::prelude::*;

use super::super::super::gateway::{Certificate, EndpointHealth, ListenerSpec};
use super::super::super::profile::{NodeMatch, Scope};
use super::*;

#[test]
fn what_does_not_change_stays_the_same_resource() {
    use ResourceType::{Cluster, Endpoint, Extension, Secret};

    type Change = fn(&mut Generator);
    type Changed = &'static [(ResourceType, &'static str)];
    let cases: &[(&str, Change, Changed)] = &[
        ("nothing", |_| {}, &[]),
        (
            "the same again",
            |generator| generator.set_instance("a", endpoint(1)).unwrap(),
            &[],
        ),
        (
            "there and back",
            |generator| {
                generator.remove_instance("gpu-1");
                generator.set_instance("a", endpoint(1)).unwrap();
            },
            &[],
        ),
        (
            "health",
            |generator| {
                let mut endpoint = endpoint(1);
                endpoint.health = EndpointHealth::Draining;
                generator.set_instance("a", endpoint).unwrap();
            },
            &[(Endpoint, "a")],
        ),
        (
            "address",
            |generator| {
                let mut endpoint = endpoint(1);
                endpoint.address.set_port(1);
                generator.set_instance("a", endpoint).unwrap();
            },
            &[(Endpoint, "a")],
        ),
        (
            "a newcomer",
            |generator| generator.set_instance("b", endpoint(9)).unwrap(),
            &[(Endpoint, "b")],
        ),
        (
            "another pool",
            |generator| generator.set_instance("b", endpoint(1)).unwrap(),
            &[(Endpoint, "a"), (Endpoint, "b")],
        ),
        (
            "one more than fit",
            |generator| {
                for number in 10..13 {
                    generator.set_instance("b", endpoint(number)).unwrap();
                }
            },
            &[
                (Cluster, "b"),
                (Cluster, "b/0"),
                (Cluster, "b/1"),
                (Endpoint, "b"),
                (Endpoint, "b/0"),
                (Endpoint, "b/1"),
            ],
        ),
        (
            "somebody leaves",
            |generator| generator.remove_instance("gpu-1"),
            &[(Endpoint, "a")],
        ),
        (
            "nobody leaves",
            |generator| generator.remove_instance("gpu-77"),
            &[],
        ),
        (
            "filter",
            |generator| {
                generator
                    .set_filter_configuration("{ }".to_owned())
                    .unwrap()
            },
            &[(Extension, "berth.admission")],
        ),
        (
            "the same filter",
            |generator| generator.set_filter_configuration("{}".to_owned()).unwrap(),
            &[],
        ),
        (
            "certificate",
            |generator| generator.set_certificates(&certificates("(another)")),
            &[(Secret, "berth")],
        ),
    ];
    for (title, change, expected) in cases {
        let mut generator = generator();
        let before = generator.publish().unwrap().views;
        change(&mut generator);
        let after = generator.publish().unwrap().views;
        for (profile, scope) in [("all", "ab"), ("joined", "b")] {
            let (before, after) = (&before[&profile.into()], &after[&profile.into()]);
            let expected: Vec<_> = expected
                .iter()
                .filter(|(kind, name)| match kind {
                    Cluster | Endpoint => scope.contains(&name[..1]),
                    Secret => profile == "all",
                    _ => true,
                })
                .map(|(kind, name)| (*kind, (*name).to_owned()))
                .collect();
            assert_eq!(differences(before, after), expected, "{title}, {profile}");
            let same = Arc::ptr_eq(before, after);
            assert_eq!(same, expected.is_empty(), "{title}, {profile}");
        }
    }
}

#[test]
fn profiles_are_parts_that_share_resources() {
    use ResourceType::{Cluster, Endpoint, Extension, Listener, Route, Secret};

    let profile = |name: &str, listeners, pools| Profile {
        name: name.into(),
        fits: NodeMatch::default(),
        listeners,
        pools,
    };
    let only = |names: &[&str]| Scope::Only(names.iter().map(|name| (*name).to_owned()).collect());
    let profiles = Profiles::new(vec![
        profile("all", Scope::All, Scope::All),
        profile("one", only(&["https"]), only(&["b"])),
        profile("joined", only(&[]), only(&["a"])),
    ]);
    let mut generator = Generator::new(gateway(), &profiles.unwrap()).unwrap();
    let views = generator.publish().unwrap().views;
    type Expected = &'static [(ResourceType, &'static [&'static str])];
    let cases: [(&str, Expected); 3] = [
        (
            "all",
            &[
                (Cluster, &["a", "b"]),
                (Endpoint, &["a", "b"]),
                (Listener, &["cloudxr", "https"]),
                (Route, &["berth"]),
                (Secret, &["berth"]),
                (Extension, &["berth.admission"]),
            ],
        ),
        (
            "one",
            &[
                (Cluster, &["b"]),
                (Endpoint, &["b"]),
                (Listener, &["https"]),
                (Route, &["berth"]),
                (Secret, &["berth"]),
                (Extension, &["berth.admission"]),
            ],
        ),
        (
            "joined",
            &[
                (Cluster, &["a"]),
                (Endpoint, &["a"]),
                (Listener, &[]),
                (Route, &[]),
                (Secret, &[]),
                (Extension, &["berth.admission"]),
            ],
        ),
    ];
    let all = &views[&"all".into()];
    for (profile, expected) in cases {
        let view = &views[&profile.into()];
        for (resource_type, names) in expected {
            let found = view.of(*resource_type);
            let names_found: Vec<_> = found.keys().map(|name| &**name).collect();
            assert_eq!(names_found, *names, "{profile}, {resource_type:?}");
            let shared = |name| {
                let theirs = all.find(*resource_type, name).unwrap();
                Arc::ptr_eq(theirs, &found[name])
            };
            assert!(names.iter().all(|name| shared(name)), "{profile}");
        }
    }
}

#[test]
fn a_place_is_where_proxies_have_been_told_it_is() {
    let mut generator = generator();
    let place = |generator: &Generator, number: u32| {
        let place = generator.place_of(&name(number));
        place.map(|(cluster, address)| (cluster.to_string(), address.port()))
    };
    assert_eq!(place(&generator, 1), None, "nothing was published");
    generator.publish().unwrap();
    assert_eq!(place(&generator, 1), Some(("a".to_owned(), 49_100)));

    let mut moved = endpoint(1);
    moved.address.set_port(1);
    generator.set_instance("a", moved).unwrap();
    for number in 10..13 {
        generator.set_instance("a", endpoint(number)).unwrap();
    }
    assert_eq!(place(&generator, 1), Some(("a".to_owned(), 49_100)));
    generator.publish().unwrap();
    let (cluster, port) = place(&generator, 1).unwrap();
    assert!(cluster.starts_with("a/") && port == 1, "{cluster}, {port}");

    generator.remove_instance("gpu-1");
    generator.publish().unwrap();
    assert_eq!(place(&generator, 1), None);
}

#[test]
fn an_address_is_one_instances() {
    let at = |number, host| EndpointSpec {
        address: endpoint(host).address,
        ..endpoint(number)
    };
    let mut generator = generator();
    let taken = |host, instance: &str| InvalidInstance::AddressTaken {
        address: endpoint(host).address,
        instance: instance.to_owned(),
    };
    for told in [false, true] {
        assert_eq!(
            generator.set_instance("b", at(9, 1)),
            Err(taken(1, "gpu-1")),
            "{told}"
        );
        generator.publish().unwrap();
    }
    assert_eq!(generator.place_of("gpu-9"), None);
    // One goes, another comes; the addresses are exchanged with the help of a third.
    generator.remove_instance("gpu-1");
    generator.set_instance("b", at(9, 1)).unwrap();
    generator.set_instance("a", at(2, 5)).unwrap();
    generator.set_instance("b", at(9, 2)).unwrap();
    generator.set_instance("a", at(2, 1)).unwrap();
    assert_eq!(
        generator.set_instance("a", at(1, 2)),
        Err(taken(2, "gpu-9"))
    );
    generator.set_instance("a", at(1, 5)).unwrap();
    assert_eq!(
        generator.set_instance("c", at(1, 5)),
        Err(InvalidInstance::UnknownPool("c".to_owned()))
    );
}

#[derive(Clone, Debug)]
enum Step {
    Set {
        pool: &'static str,
        number: u32,
        port: u16,
        health: EndpointHealth,
    },
    Remove(u32),
    Certificate(&'static str),
    Filter(&'static str),
    Publish,
}

fn step() -> impl Strategy<Value = Step> {
    use EndpointHealth::{Draining, Healthy, Unhealthy};

    let pool = prop_oneof![Just("a"), Just("b")];
    let health = prop_oneof![Just(Draining), Just(Healthy), Just(Unhealthy)];
    prop_oneof![
        8 => (pool, 0..30_u32, 1..3_u16, health).prop_map(|(pool, number, port, health)| Step::Set {
            pool,
            number,
            port,
            health,
        }),
        5 => (0..30_u32).prop_map(Step::Remove),
        1 => prop_oneof![Just("x"), Just("y")].prop_map(Step::Certificate),
        1 => prop_oneof![Just("{}"), Just("{ }")].prop_map(Step::Filter),
        4 => Just(Step::Publish),
    ]
}

proptest! {
    #[test]
    fn whatever_happened_the_resources_are_those_of_what_there_is(
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        let mut generator = empty(gateway());
        let mut there: BTreeMap<u32, (&str, EndpointSpec)> = BTreeMap::new();
        let mut now = gateway();
        let mut before = generator.publish().unwrap().views;
        for step in steps {
            match step {
                Step::Set { pool, number, port, health } => {
                    let mut endpoint = endpoint(number);
                    endpoint.address.set_port(port);
                    endpoint.health = health;
                    generator.set_instance(pool, endpoint.clone()).unwrap();
                    there.insert(number, (pool, endpoint));
                }
                Step::Remove(number) => {
                    generator.remove_instance(&name(number));
                    there.remove(&number);
                }
                Step::Certificate(chain) => {
                    now.certificates = certificates(chain);
                    generator.set_certificates(&now.certificates);
                }
                Step::Filter(json) => {
                    now.filter.configuration_json = json.to_owned();
                    generator.set_filter_configuration(json.to_owned()).unwrap();
                }
                Step::Publish => {
                    let published = generator.publish().unwrap();
                    let mut scratch = empty(now.clone());
                    for (pool, endpoint) in there.values().rev() {
                        scratch.set_instance(pool, endpoint.clone()).unwrap();
                    }
                    prop_assert_eq!(&published.views, &scratch.publish().unwrap().views);
                    for (profile, after) in &published.views {
                        let before = &before[profile];
                        // Equal resources are the same, and so are equal snapshots.
                        let is_equal = before == after;
                        prop_assert_eq!(differences(before, after).is_empty(), is_equal);
                        prop_assert_eq!(Arc::ptr_eq(before, after), is_equal);
                        let differ = differences(before, after);
                        let equal = differ.iter().find(|(kind, name)| {
                            let of = |snapshot: &Snapshot| snapshot.find(*kind, name).map(|one| one.body().clone());
                            of(before) == of(after)
                        });
                        prop_assert_eq!(equal, None);
                    }
                    for (number, (_, endpoint)) in &there {
                        let (cluster, address) = generator.place_of(&name(*number)).unwrap();
                        prop_assert_eq!(address, endpoint.address);
                        let all = &published.views[&"all".into()];
                        let cluster = all.find(ResourceType::Endpoint, cluster).unwrap();
                        prop_assert!(cluster.endpoints().contains(endpoint));
                    }
                    before = published.views;
                }
            }
        }
    }
}

/// Which resources are not the same in both.
fn differences(before: &Snapshot, after: &Snapshot) -> Vec<(ResourceType, String)> {
    let of_type = |resource_type| {
        let (before, after) = (before.of(resource_type), after.of(resource_type));
        let names: BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let differ = names.into_iter().filter(|name| {
            let pair = before.get(*name).zip(after.get(*name));
            !pair.is_some_and(|(before, after)| Arc::ptr_eq(before, after))
        });
        let named = differ.map(|name| (resource_type, name.to_string()));
        named.collect::<Vec<_>>()
    };
    ResourceType::ALL.into_iter().flat_map(of_type).collect()
}

/// Two instances in each pool, of at most four in a cluster.
fn generator() -> Generator {
    let mut generator = empty(gateway());
    for (pool, number) in [("a", 1), ("a", 2), ("b", 3), ("b", 4)] {
        generator.set_instance(pool, endpoint(number)).unwrap();
    }
    generator
}

fn empty(gateway: Gateway) -> Generator {
    let only = |names: &[&str]| Scope::Only(names.iter().map(|name| (*name).to_owned()).collect());
    let profiles = Profiles::new(vec![
        Profile {
            name: "all".into(),
            fits: NodeMatch::default(),
            listeners: Scope::All,
            pools: Scope::All,
        },
        Profile {
            name: "joined".into(),
            fits: NodeMatch::default(),
            listeners: only(&[]),
            pools: only(&["b"]),
        },
    ]);
    Generator::with_limit(gateway, &profiles.unwrap(), 4).unwrap()
}

fn gateway() -> Gateway {
    let listener = |name: &str, port| ListenerSpec {
        name: name.to_owned(),
        address: Ipv4Addr::UNSPECIFIED.into(),
        port,
    };
    let pool = |name: &str| PoolSpec {
        name: name.to_owned(),
        connect_timeout: Duration::from_secs(5),
        tls: None,
    };
    Gateway {
        listeners: vec![listener("https", 443), listener("cloudxr", 48_322)],
        certificates: certificates("x"),
        filter: FilterSpec {
            module: Module::File("/usr/lib/berth/filter.wasm".into()),
            vm_id: "berth".to_owned(),
            configuration_json: "{}".to_owned(),
        },
        handshake_timeout: Duration::from_secs(5),
        pools: vec![pool("a"), pool("b")],
    }
}

fn certificates(chain: &str) -> Certificates {
    let default = Certificate {
        chain_pem: chain.to_owned(),
        private_key_pem: "(a private key)".to_owned(),
    };
    Certificates {
        default,
        by_sni: Vec::new(),
        client_ca_pem: None,
    }
}

fn name(number: u32) -> String {
    format!("gpu-{number}")
}

fn endpoint(number: u32) -> EndpointSpec {
    EndpointSpec {
        instance: name(number),
        address: SocketAddr::new(IpAddr::from(number.to_be_bytes()), 49_100),
        health: EndpointHealth::Healthy,
    }
}
