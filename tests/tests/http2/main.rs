//! Sessions over HTTP/2 (RFC 8441) are what they are over HTTP/1.1, but for sharing a connection.
#![cfg(test)]

mod endings;
mod rules;
mod same;
mod shared;

use std::time::Duration;

use berth_client::{Message, Session};
use berth_tests::{ClientBuilder, Seen, World, wait_until};
use tokio::time::timeout;

/// Much longer than anything here takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

/// Which HTTP a client speaks.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Version {
    Http1,
    Http2,
}

const VERSIONS: [Version; 2] = [Version::Http1, Version::Http2];

impl Version {
    fn client(self, world: &World, pool: &str, who: &str) -> ClientBuilder {
        let client = world.client(pool).unwrap().subject(who);
        match self {
            Self::Http1 => client,
            Self::Http2 => client.http2(),
        }
    }
}

/// Waits until the control plane knows that the session of `who` is established.
async fn active(world: &World, who: &str) {
    wait_until(format!("{who} to be active"), SOON, async || {
        let sessions = world.berth().sessions().await?;
        let mut active = sessions.iter().filter(|session| session.state == "active");
        let is_there = active.any(|session| session.subject == who);
        Ok(Seen::when(is_there, format!("{sessions:?}")))
    })
    .await
    .unwrap();
}

/// Has a message sent back, which shows that both directions work.
async fn echo(session: &mut Session, message: Message) {
    let sent = timeout(SOON, session.send(message.clone())).await;
    sent.unwrap().unwrap();
    let echoed = timeout(SOON, session.receive_data()).await;
    assert!(echoed.unwrap().unwrap() == message);
}

/// Waits until the lease of an instance is in this state; `None`: until it has none.
async fn lease_is(world: &World, instance: &str, state: Option<&str>) {
    let what = format!("{instance} to be {}", state.unwrap_or("free"));
    wait_until(what, SOON, async || {
        let now = world.berth().instance(instance).await?;
        let found = now.lease.as_ref().map(|lease| lease.state.as_str());
        Ok(Seen::when(found == state, format!("{now:?}")))
    })
    .await
    .unwrap();
}
