//! `berth explain`: what is decided, and by which step.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    path::Path,
    thread,
};

use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Run, berth, command, printed};

/// A folder with a configuration, these lines among what decides.
pub(super) fn configured_with(admission: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    let pair = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    fs::write(folder.path().join("cert.pem"), pair.cert.pem()).unwrap();
    let key = pair.signing_key.serialize_pem();
    fs::write(folder.path().join("key.pem"), key).unwrap();
    let text = CONFIG.replace("  # more\n", admission);
    fs::write(folder.path().join("berth.yaml"), text).unwrap();
    folder
}

/// With an issuer whose keys are in a file.
fn configured(algorithm: &str, admission: &str) -> TempDir {
    let folder = configured_with(&format!("{ISSUER}{admission}"));
    new_key(folder.path(), algorithm);
    folder
}

fn new_key(folder: &Path, algorithm: &str) {
    let files = ["--key-out", "dev-key.pem", "--jwks-out", "jwks.json"];
    printed(
        folder,
        &[&["token", "--new-key", algorithm], &files[..]].concat(),
    );
}

fn token(folder: &Path, more: &[&str]) -> String {
    let who = [
        "--issuer",
        "https://login.example.com",
        "--subject",
        "alice",
    ];
    let key = ["token", "--key", "dev-key.pem", "--audience", "berth"];
    printed(folder, &[&key[..], &who, more].concat())
}

fn explained(folder: &Path, arguments: &[&str]) -> (Option<i32>, Value) {
    let run = berth(folder, &[&["explain", "--json"], arguments].concat());
    assert!(run.stdout.starts_with('{'), "{run:?}");
    (run.code, serde_json::from_str(&run.stdout).unwrap())
}

/// The verdict or the reason, and the last step.
fn outcome(account: &Value) -> [&str; 2] {
    let verdict = account
        .get("reason")
        .or_else(|| account.get("verdict"))
        .unwrap();
    let last = account["steps"].as_array().unwrap().last().unwrap();
    [verdict.as_str().unwrap(), last["step"].as_str().unwrap()]
}

/// What is found in a step.
fn found<'a>(account: &'a Value, step: &str) -> &'a str {
    let mut steps = account["steps"].as_array().unwrap().iter();
    let step = steps.find(|one| one["step"] == step).unwrap();
    step["found"].as_str().unwrap()
}

#[test]
fn the_last_step_is_the_one_that_decided() {
    let folder = configured("ES256", RULES);
    let good = token(folder.path(), &["--claim", "group=xr"]);
    let stranger = token(folder.path(), &["--claim", "group=other"]);
    let (good, stranger) = (good.trim_end(), stranger.trim_end());
    let web = ["--path", "/sign_in", "--token", good];
    for (arguments, code, expected) in [
        (&web[..], 0, ["admitted", "allow"]),
        (&["--path", "/elsewhere"], 1, ["not_found", "path"]),
        (
            &["--path", "/sign_in", "--method", "POST"],
            1,
            ["method_not_allowed", "method"],
        ),
        (
            &["--path", "/sign_in?berth_resume_key=a%20b"],
            1,
            ["bad_request", "resume key"],
        ),
        (
            &["--path", "/sign_in?region=e%20u"],
            1,
            ["bad_request", "labels"],
        ),
        (
            &["--path", "/sign_in"],
            1,
            ["no_token", "client certificate"],
        ),
        (
            &["--path", "/sign_in?token=other.credential", "--token", good],
            1,
            ["malformed_token", "credential"],
        ),
        (
            &["--path", "/sign_in", "--token", "a.b.c"],
            1,
            ["malformed_token", "token"],
        ),
        (
            &["--path", "/sign_in", "--api-key", "berth_a"],
            1,
            ["malformed_token", "API key"],
        ),
        (
            &["--path", "/sign_in", "--token", stranger],
            1,
            ["user_forbidden", "subjects and claims"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--token",
                good,
                "--at",
                "2000-01-01T00:00:00Z",
            ],
            0,
            ["admitted", "allow"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--token",
                good,
                "--at",
                "253402300800",
            ],
            1,
            ["token_expired", "time"],
        ),
        (
            &["--path", "/gone/sign_in", "--token", good],
            1,
            ["no_such_pool", "pool"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--origin",
                "https://evil.example",
                "--token",
                good,
            ],
            1,
            ["origin_forbidden", "origin"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--method",
                "OPTIONS",
                "--origin",
                "https://xr.example.com",
                "--header",
                "Access-Control-Request-Method: GET",
            ],
            0,
            ["preflight", "method"],
        ),
        (
            &[
                "--path",
                "/rtsp",
                "--certificate-uri-san",
                "spiffe://example.com/robot",
            ],
            1,
            ["no_such_pool", "pool"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--certificate-uri-san",
                "spiffe://example.com/robot",
            ],
            0,
            ["admitted", "allow"],
        ),
        (
            &[
                "--path",
                "/sign_in",
                "--certificate-dns-san",
                "robot.example.com",
            ],
            1,
            ["no_token", "client certificate"],
        ),
    ] {
        let (found, account) = explained(folder.path(), arguments);
        assert_eq!(
            (found, outcome(&account)),
            (Some(code), expected),
            "{arguments:?}: {account:#}"
        );
        assert_eq!(account["decided_by"], "filter");
    }
    let path = "/sign_in?region=eu&region=us&berth_resume_key=secret";
    let (_, account) = explained(folder.path(), &["--path", path, "--token", stranger]);
    assert_eq!(found(&account, "labels"), "region in two versions");
    assert!(found(&account, "resume key").starts_with("6 bytes"));
    let path = "/sign_in?region=eu";
    let (_, account) = explained(folder.path(), &["--path", path, "--token", stranger]);
    assert_eq!(found(&account, "labels"), "region `eu`");
    let rules = "any user; group `other`, to be `xr`";
    assert_eq!(found(&account, "subjects and claims"), rules);
}

