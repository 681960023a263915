//! Requests that are refused, by what they are and by how things stand.

use berth_client::{Carrier, Family};

use crate::{Algorithm, Token};

/// A request, and the refusal it has to meet.
#[derive(Debug, Clone, Copy)]
pub struct Refusal {
    /// What is wrong, in a few words.
    pub name: &'static str,
    /// How things stand when the request comes.
    pub situation: Situation,
    /// The request.
    pub request: Request,
    /// The status it is answered.
    pub status: u16,
    /// The label in `x-berth-reason` and in the body.
    pub reason: &'static str,
}

/// How things stand. There are two pools, `web` and `native`, of one instance each, and a token is for both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Situation {
    /// Both instances are free and well.
    Quiet,
    /// Another user has the instance.
    Full,
    /// The same user has the instance, and the pool refuses a second device.
    SecondDevice,
    /// The control plane was killed.
    ControlPlaneAway,
    /// The instance answers an upgrade with 503.
    InstanceRefusesUpgrade,
    /// The instance takes the request and says nothing.
    InstanceHangs,
    /// The instance is killed; no probe has noticed yet.
    InstanceGone,
}

/// A request for a session.
#[derive(Debug, Clone, Copy)]
pub struct Request {
    /// Whose port it comes to.
    pub family: Family,
    /// Its method; an upgrade only if it is GET.
    pub method: &'static str,
    /// Its path, with what query it has besides a credential.
    pub path: &'static str,
    /// Where a credential is carried.
    pub carrier: Carrier,
    /// What is carried there.
    pub credential: Credential,
    /// A second credential, in another place.
    pub also: Option<(Carrier, &'static str)>,
    /// Further headers.
    pub headers: &'static [(&'static str, &'static str)],
}

/// What is carried where a token should be.
#[derive(Debug, Clone, Copy)]
pub enum Credential {
    /// Nothing.
    Absent,
    /// This text.
    Text(&'static str),
    /// What this makes of a valid token.
    Token(fn(Token) -> Token),
}

impl Request {
    /// A web client's, as it has to be in order to be admitted.
    #[must_use]
    pub const fn web() -> Self {
        Self {
            family: Family::Web,
            method: "GET",
            path: "/web/sign_in?client_type=6",
            carrier: Carrier::Query,
            credential: Credential::Token(std::convert::identity),
            also: None,
            headers: &[],
        }
    }

    /// A native client's, as it has to be in order to be admitted.
    #[must_use]
    pub const fn native() -> Self {
        Self {
            family: Family::Native,
            path: "/rtsp",
            carrier: Carrier::Header,
            ..Self::web()
        }
    }

    const fn path(self, path: &'static str) -> Self {
        Self { path, ..self }
    }

    const fn method(self, method: &'static str) -> Self {
        Self { method, ..self }
    }

    const fn by(self, carrier: Carrier) -> Self {
        Self { carrier, ..self }
    }

    const fn with(self, token: fn(Token) -> Token) -> Self {
        let credential = Credential::Token(token);
        Self { credential, ..self }
    }

    const fn text(self, text: &'static str) -> Self {
        let credential = Credential::Text(text);
        Self { credential, ..self }
    }

    const fn nothing(self) -> Self {
        let credential = Credential::Absent;
        Self { credential, ..self }
    }

    const fn also(self, carrier: Carrier, text: &'static str) -> Self {
        let also = Some((carrier, text));
        Self { also, ..self }
    }

