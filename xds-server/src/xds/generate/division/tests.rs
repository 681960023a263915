use std::net::{IpAddr, SocketAddr};

use proptest::prelude::*;

use super::super::super::gateway::EndpointHealth;
use super::*;

#[test]
fn a_pool_is_divided_when_it_outgrows_a_cluster() {
    // (instances, clusters)
    let cases: &[(u32, &[&str])] = &[
        (0, &["quest"]),
        (1, &["quest"]),
        (500, &["quest"]),
        (501, &["quest/0", "quest/1"]),
        (1_200, &["quest/00", "quest/01", "quest/10", "quest/11"]),
    ];
    let mut division = Division::new("quest".into(), 500);
    let mut there = 0;
    for (instances, names) in cases {
        for number in there..*instances {
            insert(&mut division, number);
        }
        there = *instances;
        assert_eq!(names_of(&division), *names);
        let sizes = division.clusters.values().map(|one| one.members.len());
        assert_eq!(sizes.clone().sum::<usize>(), *instances as usize);
        assert!(sizes.max() <= Some(500));
    }
    for (instances, names) in cases.iter().rev() {
        for number in *instances..there {
            division.remove(NameHash::of(&name(number)), &name(number));
        }
        there = *instances;
        assert_eq!(names_of(&division), *names);
    }
}

#[test]
fn what_is_told_is_what_has_changed() {
    use ClusterChange::{Endpoints, Gone, New};

    // The first bits of the hashes are 0, 1, 10 and 11.
    let [a, b, c, d] = [0, 2 << 62, 2 << 62 | 1, 3 << 62].map(NameHash);
    let mut division = Division::new("p".into(), 2);
    let one = |name: &str, host| endpoint(name, host);
    assert_eq!(division.take_changes(), [New("p".into(), vec![])]);
    assert_eq!(division.take_changes(), []);

    division.insert(b, one("b", 1));
    division.insert(a, one("a", 2));
    let both = vec![one("a", 2), one("b", 1)];
    assert_eq!(division.take_changes(), [Endpoints("p".into(), both)]);
    division.insert(a, one("a", 2));
    division.remove(a, "c");
    assert_eq!(division.take_changes(), [], "nothing has changed");

    division.insert(c, one("c", 3));
    division.insert(d, one("d", 4));
    let changes = [
        Gone("p".into()),
        New("p/0".into(), vec![one("a", 2)]),
        New("p/10".into(), vec![one("b", 1), one("c", 3)]),
        New("p/11".into(), vec![one("d", 4)]),
    ];
    assert_eq!(
        division.take_changes(),
        changes,
        "what was never told is not taken back"
    );
    assert_eq!(division.find(c, "c"), Some((&"p/10".into(), &one("c", 3))));
    assert_eq!(division.find(c, "a"), None);

    division.insert(c, one("c", 5));
    let changed = vec![one("b", 1), one("c", 5)];
    assert_eq!(division.take_changes(), [Endpoints("p/10".into(), changed)]);

    // Divided and joined again before anybody heard of it.
    division.remove(d, "d");
    division.insert(d, one("d", 4));
    let changes = [
        New("p/10".into(), vec![one("b", 1), one("c", 5)]),
        New("p/11".into(), vec![one("d", 4)]),
    ];
    assert_eq!(division.take_changes(), changes);

    division.remove(b, "b");
    division.remove(c, "c");
    let changes = [
        Gone("p/0".into()),
        Gone("p/10".into()),
        Gone("p/11".into()),
        New("p".into(), vec![one("a", 2), one("d", 4)]),
    ];
    assert_eq!(division.take_changes(), changes);
}

#[test]
fn hashes_that_are_equal_to_the_last_bit_stay_together() {
    let mut division = Division::new("p".into(), 1);
    let hash = NameHash(u64::MAX);
    for number in 0..3 {
        division.insert(hash, endpoint(&name(number), number));
    }
    let last = division.clusters.last_key_value().unwrap();
    assert_eq!((last.0, last.1.members.len()), (&hash, 3));
    assert_eq!(division.clusters.len(), 65);
    for number in 0..2 {
        division.remove(hash, &name(number));
    }
    assert_eq!(names_of(&division), ["p"]);
}

