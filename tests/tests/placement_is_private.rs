//! A client cannot choose its instance, and does not learn which one it has.
#![cfg(test)]

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use berth_client::{Family, HeaderMap};
use berth_runtime_emulator::{Emulator, EmulatorConfig};
use berth_tests::raw::{Answer, upgrade_request};
use berth_tests::{ScriptedInstance, World};

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn headers_that_a_client_sends_in_our_name_change_nothing() {
    let world = World::builder()
        .web_instances(1)
        .pool("vip", Family::Web, |pool| pool.instances(1))
        .start()
        .await
        .unwrap();
    let vip = world.instance("vip-1").unwrap();
    let vip_address = vip.web_address().to_string();
    let forged = [
        ("x-berth-cluster", "vip".to_owned()),
        ("X-Berth-Cluster", "vip".to_owned()),
        ("x-berth-endpoint", BASE64_STANDARD.encode(&vip_address)),
        ("X-BERTH-ENDPOINT", vip_address.clone()),
        ("x-berth-reason", "no_instance".to_owned()),
        (
            "x-berth-session",
            "00000000000000000000000000000000".to_owned(),
        ),
        ("x-berth-anything", "1".to_owned()),
        ("x-envoy-original-dst-host", vip_address.clone()),
        ("x-envoy-upstream-alt-stat-name", "vip".to_owned()),
        ("x-envoy-max-retries", "9".to_owned()),
        ("x-forwarded-for", "127.0.0.99".to_owned()),
    ];
    let token = world.token().pools(["web"]);
    let forging = |path: &str| {
        let client = world.client("web").unwrap().token(token.clone());
        let client = client.path(path).subject("mallory");
        forged
            .iter()
            .fold(client, |client, (name, value)| client.header(name, value))
    };

    let session = forging("/web/sign_in").connect().await.unwrap();
    let web = world.instance("web-1").unwrap();
    let record = web.records().pop().unwrap();
    let seen = format!("{:?}", record.headers).to_lowercase();
    assert!(!seen.contains("x-berth-"), "the instance saw {seen}");
    let sessions = world.berth().sessions().await.unwrap();
    let [listed] = sessions.as_slice() else {
        panic!("{sessions:?}");
    };
    assert_eq!(
        (
            listed.pool.as_str(),
            listed.instance.as_deref(),
            listed.client_address.as_str()
        ),
        ("web", Some("web-1"), "127.0.0.1")
    );
    assert_ne!(listed.id, "00000000000000000000000000000000");

    // Refused as without them: where the pool is full, and another would be free.
    let other = forging("/web/sign_in").subject("other");
    let cases = [
        (other.clone(), 503, "no_instance"),
        (other.path("/vip/sign_in"), 403, "pool_forbidden"),
        (forging("/web/sign_in").without_token(), 401, "no_token"),
        (forging("/elsewhere"), 404, "not_found"),
    ];
    for (client, status, reason) in cases {
        let refusal = client.refusal().await.unwrap();
        assert_eq!((refusal.status, refusal.reason()), (status, Some(reason)));
        let verdict = client.verdict().await.unwrap();
        assert_eq!((verdict.status, verdict.reason()), (status, Some(reason)));
    }
    assert_eq!((vip.requests(), web.requests()), (0, 1));
    session.close(1000, "").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_or_a_host_with_an_address_reaches_nothing_but_the_leased_instance() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    // Nobody is ever leased this one.
    let decoy = Emulator::start(EmulatorConfig::default()).await.unwrap();
    let (web, native) = (
        world.instance("web-1").unwrap(),
        world.instance("native-1").unwrap(),
    );
    let token = world.token().sign().unwrap();
    let bearer = format!("Bearer {token}");

    for address in [decoy.web_address(), web.web_address()] {
        let (ip, port) = (address.ip(), address.port());
        let refused = [
            (format!("/{ip}/sign_in"), "no_such_pool"),
            (format!("/{ip}:{port}/sign_in"), "no_such_pool"),
            (format!("//{ip}:{port}/sign_in"), "no_such_pool"),
            (format!("/web/../{ip}/sign_in"), "no_such_pool"),
            (format!("/%2e%2e/{ip}/sign_in"), "no_such_pool"),
            (format!("/{ip}%2fsign_in"), "not_found"),
            (format!("/web/{ip}:{port}/sign_in"), "not_found"),
            (format!("/{ip}/rtsp"), "not_found"),
            (format!("/rtsp/{ip}:{port}"), "not_found"),
            ("/[::1]/sign_in".to_owned(), "no_such_pool"),
            ("/localhost/sign_in".to_owned(), "no_such_pool"),
            (format!("http://{address}/elsewhere"), "not_found"),
            (format!("http://{address}/{ip}/sign_in"), "no_such_pool"),
        ];
        for (path, reason) in refused {
            let answer = ask(&world, &path, &[("authorization", &bearer)]).await;
            assert_eq!(
                (answer.status, answer.header("x-berth-reason")),
                (404, Some(reason)),
                "{path}"
            );
        }
        // Good requests that mention the address elsewhere go where the lease says.
        let text = address.to_string();
        let admitted = [
            (format!("/web/sign_in?host={address}"), vec![]),
            (format!("http://{address}/web/sign_in"), vec![]),
            (
                "/web/sign_in".to_owned(),
                vec![("x-forwarded-host", text.as_str())],
            ),
            ("/web/sign_in".to_owned(), vec![("origin", text.as_str())]),
            (
                "/web/sign_in".to_owned(),
                vec![("forwarded", text.as_str())],
            ),
        ];
        for (path, mut headers) in admitted {
            let before = web.requests();
            headers.push(("authorization", &bearer));
            let answer = ask(&world, &path, &headers).await;
            assert_eq!(answer.status, 101, "{path}: {answer:?}");
            assert_eq!(web.requests(), before + 1, "{path}");
            world.berth().wait_until_free("web-1", SOON).await.unwrap();
        }
    }
    assert_eq!((decoy.requests(), native.requests()), (0, 0));
    assert_eq!(web.requests(), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_answers_of_a_session_say_nothing_of_its_instance() {
    let world = World::builder()
        .web_instances(1)
        .native_instances(1)
        .start()
        .await
        .unwrap();
    for pool in ["web", "native"] {
        let client = world.client(pool).unwrap().subprotocol("x-nv-sessionid.1");
        let verdict = client.verdict().await.unwrap();
        assert_eq!(
            names(&verdict.headers),
            [
                "cache-control",
                "connection",
                "content-length",
                "content-type",
                "date",
                "server"
            ]
        );
        assert!(!verdict.body.contains("127.0.0."), "{}", verdict.body);

        let session = client.connect().await.unwrap();
        let headers = session.response_headers();
        assert_eq!(
            names(headers),
            [
                "connection",
                "date",
                "sec-websocket-accept",
                "sec-websocket-protocol",
                "server",
                "upgrade"
            ],
            "{pool}"
        );
        assert_eq!(headers.get("server").unwrap(), "berth", "{pool}");
        assert!(!format!("{headers:?}").contains("127.0.0."), "{headers:?}");
    }
}

/// What an instance says of itself, in all places that have a meaning.
const TALKATIVE: &str = "server: CloudXR/6.2\r\nx-berth-endpoint: MTI3LjAuMC4xMDox\r\n\
    x-berth-cluster: web\r\nx-berth-reason: internal\r\nx-berth-instance: web-1\r\n\
    x-envoy-upstream-host: 127.0.0.10\r\n";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_says_in_our_name_does_not_reach_the_client() {
    let (world, instance) = scripted().await;
    let admitted = format!(
        "HTTP/1.1 103 Early Hints\r\nlink: <http://127.0.0.10/>\r\n\r\nHTTP/1.1 101 Switching Protocols\r\n\
         connection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: x\r\n{TALKATIVE}\r\n"
    );
    let (answer, _stream) =
        tokio::join!(ask_web(&world), instance.answer(admitted.as_bytes(), SOON));
    assert_eq!(answer.status, 101, "{answer:?}");
    assert!(tells_nothing(&answer), "{answer:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_an_instance_says_instead_of_a_101_does_not_reach_the_client() {
    let (world, instance) = scripted().await;
    let refusals = [
        ("200 OK", ""),
        ("204 No Content", ""),
        (
            "302 Found",
            "location: https://127.0.0.10:49100/sign_in\r\n",
        ),
        (
            "401 Unauthorized",
            "www-authenticate: Basic realm=\"web-1\"\r\n",
        ),
        ("404 Not Found", "x-berth-reason: not_found\r\n"),
        ("429 Too Many Requests", "retry-after: 3600\r\n"),
        (
            "500 Internal Server Error",
            "set-cookie: instance=web-1\r\n",
        ),
        ("503 Service Unavailable", "via: 1.1 127.0.0.10\r\n"),
        (
            "504 Gateway Timeout",
            "x-berth-reason: instance_timeout\r\n",
        ),
        // An upgrade to something else than a WebSocket is none, and 2xx with upgrade headers is none either.
        ("200 OK", "connection: Upgrade\r\nupgrade: websocket\r\n"),
    ];
    for (status, header) in refusals {
        let case = format!("{status} {header}");
        let body = if status.starts_with("204") {
            ""
        } else {
            "I am web-1 at 127.0.0.10"
        };
        let refusal = format!(
            "HTTP/1.1 {status}\r\n{header}{TALKATIVE}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        let (answer, _stream) =
            tokio::join!(ask_web(&world), instance.answer(refusal.as_bytes(), SOON));
        assert_eq!(
            (answer.status, answer.header("x-berth-reason")),
            (503, Some("instance_lost")),
            "{case}: {answer:?}"
        );
        assert!(tells_nothing(&answer), "{case}: {answer:?}");
        for name in ["location", "www-authenticate", "set-cookie", "via"] {
            assert_eq!(answer.header(name), None, "{case}");
        }
        assert!(
            answer
                .header("retry-after")
                .is_some_and(|seconds| seconds != "3600"),
            "{case}"
        );
        world.berth().wait_until_free("web-1", SOON).await.unwrap();
    }
}

/// A world whose only instance is the test's to play.
async fn scripted() -> (World, ScriptedInstance) {
    let world = World::builder()
        .pool("web", Family::Web, |pool| pool.hold(SOON))
        .start()
        .await
        .unwrap();
    let instance = world.script_instance("web-1").await.unwrap();
    (world, instance)
}

async fn ask_web(world: &World) -> Answer {
    let bearer = format!("Bearer {}", world.token().sign().unwrap());
    ask(world, "/web/sign_in", &[("authorization", &bearer)]).await
}

async fn ask(world: &World, path: &str, headers: &[(&str, &str)]) -> Answer {
    let headers: Vec<(&str, &[u8])> = headers
        .iter()
        .map(|(name, value)| (*name, value.as_bytes()))
        .collect();
    let mut connection = world.raw().await.unwrap();
    connection
        .write(&upgrade_request(path.as_bytes(), &headers))
        .await
        .unwrap();
    connection.answer(SOON).await.unwrap()
}

fn tells_nothing(answer: &Answer) -> bool {
    let said = format!("{:?} {}", answer.headers, answer.body).to_lowercase();
    // `Answer`s have their reason in a header of ours: that alone may begin like this.
    let ours = answer
        .headers
        .iter()
        .filter(|(name, _)| name.starts_with("x-berth-"));
    let allowed = if answer.status == 101 { 0 } else { 1 };
    ours.count() == allowed
        && ["127.0.0.", "web-1", "mti3", "cloudxr", "x-envoy"]
            .iter()
            .all(|word| !said.contains(word))
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
    names.sort_unstable();
    names
}
