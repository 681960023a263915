//! What becomes of sessions and their leases when something ends, breaks, stops or comes back.
#![cfg(test)]

mod age;
mod away;
mod choice;
mod cleanup;
mod crowd;
mod journal;
mod limits;
mod operator;
mod pending;
mod probes;
mod queue;
mod resume;
mod revoked;
mod silence;
mod vanished;

use std::time::Duration;

use berth_client::{Message, Session};
use berth_runtime_emulator::SessionRecord;
use berth_tests::{ClientBuilder, Instance, Seen, World, wait_until};
use tokio::time::timeout;

/// Much longer than anything here takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

/// What the operator ends is over by then: a tick, and the Sync in it.
const PROMPTLY: Duration = Duration::from_secs(2);

/// A client whose user, and whose name in the instances' records, is `who`.
fn client(world: &World, pool: &str, who: &str) -> ClientBuilder {
    let client = world.client(pool).unwrap();
    client.subject(who).header(WHO, who)
}

/// A session of `who`, once the control plane knows that it is established.
async fn live(world: &World, pool: &str, who: &str) -> Session {
    established(world, &client(world, pool, who), who).await
}

/// The session that `client` gets, once the control plane knows that it is established.
async fn established(world: &World, client: &ClientBuilder, who: &str) -> Session {
    let session = client.connect().await.unwrap();
    wait_until(format!("{who} to be active"), SOON, async || {
        let sessions = world.berth().sessions().await?;
        let active = sessions
            .iter()
            .any(|session| session.subject == who && session.state == "active");
        Ok(Seen::when(active, format!("{sessions:?}")))
    })
    .await
    .unwrap();
    session
}

/// Has a message sent back, which shows that both directions work.
async fn echo(session: &mut Session, text: &str) {
    session.send(Message::text(text)).await.unwrap();
    let echoed = timeout(SOON, session.receive_data()).await;
    assert_eq!(echoed.unwrap().unwrap(), Message::text(text));
}

/// Waits until the lease of an instance is in this state; `None`: until it has none.
async fn lease_is(world: &World, instance: &str, state: Option<&str>) -> Instance {
    let what = format!("{instance} to be {}", state.unwrap_or("free"));
    wait_until(what, SOON, async || {
        let now = world.berth().instance(instance).await?;
        let found = now.lease.as_ref().map(|lease| lease.state.as_str());
        Ok(if found == state {
            Seen::Yes(now)
        } else {
            Seen::NotYet(format!("{now:?}"))
        })
    })
    .await
    .unwrap()
}

/// Waits until such a session waits for an instance.
async fn waiting(world: &World, is_it: impl Fn(&berth_tests::Session) -> bool) {
    wait_until("an Acquire to be held", SOON, async || {
        let sessions = world.berth().sessions().await?;
        let held = sessions
            .iter()
            .any(|session| session.state == "waiting" && is_it(session));
        Ok(Seen::when(held, format!("{sessions:?}")))
    })
    .await
    .unwrap();
}

/// Waits until nobody is connected to an instance.
async fn deserted(world: &World, instance: &str) {
    let instance = world.instance(instance).unwrap();
    instance
        .wait_for(SOON, |ledger| ledger.live() == 0)
        .await
        .unwrap();
}

/// Everything that `who` was connected to, by the instances' own records: oldest first.
fn visits(world: &World, instances: &[&str], who: &str) -> Vec<(String, SessionRecord)> {
    let mut visits = Vec::new();
    for name in instances {
        let records = world.instance(name).unwrap().records();
        let theirs = records
            .into_iter()
            .filter(|record| record.header(WHO) == Some(who));
        visits.extend(theirs.map(|record| ((*name).to_owned(), record)));
    }
    visits.sort_by_key(|(_, record)| record.from);
    visits
}

/// No instance ever had two sessions at once, by their own records.
fn never_two_at_once(world: &World) {
    for instance in world.instances() {
        let records = instance.records();
        assert!(instance.max_concurrent() <= 1, "{records:#?}");
    }
}

/// A refusal that says that no instance is free, and when to come back.
#[track_caller]
fn no_instance(refusal: &berth_client::Response) {
    assert_eq!(
        (refusal.status, refusal.reason()),
        (503, Some("no_instance")),
        "{refusal:?}"
    );
    assert!(
        refusal.retry_after().is_some_and(|seconds| seconds >= 1),
        "{refusal:?}"
    );
}

const WHO: &str = "x-who";
