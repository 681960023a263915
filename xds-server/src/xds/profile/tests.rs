use super::*;

#[test]
fn the_first_profile_that_fits_counts() {
    let asks = |change: fn(&mut NodeMatch)| {
        let mut asked = NodeMatch::default();
        change(&mut asked);
        asked
    };
    let profiles = Profiles::new(vec![
        profile(
            "gold",
            asks(|asked| {
                asked.cluster = Some("edge".to_owned());
                asked.metadata = BTreeMap::from([("tier".to_owned(), "gold".to_owned())]);
            }),
        ),
        profile("eu", asks(|asked| asked.region = Some("eu".to_owned()))),
        profile(
            "place",
            asks(|asked| {
                asked.zone = Some("us-1".to_owned());
                asked.sub_zone = Some("rack-1".to_owned());
            }),
        ),
    ])
    .unwrap();
    // (cluster, region, zone, sub-zone, tier, profile)
    let cases = [
        (["edge", "eu", "eu-1", "", "gold"], Some("gold")),
        (["edge", "eu", "eu-1", "", "silver"], Some("eu")),
        (["Edge", "eu", "eu-1", "", "gold"], Some("eu")),
        (["edge", "us", "us-1", "rack-1", ""], Some("place")),
        (["edge", "us", "us-1", "rack-2", ""], None),
        (["edge", "us", "us-2", "rack-1", ""], None),
        (["", "", "", "", ""], None),
    ];
    for ([cluster, region, zone, sub_zone, tier], expected) in cases {
        let node = NodeFacts {
            id: "envoy-1".to_owned(),
            cluster: cluster.to_owned(),
            region: region.to_owned(),
            zone: zone.to_owned(),
            sub_zone: sub_zone.to_owned(),
            metadata: structure([("tier", text(tier))]),
        };
        let chosen = profiles.choose(&node).map(ProfileName::as_str);
        assert_eq!(chosen, expected, "{node:?}");
    }
}

#[test]
fn without_profiles_everybody_is_told_everything() {
    let profiles = Profiles::default();
    let chosen = profiles.choose(&NodeFacts::default()).cloned();
    let profile = profiles
        .iter()
        .find(|profile| Some(&profile.name) == chosen.as_ref());
    assert!(
        profile.is_some_and(|profile| profile.listeners.has("any") && profile.pools.has("any"))
    );
}

#[test]
fn metadata_is_found_by_its_path() {
    let metadata = structure([
        ("tier", text("gold")),
        ("", text("nameless")),
        (
            "labels",
            MetadataValue::Struct(structure([
                ("example.com/zone", text("eu-1")),
                ("app", text("berth")),
                (
                    "example",
                    MetadataValue::Struct(structure([("com/zone", text("eu-2"))])),
                ),
            ])),
        ),
    ]);
    // (path, text, whether it is there)
    let cases = [
        ("tier", "gold", true),
        ("tier", "silver", false),
        ("tier", "", false),
        ("other", "gold", false),
        ("tier.more", "gold", false),
        ("labels", "berth", false),
        ("labels.app", "berth", true),
        ("app", "berth", false),
        ("labels.example.com/zone", "eu-1", true),
        ("labels.example.com/zone", "eu-2", true),
        ("labels.example", "eu-2", false),
        ("", "nameless", true),
        (".", "nameless", false),
        ("labels.", "berth", false),
    ];
    for (path, text, expected) in cases {
        assert_eq!(metadata.says(path, text), expected, "{path} {text}");
    }
}

#[test]
fn profiles_that_cannot_be_told_apart_are_refused() {
    let named = |name| profile(name, NodeMatch::default());
    let cases = [
        (vec![], Some(InvalidProfiles::None)),
        (vec![named("a"), named("b")], None),
        (
            vec![named("a"), named("b"), named("a")],
            Some(InvalidProfiles::Twice("a".into())),
        ),
    ];
    for (profiles, expected) in cases {
        assert_eq!(Profiles::new(profiles).err(), expected);
    }
}

fn profile(name: &str, fits: NodeMatch) -> Profile {
    Profile {
        name: name.into(),
        fits,
        listeners: Scope::All,
        pools: Scope::All,
    }
}

fn text(text: &str) -> MetadataValue {
    MetadataValue::Text(text.to_owned())
}

fn structure<const N: usize>(fields: [(&str, MetadataValue); N]) -> Metadata {
    let fields = fields.into_iter();
    fields.map(|(key, value)| (key.to_owned(), value)).collect()
}
