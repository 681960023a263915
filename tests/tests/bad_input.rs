//! Bad input never traps the filter, and is answered as it is natively: a session on the same worker lives through all of
//! it.
#![cfg(test)]

use std::time::Duration;

use berth_admission_cases::{Answer, Setting, cases};
use berth_client::{Family, Message, Session};
use berth_runtime_emulator::{EmulatorConfig, Subprotocol};
use berth_tests::raw::upgrade_request;
use berth_tests::{SigningKeys, World, unix_seconds};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
async fn of_attacks() {
    let mut it = Watched::start().await;
    let keys = SigningKeys::of_tests().unwrap();
    let cases = cases(keys.of_cases(), unix_seconds()).unwrap();
    let mut wrong = Vec::new();
    let plain = cases.iter().filter(|case| case.setting == Setting::Plain);
    for case in plain.filter(|case| case.survives_http()) {
        let reason = match case.answer {
            Answer::Admitted => None,
            Answer::Refused { reason, .. } => Some(reason),
        };
        for (how, request) in case.requests() {
            let name = format!("{}: {}, {how}", case.class, case.name);
            if let Err(why) = it.tries(&name, &written(&request), reason).await {
                wrong.push(why);
            }
        }
    }
    // All of them: what one proxy makes of a request it makes of its like.
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    it.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_bytes_that_are_not_text() {
    let mut it = Watched::start().await;
    let token = it.world.token().sign().unwrap();
    for (name, request, reason) in bytes_that_are_not_text(&token) {
        it.meets(name, &request, reason).await;
    }
    it.ends().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_55_kib_of_headers() {
    let mut it = Watched::start().await;
    let token = it.world.token().sign().unwrap();
    for (name, request, reason) in much(&token) {
        assert!(request.len() > KIB_55, "{name}");
        it.meets(name, &request, reason).await;
    }
    it.ends().await;
}

/// The request, and the reason it has to be refused for; `None` if it has to be admitted.
type Case = (&'static str, Vec<u8>, Option<&'static str>);

#[rustfmt::skip] // one case a line
fn bytes_that_are_not_text(token: &str) -> Vec<Case> {
    let bearer = &format!("Bearer {token}").into_bytes();
    let good: (&str, &[u8]) = ("authorization", bearer);
    let protocol = &format!("authorization.bearer.{token}").into_bytes();
    let path = |path: &[u8]| upgrade_request(path, &[good]);
    let with = |name, value| upgrade_request(WEB, &[good, (name, value)]);
    let only = |name, value| upgrade_request(WEB, &[(name, value)]);
    let query = |text: &[u8]| upgrade_request(&[WEB, b"?", text].concat(), &[]);
    let and = |text: &[u8], other: &[u8]| [text, other].concat();
    vec![
        ("a scheme", only("authorization", b"\xff\xfe"), Some("no_token")),
        ("a token", only("authorization", b"Bearer \xff"), Some("malformed_token")),
        ("a token of three parts", only("authorization", b"Bearer \xff.\xff.\xff"), Some("malformed_token")),
        ("a good token and more", only("authorization", &and(bearer, b"\xff")), Some("malformed_token")),
        ("a good token and another", with("authorization", b"Bearer \xff"), Some("malformed_token")),
        ("a good token and another scheme", with("authorization", b"\xff"), Some("malformed_token")),

        ("a subprotocol", only("sec-websocket-protocol", b"\xff"), Some("no_token")),
        ("a subprotocol's token", only("sec-websocket-protocol", b"authorization.bearer.\xff"), Some("malformed_token")),
        ("a subprotocol's prefix", only("sec-websocket-protocol", b"authorization\xff.bearer.x"), Some("no_token")),
        ("only commas", only("sec-websocket-protocol", b",,, ,,"), Some("no_token")),
        ("a subprotocol beside a good token", with("sec-websocket-protocol", b"\xff"), None),
        ("a subprotocol beside one with a good token", only("sec-websocket-protocol", &and(protocol, b", \xff\xfe, a")), None),

        ("a resume key", with("berth-resume-key", b"\xff"), Some("bad_request")),
        ("a resume key with a tab", with("berth-resume-key", b"a\tb"), Some("bad_request")),
        ("a resume key in the query", path(b"/web/sign_in?berth_resume_key=%ff"), Some("bad_request")),
        ("a resume key of a zero byte", path(b"/web/sign_in?berth_resume_key=%00"), Some("bad_request")),

        ("an upgrade to something else", [b"GET /web/sign_in HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: \xff\r\n\r\n".as_slice()].concat(), Some("bad_request")),
        ("two upgrades", with("upgrade", b"\xff"), Some("bad_request")),

        ("a token in the query", query(b"token=%ff%fe"), Some("malformed_token")),
        ("a token of a zero byte", query(b"token=%00"), Some("malformed_token")),
        ("half an escape", query(b"token=%"), Some("malformed_token")),
        ("a parameter's name", query(&and(b"%ff=%ff&&&=&%&token=", token.as_bytes())), None),
        ("an escaped parameter's name", query(&and(b"%74oke%6E=", token.as_bytes())), None),
        ("a pool, escaped", path(b"/%ff/sign_in"), Some("no_such_pool")),
        ("a pool of a zero byte, escaped", path(b"/%00/sign_in"), Some("bad_request")),
        ("a pool", path(b"/\xff/sign_in"), Some("bad_request")),
        ("a parameter", path(b"/web/sign_in?\xff"), Some("bad_request")),

        ("a header of Berth's", with("x-berth-endpoint", b"\xff"), None),
        ("a header of nobody's", with("x-anything", b"\xff\xfe\x80"), None),
        ("a forwarded address", with("x-forwarded-for", b"\xff"), None),
        ("a request id", with("x-request-id", b"\xff"), None),
        ("a cookie", with("cookie", b"a=\xff; \xff"), None),
        ("an origin", with("origin", b"\xff"), None),
        ("a header's name", with("x-berth-\u{ff}", b"a"), Some("bad_request")),
        ("a host", b"GET /web/sign_in HTTP/1.1\r\nhost: \xff\r\n\r\n".to_vec(), Some("bad_request")),
        ("a method", b"\xff /web/sign_in HTTP/1.1\r\nhost: localhost\r\n\r\n".to_vec(), Some("bad_request")),
        ("no HTTP at all", b"\xff\xfe\xfd\r\n\r\n".to_vec(), Some("bad_request")),
    ]
}

fn much(token: &str) -> Vec<Case> {
    let bearer = &format!("Bearer {token}").into_bytes();
    let good: (&str, &[u8]) = ("authorization", bearer);
    let long = &b"x".repeat(KIB_55);
    let bytes = &b"\xff".repeat(KIB_55);
    let with = |name, value: &[u8]| upgrade_request(WEB, &[good, (name, value)]);
    let only = |name, value: &[u8]| upgrade_request(WEB, &[(name, value)]);
    let query = |text: &[u8]| upgrade_request(&[WEB, b"?", text].concat(), &[good]);
    let many: Vec<(String, Vec<u8>)> = (0..80)
        .map(|number| (format!("x-{number}"), b"y".repeat(KIB_55 / 80 + 1)))
        .collect();
    let many: Vec<(&str, &[u8])> = many
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .chain([good])
        .collect();
    let repeated = |text: &str| text.repeat(KIB_55 / text.len() + 1).into_bytes();
    vec![
        ("in one header", with("x-padding", long), None),
        ("of no text, in one header", with("x-padding", bytes), None),
        ("in eighty headers", upgrade_request(WEB, &many), None),
        (
            "of token",
            only("authorization", &[b"Bearer ", long.as_slice()].concat()),
            Some("malformed_token"),
        ),
        (
            "of a token's dots",
            only(
                "authorization",
                &[b"Bearer ", repeated(".").as_slice()].concat(),
            ),
            Some("malformed_token"),
        ),
        (
            "of authorization",
            only("authorization", bytes),
            Some("no_token"),
        ),
        (
            "of spaces before a token",
            only(
                "authorization",
                &[b"Bearer", repeated(" ").as_slice(), b"x"].concat(),
            ),
            Some("malformed_token"),
        ),
        (
            "of resume key",
            with("berth-resume-key", long),
            Some("bad_request"),
        ),
        (
            "of subprotocols",
            with("sec-websocket-protocol", &repeated("a, ")),
            None,
        ),
        (
            "of tokens in subprotocols",
            only(
                "sec-websocket-protocol",
                &repeated("authorization.bearer.x, "),
            ),
            Some("malformed_token"),
        ),
        ("of parameters", query(&repeated("a&")), None),
        (
            "of tokens in the query",
            query(&repeated("token=x&")),
            Some("malformed_token"),
        ),
        (
            "of pool",
            upgrade_request(&[b"/", long.as_slice(), b"/sign_in"].concat(), &[good]),
            Some("no_such_pool"),
        ),
        (
            "of a header of Berth's",
            with("x-berth-cluster", long),
            None,
        ),
    ]
}

/// A request, byte for byte.
fn written(request: &berth_admission_cases::Request) -> Vec<u8> {
    let headers = request.headers.iter();
    let headers: Vec<(&str, &[u8])> = headers
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    let get = upgrade_request(&request.path, &headers);
    let rest = get.strip_prefix(b"GET").unwrap();
    [&request.method, rest].concat()
}

/// A world whose one worker has a session that must not notice anything.
struct Watched {
    world: World,
    canary: Session,
    echoes: u32,
}

impl Watched {
    async fn start() -> Self {
        let world = World::builder()
            .pool("web", Family::Web, |pool| pool.hold(SOON))
            .pool("canary", Family::Web, |pool| pool)
            .envoy_workers(1)
            // What it would select has to be text, and is not.
            .emulators(|config| EmulatorConfig {
                subprotocol: Subprotocol::None,
                ..config
            })
            .start()
            .await
            .unwrap();
        let canary = world.client("canary").unwrap().subject("canary");
        let canary = canary.connect().await.unwrap();
        Self {
            world,
            canary,
            echoes: 0,
        }
    }

    /// Sends the request, checks its answer, and that the canary lives.
    async fn meets(&mut self, name: &str, request: &[u8], reason: Option<&str>) {
        let met = self.tries(name, request, reason).await;
        met.unwrap_or_else(|why| panic!("{why}"));
    }

    /// The same; says what is wrong with the answer.
    async fn tries(
        &mut self,
        name: &str,
        request: &[u8],
        reason: Option<&str>,
    ) -> Result<(), String> {
        let mut connection = self.world.raw().await.unwrap();
        // The answer may come, and the connection end, before all of it is written.
        let _unless_cut_off = connection.write(request).await;
        let answer = connection.answer(SOON).await;
        let answer = answer.unwrap_or_else(|error| panic!("{name}: {error}"));
        self.echoes(name).await;
        let seen = (answer.status == 101, answer.header("x-berth-reason"));
        drop(connection);
        if answer.status == 101 {
            self.world
                .berth()
                .wait_until_free("web-1", SOON)
                .await
                .unwrap();
        }
        if seen == (reason.is_none(), reason) {
            return Ok(());
        }
        Err(format!(
            "{name}: {} {:?}, not {reason:?}",
            answer.status, seen.1
        ))
    }

    async fn echoes(&mut self, after: &str) {
        self.echoes += 1;
        let message = Message::text(format!("tweet {}", self.echoes));
        let echo = async {
            self.canary.send(message.clone()).await?;
            self.canary.receive_data().await
        };
        let echo = timeout(SOON, echo).await.expect("the canary is silent");
        let echo = echo.unwrap_or_else(|error| panic!("the canary died after {after}: {error}"));
        assert_eq!(echo, message, "{after}");
    }

    /// Nothing is left of it all but the canary, and the worker admits as before.
    async fn ends(mut self) {
        let client = self.world.client("web").unwrap();
        let session = client.connect().await.unwrap();
        session.close(1000, "").await.unwrap();
        self.world
            .berth()
            .wait_until_free("web-1", SOON)
            .await
            .unwrap();
        self.echoes("the end").await;
        let canary = self.world.instance("canary-1").unwrap();
        assert_eq!((canary.live(), canary.records().len()), (1, 1));
        let log = self.world.envoy(0).unwrap().log();
        assert!(!log.contains("panicked"), "{log}");
    }
}

const WEB: &[u8] = b"/web/sign_in";
const KIB_55: usize = 55 * 1024;
