//! An Envoy that was there already: its own routes answer as before, and sessions come in beside them.
#![cfg(test)]

use std::time::Duration;

use berth_client::Message;
use berth_tests::World;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn its_routes_answer_as_before_and_sessions_come_in_beside_them() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .joined_envoys(1)
        .start()
        .await
        .unwrap();
    let joined = world.envoy(1).unwrap();
    let client = |pool| world.client(pool).unwrap().by(joined);

    let before = client("web")
        .without_token()
        .path("/")
        .verdict()
        .await
        .unwrap();
    assert_eq!(
        (before.status, before.body.as_str()),
        (200, "not CloudXR\n")
    );

    for pool in ["web", "native"] {
        let refused = client(pool).without_token().refusal().await.unwrap();
        assert_eq!(
            (refused.status, refused.reason()),
            (401, Some("no_token")),
            "{pool}"
        );

        let mut session = client(pool).connect().await.unwrap();
        session.send(Message::text("hello")).await.unwrap();
        assert_eq!(
            session.receive_data().await.unwrap(),
            Message::text("hello"),
            "{pool}"
        );

        // It is the same instance that the other Envoy would give, and gives to nobody now.
        let late = world.client(pool).unwrap().refusal().await.unwrap();
        assert_eq!(
            (late.status, late.reason()),
            (503, Some("no_instance")),
            "{pool}"
        );
        session.close(1000, "").await.unwrap();
        world
            .berth()
            .wait_until_free(&format!("{pool}-1"), SOON)
            .await
            .unwrap();
    }

    let after = client("web")
        .without_token()
        .path("/elsewhere")
        .verdict()
        .await
        .unwrap();
    assert_eq!(
        (after.status, after.headers.get("x-berth-reason")),
        (200, None)
    );
}
