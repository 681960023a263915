//! Who is let in, and what becomes of what they brought: by the real filter in a real Envoy.
#![cfg(test)]

mod algorithms;
mod attempts;
mod cache;
mod carriers;
mod ends;
mod identities;
mod pages;
mod policy;
mod table;
mod tags;
mod undecided;
mod verdict;

use std::time::Duration;

use berth_client::{Message, Response, Session};
use berth_tests::{ClientBuilder, Seen, Token, World, wait_until};
use serde_json::Value;
use tokio::time::timeout;

/// Much longer than anything here takes, on a machine that is busy with other tests.
const SOON: Duration = Duration::from_secs(20);

/// What is wrong with a token.
type Change = fn(Token) -> Token;

/// `admitted`, or the reason for a refusal, as a plain GET is told.
async fn verdict(client: &ClientBuilder) -> String {
    said(&client.verdict().await.unwrap())
}

/// The same of an answer.
fn said(response: &Response) -> String {
    match (response.status, response.reason()) {
        (200, _) => "admitted".to_owned(),
        (_, Some(reason)) => reason.to_owned(),
        (status, None) => status.to_string(),
    }
}

/// Has a message sent back, which shows that both directions work.
async fn echo(session: &mut Session) {
    session.send(Message::text("hello")).await.unwrap();
    let echoed = timeout(SOON, session.receive_data()).await;
    assert_eq!(echoed.unwrap().unwrap(), Message::text("hello"));
}

/// Leaves, and waits until the instance is free for the next one.
async fn leave(world: &World, session: Session, instance: &str) {
    session.close(1000, "").await.unwrap();
    world.berth().wait_until_free(instance, SOON).await.unwrap();
}

/// One of the filter's counters: the first Envoy's, all its workers together.
async fn counter(world: &World, name: &str) -> u64 {
    let name = format!("wasmcustom.berth.{name}");
    let value = world.envoy(0).unwrap().stat(&name).await.unwrap();
    value.unwrap_or_default()
}

/// Waits until the access log has the request whose member `case` this is.
async fn logged(world: &World, case: &str) -> Value {
    wait_until(format!("{case} to be logged"), SOON, async || {
        let log = world.access_log()?;
        let found = log.iter().find(|request| request["case"] == case);
        Ok(match found {
            Some(request) => Seen::Yes(request.clone()),
            None => Seen::NotYet(format!("{} others", log.len())),
        })
    })
    .await
    .unwrap()
}

/// A request's name in the log, if the log has `("case", CASE_LOGGED)`.
const CASE: &str = "x-case";
const CASE_LOGGED: &str = "%REQ(X-CASE)%";