/// The clusters of these instances, made from nothing.
fn divided(max: usize, instances: &[(NameHash, String)]) -> BTreeMap<String, Vec<String>> {
    fn divide(
        bits: String,
        max: usize,
        group: Vec<&(NameHash, String)>,
        clusters: &mut BTreeMap<String, Vec<String>>,
    ) {
        let depth = u32::try_from(bits.len()).unwrap();
        if group.len() > max && depth < 64 {
            let mask = 1 << (63 - depth);
            let (ones, zeros) = group.into_iter().partition(|(hash, _)| hash.0 & mask != 0);
            divide(format!("{bits}0"), max, zeros, clusters);
            divide(format!("{bits}1"), max, ones, clusters);
            return;
        }
        let mut names: Vec<_> = group.into_iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        let name = if bits.is_empty() {
            "p".to_owned()
        } else {
            format!("p/{bits}")
        };
        clusters.insert(name, names);
    }
    let mut clusters = BTreeMap::new();
    divide(
        String::new(),
        max,
        instances.iter().collect(),
        &mut clusters,
    );
    clusters
}

/// Some near each other, some equal, some anywhere.
fn hash() -> impl Strategy<Value = NameHash> {
    prop_oneof![
        (0..4_u64).prop_map(NameHash),
        (0..8_u64).prop_map(|head| NameHash(head << 61)),
        any::<u64>().prop_map(NameHash),
    ]
}

proptest! {
    #[test]
    fn whatever_came_and_went_the_clusters_are_those_of_who_is_there(
        max in 1..5_usize,
        hashes in proptest::collection::vec(hash(), 24),
        steps in proptest::collection::vec((0..24_u32, any::<bool>()), 0..120),
    ) {
        let mut division = Division::new("p".into(), max);
        let mut there = BTreeSet::new();
        for (number, comes) in steps {
            let hash = hashes[number as usize];
            if comes {
                division.insert(hash, endpoint(&name(number), number));
                there.insert(number);
            } else {
                division.remove(hash, &name(number));
                there.remove(&number);
            }
            let expected: Vec<_> = there.iter().map(|number| (hashes[*number as usize], name(*number))).collect();
            let found: BTreeMap<_, _> = division.clusters.values().map(|cluster| {
                let names = cluster.endpoints().into_iter().map(|one| one.instance);
                (cluster.name.to_string(), names.collect::<Vec<_>>())
            }).collect();
            prop_assert_eq!(&found, &divided(max, &expected));
            for (hash, name) in expected {
                let (cluster, endpoint) = division.find(hash, &name).unwrap();
                prop_assert!(found[&**cluster].contains(&endpoint.instance));
            }
        }
    }

    #[test]
    fn an_instance_moves_only_when_its_own_cluster_is_divided(size in 30..200_u32, newcomers in 1..40_u32) {
        let mut division = Division::new("p".into(), 30);
        (0..size).for_each(|number| insert(&mut division, number));
        let cluster_of = |division: &Division, number| {
            let (cluster, _) = division.find(NameHash::of(&name(number)), &name(number)).unwrap();
            cluster.to_string()
        };
        let before: Vec<_> = (0..size).map(|number| cluster_of(&division, number)).collect();
        (size..size + newcomers).for_each(|number| insert(&mut division, number));
        let names = names_of(&division);
        for (number, before) in (0..size).zip(before) {
            let now = cluster_of(&division, number);
            prop_assert!(now == before || !names.contains(&before), "{number}: {before}, {now}");
        }
    }
}

fn insert(division: &mut Division, number: u32) {
    let name = name(number);
    division.insert(NameHash::of(&name), endpoint(&name, number));
}

fn names_of(division: &Division) -> Vec<String> {
    let clusters = division.clusters.values();
    clusters.map(|cluster| cluster.name.to_string()).collect()
}

fn name(number: u32) -> String {
    format!("gpu-{number}")
}

fn endpoint(instance: &str, host: u32) -> EndpointSpec {
    EndpointSpec {
        instance: instance.to_owned(),
        address: SocketAddr::new(IpAddr::from(host.to_be_bytes()), 49_100),
        health: EndpointHealth::Healthy,
    }
}
