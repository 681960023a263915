//! A session that is as old as it may be, while nobody is there to say so.

use std::time::Duration;

use berth_tests::{Family, World};
use tokio::time::{Instant, timeout};

use crate::{SOON, client, echo, lease_is};

#[tokio::test(flavor = "multi_thread")]
async fn the_filter_closes_what_is_too_old_while_the_control_plane_is_stopped() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.max_session_age(AGE))
        .start()
        .await
        .unwrap();
    let mut alice = client(&world, "web", "alice").connect().await.unwrap();
    let began = Instant::now();
    world.berth().pause().unwrap();
    echo(&mut alice, "hello").await;
    timeout(SOON, alice.departure()).await.unwrap().unwrap();
    let noticed = began.elapsed();

    let records = world.instance("web-1").unwrap().records();
    let [record] = records.as_slice() else {
        panic!("{records:#?}");
    };
    let lasted = record.end.as_ref().unwrap().at - record.from;
    // The client counts from a little later than the filter, and so may the instance.
    let least = AGE - Duration::from_millis(500);
    for (who, lasted) in [("alice", noticed), ("web-1", lasted)] {
        assert!(lasted > least && lasted < AGE + LATE, "{who}: {lasted:?}");
    }
    let closed = "wasmcustom.berth.session.closed.max_age";
    let closed = world.envoy(0).unwrap().stat(closed).await.unwrap();
    assert_eq!(closed, Some(1));
    world.berth().resume().unwrap();
    lease_is(&world, "web-1", None).await;
}

const AGE: Duration = Duration::from_secs(3);

/// What is promised of every end that a clock brings.
const LATE: Duration = Duration::from_secs(2);
