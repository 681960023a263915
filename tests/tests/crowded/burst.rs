//! A hundred thousand requests at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use berth_tests::vm::{Vm, listed};
use berth_tests::{Family, Seen, World, wait_until};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::SOON;

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_has_an_end_and_so_has_memory() {
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            pool.queue(1000).hold(Duration::from_secs(14))
        })
        .tick(Duration::from_secs(4))
        .handshake_timeout(Duration::from_secs(1))
        .start()
        .await
        .unwrap();
    let berth = world.berth();
    let holder = Vm::new(&world, "holder").await.unwrap();
    let grant = holder.acquire(1, "held", "holder").await.unwrap().unwrap();
    let live = vec![listed("held", "holder", Some(&grant))];
    holder.full(2, live.clone()).await.unwrap();
    eprintln!("{:?}", berth.memory());
    let mut sequence = 3;
    for round in 0..2 {
        let start = Instant::now();
        let mut crowd = JoinSet::new();
        let refused = Arc::new(AtomicUsize::new(0));
        for connection in 0..4 {
            let vm = Vm::new(&world, &format!("{round}-{connection}"))
                .await
                .unwrap();
            for number in 0..25_000 {
                let vm = vm.clone();
                let refused = Arc::clone(&refused);
                crowd.spawn(async move {
                    let name = format!("{round}-{connection}-{number}");
                    let answer = vm.acquire(number + 1, &name, &name).await.unwrap();
                    if let Err(refusal) = answer {
                        assert_eq!(refusal.reason, "queue_full");
                        assert!(refusal.retry_after_seconds >= 1);
                        refused.fetch_add(1, Ordering::Relaxed);
                    }
                });
            }
        }
        eprintln!("spawned {:?}", start.elapsed());
        let mut slowest = Duration::ZERO;
        wait_until("refusals", SOON, async || {
            let asked = Instant::now();
            holder.full(sequence, live.clone()).await?;
            sequence += 1;
            slowest = slowest.max(asked.elapsed());
            let count = refused.load(Ordering::Relaxed);
            Ok(Seen::when(count >= 99_000, count))
        })
        .await
        .unwrap();
        eprintln!(
            "refused {:?} slowest {slowest:?} {:?}",
            start.elapsed(),
            berth.memory()
        );
        let series = "berth_sessions_waiting{pool=\"web\"}";
        eprintln!("{}", berth.metric(series).await.unwrap());
        drop(crowd);
        wait_until("nobody waits", SOON, async || {
            let count = berth.metric(series).await?;
            Ok(Seen::when(count == 0.0, count))
        })
        .await
        .unwrap();
        eprintln!("gone {:?} {:?}", start.elapsed(), berth.memory());
    }
}