#[test]
fn what_the_instance_and_the_log_see_is_shown_and_the_credential_is_not() {
    let folder = configured("ES256", RULES);
    let token = token(
        folder.path(),
        &["--claim", "group=xr", "--claim", "jti=t-1"],
    );
    let token = token.trim_end();
    fs::write(folder.path().join("token.txt"), format!("{token}\n")).unwrap();
    let query = format!("/web/sign_in?a=1&token={token}&region=eu");
    let protocol = format!("Sec-WebSocket-Protocol: cxr, authorization.{token}");
    let cookie = format!("xr={token}");
    let bearer = format!("Authorization: Bearer {token}");
    for arguments in [
        &["--path", "/sign_in?a=1&region=eu", "--token", token][..],
        &[
            "--path",
            "/sign_in?a=1&region=eu",
            "--token-file",
            "token.txt",
        ],
        &["--path", &query],
        &["--path", "/sign_in?a=1&region=eu", "--header", &bearer],
        &["--path", "/sign_in?a=1&region=eu", "--header", &protocol],
        &[
            "--path",
            "/sign_in?a=1&region=eu",
            "--cookie",
            &cookie,
            "--cookie",
            "b=c",
        ],
    ] {
        let arguments = [arguments, &["--header", "x-user: root"]].concat();
        let (code, account) = explained(folder.path(), &arguments);
        assert_eq!((code, outcome(&account)), (Some(0), ["admitted", "allow"]));
        assert_eq!(account["path"], "/sign_in?a=1&region=eu", "{account:#}");
        assert_eq!(account["labels"], json!({"region": "eu"}));
        assert_eq!(account["added_headers"], json!({"x-user": "alice"}));
        assert_eq!(account["session_id_headers"], json!(["x-session"]));
        assert_eq!(account["tags"]["claim.group"], "xr");
        assert_eq!(account["token_id"], "t-1");
        let text = printed(folder.path(), &[&["explain"], &arguments[..]].concat());
        let last = text.lines().last();
        let expected = "admitted to the pool `web` as `alice` of `https://login.example.com`";
        assert_eq!(last, Some(expected));
        for said in [text, account.to_string()] {
            for part in token.split('.') {
                assert!(!said.contains(part), "{arguments:?}: {said}");
            }
        }
    }
    let (_, account) = explained(
        folder.path(),
        &["--path", "/sign_in", "--header", &protocol],
    );
    assert_eq!(
        account["changed_headers"],
        json!({"sec-websocket-protocol": "cxr"})
    );
    assert_eq!(account["subprotocol"], "cxr");
    let (_, account) = explained(folder.path(), &["--path", &query, "--header", &bearer]);
    assert_eq!(account["removed_headers"], json!(["authorization"]));
}

#[test]
fn what_a_filter_cannot_check_is_decided_as_by_the_control_plane() {
    for (algorithm, by) in [
        ("RS256", "filter"),
        ("PS256", "control_plane"),
        ("HS256", "control_plane"),
        ("EdDSA", "control_plane"),
    ] {
        let folder = configured(algorithm, "");
        let good = token(folder.path(), &["--algorithm", algorithm]);
        let (code, account) = explained(
            folder.path(),
            &["--path", "/sign_in", "--token", good.trim_end()],
        );
        assert_eq!(
            (code, &account["decided_by"]),
            (Some(0), &json!(by)),
            "{algorithm}"
        );
        let (message, _) = good.rsplit_once('.').unwrap();
        let forged = format!("{message}.AAAA");
        let (code, account) = explained(folder.path(), &["--path", "/sign_in", "--token", &forged]);
        let refused = (code, account["reason"].as_str());
        assert_eq!(refused, (Some(1), Some("bad_signature")), "{algorithm}");
    }
}

