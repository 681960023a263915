use berth_tests::{KeyKind, Seen, World, wait_until};

use crate::{Files, SOON, echo, is_shown, listeners_are_untouched, shown};

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_used_changes_nothing_but_what_is_said() {
    let world = World::builder().web_instances(2).start().await.unwrap();
    let mut live = world.client("web").unwrap().connect().await.unwrap();
    let certificates = world.certificates();
    let files = Files {
        chain: certificates.chain.clone(),
        private_key: certificates.private_key.clone(),
    };
    let before = std::fs::read_to_string(&files.chain).unwrap();
    let next = certificates
        .issue(KeyKind::EcdsaP256, &["localhost"])
        .unwrap();
    let half = next.chain.split_at(next.chain.len() / 2).0;
    for (failures, (path, content, said)) in (1..).zip([
        (
            &files.private_key,
            &*next.private_key,
            "key.pem is not the key of the first certificate in",
        ),
        (
            &files.chain,
            half,
            "cert.pem has no certificate that can be read",
        ),
        (
            &files.chain,
            "",
            "cert.pem has no certificate that can be read",
        ),
    ]) {
        std::fs::write(path, content).unwrap();
        counted(&world, "failed", failures).await;
        let found = shown::to(world.https(), Some("localhost")).await;
        assert_eq!(found, shown::der(&before), "{said}");
        let log = world.berth().log();
        assert!(log.contains(said), "{log}");
    }
    std::fs::remove_file(&files.chain).unwrap();
    counted(&world, "failed", 4).await;

    std::fs::write(&files.chain, &next.chain).unwrap();
    is_shown(&world, Some("localhost"), &next).await;
    counted(&world, "changed", 1).await;
    echo(&mut live).await;
    listeners_are_untouched(world.envoy(0).unwrap()).await;
    // Each was said once, though the files were looked at again and again, and no key was.
    let log = world.berth().log();
    assert_eq!(
        log.matches("what was there before stays in use").count(),
        4,
        "{log}"
    );
    assert!(!log.contains("PRIVATE KEY"), "{log}");
    let end = "berth_certificate_end_timestamp_seconds{secret=\"berth\"}";
    assert!(world.berth().metric(end).await.unwrap() > 1.8e9);
}

async fn counted(world: &World, outcome: &str, expected: u32) {
    let series =
        format!("berth_certificate_reloads_total{{secret=\"berth\",outcome=\"{outcome}\"}}");
    wait_until(format!("reloads that {outcome}"), SOON, async || {
        let found = world.berth().metric(&series).await?;
        Ok(Seen::when(found == f64::from(expected), found))
    })
    .await
    .unwrap();
}
