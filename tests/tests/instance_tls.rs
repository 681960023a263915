//! TLS from Envoy to instances: an instance is who its certificate says, and another's does not do.
#![cfg(test)]

use std::time::Duration;

use berth_client::{Family, Message};
use berth_tests::{Authority, Error, Identity, IdentityFiles, Pool, Seen, World, wait_until};
use serde_json::{Value, json};

/// The pool, its settings, what its one instance shows, whose certificates that wants to be shown, and whether it is
/// reached.
type Case<'a> = (&'a str, &'a Value, Option<Identity>, Option<&'a str>, bool);

const SOON: Duration = Duration::from_secs(20);

#[tokio::test(flavor = "multi_thread")]
async fn an_instance_is_who_its_certificate_says() {
    let (ours, foreign) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let edge = ours.issue("edge-1").unwrap();
    let files = IdentityFiles::create(folder.path(), &edge, ours.pem()).unwrap();
    let own = json!({ "ca": files.ca });
    let named = json!({ "ca": files.ca, "server_name": "runtime.example" });
    let both = json!({
        "ca": files.ca,
        "certificate_chain": files.certificate,
        "private_key": files.private_key,
    });
    let ca = Some(ours.pem());
    let cases: [Case<'_>; 10] = [
        ("good", &own, ours.issue("good-1").ok(), None, true),
        ("other", &own, ours.issue("good-1").ok(), None, false),
        (
            "foreign",
            &own,
            foreign.issue("foreign-1").ok(),
            None,
            false,
        ),
        (
            "expired",
            &own,
            ours.issue_expired("expired-1").ok(),
            None,
            false,
        ),
        ("plain", &own, None, None, false),
        (
            "named",
            &named,
            ours.issue("runtime.example").ok(),
            None,
            true,
        ),
        (
            "misnamed",
            &named,
            ours.issue("misnamed-1").ok(),
            None,
            false,
        ),
        ("asking", &both, ours.issue("asking-1").ok(), ca, true),
        ("unshown", &own, ours.issue("unshown-1").ok(), ca, false),
        (
            "strange",
            &both,
            ours.issue("strange-1").ok(),
            Some(foreign.pem()),
            false,
        ),
    ];
    let mut builder = World::builder();
    for (name, settings, shown, client_ca, _) in &cases {
        builder = builder.pool(name, Family::Web, |pool| {
            let pool = quiet(pool).instance_tls((*settings).clone());
            match shown {
                Some(identity) => pool.shows(identity, *client_ca),
                None => pool,
            }
        });
    }
    let world = builder.start().await.unwrap();
    for (name, _, _, _, reached) in cases {
        let client = world.client(name).unwrap();
        if reached {
            let mut session = client.connect().await.unwrap();
            echoed(&mut session, name).await;
            continue;
        }
        let refusal = client.refusal().await.unwrap();
        let body: Value = serde_json::from_str(&refusal.body).unwrap();
        assert_eq!(refusal.status, 503, "{name}: {body}");
        assert_eq!(body["reason"], "instance_unreachable", "{name}");
        let instance = world.instance(&format!("{name}-1")).unwrap();
        assert_eq!(instance.requests(), 0, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_ca_is_taken_and_no_session_ends() {
    let (first, second) = (Authority::new().unwrap(), Authority::new().unwrap());
    let folder = tempfile::tempdir().unwrap();
    let unused = first.issue("unused").unwrap();
    let files = IdentityFiles::create(folder.path(), &unused, first.pem()).unwrap();
    let world = World::builder()
        .pool("web", Family::Web, |pool| {
            let tls = json!({ "ca": files.ca });
            let pool = quiet(pool).instances(2).instance_tls(tls);
            pool.shows(&first.issue("web-1").unwrap(), None)
                .shows(&second.issue("web-2").unwrap(), None)
        })
        .start()
        .await
        .unwrap();
    let mut live = live_on_the_first(&world).await;
    let envoy = world.envoy(0).unwrap();
    let changes = "cluster_manager.cluster_modified";
    let before = envoy.stat(changes).await.unwrap();
    let client = world.client("web").unwrap();
    assert_eq!(client.refusal().await.unwrap().status, 503);

    let both = format!("{}{}", first.pem(), second.pem());
    files.replace(&unused, &both).unwrap();
    let mut session = wait_until("the other instance to be trusted", SOON, async || {
        Ok::<_, Error>(match client.connect().await {
            Ok(session) => Seen::Yes(session),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
    .unwrap();
    echoed(&mut session, "the other").await;
    echoed(&mut live, "the first").await;
    assert_eq!(envoy.stat(changes).await.unwrap(), before);
}

/// Of two free instances either may be given; the second cannot be reached yet.
async fn live_on_the_first(world: &World) -> berth_client::Session {
    let client = world.client("web").unwrap();
    wait_until("a session on web-1", SOON, async || {
        Ok::<_, Error>(match client.connect().await {
            Ok(session) => Seen::Yes(session),
            Err(error) => Seen::NotYet(error.to_string()),
        })
    })
    .await
    .unwrap()
}

/// No probe may take an instance down for what its certificate is.
fn quiet(pool: Pool) -> Pool {
    pool.probe(Duration::from_secs(10), 1, u8::MAX)
}

async fn echoed(session: &mut berth_client::Session, title: &str) {
    session.send(Message::text(title)).await.unwrap();
    let answer = session.receive_data().await.unwrap();
    assert_eq!(answer, Message::text(title));
}
