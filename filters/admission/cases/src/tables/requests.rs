use super::{MALFORMED, Table, refused};
use crate::case::{Sent, WEB};
use crate::{Answer, KeyError, Request, Setting, Signature};

/// What is around the token.
pub(super) fn fill(table: &mut Table) -> Result<(), KeyError> {
    two_credentials(table)?;
    hidden(table)?;
    paths(table)?;
    origins(table)
}

fn unseen(reason: &'static str) -> Answer {
    refused(reason, Signature::Unseen)
}

fn two_credentials(table: &mut Table) -> Result<(), KeyError> {
    let good = &table.good()?;
    let other = &table.token().subject("mallory").sign()?;
    let expired = &table.token().expired().sign()?;
    let query = |token: &str| Request::to(format!("{WEB}?token={token}"));
    let protocol = |token: &str| format!("authorization.bearer.{token}");
    let offered = "sec-websocket-protocol";
    table.class("two credentials");
    for (name, request) in [
        ("header and query", query(other).bearer(good)),
        (
            "one that is over beside a good one",
            query(expired).bearer(good),
        ),
        ("junk beside a good one", query("junk").bearer(good)),
        (
            "header and subprotocol",
            Request::to(WEB)
                .bearer(good)
                .header(offered, protocol(other)),
        ),
        (
            "query and subprotocol",
            query(good).header(offered, protocol(other)),
        ),
        ("two parameters", query(&format!("{good}&token={other}"))),
        (
            "two parameters, one escaped",
            query(&format!("{good}&%74oken={other}")),
        ),
        (
            "two subprotocols",
            Request::to(WEB).header(
                offered,
                format!("{}, authorization.{other}", protocol(good)),
            ),
        ),
        ("two headers", Request::to(WEB).bearer(good).bearer(other)),
        (
            "two headers alike",
            Request::to(WEB).bearer(good).bearer(good),
        ),
        (
            "a good header and nonsense",
            Request::to(WEB)
                .bearer(good)
                .header("authorization", "Basic YTpi"),
        ),
    ] {
        table.request(name, request, unseen(MALFORMED));
    }
    for (name, request) in [
        (
            "the same, escaped",
            query(&good.replace('.', "%2e")).bearer(good),
        ),
        (
            "the same, everywhere",
            query(good).bearer(good).header(offered, protocol(good)),
        ),
        ("an empty one beside it", query("").bearer(good)),
    ] {
        table.request(name, request, Answer::Admitted);
    }
    Ok(())
}

fn hidden(table: &mut Table) -> Result<(), KeyError> {
    let good = &table.good()?;
    let query = |text: &str| Request::to(format!("{WEB}?{}", text.replace("TOKEN", good)));
    table.class("a credential that hides");
    for (name, request) in [
        ("an escaped name", query("%74%6F%6b%65%6e=TOKEN")),
        ("a name partly escaped", query("toke%6E=TOKEN")),
        ("a name in another place", query("a&&b=%&token=TOKEN&c")),
        (
            "scheme in capitals",
            Request::to(WEB).header("authorization", format!("BEARER {good}")),
        ),
        (
            "spaces around it",
            Request::to(WEB).header("authorization", format!("Bearer   {good}")),
        ),
    ] {
        table.request(name, request, Answer::Admitted);
    }
    for (name, request) in [
        ("a name escaped twice", query("%2574oken=TOKEN")),
        ("another case", query("Token=TOKEN")),
        ("a name with a zero byte", query("token%00=TOKEN")),
        ("a name with a space", query("%20token=TOKEN")),
        ("as PHP reads it", query("token[]=TOKEN")),
        ("after a semicolon", query("a;token=TOKEN")),
        (
            "another scheme",
            Request::to(WEB).header("authorization", format!("Basic {good}")),
        ),
        (
            "no scheme",
            Request::to(WEB).header("authorization", good.as_str()),
        ),
        (
            "a scheme and no space",
            Request::to(WEB).header("authorization", format!("Bearer{good}")),
        ),
        (
            "a subprotocol that is one",
            Request::to(WEB).header("sec-websocket-protocol", good.as_str()),
        ),
        (
            "another header",
            Request::to(WEB).header("x-authorization", format!("Bearer {good}")),
        ),
        (
            "a cookie",
            Request::to(WEB).header("cookie", format!("token={good}")),
        ),
        (
            "a header of Berth's",
            Request::to(WEB).header("x-berth-token", good.as_str()),
        ),
    ] {
        table.request(name, request, unseen("no_token"));
    }
    let fragment = Request::to(format!("{WEB}#?token={good}"));
    table.request("a fragment", fragment, unseen("no_token"));
    table.in_process();
    Ok(())
}

