//! Where a request carries what is for Berth, and what is left of it for the instance.

use std::borrow::Cow;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use percent_encoding::percent_decode;

use crate::config::CarrierConfig;
use crate::credential::{Agreed, RESUME_KEY_HEADER, RESUME_KEY_PARAMETER};
use crate::label::Asked;
use crate::path::{Parameter, Target, parameters, without_query};
use crate::subprotocol::{as_token, protocols, strip_prefix_ignore_case};
use crate::{Edits, Policy, Request};

/// What a request says in the places that are Berth's.
pub(crate) struct Reading<'p, 'a> {
    pub(crate) credential: Credential<'p, 'a>,
    pub(crate) resume_key: Agreed<'a>,
    pub(crate) labels: Asked<'p, 'a>,
    /// The first subprotocol offered that is no credential.
    pub(crate) subprotocol: Option<String>,
    /// What takes all that out of the request, but labels, which are no secret.
    pub(crate) edits: Edits,
}

/// What the carriers say.
pub(crate) enum Credential<'p, 'a> {
    Nothing,
    /// All that say something say this; the first of them, in the policy's order, is named.
    One(&'p CarrierConfig, Cow<'a, [u8]>),
    Disagreed,
}

impl<'p, 'a> Reading<'p, 'a> {
    /// Reads a request for what `target` says it asks for, if that is anything.
    pub(crate) fn of(policy: &'p Policy, request: &Request<'a>, target: Option<&Target>) -> Self {
        let mut reading = Self {
            credential: Credential::Nothing,
            resume_key: Agreed::Nothing,
            labels: Asked::of(policy.labels()),
            subprotocol: None,
            edits: Edits::default(),
        };
        let mut found = Found {
            carriers: policy.carriers(),
            values: Vec::new(),
        };
        reading.query(request, target, &mut found);
        reading.subprotocols(request, &mut found);
        reading.cookies(request, &mut found);
        reading.headers(policy, request, &mut found);
        reading.credential = found.credential();
        reading
    }

    fn query(&mut self, request: &Request<'a>, target: Option<&Target>, found: &mut Found<'p, 'a>) {
        let mut upstream = match target {
            Some(target) => target.upstream_path().as_bytes().to_vec(),
            None => without_query(request.path).to_vec(),
        };
        let mut separator = b'?';
        for Parameter { name, value, text } in parameters(request.path) {
            if let Some(index) = found.position(
                |one| matches!(one, CarrierConfig::Query(query) if *name == *query.as_bytes()),
            ) {
                found.add(index, percent_decode(value).into());
            } else if *name == *RESUME_KEY_PARAMETER.as_bytes() {
                self.resume_key.add(percent_decode(value).into());
            } else {
                self.labels.parameter(&name, value);
                upstream.push(separator);
                upstream.extend_from_slice(text);
                separator = b'&';
            }
        }
        if upstream != request.path {
            self.edits.set(":path", upstream);
        }
    }

    fn subprotocols(&mut self, request: &Request<'a>, found: &mut Found<'p, 'a>) {
        let Some(header) = request.header(SUBPROTOCOL) else {
            return;
        };
        let mut kept = Vec::new();
        let mut removed = false;
        for protocol in protocols(&header) {
            if let Some((index, credential)) = found.subprotocol(protocol) {
                removed = true;
                found.add(index, credential.into());
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b", ");
            }
            kept.extend_from_slice(protocol);
            self.subprotocol = self.subprotocol.take().or_else(|| as_token(protocol));
        }
        if removed && kept.is_empty() {
            self.edits.remove(SUBPROTOCOL);
        } else if removed {
            self.edits.set(SUBPROTOCOL, kept);
        }
    }

    /// RFC 6265 §4.2.1; HTTP/2 may bring a header for each cookie (RFC 9113 §8.2.3).
    fn cookies(&mut self, request: &Request<'a>, found: &mut Found<'p, 'a>) {
        if !found
            .carriers
            .iter()
            .any(|one| matches!(one, CarrierConfig::Cookie(_)))
        {
            return;
        }
        let mut kept = Vec::new();
        let mut removed = false;
        let cookies = request
            .headers
            .iter()
            .filter(|(name, _)| name == COOKIE)
            .flat_map(|(_, value)| value.split(|byte| *byte == b';'))
            .map(<[u8]>::trim_ascii)
            .filter(|cookie| !cookie.is_empty());
        for cookie in cookies {
            let mut parts = cookie.splitn(2, |byte| *byte == b'=');
            let name = parts.next().unwrap_or_default().trim_ascii();
            let value = parts.next().unwrap_or_default().trim_ascii();
            if let Some(index) = found.position(
                |one| matches!(one, CarrierConfig::Cookie(cookie) if name == cookie.as_bytes()),
            ) {
                removed = true;
                found.add(index, unquoted(value).into());
                continue;
            }
            if !kept.is_empty() {
                kept.extend_from_slice(b"; ");
            }
            kept.extend_from_slice(cookie);
        }
        if removed && kept.is_empty() {
            self.edits.remove(COOKIE);
        } else if removed {
            self.edits.set(COOKIE, kept);
        }
    }

    fn headers(&mut self, policy: &'p Policy, request: &Request<'a>, found: &mut Found<'p, 'a>) {
        // Whatever it holds is between the client and the proxy.
        if let Some(value) = request.header(AUTHORIZATION) {
            self.edits.remove(AUTHORIZATION);
            let index = found.position(|one| *one == CarrierConfig::Authorization);
            if let (Some(index), Some(token)) = (index, part(value, bearer)) {
                found.add(index, token);
            }
        }
        for (index, carrier) in found.carriers.iter().enumerate() {
            let CarrierConfig::Header(header) = carrier else {
                continue;
            };
            if let Some(value) = request.header(&header.name) {
                self.edits.remove(&header.name);
                let after = part(value, |value| {
                    let after = strip_prefix_ignore_case(value, header.prefix.as_bytes());
                    after.map(<[u8]>::trim_ascii)
                });
                if let Some(credential) = after {
                    found.add(index, credential);
                }
            }
        }
        if let Some(value) = request.header(RESUME_KEY_HEADER) {
            self.edits.remove(RESUME_KEY_HEADER);
            self.resume_key.add(value);
        }
        for name in policy.label_headers() {
            let value = request.header(name);
            if let Some(value) = value.and_then(|value| part(value, |it| Some(it.trim_ascii()))) {
                self.labels.header(name, value);
            }
        }
        for name in policy.tag_headers() {
            if request.header(name).is_some() {
                self.edits.remove(name);
            }
        }
    }
}

