use berth_tests::{KeyKind, Scratch, World};

use crate::{listeners_are_untouched, shown, with_names};

#[tokio::test(flavor = "multi_thread")]
async fn the_name_chooses_the_certificate() {
    let folder = Scratch::temporary().unwrap();
    let (builder, named) = with_names(
        World::builder().web_instances(1),
        &folder,
        [
            ("a", KeyKind::EcdsaP256, &["a.example", "*.wild.example"]),
            (
                "b",
                KeyKind::EcdsaP256,
                &["b.example", "a.example", "localhost"],
            ),
            ("rsa", KeyKind::Rsa, &["rsa.example"]),
        ],
    );
    let world = builder.start().await.unwrap();
    let default = std::fs::read_to_string(&world.certificates().chain).unwrap();
    let [a, b, rsa] = named.each_ref().map(|named| &named.issued.chain);
    for (name, expected) in [
        (Some("a.example"), a),
        (Some("one.wild.example"), a),
        (Some("b.example"), b),
        (Some("rsa.example"), rsa),
        // The default one has this name too.
        (Some("localhost"), &default),
        (Some("two.one.wild.example"), &default),
        (Some("unknown.example"), &default),
        (None, &default),
    ] {
        for server in [world.https(), world.native()] {
            let found = shown::to(server, name).await;
            assert_eq!(found, shown::der(expected), "{name:?}");
        }
    }
    listeners_are_untouched(world.envoy(0).unwrap()).await;
}