    const fn headers(self, headers: &'static [(&'static str, &'static str)]) -> Self {
        Self { headers, ..self }
    }
}

const fn quiet(name: &'static str, request: Request, status: u16, reason: &'static str) -> Refusal {
    Refusal {
        name,
        situation: Situation::Quiet,
        request,
        status,
        reason,
    }
}

const fn when(
    situation: Situation,
    name: &'static str,
    request: Request,
    status: u16,
    reason: &'static str,
) -> Refusal {
    Refusal {
        situation,
        ..quiet(name, request, status, reason)
    }
}

const WEB: Request = Request::web();
const NATIVE: Request = Request::native();

/// Every refusal there is, but for those that take more than one request to bring about.
#[rustfmt::skip] // one case a line
pub const REFUSALS: &[Refusal] = &[
    // Without a token.
    quiet("a web client without a token", WEB.nothing(), 401, "no_token"),
    quiet("a native client without a token", NATIVE.nothing(), 401, "no_token"),
    quiet("an empty token", WEB.text(""), 401, "no_token"),
    quiet("credentials of another scheme", NATIVE.nothing().headers(&[("authorization", "Basic YWxpY2U6c2VjcmV0")]), 401, "no_token"),

    // With something that is no token of ours, by each way to carry it.
    quiet("no token at all, in the query", WEB.text("not-a-token"), 401, "malformed_token"),
    quiet("no token at all, in a header", NATIVE.text("not-a-token"), 401, "malformed_token"),
    quiet("no token at all, in a subprotocol", WEB.by(Carrier::Subprotocol).text("not-a-token"), 401, "malformed_token"),
    quiet("three parts of nothing", WEB.text(".."), 401, "malformed_token"),
    quiet("parts that are no JSON", WEB.text("bm8.bm8.bm8"), 401, "malformed_token"),
    quiet("two tokens that differ", WEB.also(Carrier::Header, "not-a-token"), 401, "malformed_token"),
    quiet("a token that never ends", WEB.with(|token| token.without_claim("exp")), 401, "malformed_token"),
    quiet("a token of nobody's", WEB.with(|token| token.without_claim("sub")), 401, "malformed_token"),
    quiet("a token of an empty name", WEB.with(|token| token.subject("")), 401, "malformed_token"),
    quiet("a token of a name with a line break", WEB.with(|token| token.subject("alice\nx-admin: yes")), 401, "malformed_token"),
    quiet("a token of 20 kB", NATIVE.with(|token| token.claim("padding", "x".repeat(20_000))), 401, "malformed_token"),

    quiet("an unsigned token", WEB.with(Token::unsigned), 401, "unsupported_algorithm"),
    quiet("a token signed with the public keys", WEB.with(Token::symmetric), 401, "unknown_key"),
    quiet("an algorithm that is not checked", WEB.with(|token| token.header("alg", "ES256K")), 401, "unsupported_algorithm"),
    quiet("an algorithm that the key is not for", WEB.with(|token| token.header("alg", "PS256")), 401, "unknown_key"),
    quiet("an extension that has to be understood", WEB.with(|token| token.header("crit", vec!["exp"])), 401, "unsupported_algorithm"),

    quiet("a key nobody knows", WEB.with(|token| token.header("kid", "another")), 401, "unknown_key"),
    quiet("a key of the other algorithm", WEB.with(|token| token.header("kid", Algorithm::Es256.key_id())), 401, "unknown_key"),
    quiet("an RS256 signature with a bit changed", WEB.with(Token::altered), 401, "bad_signature"),
    quiet("an ES256 signature with a bit changed", NATIVE.with(|token| token.algorithm(Algorithm::Es256).altered()), 401, "bad_signature"),
    quiet("a stranger's signature", WEB.with(Token::signed_by_a_stranger), 401, "bad_signature"),
    quiet("an expired token that is also forged", WEB.with(|token| token.expired().signed_by_a_stranger()), 401, "bad_signature"),

    quiet("an expired token of a web client", WEB.with(Token::expired), 401, "token_expired"),
    quiet("an expired token of a native client", NATIVE.with(Token::expired), 401, "token_expired"),
    quiet("a token for later", WEB.with(Token::not_yet_valid), 401, "token_not_yet_valid"),
    quiet("a token of another issuer", WEB.with(|token| token.claim("iss", "https://login.else.example")), 401, "wrong_issuer"),
    quiet("a token of no issuer", WEB.with(|token| token.without_claim("iss")), 401, "wrong_issuer"),
    quiet("a token for somebody else", WEB.with(|token| token.claim("aud", "another-service")), 401, "wrong_audience"),
    quiet("a token for nobody", WEB.with(|token| token.without_claim("aud")), 401, "wrong_audience"),

    // With a token that is good, for something else.
    quiet("a token for another pool", WEB.with(|token| token.pools(["native"])), 403, "pool_forbidden"),
    quiet("a token for no pool", WEB.with(|token| token.without_claim("pools")), 403, "pool_forbidden"),
    quiet("a native client with a web client's token", NATIVE.with(|token| token.pools(["web"])), 403, "pool_forbidden"),
    quiet("a pool nobody has", WEB.path("/nowhere/sign_in"), 404, "no_such_pool"),
    quiet("a pool of the other family", WEB.path("/native/sign_in"), 404, "no_such_pool"),
    quiet("an address where a pool should be", WEB.path("/127.0.0.10/sign_in"), 404, "no_such_pool"),
    quiet("a pool in capitals", WEB.path("/WEB/sign_in"), 404, "no_such_pool"),

    // Elsewhere.
    quiet("a file", WEB.path("/favicon.ico"), 404, "not_found"),
    quiet("another path", WEB.path("/web/sign_out"), 404, "not_found"),
    quiet("a path too deep", WEB.path("/web/127.0.0.10/sign_in"), 404, "not_found"),
    quiet("something below /rtsp", NATIVE.path("/rtsp/1"), 404, "not_found"),
    quiet("another method", WEB.method("POST"), 405, "method_not_allowed"),
    quiet("a resume key with a space in it", WEB.path("/web/sign_in?berth_resume_key=a%20b"), 400, "bad_request"),
    quiet("two resume keys", WEB.path("/web/sign_in?berth_resume_key=a").headers(&[("berth-resume-key", "b")]), 400, "bad_request"),
    quiet("a region that is no name", WEB.path("/web/sign_in?region=e%2Fu"), 400, "bad_request"),
    quiet("two regions", WEB.path("/web/sign_in?region=eu").headers(&[("x-region", "us")]), 400, "bad_request"),
    quiet("an urgency beyond what there is", WEB.with(|token| token.claim("priority", 10)), 401, "malformed_token"),

    // As things stand.
    when(Situation::Full, "a web client that comes too late", WEB, 503, "no_instance"),
    when(Situation::Full, "a native client that comes too late", NATIVE, 503, "no_instance"),
    when(Situation::SecondDevice, "a second device", WEB.with(|token| token.subject("alice")), 409, "session_exists"),
    when(Situation::ControlPlaneAway, "nobody to ask", WEB, 503, "control_plane_away"),
    when(Situation::InstanceRefusesUpgrade, "an instance that does not want", WEB, 503, "instance_lost"),
    when(Situation::InstanceHangs, "an instance that does not answer", WEB, 504, "instance_timeout"),
    when(Situation::InstanceGone, "an instance that is not there", WEB, 503, "instance_unreachable"),
];

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;