/// What was found in the carriers, by their place in the policy's order.
struct Found<'p, 'a> {
    carriers: &'p [CarrierConfig],
    values: Vec<(usize, Cow<'a, [u8]>)>,
}

impl<'p, 'a> Found<'p, 'a> {
    fn position(&self, fits: impl Fn(&CarrierConfig) -> bool) -> Option<usize> {
        self.carriers.iter().position(fits)
    }

    fn add(&mut self, carrier: usize, value: Cow<'a, [u8]>) {
        if !value.is_empty() {
            self.values.push((carrier, value));
        }
    }

    /// The credential that a subprotocol is, by the carrier with the longest prefix that fits.
    fn subprotocol(&self, protocol: &[u8]) -> Option<(usize, Vec<u8>)> {
        let fitting = self.carriers.iter().enumerate();
        let fitting = fitting.filter_map(|(index, carrier)| match carrier {
            CarrierConfig::Subprotocol(prefix) => {
                let credential = strip_prefix_ignore_case(protocol, prefix.as_bytes())?;
                Some((prefix.len(), index, credential.to_vec()))
            }
            CarrierConfig::SubprotocolBase64url(prefix) => {
                let after = strip_prefix_ignore_case(protocol, prefix.as_bytes())?;
                let encoded = after.rsplit(|byte| *byte == b'.').next()?;
                // What cannot be decoded is no token, and is found to be none.
                let credential = URL_SAFE_NO_PAD.decode(encoded);
                let credential = credential.unwrap_or_else(|_| encoded.to_vec());
                Some((prefix.len(), index, credential))
            }
            _ => None,
        });
        fitting
            .max_by_key(|(length, ..)| *length)
            .map(|(_, index, credential)| (index, credential))
    }

    fn credential(self) -> Credential<'p, 'a> {
        let first = self.values.iter().map(|(index, _)| *index).min();
        let carrier = first.and_then(|index| self.carriers.get(index));
        let mut values = self.values.into_iter().map(|(_, value)| value);
        let (Some(carrier), Some(value)) = (carrier, values.next()) else {
            return Credential::Nothing;
        };
        if values.any(|other| other != value) {
            return Credential::Disagreed;
        }
        Credential::One(carrier, value)
    }
}

/// The token of an `authorization` header of the scheme Bearer (RFC 6750 §2.1). Another scheme is
/// none of our business.
fn bearer(authorization: &[u8]) -> Option<&[u8]> {
    let mut parts = authorization.trim_ascii().splitn(2, |byte| *byte == b' ');
    let scheme = parts.next()?;
    let token = parts.next().unwrap_or_default().trim_ascii();
    scheme.eq_ignore_ascii_case(b"bearer").then_some(token)
}

/// A part of a value that may be borrowed.
fn part<'a>(value: Cow<'a, [u8]>, of: impl Fn(&[u8]) -> Option<&[u8]>) -> Option<Cow<'a, [u8]>> {
    match value {
        Cow::Borrowed(value) => of(value).map(Cow::Borrowed),
        Cow::Owned(value) => of(&value).map(|part| Cow::Owned(part.to_vec())),
    }
}

/// RFC 6265 §4.1.1 allows double quotes around a cookie's value.
fn unquoted(value: &[u8]) -> &[u8] {
    let inner = value.strip_prefix(b"\"");
    let inner = inner.and_then(|value| value.strip_suffix(b"\""));
    inner.unwrap_or(value)
}

pub(crate) const AUTHORIZATION: &str = "authorization";
pub(crate) const COOKIE: &str = "cookie";
pub(crate) const SUBPROTOCOL: &str = "sec-websocket-protocol";
