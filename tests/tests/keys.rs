//! An issuer changes its keys while sessions are live: nothing is restarted, and nobody is sent away.
#![cfg(test)]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::extract::State;
use axum::{Json, Router, routing::get};
use berth_client::{Message, Session};
use berth_tests::{Algorithm, Attempt, MIN_REFETCH, Seen, SigningKeys, World, wait_until};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::net::TcpListener;

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn keys_change_while_sessions_go_on() {
    let issuer = Issuer::start(&[Algorithm::Rs256]).await;
    let world = World::builder()
        .web_instances(3)
        .jwks_url(&issuer.url)
        .start()
        .await
        .unwrap();
    let with = |algorithm| {
        let token = world.token().algorithm(algorithm).subject(algorithm.name());
        world.client("web").unwrap().token(token)
    };
    let mut first = admitted(with(Algorithm::Rs256).attempt().await.unwrap());
    echoes(&mut first).await;
    assert_eq!(issuer.fetches(), 1);

    // A crowd with a key that nobody has published yet is one question to its issuer.
    let crowd = (0..12).map(|_| async { with(Algorithm::Es256).verdict().await.unwrap() });
    for refused in join_all(crowd).await {
        assert_eq!(
            (refused.status, reason(&refused.body)),
            (401, "unknown_key".to_owned())
        );
    }
    assert_eq!(issuer.fetches(), 2);

    // One more key: the first who comes with it is let in, once the issuer may be asked again.
    issuer.publish(&[Algorithm::Rs256, Algorithm::Es256]);
    may_be_asked_again(&world).await;
    let mut second = admitted(with(Algorithm::Es256).attempt().await.unwrap());
    assert_eq!(issuer.fetches(), 3);
    echoes(&mut first).await;
    echoes(&mut second).await;
    let shown = world.berth().command(&["keys"]).await.unwrap();
    for text in ["development-es256", "development-rs256", &issuer.url] {
        assert!(shown.contains(text), "{shown}");
    }

    // One less: a token of an unknown key has that noticed, and those of the old key are refused.
    issuer.publish(&[Algorithm::Es256]);
    may_be_asked_again(&world).await;
    let unknown = world.token().header("kid", "development-2");
    let unknown = world.client("web").unwrap().token(unknown);
    assert_eq!(unknown.verdict().await.unwrap().status, 401);
    assert_eq!(issuer.fetches(), 4);
    wait_until("the old key to be refused", SOON, async || {
        let verdict = with(Algorithm::Rs256).verdict().await?;
        Ok(Seen::when(verdict.status == 401, format!("{verdict:?}")))
    })
    .await
    .unwrap();
    // They were let in, and nobody has said otherwise since.
    echoes(&mut first).await;
    echoes(&mut second).await;
    // Envoy has taken three configurations of the filter, and nothing else anew.
    let envoy = world.envoy(0).unwrap();
    for (stat, expected) in [
        (
            "extension_config_discovery.http_filter.berth.admission.config_reload",
            3,
        ),
        ("listener_manager.listener_modified", 0),
    ] {
        assert_eq!(envoy.stat(stat).await.unwrap(), Some(expected), "{stat}");
    }
    let metrics = world.berth().metrics().await.unwrap();
    let changed =
        "berth_key_fetches_total{issuer=\"https://login.berth.example\",outcome=\"changed\"} 3";
    assert!(metrics.contains(changed), "{metrics}");
}

/// The keys were fetched no later than the wish that was the last one.
async fn may_be_asked_again(world: &World) {
    let age = "berth_keys_age_seconds{issuer=\"https://login.berth.example\"}";
    wait_until("the keys to be older", SOON, async || {
        let age = world.berth().metric(age).await?;
        Ok(Seen::when(
            age >= MIN_REFETCH.as_secs_f64(),
            age.to_string(),
        ))
    })
    .await
    .unwrap();
}

fn admitted(attempt: Attempt) -> Session {
    match attempt {
        Attempt::Admitted(session) => *session,
        Attempt::Refused(response) => panic!("{response:?}"),
    }
}

async fn echoes(session: &mut Session) {
    session.send(Message::text("hello")).await.unwrap();
    session.receive_data().await.unwrap();
}

fn reason(body: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap();
    body["reason"].as_str().unwrap().to_owned()
}

/// Publishes keys of the test issuer, and counts how often it is asked for them.
struct Issuer {
    url: String,
    published: Arc<Mutex<(Value, u32)>>,
}

impl Issuer {
    async fn start(algorithms: &[Algorithm]) -> Self {
        let published = Arc::new(Mutex::new((json!({}), 0)));
        let router = Router::new()
            .route("/keys", get(keys))
            .with_state(Arc::clone(&published));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/keys", listener.local_addr().unwrap());
        let issuer = Self { url, published };
        issuer.publish(algorithms);
        // It ends with the test's runtime.
        tokio::spawn(async { axum::serve(listener, router).await });
        issuer
    }

    fn publish(&self, algorithms: &[Algorithm]) {
        let mut keys = SigningKeys::of_tests().unwrap().jwks();
        let ids: Vec<_> = algorithms
            .iter()
            .map(|algorithm| algorithm.key_id())
            .collect();
        let all = keys["keys"].as_array_mut().unwrap();
        all.retain(|key| ids.contains(&key["kid"].as_str().unwrap()));
        self.published.lock().unwrap().0 = keys;
    }

    fn fetches(&self) -> u32 {
        self.published.lock().unwrap().1
    }
}

async fn keys(State(published): State<Arc<Mutex<(Value, u32)>>>) -> Json<Value> {
    let mut published = published.lock().unwrap();
    published.1 += 1;
    Json(published.0.clone())
}