    /// Those that no single request brings about, and where else they are shown.
    const ELSEWHERE: &[(&str, &str)] = &[
        ("superseded", "takes a newer request of the same user"),
        (
            "cancelled",
            "its client has gone, and nobody reads it, or the operator ended it",
        ),
        (
            "headers_too_large",
            "the proxy's own, for bytes that no client library sends",
        ),
        (
            "request_timeout",
            "the proxy's own, for a request that never ends",
        ),
        ("internal", "takes a proxy that has no filter it could use"),
        ("too_many", "there are no limits on rates yet"),
        (
            "too_many_sessions",
            "takes other sessions of the same user or tenant",
        ),
        ("queue_full", "takes others who wait"),
        ("revoked", "takes a revocation by the operator"),
        ("too_many_attempts", "takes others that were refused"),
        ("unknown_api_key", "takes a policy that has API keys"),
        ("wrong_type", "takes an issuer that names types"),
        ("lifetime_too_long", "takes an issuer that bounds it"),
        (
            "user_forbidden",
            "takes an issuer that bounds whom it speaks for",
        ),
        ("origin_forbidden", "takes a list of web pages that may ask"),
    ];

    #[test]
    fn every_reason_has_a_case_with_its_status() {
        let shown: BTreeSet<&str> = REFUSALS.iter().map(|case| case.reason).collect();
        let elsewhere: BTreeMap<&str, &str> = ELSEWHERE.iter().copied().collect();
        for reason in berth_admission::Reason::ALL {
            let label = reason.label();
            assert_ne!(
                shown.contains(label),
                elsewhere.contains_key(label),
                "{label}"
            );
        }
        for case in REFUSALS {
            let reason = berth_admission::Reason::from_label(case.reason);
            let status = reason.map(berth_admission::Reason::status);
            assert_eq!(status, Some(case.status), "{}", case.name);
        }
    }

    #[test]
    fn names_are_unique() {
        let names: BTreeSet<&str> = REFUSALS.iter().map(|case| case.name).collect();
        assert_eq!(names.len(), REFUSALS.len());
    }
}