fn paths(table: &mut Table) -> Result<(), KeyError> {
    let good = &table.good()?;
    let at = |path: &str| Request::to(path).bearer(good);
    table.class("a path that is nearly one");
    // What a proxy may make another path of before anybody reads it, or answer by itself, is of this process only.
    for (path, everywhere) in [
        ("/", false),
        ("/sign_in/", true),
        ("/sign_in;v=1", true),
        ("/web/sign_in;v=1", true),
        ("/web/sign_in/x", true),
        ("/web/SIGN_IN", true),
        ("/web/sign%5Fin", false),
        ("/web/sign_in%00", true),
        ("/web/10.0.0.5/sign_in", true),
        ("/proxy/10.0.0.5:49100/sign_in", true),
        ("/native/rtsp", true),
        ("/rtsp/", true),
        ("/RTSP", true),
        ("/rtsp%2F", true),
        ("//web/sign_in", false),
        ("/web//sign_in", false),
        ("/web/./sign_in", false),
        ("/web/x/../sign_in", false),
        ("/web/sign_in/..", false),
        ("web/sign_in", false),
        ("https://berth.example/web/sign_in", false),
        ("http://10.0.0.5/web/sign_in", false),
        ("*", false),
        ("", false),
    ] {
        table.request(format!("`{path}`"), at(path), unseen("not_found"));
        if !everywhere || path.contains("%00") {
            table.in_process();
        }
    }
    for (path, everywhere) in [
        ("/10.0.0.5/sign_in", true),
        ("/10.0.0.5:49100/sign_in", true),
        ("/127.0.0.1/sign_in", true),
        ("/[::1]/sign_in", true),
        ("/localhost/sign_in", true),
        ("/WEB/sign_in", true),
        ("/web%2Fx/sign_in", true),
        ("/w%65b/sign_in", false),
        ("/web;v=1/sign_in", true),
        ("/web@10.0.0.5/sign_in", true),
        ("/native/sign_in", true),
        ("/*/sign_in", true),
        ("/../sign_in", false),
        ("/%2e%2e/sign_in", false),
        ("/web%00/sign_in", false),
        ("/web\\/sign_in", false),
    ] {
        // Who asks is found out first: a stranger learns of no pool.
        table.request(
            format!("`{path}`"),
            at(path),
            refused("no_such_pool", Signature::Seen),
        );
        if !everywhere {
            table.in_process();
        }
        table.request(
            format!("`{path}`, of a stranger"),
            Request::to(path),
            unseen("no_token"),
        );
        if !everywhere {
            table.in_process();
        }
    }
    table.class("another method");
    for method in ["POST", "PUT", "OPTIONS", "PATCH", "DELETE"] {
        let request = at(WEB).method(method);
        table.request(method, request, unseen("method_not_allowed"));
    }
    for method in ["HEAD", "get", "GET ", "", "CONNECT", "TRACE"] {
        let request = at(WEB).method(method);
        table.request(format!("`{method}`"), request, unseen("method_not_allowed"));
        table.in_process();
    }
    Ok(())
}

fn origins(table: &mut Table) -> Result<(), KeyError> {
    let good = table.good()?;
    let from = |origin: &str| Request::to(WEB).bearer(&good).header("origin", origin);
    table.class("a page that is nearly ours");
    for origin in [
        "null",
        "",
        "*",
        "https://evil-example.com",
        "https://evilexample.com",
        "https://example.com.evil",
        "https://example.com",
        "https://.example.com",
        "https://a.example.com:8443",
        "https://a.example.com:443",
        "http://a.example.com",
        "https://a.example.com/",
        "https://evil/.example.com",
        "https://evil#.example.com",
        "https://evil?.example.com",
        "https://user@a.example.com",
        "https://evil:80.example.com",
        "https://evil\\.example.com",
        "https://app.example.evil",
        "https://app.example:443",
        "https://APP.EXAMPLE",
        "https://app.example/",
        "https://app.example.",
        "http://app.example",
        "wss://app.example",
        "https://user:password@app.example",
        "https://app.example, https://app.example",
        "https://app.example\0",
        "file://",
    ] {
        let name = format!("`{}`", origin.escape_debug());
        table.add(
            name,
            Setting::Origins,
            Sent::Request(from(origin)),
            unseen("origin_forbidden"),
        );
    }
    for origin in [
        "https://app.example",
        "https://a.example.com",
        "https://a.b.example.com",
    ] {
        let sent = Sent::Request(from(origin));
        table.add(
            format!("`{origin}`"),
            Setting::Origins,
            sent,
            Answer::Admitted,
        );
    }
    let program = Request::to(WEB).bearer(&good);
    table.add(
        "no page",
        Setting::Origins,
        Sent::Request(program),
        Answer::Admitted,
    );

    table.class("a header that is not the client's to set");
    for name in ["x-berth-endpoint", "x-berth-cluster", "x-user", "x-role"] {
        let request = Request::to(WEB)
            .bearer(&good)
            .header(name, "10.0.0.5:49100");
        table.request(name, request, Answer::Admitted);
    }
    let bad =
        |name: &str, value: &[u8]| Request::to(WEB).bearer(&good).header(name, value.to_vec());
    for (name, request) in [
        ("a resume key with a space", bad("berth-resume-key", b"a b")),
        (
            "a resume key that is not text",
            bad("berth-resume-key", b"\xff"),
        ),
        (
            "a resume key of 129 bytes",
            bad("berth-resume-key", &[b'k'; 129]),
        ),
        (
            "two resume keys",
            bad("berth-resume-key", b"a").header("berth-resume-key", "b"),
        ),
        ("a label with a slash", bad("x-region", b"e/u")),
        ("a label that is not text", bad("x-region", b"\xff")),
        ("a label of 64 bytes", bad("x-region", &[b'r'; 64])),
    ] {
        table.request(name, request, unseen("bad_request"));
    }
    Ok(())
}
