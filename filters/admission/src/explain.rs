//! What a [`Trace`](crate::Trace) hears: in words, what is compared with what.

use std::net::IpAddr;

use crate::carrier::Credential;
use crate::claims::Claims;
use crate::config::{CarrierConfig, PoolSource};
use crate::cors::{Cors, ORIGIN};
use crate::credential::Agreed;
use crate::jwt::Token;
use crate::label::Asked;
use crate::matcher::Matcher;
use crate::policy::Issuer;
use crate::{Policy, Request, UnixSeconds};

impl Token<'_> {
    pub(crate) fn type_facts(&self, issuer: &Issuer) -> String {
        let typ = quoted(self.typ.as_deref().unwrap_or_default());
        match issuer.types.as_slice() {
            [] => format!("{typ}, and any will do"),
            types => format!("{typ}, to be one of {types:?}"),
        }
    }

    pub(crate) fn key_facts(&self, issuer: &Issuer) -> String {
        let algorithm = self.algorithm.name();
        let known = issuer.keys.len();
        match &self.key_id {
            Some(id) => format!("{algorithm} by the key {}, of {known} known", quoted(id)),
            None => format!("{algorithm} by any key that is for it, of {known} known"),
        }
    }
}

impl Claims {
    pub(crate) fn time_facts(&self, issuer: &Issuer, now: UnixSeconds) -> String {
        let dates = ["exp", "nbf", "iat"].map(|name| format!("{name} {}", self.facts(name)));
        let dates = dates.join(", ");
        let (now, skew) = (now.0, issuer.clock_skew_seconds);
        let lifetime = issuer.max_lifetime_seconds;
        let lifetime = lifetime.map(|most| format!(", at most {most} s of lifetime"));
        let lifetime = lifetime.unwrap_or_default();
        format!("{dates}; now {now}, {skew} s of skew{lifetime}")
    }

    pub(crate) fn audience_facts(&self, ours: &[String]) -> String {
        let audience = self.facts("aud");
        match ours {
            [] => format!("{audience}, and any will do"),
            ours => format!("{audience}, to be one of {ours:?}"),
        }
    }

    /// Who the token is for.
    pub(crate) fn user_facts(&self) -> String {
        self.facts("sub")
    }

    /// The claims that say what the user may have, and the token's id.
    pub(crate) fn entitlement_facts(&self, policy: &Policy) -> String {
        let named = [
            ("tenant", policy.tenant_claim()),
            ("priority", policy.priority_claim()),
            ("pools", policy.pools_claim()),
            ("token id", Some("jti")),
        ];
        let named = named
            .into_iter()
            .filter_map(|(name, claim)| Some(format!("{name} {}", self.facts(claim?))));
        named.collect::<Vec<_>>().join(", ")
    }

    fn facts(&self, claim: &str) -> String {
        match self.text(claim) {
            Some(text) => quoted(&text),
            None => "none".to_owned(),
        }
    }
}

/// What somebody else wrote, without what a terminal would obey.
pub(crate) fn quoted(text: &str) -> String {
    format!("`{}`", text.escape_debug())
}

impl Issuer {
    pub(crate) fn rules_facts(&self, claims: &Claims) -> String {
        let subjects = match self.subjects() {
            [] => "any user".to_owned(),
            subjects => {
                let subjects: Vec<String> = subjects.iter().map(matcher_text).collect();
                format!("to be {}", subjects.join(" or "))
            }
        };
        let required = self.required_claims().iter().map(|one| {
            let claim = &one.claim;
            let said = claims.facts(claim);
            format!("; {claim} {said}, to be {}", matcher_text(&one.matches))
        });
        std::iter::once(subjects).chain(required).collect()
    }
}

impl Asked<'_, '_> {
    pub(crate) fn facts(&self) -> String {
        let said = self.said().map(|(label, said)| match said {
            Agreed::Nothing => format!("{label} is not asked for"),
            Agreed::One(value) => format!("{label} `{}`", escaped(value)),
            Agreed::Disagreed => format!("{label} in two versions"),
        });
        let said: Vec<String> = said.collect();
        if said.is_empty() {
            return "none that can be asked for".to_owned();
        }
        said.join(", ")
    }
}

/// Not the key itself, which takes over sessions.
pub(crate) fn resume_key_facts(said: &Agreed<'_>) -> String {
    match said {
        Agreed::Nothing => "none".to_owned(),
        Agreed::One(key) => format!(
            "{} bytes, to be at most 128 visible ASCII characters",
            key.len()
        ),
        Agreed::Disagreed => "two that differ".to_owned(),
    }
}

pub(crate) fn escaped(bytes: &[u8]) -> String {
    bytes.escape_ascii().to_string()
}

pub(crate) fn origin_facts(request: &Request<'_>, cors: &Cors) -> String {
    match request.header(ORIGIN) {
        None => "none: no web page asks".to_owned(),
        Some(origin) if cors.forbidden => format!("`{}` is not in `origins`", escaped(&origin)),
        Some(origin) => format!("`{}` may ask", escaped(&origin)),
    }
}

pub(crate) fn credential_facts(credential: &Credential<'_, '_>) -> String {
    match credential {
        Credential::Nothing => "in none of the carriers".to_owned(),
        Credential::One(carrier, _) => format!("in {}", carrier_name(carrier)),
        Credential::Disagreed => "two that differ".to_owned(),
    }
}

pub(crate) fn attempts_facts(client: Option<IpAddr>, may_try: bool) -> String {
    match (client, may_try) {
        (None, _) => "the client's address is not known".to_owned(),
        (Some(client), true) => format!("{client} has not failed too often"),
        (Some(client), false) => format!("{client} has failed too often"),
    }
}

fn matcher_text(matcher: &Matcher) -> String {
    match matcher {
        Matcher::Exact(text) => format!("`{text}`"),
        Matcher::Prefix(text) => format!("`{text}…`"),
        Matcher::Suffix(text) => format!("`…{text}`"),
    }
}

fn carrier_name(carrier: &CarrierConfig) -> String {
    match carrier {
        CarrierConfig::Authorization => "the header `authorization`".to_owned(),
        CarrierConfig::Header(header) => format!("the header `{}`", header.name),
        CarrierConfig::Query(name) => format!("the query parameter `{name}`"),
        CarrierConfig::Cookie(name) => format!("the cookie `{name}`"),
        CarrierConfig::Subprotocol(prefix) | CarrierConfig::SubprotocolBase64url(prefix) => {
            format!("the subprotocol `{prefix}…`")
        }
    }
}

pub(crate) fn source_name(source: &PoolSource) -> String {
    match source {
        PoolSource::Path => "path".to_owned(),
        PoolSource::Header(name) => format!("header `{name}`"),
        PoolSource::Claim(claim) => format!("claim `{claim}`"),
    }
}
