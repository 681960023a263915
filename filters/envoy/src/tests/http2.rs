//! What a client over HTTP/2 leaves out of its handshake, the instance has to be told, and its answer the client not.

use base64::engine::general_purpose::STANDARD;

use super::*;

const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
const ACCEPT: (&str, &str) = ("sec-websocket-accept", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
const OTHER: ContextId = ContextId(3);

/// Which key the instance is to get.
#[derive(Debug)]
enum Asked {
    WithoutKey,
    WithTheClients,
    WithOneOfOurs,
}

fn key(proxy: &Proxy, context: ContextId) -> Option<String> {
    let request = proxy.stream(context).request;
    let mut keys = request
        .iter()
        .filter(|(name, _)| name == "sec-websocket-key");
    let key = keys.next()?.1.clone();
    assert_eq!(keys.next(), None);
    Some(String::from_utf8(key).unwrap())
}

#[test]
fn each_side_has_the_handshake_of_its_version() {
    use Asked::{WithOneOfOurs, WithTheClients, WithoutKey};
    for (protocol, sent, asked, is_told_accept) in [
        ("HTTP/1.0", None, WithoutKey, true),
        ("HTTP/1.1", None, WithoutKey, true),
        ("HTTP/1.1", Some(KEY), WithTheClients, true),
        ("HTTP/2", None, WithOneOfOurs, false),
        ("HTTP/2", Some(KEY), WithTheClients, false),
        ("HTTP/3", None, WithOneOfOurs, false),
    ] {
        let case = format!("{protocol}, {sent:?}");
        let mut proxy = Proxy::start();
        let mut headers = authorized("/sign_in");
        headers.extend(sent.map(|key| ("sec-websocket-key".to_owned(), key.as_bytes().to_vec())));
        proxy.request_over(protocol, false, STREAM, "berth/web", headers);
        let got = key(&proxy, STREAM);
        match asked {
            WithoutKey => assert_eq!(got, None, "{case}"),
            WithTheClients => assert_eq!(got.as_deref(), Some(KEY), "{case}"),
            // RFC 6455 §4.1: 16 bytes.
            WithOneOfOurs => assert_eq!(STANDARD.decode(got.unwrap()).unwrap().len(), 16, "{case}"),
        }

        proxy.answer_acquire(grant(3));
        proxy.response(STREAM, "via_upstream", &[(":status", "101"), ACCEPT]);
        let mut expected = vec![(":status", "101")];
        expected.extend(is_told_accept.then_some(ACCEPT));
        assert_eq!(proxy.stream(STREAM).response, list(&expected), "{case}");
    }
}

#[test]
fn a_key_is_given_once_and_says_nothing() {
    let mut proxy = Proxy::start();
    let keys = [STREAM, OTHER].map(|context| {
        proxy.request_over(
            "HTTP/2",
            false,
            context,
            "berth/web",
            authorized("/sign_in"),
        );
        let session = proxy
            .last_call("Acquire")
            .read::<proto::AcquireRequest>()
            .session;
        let key = key(&proxy, context).unwrap();
        let bytes = STANDARD.decode(&key).unwrap();
        assert_ne!(crate::hex::hex(&bytes), session);
        key
    });
    assert_ne!(keys[0], keys[1]);
}

#[test]
fn only_an_upgrade_is_given_a_key() {
    let mut proxy = Proxy::start();
    let mut get = authorized("/sign_in");
    get.retain(|(name, _)| name != "upgrade");
    proxy.request_over("HTTP/2", false, STREAM, "berth/web", get);
    assert!(
        proxy
            .last_call("Acquire")
            .read::<proto::AcquireRequest>()
            .check_only
    );
    assert_eq!(key(&proxy, STREAM), None);

    proxy.request_over(
        "HTTP/2",
        false,
        OTHER,
        "berth/web",
        upgrade("/sign_in", &[]),
    );
    assert_eq!(refusal(&proxy.reply(OTHER)), (401, "no_token", None));
    assert_eq!(key(&proxy, OTHER), None);
}

#[test]
fn a_stream_that_is_over_with_its_headers_asks_for_no_session() {
    for (protocol, is_placed) in [("HTTP/1.1", true), ("HTTP/2", false)] {
        let mut proxy = Proxy::start();
        proxy.request_over(protocol, true, STREAM, "berth/web", authorized("/sign_in"));
        assert_eq!(proxy.calls().len(), usize::from(is_placed), "{protocol}");
        if !is_placed {
            let cancelled = (503, "cancelled", None);
            assert_eq!(refusal(&proxy.reply(STREAM)), cancelled);
        }

        let mut get = authorized("/sign_in");
        get.retain(|(name, _)| name != "upgrade");
        proxy.request_over(protocol, true, OTHER, "berth/web", get);
        assert!(
            proxy
                .last_call("Acquire")
                .read::<proto::AcquireRequest>()
                .check_only
        );
    }
}
