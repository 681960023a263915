use proptest::prelude::*;

use super::*;

#[test]
fn a_snapshot_is_consistent() {
    use ResourceType::{Cluster, Endpoint, Extension, Listener, Route};

    let named = |resource_type, name: &str| (resource_type, Resource::new(name, ""));
    let referring = |resource_type, name: &str, to, to_name: &str| {
        (
            resource_type,
            Resource::new(name, "").refers_to(to, to_name),
        )
    };
    let name = || "a".to_owned();
    type Resources = Vec<(ResourceType, Resource)>;
    let cases: Vec<(Resources, Result<(), Inconsistent>)> = vec![
        (vec![], Ok(())),
        (
            vec![named(Endpoint, "a"), referring(Cluster, "a", Endpoint, "a")],
            Ok(()),
        ),
        (vec![named(Extension, "a")], Ok(())),
        (
            vec![referring(Cluster, "b", Endpoint, "a")],
            Err(Inconsistent::Missing {
                resource_type: Endpoint,
                name: name(),
            }),
        ),
        (
            vec![referring(Listener, "l", Route, "a"), named(Endpoint, "a")],
            Err(Inconsistent::Missing {
                resource_type: Route,
                name: name(),
            }),
        ),
        (
            vec![named(Endpoint, "a"), named(Cluster, "a")],
            Err(Inconsistent::Unused {
                resource_type: Endpoint,
                name: name(),
            }),
        ),
        (
            vec![named(Route, "a")],
            Err(Inconsistent::Unused {
                resource_type: Route,
                name: name(),
            }),
        ),
        (
            vec![named(Cluster, "a"), named(Cluster, "a")],
            Err(Inconsistent::Twice {
                resource_type: Cluster,
                name: name(),
            }),
        ),
    ];
    for (resources, expected) in cases {
        let shown = format!("{resources:?}");
        assert_eq!(Snapshot::new(resources).map(drop), expected, "{shown}");
    }
}

type World = Vec<(ResourceType, &'static str, &'static str)>;

fn world() -> impl Strategy<Value = World> {
    let types = prop::sample::select(&[ResourceType::Cluster, ResourceType::Extension]);
    let keys = (types, prop::sample::select(&["a", "b", "c"]));
    let resources = prop::collection::btree_map(keys, prop::sample::select(&["1", "2"]), 0..6);
    resources.prop_map(|resources| {
        let resources = resources.into_iter();
        resources
            .map(|((resource_type, name), content)| (resource_type, name, content))
            .collect()
    })
}

fn snapshot(world: &World) -> Arc<Snapshot> {
    let resources = world.iter().map(|&(resource_type, name, content)| {
        (resource_type, Resource::new(name, content.as_bytes()))
    });
    Arc::new(Snapshot::new(resources).unwrap())
}

/// What makes `new` of `old`, and some of what is the same.
fn changes(old: &Snapshot, new: &Snapshot) -> Vec<Change> {
    let mut changes = Vec::new();
    for resource_type in ResourceType::ALL {
        let put = new.of(resource_type).values();
        changes.extend(put.map(|resource| Change::Put(resource_type, Arc::clone(resource))));
        let gone = old.of(resource_type).keys();
        let gone = gone.filter(|name| new.find(resource_type, name).is_none());
        changes.extend(gone.map(|name| Change::Remove(resource_type, Arc::clone(name))));
    }
    changes
}

proptest! {
    #[test]
    fn what_changed_is_told_however_it_is_found(worlds in prop::collection::vec(world(), 2..5)) {
        let apart: Vec<_> = worlds.iter().map(snapshot).collect();
        let mut linked = vec![Arc::clone(apart.first().unwrap())];
        for next in apart.iter().skip(1) {
            let last = linked.last().unwrap();
            let made = last.with_changes(changes(last, next)).unwrap();
            prop_assert_eq!(&*made, &**next);
            prop_assert_eq!(Arc::ptr_eq(&made, last), made == *last);
            linked.push(made);
        }
        for (older, newer) in [(0, 1), (0, linked.len() - 1)] {
            for resource_type in ResourceType::ALL {
                let of = |snapshots: &[Arc<Snapshot>]| {
                    let (older, newer) = (snapshots.get(older).unwrap(), snapshots.get(newer).unwrap());
                    let names = newer.changed_since(Some(older), resource_type);
                    names.iter().map(ToString::to_string).collect::<BTreeSet<_>>()
                };
                prop_assert_eq!(of(&linked), of(&apart));
            }
        }
    }
}