#[test]
fn keys_are_fetched_or_those_from_before_are_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/keys", listener.local_addr().unwrap());
    let issuer =
        format!("  issuers:\n  - {{ issuer: https://login.example.com, jwks_url: '{url}' }}\n");
    let folder = configured_with(&issuer);
    new_key(folder.path(), "ES256");
    let token = token(folder.path(), &[]);
    let arguments = ["--path", "/sign_in", "--token", token.trim_end()];
    let jwks = fs::read_to_string(folder.path().join("jwks.json")).unwrap();

    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{jwks}",
        jwks.len()
    );
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut request = [0; 1024];
        let read = stream.read(&mut request).unwrap();
        assert!(request[..read].starts_with(b"GET /keys "));
        stream.write_all(answer.as_bytes()).unwrap();
    });
    let (code, account) = explained(folder.path(), &arguments);
    assert_eq!(
        (code, outcome(&account)),
        (Some(0), ["admitted", "allow"]),
        "{account:#}"
    );
    server.join().unwrap();
    let kept = folder.path().join("berth.redb.keys.json");
    assert!(!kept.exists(), "a control plane that runs keeps its own");

    // Now nobody answers there.
    let Run {
        code,
        stdout,
        stderr,
    } = berth(folder.path(), &[&["explain"], &arguments[..]].concat());
    assert_eq!(code, Some(1), "{stdout}");
    let refused = "refused: unknown_key (401): ";
    assert!(
        stdout.lines().last().unwrap().starts_with(refused),
        "{stdout}"
    );
    let warning = format!("warning: https://login.example.com: no answer to GET {url}: ");
    assert!(stderr.starts_with(&warning), "{stderr}");

    let jwks: Value = serde_json::from_str(&jwks).unwrap();
    let now = berth::clock::unix_seconds();
    let entry = json!({
        "issuer": "https://login.example.com", "url": url, "fetched_at": now, "jwks": jwks
    });
    fs::write(&kept, json!({"key_sets_v1": [entry]}).to_string()).unwrap();
    let (code, account) = explained(folder.path(), &arguments);
    assert_eq!(
        (code, outcome(&account)),
        (Some(0), ["admitted", "allow"]),
        "{account:#}"
    );
}

#[test]
fn a_token_may_come_from_standard_input() {
    let folder = configured("ES256", "");
    let token = token(folder.path(), &[]);
    fs::write(folder.path().join("token.txt"), token).unwrap();
    let arguments = ["explain", "--path", "/sign_in", "--token-file", "-"];
    let run: Run = command(folder.path(), &arguments)
        .stdin(fs::File::open(folder.path().join("token.txt")).unwrap())
        .output()
        .unwrap()
        .into();
    assert_eq!(run.code, Some(0), "{run:?}");
}

#[test]
fn what_cannot_be_asked_is_64() {
    let folder = configured("ES256", "");
    for (arguments, expected) in [
        (&["--path", "sign_in"][..], "begin it with `/`"),
        (&[], "--path <PATH>"),
        (
            &["--path", "/sign_in", "--at", "noon"],
            "2026-10-01T08:00:00Z",
        ),
        (
            &["--path", "/sign_in", "--header", "x"],
            "write it as 'NAME: VALUE'",
        ),
        (
            &["--path", "/sign_in", "--token", "a", "--api-key", "b"],
            "cannot be used with",
        ),
        (
            &["--path", "/sign_in", "--token-file", "gone"],
            "cannot read gone: ",
        ),
        (
            &["--path", "/sign_in", "--config", "gone.yaml"],
            "cannot read gone.yaml: ",
        ),
    ] {
        let run = berth(folder.path(), &[&["explain"], arguments].concat());
        assert_eq!((run.code, run.stdout.as_str()), (Some(64), ""), "{run:?}");
        assert!(run.stderr.contains(expected), "{run:?}");
    }
}

#[test]
fn a_request_cannot_give_orders_to_the_terminal() {
    let folder = configured("ES256", "");
    let arguments = ["explain", "--path", "/sign_in?\u{1b}[31m", "--token"];
    let token = token(folder.path(), &["--claim", "sub=a\u{9b}31mb"]);
    let run = berth(
        folder.path(),
        &[&arguments[..], &[token.trim_end()]].concat(),
    );
    let orders = |c: char| c.is_control() && c != '\n';
    assert!(!run.stdout.contains(orders), "{run:?}");
}

const CONFIG: &str = "\
listeners: [{ name: https, address: 127.0.0.1, port: 8443 }]
tls: { certificate_chain: cert.pem, private_key: key.pem, client_ca: cert.pem }
filter: { module: berth_filter.wasm }
admission:
  # more
pools:
- name: web
  family: web
  instances: [{ name: gpu-1, address: 10.0.0.1:49100 }]
";

const ISSUER: &str = "  issuers:\n  - issuer: https://login.example.com\n    jwks_file: jwks.json\n    audiences: [berth]\n";

/// Beside the issuer, whose own rules come first.
const RULES: &str = "    required_claims: [{ claim: group, matches: { exact: xr } }]
    close_when_expired: true
  client_certificates: [{ name: uri_san, matches: { prefix: 'spiffe://example.com/' } }]
  carriers: [authorization, query: token, cookie: xr, subprotocol: authorization.]
  origins: ['https://xr.example.com']
  labels: [{ label: region, query_parameter: region }]
  tags:
    claims: [group]
    headers: [{ name: x-user, value: subject }, { name: x-session, value: session }]
";
