//! How many sessions somebody may have, and for how long.

use std::time::Duration;

use berth_client::Departure;
use berth_tests::{ClientBuilder, Family, SecondDevice, World};
use tokio::time::timeout;

use crate::{SOON, client, echo, established, lease_is, live, no_instance};

#[tokio::test(flavor = "multi_thread")]
async fn sessions_are_limited_by_number_and_age() {
    let world = World::builder()
        .pool("users", Family::Web, |pool| {
            let pool = pool.instances(3).second_device(SecondDevice::Allow);
            pool.max_sessions_per_user(2)
        })
        .pool("tenants", Family::Web, |pool| {
            let pool = pool.instances(3).reserved("acme", 1);
            pool.max_sessions_per_tenant(1)
        })
        .pool("brief", Family::Web, |pool| {
            let pool = pool.max_session_age(AGE);
            pool.resume_window(Duration::from_secs(60))
        })
        .start()
        .await
        .unwrap();
    of_a_user(&world).await;
    of_a_tenant(&world).await;
    too_old(&world).await;
}

async fn of_a_user(world: &World) {
    let first = live(world, "users", "alice").await;
    let alice = client(world, "users", "alice");
    let mut second = alice.connect().await.unwrap();
    too_many(&alice).await;
    // The limit is hers alone, and one that has ended does not count.
    let bob = live(world, "users", "bob").await;
    bob.close(1000, "").await.unwrap();
    first.close(1000, "").await.unwrap();
    lease_is(world, "users-1", None).await;
    lease_is(world, "users-3", None).await;
    let mut third = alice.connect().await.unwrap();
    for session in [&mut second, &mut third] {
        echo(session, "hello").await;
    }
    too_many(&alice).await;
}

/// Three instances, one of which is kept for acme.
async fn of_a_tenant(world: &World) {
    let of = |tenant: &str, who: &str| {
        let token = world.token().subject(who).claim("tenant", tenant);
        client(world, "tenants", who).token(token)
    };
    let mut sessions = Vec::new();
    for tenant in ["one", "two"] {
        sessions.push(established(world, &of(tenant, tenant), tenant).await);
    }
    too_many(&of("one", "another")).await;
    no_instance(&of("three", "three").refusal().await.unwrap());
    sessions.push(established(world, &of("acme", "acme"), "acme").await);
    for session in &mut sessions {
        echo(session, "hello").await;
    }
}

async fn too_old(world: &World) {
    let mut alice = live(world, "brief", "alice").await;
    let departure = timeout(SOON, alice.departure()).await.unwrap().unwrap();
    assert!(
        matches!(departure, Departure::Fin | Departure::Reset),
        "{departure:?}"
    );
    // It was not hers to come back to.
    lease_is(world, "brief-1", None).await;
    let records = world.instance("brief-1").unwrap().records();
    let [record] = records.as_slice() else {
        panic!("{records:#?}");
    };
    let lasted = record.end.as_ref().unwrap().at - record.from;
    assert!(lasted > AGE - Duration::from_millis(500), "{lasted:?}");
    // Its proxy closed it, and says why.
    let history = ["history", "--pool", "brief"];
    let history = world.berth().command(&history).await.unwrap();
    assert!(history.contains("  max_age  "), "{history}");
}

async fn too_many(client: &ClientBuilder) {
    let refusal = client.refusal().await.unwrap();
    let found = (refusal.status, refusal.reason());
    assert_eq!(found, (429, Some("too_many_sessions")), "{refusal:?}");
    let retry_after = refusal.retry_after();
    assert!(
        retry_after.is_some_and(|seconds| seconds >= 1),
        "{refusal:?}"
    );
}

const AGE: Duration = Duration::from_secs(2);
