use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[test]
fn a_private_key_is_not_printed() {
    let certificate = Certificate {
        chain_pem: "CHAIN".to_owned(),
        private_key_pem: "KEY".to_owned(),
    };
    let shown = format!("{certificate:?}");
    assert!(shown.contains("CHAIN") && !shown.contains("KEY"), "{shown}");
}

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
    for (instances, names) in cases {
        let clusters = assign_clusters("quest", endpoints(0..*instances));
        assert_eq!(
            clusters
                .iter()
                .map(|cluster| cluster.name.as_str())
                .collect::<Vec<_>>(),
            *names
        );
        assert_eq!(
            clusters
                .iter()
                .map(|cluster| cluster.endpoints.len())
                .sum::<usize>(),
            *instances as usize
        );
        assert!(
            clusters
                .iter()
                .all(|cluster| cluster.endpoints.len() <= MAX_CLUSTER)
        );
    }
}

#[test]
fn instances_of_one_name_are_kept_together() {
    let twins = vec![endpoints(0..1).remove(0); MAX_CLUSTER + 1];
    assert_eq!(
        assign_clusters("quest", twins)
            .iter()
            .map(|cluster| cluster.endpoints.len())
            .max(),
        Some(MAX_CLUSTER + 1)
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 30, ..ProptestConfig::default() })]

    #[test]
    fn an_instance_moves_only_when_its_own_group_is_divided(size in 480..2_600_u32, newcomers in 1..40_u32) {
        let before = assigned(0..size);
        let after = assigned(0..size + newcomers);
        for (instance, cluster) in before {
            let now = &after[&instance];
            prop_assert!(*now == cluster || !after.values().any(|name| *name == cluster), "{instance}: {cluster}, {now}");
        }
    }

    #[test]
    fn the_order_of_instances_does_not_matter(size in 0..1_500_u32) {
        let mut shuffled = endpoints(0..size);
        shuffled.reverse();
        prop_assert_eq!(assign_clusters("quest", shuffled), assign_clusters("quest", endpoints(0..size)));
    }
}

fn assigned(numbers: std::ops::Range<u32>) -> BTreeMap<String, String> {
    assign_clusters("quest", endpoints(numbers))
        .into_iter()
        .flat_map(|cluster| {
            cluster
                .endpoints
                .into_iter()
                .map(move |endpoint| (endpoint.instance, cluster.name.clone()))
        })
        .collect()
}

fn endpoints(numbers: std::ops::Range<u32>) -> Vec<EndpointSpec> {
    numbers
        .map(|number| EndpointSpec {
            instance: format!("gpu-{number}"),
            address: SocketAddr::new(IpAddr::from(number.to_be_bytes()), 49_100),
            health: EndpointHealth::Healthy,
        })
        .collect()
}
