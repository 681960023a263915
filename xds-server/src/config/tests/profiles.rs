use super::{GOOD, parse};
use crate::xds::{Metadata, MetadataValue, NodeFacts};

#[test]
fn a_node_is_told_what_its_profile_says() {
    let text = format!(
        "{GOOD}\
profiles:
- name: gold
  match: {{ cluster: edge, region: eu, zone: eu-1, sub_zone: rack-1, metadata: {{ tenant.tier: gold }} }}
  listeners: [native]
- name: joined
  match: {{ cluster: mesh }}
  listeners: []
  pools: [web]
- name: rest
"
    );
    let profiles = parse(&text).unwrap().profiles;
    let tier = MetadataValue::Text("gold".to_owned());
    let tenant: Metadata = [("tier".to_owned(), tier)].into_iter().collect();
    let gold = NodeFacts {
        id: "envoy-1".to_owned(),
        cluster: "edge".to_owned(),
        region: "eu".to_owned(),
        zone: "eu-1".to_owned(),
        sub_zone: "rack-1".to_owned(),
        metadata: [("tenant".to_owned(), MetadataValue::Struct(tenant))]
            .into_iter()
            .collect(),
    };
    let other = |change: fn(&mut NodeFacts)| {
        let mut node = gold.clone();
        change(&mut node);
        node
    };
    // (node, profile, whether it has the listeners https and native, and the pools web and native)
    let cases = [
        (gold.clone(), "gold", [false, true, true, true]),
        (
            other(|node| node.cluster = "mesh".to_owned()),
            "joined",
            [false, false, true, false],
        ),
        (other(|node| node.region.clear()), "rest", [true; 4]),
        (other(|node| node.zone.clear()), "rest", [true; 4]),
        (other(|node| node.sub_zone.clear()), "rest", [true; 4]),
        (
            other(|node| node.metadata = Metadata::default()),
            "rest",
            [true; 4],
        ),
    ];
    for (node, name, expected) in cases {
        let chosen = profiles.choose(&node).unwrap();
        assert_eq!(chosen.as_str(), name, "{node:?}");
        let profile = profiles
            .iter()
            .find(|profile| profile.name == *chosen)
            .unwrap();
        let found = [
            profile.listeners.has("https"),
            profile.listeners.has("native"),
            profile.pools.has("web"),
            profile.pools.has("native"),
        ];
        assert_eq!(found, expected, "{node:?}");
    }
}

#[test]
fn without_profiles_everybody_has_one() {
    let profiles = parse(GOOD).unwrap().profiles;
    assert!(profiles.choose(&NodeFacts::default()).is_some());
}

#[test]
fn what_is_wrong_with_profiles_is_said() {
    let cases: &[(&str, &[&str])] = &[
        (
            "profiles: []",
            &[
                "32:11: profiles: is empty: write a profile, or leave `profiles` out to tell every proxy everything",
            ],
        ),
        (
            "profiles: [{ name: a b, match: { zone: a } }]",
            &[
                "32:20: profiles[0].name: `a b` cannot be a name here: only a-z, A-Z, 0-9, ., _ and - may be in it, not ` `",
            ],
        ),
        (
            "profiles: [{ name: a, match: { zone: a } }, { name: a }]",
            &[
                "32:53: profiles[1].name: `a` is used by profiles[0].name already: give every profile a name of its own",
            ],
        ),
        (
            "profiles: [{ name: a, match: {} }, { name: b }, { name: c, match: { zone: c } }]",
            &[
                "32:36: profiles[1]: profiles[0] is for every proxy, so none comes as far as this: put that one last",
                "32:49: profiles[2]: profiles[0] is for every proxy, so none comes as far as this: put that one last",
            ],
        ),
        (
            "profiles: [{ name: a, listeners: [https, http], pools: [quest] }]",
            &[
                "32:42: profiles[0].listeners[1]: there is no listener `http`: name one of `listeners`",
                "32:57: profiles[0].pools[0]: there is no pool `quest`: name one of `pools`",
            ],
        ),
        (
            "profiles: [{ name: a, pools: [] }]",
            &[
                "32:30: profiles[0].pools: is empty: name a pool, or leave `pools` out for all of them",
            ],
        ),
        (
            "profiles: [{ name: a, match: { metadata: { a.b.c.d.e.f.g.h.i.j: x } } }]",
            &[
                "32:65: profiles[0].match.metadata.a.b.c.d.e.f.g.h.i.j: has 9 dots: write a path of at most 8",
            ],
        ),
        (
            "profiles: [{ name: a, match: { id: b } }]",
            &[
                "32:32: profiles[0].match.id: is not a field of the configuration: here go cluster, region, zone, sub_zone, metadata",
            ],
        ),
    ];
    for (text, expected) in cases {
        let found = parse(&format!("{GOOD}{text}\n")).err().unwrap_or_default();
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, *expected, "{text}");
    }
}
